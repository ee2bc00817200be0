/**
 * Journal: every write that was acknowledged, as the writer heard it; the truth that the store is held against.
 *
 * Each key is written once. So a row that is not there or has another value is a lost write, and a row of another
 * revision than the one that was acknowledged is a write that happened twice.
 */
import { type Client, isStoreError } from 'ctlmesh/client';

export interface Row {
  readonly revision: number;
  keyText(): string;
  text(): string;
}

export interface Verdict {
  readonly lost: number;
  readonly twice: number;
  /** Rows that nobody was told of. */
  readonly unknown: number;
}

/** How many writes are under way at once, and for how long they go on. */
export interface LoadOptions {
  readonly inFlight: number;
  readonly deadlineMs: number;
}

export class Journal {
  readonly #acknowledged = new Map<string, { readonly value: string; readonly revision: number }>();
  newestRevision = 0;

  get size(): number {
    return this.#acknowledged.size;
  }

  acknowledged(key: string, value: string, revision: number): void {
    this.#acknowledged.set(key, { value, revision });
    if (revision > this.newestRevision) this.newestRevision = revision;
  }

  /** Puts a row and notes the answer. Returns how long it took. */
  async put(db: Client, key: string, value: string, deadlineMs: number): Promise<number> {
    const startedMs = performance.now();
    const { revision } = await db.put(key, value, { deadlineMs });
    this.acknowledged(key, value, revision);
    return performance.now() - startedMs;
  }

  async check(rows: AsyncIterable<Row> | Iterable<Row>): Promise<Verdict> {
    let found = 0;
    let twice = 0;
    let unknown = 0;
    for await (const row of rows) {
      const expected = this.#acknowledged.get(row.keyText());
      if (expected === undefined) unknown++;
      else if (expected.revision !== row.revision) twice++;
      else if (expected.value === row.text()) found++;
    }
    return { lost: this.size - found - twice, twice, unknown };
  }
}

/** Writers that go on until they are told to stop: `inFlight` of them, each with one write under way. */
export class Load {
  readonly #db: Client;
  readonly #journal: Journal;
  readonly #options: LoadOptions;
  readonly #writers: Promise<void>[] = [];
  #isStopping = false;
  #next = 0;
  /** When each acknowledgement came, and how long the write took. */
  readonly acks: { readonly atMs: number; readonly tookMs: number }[] = [];
  readonly failures: unknown[] = [];

  constructor(db: Client, journal: Journal, options: LoadOptions) {
    this.#db = db;
    this.#journal = journal;
    this.#options = options;
  }

  start(): void {
    for (let i = 0; i < this.#options.inFlight; i++) this.#writers.push(this.#write());
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    await Promise.all(this.#writers);
  }

  async #write(): Promise<void> {
    while (!this.#isStopping) {
      const n = this.#next++;
      const key = `writes/${String(n).padStart(8, '0')}`;
      const value = JSON.stringify({ n, text: 'a write that must survive the leader it was given to' });
      try {
        const tookMs = await this.#journal.put(this.#db, key, value, this.#options.deadlineMs);
        this.acks.push({ atMs: performance.now(), tookMs });
      } catch (error) {
        this.failures.push(error);
        // It would fail again, and at once.
        if (isStoreError(error) && error.retry === 'never') return;
      }
    }
  }

  /** The longest time between two acknowledgements after `fromMs`. */
  longestSilence(fromMs: number): { readonly ms: number; readonly fromMs: number; readonly toMs: number } {
    let longest = { ms: 0, fromMs, toMs: fromMs };
    let before: number | undefined;
    for (const { atMs } of this.acks) {
      if (before !== undefined && atMs >= fromMs && atMs - before > longest.ms) {
        longest = { ms: atMs - before, fromMs: before, toMs: atMs };
      }
      before = atMs;
    }
    return longest;
  }
}
