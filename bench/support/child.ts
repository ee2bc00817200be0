/**
 * Child: a process of the bench's own, spoken to over Node's channel. Its stdout goes to our stderr, because our
 * stdout may be JSON; when we are gone, the channel closes and it ends.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { join } from 'node:path';
import { BenchError } from './scenario.ts';
import { type Cleanup, stopChild } from './cleanup.ts';

export interface Message {
  readonly kind: string;
}

/** What every child may say besides its own messages. */
type Failed = { readonly kind: 'failed'; readonly message: string };

const PROCESSES: string = join(import.meta.dirname, '..', 'processes');

export class Child<To extends Message, From extends Message> {
  readonly name: string;
  readonly #process: ChildProcess;
  #failure: BenchError | undefined;
  readonly #heard: From[] = [];
  #wake: () => void = () => {};

  private constructor(name: string, child: ChildProcess) {
    this.name = name;
    this.#process = child;
    child.on('message', (message) => {
      const heard = message as From | Failed;
      if (heard.kind === 'failed') this.#fail((heard as Failed).message);
      else {
        this.#heard.push(heard as From);
        this.#wake();
      }
    });
    child.on('error', (error) => this.#fail(error.message));
    child.on('exit', (code, signal) => this.#fail(`ended (${signal ?? `exit code ${code}`})`));
  }

  /** Starts `bench/processes/<name>.ts`. */
  static start<To extends Message, From extends Message>(
    cleanup: Cleanup,
    name: string,
    options: { readonly profile?: string | undefined } = {},
  ): Child<To, From> {
    const execArgv = options.profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${options.profile}`];
    const child = fork(join(PROCESSES, `${name}.ts`), [], { stdio: ['ignore', 2, 2, 'ipc'], execArgv });
    cleanup.child(child);
    return new Child<To, From>(name, child);
  }

  get pid(): number {
    return this.#process.pid ?? 0;
  }

  tell(message: To): void {
    if (this.#process.connected) this.#process.send(message, () => {});
  }

  /** The next message of this kind; those of other kinds before it are dropped. Rejects when the child fails. */
  async hear<Kind extends From['kind']>(kind: Kind, deadlineMs: number): Promise<Extract<From, { kind: Kind }>> {
    const untilMs = performance.now() + deadlineMs;
    for (;;) {
      for (let heard = this.#heard.shift(); heard !== undefined; heard = this.#heard.shift()) {
        if (heard.kind === kind) return heard as Extract<From, { kind: Kind }>;
      }
      if (this.#failure !== undefined) throw this.#failure;
      const leftMs = untilMs - performance.now();
      if (leftMs <= 0) throw new BenchError(`${this.name} said no '${kind}' in ${deadlineMs} ms`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, leftMs);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  /** Closes the channel, which ends the child. */
  stop(): Promise<void> {
    return stopChild(this.#process, () => {
      if (this.#process.connected) this.#process.disconnect();
      else this.#process.kill('SIGTERM');
    });
  }

  #fail(message: string): void {
    this.#failure ??= new BenchError(`${this.name}: ${message}`);
    this.#wake();
  }
}

export type Say<From extends Message> = (message: From) => void;

/**
 * The child's side: what it is told, one after the other. Ends the process with the channel. (`never`: each child
 * names its own messages.)
 */
export function serve(answer: (message: never, say: Say<Message>) => Promise<void> | void): void {
  const say = (message: Message | Failed): void => void process.send?.(message, undefined, undefined, () => {});
  let turn: Promise<void> = Promise.resolve();
  process.on('message', (message) => {
    turn = turn
      .then(() => answer(message as never, say))
      .catch((error: unknown) =>
        say({ kind: 'failed', message: error instanceof Error ? error.message : String(error) }),
      );
  });
  process.on('disconnect', () => process.exit(0));
  // A Ctrl-C reaches the whole process group; the harness decides the order.
  process.on('SIGINT', () => {});
  if (!process.connected) process.exit(0);
}
