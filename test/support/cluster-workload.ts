/**
 * A workload that can be checked: every write carries an id of its own in its value, and what became of each call
 * is written down. The ledger, read back from the nodes afterwards, then says what really happened.
 *
 *   acknowledged        the write is in the ledger once, at the revision that the caller was told
 *   outcome unknown     it is there once or not at all
 *   any other failure   it is not there
 *
 * Counters grow through `ifRevision` only, so a write applied twice or lost would break their chain. A reader
 * checks meanwhile that a linearizable get never shows less than was acknowledged before it was called.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Client, isStoreError, type Revision, StoreError } from '../../src/client/index.ts';
import { decodeRecords, type LedgerRecord } from '../../src/core/model/ledger.ts';
import type { TestCluster } from './cluster-process.ts';

type Outcome = 'acked' | 'unknown' | 'refused';

interface Write {
  readonly id: string;
  readonly key: string;
  readonly kind: 'put' | 'delete' | 'txn';
  outcome: Outcome | undefined;
  revision: number;
  code: string;
}

/** Codes that say that nothing was done. */
const NOTHING_DONE = new Set(['UNAVAILABLE', 'DEADLINE_EXCEEDED', 'OVERLOADED', 'NOT_LEADER']);
const SHARED_KEYS = 8;
const COUNTERS = 3;

export class Workload {
  readonly #cluster: TestCluster;
  readonly #clients: Client[] = [];
  readonly #writes: Write[] = [];
  readonly #loops: Promise<void>[] = [];
  readonly #ackedRevisions = new Map<string, number>();
  #isOver = false;
  #failure: Error | undefined;
  #nextId = 1;
  acked = 0;
  reads = 0;
  /** When the newest acknowledgement came. */
  ackedAtMs = 0;
  slowestMs = 0;

  constructor(cluster: TestCluster) {
    this.#cluster = cluster;
  }

  async start(clients: number): Promise<void> {
    for (let i = 0; i < clients; i++) {
      // Some give up soon, so that there are outcomes nobody knows.
      const client = await this.#cluster.client({ deadlineMs: i % 2 === 0 ? 10_000 : 400 });
      this.#clients.push(client);
      this.#loop((turn) => this.#unique(client, i, turn));
      this.#loop((turn) => this.#shared(client, turn));
      this.#loop((turn) => this.#counter(client, (i + turn) % COUNTERS));
      this.#loop((turn) => this.#come(client, i, turn));
      this.#loop((turn) => this.#read(client, turn));
    }
  }

  /** Ends the loops; what is under way gets its answer or its deadline. */
  async stop(): Promise<void> {
    this.#isOver = true;
    await Promise.all(this.#loops);
    this.throwIfFailed();
  }

  /** What a loop found wrong while it ran. */
  throwIfFailed(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  get summary(): Readonly<Record<string, number>> {
    const count = (outcome: Outcome): number => this.#writes.filter((write) => write.outcome === outcome).length;
    const [unknown, refused] = [count('unknown'), count('refused')];
    const slowestMs = Math.round(this.slowestMs);
    return { writes: this.#writes.length, acked: count('acked'), unknown, refused, reads: this.reads, slowestMs };
  }

  #loop(turn: (turn: number) => Promise<void>): void {
    const run = async (): Promise<void> => {
      for (let i = 0; !this.#isOver && this.#failure === undefined; i++) {
        await turn(i);
        await sleep(1);
      }
    };
    this.#loops.push(
      run().catch((error: unknown) => {
        this.#failure ??= error instanceof Error ? error : new Error(String(error));
      }),
    );
  }

  /** Runs one write and notes what became of it. `call` gives the revision, or 0 when it changed nothing. */
  async #write(kind: Write['kind'], key: string, call: (id: string) => Promise<number>): Promise<number | undefined> {
    const id = `w${this.#nextId++}`;
    const write: Write = { id, key, kind, outcome: undefined, revision: 0, code: '' };
    this.#writes.push(write);
    const startedMs = performance.now();
    try {
      write.revision = await call(id);
      write.outcome = 'acked';
      this.acked++;
      this.ackedAtMs = performance.now();
      if (write.revision > (this.#ackedRevisions.get(key) ?? 0)) this.#ackedRevisions.set(key, write.revision);
    } catch (error) {
      if (!isStoreError(error)) throw error;
      write.code = error.code;
      if (error.code === 'OUTCOME_UNKNOWN') write.outcome = 'unknown';
      else if (NOTHING_DONE.has(error.code)) write.outcome = 'refused';
      else throw new Error(`${kind} ${key}: ${error.code}: ${error.message}`, { cause: error });
      return undefined;
    } finally {
      this.slowestMs = Math.max(this.slowestMs, performance.now() - startedMs);
    }
    return write.revision;
  }

  /** A burst of keys of its own, in one frame. */
  async #unique(client: Client, i: number, turn: number): Promise<void> {
    await Promise.all(
      Array.from({ length: 4 }, (_, j) => {
        const key = `u/${i}/${turn}/${j}`;
        return this.#write('put', key, async (id) => (await client.put(key, id)).revision);
      }),
    );
  }

  async #shared(client: Client, turn: number): Promise<void> {
    const key = `s/${turn % SHARED_KEYS}`;
    await this.#write('put', key, async (id) => (await client.put(key, id)).revision);
  }

  async #counter(client: Client, n: number): Promise<void> {
    const key = `c/${n}`;
    let entry: Awaited<ReturnType<Client['get']>>;
    try {
      entry = await client.get(key);
    } catch (error) {
      if (isStoreError(error) && NOTHING_DONE.has(error.code)) return;
      throw error;
    }
    const count = entry === undefined ? 0 : (entry.json() as { n: number }).n;
    await this.#write('txn', key, async (id) => {
      const value = JSON.stringify({ n: count + 1, id });
      const { succeeded, revision } = await client.txn((t) => t.ifRevision(key, entry?.revision ?? 0).put(key, value));
      return succeeded ? revision : 0;
    });
  }

  /** Keys that come and go: put, with a time to live now and then, and deleted. */
  async #come(client: Client, i: number, turn: number): Promise<void> {
    const key = `d/${i}/${turn % 5}`;
    const options = turn % 3 === 0 ? { ttlMs: 100 + (turn % 7) * 50 } : {};
    await this.#write('put', key, async (id) => (await client.put(key, id, options)).revision);
    if (turn % 3 === 0) return;
    await this.#write('delete', key, async () => {
      const { found, revision } = await client.delete(key);
      return found ? revision : 0;
    });
  }

  async #read(client: Client, turn: number): Promise<void> {
    const key = `s/${turn % SHARED_KEYS}`;
    const known = this.#ackedRevisions.get(key) ?? 0;
    try {
      const entry = await client.get(key);
      this.reads++;
      const revision = entry?.revision ?? 0;
      if (revision < known)
        throw new Error(`a stale read: ${key} at ${revision}, and ${known} was acknowledged before`);
    } catch (error) {
      if (isStoreError(error) && NOTHING_DONE.has(error.code)) return;
      throw error;
    }
  }

  /** What the ledger says against what the callers were told. Throws at the first difference. */
  check(records: readonly LedgerRecord[]): void {
    const places = new Map<string, { revision: number; key: string }>();
    const deletes = new Map<number, Set<string>>();
    const counts = new Map<string, number>();
    for (const { revision, changes } of records) {
      for (const change of changes) {
        const key = text(change.key);
        if (change.kind === 'delete') {
          deletes.set(revision, (deletes.get(revision) ?? new Set()).add(key));
          continue;
        }
        const value = text(change.value);
        const { id, n } = key.startsWith('c/') ? (JSON.parse(value) as { id: string; n: number }) : { id: value, n: 0 };
        const first = places.get(id);
        if (first !== undefined) throw new Error(`${id} on ${key} was applied at ${first.revision} and ${revision}`);
        places.set(id, { revision, key });
        if (!key.startsWith('c/')) continue;
        const before = counts.get(key) ?? 0;
        if (n !== before + 1) throw new Error(`${key} went from ${before} to ${n} at revision ${revision}`);
        counts.set(key, n);
      }
    }
    for (const write of this.#writes) {
      const { id, key, kind, outcome, revision } = write;
      if (outcome === undefined) throw new Error(`${id} on ${key} was never answered`);
      const place = kind === 'delete' ? undefined : places.get(id);
      if (outcome === 'refused' && place !== undefined) {
        throw new Error(`${kind} ${id} on ${key} failed with ${write.code}, and is there at ${place.revision}`);
      }
      if (outcome !== 'acked') continue;
      if (revision === 0) {
        if (place !== undefined)
          throw new Error(`${kind} ${id} on ${key} "changed nothing" and is at ${place.revision}`);
      } else if (kind === 'delete') {
        if (deletes.get(revision)?.has(key) !== true) throw new Error(`lost: delete of ${key} acked at ${revision}`);
      } else if (place?.revision !== revision) {
        throw new Error(
          `lost: ${kind} ${id} on ${key} acked at ${revision}, found at ${place?.revision ?? 'no place'}`,
        );
      }
    }
  }
}

/** Keys and values as text: for workloads and states that are text. */
const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString();

/** All records of a node's ledger from `from` up to at least `to`; throws when a revision is missing or comes twice. */
export async function readLedger(
  client: Client,
  options: { readonly from?: number; readonly to: number; readonly cluster: string },
): Promise<LedgerRecord[]> {
  const records: LedgerRecord[] = [];
  const { from = 1, to, cluster } = options;
  for await (const frame of client.ledger({
    fromRevision: from as Revision,
    cluster,
    signal: AbortSignal.timeout(30_000),
  })) {
    if (frame.kind === 'hello') continue;
    if (frame.kind !== 'records') throw new Error(`a ${frame.kind} where every record was wanted`);
    for (const record of decodeRecords(frame.bytes)) {
      const expected = from + records.length;
      if (record.revision !== expected) throw new Error(`record ${record.revision} where ${expected} was next`);
      records.push(record);
    }
    if (from + records.length > to) return records;
  }
  throw new StoreError('UNAVAILABLE', `the ledger ended at ${records.length} of ${to}`);
}

/** The state that records amount to: `key → "revision value"`. */
export function stateOf(records: readonly LedgerRecord[]): Map<string, string> {
  const state = new Map<string, string>();
  for (const { revision, changes } of records) {
    for (const { kind, key, value } of changes) {
      if (kind === 'put') state.set(text(key), `${revision} ${text(value)}`);
      else state.delete(text(key));
    }
  }
  return state;
}

/** What a node itself has now, as `stateOf`. */
export async function localState(client: Client): Promise<Map<string, string>> {
  const state = new Map<string, string>();
  for await (const entry of client.range({ consistency: 'local' })) {
    state.set(entry.keyText(), `${entry.revision} ${entry.text()}`);
  }
  return state;
}

/** Throws, naming the first keys that differ. */
export function sameState(a: ReadonlyMap<string, string>, b: ReadonlyMap<string, string>, what: string): void {
  const differing = [...new Set([...a.keys(), ...b.keys()])].filter((key) => a.get(key) !== b.get(key));
  if (differing.length === 0) return;
  const shown = differing.slice(0, 5).map((key) => `${key}: ${a.get(key) ?? 'absent'} | ${b.get(key) ?? 'absent'}`);
  throw new Error(`${what}: ${differing.length} keys differ\n${shown.join('\n')}`);
}
