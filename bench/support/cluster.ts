/**
 * A cluster of ctlmesh nodes, a process each, started as `node cluster.js` starts them (its hidden `--launched`:
 * told to stop over the channel, and stopping by themselves when we are gone).
 */
import { type ChildProcess, fork } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ClusterConfigInput } from '../../src/config/types.ts';
import { stopChild } from './cleanup.ts';
import { type Bench, BenchError } from './scenario.ts';
import { freePorts, scrape } from './system.ts';

/** A process of a store, ours or a peer's. */
export interface ServerProcess {
  readonly name: string;
  readonly pid: number;
  readonly metricsUrl: string;
  /** Where a client of this one connects. */
  readonly clientUrl: string;
}

/** Counters whose ratio is "fsyncs per commit", by series name. */
export interface CommitCounters {
  readonly syncs: string;
  readonly commits: string;
}

export interface Servers {
  readonly processes: readonly ServerProcess[];
  /** Where a client connects. */
  readonly endpoints: readonly string[];
  readonly counters: CommitCounters;
  leader(): Promise<ServerProcess>;
  stop(): Promise<void>;
}

/** Ours, which can also lose nodes and get them back. */
export interface Cluster extends Servers {
  /** Sends the signal, at once; resolves when the process is gone. */
  signal(name: string, signal: 'SIGKILL' | 'SIGTERM'): Promise<void>;
  /** Starts a node that has ended; resolves when it is ready: it knows a leader, and has caught up. */
  restart(name: string): Promise<void>;
}

const ENTRY: string = resolve(import.meta.dirname, '../../cluster.js');
const START_MS = 30_000;
const READY_LOOK_MS = 20;

const COUNTERS: CommitCounters = { syncs: 'ctlmesh_wal_fsyncs_total', commits: 'ctlmesh_raft_commit_index' };

export async function configOf(dir: string, nodes: number): Promise<ClusterConfigInput> {
  const ports = await freePorts(nodes * 3);
  const at = (scheme: string, i: number): string => `${scheme}://127.0.0.1:${ports[i]}`;
  const entries = Array.from({ length: nodes }, (_, i) => [
    `n${i + 1}`,
    {
      client: at('ws', i * 3),
      peer: at('ws', i * 3 + 1),
      http: at('http', i * 3 + 2),
      dataDir: join(dir, `n${i + 1}`),
    },
  ]);
  const named = Object.fromEntries(entries) as ClusterConfigInput['nodes'];
  return { cluster: 'bench', logLevel: 'warn', nodes: named };
}

/** Resolves when a leader serves. `more`: what its config says besides. */
export async function startCluster(
  bench: Bench,
  count: number,
  more: Partial<ClusterConfigInput> = {},
): Promise<Cluster> {
  const dir = join(bench.dir, 'ctlmesh');
  mkdirSync(dir, { recursive: true });
  const config = { ...(await configOf(dir, count)), ...more };
  const file = join(dir, 'config.json');
  writeFileSync(file, JSON.stringify(config));
  const nodes = Object.keys(config.nodes).map((name) => startNode(bench, file, name));
  await Promise.race([Promise.any(nodes.map(({ serving }) => serving)), failureOf(nodes), late()]);
  const processes = (): ServerProcess[] =>
    nodes.map(({ name, child }) => ({
      name,
      pid: child.pid ?? 0,
      metricsUrl: `${config.nodes[name]?.http}/metrics`,
      clientUrl: config.nodes[name]?.client ?? '',
    }));
  const indexOf = (name: string): number => {
    const index = nodes.findIndex((node) => node.name === name);
    if (index < 0) throw new BenchError(`there is no node ${name}`);
    return index;
  };
  return {
    get processes() {
      return processes();
    },
    endpoints: Object.values(config.nodes).map((node) => node.client),
    counters: COUNTERS,
    leader: async () => {
      for (const process of processes()) {
        if ((await scrape(process.metricsUrl)).get('ctlmesh_raft_is_leader') === 1) return process;
      }
      throw new BenchError('the cluster has lost its leader');
    },
    signal: async (name, signal) => {
      const { child, ended } = nodes[indexOf(name)] as NodeProcess;
      child.kill(signal);
      await ended;
    },
    restart: async (name) => {
      const node = startNode(bench, file, name);
      nodes[indexOf(name)] = node;
      await Promise.race([ready(`${config.nodes[name]?.http}/readyz`), failureOf([node])]);
    },
    stop: async () => {
      await Promise.all(nodes.map(({ child }) => stopChild(child, () => void child.send({ kind: 'stop' }, () => {}))));
    },
  };
}

interface NodeProcess {
  readonly name: string;
  readonly child: ChildProcess;
  readonly serving: Promise<void>;
  /** Resolves when it has ended, with its last words. */
  readonly ended: Promise<string>;
}

function startNode(bench: Bench, file: string, name: string): NodeProcess {
  const { profile } = bench.options;
  // By environment, because a node's threads take no flags of the process.
  const nodeOptions = profile === undefined ? '' : `--cpu-prof --cpu-prof-dir=${join(profile, name)}`;
  const env = { ...process.env, NODE_OPTIONS: `${process.env['NODE_OPTIONS'] ?? ''} ${nodeOptions}`.trim() };
  const args = ['--config', file, '--node', name, '--launched'];
  const child = fork(ENTRY, args, { stdio: ['ignore', 'pipe', 'pipe', 'ipc'], env });
  bench.cleanup.child(child);
  const tail: string[] = [];
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on('data', (text: Buffer) => {
      tail.push(text.toString().trim());
      if (tail.length > 10) tail.shift();
    });
  }
  const serving = new Promise<void>((resolve) => {
    child.on('message', (message) => {
      if ((message as { kind: string }).kind === 'serving') resolve();
    });
  });
  const ended = new Promise<string>((resolve) => {
    child.once('exit', (code, signal) =>
      resolve(`${name} ended (${signal ?? `exit code ${code}`})\n${tail.join('\n')}`),
    );
  });
  return { name, child, serving, ended };
}

async function failureOf(nodes: readonly NodeProcess[]): Promise<never> {
  throw new BenchError(await Promise.race(nodes.map(({ ended }) => ended)));
}

async function late(): Promise<never> {
  await sleep(START_MS, undefined, { ref: false });
  throw new BenchError(`no leader within ${START_MS / 1000} s`);
}

async function ready(url: string): Promise<void> {
  const untilMs = performance.now() + START_MS;
  while (performance.now() < untilMs) {
    const isReady = await fetch(url, { signal: AbortSignal.timeout(1_000) }).then(
      ({ ok }) => ok,
      () => false,
    );
    if (isReady) return;
    await sleep(READY_LOOK_MS);
  }
  throw new BenchError(`${url} was not ready within ${START_MS / 1000} s`);
}
