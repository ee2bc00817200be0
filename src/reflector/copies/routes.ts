/**
 * The copies of a reflector over HTTP, for hosts that are to be filled from it: GET /copies/NAME.
 *
 * A copy is all that the reflector holds, so it is given to those who may have all of that: everybody, or, where the
 * reflector asks its followers for a token, who shows one that is good for everything there.
 */
import { StoreError } from '../../core/base/errors.ts';
import { intersect, isSameFilter, type LedgerFilter } from '../../core/model/ledger-filter.ts';
import type { Route } from '../../net/http/route.ts';
import { CHUNK_BYTES, copyOf, LATEST, MANIFEST_BYTES_MAX } from './manifest.ts';
import type { Objects } from './objects.ts';

export interface CopyRoutesOptions {
  readonly objects: Objects;
  /** What who shows this token may have; undefined: everything. Throws FORBIDDEN. */
  readonly grant: (token: string | undefined) => LedgerFilter | undefined;
  /** What the reflector holds. */
  readonly held: () => LedgerFilter | undefined;
}

export function copyRoutes({ objects, grant, held }: CopyRoutesOptions): Route[] {
  return [
    {
      method: 'GET',
      path: '/copies/{name}',
      group: 'Copies of the replica',
      summary: 'A piece of a copy, or its manifest, or the name of the latest one (docs/ldb.md)',
      answer: { kind: 'bytes', what: 'as it was stored' },
      errors: ['NOT_FOUND', 'FORBIDDEN', 'UNAVAILABLE'],
      handle: async ({ params, bearer }) => {
        const { name = '' } = params;
        const granted = grant(bearer);
        if (!isSameFilter(intersect(held(), granted), held())) {
          throw new StoreError('FORBIDDEN', 'the copies hold more than this reader may have');
        }
        if (name !== LATEST && copyOf(name) === undefined) throw new StoreError('NOT_FOUND', `there is no ${name}`);
        const bytes = await objects.get(name, Math.max(MANIFEST_BYTES_MAX, 2 * CHUNK_BYTES));
        return { contentType: 'application/octet-stream', body: bytes };
      },
    },
  ];
}
