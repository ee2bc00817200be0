/**
 * Rows of an LMDB table as the writer's side reads them back.
 */
import { assert } from '../../core/base/assert.ts';
import type { Table } from './environment.ts';
import type { RowView } from './store.ts';

/** As of `transaction`; without one, as of the newest read transaction of the environment. */
export function viewOf(table: Table, transaction?: ReturnType<Table['useReadTransaction']>): RowView {
  const at = transaction === undefined ? {} : { transaction };
  return {
    get: (key) => {
      const bytes = table.get(key, transaction && { transaction });
      return bytes === undefined ? undefined : new Uint8Array(bytes);
    },
    *range(start, end) {
      for (const { key, value } of table.getRange({ start, ...(end === undefined ? {} : { end }), ...at })) {
        assert(typeof key !== 'string', 'LMDB gives keys as bytes');
        yield { key, row: value };
      }
    },
  };
}
