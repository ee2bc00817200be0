/**
 * Launcher: every node of a config, each in its own process, kept running until somebody says stop.
 *
 * A node that dies is started again after a pause that grows and is jittered (all of them dying of one cause must
 * not come back in step). A fault that a restart cannot mend (a foreign data directory, a port in use) ends the
 * launcher when it is met at the first start; later it only ends that node, because the others still serve.
 *
 * Stop goes followers first, the leader last: nobody holds an election over a cluster that is going away. All of
 * it fits in `STOP_MS`; who has not stopped by then is killed, and the exit code says so.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { ExponentialBackoff, type IBackoff } from 'cockatiel';
import type { ClusterConfig } from '../../config/index.ts';
import { unreachable } from '../../core/base/assert.ts';
import type { Console } from './console.ts';
import type { FromNode } from './messages.ts';
import { type Ending, NodeProcess } from './node-process.ts';

/** From the signal to the last process gone, killing included. */
export const STOP_MS = 4_500;
/** What the followers may use of it before the leader is told too. */
const FOLLOWERS_STOP_MS = 2_000;
const RESTART_MIN_MS = 200;
const RESTART_MAX_MS = 5_000;
/** Up this long, a node counts as well again and the pause starts from the smallest. */
const HEALTHY_MS = 30_000;

export interface LauncherOptions {
  readonly config: ClusterConfig;
  /** The program to start for a node, and its arguments. */
  readonly entry: string;
  readonly argsFor: (id: string) => readonly string[];
  readonly restart: boolean;
  readonly console: Console;
}

export class Launcher {
  readonly #options: LauncherOptions;
  readonly #console: Console;
  readonly #running = new Map<string, NodeProcess>();
  readonly #everUp = new Set<string>();
  /** Aborts the pauses before restarts, too. */
  readonly #stopping = new AbortController();
  #stopped: Promise<void> | undefined;
  #leader: string | undefined;
  #servedTerm = 0;
  #exitCode = 0;

  constructor(options: LauncherOptions) {
    this.#options = options;
    this.#console = options.console;
  }

  /** Resolves with the exit code when no node runs any more. */
  async run(): Promise<number> {
    await Promise.all(Object.keys(this.#options.config.nodes).map((id) => this.#keep(id)));
    await this.#stopped;
    if (this.#stopped === undefined) {
      this.#console.complain('no node is running any more');
      return 1;
    }
    if (this.#exitCode === 0) this.#console.say('all nodes stopped');
    return this.#exitCode;
  }

  /** Orderly; a second call waits for the first. */
  stop(): Promise<void> {
    this.#stopped ??= this.#stopInOrder();
    return this.#stopped;
  }

  /** At once, unasked. */
  kill(): void {
    for (const node of this.#running.values()) node.kill();
  }

  /** One node: run it, and run it again, until it must not be. */
  async #keep(id: string): Promise<void> {
    let backoff: IBackoff<unknown> | undefined;
    while (!this.#stopping.signal.aborted) {
      const ending = await this.#runOnce(id);
      if (this.#stopping.signal.aborted) return this.#sayStopped(id, ending);
      if (this.#leader === id) this.#leader = undefined;
      const mendable = ending.fault?.restartMayHelp ?? true;
      if (!mendable || !this.#options.restart) {
        this.#console.complain(`${this.#describe(id, ending)}; it is not started again`);
        if (!mendable && !this.#everUp.has(id)) this.#giveUp();
        return;
      }
      if ((ending.upMs ?? 0) >= HEALTHY_MS) backoff = undefined;
      backoff = backoff?.next(undefined) ?? firstBackoff();
      const pauseMs = Math.max(RESTART_MIN_MS, backoff.duration);
      this.#console.complain(`${this.#describe(id, ending)}; starting it again in ${(pauseMs / 1000).toFixed(1)} s`);
      await sleep(pauseMs, undefined, { signal: this.#stopping.signal }).catch(() => {});
    }
  }

  async #runOnce(id: string): Promise<Ending> {
    const node = new NodeProcess({
      id,
      entry: this.#options.entry,
      args: this.#options.argsFor(id),
      console: this.#console,
      onMessage: (message, pid) => this.#heard(id, message, pid),
    });
    this.#running.set(id, node);
    const ending = await node.ended;
    this.#running.delete(id);
    return ending;
  }

  #heard(id: string, message: FromNode, pid: number): void {
    switch (message.kind) {
      case 'up': {
        const { client, http } = this.#options.config.nodes[id] ?? { client: '?', http: '?' };
        this.#everUp.add(id);
        this.#console.say(`${id} is up: clients ${client}, http ${http} (pid ${pid})`);
        return;
      }
      case 'serving': {
        if (message.term <= this.#servedTerm || this.#stopping.signal.aborted) return;
        this.#servedTerm = message.term;
        this.#leader = id;
        const clients = Object.values(this.#options.config.nodes).map((node) => node.client);
        this.#console.say(`ready: ${id} leads (term ${message.term}); clients: ${clients.join(',')}`, 'good');
        return;
      }
      case 'fault':
        return; // Told when the process has ended: see #describe.
      default:
        unreachable(message);
    }
  }

  #describe(id: string, ending: Ending): string {
    const { code, signal, fault, upMs } = ending;
    if (fault !== undefined)
      return `${id} ${upMs === undefined ? 'cannot start' : 'stopped itself'}: ${fault.message} (${fault.code})`;
    const how = signal === null ? `exit code ${code ?? '?'}` : signal;
    return `${id} died (${how})${upMs === undefined ? ' before it was up' : ''}`;
  }

  #sayStopped(id: string, { code, signal }: Ending): void {
    if (signal === 'SIGKILL') return; // A straggler: told when it was killed.
    this.#console.say(`${id} stopped${code === 0 ? '' : ` (${signal ?? `exit code ${code ?? '?'}`})`}`);
  }

  #giveUp(): void {
    this.#exitCode = 1;
    if (this.#running.size > 0) this.#console.complain('stopping the other nodes');
    void this.stop();
  }

  async #stopInOrder(): Promise<void> {
    const startedMs = performance.now();
    const leftMs = (): number => STOP_MS - (performance.now() - startedMs);
    this.#stopping.abort();
    const leader = this.#leader;
    const followers = [...this.#running.keys()].filter((id) => id !== leader);
    await this.#stopSome(followers, leader === undefined ? leftMs() : FOLLOWERS_STOP_MS);
    if (leader !== undefined) await this.#stopSome([leader], leftMs());
    await this.#gone([...this.#running.keys()], leftMs());
    for (const [id, node] of this.#running) {
      this.#console.complain(`${id} did not stop within ${STOP_MS / 1000} s: killed`);
      this.#exitCode = 1;
      node.kill();
    }
  }

  async #stopSome(ids: readonly string[], withinMs: number): Promise<void> {
    for (const id of ids) this.#running.get(id)?.stop();
    await this.#gone(ids, withinMs);
  }

  /** Waits until they have ended, but not longer than `withinMs`. */
  async #gone(ids: readonly string[], withinMs: number): Promise<void> {
    const ends = ids.map(async (id) => this.#running.get(id)?.ended);
    const late = new AbortController();
    const timer = sleep(Math.max(0, withinMs), undefined, { signal: late.signal }).catch(() => {});
    await Promise.race([Promise.all(ends), timer]);
    late.abort();
  }
}

/** Decorrelated jitter from 0.2 s to 5 s. */
function firstBackoff(): IBackoff<unknown> {
  return new ExponentialBackoff<unknown>({ initialDelay: RESTART_MIN_MS, maxDelay: RESTART_MAX_MS }).next();
}
