import { existsSync, mkdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Entry } from '../../../src/client/types.ts';
import { isStoreError } from '../../../src/core/base/errors.ts';
import { type LdbRangeOptions, type LdbReader, openLdb } from '../../../src/engine/ldb/index.ts';
import { LdbWriter } from '../../../src/engine/ldb/writer.ts';
import { startChild } from './children.ts';
import { CLUSTER, del, nextTurn, put, records, temporaryDir, timeOf } from './ledger.ts';

let dir: ReturnType<typeof temporaryDir>;
let writer: LdbWriter;
let ldb: LdbReader;

beforeEach(async () => {
  dir = temporaryDir();
  writer = await LdbWriter.open(dir.path);
  ldb = openLdb(dir.path);
});

afterEach(async () => {
  ldb.close();
  await writer.close();
  dir.remove();
});

const codeOf = (work: () => unknown): string => {
  try {
    work();
    return 'no error';
  } catch (error) {
    return isStoreError(error) ? error.code : String(error);
  }
};

const keys = (options?: LdbRangeOptions): string[] => [...ldb.range(options)].map((entry) => entry.keyText());

describe('get', () => {
  test('an entry tells key, value, revision and expiry', async () => {
    await writer.apply(records(1, [put('flags/ü', '{"on":true}', timeOf(1) + 5000)]), CLUSTER);
    const entry: Entry | undefined = ldb.get('flags/ü');
    expect(entry?.keyText()).toBe('flags/ü');
    expect(entry?.text()).toBe('{"on":true}');
    expect(entry?.json()).toEqual({ on: true });
    expect(entry?.revision).toBe(1);
    expect(entry?.expiryMs).toBe(timeOf(1) + 5000);
    expect(inspect(entry)).toContain('revision: 1');
    expect(ldb.get(Buffer.from('flags/ü'))?.key).toEqual(new Uint8Array(Buffer.from('flags/ü')));
    expect(ldb.get('flags/u')).toBeUndefined();
  });

  test('an entry stays what it was while others are read and written', async () => {
    await writer.apply(records(1, [put('a', 'first'), put('b', 'x'.repeat(5000))]), CLUSTER);
    await nextTurn();
    const key = Buffer.from('a');
    const entry = ldb.get(key);
    key.write('b');
    for (let i = 0; i < 500; i++) ldb.get('b');
    await writer.apply(records(2, [put('a', 'second')]), CLUSTER);
    await nextTurn();
    expect(ldb.get('a')?.text()).toBe('second');
    expect(entry?.text()).toBe('first');
    expect(entry?.keyText()).toBe('a');
  });

  test('getBytes gives the value in place', async () => {
    await writer.apply(records(1, [put('a', 'one'), put('ttl', 'soon', timeOf(9))]), CLUSTER);
    await nextTurn();
    expect(Buffer.from(ldb.getBytes('a') ?? []).toString()).toBe('one');
    expect(Buffer.from(ldb.getBytes('ttl') ?? []).toString()).toBe('soon');
    expect(ldb.getBytes('none')).toBeUndefined();
  });

  test('a row is gone when log time has passed its expiry, and not before', async () => {
    await writer.apply(records(1, [put('ttl', 'x', timeOf(3)), put('stays', 'y')], []), CLUSTER);
    expect(ldb.get('ttl')?.text()).toBe('x');
    expect(keys()).toEqual(['stays', 'ttl']);
    await writer.apply(records(3, []), CLUSTER);
    await nextTurn();
    expect(ldb.get('ttl')).toBeUndefined();
    expect(ldb.getBytes('ttl')).toBeUndefined();
    expect(keys({ limit: 2 })).toEqual(['stays']);
  });

  test('a key that cannot be is refused', () => {
    expect(codeOf(() => ldb.get(''))).toBe('KEY_INVALID');
    expect(codeOf(() => ldb.get(new Uint8Array(0)))).toBe('KEY_INVALID');
    expect(codeOf(() => ldb.get('k'.repeat(1979)))).toBe('KEY_INVALID');
    expect(codeOf(() => ldb.get('ü'.repeat(1000)))).toBe('KEY_INVALID');
    expect(ldb.get('k'.repeat(1978))).toBeUndefined();
  });

  test('atLeast and maxStalenessMs are met or refused', async () => {
    await writer.apply(records(1, [put('a', '1')]), CLUSTER);
    ldb.close();
    let now = timeOf(1) + 40;
    ldb = openLdb(dir.path, { nowMs: () => now });
    expect(ldb.get('a', { atLeast: 1, maxStalenessMs: 40 })?.text()).toBe('1');
    expect(codeOf(() => ldb.get('a', { atLeast: 2 }))).toBe('TOO_STALE');
    now += 1;
    expect(codeOf(() => ldb.get('a', { maxStalenessMs: 40 }))).toBe('TOO_STALE');
    expect(ldb.lagMs()).toBe(41);
    expect(ldb.lagMs(timeOf(1) - 5)).toBe(0);
    await writer.apply(records(2, [put('a', '2')]), CLUSTER);
    // In the same turn: what this turn's state cannot show, the newest one can.
    expect(ldb.get('a', { atLeast: 2, maxStalenessMs: 40 })?.text()).toBe('2');
  });

  test('a limit that is not a number is refused rather than met', async () => {
    await writer.apply(records(1, [put('a', '1')]), CLUSTER);
    expect(codeOf(() => ldb.get('a', { atLeast: Number.NaN }))).toBe('TOO_STALE');
    expect(codeOf(() => ldb.get('a', { maxStalenessMs: Number.NaN }))).toBe('TOO_STALE');
  });

  test('an LDB that was never filled is infinitely old', () => {
    expect(ldb.position).toEqual({ cluster: '', revision: 0, timeMs: 0 });
    expect(ldb.lagMs()).toBe(Number.POSITIVE_INFINITY);
    expect(codeOf(() => ldb.get('a', { maxStalenessMs: 1e15 }))).toBe('TOO_STALE');
  });
});

describe('range', () => {
  beforeEach(async () => {
    const names = ['a', 'b/1', 'b/2', 'b/3', 'c'];
    await writer.apply(records(1, [...names.map((key) => put(key, key)), put(Uint8Array.of(0), 'nul')]), CLUSTER);
    await nextTurn();
  });

  test('gives all rows in key order, or the reverse', () => {
    expect(keys()).toEqual(['\0', 'a', 'b/1', 'b/2', 'b/3', 'c']);
    expect(keys({ reverse: true })).toEqual(['c', 'b/3', 'b/2', 'b/1', 'a', '\0']);
  });

  test('begins at from, inclusive, and ends before to', () => {
    expect(keys({ from: 'b/1', to: 'b/3' })).toEqual(['b/1', 'b/2']);
    expect(keys({ from: 'b/1', to: 'b/3', reverse: true })).toEqual(['b/2', 'b/1']);
    expect(keys({ from: 'b/25' })).toEqual(['b/3', 'c']);
    expect(keys({ to: 'a' })).toEqual(['\0']);
    expect(keys({ from: 'c', to: 'a' })).toEqual([]);
    expect(keys({ from: 'a', to: 'a' })).toEqual([]);
    expect(keys({ to: '' })).toEqual([]);
  });

  test('takes a prefix and a limit', () => {
    expect(keys({ prefix: 'b/' })).toEqual(['b/1', 'b/2', 'b/3']);
    expect(keys({ prefix: 'b/', reverse: true, limit: 2 })).toEqual(['b/3', 'b/2']);
    expect(keys({ prefix: 'b/', limit: 0 })).toEqual([]);
    expect(keys({ prefix: '', limit: 2 })).toEqual(['\0', 'a']);
    expect(keys({ prefix: 'zz' })).toEqual([]);
  });

  test('a prefix of 0xff bytes has no end, and ends right', async () => {
    const odd = [[0xfe], [0xff], [0xff, 0x01], [0xff, 0xff], [0xff, 0xff, 0xff]].map((bytes) => Uint8Array.from(bytes));
    await writer.apply(
      records(
        2,
        odd.map((key) => put(key, '')),
      ),
      CLUSTER,
    );
    await nextTurn();
    const hex = (prefix: number[], reverse = false): string[] =>
      [...ldb.range({ prefix: Uint8Array.from(prefix), reverse })].map(({ key }) => Buffer.from(key).toString('hex'));
    expect(hex([0xff])).toEqual(['ff', 'ff01', 'ffff', 'ffffff']);
    expect(hex([0xff, 0xff])).toEqual(['ffff', 'ffffff']);
    expect(hex([0xff, 0xff], true)).toEqual(['ffffff', 'ffff']);
    expect(hex([0xfe])).toEqual(['fe']);
  });

  test('refuses a prefix together with bounds, and a limit below 0', () => {
    expect(codeOf(() => ldb.range({ prefix: 'b', from: 'a' }))).toBe('BAD_REQUEST');
    expect(codeOf(() => ldb.range({ limit: -1 }))).toBe('BAD_REQUEST');
    expect(codeOf(() => ldb.range({ limit: Number.NaN }))).toBe('BAD_REQUEST');
  });

  test('may be iterated again, and sees the state of that time', async () => {
    const range = ldb.range({ prefix: 'b/' });
    expect([...range].length).toBe(3);
    await writer.apply(records(2, [del('b/1')]), CLUSTER);
    await nextTurn();
    expect([...range].length).toBe(2);
  });

  test('shows one state, even when rows change while the caller awaits', async () => {
    const got: string[] = [];
    let revision = 2;
    for (const entry of ldb.range({ prefix: 'b/' })) {
      got.push(entry.text());
      await writer.apply(records(revision++, [put('b/2', 'changed'), del('b/3'), put('b/4', 'new')]), CLUSTER);
      await nextTurn();
      expect(ldb.get('b/2')?.text(), 'other reads move on').toBe('changed');
    }
    expect(got).toEqual(['b/1', 'b/2', 'b/3']);
    expect(keys({ prefix: 'b/' })).toEqual(['b/1', 'b/2', 'b/4']);
  });

  test('one that stands still lets its state go: it continues if nothing changed, else it is TOO_STALE', async () => {
    ldb.close();
    ldb = openLdb(dir.path, { rangeHoldMs: 20 });
    const iterator = ldb.range({ prefix: 'b/' })[Symbol.iterator]();
    const backward = ldb.range({ prefix: 'b/', reverse: true })[Symbol.iterator]();
    expect(iterator.next().value?.text()).toBe('b/1');
    expect(backward.next().value?.text()).toBe('b/3');
    await new Promise((done) => setTimeout(done, 80));
    expect(iterator.next().value?.text()).toBe('b/2');
    expect(backward.next().value?.text()).toBe('b/2');
    await new Promise((done) => setTimeout(done, 80));
    await writer.apply(records(2, []), CLUSTER);
    await nextTurn();
    expect(codeOf(() => iterator.next())).toBe('TOO_STALE');
    expect(codeOf(() => backward.next())).toBe('TOO_STALE');
    expect(iterator.next().done).toBe(true);
  });

  test('one that is stopped early gives its transaction back', async () => {
    for (let i = 0; i < 3000; i++) for (const _ of ldb.range()) break;
    const abandoned = ldb.range()[Symbol.iterator]();
    abandoned.next();
    ldb.close();
    expect(codeOf(() => abandoned.next())).toBe('CLOSED');
  });
});

describe('what a reader sees of commits', () => {
  test('one turn sees one state; refresh moves on within it; the next turn is new by itself', async () => {
    await writer.apply(records(1, [put('a', '1')]), CLUSTER);
    await nextTurn();
    expect(ldb.revision).toBe(1);
    await writer.apply(records(2, [put('a', '2')]), CLUSTER);
    ldb.refresh();
    expect([ldb.revision, ldb.get('a')?.text(), ldb.timeMs]).toEqual([2, '2', timeOf(2)]);
    await writer.apply(records(3, [put('a', '3')]), CLUSTER);
    await nextTurn();
    expect([ldb.revision, ldb.get('a')?.text(), ldb.timeMs]).toEqual([3, '3', timeOf(3)]);
    expect(ldb.count()).toBe(1);
    expect(ldb.cluster).toBe(CLUSTER);
  });

  test('another process sees whole revisions only, and many of them, while the file grows', async () => {
    const child = startChild('read', dir.path);
    expect(await child.line()).toBe('ready');
    const names = Array.from({ length: 20 }, (_, i) => `same/${i}`);
    for (let revision = 1; revision <= 300; revision++) {
      const text = String(revision).padEnd(revision % 50 === 0 ? 40_000 : 200);
      await writer.apply(
        records(
          revision,
          names.map((name) => put(name, text)),
        ),
        CLUSTER,
      );
      await new Promise((done) => setTimeout(done, 1));
    }
    await writer.apply(records(301, [put('stop', '')]), CLUSTER);
    const last = await child.line();
    expect(last).toMatch(/^saw \d+$/);
    expect(Number(last?.slice(4))).toBeGreaterThan(20);
    await child.kill();
  });

  test('this process sees what another one writes, without a call', async () => {
    ldb.close();
    await writer.close();
    const child = startChild('write', dir.path);
    await child.line();
    ldb = openLdb(dir.path);
    const first = ldb.revision;
    while (ldb.revision < first + 100) await new Promise((done) => setTimeout(done, 1));
    await child.kill();
    ldb.close();
  });
});

describe('opening', () => {
  test('a missing LDB is LDB_MISSING, in words, and nothing is made', () => {
    const path = join(dir.path, 'nothing', 'here.ldb');
    expect(() => openLdb(path)).toThrow(`there is no LDB in ${path}`);
    expect(codeOf(() => openLdb(path))).toBe('LDB_MISSING');
    expect(existsSync(join(dir.path, 'nothing'))).toBe(false);
    mkdirSync(path, { recursive: true });
    expect(codeOf(() => openLdb(path))).toBe('LDB_MISSING');
    expect(existsSync(join(path, 'data.mdb'))).toBe(false);
    expect(existsSync(join(path, 'lock.mdb'))).toBe(false);
  });

  test('an empty, foreign or cut file is told from an LDB, by reader and writer', async () => {
    await writer.apply(records(1, [put('a', '1')]), CLUSTER);
    const good = readFileSync(join(dir.path, 'data.mdb'));
    const made = (name: string, bytes: Uint8Array): string => {
      const path = join(dir.path, name);
      mkdirSync(path);
      writeFileSync(join(path, 'data.mdb'), bytes);
      return path;
    };
    expect(codeOf(() => openLdb(made('empty', new Uint8Array(0))))).toBe('LDB_MISSING');
    expect(codeOf(() => openLdb(made('foreign', Buffer.alloc(20_000, 'text'))))).toBe('LDB_CORRUPT');
    expect(codeOf(() => openLdb(made('short', good.subarray(0, 100))))).toBe('LDB_CORRUPT');
    const cut = made('cut', good);
    truncateSync(join(cut, 'data.mdb'), 8192);
    expect(codeOf(() => openLdb(cut))).toBe('LDB_CORRUPT');
    await expect(LdbWriter.open(cut)).rejects.toMatchObject({ code: 'LDB_CORRUPT' });
    await expect(LdbWriter.open(join(dir.path, 'foreign'))).rejects.toMatchObject({ code: 'LDB_CORRUPT' });
    const begun = await LdbWriter.open(join(dir.path, 'empty'));
    expect(begun.revision).toBe(0);
    await begun.close();
  });

  test('a position of another format is LDB_CORRUPT', async () => {
    await writer.close();
    ldb.close();
    const { open } = await import('lmdb');
    const path = join(dir.path, 'other-lmdb');
    const root = open({ path, noSubdir: false, overlappingSync: false });
    await root.put('hello', 'world');
    await root.openDB({ name: 'something', encoding: 'binary' }).put('a', Buffer.from('b'));
    await root.close();
    expect(codeOf(() => openLdb(path))).toBe('LDB_CORRUPT');

    const mine = open({ path: dir.path, noSubdir: false, maxDbs: 8, overlappingSync: false });
    const meta = mine.openDB({ name: 'meta', encoding: 'binary', keyEncoding: 'binary' });
    const position = meta.get(Buffer.from('position')) as Buffer;
    position[0] = 99;
    await meta.put(Buffer.from('position'), position);
    await mine.close();
    expect(() => openLdb(dir.path)).toThrow('has LDB format 99; this version reads 1');
    position[0] = 1;
    const again = open({ path: dir.path, noSubdir: false, maxDbs: 8, overlappingSync: false });
    const revisionAt = 4;
    position[revisionAt] = 200;
    await again
      .openDB({ name: 'meta', encoding: 'binary', keyEncoding: 'binary' })
      .put(Buffer.from('position'), position);
    await again.close();
    expect(() => openLdb(dir.path)).toThrow('wrong checksum');
  });

  test('a directory with a dot in its name is a directory', async () => {
    const path = join(dir.path, 'my.ldb');
    const other = await LdbWriter.open(path);
    await other.apply(records(1, [put('a', '1')]), CLUSTER);
    const reader = openLdb(path);
    expect(reader.get('a')?.text()).toBe('1');
    reader.close();
    await other.close();
  });

  test('closing twice is fine, reading after it is CLOSED, and another reader goes on', async () => {
    await writer.apply(records(1, [put('a', '1')]), CLUSTER);
    const other = openLdb(dir.path);
    ldb.close();
    ldb.close();
    for (const read of [() => ldb.get('a'), () => ldb.getBytes('a'), () => ldb.range(), () => ldb.revision]) {
      expect(codeOf(read)).toBe('CLOSED');
    }
    expect(codeOf(() => ldb.count())).toBe('CLOSED');
    expect(other.get('a')?.text()).toBe('1');
    other[Symbol.dispose]();
    expect(codeOf(() => other.get('a'))).toBe('CLOSED');
  });
});
