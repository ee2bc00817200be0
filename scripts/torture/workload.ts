/**
 * Workload: what torture's clients do meanwhile, and the history of it.
 *
 * Registers are read, written, deleted and compared-and-set; lists are read and appended to, alone or two at once in a
 * transaction that also reads a third. Every value is written once, so a read says which write it saw. Keys are few at
 * any time, for contention, and give way to new ones after so many operations: a write whose outcome nobody knows stays
 * possible for as long as its key is used, and each of them makes the checker's search longer.
 *
 *   answer                                                    in the history
 *   done                                                      ok
 *   a condition did not hold, or nothing was done             fail
 *   OUTCOME_UNKNOWN, SESSION_EXPIRED                          info: it may yet happen
 *   any other error                                           the run fails: no such error has a place here
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Client, connect, type Entry, isStoreError } from '../../src/client/index.ts';
import type { Random } from '../../src/core/base/env.ts';
import type { HistoryRecorder, Json, Pending } from '../../src/testing/index.ts';
import { below, pick, seeded } from '../../test/core/base/seeded.ts';

export interface WorkloadOptions {
  readonly endpoints: readonly string[];
  readonly recorder: HistoryRecorder;
  readonly seed: number;
  readonly clients: number;
  /** Of all clients together; fewer while the cluster does not answer. */
  readonly opsPerSecond: number;
}

export interface Counts {
  readonly ops: number;
  readonly acked: number;
  readonly reads: number;
  readonly failed: number;
  readonly unknown: number;
}

const CALLERS_PER_CLIENT = 3;
const REGISTERS = 4;
const REGISTER_OPS = 1_000;
/** Lists of one generation: a transaction stays inside it, so that the checker may take each by itself. */
const LISTS = 3;
const LIST_APPENDS = 40;
const DEADLINE_MS = 10_000;
/** Some give up soon, so that there are outcomes nobody knows. */
const DEADLINE_SHORT_MS = 400;
/** The last reads come when all nodes are up. */
const DEADLINE_LAST_MS = 30_000;
const LAST_READERS = 8;
const APPEND_TRIES = 3;

const NOTHING_DONE = new Set(['UNAVAILABLE', 'DEADLINE_EXCEEDED', 'OVERLOADED', 'NOT_LEADER', 'STORE_FULL']);
const MAY_HAPPEN = new Set(['OUTCOME_UNKNOWN', 'SESSION_EXPIRED']);

/** What an error says of an operation; undefined: it has no place in a run. */
export function outcomeOf(error: unknown): 'fail' | 'info' | undefined {
  if (!isStoreError(error)) return undefined;
  if (NOTHING_DONE.has(error.code)) return 'fail';
  return MAY_HAPPEN.has(error.code) ? 'info' : undefined;
}

/** What ended well: was it done, and what was read? */
interface Done {
  readonly isDone: boolean;
  readonly value?: Json;
}

export class Workload {
  readonly #options: WorkloadOptions;
  #clients: Client[] = [];
  readonly #loops: Promise<void>[] = [];
  readonly #keys = new Set<string>();
  #isOver = false;
  #failure: Error | undefined;
  #nextValue = 1;
  #registerOps = 0;
  #appends = 0;
  #acked = 0;
  #reads = 0;
  #failed = 0;
  #unknown = 0;
  #lastAckMs = 0;
  #longestGapMs = 0;

  constructor(options: WorkloadOptions) {
    this.#options = options;
  }

  get counts(): Counts {
    const [acked, reads, failed, unknown] = [this.#acked, this.#reads, this.#failed, this.#unknown];
    return { ops: acked + reads + failed + unknown, acked, reads, failed, unknown };
  }

  /** Longest time in which no write was acknowledged, the one that lasts included. */
  get longestGapMs(): number {
    return this.#isOver ? this.#longestGapMs : Math.max(this.#longestGapMs, performance.now() - this.#lastAckMs);
  }

  get keys(): number {
    return this.#keys.size;
  }

  /** Throws what a caller met that has no place in a run. */
  throwIfFailed(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  async start(): Promise<void> {
    const { endpoints, clients, seed, opsPerSecond } = this.#options;
    this.#lastAckMs = performance.now();
    const pauseMs = (clients * CALLERS_PER_CLIENT * 1000) / opsPerSecond;
    for (let i = 0; i < clients; i++) {
      // Half go to the leader, half stay where they are: reads at followers, writes that are forwarded.
      const deadlineMs = i % 3 === 2 ? DEADLINE_SHORT_MS : DEADLINE_MS;
      const client = await connect(rotated(endpoints, i), { deadlineMs, followLeader: i % 2 === 0 });
      this.#clients.push(client);
      const seen = new Map<string, Json>();
      for (let j = 0; j < CALLERS_PER_CLIENT; j++) {
        const random = seeded(seed * 1_000 + i * CALLERS_PER_CLIENT + j);
        this.#loops.push(this.#loop(client, random, pauseMs, seen));
      }
    }
  }

  /** Ends the loops; what is under way gets its answer or its deadline. */
  async stop(): Promise<void> {
    this.#longestGapMs = this.longestGapMs;
    this.#isOver = true;
    await Promise.all(this.#loops);
    await Promise.all(this.#clients.splice(0).map((client) => client.close()));
    this.throwIfFailed();
  }

  /** Reads every key that was ever used, from every node: whatever is lost by now is missing here. */
  async readAll(): Promise<void> {
    for (const endpoint of this.#options.endpoints) {
      const client = await connect(endpoint, { pinned: true, deadlineMs: DEADLINE_LAST_MS });
      const keys = [...this.#keys];
      const reader = async (): Promise<void> => {
        for (let key = keys.pop(); key !== undefined; key = keys.pop()) {
          const value = await this.#read(client, key);
          if (value === undefined) throw new Error(`${key} could not be read from ${endpoint}, with all nodes up`);
        }
      };
      try {
        await Promise.all(Array.from({ length: LAST_READERS }, reader));
      } finally {
        await client.close();
      }
    }
    this.throwIfFailed();
  }

  /** `seen` is what this client's callers have seen last of each register, or written: what a cas expects. */
  async #loop(client: Client, random: Random, pauseMs: number, seen: Map<string, Json>): Promise<void> {
    while (!this.#isOver && this.#failure === undefined) {
      await this.#operation(client, random, seen);
      await sleep(random() * 2 * pauseMs);
    }
  }

  async #operation(client: Client, random: Random, seen: Map<string, Json>): Promise<void> {
    const chance = random();
    if (chance < 0.6) {
      const generation = Math.floor(this.#registerOps++ / REGISTER_OPS);
      const key = this.#use(`r/${generation}/${below(random, REGISTERS)}`);
      if (chance < 0.3) {
        const value = await this.#read(client, key);
        if (value !== undefined) seen.set(key, value);
      } else if (chance < 0.45) {
        const value = chance < 0.42 ? this.#nextValue++ : null;
        await this.#write(client, key, value);
        seen.set(key, value);
        // At once and elsewhere: a read that is a millisecond stale shows here, if anywhere.
        await this.#read(pick(random, this.#clients), key);
      } else await this.#cas(client, key, seen);
      return;
    }
    const generation = Math.floor(this.#appends / LIST_APPENDS);
    const first = below(random, LISTS);
    const list = (i: number): string => this.#use(`l/${generation}/${(first + i) % LISTS}`);
    if (chance < 0.75) await this.#read(client, list(0));
    else if (chance < 0.9) await this.#append(client, [list(0)], undefined);
    else await this.#append(client, [list(0), list(1)], pick(random, [list(0), list(2)]));
  }

  /** Runs one operation and writes down what became of it; gives what it read. */
  async #record(pending: Pending, isWrite: boolean, run: () => Promise<Done>): Promise<Json | undefined> {
    try {
      const { isDone, value } = await run();
      if (!isDone) {
        this.#failed++;
        pending.fail();
        return undefined;
      }
      if (isWrite) this.#acknowledged();
      else this.#reads++;
      pending.ok(value);
      return value;
    } catch (error) {
      const outcome = isWrite ? outcomeOf(error) : outcomeOf(error) && 'fail';
      if (outcome === 'fail') {
        this.#failed++;
        pending.fail();
      } else {
        this.#unknown++;
        pending.info();
      }
      if (outcome === undefined) this.#failure ??= error instanceof Error ? error : new Error(String(error));
      return undefined;
    }
  }

  #acknowledged(): void {
    const nowMs = performance.now();
    this.#acked++;
    this.#longestGapMs = Math.max(this.#longestGapMs, nowMs - this.#lastAckMs);
    this.#lastAckMs = nowMs;
  }

  #read(client: Client, key: string): Promise<Json | undefined> {
    const pending = this.#options.recorder.invoke('read', { key });
    return this.#record(pending, false, async () => ({ isDone: true, value: valueOf(await client.get(key)) }));
  }

  #write(client: Client, key: string, value: Json): Promise<Json | undefined> {
    const pending = this.#options.recorder.invoke('write', { key, value });
    return this.#record(pending, true, async () => {
      if (value === null) await client.delete(key);
      else await client.put(key, JSON.stringify(value));
      return { isDone: true };
    });
  }

  async #cas(client: Client, key: string, seen: Map<string, Json>): Promise<void> {
    const from = seen.get(key) ?? null;
    const to = this.#nextValue++;
    const pending = this.#options.recorder.invoke('cas', { key, value: [from, to] });
    await this.#record(pending, true, async () => {
      const { succeeded } = await client.txn((t) =>
        (from === null ? t.ifAbsent(key) : t.ifValue(key, JSON.stringify(from))).put(key, JSON.stringify(to)),
      );
      if (succeeded) seen.set(key, to);
      return { isDone: succeeded };
    });
  }

  /** Appends to one list or two, and reads another in the same transaction, by their revisions: as a user has to. */
  async #append(client: Client, keys: readonly string[], readKey: string | undefined): Promise<void> {
    const values = keys.map(() => this.#nextValue++);
    this.#appends += keys.length;
    const parts = (read: Json): Json => [
      ...(readKey === undefined ? [] : [['r', readKey, read]]),
      ...keys.map((key, i) => ['append', key, values[i] ?? null]),
    ];
    const [key = ''] = keys;
    const isAlone = keys.length === 1 && readKey === undefined;
    const pending = isAlone
      ? this.#options.recorder.invoke('append', { key, value: values[0] ?? null })
      : this.#options.recorder.invoke('txn', { value: parts(null) });
    await this.#record(pending, true, async () => {
      for (let attempt = 1; attempt <= APPEND_TRIES; attempt++) {
        // They need not be the newest: with an older revision the write does nothing.
        const entries = await Promise.all(keys.map((one) => client.get(one)));
        const { succeeded, results } = await client.txn((t) => {
          for (const [i, one] of keys.entries()) t.ifRevision(one, entries[i]?.revision ?? 0);
          if (readKey !== undefined) t.get(readKey);
          for (const [i, one] of keys.entries()) {
            t.put(one, JSON.stringify([...listOf(entries[i]), values[i] ?? null]));
          }
        });
        if (!succeeded) continue;
        const [first] = results;
        if (isAlone) return { isDone: true };
        return { isDone: true, value: parts(first?.kind === 'get' ? valueOf(first.entry) : null) };
      }
      return { isDone: false };
    });
  }

  #use(key: string): string {
    this.#keys.add(key);
    return key;
  }
}

function listOf(entry: Entry | undefined): readonly Json[] {
  const value = valueOf(entry);
  return Array.isArray(value) ? (value as readonly Json[]) : [];
}

/** Values in the store are JSON; what is not there reads as null, as in the history. */
function valueOf(entry: Entry | undefined): Json {
  return entry === undefined ? null : (entry.json() as Json);
}

function rotated<T>(list: readonly T[], by: number): T[] {
  return list.map((_, i) => list[(i + by) % list.length] as T);
}
