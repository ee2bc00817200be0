/**
 * A store that is the model itself, and clients of it that fail as a test wants: what locks and elections are made of,
 * without sockets and in the test's own time (fake timers).
 */
import { ClientEntry, ClientWatchEvent, toBytes } from '../../src/client/entry.ts';
import type { LeaseClient } from '../../src/client/locks-lease.ts';
import { Builder, decodeTxnResult } from '../../src/client/txn.ts';
import type * as api from '../../src/client/types.ts';
import { prefixEnd, text, utf8 } from '../../src/core/base/bytes.ts';
import { StoreError } from '../../src/core/base/errors.ts';
import type { Revision } from '../../src/core/base/position.ts';
import type { LedgerRecord } from '../../src/core/model/ledger.ts';
import { Bench, clock, del, txn } from '../core/model/model.ts';

/**
 * What becomes of a call: done · done, and the answer lost · never done, and nobody says so · done only later, after its
 * caller gave up · done, and at once the answer that its session is gone · nothing answers until the deadline.
 */
export type Fate = 'done' | 'answer-lost' | 'lost' | 'done-later' | 'session-gone' | 'hangs';

const CLOCK_EVERY_MS = 50;

export class ModelStore {
  readonly #bench = new Bench();
  readonly records: LedgerRecord[] = [];
  #watchers: (() => void)[] = [];
  readonly #clock: ReturnType<typeof setInterval>;

  constructor() {
    this.#clock = setInterval(() => this.apply(clock(performance.now())), CLOCK_EVERY_MS);
  }

  close(): void {
    clearInterval(this.#clock);
  }

  get revision(): number {
    return this.#bench.machine.applied;
  }

  apply(entry: Uint8Array): { revision: Revision; extra: Uint8Array } {
    const { record, answer } = this.#bench.apply(entry);
    this.records.push(record);
    for (const wake of this.#watchers.splice(0)) wake();
    return { revision: record.revision, extra: answer?.extra ?? new Uint8Array(0) };
  }

  /** As of now, or of a revision. */
  entries(prefix = '', upTo: number = this.revision): api.Entry[] {
    if (upTo >= this.revision) {
      const now = this.#bench.all().filter(({ key }) => key.startsWith(prefix));
      return now.map(
        ({ key, value, revision, expiryMs }) => new ClientEntry(utf8(key), utf8(value), revision as Revision, expiryMs),
      );
    }
    const rows = new Map<string, api.Entry>();
    for (const { revision, changes } of this.records.slice(0, upTo)) {
      for (const { kind, key, value, expiryMs } of changes) {
        const name = text(key);
        if (kind === 'delete') rows.delete(name);
        else if (name.startsWith(prefix)) rows.set(name, new ClientEntry(key, value, revision, expiryMs));
      }
    }
    return [...rows.values()].sort((a, b) => Buffer.compare(a.key, b.key));
  }

  /** Resolves with the next entry, or when `signal` says so. */
  next(signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve) => {
      this.#watchers.push(resolve);
      signal?.addEventListener('abort', () => resolve(), { once: true });
    });
  }

  client(): ModelClient {
    return new ModelClient(this);
  }
}

const cancelled = (signal: AbortSignal | undefined, mayHappen: boolean): StoreError =>
  new StoreError('CANCELLED', 'cancelled', { cause: signal?.reason, data: { mayHappen } });

export class ModelClient implements LeaseClient {
  readonly #store: ModelStore;
  /** The fate of the next call; asked for each. */
  fate: (kind: 'txn' | 'get' | 'delete' | 'range') => Fate = () => 'done';
  /** How far behind the node is whose status is told. */
  statusLag = 0;
  readonly calls: string[] = [];
  /** How long a call that is done later takes beyond its deadline. */
  laterMs = 100;

  constructor(store: ModelStore) {
    this.#store = store;
  }

  async txn(build: (t: api.TxnBuilder) => unknown, options: api.CallOptions = {}): Promise<api.TxnResult> {
    const builder = new Builder();
    build(builder);
    const body = builder.build();
    const apply = (): { revision: Revision; extra: Uint8Array } =>
      this.#store.apply(txn(body, { timeMs: performance.now() }));
    const { revision, extra } = await this.#call('txn', options, true, apply);
    return decodeTxnResult(revision, extra);
  }

  async delete(key: api.Bytes, options: api.CallOptions = {}): Promise<api.DeleteResult> {
    const apply = (): { revision: Revision; extra: Uint8Array } =>
      this.#store.apply(del(toBytes(key), { timeMs: performance.now() }));
    const { revision, extra } = await this.#call('delete', options, true, apply);
    return { revision, found: extra[0] === 1 };
  }

  get(key: api.Bytes, options: api.GetOptions = {}): Promise<api.Entry | undefined> {
    const name = text(toBytes(key));
    return this.#call('get', options, false, () => this.#store.entries(name).find((entry) => entry.keyText() === name));
  }

  async *range(options: api.RangeOptions = {}): AsyncGenerator<api.Entry, void, void> {
    const { prefix = '', revision } = options;
    yield* await this.#call('range', options, false, () =>
      this.#store.entries(text(toBytes(prefix)), revision ?? this.#store.revision),
    );
  }

  async *watch(options: api.WatchOptions = {}): AsyncGenerator<api.WatchEvent, void, void> {
    const { signal } = options;
    const from = toBytes(options.key ?? options.prefix ?? '');
    const to = options.key === undefined ? prefixEnd(from) : undefined;
    const isWanted = (key: Uint8Array): boolean =>
      options.key === undefined
        ? Buffer.compare(key, from) >= 0 && (to === undefined || Buffer.compare(key, to) < 0)
        : Buffer.compare(key, from) === 0;
    this.calls.push(options.key === undefined ? 'watch' : `watch ${text(from)}`);
    const isOver = (): boolean => signal?.aborted === true;
    for (let at = (options.fromRevision ?? this.#store.revision + 1) - 1; ; at++) {
      while (at >= this.#store.records.length && !isOver()) await this.#store.next(signal);
      if (isOver()) throw cancelled(signal, false);
      const { revision, timeMs, changes } = this.#store.records[at] as LedgerRecord;
      const wanted = changes.filter((change) => isWanted(change.key));
      for (const [i, change] of wanted.entries()) {
        yield new ClientWatchEvent(change, { revision, timeMs, lastOfRevision: i === wanted.length - 1 });
      }
    }
  }

  status(): Promise<api.NodeStatus> {
    return Promise.resolve({ applied: Math.max(0, this.#store.revision - this.statusLag) } as api.NodeStatus);
  }

  /** What the server says comes with a later microtask; what it does not say, with the deadline. */
  async #call<T>(
    kind: 'txn' | 'get' | 'delete' | 'range',
    { deadlineMs = 10_000, signal }: api.CallOptions,
    isWrite: boolean,
    act: () => T,
  ): Promise<T> {
    this.calls.push(kind);
    const fate = this.fate(kind);
    const isOver = (): boolean => signal?.aborted === true;
    if (isOver()) throw cancelled(signal, false);
    await Promise.resolve();
    if (fate === 'done') return act();
    if (fate === 'answer-lost' || fate === 'session-gone') act();
    if (fate === 'session-gone') throw new StoreError('SESSION_EXPIRED', 'whether it happened is not known');
    if (fate === 'done-later') setTimeout(act, deadlineMs + this.laterMs);
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, deadlineMs);
    signal?.addEventListener('abort', () => resolve(), { once: true });
    await promise;
    clearTimeout(timer);
    const inDoubt = isWrite && fate !== 'hangs';
    if (isOver()) throw cancelled(signal, inDoubt);
    if (inDoubt) throw new StoreError('OUTCOME_UNKNOWN', 'nobody knows');
    throw new StoreError('DEADLINE_EXCEEDED', 'late; nothing was done');
  }
}
