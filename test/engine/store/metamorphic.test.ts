/**
 * One list of operations, many stores: whatever the options, a store answers as the model does, byte for byte.
 *
 *   CTLMESH_ENGINE_SEEDS=1000 vitest run --project unit test/engine/store/metamorphic.test.ts    a long run
 *   SEED=17 vitest run …                                                                         one seed alone
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { MemoryDisk } from '../../../src/engine/disk/memory-disk.ts';
import { nodeDisk } from '../../../src/engine/disk/node-disk.ts';
import type { EngineOptions } from '../../../src/engine/store/index.ts';
import { seeded } from '../../core/base/seeded.ts';
import { SETS, TINY } from './option-sets.ts';
import { type Op, shrink, someOps } from './ops.ts';
import { historyOf, modelHistory } from './runner.ts';
import { DIR } from './world.ts';

/** Of these a bug was found once. */
const FOUND: readonly number[] = [];
const only = process.env['SEED'];
const count = Number(process.env['CTLMESH_ENGINE_SEEDS'] ?? 2);
const SEEDS = only === undefined ? [...FOUND, ...Array.from({ length: count }, (_, i) => i + 1)] : [Number(only)];
const LONG_MS = 30_000 + count * 10_000;

const opsOf = (seed: number): Op[] => someOps(seeded(seed), { ops: 250, bigEvery: 15 });

/** What a run says that the model does not; undefined: nothing. */
async function difference(options: EngineOptions, ops: readonly Op[]): Promise<string | undefined> {
  const expected = modelHistory(ops);
  try {
    const history = await historyOf(new MemoryDisk(), DIR, options, ops);
    const at = history.findIndex((line, i) => line !== expected[i]);
    if (at < 0) return undefined;
    return `at ${at} ${JSON.stringify(ops[at] ?? 'the end')}:\n  the store says ${history[at]}\n  the model says ${expected[at]}`;
  } catch (error) {
    return error instanceof Error ? `${error.message}\n${error.stack}` : String(error);
  }
}

test.each(Object.entries(SETS))(
  'a store answers as the model does: %s',
  async (name, options) => {
    for (const seed of SEEDS) {
      const ops = opsOf(seed);
      const found = await difference(options, ops);
      if (found === undefined) continue;
      const least = await shrink(ops, async (fewer) => (await difference(options, fewer)) !== undefined, 300);
      const reason = (await difference(options, least)) ?? found;
      const list = least.map((op) => `  ${JSON.stringify(op)}`).join('\n');
      throw new Error(`seed ${seed}, "${name}" (replay with SEED=${seed}): ${reason}\n${list}`);
    }
  },
  LONG_MS,
);

test(
  'on the real disk, with a pool, it answers as the model does',
  async () => {
    const base = mkdtempSync(join(tmpdir(), 'ctlmesh-metamorphic-'));
    try {
      for (const seed of SEEDS.slice(0, Math.max(1, Math.floor(SEEDS.length / 3)))) {
        const ops = opsOf(seed).slice(0, 150);
        const options: EngineOptions = { ...TINY, jobs: 'pool', reserveBytes: 0 };
        expect(await historyOf(nodeDisk, join(base, `${seed}`), options, ops), `seed ${seed}`).toEqual(
          modelHistory(ops),
        );
      }
    } finally {
      rmSync(base, { recursive: true });
    }
  },
  LONG_MS,
);
