/**
 * Some seeds of the simulator, those that failed once among them; and that it is a simulator: the same seed gives the
 * same run, and a cluster that is made to lie is found out. `npm run sim -- --seeds 300` runs more.
 */
import { describe, expect, it, vi } from 'vitest';
import type { Mix } from './nemesis.ts';
import { NO_SWITCHES, type SimOptions, type Switches } from './options.ts';
import { FOUND } from './seeds.ts';
import { type Outcome, SimWorld } from './world.ts';

/** A busy machine takes many times as long as a quiet one. */
vi.setConfig({ testTimeout: 300_000 });

const STEPS = 8_000;

function run(seed: number, options: Partial<SimOptions> = {}): Promise<Outcome> {
  return new SimWorld({
    seed,
    steps: STEPS,
    nodes: 3,
    switches: NO_SWITCHES,
    isCalm: false,
    hasOldDisks: true,
    ...options,
  }).run();
}

describe('a cluster in one thread, from one seed', () => {
  it.each([1, 2, 3, 4, 5, 6, 7, 8])('three nodes bear what seed %i does to them', async (seed) => {
    const { failure, acked } = await run(seed);
    expect(failure).toBeUndefined();
    expect(acked).toBeGreaterThan(0);
  });

  it.each([101, 102])('five nodes bear what seed %i does to them', async (seed) => {
    expect((await run(seed, { nodes: 5 })).failure).toBeUndefined();
  });

  it('the same seed gives the same run, another seed another', async () => {
    const [first, second, other] = [await run(11), await run(11), await run(12)];
    expect(second).toEqual(first);
    expect(other.hash).not.toBe(first.hash);
  });

  it('an undisturbed cluster elects once, and serves everybody', async () => {
    const { failure, elections, unknown } = await run(13, { isCalm: true });
    expect(failure).toBeUndefined();
    expect(elections).toBe(1);
    expect(unknown).toBe(0);
  });

  it.each(FOUND)('seed $seed stays mended: $found', async ({ seed, nodes, steps }) => {
    expect((await run(seed, { nodes, steps })).failure).toBeUndefined();
  });
});

describe('a cluster that is made to lie is found out', () => {
  // What is lost is missed by one check or another, whichever looks first; never only by standing still.
  const lies: readonly (readonly [keyof Switches, Mix, RegExp])[] = [
    ['walSyncDoesNothing', 'crashes', /broken|damaged|falls/],
    ['syncedBeforeSync', 'crashes', /broken|damaged|falls/],
    ['skipEntry', 'any', /broken/],
    ['readsSkipBarrier', 'any', /linearizable read/],
  ];

  it.each(lies)('%s', async (name, mix, claim) => {
    for (let seed = 1; seed < 40; seed++) {
      const { failure } = await run(seed, { switches: { ...NO_SWITCHES, [name]: true }, mix });
      if (failure === undefined) continue;
      expect(failure.message).toMatch(claim);
      return;
    }
    expect.fail('no seed found it');
  });
});
