/**
 * Table sizes in shared memory: who reads them while tables come and go sees each by its own id, or not at all.
 */
import { describe, expect, test } from 'vitest';
import { TableSizes } from '../../src/actors/gateway/table-sizes.ts';
import { createTableSizes, TableSizesReader, TableSizesWriter } from '../../src/actors/table-sizes.ts';
import { TABLES_MAX } from '../../src/core/model/control/catalog.ts';
import { encodeTableLimit, tableLimitKey } from '../../src/core/model/control/private.ts';
import { encodeSchema, tableKey, type TableSchema } from '../../src/core/model/control/schema.ts';
import { toIndex } from '../../src/core/base/position.ts';

describe('in shared memory', () => {
  test('a slot is used again, and there is one for each table that may be', () => {
    const buffer = createTableSizes();
    const [writer, reader] = [new TableSizesWriter(buffer), new TableSizesReader(buffer)];
    for (let id = 1; id <= TABLES_MAX; id++) writer.note(id, { rows: id, bytes: 2 ** 40 + id });
    for (let id = 1; id <= TABLES_MAX; id += 2) writer.note(id, undefined);
    expect(reader.list()).toHaveLength(TABLES_MAX / 2);
    for (let id = TABLES_MAX + 1; id <= TABLES_MAX * 1.5; id++) writer.note(id, { rows: 0, bytes: 0 });
    writer.note(2, { rows: 7, bytes: 8 });
    const listed = new Map(reader.list().map(({ id, ...size }) => [id, size]));
    expect(listed.size).toBe(TABLES_MAX);
    expect(listed.get(2)).toEqual({ rows: 7, bytes: 8 });
    expect(listed.get(4)).toEqual({ rows: 4, bytes: 2 ** 40 + 4 });
    expect(() => writer.note(99_999, { rows: 0, bytes: 0 })).toThrow('no more tables than slots');
    expect(() => writer.note(1, undefined)).toThrow('a table that goes was there');
  });
});

describe('by name', () => {
  const schemas = new Map<string, TableSchema>();
  let scans = 0;
  const buffer = createTableSizes();
  const writer = new TableSizesWriter(buffer);
  const own = new Map<string, Uint8Array>();
  const sizes = new TableSizes({
    sizes: new TableSizesReader(buffer),
    state: {
      scan: () => {
        scans++;
        const rows = [...schemas.values()].map((schema) => ({
          ...{ key: tableKey(schema.family, schema.table), value: encodeSchema(schema) },
          ...{ revision: toIndex(1), expiryMs: 0 },
        }));
        return { revision: toIndex(1), next: () => rows.shift(), close: () => {} };
      },
      getPrivate: () => undefined,
      privateRows: () => [...own].map(([key, value]) => ({ key: Buffer.from(key, 'latin1'), value })),
    },
  });
  const create = (id: number, family: string, table: string): void => {
    const named = { id, epoch: 0, version: 1, created: 1, fields: [], key: [] };
    schemas.set(`${family}.${table}`, { family, table, ...named });
  };

  test('names are read once, and again when there is a table without one', () => {
    create(1, 'fam', 'b');
    create(2, 'fam', 'a');
    writer.note(1, { rows: 1, bytes: 10 });
    writer.note(2, { rows: 2, bytes: 20 });
    expect(sizes.list()).toMatchObject([
      { family: 'fam', table: 'a', rows: 2, bytes: 20 },
      { family: 'fam', table: 'b', rows: 1, bytes: 10 },
    ]);
    writer.note(1, { rows: 5, bytes: 50 });
    expect(sizes.list()[1]).toMatchObject({ table: 'b', rows: 5 });
    expect(scans).toBe(1);
  });

  test('a table that is made again under its name is another one, and is shown once it can be read', () => {
    writer.note(2, undefined);
    writer.note(3, { rows: 0, bytes: 0 });
    schemas.delete('fam.a');
    expect(sizes.list()).toMatchObject([{ table: 'b' }]);
    create(3, 'fam', 'a');
    expect(sizes.list()).toMatchObject([{ table: 'a', rows: 0 }, { table: 'b' }]);
  });

  test('a limit of its own takes the place of that of all', () => {
    own.set(Buffer.from(tableLimitKey('fam', 'b')).toString('latin1'), encodeTableLimit({ warnBytes: 1, maxBytes: 2 }));
    expect(sizes.list().map(({ limit }) => limit?.maxBytes)).toEqual([100 * 2 ** 20, 2]);
  });
});
