/**
 * Succession: what of the records that come is next, for a replica that has everything up to a position. Records that it
 * has are skipped, and a hole is LDB_GAP: nothing of what came is applied then.
 *
 * A file of its own, so that the simulator's replicas go by the same rule as LMDB's writer.
 */
import { StoreError } from '../../core/base/errors.ts';
import { plus, type Revision } from '../../core/base/position.ts';
import type { LedgerRecord } from '../../core/model/ledger.ts';

/** The gap guard and the replay guard: what follows `position`, or LDB_GAP. */
export function recordsAfter(position: Revision, records: readonly LedgerRecord[]): readonly LedgerRecord[] {
  const first = records[0];
  if (first === undefined) return records;
  records.forEach(({ revision }, i) => {
    if (revision !== plus(first.revision, i)) throw gap(plus(first.revision, i), revision);
  });
  if (first.revision > plus(position, 1)) throw gap(plus(position, 1), first.revision);
  return records.slice(position + 1 - first.revision);
}

function gap(expected: Revision, got: Revision): StoreError {
  return new StoreError('LDB_GAP', `revision ${expected} was expected and ${got} came`, { data: { expected, got } });
}
