/**
 * Real node processes for the end-to-end tests: `node cluster.js --config … --node n1`, a process each, on free
 * ports and in a directory that goes when the test ends.
 *
 * Nothing here waits for a time: `until` waits for a condition and says, when the deadline passes, what it was
 * waiting for and what the nodes last logged. Every process is killed by its own pid, also when a test fails and
 * when the test runner is told to stop.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { type Client, connect, type ConnectOptions, type NodeStatus } from '../../src/client/index.ts';

export const ROOT: string = fileURLToPath(new URL('../..', import.meta.url));
const LOG_LINES_KEPT = 400;
/** Below the ports that the system hands out to outgoing connections. */
const PORT_MIN = 12_000;
const PORT_MAX = 32_000;

const living = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of living) child.kill('SIGKILL');
});

/** Waits until `condition` gives something other than false and undefined; throws, naming `what`, when it is too late. */
export async function until<T>(
  what: string,
  condition: () => T | false | undefined | Promise<T | false | undefined>,
  options: { readonly withinMs?: number; readonly everyMs?: number; readonly explain?: () => string } = {},
): Promise<T> {
  const { withinMs = 60_000, everyMs = 10, explain } = options;
  const deadlineMs = performance.now() + withinMs;
  for (;;) {
    const value = await condition();
    if (value !== false && value !== undefined) return value;
    if (performance.now() > deadlineMs) {
      throw new Error(`not within ${withinMs} ms: ${what}${explain === undefined ? '' : `\n${explain()}`}`);
    }
    await sleep(everyMs);
  }
}

const given = new Set<number>();

/** The first of `count` ports in a row that nobody listens on, none given twice by this process. */
export async function freePortsInARow(count: number): Promise<number> {
  for (;;) {
    const first = PORT_MIN + Math.floor(Math.random() * (PORT_MAX - PORT_MIN - count));
    const row = Array.from({ length: count }, (_, i) => first + i);
    if (row.some((port) => given.has(port))) continue;
    const areFree = await Promise.all(row.map(isFree));
    if (areFree.includes(false)) continue;
    for (const port of row) given.add(port);
    return first;
  }
}

/** Ports nobody listens on, none given twice by this process. */
export async function freePorts(count: number): Promise<number[]> {
  const ports: number[] = [];
  while (ports.length < count) {
    const port = PORT_MIN + Math.floor(Math.random() * (PORT_MAX - PORT_MIN));
    if (given.has(port) || !(await isFree(port))) continue;
    given.add(port);
    ports.push(port);
  }
  return ports;
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(port, '127.0.0.1', resolve);
    });
  } catch {
    return false;
  }
  await new Promise((resolve) => server.close(resolve));
  return true;
}

/** One run of a program of ours. */
export class Run {
  readonly child: ChildProcess;
  /** Resolves when the process is gone and its output complete. */
  readonly ended: Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>;
  #lines: string[] = [];
  #isOver = false;

  constructor(args: readonly string[], options: { readonly env?: Readonly<Record<string, string>> } = {}) {
    this.child = spawn(process.execPath, args, {
      cwd: ROOT,
      env: { ...process.env, NO_COLOR: '1', ...options.env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    living.add(this.child);
    for (const stream of [this.child.stdout, this.child.stderr]) {
      let rest = '';
      stream?.on('data', (part: Buffer) => {
        const lines = (rest + part.toString()).split('\n');
        rest = lines.pop() ?? '';
        this.#lines.push(...lines);
        if (this.#lines.length > 2 * LOG_LINES_KEPT) this.#lines = this.#lines.slice(-LOG_LINES_KEPT);
      });
    }
    this.ended = once(this.child, 'close').then(([code, signal]) => {
      this.#isOver = true;
      living.delete(this.child);
      return { code: code as number | null, signal: signal as NodeJS.Signals | null };
    });
  }

  get pid(): number {
    return this.child.pid ?? 0;
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** What it wrote, to stdout and stderr, the newest lines. */
  get output(): string {
    return this.#lines.join('\n');
  }

  async sees(text: string | RegExp, withinMs = 60_000): Promise<void> {
    const isSeen = (): boolean => (typeof text === 'string' ? this.output.includes(text) : text.test(this.output));
    await until(`the output has ${String(text)}`, isSeen, {
      withinMs,
      explain: () => this.output,
    });
  }

  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    this.child.kill(signal);
    await this.ended;
  }

  /** Resident memory in bytes. */
  async memoryBytes(): Promise<number> {
    const { readFile } = await import('node:fs/promises');
    const status = await readFile(`/proc/${this.pid}/status`, 'utf8');
    return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1] ?? 0) * 1024;
  }
}

export interface ClusterOptions {
  readonly nodes?: number;
  /** So many of them, the last ones, wait to be added; they are started by the test. */
  readonly joining?: number;
  /** Beside `nodes`, whatever a config may have. */
  readonly config?: Readonly<Record<string, unknown>>;
  /** What runs a node. Default: cluster.js. */
  readonly program?: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** A cluster of processes of its own; `close` leaves nothing behind. */
export class TestCluster {
  readonly dir: string;
  readonly configFile: string;
  readonly ids: readonly string[];
  readonly founders: readonly string[];
  readonly #ports: readonly number[];
  readonly #runs = new Map<string, Run>();
  readonly #clients: Client[] = [];
  readonly #options: ClusterOptions;

  private constructor(dir: string, ids: readonly string[], ports: readonly number[], options: ClusterOptions) {
    const { joining = 0 } = options;
    const config = { cluster: `e2e-${process.pid}`, ...options.config };
    this.#options = options;
    this.dir = dir;
    this.ids = ids;
    this.founders = ids.slice(0, ids.length - joining);
    this.#ports = ports;
    this.configFile = join(dir, 'cluster.json');
    const nodes = Object.fromEntries(
      ids.map((id) => {
        const addresses = { client: this.url(id), peer: `ws://127.0.0.1:${this.peerPort(id)}`, http: this.http(id) };
        return [id, { ...addresses, dataDir: id, ...(this.founders.includes(id) ? {} : { join: true }) }];
      }),
    );
    writeFileSync(this.configFile, JSON.stringify({ ...config, nodes }));
  }

  /** Directory and config; no process yet. */
  static async prepare(options: ClusterOptions = {}): Promise<TestCluster> {
    const ids = Array.from({ length: options.nodes ?? 3 }, (_, i) => `n${i + 1}`);
    const ports = await freePorts(ids.length * 3);
    const dir = mkdtempSync(join(tmpdir(), 'ctlmesh-e2e-'));
    return new TestCluster(dir, ids, ports, options);
  }

  /** All nodes up, and one of them leading. */
  static async start(options: ClusterOptions = {}): Promise<TestCluster> {
    const cluster = await TestCluster.prepare(options);
    try {
      await cluster.startAll();
    } catch (error) {
      await cluster.close();
      throw error;
    }
    return cluster;
  }

  async startAll(): Promise<string> {
    for (const id of this.founders) if (!this.isRunning(id)) this.spawn(id);
    return this.leader();
  }

  #port(id: string, kind: 0 | 1 | 2): number {
    return this.#ports[this.ids.indexOf(id) * 3 + kind] as number;
  }

  clientPort(id: string): number {
    return this.#port(id, 0);
  }

  peerPort(id: string): number {
    return this.#port(id, 1);
  }

  httpPort(id: string): number {
    return this.#port(id, 2);
  }

  url(id: string): string {
    return `ws://127.0.0.1:${this.clientPort(id)}`;
  }

  http(id: string): string {
    return `http://127.0.0.1:${this.httpPort(id)}`;
  }

  get urls(): string[] {
    return this.ids.map((id) => this.url(id));
  }

  dataDir(id: string): string {
    return join(this.dir, id);
  }

  /** Starts a node; it is up some hundred milliseconds later. */
  spawn(id: string): Run {
    const { program = 'cluster.js', env = {} } = this.#options;
    const run = new Run([program, '--config', this.configFile, '--node', id], { env });
    this.#runs.set(id, run);
    return run;
  }

  run(id: string): Run {
    const run = this.#runs.get(id);
    if (run === undefined) throw new Error(`${id} was not started`);
    return run;
  }

  isRunning(id: string): boolean {
    const run = this.#runs.get(id);
    return run !== undefined && !run.isOver;
  }

  get running(): string[] {
    return this.ids.filter((id) => this.isRunning(id));
  }

  async kill(...ids: readonly string[]): Promise<void> {
    // All signals first, so that they die together.
    const runs = ids.map((id) => this.run(id));
    for (const run of runs) run.child.kill('SIGKILL');
    await Promise.all(runs.map((run) => run.ended));
  }

  /** Ready, as its /readyz says: up, and it knows a leader. */
  async readiness(id: string): Promise<{ readonly ok: boolean; readonly leader: string | undefined }> {
    try {
      const response = await fetch(`${this.http(id)}/readyz`, { signal: AbortSignal.timeout(1_000) });
      const body = (await response.json()) as { ok: boolean; checks: Record<string, string> };
      const leader = body.checks['leader'];
      return { ok: body.ok, leader: leader === 'none known' ? undefined : leader };
    } catch {
      return { ok: false, leader: undefined };
    }
  }

  /** The node that every running node follows. */
  leader(withinMs = 60_000): Promise<string> {
    return until(
      'all running nodes follow one leader',
      async () => {
        const running = this.running;
        const over = this.ids.find((id) => this.#runs.get(id)?.child.exitCode === 1);
        if (over !== undefined) throw new Error(`${over} ended by itself:\n${this.run(over).output}`);
        const all = await Promise.all(running.map((id) => this.readiness(id)));
        const leader = all[0]?.leader;
        const isAgreed = leader !== undefined && all.every((one) => one.ok && one.leader === leader);
        return isAgreed && running.includes(leader) ? leader : undefined;
      },
      { withinMs, everyMs: 25, explain: () => this.logs() },
    );
  }

  async followers(): Promise<string[]> {
    const leader = await this.leader();
    return this.ids.filter((id) => id !== leader);
  }

  /** An SDK client, closed with the cluster. */
  async client(options: ConnectOptions = {}): Promise<Client> {
    const client = await connect(this.urls, options);
    this.#clients.push(client);
    return client;
  }

  /** A client that stays on one node. */
  async pinned(id: string, options: ConnectOptions = {}): Promise<Client> {
    const client = await connect(this.url(id), { ...options, pinned: true });
    this.#clients.push(client);
    return client;
  }

  async status(id: string): Promise<NodeStatus> {
    const client = await connect(this.url(id), { pinned: true, connectDeadlineMs: 3_000 });
    try {
      return await client.status({ deadlineMs: 3_000 });
    } finally {
      await client.close();
    }
  }

  logs(lines = 25): string {
    return this.ids
      .map((id) => `── ${id}\n${this.#runs.get(id)?.output.split('\n').slice(-lines).join('\n') ?? 'not started'}`)
      .join('\n');
  }

  async close(): Promise<void> {
    await Promise.all(this.#clients.map((client) => client.close().catch(() => {})));
    await this.kill(...this.running);
    rmSync(this.dir, { recursive: true, force: true });
  }
}
