/**
 * Writers: clients that write at a steady rate whatever happens, and know when which write was acknowledged.
 *
 * Each put has a key of its own and leaves when its time has come, whether or not earlier ones were answered; so an
 * outage shows as a time without acknowledgements, and at the end it can be asked of every node whether anything that
 * was acknowledged is missing.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Client, connect } from '../../src/client/index.ts';
import { BenchError } from './scenario.ts';

const CLIENTS = 4;
/** Each client. */
const PUT_EVERY_MS = 5;
const UNDER_WAY_MAX = 4_096;
const DEADLINE_MS = 30_000;

interface Acked {
  readonly value: string;
  readonly revision: number;
}

interface Waiter {
  readonly calledAfterMs: number;
  readonly resolve: (ackedMs: number) => void;
}

export class Writers {
  readonly #clients: readonly Client[];
  readonly #prefix: string;
  readonly #acked = new Map<string, Acked>();
  /** When acknowledgements came, ascending. */
  readonly #ackedMs: number[] = [];
  readonly #underWay = new Set<Promise<void>>();
  #waiters: Waiter[] = [];
  #timer: ReturnType<typeof setInterval> | undefined;
  #sent = 0;
  failures = 0;

  private constructor(clients: readonly Client[], prefix: string) {
    this.#clients = clients;
    this.#prefix = prefix;
  }

  /** Resolves when each client has an acknowledgement. `prefix` is of this run's keys. */
  static async start(endpoints: readonly string[], prefix: string): Promise<Writers> {
    const clients = await Promise.all(Array.from({ length: CLIENTS }, () => connect(endpoints)));
    const writers = new Writers(clients, prefix);
    await Promise.all(clients.map((client) => writers.#put(client)));
    const beganMs = performance.now();
    let ticks = 0;
    writers.#timer = setInterval(() => {
      // What a late timer has missed is not made up for: that would be a burst.
      const due = Math.floor((performance.now() - beganMs) / PUT_EVERY_MS);
      if (due === ticks) return;
      ticks = due;
      for (const client of clients) writers.#launch(client);
    }, 1);
    return writers;
  }

  get acknowledged(): number {
    return this.#ackedMs.length;
  }

  /** When the first write that is called after `calledAfterMs` is acknowledged. */
  async nextAck(calledAfterMs: number): Promise<number> {
    const { promise, resolve } = Promise.withResolvers<number>();
    this.#waiters.push({ calledAfterMs, resolve });
    const late = new AbortController();
    const deadline = sleep(DEADLINE_MS, undefined, { ref: false, signal: late.signal }).then(() => {
      throw new BenchError(`no write was acknowledged for ${DEADLINE_MS / 1000} s`);
    });
    try {
      return await Promise.race([promise, deadline]);
    } finally {
      deadline.catch(() => {});
      late.abort();
    }
  }

  /** The longest time without an acknowledgement that has a part between the two moments. */
  longestGapMs(fromMs: number, toMs: number): number {
    let longestMs = 0;
    let lastMs = this.#ackedMs[0] ?? fromMs;
    for (const atMs of this.#ackedMs) {
      if (atMs > fromMs) longestMs = Math.max(longestMs, atMs - lastMs);
      lastMs = atMs;
      if (atMs > toMs) return longestMs;
    }
    return Math.max(longestMs, toMs - lastMs);
  }

  /** Ends the writing; what is under way gets its answer. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await Promise.all(this.#underWay);
    await Promise.all(this.#clients.map((client) => client.close()));
  }

  /** How many acknowledged writes the node at `url` does not have as they were acknowledged. */
  async missingAt(url: string): Promise<number> {
    const client = await connect(url, { pinned: true });
    const left = new Map(this.#acked);
    try {
      for await (const entry of client.range({ prefix: this.#prefix })) {
        const acked = left.get(entry.keyText());
        if (acked !== undefined && acked.revision === entry.revision && acked.value === entry.text()) {
          left.delete(entry.keyText());
        }
      }
    } finally {
      await client.close();
    }
    return left.size;
  }

  #launch(client: Client): void {
    if (this.#underWay.size >= UNDER_WAY_MAX) return;
    const put = this.#put(client);
    this.#underWay.add(put);
    void put.then(() => this.#underWay.delete(put));
  }

  async #put(client: Client): Promise<void> {
    const n = this.#sent++;
    const key = `${this.#prefix}${n}`;
    const value = `value of ${key}`;
    const calledMs = performance.now();
    try {
      const { revision } = await client.put(key, value);
      const ackedMs = performance.now();
      this.#acked.set(key, { value, revision });
      this.#ackedMs.push(ackedMs);
      if (this.#waiters.length > 0) this.#tell(calledMs, ackedMs);
    } catch {
      this.failures++;
    }
  }

  #tell(calledMs: number, ackedMs: number): void {
    this.#waiters = this.#waiters.filter((waiter) => {
      if (calledMs <= waiter.calledAfterMs) return true;
      waiter.resolve(ackedMs);
      return false;
    });
  }
}
