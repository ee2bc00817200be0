/**
 * npm run torture: kill -9, again and again, and proof of what the clients saw.
 *
 *   npm run torture -- --kills 1000 --pause
 *
 * Real node processes on real disks, at default timeouts, are killed at random while SDK clients read and write a few
 * keys as hard as they conflict. What each client asked and was told goes into a history (JSON lines, one event each, in
 * the format of ctlmesh/testing), and at the end the checkers look for any order of events that explains all of it.
 * Then every node must have the same state. Exit code 0: all of that held; 1: it did not, or the checkers' budget ended
 * first (the verdict is then "unknown"). The history stays: `kvctl history check FILE` judges it again.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import { connect } from '../src/client/index.ts';
import { HistoryRecorder } from '../src/testing/index.ts';
import { TestCluster, until } from '../test/support/cluster-process.ts';
import { localState, sameState } from '../test/support/cluster-workload.ts';
import { Chaos } from './torture/chaos.ts';
import { HistoryFile, judge, type Judgement, readHistory, worst } from './torture/history-file.ts';
import { Workload } from './torture/workload.ts';

interface Flags {
  readonly kills: number;
  readonly nodes: number;
  readonly seed: number;
  readonly clients: number;
  readonly rate: number;
  readonly pause?: boolean;
  readonly history?: string;
  readonly report?: string;
}

const KILLS = 100;
const NODES = 3;
const CLIENTS = 6;
const OPS_PER_SECOND = 300;
const LINE_EVERY_MS = 5_000;
const START_MS_MAX = 60_000;
const SAME_MS_MAX = 30_000;
/** Of each node's last run. */
const LOG_LINES = 400;
const ROOT: string = resolve(import.meta.dirname, '..');

function program(): Command {
  return new Command('npm run torture --')
    .description('Kills real nodes at random under load, and checks everything that the clients saw.')
    .option('--kills <n>', 'how many processes to kill', whole(1), KILLS)
    .option('--nodes <n>', 'nodes of the cluster', whole(1), NODES)
    .option(
      '--seed <n>',
      'of the kills and of the operations (default: by the clock)',
      whole(0),
      Date.now() % 1_000_000,
    )
    .option('--pause', 'also let nodes stand still for up to three seconds (SIGSTOP, SIGCONT)')
    .option('--clients <n>', 'SDK clients, of three callers each', whole(1), CLIENTS)
    .option('--rate <n>', 'operations a second, of all clients together', whole(1), OPS_PER_SECOND)
    .option('--history <file>', 'where the history goes (default: data/torture/seed-N.jsonl)')
    .option('--report <file>', 'write the figures and the verdict there, as JSON')
    .showHelpAfterError('(see npm run torture -- --help)');
}

function whole(min: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (Number.isInteger(value) && value >= min) return value;
    throw new InvalidArgumentError(`must be a whole number, ${min} or more.`);
  };
}

const say = (text: string): void => void process.stdout.write(`${text}\n`);

/** One run: a cluster, its clients, its chaos. */
class Torture {
  readonly #flags: Flags;
  readonly #cluster: TestCluster;
  readonly #file: HistoryFile;
  readonly #workload: Workload;
  readonly #chaos: Chaos;
  readonly #beganMs = performance.now();

  constructor(flags: Flags, cluster: TestCluster, path: string) {
    this.#flags = flags;
    this.#cluster = cluster;
    this.#file = new HistoryFile(path);
    const { seed, clients, rate, kills, pause = false } = flags;
    const now = (): number => Math.round((performance.now() - this.#beganMs) * 1000) / 1000;
    const recorder = new HistoryRecorder({ write: (event) => this.#file.write(event), now });
    const workload = new Workload({ endpoints: cluster.urls, recorder, seed, clients, opsPerSecond: rate });
    this.#workload = workload;
    const check = (): void => workload.throwIfFailed();
    const acked = (): number => workload.counts.acked;
    this.#chaos = new Chaos({ cluster, kills, seed, withPauses: pause, acked, check });
  }

  /** Kills under load, then reads everything; the history is whole afterwards. Throws what must not happen. */
  async run(): Promise<void> {
    const onInterrupt = (): void => {
      say('no more kills; what there is will be checked (once more ends at once)');
      this.#chaos.stop();
      process.once('SIGINT', () => process.exit(130));
    };
    process.once('SIGINT', onInterrupt);
    const lines = setInterval(() => say(this.line()), LINE_EVERY_MS);
    try {
      await this.#workload.start();
      await this.#chaos.run();
      await this.#workload.stop();
      say(this.line());
      say(`all nodes are up: reading all ${this.#workload.keys} keys from each of them, and comparing their states`);
      await this.#workload.readAll();
      await this.#sameEverywhere();
    } finally {
      clearInterval(lines);
      process.off('SIGINT', onInterrupt);
      this.#file.close();
    }
  }

  line(): string {
    const { kills, leaderKills, pauses, ops, acked, unknown, longestGapMs } = this.figures();
    const clock = new Date(performance.now() - this.#beganMs).toISOString().slice(11, 19);
    const paused = this.#flags.pause === true ? `, ${pauses} pauses` : '';
    return (
      `${clock}  ${kills} of ${this.#flags.kills} kills (${leaderKills} took the leader)${paused} · ` +
      `${ops} operations, ${acked} writes acknowledged, ${unknown} of unknown outcome · longest gap ${longestGapMs} ms`
    );
  }

  figures() {
    const { kills, leaderKills, pauses } = this.#chaos;
    const longestGapMs = Math.round(this.#workload.longestGapMs);
    const seconds = Math.round((performance.now() - this.#beganMs) / 1000);
    return { kills, leaderKills, pauses, seconds, ...this.#workload.counts, keys: this.#workload.keys, longestGapMs };
  }

  /** Every node has applied the same, key by key. */
  async #sameEverywhere(): Promise<void> {
    const cluster = this.#cluster;
    const clients = await Promise.all(cluster.urls.map((url) => connect(url, { pinned: true })));
    try {
      const { revision } = await (clients[0] as (typeof clients)[number]).put('end', 'end');
      const states = await Promise.all(
        clients.map(async (client, i) => {
          const isThere = async (): Promise<boolean> => (await client.status()).applied >= revision;
          await until(`${cluster.ids[i]} has applied ${revision}`, isThere, { withinMs: SAME_MS_MAX });
          return localState(client);
        }),
      );
      const [first = new Map<string, string>()] = states;
      for (const [i, state] of states.entries()) sameState(state, first, `${cluster.ids[i]} and ${cluster.ids[0]}`);
    } finally {
      await Promise.all(clients.map((client) => client.close()));
    }
  }
}

async function judgeFile(path: string): Promise<Judgement['verdict']> {
  const beganMs = performance.now();
  const judgements = await judge(await readHistory(path), say);
  for (const { text } of judgements) say(text);
  say(`checked in ${((performance.now() - beganMs) / 1000).toFixed(1)} s`);
  return worst(judgements);
}

async function main(argv: readonly string[]): Promise<number> {
  const flags: Flags = program().parse(argv).opts();
  const { kills, nodes, seed, pause = false } = flags;
  const path = resolve(flags.history ?? join(ROOT, 'data', 'torture', `seed-${seed}.jsonl`));
  const shown = relative(process.cwd(), path);
  say(`torture: ${kills} kills${pause ? ' and pauses' : ''}, ${nodes} nodes, seed ${seed}; history: ${shown}`);
  // The nodes go with this process, however it exits.
  process.once('SIGTERM', () => process.exit(143));
  const cluster = await TestCluster.prepare({ nodes });
  for (const id of cluster.ids) cluster.spawn(id);
  await cluster.leader(START_MS_MAX).catch(async (error: unknown) => {
    await cluster.close();
    throw error;
  });
  const torture = new Torture(flags, cluster, path);
  let verdict: Judgement['verdict'];
  try {
    await torture.run();
    verdict = await judgeFile(path);
  } catch (error) {
    verdict = 'violation';
    say((error as Error).message);
    // What the clients saw up to here may show more than where it ended.
    await judgeFile(path).catch((cause: unknown) => say(`the history: ${String(cause)}`));
  }
  // For who looks for the cause; what is well leaves nothing behind.
  if (verdict === 'violation') {
    await cluster.kill(...cluster.running);
    writeFileSync(`${path}.logs`, `${cluster.logs(LOG_LINES)}\n`);
    say(`what the nodes logged: ${shown}.logs; their directories stay: ${cluster.dir}`);
  } else await cluster.close();
  if (flags.report !== undefined) {
    mkdirSync(dirname(resolve(flags.report)), { recursive: true });
    const report = { verdict, seed, nodes, pause, ...torture.figures(), history: path };
    writeFileSync(flags.report, `${JSON.stringify(report, undefined, 2)}\n`);
  }
  say(`verdict: ${verdict}; history: ${shown}`);
  return verdict === 'ok' ? 0 : 1;
}

process.exitCode = await main(process.argv);
