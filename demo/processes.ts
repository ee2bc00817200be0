/**
 * Processes: the nodes and the replica's follower, each its own process, and none that outlives the demo.
 *
 * They are started as anybody starts them (`cluster.js --node ID`, `kvctl ldb follow`), but with a channel to this
 * process: a node under a launcher stops when its channel closes, so even a SIGKILL of the demo leaves nothing behind.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { closeSync, openSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ClusterConfigInput } from 'ctlmesh';

export const root: string = dirname(dirname(fileURLToPath(import.meta.url)));

const NODES = ['n1', 'n2', 'n3'] as const;
const STOP_MS = 5_000;
/** Below the range from which the system takes ports for outgoing connections: a killed node wants its own again. */
const PORT_MIN = 20_000;
const PORT_MAX = 30_000;

export interface ReflectorWishes {
  readonly family?: string | undefined;
  readonly from?: string | undefined;
  readonly listen?: string | undefined;
}

export class Processes {
  readonly #dir: string;
  readonly #configFile: string;
  readonly config: ClusterConfigInput;
  /** Where a replica may feed others. */
  readonly relay: string;
  readonly #running = new Map<string, ChildProcess>();
  #isStopping = false;

  private constructor(dir: string, config: ClusterConfigInput, relay: string) {
    this.#dir = dir;
    this.config = config;
    this.relay = relay;
    this.#configFile = join(dir, 'cluster.config.json');
    writeFileSync(this.#configFile, `${JSON.stringify(config, null, 2)}\n`);
  }

  static async create(dir: string): Promise<Processes> {
    const [relay, ...ports] = await freePorts(NODES.length * 3 + 1);
    const nodes = Object.fromEntries(
      NODES.map((id, i) => [
        id,
        {
          client: `ws://127.0.0.1:${ports[i * 3]}`,
          peer: `ws://127.0.0.1:${ports[i * 3 + 1]}`,
          http: `http://127.0.0.1:${ports[i * 3 + 2]}`,
          dataDir: join(dir, id),
        },
      ]),
    );
    return new Processes(dir, { cluster: 'demo', nodes }, `ws://127.0.0.1:${relay}`);
  }

  get ids(): readonly string[] {
    return NODES;
  }

  /** Client addresses of all nodes. */
  get urls(): string[] {
    return Object.values(this.config.nodes).map((node) => node.client);
  }

  /** HTTP addresses of all nodes. */
  get https(): string[] {
    return Object.values(this.config.nodes).map((node) => node.http);
  }

  get ldbDir(): string {
    return this.ldbDirOf('ldb');
  }

  /** Of the replica with this name. */
  ldbDirOf(name: string): string {
    return join(this.#dir, name);
  }

  /** Resolves when the node is up. */
  async startNode(id: string): Promise<void> {
    const args = ['--config', this.#configFile, '--node', id, '--launched'];
    const child = this.#fork(id, join(root, 'cluster.js'), args);
    await new Promise<void>((resolve, reject) => {
      child.on('message', (message: { readonly kind: string; readonly fault?: { readonly message: string } }) => {
        if (message.kind === 'up') resolve();
        if (message.kind === 'fault') reject(new Error(`${id}: ${message.fault?.message}`));
      });
      child.once('exit', (code, signal) => reject(new Error(`${id} ended before it was up (${signal ?? code})`)));
    });
  }

  startFollower(): void {
    const args = ['ldb', 'follow', '--from', this.urls.join(','), '--ldb', this.ldbDir, '--json'];
    this.#fork('ldb', join(root, 'demo', 'follower.ts'), args);
  }

  /** A replica in `ldbDirOf(name)`: of one family, where one is named; of the nodes, or of the relay at `from`. */
  startReflector(name: string, { family, from, listen }: ReflectorWishes = {}): void {
    const filter = family === undefined ? [] : ['--family', family];
    const feeds = listen === undefined ? [] : ['--listen', listen];
    const upstream = from ?? this.urls.join(',');
    const args = ['reflector', '--from', upstream, '--ldb', this.ldbDirOf(name), '--json', ...filter, ...feeds];
    this.#fork(name, join(root, 'demo', 'follower.ts'), args);
  }

  /** SIGKILL, now. Resolves when the process is gone. */
  async kill(id: string): Promise<void> {
    const child = this.#running.get(id);
    if (child === undefined) throw new Error(`${id} does not run`);
    const gone = exited(child);
    child.kill('SIGKILL');
    await gone;
  }

  /** Asks everybody to stop, and kills who does not. */
  async stopAll(): Promise<void> {
    this.#isStopping = true;
    const children = [...this.#running.values()];
    for (const child of children) {
      if (child.connected) child.disconnect();
      else child.kill('SIGTERM');
    }
    const kill = setTimeout(() => {
      for (const child of children) child.kill('SIGKILL');
    }, STOP_MS);
    await Promise.all(children.map(exited));
    clearTimeout(kill);
  }

  #fork(name: string, file: string, args: readonly string[]): ChildProcess {
    if (this.#isStopping) throw new Error('the demo is being stopped');
    const log = openSync(join(this.#dir, `${name}.log`), 'a');
    const child = fork(file, args, { stdio: ['ignore', log, log, 'ipc'], execArgv: [] });
    closeSync(log);
    this.#running.set(name, child);
    child.once('exit', () => {
      if (this.#running.get(name) === child) this.#running.delete(name);
    });
    return child;
  }
}

function exited(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  return new Promise((resolve) => child.once('exit', () => resolve()));
}

async function freePorts(count: number): Promise<number[]> {
  const ports: number[] = [];
  let port = PORT_MIN + Math.floor(Math.random() * (PORT_MAX - PORT_MIN - 1000));
  while (ports.length < count) {
    if (await isFree(port)) ports.push(port);
    if (++port >= PORT_MAX) throw new Error(`no ${count} free ports below ${PORT_MAX}`);
  }
  return ports;
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}
