/**
 * npm run bench -- <scenario...>: measures one question after the other and prints what this machine did.
 *
 * A new scenario is a file that exports a `Scenario` and a line in SCENARIOS.
 */
import { resolve } from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import { actors } from './actors.ts';
import { bootstrap } from './bootstrap.ts';
import { embeddedPut } from './embedded-put.ts';
import { durableActors } from './durable-actors.ts';
import { durablePut } from './engine/durable-put.ts';
import { load } from './engine/load.ts';
import { fill, overwrite, readMissing, readRandom, scan } from './engine/local.ts';
import { restart } from './engine/restart.ts';
import { ycsb } from './engine/ycsb.ts';
import { failover } from './failover.ts';
import { getSync } from './get-sync.ts';
import { ldbGet } from './ldb-get.ts';
import { ldbFleet } from './ldb-fleet.ts';
import { ldbLag } from './ldb-lag.ts';
import { ldbRow } from './ldb-row.ts';
import { linGet } from './lin-get.ts';
import { mutate } from './mutate.ts';
import { quorumPut } from './quorum-put.ts';
import { Cleanup, cleanUpAtExit } from './support/cleanup.ts';
import { measureFloors } from './support/floors.ts';
import { machine, makeDataDir } from './support/machine.ts';
import { Report } from './support/report.ts';
import { type Bench, BenchError, type BenchOptions, type Scenario } from './support/scenario.ts';

const SCENARIOS: readonly Scenario[] = [
  quorumPut,
  linGet,
  failover,
  embeddedPut,
  getSync,
  ldbGet,
  ldbLag,
  ldbFleet,
  ldbRow,
  bootstrap,
  mutate,
  fill,
  overwrite,
  readRandom,
  readMissing,
  scan,
  durablePut,
  ycsb,
  restart,
  load,
  actors,
  durableActors,
];

const SECONDS_DEFAULT = 5;

interface Flags {
  readonly json?: boolean;
  readonly markdown?: boolean;
  readonly peers?: boolean;
  readonly seconds: number;
  readonly inFlight?: number[];
  readonly kills?: number;
  readonly mb?: number;
  readonly floors: boolean;
  readonly profile?: string;
  readonly dir?: string;
}

function program(): Command {
  const width = Math.max(...SCENARIOS.map(({ name }) => name.length));
  const list = SCENARIOS.map(({ name, summary }) => `  ${name.padEnd(width)}  ${summary}`).join('\n');
  return new Command('npm run bench --')
    .usage('<scenario...> [options]')
    .argument('[scenario...]', "what to measure; 'all' for each of them, 'list' for the list")
    .option('--json', 'one JSON object per line on stdout, and nothing else there')
    .option('--markdown', 'rows to paste into bench/RESULTS.md')
    .option('--peers', 'run the other stores too, in the same run')
    .option('--seconds <n>', 'measured time of each variant', positive, SECONDS_DEFAULT)
    .option('--in-flight <list>', 'only these numbers in flight: 1,256', positives)
    .option('--kills <n>', 'how often failover takes the leader away, each way', whole)
    .option('--mb <n>', 'how much data bootstrap has (default: 1000)', positive)
    .option('--no-floors', 'leave the floors out')
    .option('--profile <dir>', 'let nodes and clients write V8 CPU profiles there (slower)')
    .option('--dir <dir>', 'where the data goes: on a disk (default: data/bench)')
    .addHelpText(
      'after',
      `\nScenarios:\n${list}\n\nRun on a quiet machine; every table names the machine and its floors.`,
    )
    .showHelpAfterError('(see npm run bench -- --help)');
}

function positive(text: string): number {
  const value = Number(text);
  if (!(value > 0)) throw new InvalidArgumentError('must be a number above 0.');
  return value;
}

function whole(text: string): number {
  const value = positive(text);
  if (!Number.isInteger(value)) throw new InvalidArgumentError('must be a whole number.');
  return value;
}

function positives(text: string): number[] {
  const numbers = text.split(',').map(positive);
  if (!numbers.every(Number.isInteger)) throw new InvalidArgumentError('must be whole numbers with commas.');
  return numbers;
}

function chosen(names: readonly string[]): Scenario[] {
  if (names.includes('all')) return [...SCENARIOS];
  return names.map((name) => {
    const scenario = SCENARIOS.find((one) => one.name === name);
    if (scenario !== undefined) return scenario;
    throw new BenchError(`there is no scenario '${name}'; there are ${SCENARIOS.map((one) => one.name).join(', ')}`);
  });
}

async function runScenario(scenario: Scenario, flags: Flags): Promise<void> {
  const format = flags.json === true ? 'json' : flags.markdown === true ? 'markdown' : 'table';
  const options: BenchOptions = {
    json: flags.json ?? false,
    markdown: flags.markdown ?? false,
    peers: flags.peers ?? false,
    seconds: flags.seconds,
    inFlight: flags.inFlight,
    kills: flags.kills,
    mb: flags.mb,
    profile: flags.profile === undefined ? undefined : resolve(flags.profile),
    dir: flags.dir,
  };
  const { stdout: out, stderr: err } = process;
  const report = new Report({ scenario: scenario.name, machine: machine(), format, out, err });
  const cleanup = new Cleanup();
  const dir = makeDataDir(options.dir);
  cleanup.dir(dir);
  const bench: Bench = {
    options,
    cleanup,
    dir,
    row: (row) => report.row(row),
    target: (target) => report.target(target),
    note: (text) => report.note(text),
    progress: (text) => report.progress(text),
  };
  try {
    if (flags.floors) await measureFloors(bench);
    await scenario.run(bench);
    report.end();
  } finally {
    await cleanup.run();
  }
}

async function main(argv: readonly string[]): Promise<number> {
  const command = program().parse(argv);
  const flags: Flags = command.opts();
  const names = command.args;
  if (names.length === 0 || names.includes('list')) {
    command.outputHelp();
    return 0;
  }
  cleanUpAtExit();
  try {
    for (const scenario of chosen(names)) await runScenario(scenario, flags);
    return 0;
  } catch (error) {
    if (!(error instanceof BenchError)) throw error;
    process.stderr.write(`bench: ${error.message}\n`);
    return 1;
  }
}

process.exitCode = await main(process.argv);
