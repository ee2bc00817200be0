/**
 * LevelDB's issues/issue178, issue200 and issue320, and AddBoundaryInputs of version_set_test.cc.
 */
import { expect, test } from 'vitest';
import { MemoryDisk } from '../../../src/engine/disk/memory-disk.ts';
import type { TreeCursor } from '../../../src/engine/store/index.ts';
import { below, seeded } from '../../core/base/seeded.ts';
import { bytes, checkLevels, contents, get, openSmall, put, remove, show, stored, turn, using } from './world.ts';

test('issue178: keys that were deleted do not come back when a range of them is compacted', async () => {
  const options = { memtableBytes: 4096, tableBytes: 2000, levelBaseBytes: 4000, compression: 'none' } as const;
  await using({ ...options, autoCompact: true }, async (engine, disk) => {
    const count = 1100;
    const first = (i: number): string => `my_key_${i}`;
    const second = (i: number): string => `my_key_${i}_xxx`;
    const batch = engine.batch();
    for (let i = 0; i < count; i++) batch.put(bytes(first(i)), bytes('value for range 1 key'));
    await engine.write(batch);
    batch.clear();
    for (let i = 0; i < count; i++) batch.put(bytes(second(i)), bytes('value for range 2 key'));
    await engine.write(batch);
    batch.clear();
    for (let i = 0; i < count; i++) batch.delete(bytes(second(i)));
    await engine.write(batch);
    await engine.compact();
    const cursor = engine.cursor();
    let found = 0;
    while (cursor.next() !== undefined) found++;
    cursor.close();
    expect(found).toBe(count);
    expect(get(engine, second(7))).toBe('NOT_FOUND');
    checkLevels(disk);
  });
});

const at = (cursor: TreeCursor): string => {
  const entry = cursor.next();
  return entry === undefined ? 'end' : show(entry.key);
};

test('issue200: a cursor goes on where it should after a seek, in either direction', async () => {
  for (const isFlushed of [false, true]) {
    await using({}, async (engine) => {
      for (const key of ['1', '2', '3', '4', '5']) await put(engine, key, 'b');
      if (isFlushed) await engine.flush();
      // Versions on top of them that the cursor must pass over.
      await remove(engine, '2');
      await put(engine, '2', 'c');
      const cursor = engine.cursor();
      cursor.seek(bytes('5'));
      expect(at(cursor)).toBe('5');
      const back = engine.cursor({ reverse: true });
      back.seek(bytes('5'));
      expect([at(back), at(back), at(back), at(back)]).toEqual(['5', '4', '3', '2']);
      back.seek(bytes('3x'));
      expect([at(back), at(back)]).toEqual(['3', '2']);
      cursor.seek(bytes('2'));
      expect([at(cursor), at(cursor), at(cursor)]).toEqual(['2', '3', '4']);
      expect([at(back), at(back)]).toEqual(['1', 'end']);
      cursor.seek(bytes('9'));
      expect([at(cursor), at(cursor)]).toEqual(['end', 'end']);
      cursor.seek(bytes(''));
      expect(at(cursor), 'an end is left by a seek').toBe('1');
      back.seek(bytes(''));
      expect(at(back)).toBe('end');
      cursor.close();
      back.close();
    });
  }
});

test('issue320: snapshots taken and let go of at random, under writes and compactions, see what they saw', async () => {
  for (let seed = 1; seed <= 3; seed++) {
    const random = seeded(seed);
    await using({ autoCompact: true, l0Compact: 2, tableBytes: 2000, levelBaseBytes: 2000 }, async (engine, disk) => {
      const model = new Map<string, string>();
      const held: { snapshot: ReturnType<typeof engine.snapshot>; contents: string[] }[] = [];
      for (let i = 0; i < 250; i++) {
        const key = `key${below(random, 40)}`;
        if (random() < 0.3) {
          model.delete(key);
          await remove(engine, key);
        } else {
          const value = `${i}`.repeat(1 + below(random, 60));
          model.set(key, value);
          await put(engine, key, value);
        }
        if (random() < 0.1) {
          const all = [...model].map(([k, v]) => `${k}->${v}`).sort();
          held.push({ snapshot: engine.snapshot(), contents: all });
        }
        if (random() < 0.1 && held.length > 0) {
          const [{ snapshot, contents: expected }] = held.splice(below(random, held.length), 1) as [
            (typeof held)[number],
          ];
          expect(contents(engine, { snapshot }).sort(), `seed ${seed}`).toEqual(expected);
          snapshot.release();
        }
        if (random() < 0.05) await engine.settled();
      }
      for (const { snapshot, contents: expected } of held) {
        expect(contents(engine, { snapshot }).sort(), `seed ${seed}`).toEqual(expected);
        snapshot.release();
      }
      await engine.compact();
      await turn();
      checkLevels(disk);
    });
  }
});

test('AddBoundaryInputs: the versions of a key are never in two tables of a level, however small tables are', async () => {
  const disk = new MemoryDisk();
  const engine = await openSmall(disk, {
    tableBytes: 1,
    blockBytes: 1,
    autoCompact: true,
    l0Compact: 1,
    levelBaseBytes: 1,
  });
  const snapshots = [];
  for (let i = 0; i < 40; i++) {
    await put(engine, `k${i % 3}`, `${i}`);
    snapshots.push(engine.snapshot());
    if (i % 7 === 0) await engine.flush();
  }
  await engine.compact();
  const all = stored(disk);
  expect(all).toHaveLength(40);
  expect(new Set(all.map(({ table }) => table)).size, 'a table per key').toBe(3);
  checkLevels(disk);
  for (const [i, snapshot] of snapshots.entries()) {
    expect(get(engine, `k${i % 3}`, { snapshot })).toBe(`${i}`);
    snapshot.release();
  }
  // Nobody looks back any more: the next compaction over them leaves one each.
  for (const key of ['k0', 'k1', 'k2']) await put(engine, key, 'last');
  await engine.compact();
  expect(stored(disk)).toHaveLength(3);
  await engine.close();
});
