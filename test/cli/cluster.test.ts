/** The launcher with real processes and pretended nodes. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

const ENTRY = fileURLToPath(new URL('./fixtures/fake-cluster.ts', import.meta.url));
let dir = '';
let config = '';
let running: Launched[] = [];

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'ctlmesh-cluster-'));
  config = join(dir, 'c.json');
  const node = (i: number): object => ({
    client: `ws://127.0.0.1:741${i}`,
    peer: `ws://127.0.0.1:742${i}`,
    http: `http://127.0.0.1:743${i}`,
    dataDir: `n${i}`,
  });
  writeFileSync(config, JSON.stringify({ nodes: { n1: node(1), n2: node(2), n3: node(3) } }));
});
afterEach(() => {
  for (const one of running) one.process.kill('SIGKILL');
  running = [];
  rmSync(dir, { recursive: true });
});

class Launched {
  readonly process: ChildProcess;
  readonly ended: Promise<unknown[]>;
  out = '';
  err = '';

  constructor(args: readonly string[], fakes: Readonly<Record<string, string>> = {}) {
    this.process = spawn(process.execPath, [ENTRY, ...args], { env: { ...process.env, ...fakes } });
    this.process.stdout?.on('data', (part: Buffer) => (this.out += part.toString()));
    this.process.stderr?.on('data', (part: Buffer) => (this.err += part.toString()));
    this.ended = once(this.process, 'close');
    running.push(this);
  }

  async sees(text: string | RegExp): Promise<void> {
    const seen = (): boolean => (typeof text === 'string' ? this.#all.includes(text) : text.test(this.#all));
    for (let i = 0; i < 400 && !seen(); i++) await sleep(25);
    expect(this.#all, `waited for ${String(text)}`).toMatch(text);
  }

  /** Sends a signal and gives the exit code and how long it took. */
  async stop(signal: NodeJS.Signals): Promise<{ readonly code: unknown; readonly ms: number }> {
    const startedMs = performance.now();
    this.process.kill(signal);
    const [code] = await this.ended;
    return { code, ms: performance.now() - startedMs };
  }

  pidOf(id: string): number {
    return Number(new RegExp(`${id} is up: .*\\(pid (\\d+)\\)`).exec(this.out)?.[1]);
  }

  get #all(): string {
    return this.out + this.err;
  }
}

const alive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};
const lines = (text: string): string[] => text.split('\n').filter((line) => / stopped/.test(line));

describe('all nodes', () => {
  test('a line per node, one when a leader serves, logs with their name; the leader stops last', async () => {
    const cluster = new Launched(['--config', config], { FAKE_n2: 'leads' });
    await cluster.sees(
      'ready: n2 leads (term 3); clients: ws://127.0.0.1:7411,ws://127.0.0.1:7412,ws://127.0.0.1:7413',
    );
    for (const id of ['n1', 'n2', 'n3']) await cluster.sees(`${id} is up: clients ws://127.0.0.1:741${id[1]}, http `);
    await cluster.sees(/^n1 \| \[[\d:.]+\] INFO: log recovered \{.*"entries":3\}$/m);
    const { code, ms } = await cluster.stop('SIGINT');
    expect({ code, err: cluster.err }).toEqual({ code: 0, err: '' });
    expect(ms).toBeLessThan(5000);
    expect(lines(cluster.out).slice(-2)).toEqual(['n2 stopped', 'all nodes stopped']);
    expect(cluster.out).not.toContain('\u001b');
  });

  test('a node that dies is told and started again; with --no-restart it is not', async () => {
    const cluster = new Launched(['--config', config], {
      FAKE_n2: 'leads',
      FAKE_n3: `crash-once:${join(dir, 'crashed')}`,
    });
    await cluster.sees(/n3 died \(SIGKILL\) before it was up; starting it again in 0\.\d s/);
    await cluster.sees('n3 is up');
    await cluster.sees('n1 is up');
    process.kill(cluster.pidOf('n1'), 'SIGKILL');
    await cluster.sees(/n1 died \(SIGKILL\); starting it again in 0\.\d s/);
    expect((await cluster.stop('SIGTERM')).code).toBe(0);

    const once = new Launched(['--config', config, '--no-restart'], { FAKE_n2: 'disk', FAKE_n1: 'leads' });
    await once.sees('n2 stopped itself: fdatasync failed: EIO (DISK_FAILED); it is not started again');
    await once.sees('ready: n1 leads');
    expect((await once.stop('SIGTERM')).code).toBe(0);
  });

  test('a fault that a restart cannot mend stops the others: 1', async () => {
    const cluster = new Launched(['--config', config], { FAKE_n1: 'leads', FAKE_n2: 'in-use' });
    const [code] = await cluster.ended;
    expect(code).toBe(1);
    expect(cluster.err).toContain('n2 cannot start: port 7411 on 127.0.0.1 is in use by another process (EADDRINUSE)');
    expect(cluster.err).not.toContain('    at ');
  });

  test('a node that does not stop is killed and named: 1, within 5 s', async () => {
    const cluster = new Launched(['--config', config], { FAKE_n1: 'leads', FAKE_n2: 'hangs' });
    for (const id of ['n1', 'n2', 'n3']) await cluster.sees(`${id} is up`);
    const pid = cluster.pidOf('n2');
    const { code, ms } = await cluster.stop('SIGTERM');
    expect(code).toBe(1);
    expect(ms).toBeLessThan(5000);
    expect(cluster.err).toContain('n2 did not stop within 4.5 s: killed');
    expect(alive(pid)).toBe(false);
  });

  test('a second Ctrl-C kills at once; one that arrives twice is one', async () => {
    const cluster = new Launched(['--config', config], { FAKE_n1: 'leads', FAKE_n2: 'hangs' });
    for (const id of ['n1', 'n2', 'n3']) await cluster.sees(`${id} is up`);
    cluster.process.kill('SIGINT');
    await sleep(50);
    cluster.process.kill('SIGINT');
    await sleep(600);
    expect(cluster.process.exitCode).toBeNull();
    const { code, ms } = await cluster.stop('SIGINT');
    expect(code).toBe(130);
    expect(ms).toBeLessThan(1000);
  });

  test('nodes stop by themselves when the launcher is killed', async () => {
    const cluster = new Launched(['--config', config], { FAKE_n1: 'leads' });
    for (const id of ['n1', 'n2', 'n3']) await cluster.sees(`${id} is up`);
    const pids = ['n1', 'n2', 'n3'].map((id) => cluster.pidOf(id));
    cluster.process.kill('SIGKILL');
    for (let i = 0; i < 200 && pids.some(alive); i++) await sleep(25);
    expect(pids.filter(alive)).toEqual([]);
  });
});

describe('one node in the foreground', () => {
  test('logs NDJSON into a pipe and stops on SIGTERM: 0', async () => {
    const node = new Launched(['--config', config, '--node', 'n1'], { FAKE_n1: 'leads' });
    await node.sees('n1 leads');
    expect((await node.stop('SIGTERM')).code).toBe(0);
    for (const line of node.out.trim().split('\n')) expect(JSON.parse(line)).toMatchObject({ node: 'n1' });
  });

  test('a fault at start is one readable line: 1', async () => {
    const node = new Launched(['--config', config, '--node', 'n1'], { FAKE_n1: 'foreign' });
    const [code] = await node.ended;
    expect({ code, err: node.err }).toEqual({
      code: 1,
      err: `n1: ${join(dir, 'n1')} belongs to node n9 (DIR_FOREIGN)\n`,
    });
  });
});

describe('nothing is started', () => {
  test('on a bad config: every fault with its path, and 2', async () => {
    writeFileSync(
      config,
      '{ "nodes": { "n1": { "client": "ws://h:1", "peer": "ws://h:1", "http": "x" } }, "nods": 1 }',
    );
    const cluster = new Launched(['--config', config]);
    const [code] = await cluster.ended;
    expect({ code, out: cluster.out }).toEqual({ code: 2, out: '' });
    expect(cluster.err.split('\n')).toEqual([
      `${config}: nodes.n1.peer: port 1 on h is already used by nodes.n1.client`,
      `${config}: nodes.n1.http: must be http://host:port; 'x' is not a URL`,
      `${config}: nodes.n1.dataDir: is missing: the directory for this node's files, like 'data/n1'`,
      `${config}: nods: unknown key; did you mean 'nodes'?`,
      'cluster: 4 faults in the config; nothing was started',
      '',
    ]);
    expect(existsSync(join(dir, 'n1'))).toBe(false);
  });

  test.each<[string[], string]>([
    [['--node', 'n9'], "has no node 'n9'; it has n1, n2, n3"],
    [['--bogus'], "unknown option '--bogus'"],
    [['extra'], 'too many arguments'],
  ])('%s is 2', async (args, expected) => {
    const cluster = new Launched(['--config', config, ...args]);
    const [code] = await cluster.ended;
    expect(code).toBe(2);
    expect(cluster.err).toContain(expected);
  });
});
