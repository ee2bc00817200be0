/** Context: the global options of one run, and the client made from them. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { CallOptions, Client, ConnectOptions } from '../../client/types.ts';
import type { KvctlDeps } from './deps.ts';
import { Output } from './output.ts';

export interface GlobalFlags {
  readonly endpoints: readonly string[];
  readonly deadline: number;
  readonly json?: boolean;
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

  constructor(deps: KvctlDeps, flags: GlobalFlags) {
    this.deps = deps;
    this.endpoints = flags.endpoints;
    this.deadlineMs = flags.deadline;
    this.json = flags.json === true;
    this.out = new Output(deps.stdout);
  }

  /** Options for a call: the deadline, and Ctrl-C. */
  get call(): Required<CallOptions> {
    return { deadlineMs: this.deadlineMs, signal: this.deps.signal };
  }

  /** Says something to the person; never data. */
  note(line: string): void {
    this.deps.stderr.write(`${line}\n`);
  }

  async withClient<T>(
    use: (client: Client) => Promise<T>,
    options: ConnectOptions = {},
    urls = this.endpoints,
  ): Promise<T> {
    const client = await this.deps.connect(urls, {
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
export async function readAll(input: AsyncIterable<Uint8Array | string>): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const part of input) parts.push(typeof part === 'string' ? Buffer.from(part) : part);
  return Buffer.concat(parts);
}
