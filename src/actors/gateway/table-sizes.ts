/**
 * Table sizes for people: each table by its name, with what it holds and its limit. The counts are the memtable's
 * (actors/table-sizes.ts), by ids; names and limits are read here from the state.
 *
 * An id keeps its name for ever, so names are read once, and all of them again when there is an id without one: as often as
 * tables are made.
 */
import { prefixEnd } from '../../core/base/bytes.ts';
import type { TableLimit } from '../../core/model/control/commands.ts';
import {
  decodeDefaults,
  decodeTableLimit,
  DEFAULTS_KEY,
  TABLE_LIMITS_PREFIX,
  tableOfLimitKey,
} from '../../core/model/control/private.ts';
import { decodeSchema, TABLES_PREFIX } from '../../core/model/control/schema.ts';
import type { TableSizeRow } from '../../core/wire/control.ts';
import type { StateReader } from '../../engine/state/state-reader.ts';
import type { TableSizesReader } from '../table-sizes.ts';

interface Named {
  readonly family: string;
  readonly table: string;
}

export interface TableSizesWorld {
  readonly state: Pick<StateReader, 'scan' | 'getPrivate' | 'privateRows'>;
  readonly sizes: Pick<TableSizesReader, 'list'>;
}

export class TableSizes {
  readonly #world: TableSizesWorld;
  /** By id; of tables that were there when it was read. */
  #names: ReadonlyMap<number, Named> = new Map();

  constructor(world: TableSizesWorld) {
    this.#world = world;
  }

  /** All tables, by family and name. Throws what a read of the state may throw. */
  list(): TableSizeRow[] {
    const sizes = this.#world.sizes.list();
    if (sizes.some(({ id }) => !this.#names.has(id))) this.#names = this.#readNames();
    const limits = this.#readLimits();
    return sizes
      .flatMap(({ id, rows, bytes }) => {
        const named = this.#names.get(id);
        // Counted already, and not readable yet.
        return named === undefined ? [] : [{ ...named, rows, bytes, limit: limits(named) }];
      })
      .toSorted((a, b) => compare(a.family, b.family) || compare(a.table, b.table));
  }

  #readNames(): Map<number, Named> {
    const names = new Map<number, Named>();
    const cursor = this.#world.state.scan({ from: TABLES_PREFIX, to: prefixEnd(TABLES_PREFIX), reverse: false });
    try {
      for (let row = cursor.next(); row !== undefined; row = cursor.next()) {
        const { id, family, table } = decodeSchema(row.key, row.value);
        names.set(id, { family, table });
      }
    } finally {
      cursor.close();
    }
    return names;
  }

  #readLimits(): (named: Named) => TableLimit | null {
    const { state } = this.#world;
    const usual = decodeDefaults(state.getPrivate(DEFAULTS_KEY)).tables ?? null;
    const own = new Map(
      state.privateRows(TABLE_LIMITS_PREFIX).map(({ key, value }) => {
        const { family, table } = tableOfLimitKey(key);
        return [`${family}.${table}`, decodeTableLimit(value) ?? null];
      }),
    );
    return ({ family, table }) => own.get(`${family}.${table}`) ?? usual;
  }
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
