/**
 * The cursors that a merge is made of: over a memtable, over a level, over rows.
 */
import { expect, test } from 'vitest';
import type { Random } from '../../../../src/core/base/env.ts';
import { KIND_PUT, KIND_TOMBSTONE, Skiplist } from '../../../../src/engine/lsm/skiplist.ts';
import { compareInternal, revisionOf } from '../../../../src/engine/lsm/sstable/keys.ts';
import { LevelCursor } from '../../../../src/engine/lsm/tree/level-cursor.ts';
import { MemtableCursor } from '../../../../src/engine/lsm/tree/memtable-cursor.ts';
import type { InternalCursor } from '../../../../src/engine/lsm/tree/merge.ts';
import { RowsCursor } from '../../../../src/engine/lsm/tree/rows-cursor.ts';
import type { TableRef } from '../../../../src/engine/lsm/tree/version.ts';
import { below, forSeeds, pick } from '../../../core/base/seeded.ts';
import {
  ArrayCursor,
  backward,
  byKey,
  forward,
  here,
  latin,
  type Row,
  row,
  someRows,
  someTarget,
  toldRow,
} from './sources.ts';

const NO_VALUE = new Uint8Array(0);

/** Every way to move a cursor gives what the sorted rows say. */
function checkCursor(random: Random, make: () => InternalCursor, rows: readonly Row[], revisionMax: number): void {
  const all = rows.map(toldRow);
  const cursor = make();
  expect(cursor.valid, 'it begins nowhere').toBe(false);
  cursor.first();
  expect(forward(cursor)).toEqual(all);
  cursor.last();
  expect(backward(cursor)).toEqual(all.toReversed());
  for (let i = 0; i < 8; i++) {
    const target = someTarget(random, revisionMax);
    const at = rows.findIndex(({ key }) => compareInternal(key, key.length, target, target.length) >= 0);
    cursor.seek(target, target.length);
    if (at < 0) {
      expect(cursor.valid).toBe(false);
      continue;
    }
    // To and fro from there.
    let place = at;
    for (let step = 0; step < 12 && cursor.valid; step++) {
      expect(here(cursor)).toBe(all[place]);
      if (random() < 0.5) {
        cursor.next();
        place++;
      } else {
        cursor.prev();
        place--;
      }
      expect(cursor.valid).toBe(place >= 0 && place < all.length);
    }
  }
}

/** Versions in the order in which a writer would make them; some revisions write a key twice. */
function someMemtable(random: Random): { list: Skiplist; rows: Row[] } {
  const list = Skiplist.create(256 * 1024);
  const rows = new Map<string, Row>();
  const keys = ['', '\0', 'a', 'a\0', 'aa', 'aaaa', 'aaaab', 'b', '\xff', '\xff\xff'];
  for (let revision = 1; revision <= 12; revision++) {
    for (let i = below(random, 6); i > 0; i--) {
      const key = pick(random, keys);
      const value = random() < 0.3 ? undefined : `v${below(random, 1000)}`;
      if (value === undefined) list.insert(latin(key), revision, KIND_TOMBSTONE, NO_VALUE, 0);
      else list.insert(latin(key), revision, KIND_PUT, latin(value), 0);
      // The later one of a revision counts.
      rows.set(`${key}@${revision}`, row(key, revision, value));
    }
  }
  return { list, rows: [...rows.values()].sort(byKey) };
}

test('a memtable is versions in the order of internal keys, the last of each revision', () => {
  forSeeds(120, (random) => {
    const { list, rows } = someMemtable(random);
    checkCursor(random, () => new MemtableCursor(list), rows, 12);
  });
});

test('a memtable cursor going back does not mind what the writer adds to the key it stands at', () => {
  const list = Skiplist.create(64 * 1024);
  list.insert(latin('a'), 1, KIND_PUT, latin('a1'), 0);
  list.insert(latin('k'), 2, KIND_PUT, latin('k2'), 0);
  list.insert(latin('k'), 3, KIND_PUT, latin('k3'), 0);
  const cursor = new MemtableCursor(list);
  cursor.last();
  cursor.prev();
  expect(here(cursor)).toBe(toldRow(row('k', 3, 'k3')));
  // Another of the revision that it stands at, and newer ones.
  list.insert(latin('k'), 3, KIND_PUT, latin('other'), 0);
  list.insert(latin('k'), 4, KIND_PUT, latin('k4'), 0);
  cursor.prev();
  expect(here(cursor)).toBe(toldRow(row('k', 4, 'k4')));
  cursor.prev();
  expect(here(cursor)).toBe(toldRow(row('a', 1, 'a1')));
  cursor.prev();
  expect(cursor.valid).toBe(false);
});

test('a memtable cursor gives expiries in the envelope, and keys longer than its first buffer', () => {
  const list = Skiplist.create(256 * 1024);
  const long = 'x'.repeat(1000);
  list.insert(latin(long), 1, KIND_PUT, latin('v'), 2 ** 40);
  const cursor = new MemtableCursor(list);
  cursor.first();
  expect(cursor.keyLength).toBe(1008);
  expect(revisionOf(cursor.key, cursor.keyLength)).toBe(1);
  expect(Buffer.from(cursor.block.subarray(cursor.valueStart, cursor.valueEnd)).toString('hex')).toBe(
    '01000000000001000076',
  );
});

/** Rows cut into tables between keys. */
function cut(random: Random, rows: readonly Row[]): Row[][] {
  const tables: Row[][] = [];
  for (const each of rows) {
    const table = tables.at(-1);
    const last = table?.at(-1);
    const isSameKey = last !== undefined && Buffer.compare(last.key.subarray(0, -8), each.key.subarray(0, -8)) === 0;
    if (table === undefined || (!isSameKey && random() < 0.4)) tables.push([each]);
    else table.push(each);
  }
  return tables;
}

const refOf = (rows: readonly Row[], number: number): TableRef => ({
  number,
  fileBytes: 1,
  smallest: (rows[0] as Row).key,
  largest: (rows.at(-1) as Row).key,
  entries: rows.length,
  tombstones: 0,
  smallestRevision: 1,
  largestRevision: 12,
  earliestExpiryMs: 0,
});

test('the tables of a level are one run, opened as the cursor comes to them', () => {
  forSeeds(120, (random) => {
    const rows = someRows(random, below(random, 40), 12);
    const tables = cut(random, rows);
    const refs = tables.map(refOf);
    let opened = 0;
    const make = (): LevelCursor =>
      new LevelCursor(refs, ({ number }) => {
        opened++;
        return new ArrayCursor(tables[number] as Row[]);
      });
    checkCursor(random, make, rows, 12);
    if (refs.length < 2) return;
    opened = 0;
    const cursor = make();
    expect(opened, 'none before it is placed').toBe(0);
    cursor.first();
    expect(opened).toBe(1);
    cursor.last();
    expect(opened).toBe(2);
  });
});

test('rows are puts of one revision, in order', () => {
  forSeeds(20, (random) => {
    const keys = ['', 'a', 'aaaa', 'b', '\xff'].filter(() => random() < 0.7);
    const rows = keys.map((key) => row(key, 7, `of ${key}`));
    const given = keys.map((key) => ({ key: latin(key), value: latin(`of ${key}`) }));
    checkCursor(random, () => new RowsCursor(given, 7), rows, 12);
  });
  expect(
    () =>
      new RowsCursor(
        [
          { key: latin('b'), value: NO_VALUE },
          { key: latin('a'), value: NO_VALUE },
        ],
        1,
      ),
  ).toThrow(/rows are in key order/);
});
