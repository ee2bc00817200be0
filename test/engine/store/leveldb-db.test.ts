/**
 * LevelDB's db_test.cc, in our words; the names are its own. (MultiThreaded is in the tests of threads; ComparatorCheck
 * has nothing to check here: there is one order. Randomized is metamorphic.test.ts.)
 */
import { expect, test } from 'vitest';
import { MemoryDisk } from '../../../src/engine/disk/memory-disk.ts';
import type { Engine } from '../../../src/engine/store/index.ts';
import {
  bytes,
  contents,
  DIR,
  get,
  openSmall,
  put,
  remove,
  stored,
  tableFiles,
  tablesPerLevel,
  turn,
  using,
} from './world.ts';

/** All versions of a key in tables, newest first, as LevelDB's tests tell them. */
const entries = (disk: MemoryDisk, key: string): string[] =>
  stored(disk)
    .filter((entry) => entry.key === key)
    .sort((a, b) => b.revision - a.revision)
    .map(({ revision, type }) => (type === 0 ? 'DEL' : `@${revision}`));

const flushed = async (engine: Engine, ...keys: readonly string[]): Promise<void> => {
  for (const key of keys) await put(engine, key, `${key}.v`);
  await engine.flush();
};

test('Empty, EmptyKey, EmptyValue, ReadWrite, PutDeleteGet', async () => {
  await using({}, async (engine) => {
    expect(get(engine, 'foo')).toBe('NOT_FOUND');
    await put(engine, '', 'v0');
    await put(engine, 'foo', 'v1');
    await put(engine, 'bar', '');
    await put(engine, 'foo', 'v3');
    expect(contents(engine)).toEqual(['->v0', 'bar->', 'foo->v3']);
    await remove(engine, 'foo');
    expect(get(engine, 'foo')).toBe('NOT_FOUND');
    await engine.flush();
    expect(contents(engine)).toEqual(['->v0', 'bar->']);
  });
});

test('GetFromImmutableLayer', async () => {
  await using({}, async (engine, disk) => {
    await put(engine, 'foo', 'v1');
    // The frozen memtable cannot become a table: it is read where it is.
    disk.failNext({ op: 'write', code: 'ENOSPC', times: 100, path: `${DIR}/000003.ldb` });
    for (let number = 2; number < 60; number++) {
      disk.failNext({ op: 'open', code: 'ENOSPC', times: 9, path: `${DIR}/${String(number).padStart(6, '0')}.ldb` });
    }
    await expect(engine.flush()).rejects.toMatchObject({ code: 'STORE_FULL' });
    expect(engine.stats().tree['frozen']).toBe(1);
    expect(get(engine, 'foo')).toBe('v1');
    expect(contents(engine)).toEqual(['foo->v1']);
    expect(tableFiles(disk)).toEqual([]);
  });
});

test('GetFromVersions, GetMemUsage', async () => {
  await using({}, async (engine) => {
    await put(engine, 'foo', 'v1');
    expect(engine.stats().memtableBytes).toBeGreaterThan(0);
    await engine.flush();
    expect(engine.stats().memtableBytes).toBe(0);
    expect(get(engine, 'foo')).toBe('v1');
  });
});

test('GetSnapshot', async () => {
  for (const key of ['foo', 'x'.repeat(200)]) {
    await using({}, async (engine) => {
      await put(engine, key, 'v1');
      const snapshot = engine.snapshot();
      await put(engine, key, 'v2');
      for (const settle of [async () => {}, () => engine.flush(), () => engine.compact()]) {
        await settle();
        expect(get(engine, key)).toBe('v2');
        expect(get(engine, key, { snapshot })).toBe('v1');
        expect(contents(engine, { snapshot })).toEqual([`${key}->v1`]);
      }
      snapshot.release();
    });
  }
});

test('GetIdenticalSnapshots', async () => {
  await using({}, async (engine, disk) => {
    await put(engine, 'foo', 'v1');
    const snapshots = [engine.snapshot(), engine.snapshot(), engine.snapshot()] as const;
    await put(engine, 'foo', 'v2');
    const [first, second, third] = snapshots;
    for (const snapshot of snapshots) expect(get(engine, 'foo', { snapshot })).toBe('v1');
    first.release();
    first.release();
    await engine.compact();
    expect(get(engine, 'foo', { snapshot: second })).toBe('v1');
    second.release();
    expect(get(engine, 'foo', { snapshot: third })).toBe('v1');
    third.release();
    // Once the last has gone, so does what it kept, with the next compaction over it.
    await flushed(engine, 'foo');
    await engine.compact();
    expect(entries(disk, 'foo')).toEqual(['@3']);
  });
});

test('IterateOverEmptySnapshot', async () => {
  await using({}, async (engine) => {
    const snapshot = engine.snapshot();
    await put(engine, 'foo', 'v1');
    await put(engine, 'foo', 'v2');
    expect(contents(engine, { snapshot })).toEqual([]);
    await engine.flush();
    expect(contents(engine, { snapshot })).toEqual([]);
    await engine.compact();
    expect(contents(engine, { snapshot })).toEqual([]);
    snapshot.release();
  });
});

test('GetLevel0Ordering: of two tables the newer one is looked in first', async () => {
  await using({}, async (engine) => {
    await put(engine, 'bar', 'b');
    await put(engine, 'foo', 'v1');
    await engine.flush();
    await put(engine, 'foo', 'v2');
    await engine.flush();
    expect(tablesPerLevel(engine)[0]).toBe(2);
    expect(get(engine, 'foo')).toBe('v2');
  });
});

test('GetOrderedByLevels, GetPicksCorrectFile, GetEncountersEmptyLevel', async () => {
  await using({ tableBytes: 1, levelBaseBytes: 1 }, async (engine) => {
    await flushed(engine, 'a', 'x', 'f');
    await engine.compact();
    await put(engine, 'x', 'new');
    expect(get(engine, 'x')).toBe('new');
    await engine.flush();
    expect(tablesPerLevel(engine)).toEqual([1, 0, 0, 0, 0, 0, 3]);
    expect([get(engine, 'a'), get(engine, 'f'), get(engine, 'x')]).toEqual(['a.v', 'f.v', 'new']);
    expect(get(engine, 'missing')).toBe('NOT_FOUND');
  });
});

test('IterEmpty, IterSingle, IterMulti', async () => {
  await using({}, async (engine) => {
    expect(contents(engine)).toEqual([]);
    await put(engine, 'b', 'vb');
    const at = (options: Parameters<typeof contents>[1]): string[] => contents(engine, options);
    expect([at({}), at({ from: bytes('b') }), at({ from: bytes('c') })]).toEqual([['b->vb'], ['b->vb'], []]);
    await put(engine, 'a', 'va');
    await put(engine, 'c', 'vc');
    expect(at({})).toEqual(['a->va', 'b->vb', 'c->vc']);
    expect(at({ from: bytes('ax'), to: bytes('c') })).toEqual(['b->vb']);
    expect(at({ from: bytes('z') })).toEqual([]);
    // What comes later is not in an iterator that is there already.
    const cursor = engine.cursor();
    await put(engine, 'a2', 'va2');
    await put(engine, 'b', 'vb2');
    await remove(engine, 'c');
    const seen: string[] = [];
    for (let entry = cursor.next(); entry !== undefined; entry = cursor.next()) {
      seen.push(Buffer.from(entry.value).toString());
      await turn();
    }
    cursor.close();
    expect(seen).toEqual(['va', 'vb', 'vc']);
  });
});

test('IterSmallAndLargeMix, IterMultiWithDelete', async () => {
  await using({}, async (engine) => {
    const [b, d] = ['b'.repeat(50_000), 'd'.repeat(50_000)];
    await put(engine, 'a', 'va');
    await put(engine, 'b', b);
    await put(engine, 'c', 'vc');
    await put(engine, 'd', d);
    expect(contents(engine)).toEqual(['a->va', `b->${b}`, 'c->vc', `d->${d}`]);
    await remove(engine, 'b');
    const cursor = engine.cursor({ reverse: true });
    cursor.seek(bytes('c'));
    expect([cursor.next()?.key, cursor.next()?.key]).toEqual([bytes('c'), bytes('a')]);
    cursor.close();
  });
});

test('Recover, RecoveryWithEmptyLog, RecoverWithLargeLog', async () => {
  const disk = new MemoryDisk();
  let engine = await openSmall(disk);
  const reopen = async (): Promise<void> => {
    await engine.close();
    engine = await openSmall(disk);
  };
  await put(engine, 'foo', 'v1');
  await put(engine, 'baz', 'v5');
  await reopen();
  await reopen();
  expect(contents(engine)).toEqual(['baz->v5', 'foo->v1']);
  const large = 'x'.repeat(40_000);
  for (const key of ['1', '2', '3', '4', '5', '6']) await put(engine, key, large);
  await put(engine, 'foo', 'v2');
  await reopen();
  expect(get(engine, 'foo')).toBe('v2');
  expect(get(engine, '6')).toBe(large);
  await engine.close();
});

test('RecoverDuringMemtableCompaction: a process that dies while a memtable is made a table loses nothing', async () => {
  const disk = new MemoryDisk();
  const engine = await openSmall(disk);
  await put(engine, 'foo', 'v1');
  await put(engine, 'big1', 'x'.repeat(2000));
  await put(engine, 'big2', 'y'.repeat(900));
  await put(engine, 'bar', 'v2');
  disk.crash({ keep: 'none' });
  await engine.close().catch(() => undefined);
  const again = await openSmall(disk);
  expect(contents(again)).toEqual(['bar->v2', `big1->${'x'.repeat(2000)}`, `big2->${'y'.repeat(900)}`, 'foo->v1']);
  await again.close();
});

test('MinorCompactionsHappen, CompactionsGenerateMultipleFiles', async () => {
  await using({ autoCompact: true, tableBytes: 20_000, compression: 'none' }, async (engine, disk) => {
    const values = Array.from({ length: 80 }, (_, i) => String(i).padStart(2, '0').repeat(500));
    for (const [i, value] of values.entries()) await put(engine, `key${String(i).padStart(6, '0')}`, value);
    expect(engine.stats().tree['flushes']).toBeGreaterThan(10);
    await engine.compact();
    const [level0, ...deeper] = tablesPerLevel(engine);
    expect(level0).toBe(0);
    expect(deeper.at(-1)).toBeGreaterThan(3);
    for (const [i, value] of values.entries()) expect(get(engine, `key${String(i).padStart(6, '0')}`)).toBe(value);
    expect(tableFiles(disk).length).toBe(deeper.at(-1));
  });
});

test('RepeatedWritesToSameKey: overwriting one key does not pile up tables', async () => {
  await using({ autoCompact: true, l0Slow: 8, l0Stop: 12 }, async (engine, disk) => {
    const value = 'v'.repeat(2000);
    for (let i = 0; i < 60; i++) {
      await put(engine, 'key', `${i}${value}`);
      expect(tablesPerLevel(engine).reduce((sum, count) => sum + count)).toBeLessThanOrEqual(15);
    }
    await engine.compact();
    expect(entries(disk, 'key')).toEqual(['@60']);
    expect(get(engine, 'key')).toBe(`59${value}`);
  });
});

test('SparseMerge: a few keys over many do not rewrite them all at once', async () => {
  await using({ autoCompact: true, tableBytes: 2000, levelBaseBytes: 2000, compression: 'none' }, async (engine) => {
    await put(engine, 'A', 'va');
    const value = 'x'.repeat(500);
    for (let i = 0; i < 60; i++) await put(engine, `B${String(i).padStart(3, '0')}`, value);
    await put(engine, 'C', 'vc');
    await engine.compact();
    const before = engine.stats().tree.readBytes;
    for (const [a, c] of [
      ['va2', 'vc2'],
      ['va3', 'vc3'],
    ] as const) {
      await put(engine, 'A', a);
      await put(engine, 'B100', 'bvalue2');
      await put(engine, 'C', c);
      await engine.flush();
      await engine.settled();
    }
    expect(engine.stats().tree.readBytes - before).toBeLessThan(20_000);
    expect([get(engine, 'A'), get(engine, 'B100'), get(engine, 'C')]).toEqual(['va3', 'bvalue2', 'vc3']);
  });
});

test('HiddenValuesAreRemoved', async () => {
  await using({}, async (engine, disk) => {
    await put(engine, 'foo', 'big'.repeat(10_000));
    await put(engine, 'pastfoo', 'v');
    const snapshot = engine.snapshot();
    await put(engine, 'foo', 'tiny');
    await put(engine, 'pastfoo2', 'v2');
    await engine.flush();
    expect(entries(disk, 'foo')).toEqual(['@3', '@1']);
    expect(get(engine, 'foo', { snapshot })).toBe('big'.repeat(10_000));
    snapshot.release();
    await engine.compact();
    expect(entries(disk, 'foo')).toEqual(['@3']);
  });
});

test('DeletionMarkers1: a tombstone goes once nothing lies under it', async () => {
  await using({}, async (engine, disk) => {
    await flushed(engine, 'a', 'foo', 'z');
    await engine.compact();
    await remove(engine, 'foo');
    await put(engine, 'foo', 'v2');
    await engine.flush();
    expect(entries(disk, 'foo'), 'what was hidden already did not reach the table').toEqual(['@5', '@2']);
    await engine.compact();
    expect(entries(disk, 'foo')).toEqual(['@5']);
  });
});

test('DeletionMarkers2: a tombstone stays as long as anything lies under it', async () => {
  await using({}, async (engine, disk) => {
    await flushed(engine, 'a', 'foo', 'z');
    await engine.compact();
    await remove(engine, 'foo');
    await engine.flush();
    expect(entries(disk, 'foo')).toEqual(['DEL', '@2']);
    await engine.compact();
    expect(entries(disk, 'foo')).toEqual([]);
    expect(contents(engine)).toEqual(['a->a.v', 'z->z.v']);
  });
});

test('OverlapInLevel0: a delete over tables of level 0 that do not touch each other hides what it should', async () => {
  await using({}, async (engine) => {
    await flushed(engine, '100', '999');
    await engine.compact();
    await remove(engine, '100');
    await remove(engine, '999');
    await engine.flush();
    await flushed(engine, '300', '500');
    await flushed(engine, '200', '600', '900');
    await flushed(engine, '200', '600', '900');
    await remove(engine, '600');
    await engine.flush();
    expect(tablesPerLevel(engine)[0]).toBe(5);
    await engine.compact();
    expect(get(engine, '600')).toBe('NOT_FOUND');
    expect(contents(engine)).toEqual(['200->200.v', '300->300.v', '500->500.v', '900->900.v']);
  });
});

test('L0_CompactionBug_Issue44_a', async () => {
  const disk = new MemoryDisk();
  let engine = await openSmall(disk, { autoCompact: true });
  const reopen = async (): Promise<void> => {
    await engine.close();
    engine = await openSmall(disk, { autoCompact: true });
  };
  await put(engine, 'b', 'v');
  await reopen();
  await remove(engine, 'b');
  await remove(engine, 'e');
  await reopen();
  await remove(engine, 'a');
  await reopen();
  await put(engine, 'a', 'v');
  await reopen();
  await reopen();
  expect(contents(engine)).toEqual(['a->v']);
  await engine.flush();
  await engine.settled();
  expect(contents(engine)).toEqual(['a->v']);
  await engine.close();
});

test('L0_CompactionBug_Issue44_b', async () => {
  const disk = new MemoryDisk();
  let engine = await openSmall(disk, { autoCompact: true, l0Compact: 1 });
  for (const change of ['', 'e', '', 'cv', 'd', '', 'dv', '', '', 'cv', 'dv', 'c', '']) {
    const [key = '', isPut] = change;
    if (isPut === undefined) await remove(engine, key);
    else await put(engine, key, 'v');
    await engine.flush();
    await engine.settled();
    await engine.close();
    engine = await openSmall(disk, { autoCompact: true, l0Compact: 1 });
  }
  await put(engine, '', '');
  expect(contents(engine)).toEqual(['->', 'd->v']);
  await engine.close();
});

test('ManualCompaction, FilesDeletedAfterCompaction', async () => {
  await using({}, async (engine, disk) => {
    for (let i = 0; i < 10; i++) {
      await put(engine, 'foo', `v${i}`);
      await engine.flush();
    }
    expect(tableFiles(disk)).toHaveLength(10);
    await engine.compact();
    expect(tableFiles(disk)).toHaveLength(1);
    expect(get(engine, 'foo')).toBe('v9');
  });
});

test('FilesDeletedAfterCompaction: not while a cursor reads them in this turn, and then at once', async () => {
  await using({}, async (engine, disk) => {
    await flushed(engine, 'a', 'b');
    await flushed(engine, 'a', 'c');
    const cursor = engine.cursor();
    cursor.next();
    const compacting = engine.compact();
    for (let i = 0; i < 200; i++) await Promise.resolve();
    expect(tableFiles(disk)).toHaveLength(3);
    expect(cursor.next()?.key).toEqual(bytes('b'));
    await compacting;
    await turn();
    await put(engine, 'd', 'd');
    await engine.flush();
    expect(tableFiles(disk), 'the merged table and the new one').toHaveLength(2);
    expect(cursor.next()?.key).toEqual(bytes('c'));
    expect(cursor.next()).toBeUndefined();
    cursor.close();
  });
});

test('BloomFilter: a key that is nowhere is looked for in hardly any block', async () => {
  const readsFor = async (bloomBitsPerKey: number): Promise<number> => {
    const disk = new MemoryDisk();
    const engine = await openSmall(disk, {
      bloomBitsPerKey,
      cacheBytes: 0,
      blockBytes: 64,
      memtableBytes: 1024 * 1024,
    });
    for (let i = 0; i < 400; i++) void put(engine, `key${i}`, `${i}`);
    await engine.flush();
    for (let i = 0; i < 400; i++) expect(get(engine, `key${i}`)).toBe(`${i}`);
    const before = engine.stats().cache['misses'] as number;
    for (let i = 0; i < 400; i++) expect(get(engine, `key${i}.missing`)).toBe('NOT_FOUND');
    const misses = (engine.stats().cache['misses'] as number) - before;
    await engine.close();
    return misses;
  };
  expect(await readsFor(10)).toBeLessThan(40);
  expect(await readsFor(0)).toBeGreaterThan(300);
});
