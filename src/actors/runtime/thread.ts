/**
 * Thread: one actor in a worker thread, and the supervisor's hold on it.
 *
 * comlink is the control plane (start, stop, inspect): a handful of calls, typed end to end. It hangs for ever
 * when a worker dies and loses error codes, so every call here races the thread's exit and a deadline, and
 * failures cross as plain records. Bulk data never goes this way; it goes through rings.
 *
 * A worker is stopped by message, with a deadline. terminate() runs no `finally` and is the last resort; actors
 * that hold native handles are never run in such threads.
 */
import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads';
import { type Remote, releaseProxy, wrap } from 'comlink';
import nodeEndpoint from 'comlink/dist/esm/node-adapter.mjs';
import { type ErrorCode, StoreError } from '../../core/base/errors.ts';

/** What an actor's thread module exports as `start`. */
export type StartActor<Args, Started, Facts extends object = object> = (
  args: Args,
  context: ThreadContext,
) => Promise<ActorInThread<Started, Facts>>;

export interface ActorInThread<Started, Facts extends object = object> {
  /** Told to the supervisor: plain data. */
  readonly started: Started;
  /** The actor's loop: rejects when a turn throws, which ends the thread. */
  readonly ended: Promise<void>;
  stop(): Promise<void>;
  /** What it says of itself: plain data. */
  inspect(): Facts | Promise<Facts>;
}

export interface ThreadContext {
  readonly log: LogFunction;
  /** Ports handed over at start, by name. */
  readonly ports: Readonly<Record<string, MessagePort>>;
}

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';
export type LogFunction = (level: LogLevel, event: string, fields?: Record<string, unknown>) => void;

/** A failure as it crosses threads: class, code and cause would be lost otherwise. */
export interface PlainFailure {
  readonly message: string;
  readonly code: ErrorCode | undefined;
  readonly data: Readonly<Record<string, unknown>>;
  readonly stack: string | undefined;
  /** Of a system error, its own or its cause's: code, address, port, path. */
  readonly system: Readonly<Record<string, unknown>> | undefined;
}

export type Answer<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly failure: PlainFailure };

/** The remote side of the control plane; see host.ts. */
export interface ControlApi {
  start(args: unknown): Promise<Answer<unknown>>;
  stop(): Promise<Answer<undefined>>;
  inspect(): Promise<Answer<object>>;
  breakDown(how: BreakDown): Promise<Answer<undefined>>;
}

/** How a test has a thread fail: it ends, it throws in a turn, or a turn never ends. */
export type BreakDown = 'exit' | 'throw' | 'loop';

export type FromThread =
  | { readonly kind: 'log'; readonly level: LogLevel; readonly event: string; readonly fields: Record<string, unknown> }
  | { readonly kind: 'failed'; readonly failure: PlainFailure };

export interface ThreadOptions {
  readonly name: string;
  /** URL of the module that exports `start`. */
  readonly module: string;
  /** What the actor starts with, where that is known already. Structured-cloneable; SharedArrayBuffers are shared. */
  readonly args?: unknown;
  readonly ports?: Readonly<Record<string, MessagePort>>;
  readonly log: LogFunction;
  /** Called before and after each control call: a parked thread must be woken for it. */
  readonly control: { begin(): void; end(): void };
  /** It holds native handles: it is never terminated, and its stop fails with DEADLINE_EXCEEDED if it does not end. */
  readonly native?: boolean;
  /** Its heap's bound, as far as V8 keeps it: one that grows by small parts is ended alone. Default: Node's. */
  readonly heapMiB?: number | undefined;
  /** How long the start may take: a minute, for a long log to be read. */
  readonly startDeadlineMs?: number;
}

const START_DEADLINE_MS = 60_000;

export class Thread<Started> {
  readonly name: string;
  readonly #worker: Worker;
  readonly #port: MessagePort;
  readonly #control: Remote<ControlApi>;
  readonly #options: ThreadOptions;
  /** Why it ended; the first reason stays. */
  #failure: StoreError | undefined;
  /** Resolves when the thread has ended, with the reason; undefined = it was asked to. */
  readonly ended: Promise<StoreError | undefined>;
  #isStopping = false;
  #hasEnded = false;
  started: Started | undefined;

  constructor(options: ThreadOptions) {
    this.name = options.name;
    this.#options = options;
    const { port1, port2 } = new MessageChannel();
    const ports = options.ports ?? {};
    this.#worker = new Worker(new URL(import.meta.url.endsWith('.ts') ? './host.ts' : './host.js', import.meta.url), {
      name: options.name,
      workerData: { module: options.module, control: port2, ports },
      transferList: [port2, ...Object.values(ports)],
      // An application's own flags (--inspect, --import) are not the store's.
      execArgv: [],
      ...(options.heapMiB === undefined ? {} : { resourceLimits: { maxOldGenerationSizeMb: options.heapMiB } }),
    });
    this.#port = port1;
    this.#control = wrap<ControlApi>(nodeEndpoint(port1));
    const fail = (reason: StoreError): void => {
      this.#failure ??= reason;
    };
    this.#worker.on('message', (message: FromThread) => {
      if (message.kind === 'log') options.log(message.level, message.event, { actor: options.name, ...message.fields });
      else fail(fromPlain(message.failure, options.name));
    });
    this.#worker.on('messageerror', (cause) =>
      fail(new StoreError('ACTOR_STOPPED', `${options.name}: a message could not be read`, { cause })),
    );
    this.#worker.on('error', (cause: unknown) =>
      fail(new StoreError('ACTOR_STOPPED', `${options.name} threw: ${String(cause)}`, { cause })),
    );
    this.ended = new Promise((resolve) => {
      this.#worker.on('exit', (code) => {
        this.#hasEnded = true;
        this.#port.close();
        if (!this.#isStopping) fail(new StoreError('ACTOR_STOPPED', `${options.name} ended (code ${code})`));
        resolve(this.#failure);
      });
    });
  }

  /**
   * Starts the actor; the promise gives what it says of itself. The thread loads its modules from its construction on:
   * several that are made together load together, whatever order they start in.
   */
  async start(args: unknown = this.#options.args): Promise<Started> {
    const { startDeadlineMs = START_DEADLINE_MS } = this.#options;
    this.started = (await this.#call('start', () => this.#control.start(args), startDeadlineMs)) as Started;
    return this.started;
  }

  inspect(deadlineMs = 1_000): Promise<object> {
    return this.#call('inspect', () => this.#control.inspect(), deadlineMs);
  }

  /** Ends the thread at whatever instruction it is: nothing of it runs any more, no `finally` either. */
  async kill(reason: StoreError): Promise<void> {
    this.#failure ??= reason;
    await this.#worker.terminate();
    await this.ended;
  }

  /** For tests: BAD_REQUEST in a thread that was not started with CTLMESH_TEST_HOOKS=1. */
  async breakDown(how: BreakDown, deadlineMs = 10_000): Promise<void> {
    try {
      await this.#call('breakDown', () => this.#control.breakDown(how), deadlineMs);
    } catch (error) {
      // It may be over before it has answered.
      if (!this.#hasEnded) throw error;
    }
  }

  /** Stops the actor by message; after the deadline, by force. May be called twice. */
  async stop(deadlineMs: number): Promise<void> {
    if (this.#isStopping) {
      await this.ended;
      return;
    }
    this.#isStopping = true;
    try {
      await this.#call('stop', () => this.#control.stop(), deadlineMs);
    } catch (error) {
      this.#options.log('warn', 'actor.stop.forced', { actor: this.name, reason: String(error) });
    }
    this.#control[releaseProxy]();
    if (this.#options.native === true) {
      // Without its control port nothing keeps it: it ends by itself, its handles closed. A terminate() that meets a
      // native handle hangs, or aborts the process.
      this.#port.close();
      await this.#endsWithin(deadlineMs);
      return;
    }
    await this.terminate();
  }

  /** Ends the thread by force: no `finally` runs. Not for one with native handles. */
  async terminate(): Promise<void> {
    await this.#worker.terminate();
    await this.ended;
  }

  /** A thread with native handles that does not end is beyond help: only the process can end it. */
  async #endsWithin(deadlineMs: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(
        () => reject(new StoreError('DEADLINE_EXCEEDED', `${this.name} did not end in ${deadlineMs} ms`)),
        deadlineMs,
      );
    });
    try {
      await Promise.race([this.ended, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** One control call: settles when it is answered, the thread ends, or the deadline passes. */
  async #call<T>(what: string, call: () => Promise<Answer<T>>, deadlineMs: number): Promise<T> {
    this.#options.control.begin();
    let timer: NodeJS.Timeout | undefined;
    try {
      const answer = await Promise.race([
        call(),
        this.ended.then((reason) => {
          throw reason ?? new StoreError('ACTOR_STOPPED', `${this.name} ended during ${what}`);
        }),
        new Promise<never>((_, reject) => {
          timer = setTimeout(
            () => reject(new StoreError('DEADLINE_EXCEEDED', `${this.name} did not ${what} in ${deadlineMs} ms`)),
            deadlineMs,
          );
        }),
      ]);
      if (!answer.ok) throw fromPlain(answer.failure, this.name);
      return answer.value;
    } finally {
      clearTimeout(timer);
      this.#options.control.end();
    }
  }
}

export function toPlain(error: unknown): PlainFailure {
  const isError = error instanceof Error;
  return {
    message: isError ? error.message : String(error),
    code: error instanceof StoreError ? error.code : undefined,
    data: error instanceof StoreError ? error.data : {},
    stack: isError ? error.stack : undefined,
    system: systemFacts(error),
  };
}

function systemFacts(error: unknown): Record<string, unknown> | undefined {
  for (let at = error; at instanceof Error; at = at.cause) {
    const { code, syscall, address, port, path } = at as NodeJS.ErrnoException & { address?: string; port?: number };
    if (syscall !== undefined) return { code, syscall, address, port, path, message: at.message };
  }
  return undefined;
}

export function fromPlain(failure: PlainFailure, actor: string): StoreError {
  const message = failure.code === undefined ? `${actor}: ${failure.message}` : failure.message;
  const { system } = failure;
  const cause = system === undefined ? failure.stack : Object.assign(new Error(String(system['message'])), system);
  return new StoreError(failure.code ?? 'ACTOR_STOPPED', message, { data: { ...failure.data, actor }, cause });
}

/** Two ends of a channel between threads, for the few messages that are not bulk. */
export function portPair(): [MessagePort, MessagePort] {
  const { port1, port2 } = new MessageChannel();
  return [port1, port2];
}

export type { MessagePort };
