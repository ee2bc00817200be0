/**
 * One bit of one file is wrong. `CTLMESH_FLIPS=100000` tries about that many instead of some hundreds.
 */
import { describe, expect, test } from 'vitest';
import { isStoreError, type StoreError } from '../../../src/core/base/errors.ts';
import { MemoryDisk } from '../../../src/engine/disk/memory-disk.ts';
import { type Engine, openEngine } from '../../../src/engine/store/index.ts';
import { below, seeded } from '../../core/base/seeded.ts';
import { readAll } from '../../suites/disk-suite.ts';
import { filesBelow } from '../../support/engine-disk.ts';
import { bytes, type Contents, DIR, EngineModel, SMALL, text, valueOf } from '../../support/engine-model.ts';

const FLIPS = Number(process.env['CTLMESH_FLIPS'] ?? 210);
const OPTIONS = { ...SMALL, memtableBytes: 4096, autoCompact: false };

interface Flip {
  readonly path: string;
  readonly at: number;
  readonly bit: number;
}

/** Tables in two levels, a manifest of several edits, a log of several segments, the last part of it in no table. */
async function written(disk: MemoryDisk, model: EngineModel): Promise<Engine> {
  const engine = await openEngine(DIR, { ...OPTIONS, disk });
  for (let i = 1; i <= 60; i++) {
    const key = `k${String((i * 7) % 40).padStart(3, '0')}`;
    await model.write(engine, i % 9 === 0 ? [['del', key]] : [['put', key, valueOf(key, i, (i * 13) % 90)]]);
    if (i === 20) await engine.compact();
    if (i === 35 || i === 50) await engine.flush();
  }
  return engine;
}

/** Up to `count` places in a file, spread over it; all of its bytes when it is short. Zeros ahead of the log count little. */
function places(random: () => number, content: Uint8Array, count: number): number[] {
  let used = content.length;
  while (used > 0 && content[used - 1] === 0) used--;
  const end = Math.min(content.length, used + 64);
  if (end <= count) return Array.from({ length: end }, (_, at) => at);
  const spread = Array.from({ length: count }, (_, i) => Math.floor(((i + random()) * end) / count));
  if (end < content.length) spread.push(end + below(random, content.length - end));
  return spread;
}

function flipsOf(disk: MemoryDisk, random: () => number, wanted: (path: string) => boolean): Flip[] {
  const paths = filesBelow(disk, DIR).filter(wanted);
  return paths.flatMap((path) => {
    const content = readAll(disk, path);
    return places(random, content, Math.ceil(FLIPS / paths.length)).map((at) => ({ path, at, bit: below(random, 8) }));
  });
}

function expectDamage(error: unknown, { path }: Flip): StoreError {
  if (!isStoreError(error, 'TABLE_CORRUPT') && !isStoreError(error, 'WAL_CORRUPT')) throw error;
  const { file, offset } = error.data;
  expect(typeof file, `it names a file: ${error.message}`).toBe('string');
  expect(typeof offset, `it names an offset: ${error.message}`).toBe('number');
  if (path.endsWith('.ldb')) expect(file, error.message).toBe(path);
  return error;
}

/** What `read` says is `wanted`, or that something is damaged. */
function rightOrDamaged<T>(flip: Flip, read: () => T, wanted: T): boolean {
  let got: T;
  try {
    got = read();
  } catch (error) {
    expectDamage(error, flip);
    return false;
  }
  expect(got).toEqual(wanted);
  return true;
}

/** Reads everything in every way. True when all of it was right. */
function readsRight(engine: Engine, contents: Contents, keys: readonly string[], flip: Flip): boolean {
  const entries = [...contents].sort(([a], [b]) => (a < b ? -1 : 1));
  const scan = (reverse: boolean): [string, string][] =>
    engine.rangeSync({ reverse }).map((entry) => [text(entry.key) as string, text(entry.value) as string]);
  let isRight = rightOrDamaged(flip, () => scan(false), entries);
  if (!rightOrDamaged(flip, () => scan(true), entries.toReversed())) isRight = false;
  for (const key of keys) {
    if (!rightOrDamaged(flip, () => text(engine.getSync(bytes(key))), contents.get(key))) isRight = false;
  }
  return isRight;
}

const KEYS = Array.from({ length: 42 }, (_, i) => `k${String(i).padStart(3, '0')}`);

/** Opens the damaged store and reads it. Returns what became of it. */
async function outcomeOf(disk: MemoryDisk, contentsAt: (revision: number) => Contents, flip: Flip): Promise<string> {
  let engine: Engine;
  try {
    engine = await openEngine(DIR, { ...OPTIONS, disk });
  } catch (error) {
    return expectDamage(error, flip).code;
  }
  try {
    const contents = contentsAt(engine.revision);
    const isRight = readsRight(engine, contents, KEYS, flip);
    // A compaction reads it all, and must not write down what is wrong.
    if (flip.at % 3 !== 0) return isRight ? 'right' : 'read';
    try {
      await engine.compact();
      expect(readsRight(engine, contents, KEYS, flip), 'what was compacted can be read').toBe(true);
    } catch (error) {
      expectDamage(error, flip);
    }
    return isRight ? 'right' : 'read';
  } finally {
    await engine.close().catch(() => undefined);
  }
}

async function flipAll(
  disk: MemoryDisk,
  flips: readonly Flip[],
  contentsAt: (revision: number) => Contents,
): Promise<Map<string, number>> {
  const outcomes = new Map<string, number>();
  for (const flip of flips) {
    const damaged = disk.clone();
    damaged.flipBit(flip.path, flip.at, flip.bit);
    try {
      const outcome = await outcomeOf(damaged, contentsAt, flip);
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    } catch (cause) {
      const what = cause instanceof Error ? cause.message : String(cause);
      throw new Error(`${flip.path} byte ${flip.at} bit ${flip.bit}: ${what}`, { cause });
    }
  }
  return outcomes;
}

describe('P7: damage inside the synced part is reported with file and offset, never skipped', () => {
  test('a flipped bit anywhere in tables, manifest and CURRENT gives an error or the right answer', {
    timeout: 600_000,
  }, async () => {
    const disk = new MemoryDisk();
    const model = new EngineModel();
    await (await written(disk, model)).close();
    const random = seeded(7);
    const flips = flipsOf(disk, random, (path) => !path.includes('/wal/'));
    expect(new Set(flips.map(({ path }) => path)).size).toBeGreaterThanOrEqual(5);
    const outcomes = await flipAll(disk, flips, (revision) => {
      expect(revision).toBe(model.attempted);
      return model.contents;
    });
    expect(outcomes.get('TABLE_CORRUPT'), 'some were seen at the start').toBeGreaterThan(0);
    expect(outcomes.get('read'), 'some were seen by a read').toBeGreaterThan(0);
  });

  test('in the log of a store that was closed, too', { timeout: 600_000 }, async () => {
    const disk = new MemoryDisk();
    const model = new EngineModel();
    await (await written(disk, model)).close();
    const flips = flipsOf(disk, seeded(8), (path) => /\/wal\/\d+\.wal$/.test(path));
    const outcomes = await flipAll(disk, flips, (revision) => {
      expect(revision, 'nothing is cut off').toBe(model.attempted);
      return model.contents;
    });
    expect(outcomes.get('WAL_CORRUPT')).toBeGreaterThan(0);
  });

  test('in the log of a store that lost its power, all but its last group, which nothing proves to be synced', {
    timeout: 600_000,
  }, async () => {
    const disk = new MemoryDisk();
    const model = new EngineModel();
    await written(disk, model);
    disk.crash({ keep: 'none' });
    const flips = flipsOf(disk, seeded(9), (path) => /\/wal\/\d+\.wal$/.test(path));
    let cut = 0;
    const outcomes = await flipAll(disk, flips, (revision) => {
      expect(revision).toBeGreaterThanOrEqual(model.synced - 1);
      if (revision < model.synced) cut++;
      return model.states[revision]!;
    });
    expect(outcomes.get('WAL_CORRUPT')).toBeGreaterThan(cut);
  });

  test('a table that is cut, or gone, is named', async () => {
    const disk = new MemoryDisk();
    const model = new EngineModel();
    await (await written(disk, model)).close();
    for (const path of filesBelow(disk, DIR).filter((name) => name.endsWith('.ldb'))) {
      const cut = disk.clone();
      const file = cut.open(path, 'write');
      file.truncate(file.size() - 1);
      file.close();
      await expect(openEngine(DIR, { ...OPTIONS, disk: cut })).rejects.toMatchObject({
        code: 'TABLE_CORRUPT',
        data: { file: path },
      });
      const gone = disk.clone();
      gone.remove(path);
      await expect(openEngine(DIR, { ...OPTIONS, disk: gone })).rejects.toMatchObject({
        code: 'TABLE_CORRUPT',
        data: { file: path },
      });
    }
  });
});
