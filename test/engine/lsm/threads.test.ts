import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { expect, test } from 'vitest';
import { toIndex } from '../../../src/core/base/position.ts';
import { PlainState } from '../../support/plain-state.ts';
import { keyOf, PREFIXES, type PrefixArgs, type PrefixSeen } from './prefix-reader.ts';

const GROUPS = 50;
const REVISIONS = 60_000;
const READERS = 2;

test('readers on other threads see all ten keys of a published batch or none, over a million reads', async () => {
  const arena = new SharedArrayBuffer(128 * 1024 * 1024);
  const shared = new SharedArrayBuffer(64);
  const words = new Int32Array(shared);
  const memtable = new PlainState(arena);
  const args: PrefixArgs = { arena, shared, groups: GROUPS, readsMin: 600_000 };
  const workers = Array.from(
    { length: READERS },
    () => new Worker(new URL('./prefix-reader.ts', import.meta.url), { workerData: args }),
  );
  const seen = workers.map(async (worker): Promise<PrefixSeen> => {
    const [message] = await once(worker, 'message');
    return message as PrefixSeen;
  });
  const ready = performance.now();
  while (Atomics.load(words, 2) < READERS && performance.now() - ready < 10_000) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  expect(Atomics.load(words, 2), 'readers are there before the writer begins').toBe(READERS);

  const value = new Uint8Array(16);
  const view = new DataView(value.buffer);
  for (let revision = 1; revision <= REVISIONS; revision++) {
    view.setFloat64(0, revision);
    view.setFloat64(8, revision);
    const group = (revision - 1) % GROUPS;
    for (let prefix = 0; prefix < PREFIXES; prefix++) memtable.put(keyOf(prefix, group), value, toIndex(revision), 0);
    // Published after the last of the ten is in.
    Atomics.store(words, 0, revision);
  }
  Atomics.store(words, 1, 1);

  const all = await Promise.all(seen);
  expect(all.flatMap(({ faults }) => faults)).toEqual([]);
  expect(all.reduce((sum, { reads }) => sum + reads, 0)).toBeGreaterThanOrEqual(1_000_000);
  for (const { revisions } of all) expect(revisions, 'reading went on while it was written').toBeGreaterThan(20);
  expect(memtable.liveKeys).toBe(GROUPS * PREFIXES);
  await Promise.all(workers.map((worker) => worker.terminate()));
}, 60_000);
