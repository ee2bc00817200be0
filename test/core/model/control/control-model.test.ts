/**
 * Control data against a plain model: maps of names and rows. Histories of everything that clients can ask for, with
 * restarts in between; what the machine answers, holds and counts is what the model says, and every node that applied
 * the same log has the same bytes.
 */
import { expect, test } from 'vitest';
import { ByteReader, ByteWriter } from '../../../../src/core/base/bytes.ts';
import type { Random } from '../../../../src/core/base/env.ts';
import { encodeColumn } from '../../../../src/core/model/control/row-key.ts';
import { encodeValue, type Value } from '../../../../src/core/model/control/value.ts';
import { below, forSeeds, pick } from '../../base/seeded.ts';
import { clock, put } from '../model.ts';
import { ControlBench, type Mutation, type Outcome, SECRET } from './bench.ts';

interface PlainTable {
  readonly fields: string[];
  readonly added: Set<string>;
  /** By the text of their key; in the order in which they came. */
  rows: Map<string, Record<string, Value>>;
}

/** What it should do, said as simply as possible. */
class Plain {
  readonly families = new Map<string, Map<string, PlainTable>>();
  cookie = 'none';

  table(family: string, table: string): PlainTable | undefined {
    return this.families.get(family)?.get(table);
  }

  /** The code, and what it did. */
  mutate(
    family: string,
    mutations: readonly Mutation[],
    check: string | undefined,
    cookie: string | undefined,
  ): string {
    if (check !== undefined && check !== this.cookie) return 'COOKIE_CONFLICT';
    if (!this.families.has(family)) return 'NOT_FOUND';
    // First all tables, then all shapes, then row by row.
    const changed = new Map<PlainTable, Map<string, Record<string, Value>>>();
    for (const { op, table: name, values } of mutations) {
      const table = this.table(family, name);
      if (table === undefined) return 'NOT_FOUND';
      const isUnknown = Object.keys(values).some((field) => !table.fields.includes(field));
      const needed = op === 'upsert' ? table.fields.filter((field) => !table.added.has(field)) : ['a', 'b'];
      if (isUnknown || needed.some((field) => !(field in values))) return 'SCHEMA_MISMATCH';
    }
    for (const { op, table: name, values } of mutations) {
      const table = this.table(family, name) as PlainTable;
      const rows = changed.get(table) ?? new Map(table.rows);
      changed.set(table, rows);
      if (Object.entries(values).some(([field, value]) => field !== 'b' && typeof value === 'string')) {
        return 'SCHEMA_MISMATCH';
      }
      const key = JSON.stringify([values['a'], values['b']]);
      const before = rows.get(key);
      const nulls = Object.fromEntries(table.fields.map((field) => [field, null]));
      if (op === 'delete') rows.delete(key);
      else if (op === 'upsert') rows.set(key, { ...nulls, ...(values as Record<string, Value>) });
      else if (before === undefined) return 'NOT_FOUND';
      else rows.set(key, { ...nulls, ...before, ...(values as Record<string, Value>) });
    }
    for (const [table, rows] of changed) table.rows = rows;
    if (cookie !== undefined) this.cookie = cookie;
    return 'OK';
  }
}

const FAMILIES = ['fam', 'fam_x', 'other'];
const TABLES = ['tab', 'tab_x', 'third'];

function randomMutation(random: Random, plain: Plain, family: string): Mutation {
  const table = pick(random, TABLES);
  const op = pick(random, ['upsert', 'upsert', 'patch', 'delete'] as const);
  const values: Record<string, Value> = { a: below(random, 3), b: pick(random, ['', 'x', '\0', null]) };
  for (const field of plain.table(family, table)?.fields.slice(2) ?? []) {
    if (op === 'upsert' ? random() < 0.97 : random() < 0.5) values[field] = pick(random, [null, 1, -1, 2n ** 60n]);
  }
  if (random() < 0.02) values['unknown'] = 1;
  if (random() < 0.02) values['a'] = 'text';
  return { op, table, values };
}

function step(random: Random, bench: ControlBench, plain: Plain): { outcome: Outcome; expected: string } {
  const family = pick(random, FAMILIES);
  const name = pick(random, TABLES);
  const tables = plain.families.get(family);
  const table = tables?.get(name);
  const there = table === undefined ? 'NOT_FOUND' : 'OK';
  switch (below(random, 14)) {
    case 0: {
      if (tables === undefined) plain.families.set(family, new Map());
      return {
        outcome: bench.run({ kind: 'createFamily', family }),
        expected: tables === undefined ? 'OK' : 'ALREADY_EXISTS',
      };
    }
    case 1:
    case 2: {
      const outcome = bench.createTable(
        name,
        [
          ['a', 'integer'],
          ['b', 'string'],
          ['c', 'integer'],
        ],
        ['a', 'b'],
        family,
      );
      if (tables === undefined) return { outcome, expected: 'NOT_FOUND' };
      if (table !== undefined) return { outcome, expected: 'ALREADY_EXISTS' };
      tables.set(name, { fields: ['a', 'b', 'c'], added: new Set(), rows: new Map() });
      return { outcome, expected: 'OK' };
    }
    case 3: {
      const field = pick(random, ['c', 'd', 'e']);
      const outcome = bench.run({ kind: 'addFields', family, table: name, fields: [[field, 'integer']] });
      if (table === undefined) return { outcome, expected: there };
      if (table.fields.includes(field)) return { outcome, expected: 'ALREADY_EXISTS' };
      table.fields.push(field);
      table.added.add(field);
      for (const row of table.rows.values()) row[field] = null;
      return { outcome, expected: 'OK' };
    }
    case 4: {
      if (random() < 0.5) {
        tables?.delete(name);
        return { outcome: bench.run({ kind: 'dropTable', family, table: name }), expected: there };
      }
      table?.rows.clear();
      return { outcome: bench.run({ kind: 'clearTable', family, table: name }), expected: there };
    }
    case 5: {
      if (random() < 0.8) return { outcome: bench.entry(clock(bench.machine.timeMs + 7)), expected: 'OK' };
      for (const { rows } of tables?.values() ?? []) rows.clear();
      const expected = tables === undefined ? 'NOT_FOUND' : 'OK';
      return { outcome: bench.run({ kind: 'clearFamily', family }), expected };
    }
    case 6:
      return { outcome: bench.entry(put('k', 'v')), expected: 'OK' };
    default: {
      const mutations = Array.from({ length: 1 + below(random, 5) }, () => randomMutation(random, plain, family));
      const check = random() < 0.1 ? pick(random, [plain.cookie, 'x']) : undefined;
      const cookie = random() < 0.2 ? `c${below(random, 3)}` : undefined;
      const bytes = (text: string | undefined): Uint8Array | undefined =>
        text === undefined ? undefined : new TextEncoder().encode(text);
      const outcome = bench.mutate(mutations, { family, check: bytes(check), cookie: bytes(cookie) });
      return { outcome, expected: plain.mutate(family, mutations, check, cookie) };
    }
  }
}

/** Rows as a reader gets them: in the order of their keys. */
function rowsOf(table: PlainTable): Record<string, Value>[] {
  const keyOf = (row: Record<string, Value>): string => {
    const writer = new ByteWriter();
    for (const field of ['a', 'b']) {
      const value = new ByteWriter();
      encodeValue(value, row[field] ?? null);
      encodeColumn(writer, value.take());
    }
    return Buffer.from(writer.take()).toString('latin1');
  };
  const order = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
  return [...table.rows.values()].sort((a, b) => order(keyOf(a), keyOf(b)));
}

/** What the machine counts of each table, and tells, is what is there, and it counts no table that is none. */
function checkCounts(bench: ControlBench): void {
  const sizes = bench.sizes();
  const schemas = FAMILIES.flatMap((family) => TABLES.map((table) => bench.schema(family, table)));
  const there = schemas.filter((schema) => schema !== undefined);
  expect(sizes).toEqual(new Map(there.map((schema) => [schema.id, bench.measure(schema)])));
  expect(new Map(bench.sizesTold().map(({ id, ...size }) => [id, size]))).toEqual(sizes);
}

test('answers, rows and counts are those of a plain model, over restarts', () => {
  forSeeds(Number(process.env['CTLMESH_SEEDS'] ?? 25), (random) => {
    const bench = new ControlBench();
    const plain = new Plain();
    bench.run({ kind: 'registerWriter', writer: 'loader' }, { secret: SECRET });
    bench.run({ kind: 'setCookie', writer: 'loader', cookie: new TextEncoder().encode('none') }, { secret: SECRET });
    for (let i = 0; i < 150; i++) {
      const { outcome, expected } = step(random, bench, plain);
      expect(outcome.code, `step ${i}: ${outcome.message}`).toBe(expected);
      if (random() < 0.03) bench.restart();
    }
    for (const [family, tables] of plain.families) {
      for (const [name, table] of tables) expect(bench.rows(name, family)).toEqual(rowsOf(table));
    }
    checkCounts(bench);

    // Another node, which never restarted, has the same state, hash and saved bytes; one that applies half, restarts
    // and goes on has them too.
    const half = below(random, bench.log.length);
    const [other, halted] = [new ControlBench(), new ControlBench()];
    for (const [i, entry] of bench.log.entries()) {
      other.apply(entry);
      if (i === half) halted.restart();
      halted.apply(entry);
    }
    for (const node of [other, halted]) {
      expect(node.machine.stateHash()).toBe(bench.machine.stateHash());
      expect(node.saved()).toEqual(bench.saved());
      expect(node.all()).toEqual(bench.all());
      expect(node.table.privates).toEqual(bench.table.privates);
    }
  });
});

test('what no replica sees is in the hash of the state all the same', () => {
  const hashAfter = (secret: string): number => {
    const bench = new ControlBench();
    bench.run({ kind: 'registerWriter', writer: 'loader' }, { secret });
    return bench.machine.stateHash();
  };
  expect(hashAfter('one')).toBe(hashAfter('one'));
  expect(hashAfter('one')).not.toBe(hashAfter('two'));
});

test('a state that was saved before there was control data is gone on from', () => {
  const bench = new ControlBench();
  bench.entry(put('k', 'v'));
  const saved = bench.saved();
  // Format 1 ended before families, ids, tables, writers, usage and sweeps: six zeros and a one. It had one hash, at 2.
  const old = Uint8Array.of(...saved.slice(0, 6), ...saved.slice(10, -6));
  old[0] = 1;
  const next = new ControlBench();
  next.machine.restore(new ByteReader(old));
  expect(next.machine.applied).toBe(1);
  expect(next.run({ kind: 'createFamily', family: 'billing' }).code).toBe('OK');
});
