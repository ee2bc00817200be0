/**
 * Callers: who may ask, and for what, by token. Without any in the config everybody may everything: the network is the
 * fence. With them, whoever shows no token, or nobody's, gets TOKEN_INVALID, and one whose role is too small FORBIDDEN.
 *
 * Only hashes of tokens are kept, and all of them are compared, each in the same time (readers.ts).
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { StoreError } from '../../core/base/errors.ts';
import { mayAsk, type Need, type Role, roleFor } from '../../core/wire/access.ts';

export interface CallerGrant {
  readonly name: string;
  /** 64 hexadecimal digits. */
  readonly tokenSha256: string;
  readonly role: Role;
}

/** Who is on a connection, as far as it said. */
export interface Caller {
  /** Undefined: nobody that is known. */
  readonly name?: string | undefined;
  readonly role?: Role | undefined;
  readonly hasToken: boolean;
}

/** The application around an embedded node, and the node itself. */
export const OWN_CALLER: Caller = { name: 'this process', role: 'admin', hasToken: true };

export class Callers {
  readonly #grants: readonly (Omit<CallerGrant, 'tokenSha256'> & { readonly hash: Uint8Array })[];

  constructor(grants: readonly CallerGrant[]) {
    this.#grants = grants.map(({ tokenSha256, ...grant }) => ({ ...grant, hash: Buffer.from(tokenSha256, 'hex') }));
  }

  /** Nobody has to say who he is. */
  get isOpen(): boolean {
    return this.#grants.length === 0;
  }

  /** Whose token this is. */
  callerOf(token: string | undefined): Caller {
    if (token === undefined || this.isOpen) return { hasToken: token !== undefined };
    const hash = createHash('sha256').update(token).digest();
    const [grant] = this.#grants.filter((one) => timingSafeEqual(one.hash, hash));
    return { name: grant?.name, role: grant?.role, hasToken: true };
  }

  /** Throws TOKEN_INVALID, FORBIDDEN. */
  check({ name, role, hasToken }: Caller, need: Need): void {
    if (this.isOpen) return;
    if (role === undefined) {
      throw new StoreError(
        'TOKEN_INVALID',
        hasToken
          ? 'nobody whom this cluster knows has this token'
          : 'this cluster wants to know who asks: a token is needed',
      );
    }
    if (mayAsk(role, need)) return;
    const needed = roleFor(need);
    throw new StoreError('FORBIDDEN', `${name} has the role ${role}; this needs ${needed}`, { data: { role, needed } });
  }
}
