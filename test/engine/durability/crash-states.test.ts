/**
 * Every crash state of a script (see engine-crash-states.ts), and random ones of long runs.
 *
 * `CTLMESH_CRASH_SEEDS=500` runs that many random lives' worth; `SEED=17` one of them.
 */
import { expect, test } from 'vitest';
import { type Keep, MemoryDisk } from '../../../src/engine/disk/memory-disk.ts';
import { type Engine, openEngine } from '../../../src/engine/store/index.ts';
import { below, pick, seeded } from '../../core/base/seeded.ts';
import { CrashRecorder, crashStates } from '../../support/engine-crash-states.ts';
import { WatchedDisk } from '../../support/engine-disk.ts';
import { bytes, DIR, EngineModel, expectContents, randomOps, SMALL, valueOf } from '../../support/engine-model.ts';

interface Promised {
  readonly synced: number;
  readonly attempted: number;
}

const KEYS = 12;

/** Opens what a crash left, and holds it against what was promised. Returns the revision it came back at. */
async function expectRecovered(
  disk: MemoryDisk,
  model: EngineModel,
  { synced, attempted }: Promised,
  isTwice: boolean,
): Promise<number> {
  const engine = await openEngine(DIR, { ...SMALL, disk });
  const { revision } = engine;
  expect(revision, 'P1: nothing synced is lost').toBeGreaterThanOrEqual(synced);
  expect(revision, 'nothing is there that was never written').toBeLessThanOrEqual(attempted);
  // P2 and P3: exactly what was after that batch.
  const wanted = model.states[revision]!;
  expectContents(engine, wanted, model.contents.keys());
  expect(await engine.put(bytes('after'), bytes('the crash')), 'P4: revisions go on').toBe(revision + 1);
  await engine.close();
  if (!isTwice) return revision;
  // What was recovered stays, whatever comes.
  disk.crash({ keep: 'none' });
  const again = await openEngine(DIR, { ...SMALL, disk });
  expect(again.revision).toBe(revision + 1);
  expectContents(again, new Map([...wanted, ['after', 'the crash']]));
  await again.close();
  return revision;
}

test('P1 to P5 hold in every crash state of a script with all that an engine does', { timeout: 120_000 }, async () => {
  const model = new EngineModel();
  const recorder = new CrashRecorder<Promised>(() => ({ synced: model.synced, attempted: model.attempted }));
  const options = { ...SMALL, disk: recorder.disk, autoCompact: false };
  let engine = await openEngine(DIR, options);
  await model.write(engine, [['put', 'a', valueOf('a', 1)]]);
  await model.write(engine, [['put', 'b', valueOf('b', 2)]], { sync: false });
  await model.write(engine, [
    ['put', 'c', valueOf('c', 3, 700)],
    ['del', 'a'],
  ]);
  await engine.flush();
  await model.write(engine, [['put', 'a', valueOf('a', 4)]], { sync: false });
  await model.write(engine, [['put', 'd', valueOf('d', 5, 1500)]]);
  await engine.flush();
  await model.write(engine, [
    ['range', 'a', 'c'],
    ['put', 'e', valueOf('e', 6)],
  ]);
  await engine.compact();
  await Promise.all([
    model.write(engine, [['put', 'f', valueOf('f', 7)]], { sync: false }),
    model.write(engine, [['put', 'g', valueOf('g', 8)]]),
    model.write(engine, [['del', 'c']], { sync: false }),
  ]);
  await engine.close();
  engine = await openEngine(DIR, options);
  // Enough to leave segments of the log behind.
  for (let i = 10; i < 16; i++)
    await model.write(engine, [['put', `h${i}`, valueOf('h', i, 900)]], { sync: i % 2 === 0 });
  await engine.flush();
  await engine.compact();
  await model.write(engine, [['put', 'z', 'last']]);
  await engine.close();
  recorder.end();

  const recoveredAt = new Map<number, number>();
  let states = 0;
  for (const { changes, kept, promised, disk } of crashStates(recorder)) {
    states++;
    try {
      const revision = await expectRecovered(disk, model, promised, states % 4 === 0);
      recoveredAt.set(revision, (recoveredAt.get(revision) ?? 0) + 1);
    } catch (cause) {
      const trail = recorder.changes.slice(Math.max(0, changes - 6), changes).map(({ op, path }) => `${op} ${path}`);
      const what = cause instanceof Error ? cause.message : String(cause);
      throw new Error(`after change ${changes} (… ${trail.join(', ')}), kept ${kept}: ${what}`, { cause });
    }
  }
  expect(states).toBeGreaterThan(200);
  // Each batch was the last one in some state, but for the first two of a group of three, which is one write.
  const never = Array.from(model.states.keys()).filter((revision) => !recoveredAt.has(revision));
  expect(never).toEqual([7, 8]);
});

/** One seed: lives of one store, each ended by a cut at any change, or by a close. */
async function live(seed: number): Promise<{ cuts: number; lost: number }> {
  const random = seeded(seed);
  const inner = new MemoryDisk({ random });
  const model = new EngineModel();
  const counts = { cuts: 0, lost: 0 };
  const options = {
    ...SMALL,
    walSegmentBytes: pick(random, [1024, 4096, 64 * 1024]),
    memtableBytes: pick(random, [512, 2048, 8192]),
    bloomBitsPerKey: pick(random, [0, 10]),
    compression: pick(random, ['snappy', 'none'] as const),
  };
  for (let life = 0; life < 4; life++) {
    const keep = pick<Keep>(random, ['none', 'all', 'random', 'random', 'random']);
    // Early cuts are within recovery itself.
    const cutAt = pick(random, [below(random, 8), below(random, 40), below(random, 200), Number.POSITIVE_INFINITY]);
    const disk: WatchedDisk = new WatchedDisk(inner, (_, number) => {
      if (number === cutAt) disk.die();
    });
    let engine: Engine | undefined;
    try {
      engine = await openEngine(DIR, { ...options, disk });
      checkRecovered(engine, model, counts);
      await runScript(engine, model, random);
    } catch (error) {
      if (disk.changes <= cutAt) throw error;
    }
    await engine?.close().catch(() => undefined);
    disk.die();
    if (disk.changes > cutAt || random() < 0.5) {
      counts.cuts++;
      inner.crash({ keep });
      inner.checkInvariants();
    }
  }
  const engine = await openEngine(DIR, { ...options, disk: inner });
  checkRecovered(engine, model, counts);
  await engine.close();
  return counts;
}

function checkRecovered(engine: Engine, model: EngineModel, counts: { lost: number }): void {
  const { revision } = engine;
  expect(revision, 'P1: nothing synced is lost').toBeGreaterThanOrEqual(model.synced);
  expect(revision, 'nothing is there that was never written').toBeLessThanOrEqual(model.attempted);
  counts.lost += model.attempted - revision;
  const others = [...model.contents.keys()];
  model.crashedTo(revision);
  expectContents(engine, model.contents, others);
}

async function runScript(engine: Engine, model: EngineModel, random: () => number): Promise<void> {
  for (let steps = 5 + below(random, 40); steps > 0; steps--) {
    const kind = random();
    if (kind < 0.8) {
      // Some at once, in one group.
      const writes = Array.from({ length: random() < 0.7 ? 1 : 1 + below(random, 5) }, () =>
        model.write(engine, randomOps(random, model.attempted + 1, KEYS), { sync: random() < 0.5 }),
      );
      const ends = await Promise.allSettled(writes);
      for (const end of ends) if (end.status === 'rejected') throw end.reason;
    } else if (kind < 0.9) await engine.flush();
    else if (kind < 0.95) await engine.compact();
    else await engine.settled();
  }
}

test('whatever a cut at any moment leaves of a long run, the store comes back to a batch, and to no older than promised', {
  timeout: 600_000,
}, async () => {
  const only = process.env['SEED'];
  const count = Number(process.env['CTLMESH_CRASH_SEEDS'] ?? 40);
  const seeds = only === undefined ? Array.from({ length: count }, (_, i) => i + 1) : [Number(only)];
  let cuts = 0;
  let lost = 0;
  for (const seed of seeds) {
    try {
      const counts = await live(seed);
      cuts += counts.cuts;
      lost += counts.lost;
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new Error(`seed ${seed} (replay with SEED=${seed}): ${reason}`, { cause });
    }
  }
  if (only !== undefined) return;
  expect(cuts, 'the power went').toBeGreaterThan(count);
  expect(lost, 'what was not synced was lost at times').toBeGreaterThan(0);
});
