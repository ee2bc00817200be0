import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { isStoreError } from '../../../src/core/base/errors.ts';
import { MemoryDisk } from '../../../src/engine/disk/memory-disk.ts';
import { systemError } from '../../../src/engine/disk/system-error.ts';
import { type Engine, type EngineOptions, openEngine } from '../../../src/engine/store/index.ts';
import { randomBytes, seeded } from '../../core/base/seeded.ts';
import { type Change, WatchedDisk } from '../../support/engine-disk.ts';
import { bytes, DIR, EngineModel, expectContents, type Op, SMALL, valueOf } from '../../support/engine-model.ts';

const KIB = 1024;
/** Room for some tables beside what the log takes for itself. */
const OPTIONS: EngineOptions = {
  ...SMALL,
  memtableBytes: 64 * KIB,
  tableBytes: 64 * KIB,
  levelBaseBytes: 256 * KIB,
  compression: 'none',
  walSegmentBytes: 256 * KIB,
  reserveBytes: 512 * KIB,
};
const CAPACITY_BYTES = 6 * KIB * KIB;

const isFull = (error: unknown): boolean => isStoreError(error, 'STORE_FULL');

/** Values that do not compress, by key: what the store must hold. */
class Filling {
  readonly held = new Map<string, Uint8Array>();
  readonly #random = seeded(3);
  #next = 0;

  /** Puts until the disk is full. */
  async fill(engine: Engine): Promise<void> {
    for (let tries = 0; tries < 100_000; tries++) {
      const key = `k${String(this.#next++).padStart(6, '0')}`;
      const value = randomBytes(this.#random, 2000);
      try {
        await engine.put(bytes(key), value);
        this.held.set(key, value);
      } catch (error) {
        if (!isFull(error)) throw error;
        expect((error as { retry?: string }).retry).toBe('later');
        return;
      }
    }
    expect.fail('the disk is never full');
  }

  expectHeld(engine: Engine): void {
    const found = engine.rangeSync();
    expect(found.length).toBe(this.held.size);
    for (const { key, value } of found) {
      const wanted = this.held.get(String.fromCharCode(...key));
      if (wanted === undefined || Buffer.compare(wanted, value) !== 0) {
        expect.fail(`${String.fromCharCode(...key)} has another value`);
      }
    }
  }
}

/** Asks again and again until it is done, as a caller does who is told STORE_FULL. */
async function whenThereIsRoom<T>(act: () => Promise<T>): Promise<T> {
  const untilMs = performance.now() + 20_000;
  for (;;) {
    try {
      return await act();
    } catch (error) {
      if (!isFull(error) || performance.now() > untilMs) throw error;
      await sleep(20);
    }
  }
}

async function filled(options: Partial<EngineOptions> = {}): Promise<{
  disk: MemoryDisk;
  engine: Engine;
  filling: Filling;
}> {
  const disk = new MemoryDisk({ capacityBytes: CAPACITY_BYTES });
  const engine = await openEngine(DIR, { ...OPTIONS, disk, ...options });
  const filling = new Filling();
  await filling.fill(engine);
  return { disk, engine, filling };
}

describe('P8: disk full makes the store read-only with a typed error; deletes and compaction free space; it recovers by itself', () => {
  test('puts are refused, reads go on, deletes are taken, and there is room again without opening anew', async () => {
    const { engine, filling } = await filled();
    expect(filling.held.size).toBeGreaterThan(300);
    filling.expectHeld(engine);
    await expect(engine.put(bytes('more'), new Uint8Array(2000))).rejects.toMatchObject({ code: 'STORE_FULL' });
    // Half of them, one by one and as a range.
    const keys = [...filling.held.keys()];
    for (const key of keys.slice(0, 20)) await engine.delete(bytes(key));
    await engine.deleteRange(bytes(keys[20]!), bytes(keys[keys.length >> 1]!));
    for (const key of keys.slice(0, keys.length >> 1)) filling.held.delete(key);
    filling.expectHeld(engine);
    expect(engine.failure).toBe(undefined);
    await whenThereIsRoom(() => engine.compact());
    await whenThereIsRoom(() => engine.put(bytes('later'), bytes('1')));
    filling.held.set('later', bytes('1'));
    // And so again.
    await filling.fill(engine);
    filling.expectHeld(engine);
    await whenThereIsRoom(() => engine.deleteRange(bytes('k'), bytes('l')));
    await whenThereIsRoom(() => engine.compact());
    for (let i = 0; i < 50; i++) await whenThereIsRoom(() => engine.put(bytes(`z${i}`), new Uint8Array(1000)));
    expect(engine.rangeSync().length).toBe(51);
    await engine.close();
  });

  test('deletes are taken also when the log has no room left, by the room that was kept for it', async () => {
    // Nothing is flushed: the log alone fills the disk.
    const { disk, engine, filling } = await filled({ memtableBytes: 8 * KIB * KIB, walSegmentBytes: 8 * KIB * KIB });
    expect(engine.stats().tree).toMatchObject({ flushes: 0 });
    const keys = [...filling.held.keys()].slice(0, 400);
    for (const key of keys) {
      await engine.delete(bytes(key));
      filling.held.delete(key);
    }
    filling.expectHeld(engine);
    await expect(engine.put(bytes('more'), new Uint8Array(2000))).rejects.toMatchObject({ code: 'STORE_FULL' });
    disk.crash({ keep: 'none' });
    const again = await openEngine(DIR, { ...OPTIONS, disk, memtableBytes: 8 * KIB * KIB });
    filling.expectHeld(again);
    await again.close();
  });

  test('a delete that is the first to find the disk full gets that room too', async () => {
    const disk = new MemoryDisk();
    const options = { ...OPTIONS, disk, memtableBytes: 8 * KIB * KIB, walSegmentBytes: 8 * KIB * KIB };
    const engine = await openEngine(DIR, options);
    await engine.put(bytes('a'), bytes('1'));
    disk.capacityBytes = disk.usedBytes;
    // More than the zeros that are written ahead.
    for (let i = 0; i < 120; i++) await engine.delete(bytes(`${i}`.padEnd(10 * KIB, 'x')));
    await engine.delete(bytes('a'));
    await expect(engine.put(bytes('b'), bytes('2'))).rejects.toMatchObject({ code: 'STORE_FULL' });
    disk.crash({ keep: 'none' });
    disk.capacityBytes = Number.POSITIVE_INFINITY;
    const again = await openEngine(DIR, options);
    expect(again.revision).toBe(122);
    expect(again.rangeSync()).toEqual([]);
    await again.close();
  });

  test('what was acknowledged on a full disk survives a power cut, and what was refused does not come', async () => {
    const { disk, engine, filling } = await filled();
    const keys = [...filling.held.keys()];
    for (const key of keys.slice(0, 10)) {
      await engine.delete(bytes(key));
      filling.held.delete(key);
    }
    await engine.close();
    disk.crash({ keep: 'none' });
    const again = await openEngine(DIR, { ...OPTIONS, disk });
    filling.expectHeld(again);
    await again.close();
  });

  test('a full disk can be closed at once, opened, and goes on when it has grown', async () => {
    const { disk, engine, filling } = await filled({ reserveBytes: 0 });
    const writing = Array.from({ length: 40 }, (_, i) => engine.put(bytes(`w${i}`), new Uint8Array(2000)));
    const closing = engine.close();
    const ends = await Promise.allSettled(writing);
    await closing;
    for (const end of ends) {
      if (end.status === 'rejected') expect(['STORE_FULL', 'CLOSED']).toContain((end.reason as { code: string }).code);
    }
    const again = await openEngine(DIR, { ...OPTIONS, disk, reserveBytes: 0 });
    for (const key of filling.held.keys()) expect(again.getSync(bytes(key))).toEqual(filling.held.get(key));
    disk.capacityBytes = Number.POSITIVE_INFINITY;
    for (let i = 0; i < 50; i++) await whenThereIsRoom(() => again.put(bytes(`v${i}`), new Uint8Array(2000)));
    await again.close();
  });

  test('a disk that is full at any one write of a script loses nothing that was acknowledged', {
    timeout: 120_000,
  }, async () => {
    const kinds = new Map<string, number>();
    for (let at = 0; ; at++) {
      try {
        const kind = await fullAt(at);
        if (kind === undefined) break;
        kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
      } catch (cause) {
        throw new Error(`write ${at}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
      }
    }
    for (const kind of ['wal/N.wal', 'wal/spare-N.wal', 'N.ldb', 'MANIFEST-N', 'N.dbtmp']) {
      expect(kinds.get(kind), kind).toBeGreaterThan(0);
    }
  });
});

const SCRIPT: readonly Op[][] = Array.from({ length: 12 }, (_, i) =>
  i % 4 === 3
    ? [['range', 'k0', 'k2']]
    : [
        ['put', `k${i % 5}`, valueOf('k', i, 700)],
        ['del', 'k4'],
      ],
);

/** The `at`-th write of a script, and that alone, finds no room behind its first half. Which file it was of. */
async function fullAt(at: number): Promise<string | undefined> {
  const inner = new MemoryDisk();
  let writes = 0;
  let full: Change | undefined;
  const disk = new WatchedDisk(inner, (change) => {
    if (change.op !== 'write' || writes++ !== at) return;
    full = change;
    const { path, bytes: content, at: position } = change;
    const file = inner.open(path, 'write');
    file.write(content.subarray(0, content.length >> 1), position);
    file.close();
    throw systemError('ENOSPC', 'write', path, 'no space left');
  });
  const model = new EngineModel();
  const options = { ...SMALL, disk, autoCompact: false };
  let engine: Engine | undefined;
  try {
    engine = await openEngine(DIR, options);
    for (const [i, ops] of SCRIPT.entries()) {
      await written(engine, model, ops);
      if (i % 4 === 3) await whenThereIsRoom(() => (engine as Engine).flush());
    }
    await whenThereIsRoom(() => (engine as Engine).compact());
    expectContents(engine, model.contents);
    expect(engine.failure).toBe(undefined);
  } catch (error) {
    // It may also give up in order: the log cannot take back what it began to write.
    if (!isFull(error)) throw error;
    if (engine !== undefined) expect(engine.failure?.code).toBe('STORE_FULL');
  }
  await engine?.close().catch(() => undefined);
  disk.die();
  inner.crash({ keep: at % 2 === 0 ? 'none' : 'all' });
  const again = await openEngine(DIR, { ...SMALL, disk: inner });
  expect(again.revision).toBeGreaterThanOrEqual(model.synced);
  expectContents(again, model.states[again.revision]!, ['k0', 'k1', 'k2', 'k3', 'k4']);
  await again.close();
  return full?.path.slice(DIR.length + 1).replace(/\d+/g, 'N');
}

/** Writes until it is taken: who is refused is so before anything has happened, unless the store gives up. */
async function written(engine: Engine, model: EngineModel, ops: readonly Op[]): Promise<void> {
  for (;;) {
    try {
      await model.write(engine, ops);
      return;
    } catch (error) {
      if (!isFull(error) || engine.failure !== undefined) throw error;
      model.states.pop();
      await sleep(5);
    }
  }
}
