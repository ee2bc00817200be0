/** Context: the global options of one run, and the client made from them. */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { CallOptions, Client, ConnectOptions } from '../../client/types.ts';
import { StoreError } from '../../core/base/errors.ts';
import { ENDPOINTS_DEFAULT, parseEndpoints } from './arguments.ts';
import type { KvctlDeps } from './deps.ts';
import { UsageError } from './errors.ts';
import { Output } from './output.ts';

export interface GlobalFlags {
  readonly endpoints?: readonly string[];
  readonly deadline: number;
  readonly json?: boolean;
  readonly tokenFile?: string;
}

/** A command's work; gives the exit code. */
export type Work = (context: Context) => Promise<number>;
/** How a command hands its work over: commander only parses. */
export type Run = (work: Work) => Promise<void>;

/** A dead cluster must not keep a command from ending. */
const CLOSE_MS = 1_000;

export class Context {
  readonly deps: KvctlDeps;
  readonly endpoints: readonly string[];
  readonly deadlineMs: number;
  readonly json: boolean;
  readonly out: Output;
  readonly #tokenFile: string | undefined;

  constructor(deps: KvctlDeps, flags: GlobalFlags) {
    this.deps = deps;
    this.endpoints = flags.endpoints ?? endpointsFrom(deps.env);
    this.deadlineMs = flags.deadline;
    this.json = flags.json === true;
    this.out = new Output(deps.stdout);
    this.#tokenFile = flags.tokenFile;
  }

  /** Options for a call: the deadline, and Ctrl-C. */
  get call(): Required<Pick<CallOptions, 'deadlineMs' | 'signal'>> {
    return { deadlineMs: this.deadlineMs, signal: this.deps.signal };
  }

  /** Who asks. Not a flag: the command lines of a host's processes are everybody's to read. */
  get token(): string | undefined {
    if (this.#tokenFile === undefined) return this.deps.env['CTLMESH_TOKEN'] || undefined;
    try {
      return readFileSync(this.#tokenFile, 'utf8').replace(/\r?\n$/, '');
    } catch (cause) {
      throw new UsageError(`cannot read ${this.#tokenFile}: ${(cause as Error).message}`);
    }
  }

  /** Says something to the person; never data. */
  note(line: string): void {
    this.deps.stderr.write(`${line}\n`);
  }

  /** Stdin, until it ends or Ctrl-C: a terminal that says nothing more must not hold us. */
  async *stdin(): AsyncGenerator<Uint8Array | string> {
    const { stdin, signal } = this.deps;
    const parts = stdin[Symbol.asyncIterator]();
    const aborted = new Promise<never>((_, reject) => {
      const stop = (): void => reject(new StoreError('CANCELLED', 'stopped while reading stdin'));
      if (signal.aborted) stop();
      else signal.addEventListener('abort', stop, { once: true });
    });
    for (;;) {
      const next = await Promise.race([parts.next(), aborted]);
      if (next.done === true) return;
      yield next.value;
    }
  }

  async withClient<T>(
    use: (client: Client) => Promise<T>,
    options: ConnectOptions = {},
    urls: readonly string[] = this.endpoints,
  ): Promise<T> {
    const { token } = this;
    const client = await this.deps.connect(urls, {
      ...(token === undefined ? {} : { token }),
      deadlineMs: this.deadlineMs,
      connectDeadlineMs: this.deadlineMs,
      ...options,
    });
    try {
      return await use(client);
    } finally {
      await Promise.race([client.close().catch(() => {}), sleep(CLOSE_MS, undefined, { ref: false })]);
    }
  }
}

/** All of stdin. */
export async function readStdin(context: Context): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const part of context.stdin()) parts.push(typeof part === 'string' ? Buffer.from(part) : part);
  return Buffer.concat(parts);
}

function endpointsFrom(env: KvctlDeps['env']): string[] {
  const named = env['CTLMESH_ENDPOINTS'];
  if (named === undefined || named.trim() === '') return parseEndpoints(ENDPOINTS_DEFAULT);
  try {
    return parseEndpoints(named);
  } catch (error) {
    throw new UsageError(`CTLMESH_ENDPOINTS: ${(error as Error).message}`);
  }
}
