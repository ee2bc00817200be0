/**
 * Bugs that reading and the model found, each as a small test.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { MemoryDisk } from '../../../src/engine/disk/memory-disk.ts';
import { KEY_BYTES_MAX } from '../../../src/engine/store/batch.ts';
import { type Engine, openEngine } from '../../../src/engine/store/index.ts';
import {
  bytes,
  contents,
  DIR,
  get,
  openSmall,
  put,
  remove,
  show,
  tableFiles,
  tablesPerLevel,
  turn,
  using,
} from './world.ts';

/** More than any small memtable has room for, with the arena's spare room. */
const BIG = 60 * 1024;

/** One batch in two memtables: `first`, then what fills the rest, then `second`. */
function wideBatch(engine: Engine, first: (batch: ReturnType<Engine['batch']>) => void, second: typeof first) {
  const batch = engine.batch();
  first(batch);
  for (let i = 0; i < 4; i++) batch.put(bytes(`m${i}`), new Uint8Array(BIG).fill(i));
  second(batch);
  return batch;
}

test('a key that is put and then deleted by one batch stays deleted, on both sides of the end of a memtable', async () => {
  await using({}, async (engine) => {
    await engine.write(
      wideBatch(
        engine,
        (batch) => batch.put(bytes('k'), bytes('late')),
        (batch) => batch.delete(bytes('k')).deleteRange(bytes('m'), bytes('n')),
      ),
    );
    expect(get(engine, 'k')).toBe('NOT_FOUND');
    expect(contents(engine)).toEqual([]);
    await engine.compact();
    expect(get(engine, 'k')).toBe('NOT_FOUND');
    expect(contents(engine)).toEqual([]);
  });
});

test('of a key that one batch puts twice the later value counts, forward and backward and in tables', async () => {
  await using({}, async (engine) => {
    const batch = wideBatch(
      engine,
      (first) => first.put(bytes('k'), bytes('early')),
      (second) => second.put(bytes('k'), bytes('late')),
    );
    await engine.write(batch);
    const here = { from: bytes('k'), to: bytes('l') };
    expect(contents(engine, here)).toEqual(['k->late']);
    await engine.compact();
    expect(contents(engine, here)).toEqual(['k->late']);
  });
});

test('flushes at the same time do not freeze a memtable that there is no arena for', async () => {
  await using({ memtables: 2 }, async (engine) => {
    for (let round = 0; round < 3; round++) {
      const writes = [put(engine, `k${round}`, 'v'), engine.flush(), engine.flush(), put(engine, `l${round}`, 'v')];
      await Promise.all(writes);
      await Promise.all([engine.flush(), engine.flush(), engine.flush()]);
    }
    expect(contents(engine)).toHaveLength(6);
    expect(engine.failure).toBeUndefined();
  });
});

test('compactions asked for at the same time follow each other', async () => {
  await using({ tableBytes: 1 }, async (engine) => {
    for (const key of ['a', 'b', 'c', 'd']) {
      await put(engine, key, key);
      await engine.flush();
    }
    await Promise.all([engine.compact(), engine.compact(), engine.compact()]);
    expect(engine.failure).toBeUndefined();
    expect(tablesPerLevel(engine)).toEqual([0, 0, 0, 0, 0, 0, 4]);
    expect(contents(engine)).toEqual(['a->a', 'b->b', 'c->c', 'd->d']);
  });
});

test('a compaction asked for ends with the store', async () => {
  const disk = new MemoryDisk();
  const engine = await openSmall(disk);
  await put(engine, 'a', 'a');
  await engine.flush();
  await put(engine, 'a', 'b');
  await engine.flush();
  const compacting = engine.compact();
  compacting.catch(() => undefined);
  await engine.close();
  await expect(compacting).rejects.toMatchObject({ code: 'CLOSED' });
});

test('what is not compacted unasked is not afterwards either, and holds no writer up', async () => {
  await using({ l0Compact: 1, l0Slow: 2, l0Stop: 3 }, async (engine) => {
    for (let i = 0; i < 5; i++) {
      await put(engine, `k${i}`, 'v');
      await engine.flush();
    }
    expect(tablesPerLevel(engine)[0]).toBe(5);
    await engine.compact();
    expect(tablesPerLevel(engine)).toEqual([0, 0, 0, 0, 0, 0, 1]);
    for (let i = 0; i < 5; i++) {
      await put(engine, `k${i}`, 'w');
      await engine.flush();
    }
    await engine.settled();
    expect(tablesPerLevel(engine)).toEqual([5, 0, 0, 0, 0, 0, 1]);
    expect(engine.stats().stall.count['level0-stop']).toBe(0);
  });
});

test('the largest key and value fit the smallest memtable', async () => {
  const batchBytesMax = 4 * 1024 * 1024;
  await using({ memtableBytes: 1, memtables: 2, batchBytesMax }, async (engine) => {
    const key = new Uint8Array(KEY_BYTES_MAX).fill(1);
    await engine.put(key, new Uint8Array(batchBytesMax).fill(7));
    expect(engine.getSync(key)?.length).toBe(batchBytesMax);
    await expect(engine.put(key, new Uint8Array(batchBytesMax + 1))).rejects.toMatchObject({ code: 'VALUE_TOO_LARGE' });
  });
});

test('an expiry that no table could hold is refused, and the store lives', async () => {
  await using({}, async (engine) => {
    for (const expiryMs of [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53]) {
      await expect(engine.put(bytes('k'), bytes('v'), { expiryMs })).rejects.toMatchObject({ code: 'BAD_REQUEST' });
    }
    await engine.put(bytes('k'), bytes('v'), { expiryMs: Number.MAX_SAFE_INTEGER });
    await engine.flush();
    expect(get(engine, 'k')).toBe('v');
  });
});

test('behind a batch that failed half-way nothing becomes visible', async () => {
  const disk = new MemoryDisk();
  const engine = await openSmall(disk, { cacheBytes: 0, tableCacheBytes: 0, openTablesMax: 1, compression: 'none' });
  await put(engine, 'a', 'a');
  await engine.flush();
  await put(engine, 'b', 'b');
  await engine.flush();
  const [, second] = tableFiles(disk);
  disk.flipBit(`${DIR}/${second}`, 0, 0);
  // Two groups: the second is in the log when the first fails.
  const failing = engine.deleteRange(bytes('a'), undefined);
  failing.catch(() => undefined);
  await Promise.resolve();
  await Promise.resolve();
  const behind = put(engine, 'c', 'c');
  await expect(failing).rejects.toMatchObject({ code: 'TABLE_CORRUPT' });
  await expect(behind).rejects.toMatchObject({ code: 'TABLE_CORRUPT' });
  expect(engine.revision).toBe(2);
  expect(get(engine, 'a')).toBe('a');
  expect(get(engine, 'c')).toBe('NOT_FOUND');
  await engine.close();
});

test('time does not go back over a restart, also when the tables have everything', async () => {
  const disk = new MemoryDisk();
  let nowMs = 1000;
  const engine = await openSmall(disk, { nowMs: () => nowMs });
  await engine.put(bytes('k'), bytes('v'), { expiryMs: 1500 });
  nowMs = 2000;
  await put(engine, 'other', 'v');
  expect(get(engine, 'k')).toBe('NOT_FOUND');
  await engine.flush();
  await engine.close();
  nowMs = 1200;
  const again = await openSmall(disk, { nowMs: () => nowMs });
  expect(again.timeMs()).toBe(2000);
  expect(get(again, 'k')).toBe('NOT_FOUND');
  await again.close();
});

test('a cursor, a snapshot and a read outlive their store without harm', async () => {
  const disk = new MemoryDisk();
  const engine = await openSmall(disk);
  await put(engine, 'a', '1');
  await put(engine, 'b', '2');
  const cursor = engine.cursor();
  const snapshot = engine.snapshot();
  expect(show(cursor.next()?.key as Uint8Array)).toBe('a');
  await engine.close();
  expect(() => cursor.next()).toThrow(expect.objectContaining({ code: 'CLOSED' }));
  expect(() => engine.getSync(bytes('a'))).toThrow(expect.objectContaining({ code: 'CLOSED' }));
  cursor.close();
  snapshot.release();
});

test('a delete of a range counts what its own batch has put before, and not what comes after', async () => {
  await using({}, async (engine) => {
    const batch = engine.batch();
    batch.put(bytes('a'), bytes('1')).deleteRange(bytes('a'), bytes('c')).put(bytes('b'), bytes('2'));
    await engine.write(batch);
    expect(contents(engine)).toEqual(['b->2']);
    await remove(engine, 'b');
    expect(contents(engine)).toEqual([]);
  });
});

test('a flush and a compaction under writes without a pause come to an end', async () => {
  await using({ autoCompact: true, memtables: 2, l0Compact: 2, l0Slow: 8, l0Stop: 12 }, async (engine) => {
    let isDone = false;
    let written = 0;
    const writers = [0, 1, 2].map(async (writer) => {
      while (!isDone) {
        await put(engine, `${writer}/${written % 50}`, 'v'.repeat(300));
        written++;
        await turn();
      }
    });
    for (const upkeep of [() => engine.flush(), () => engine.compact(), () => engine.flush()]) {
      const [before, { revision }] = [written, engine];
      await upkeep();
      expect(engine.stats().flushedRevision).toBeGreaterThanOrEqual(revision);
      expect(written - before).toBeLessThan(200);
    }
    isDone = true;
    await Promise.all(writers);
  });
});

test('what a group has made visible before another batch of it failed is told so', async () => {
  const disk = new MemoryDisk();
  const engine = await openSmall(disk, { cacheBytes: 0, compression: 'none' });
  await put(engine, 'a', 'a');
  await engine.flush();
  disk.flipBit(`${DIR}/${tableFiles(disk)[0]}`, 0, 0);
  const results = await Promise.allSettled([
    put(engine, 'b', 'b'),
    engine.deleteRange(bytes('a'), undefined),
    put(engine, 'c', 'c'),
  ]);
  expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'rejected']);
  expect(engine.revision).toBe(2);
  expect([get(engine, 'b'), get(engine, 'c')]).toEqual(['b', 'NOT_FOUND']);
  await engine.close();
});

test('while a long range is deleted, others have their turn', async () => {
  await using({ memtableBytes: 8 * 1024 * 1024 }, async (engine) => {
    const batch = engine.batch();
    for (let i = 0; i < 40_000; i++) batch.put(bytes(`k${i}`), bytes('v'));
    await engine.write(batch);
    let turns = 0;
    let isDone = false;
    const others = (async () => {
      while (!isDone) {
        await turn();
        turns++;
      }
    })();
    await engine.deleteRange(bytes('k'), bytes('l'));
    isDone = true;
    await others;
    expect(turns).toBeGreaterThanOrEqual(4);
    expect(contents(engine)).toEqual([]);
  });
});

test('a directory that cannot be locked, and a closed store, say so with a code, in a promise', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'ctlmesh-found-'));
  mkdirSync(join(dir, 'LOCK'));
  await expect(openEngine(dir)).rejects.toMatchObject({ name: 'StoreError', code: 'DISK_FAILED' });
  rmSync(dir, { recursive: true });

  const engine = await openSmall(new MemoryDisk());
  await engine.close();
  await expect(engine.settled()).rejects.toMatchObject({ code: 'CLOSED' });
});
