/**
 * Hunt: is every planted bug found out by the simulator? Runs each with the seed that is noted for it, in a process of its
 * own; where that seed finds it no more (another code is another course of events), the seeds from 1 on.
 *
 *   npm run mutants [-- --only NAME,…] [--often] [--find] [--within 2000] [--jobs 2] [--steps N]
 *
 * Found is what a check of the simulator, or of the node itself, says no to. A TypeError is no finding: then the mutant is
 * no bug but nonsense. And the same seed must pass without the bug, or it finds something else. `--find` does without the
 * noted seeds, `--often` without what is rarely found. Prints a table, and exits 1 when a bug is not found within so many seeds.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type Mutant, MUTANTS, RARE, SWITCHES } from './mutants.ts';
import type { Mix } from './nemesis.ts';

const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    often: { type: 'boolean', default: false },
    find: { type: 'boolean', default: false },
    within: { type: 'string', default: '2000' },
    jobs: { type: 'string', default: '2' },
    /** Of each run; without it, as many as a run has. */
    steps: { type: 'string' },
  },
});

interface Planted {
  readonly name: string;
  readonly seed: number;
  readonly flag: '--mutant' | '--plant';
  readonly mix?: Mix | undefined;
  readonly with?: Mutant['with'] | undefined;
}

interface Found {
  readonly seed: number;
  readonly reason: string;
  readonly isCrash: boolean;
}

const STEPS = values.steps === undefined ? [] : ['--steps', values.steps];
const CRASH = /^(?:Type|Range|Reference|Syntax)Error/;

const ALL: readonly Planted[] = [
  ...Object.entries(SWITCHES).map(([name, { seed, mix }]) => ({ name, seed, mix, flag: '--plant' }) as const),
  ...MUTANTS.map((mutant) => ({ ...mutant, flag: '--mutant' }) as const),
];

/** To see that a hunt can fail. */
const NO_BUG: Planted = { name: 'none', seed: 1, flag: '--mutant' };

/** Runs seeds until one fails; undefined: none has. */
async function run(args: readonly string[]): Promise<Found | undefined> {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'start.ts'), '--jobs', '1', ...STEPS, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let out = '';
  child.stdout.on('data', (bytes: Buffer) => {
    out += bytes.toString();
  });
  child.stderr.on('data', (bytes: Buffer) => {
    out += bytes.toString();
  });
  const [code] = (await once(child, 'close')) as [number | null];
  const said = /FAILED: seed (\d+), commit \S+\n(.*)/.exec(out);
  if (said !== null) {
    const reason = said[2] as string;
    return { seed: Number(said[1]), reason, isCrash: CRASH.test(reason) };
  }
  return code === 0
    ? undefined
    : { seed: 0, reason: `the simulator ended with ${code}: ${out.slice(-300)}`, isCrash: true };
}

async function hunt(planted: Planted): Promise<Found | undefined> {
  const { name, seed, flag } = planted;
  const bug = [flag, name, ...circumstances(planted)];
  if (!values.find) {
    const found = await run([...bug, '--seed', String(seed)]);
    if (found !== undefined) return found;
  }
  return run([...bug, '--from', '1', '--seeds', values.within, '--until-failed']);
}

const circumstances = ({ mix, with: what }: Planted): readonly string[] => [
  ...(mix === undefined ? [] : ['--mix', mix]),
  ...(what ?? []).map((name) => `--${name}`),
];

const passes = new Map<string, Promise<Found | undefined>>();

/** A seed that fails without any bug proves nothing. */
function control(seed: number, planted: Planted): Promise<Found | undefined> {
  const args = ['--seed', String(seed), ...circumstances(planted)];
  const known = passes.get(args.join());
  if (known !== undefined) return known;
  const fresh = run(args);
  passes.set(args.join(), fresh);
  return fresh;
}

function named(name: string): Planted {
  const planted = [...ALL, NO_BUG].find((other) => other.name === name);
  if (planted === undefined) throw new Error(`--only names some of ${ALL.map((other) => other.name).join(', ')}`);
  return planted;
}

const all = values.only === undefined ? ALL : values.only.split(',').map(named);
const wanted = values.often ? all.filter(({ name }) => !RARE.includes(name)) : all;
const missed: string[] = [];
const waiting = [...wanted];

async function work(): Promise<void> {
  for (let planted = waiting.shift(); planted !== undefined; planted = waiting.shift()) {
    const startedAt = performance.now();
    const found = await hunt(planted);
    const ms = Math.round(performance.now() - startedAt);
    const without = found === undefined || found.isCrash ? undefined : await control(found.seed, planted);
    const { name, seed } = planted;
    let verdict: string;
    if (found === undefined) verdict = `NOT FOUND within ${values.within} seeds`;
    else if (found.isCrash) verdict = `CRASHED: ${found.reason}`;
    else if (without !== undefined) verdict = `FAILS WITHOUT IT TOO: ${without.reason}`;
    else verdict = found.reason;
    if (found === undefined || found.isCrash || without !== undefined) missed.push(name);
    const moved = found !== undefined && found.seed !== seed ? ` (noted: ${seed})` : '';
    process.stdout.write(
      `${name.padEnd(26)} seed ${String(found?.seed ?? '-').padStart(4)}${moved} ${String(ms).padStart(6)} ms  ${verdict}\n`,
    );
  }
}

await Promise.all(Array.from({ length: Number(values.jobs) }, work));
process.stdout.write(
  missed.length === 0 ? `all ${wanted.length} were found\n` : `of ${wanted.length}, not found: ${missed.join(', ')}\n`,
);
process.exitCode = missed.length === 0 ? 0 : 1;
