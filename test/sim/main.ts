/**
 * The simulator's command line:
 *
 *   npm run sim -- --seed 17 [--steps 25000] [--nodes 3|5] [--trace]
 *   npm run sim -- --seeds 1000 [--from 1] [--jobs 2] [--steps …] [--nodes …]
 *
 * Without `--nodes` a seed says itself whether there are three or five. `--calm`: without faults. `--plant NAME`: one of
 * the planted bugs (options.ts); `--mutant NAME`: one in production code (mutants.ts), which start.ts has planted.
 * `--until-failed`: the first seed that fails is the last one.
 * Prints `trace hash: <hex>` for each run. A failure prints seed, commit and reason, and exits 1; `--trace` prints what
 * happened, step by step.
 */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { MIXES, type Mix } from './nemesis.ts';
import { NO_SWITCHES, type SimOptions, STEPS_DEFAULT, type Switches } from './options.ts';
import { type Outcome, SimWorld } from './world.ts';

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    seeds: { type: 'string' },
    from: { type: 'string', default: '1' },
    /** Processes that share the seeds. */
    jobs: { type: 'string', default: String(availableParallelism()) },
    /** Of a process among several: every how many-th seed is its own. */
    every: { type: 'string', default: '1' },
    steps: { type: 'string', default: String(STEPS_DEFAULT) },
    nodes: { type: 'string' },
    trace: { type: 'boolean', default: false },
    calm: { type: 'boolean', default: false },
    /** Disks are never put back as they were. */
    'no-old-disks': { type: 'boolean', default: false },
    mix: { type: 'string' },
    /** Families, tables and rows, whatever the seed says. */
    control: { type: 'boolean', default: false },
    /** Replicas in LMDB, whatever the seed says. */
    'real-ldb': { type: 'boolean', default: false },
    /** Some replicas are relays, whatever the seed says. */
    relays: { type: 'boolean', default: false },
    /** Stages, whatever the seed says. */
    stages: { type: 'boolean', default: false },
    /** Milliseconds that a client rests between two calls. */
    think: { type: 'string' },
    plant: { type: 'string' },
    mutant: { type: 'string' },
    'until-failed': { type: 'boolean', default: false },
  },
});

function numberOf(name: string, text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 0) throw new Error(`--${name} is a whole number; it is ${text}`);
  return value;
}

function mixOf(text: string): Mix {
  const mix = MIXES.find((other) => other === text);
  if (mix === undefined) throw new Error(`--mix is one of ${MIXES.join(', ')}; it is ${text}`);
  return mix;
}

function optionsOf(seed: number): SimOptions {
  const { nodes = seed % 3 === 0 || values.mix === 'elections' ? '5' : '3', plant } = values;
  if (nodes !== '3' && nodes !== '5') throw new Error(`--nodes is 3 or 5; it is ${nodes}`);
  if (plant !== undefined && !Object.hasOwn(NO_SWITCHES, plant)) {
    throw new Error(`--plant is one of ${Object.keys(NO_SWITCHES).join(', ')}`);
  }
  const switches: Switches = plant === undefined ? NO_SWITCHES : { ...NO_SWITCHES, [plant]: true };
  return {
    seed,
    steps: numberOf('steps', values.steps),
    nodes: nodes === '3' ? 3 : 5,
    switches,
    isCalm: values.calm,
    hasOldDisks: !values['no-old-disks'],
    ...(values.mix === undefined ? {} : { mix: mixOf(values.mix) }),
    ...(values.control ? { hasControl: true } : {}),
    ...(values['real-ldb'] ? { hasLmdb: true } : {}),
    ...(values.relays ? { hasRelays: true } : {}),
    ...(values.stages ? { hasStages: true } : {}),
    ...(values.think === undefined ? {} : { thinkMs: numberOf('think', values.think) }),
    ...(values.trace ? { print: (line: string) => process.stdout.write(`${line}\n`) } : {}),
  };
}

function report({ failure, ...rest }: Outcome, tookMs: number): void {
  const { seed, hash, virtualMs, steps, committed, elections, faults, acked, reads, unknown, flushes } = rest;
  const {
    records,
    snapshots,
    compacted,
    installs,
    memberChanges,
    lostDisks,
    repairs,
    oldDisks,
    oldDisksFound,
    replicas,
  } = rest;
  process.stdout.write(
    `seed ${seed}: ${(virtualMs / 1000).toFixed(1)} s in ${(tookMs / 1000).toFixed(2)} s, ${steps} steps, ` +
      `${committed} committed, ${elections} elections, ${faults} faults, ${acked} acked, ${reads} reads, ` +
      `${unknown} unknown, ${records} fed, ${compacted} compacted, ${flushes} flushes, ${installs} installs, ${memberChanges} changes of members, ${lostDisks} lost disks, ${repairs} repairs, ${oldDisksFound} of ${oldDisks} old disks found; ` +
      `replicas: ${replicas.lives} lives, ${replicas.looks} looks, ${replicas.hashes} with a hash, ${snapshots} snapshots, ${replicas.goneOn} gone on with, ${replicas.gaps} gaps, ${replicas.damaged} damaged, ${replicas.diverged} diverged, ${replicas.passed} passed on, ${replicas.held} held back\n` +
      `trace hash: ${hash}\n`,
  );
  if (failure === undefined) return;
  const nodes = optionsOf(seed).nodes;
  const again = `npm run sim -- --seed ${seed} --steps ${values.steps} --nodes ${nodes}${planted()} --trace`;
  process.stdout.write(
    `FAILED: seed ${seed}, commit ${commitOf()}\n${failure.stack ?? failure.message}\nagain: ${again}\n`,
  );
}

function planted(): string {
  const { plant, mutant } = values;
  const oldDisks = values['no-old-disks'] ? ' --no-old-disks' : '';
  const mix = values.mix === undefined ? '' : ` --mix ${values.mix}`;
  const given = `${values.control ? ' --control' : ''}${values['real-ldb'] ? ' --real-ldb' : ''}${values.relays ? ' --relays' : ''}${values.stages ? ' --stages' : ''}`;
  return `${oldDisks}${given}${mix}${plant === undefined ? '' : ` --plant ${plant}`}${mutant === undefined ? '' : ` --mutant ${mutant}`}`;
}

function commitOf(): string {
  try {
    return execFileSync('git', ['rev-parse', 'HEAD'], { encoding: 'utf8' }).trim();
  } catch {
    return 'unknown';
  }
}

/**
 * What a seed leaves behind is mostly shared memory, a hundred MiB or so, and V8 does not count that when it reckons whether
 * to look for garbage: unasked, fifty seeds hold five GiB.
 */
function collector(): () => void {
  setFlagsFromString('--expose-gc');
  return runInNewContext('gc') as () => void;
}

async function runSeeds(first: number, end: number, every: number): Promise<number[]> {
  const failed: number[] = [];
  const collect = collector();
  for (let seed = first; seed < end; seed += every) {
    const startedAt = performance.now();
    const outcome = await new SimWorld(optionsOf(seed)).run();
    report(outcome, performance.now() - startedAt);
    collect();
    if (outcome.failure === undefined) continue;
    failed.push(seed);
    if (values['until-failed']) break;
  }
  return failed;
}

/** Several processes, each with its part of the seeds. True: none has failed. */
async function share(first: number, count: number, jobs: number): Promise<boolean> {
  const passed = ['--steps', values.steps, ...(values.nodes === undefined ? [] : ['--nodes', values.nodes])];
  if (values.plant !== undefined) passed.push('--plant', values.plant);
  if (values.mutant !== undefined) passed.push('--mutant', values.mutant);
  if (values.calm) passed.push('--calm');
  if (values['no-old-disks']) passed.push('--no-old-disks');
  if (values.mix !== undefined) passed.push('--mix', values.mix);
  if (values.control) passed.push('--control');
  if (values['real-ldb']) passed.push('--real-ldb');
  if (values.relays) passed.push('--relays');
  if (values.stages) passed.push('--stages');
  if (values.think !== undefined) passed.push('--think', values.think);
  if (values['until-failed']) passed.push('--until-failed');
  const codes = await Promise.all(
    Array.from({ length: jobs }, async (_, i) => {
      const own = ['--jobs', '1', '--from', String(first + i), '--seeds', String(count - i), '--every', String(jobs)];
      const child = spawn(process.execPath, [join(import.meta.dirname, 'start.ts'), ...own, ...passed], {
        stdio: 'inherit',
      });
      const [code] = (await once(child, 'exit')) as [number | null];
      return code;
    }),
  );
  return codes.every((code) => code === 0);
}

const first = values.seed === undefined ? numberOf('from', values.from) : numberOf('seed', values.seed);
const count = values.seeds === undefined ? 1 : numberOf('seeds', values.seeds);
const jobs = Math.min(numberOf('jobs', values.jobs), count);
if (jobs > 1) {
  const startedAt = performance.now();
  const isGood = await share(first, count, jobs);
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(0);
  process.stdout.write(`${count} seeds in ${seconds} s: ${isGood ? 'none' : 'some'} failed\n`);
  process.exitCode = isGood ? 0 : 1;
} else {
  const failed = await runSeeds(first, first + count, numberOf('every', values.every));
  if (failed.length > 0) process.stdout.write(`failed: ${failed.join(' ')}\n`);
  process.exitCode = failed.length > 0 ? 1 : 0;
}
