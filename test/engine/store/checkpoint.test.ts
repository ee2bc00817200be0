/**
 * Checkpoints: copies that LevelDB itself opens, of one revision, whatever is written meanwhile.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ClassicLevel } from 'classic-level';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { MemoryDisk } from '../../../src/engine/disk/memory-disk.ts';
import { nodeDisk } from '../../../src/engine/disk/node-disk.ts';
import { Manifest } from '../../../src/engine/lsm/manifest/manifest.ts';
import { envelopeValueStart } from '../../../src/engine/lsm/sstable/envelope.ts';
import { type Engine, type EngineOptions, openEngine } from '../../../src/engine/store/index.ts';
import { below, seeded } from '../../core/base/seeded.ts';
import { bytes, checkLevels, contents, openSmall, put, remove, show, stored } from './world.ts';

let base = '';
beforeAll(() => {
  base = mkdtempSync(join(tmpdir(), 'ctlmesh-checkpoint-'));
});
afterAll(() => rmSync(base, { recursive: true }));

const SMALL: EngineOptions = {
  memtableBytes: 2000,
  memtables: 3,
  batchBytesMax: 64 * 1024,
  cacheBytes: 64 * 1024,
  tableBytes: 3000,
  levelBaseBytes: 6000,
  reserveBytes: 0,
  jobs: 'inline',
};

/** What real LevelDB finds in a directory. */
async function leveldb(dir: string): Promise<string[]> {
  const level = new ClassicLevel<Uint8Array, Uint8Array>(dir, {
    keyEncoding: 'view',
    valueEncoding: 'view',
    createIfMissing: false,
  });
  const all: string[] = [];
  for await (const [key, value] of level.iterator()) {
    all.push(`${show(key)}->${show(value.subarray(envelopeValueStart(value)))}`);
  }
  const back: string[] = [];
  for await (const key of level.keys({ reverse: true })) back.push(show(key));
  expect(back.toReversed()).toEqual(all.map((entry) => entry.slice(0, entry.indexOf('->'))));
  await level.close();
  return all;
}

/** Pairs that are always written together, so that a copy of a moment between two batches shows. */
async function writePairs(engine: Engine, random: () => number, rounds: number): Promise<void> {
  for (let i = 0; i < rounds; i++) {
    const batch = engine.batch();
    const key = String(below(random, 30)).padStart(2, '0');
    if (random() < 0.2) batch.delete(bytes(`a${key}`)).delete(bytes(`b${key}`));
    else {
      const value = bytes(`${i}`.repeat(1 + below(random, 50)));
      batch.put(bytes(`a${key}`), value).put(bytes(`b${key}`), value);
    }
    if (random() < 0.02) batch.deleteRange(bytes('a'), bytes('b')).deleteRange(bytes('b'), bytes('c'));
    await engine.write(batch, { sync: random() < 0.2 });
  }
}

const halves = (all: readonly string[]): [string[], string[]] => [
  all.filter((entry) => entry.startsWith('a')).map((entry) => entry.slice(1)),
  all.filter((entry) => entry.startsWith('b')).map((entry) => entry.slice(1)),
];

test('a checkpoint taken under writes opens in LevelDB, whole, as of one batch', async () => {
  const engine = await openEngine(join(base, 'live'), { ...SMALL, compression: 'snappy' });
  const random = seeded(5);
  const writing = writePairs(engine, random, 600);
  const dirs: string[] = [];
  for (let i = 0; i < 4; i++) {
    await new Promise((resolve) => setTimeout(resolve, 15));
    const dir = join(base, `live-copy-${i}`);
    await engine.checkpoint(dir);
    dirs.push(dir);
    if (i === 1) await engine.compact();
  }
  await writing;
  const last = join(base, 'live-last');
  await engine.checkpoint(last);
  const expected = contents(engine);
  await engine.compact();
  await engine.close();
  for (const dir of dirs) {
    checkLevels(nodeDisk, dir);
    const [a, b] = halves(await leveldb(dir));
    expect(b).toEqual(a);
  }
  expect(await leveldb(last)).toEqual(expected);
});

test('tombstones and compactions: LevelDB sees what the store showed when it was copied', async () => {
  const random = seeded(11);
  const engine = await openEngine(join(base, 'tombs'), { ...SMALL, compression: 'none' });
  for (let round = 0; round < 4; round++) {
    for (let i = 0; i < 60; i++) {
      const key = `k${below(random, 50)}`;
      if (random() < 0.4) await engine.delete(bytes(key), { sync: false });
      else await engine.put(bytes(key), bytes(`${round}/${i}`), { sync: false });
    }
    if (round % 2 === 1) await engine.compact();
    const snapshot = engine.snapshot();
    await put(engine, `k${below(random, 50)}`, 'held back by a snapshot');
    const expected = contents(engine);
    const dir = join(base, `tombs-copy-${round}`);
    await engine.checkpoint(dir);
    expect(await leveldb(dir), `round ${round}`).toEqual(expected);
    snapshot.release();
  }
  await engine.close();
});

test('values that have expired stay until they are compacted away; LevelDB, which knows no time, sees what is stored', async () => {
  let nowMs = 1000;
  const engine = await openEngine(join(base, 'ttl'), { ...SMALL, nowMs: () => nowMs });
  await engine.put(bytes('stays'), bytes('1'));
  await engine.put(bytes('goes'), bytes('2'), { expiryMs: 2000 });
  await engine.checkpoint(join(base, 'ttl-before'));
  expect(await leveldb(join(base, 'ttl-before'))).toEqual(['goes->2', 'stays->1']);
  nowMs = 3000;
  await put(engine, 'later', '3');
  await engine.compact();
  await engine.settled();
  expect(contents(engine)).toEqual(['later->3', 'stays->1']);
  await engine.checkpoint(join(base, 'ttl-after'));
  expect(await leveldb(join(base, 'ttl-after'))).toEqual(['later->3', 'stays->1']);
  await engine.close();
});

test('a checkpoint under writes without a pause comes to an end, and is of whole batches, larger than a memtable or not', async () => {
  const engine = await openEngine(join(base, 'wide'), { ...SMALL, memtables: 2, l0Compact: 1, jobs: 'pool' });
  const wide = (value: string) => {
    const batch = engine.batch();
    for (const key of ['a', 'b', 'c', 'd', 'e']) batch.put(bytes(key), bytes(value.repeat(50_000)));
    return batch;
  };
  await engine.write(wide('0'));
  let isDone = false;
  let written = 0;
  const writers = [0, 1, 2].map(async (writer) => {
    for (let i = writer; !isDone; i++) {
      await engine.write(wide(String(i % 10)), { sync: writer === 0 });
      written++;
    }
  });
  for (let i = 0; i < 4; i++) {
    const before = written;
    const dir = join(base, `wide-copy-${i}`);
    await engine.checkpoint(dir);
    expect(written - before, 'it waits for what was there, not for a pause').toBeLessThan(40);
    const values = (await leveldb(dir)).map((entry) => entry.slice(entry.indexOf('->') + 2));
    expect(values).toHaveLength(5);
    expect(new Set(values).size, `checkpoint ${i} is of one batch`).toBe(1);
    const { lastSequence = 0 } = Manifest.recover(nodeDisk, dir, { readOnly: true })?.state ?? {};
    expect(Math.max(...stored(nodeDisk, dir).map(({ revision }) => revision))).toBeLessThanOrEqual(lastSequence);
  }
  isDone = true;
  await Promise.all(writers);
  await engine.close();
});

// It does not yet: a log that begins behind the copy's revision is needed for it.
test('a checkpoint without a log opens as a store, and is written on', async () => {
  const disk = new MemoryDisk();
  const engine = await openSmall(disk);
  await put(engine, 'a', '1');
  await put(engine, 'b', '2');
  await remove(engine, 'a');
  await engine.checkpoint('/copy');
  await put(engine, 'c', 'after it');
  await engine.close();
  const copy = await openEngine('/copy', { ...SMALL, disk });
  expect(copy.revision).toBe(3);
  expect(contents(copy)).toEqual(['b->2']);
  expect(await put(copy, 'd', '4')).toBe(4);
  await copy.close();
  const again = await openEngine('/copy', { ...SMALL, disk });
  expect(contents(again)).toEqual(['b->2', 'd->4']);
  await again.close();
});

test('a checkpoint goes into a directory of its own, and what is left of one that failed does not hinder the next', async () => {
  const disk = new MemoryDisk();
  const engine = await openSmall(disk);
  await put(engine, 'a', '1');
  await engine.checkpoint('/copy');
  await expect(engine.checkpoint('/copy')).rejects.toMatchObject({ code: 'BAD_REQUEST' });
  for (const op of ['rename', 'syncDir'] as const) {
    disk.failNext({ op, code: 'EIO' });
    await expect(engine.checkpoint('/other')).rejects.toMatchObject({ code: 'DISK_FAILED' });
    expect(disk.exists('/other'), op).toBe(false);
  }
  await engine.checkpoint('/other');
  expect(disk.list('/other')).toEqual(disk.list('/copy'));
  expect(contents(engine)).toEqual(['a->1']);
  await engine.close();
});
