/**
 * NodeProcess: one run of one node in a process of its own, as the launcher sees it.
 *
 * The child is this same program with `--node ID --launched`. It stays in the launcher's process group, so a
 * Ctrl-C reaches it too; it ignores that, and is stopped by a message, so that the launcher decides the order.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Console } from './console.ts';
import type { Fault, FromNode, ToNode } from './messages.ts';

export interface Ending {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** What it said before it ended, if it could. */
  readonly fault: Fault | undefined;
  /** How long it was up; undefined when it never was. */
  readonly upMs: number | undefined;
}

export interface NodeProcessOptions {
  readonly id: string;
  readonly entry: string;
  readonly args: readonly string[];
  readonly console: Console;
  readonly onMessage: (message: FromNode, pid: number) => void;
}

export class NodeProcess {
  readonly id: string;
  /** Resolves when the process is gone and its last line was passed on. */
  readonly ended: Promise<Ending>;
  readonly #child: ChildProcess;
  #fault: Fault | undefined;
  #upAtMs: number | undefined;

  constructor(options: NodeProcessOptions) {
    this.id = options.id;
    this.#child = fork(options.entry, options.args, { stdio: ['ignore', 'pipe', 'pipe', 'ipc'] });
    if (this.#child.stdout !== null) options.console.follow(this.id, this.#child.stdout, 'stdout');
    if (this.#child.stderr !== null) options.console.follow(this.id, this.#child.stderr, 'stderr');
    this.#child.on('message', (message) => {
      const heard = message as FromNode;
      if (heard.kind === 'up') this.#upAtMs = performance.now();
      if (heard.kind === 'fault') this.#fault = heard.fault;
      options.onMessage(heard, this.#child.pid ?? 0);
    });
    this.ended = this.#wait();
  }

  /** Asks for an orderly stop; `ended` tells when it is done. */
  stop(): void {
    const message: ToNode = { kind: 'stop' };
    if (this.#child.connected) this.#child.send(message, () => {});
    else this.#child.kill('SIGTERM');
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }

  async #wait(): Promise<Ending> {
    const closed = once(this.#child, 'close').catch(() => {});
    const [code, signal] = await new Promise<[number | null, NodeJS.Signals | null]>((resolve) => {
      this.#child.on('exit', (exitCode, exitSignal) => resolve([exitCode, exitSignal]));
      this.#child.on('error', (error) => {
        // Also raised when a message could not be sent, which `exit` will explain; a failed spawn has no pid.
        if (this.#child.pid !== undefined) return;
        this.#fault = { code: 'INTERNAL', message: `cannot start a process: ${error.message}`, restartMayHelp: true };
        resolve([1, null]);
      });
    });
    const upMs = this.#upAtMs === undefined ? undefined : performance.now() - this.#upAtMs;
    await Promise.race([closed, sleep(500, undefined, { ref: false })]);
    return { code, signal, fault: this.#fault, upMs };
  }
}
