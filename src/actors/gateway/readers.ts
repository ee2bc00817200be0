/**
 * Readers: who may follow the ledger, and what of it.
 *
 * A config without readers lets everybody have everything: the network is the fence. With readers, a subscription shows
 * a token and gets what its reader may have and it wants, and nothing else leaves the node. Only hashes of tokens are
 * kept. They are random and long, so a plain SHA-256 tells nothing about them; all are compared, each in the same time,
 * so that neither says how long the search took.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { StoreError } from '../../core/base/errors.ts';
import { intersect, isNothing, type LedgerFilter, showFilter } from '../../core/model/ledger-filter.ts';

export interface ReaderGrant {
  readonly name: string;
  /** 64 hexadecimal digits. */
  readonly tokenSha256: string;
  /** What it may have; undefined: everything. */
  readonly filter: LedgerFilter | undefined;
}

export class Readers {
  readonly #grants: readonly {
    readonly name: string;
    readonly hash: Uint8Array;
    readonly filter: ReaderGrant['filter'];
  }[];

  constructor(grants: readonly ReaderGrant[]) {
    this.#grants = grants.map(({ name, tokenSha256, filter }) => ({
      name,
      hash: Buffer.from(tokenSha256, 'hex'),
      filter,
    }));
  }

  /** What a subscription gets; undefined: everything. Throws FORBIDDEN. */
  grant(token: string | undefined, wanted: LedgerFilter | undefined): LedgerFilter | undefined {
    if (this.#grants.length === 0) return checked(wanted, 'the filter names nothing');
    if (token === undefined) throw forbidden('this cluster gives its ledger to named readers only: a token is needed');
    const hash = createHash('sha256').update(token).digest();
    const [reader] = this.#grants.filter((grant) => timingSafeEqual(grant.hash, hash));
    if (reader === undefined) throw forbidden('no reader of this cluster has this token');
    const what = showFilter(reader.filter);
    return checked(intersect(reader.filter, wanted), `reader ${reader.name} may have nothing of it, only ${what}`);
  }
}

function checked(filter: LedgerFilter | undefined, message: string): LedgerFilter | undefined {
  if (filter !== undefined && isNothing(filter)) throw forbidden(message);
  return filter;
}

const forbidden = (message: string): StoreError => new StoreError('FORBIDDEN', message);
