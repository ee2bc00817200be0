/**
 * CtlmeshLevel: the embedded engine as an abstract-level database.
 *
 *   abstract-level   encodings, sublevels, hooks, events, deferred open, one read per iterator at a time
 *   this             bytes in and out, ranges, snapshots, error codes
 *   engine           everything else
 *
 * Reads are answered in the call, from memory or with a short read of a file; the promise is the level world's shape.
 * So what a read sees is what was visible when it was called, whatever is written before its promise resolves. A few
 * answers are held back for a turn of the event loop, so that a loop of reads does not stop all else (turns.ts).
 *
 * `close()` waits for what was begun: abstract-level closes iterators and snapshots first, then writes end, then the
 * engine closes.
 */
import { type AbstractChainedBatch, AbstractLevel } from 'abstract-level';
import { EMPTY } from '../core/base/bytes.ts';
import { type Engine, type EngineStats, openEngine, type TreeEntry } from '../engine/store/index.ts';
import { clearEntries } from './clear.ts';
import { LevelError, levelError } from './errors.ts';
import { type Encoded, type Format, fromBytes, lentKey, lentValue } from './format.ts';
import { type EncodedEntry, LevelIterator, LevelKeyIterator, LevelValueIterator } from './iterators.ts';
import {
  type BatchOperation,
  type BatchOptions,
  type ClearOptions,
  type DatabaseOptions,
  type DelOptions,
  engineOptions,
  type ExpiryOptions,
  expiryOf,
  highWaterMarkOf,
  type HighWaterOptions,
  type IteratorOptions,
  type KeyIteratorOptions,
  type OpenOptions,
  type PutOptions,
  type SyncOptions,
  type ValueIteratorOptions,
} from './options.ts';
import { type EncodedRange, isEmpty, keyRange } from './range.ts';
import { RangeReader } from './range-reader.ts';
import { LevelSnapshot, type SnapshotOptions, treeSnapshotOf } from './snapshot.ts';
import { Turns } from './turns.ts';

interface ReadOptions {
  readonly keyEncoding: Format;
  readonly valueEncoding: Format;
  readonly snapshot?: unknown;
}

interface EncodedIteratorOptions extends ReadOptions, EncodedRange, HighWaterOptions {
  readonly keys: boolean;
  readonly values: boolean;
  readonly signal?: AbortSignal | null;
}

type EncodedOperation =
  | ({ readonly type: 'put'; readonly key: Encoded; readonly value: Encoded } & ExpiryOptions)
  | { readonly type: 'del'; readonly key: Encoded };

const MANIFEST = {
  encodings: { buffer: true, utf8: true, view: true },
  seek: true,
  has: true,
  getSync: true,
  implicitSnapshots: true,
  explicitSnapshots: true,
  permanence: true,
  createIfMissing: true,
  errorIfExists: true,
  signals: { iterators: true },
  additionalMethods: { flush: true, compact: true, checkpoint: true, stats: true },
};

/** Types of what the options may be besides abstract-level's own: overloads only, nothing that a class would set. */
// oxlint-disable-next-line typescript/no-unsafe-declaration-merging -- each has its implementation in AbstractLevel
export interface CtlmeshLevel<KDefault, VDefault> {
  open(options?: OpenOptions): Promise<void>;
  put(key: KDefault, value: VDefault): Promise<void>;
  put<K = KDefault, V = VDefault>(key: K, value: V, options: PutOptions<K, V>): Promise<void>;
  del(key: KDefault): Promise<void>;
  del<K = KDefault>(key: K, options: DelOptions<K>): Promise<void>;
  batch(): AbstractChainedBatch<this, KDefault, VDefault>;
  batch(operations: BatchOperation<this, KDefault, VDefault>[]): Promise<void>;
  batch<K = KDefault, V = VDefault>(
    operations: BatchOperation<this, K, V>[],
    options: BatchOptions<K, V>,
  ): Promise<void>;
  clear(): Promise<void>;
  clear<K = KDefault>(options: ClearOptions<K>): Promise<void>;
  iterator(): LevelIterator<this, KDefault, VDefault>;
  iterator<K = KDefault, V = VDefault>(options: IteratorOptions<K, V>): LevelIterator<this, K, V>;
  keys(): LevelKeyIterator<this, KDefault>;
  keys<K = KDefault>(options: KeyIteratorOptions<K>): LevelKeyIterator<this, K>;
  values(): LevelValueIterator<this, KDefault, VDefault>;
  values<K = KDefault, V = VDefault>(options: ValueIteratorOptions<K, V>): LevelValueIterator<this, K, V>;
}

export class CtlmeshLevel<KDefault = string, VDefault = string> extends AbstractLevel<Encoded, KDefault, VDefault> {
  readonly #location: string;
  readonly #turns = new Turns();
  readonly #engineOptions: OpenOptions['engine'];
  #open: Engine | undefined;
  #isSynced = false;
  /** What `close()` waits for, besides what the engine itself does. */
  readonly #begun = new Set<Promise<unknown>>();

  /** `location` is a directory. It opens by itself, a moment later; what is called meanwhile waits. */
  constructor(location: string, options?: DatabaseOptions<KDefault, VDefault>) {
    if (typeof location !== 'string' || location === '') {
      throw new TypeError("The first argument 'location' must be a non-empty string");
    }
    // Not for the hooks, which are shown the other options: there are functions in it, and a disk.
    const { engine, ...rest } = options ?? {};
    super(MANIFEST, rest);
    this.#location = location;
    this.#engineOptions = engine;
  }

  get location(): string {
    return this.#location;
  }

  async _open(options: OpenOptions): Promise<void> {
    this.#isSynced = options.sync === true;
    try {
      this.#open = await openEngine(this.#location, engineOptions(options, this.#engineOptions));
    } catch (error) {
      throw levelError(error);
    }
  }

  async _close(): Promise<void> {
    await Promise.allSettled(this.#begun);
    try {
      await this.#open?.close();
    } catch (error) {
      throw levelError(error);
    }
    this.#open = undefined;
  }

  get #engine(): Engine {
    if (this.#open === undefined) throw new LevelError('LEVEL_DATABASE_NOT_OPEN', 'Database is not open');
    return this.#open;
  }

  /** Waits, so that `close()` does, and speaks level's words when it fails. */
  async #awaited(work: Promise<unknown>): Promise<void> {
    this.#begun.add(work);
    try {
      await work;
    } catch (error) {
      throw levelError(error);
    } finally {
      this.#begun.delete(work);
    }
  }

  // ── reading ───────────────────────────────────────────────────────────────────────────────────────────────

  _get(key: Encoded, options: ReadOptions): Encoded | undefined | Promise<Encoded | undefined> {
    const value = this.#bytes(key, options);
    const result = value === undefined ? undefined : fromBytes(value, options.valueEncoding);
    return this.#turns.spend(value?.length ?? 0) ? this.#afterTurn(result) : result;
  }

  _getSync(key: Encoded, options: ReadOptions): Encoded | undefined {
    const value = this.#bytes(key, options);
    return value === undefined ? undefined : fromBytes(value, options.valueEncoding);
  }

  async _getMany(keys: readonly Encoded[], options: ReadOptions): Promise<(Encoded | undefined)[]> {
    return this.#many(keys, options, (value) =>
      value === undefined ? undefined : fromBytes(value, options.valueEncoding),
    );
  }

  async _has(key: Encoded, options: ReadOptions): Promise<boolean> {
    const value = this.#bytes(key, options);
    return this.#turns.spend(0) ? this.#afterTurn(value !== undefined) : value !== undefined;
  }

  async _hasMany(keys: readonly Encoded[], options: ReadOptions): Promise<boolean[]> {
    return this.#many(keys, options, (value) => value !== undefined);
  }

  /** All in one turn: nothing becomes visible between two of them. */
  #many<T>(
    keys: readonly Encoded[],
    options: ReadOptions,
    resultOf: (value: Uint8Array | undefined) => T,
  ): T[] | Promise<T[]> {
    let isTurnDue = false;
    const results = keys.map((key) => {
      const value = this.#bytes(key, options);
      isTurnDue = this.#turns.spend(value?.length ?? 0);
      return resultOf(value);
    });
    return isTurnDue ? this.#afterTurn(results) : results;
  }

  #bytes(key: Encoded, { snapshot }: ReadOptions): Uint8Array | undefined {
    const engine = this.#engine;
    try {
      if (snapshot === undefined) return engine.getSync(lentKey(key));
      return engine.getSync(lentKey(key), { snapshot: treeSnapshotOf(snapshot) });
    } catch (error) {
      throw levelError(error);
    }
  }

  async #afterTurn<T>(result: T): Promise<T> {
    await this.#awaited(this.#turns.next());
    return result;
  }

  // ── writing ───────────────────────────────────────────────────────────────────────────────────────────────

  _put(key: Encoded, value: Encoded, options: SyncOptions & ExpiryOptions): Promise<void> {
    const engine = this.#engine;
    const expiryMs = expiryOf(options, engine.timeMs());
    return this.#awaited(engine.put(lentKey(key), lentValue(value), { sync: this.#syncOf(options), expiryMs }));
  }

  _del(key: Encoded, options: SyncOptions): Promise<void> {
    return this.#awaited(this.#engine.delete(lentKey(key), { sync: this.#syncOf(options) }));
  }

  async _batch(operations: readonly EncodedOperation[], options: SyncOptions): Promise<void> {
    const engine = this.#engine;
    const batch = engine.batch();
    const nowMs = engine.timeMs();
    try {
      for (const operation of operations) {
        if (operation.type === 'del') batch.delete(lentKey(operation.key));
        else batch.put(lentKey(operation.key), lentValue(operation.value), expiryOf(operation, nowMs));
      }
    } catch (error) {
      throw levelError(error);
    }
    await this.#awaited(engine.write(batch, { sync: this.#syncOf(options) }));
  }

  /** A whole range goes in one act. With a limit, or as of a snapshot, it goes entry by entry, in several batches. */
  async _clear(options: EncodedRange & SyncOptions & { readonly snapshot?: unknown }): Promise<void> {
    const engine = this.#engine;
    const range = keyRange(options);
    if (isEmpty(range)) return;
    const sync = this.#syncOf(options);
    const snapshot = treeSnapshotOf(options.snapshot);
    if (options.limit < 0 && snapshot === undefined) {
      await this.#awaited(engine.deleteRange(range.from ?? EMPTY, range.to, { sync }));
      return;
    }
    const { limit, reverse } = options;
    await this.#awaited(clearEntries(engine, { ...range, reverse, limit, snapshot, sync, turns: this.#turns }));
  }

  #syncOf({ sync }: SyncOptions): boolean {
    return sync ?? this.#isSynced;
  }

  // ── ranges ────────────────────────────────────────────────────────────────────────────────────────────────

  _iterator(options: EncodedIteratorOptions): LevelIterator<this, KDefault, VDefault> {
    const { keyEncoding, valueEncoding, keys, values } = options;
    const reader = this.#rangeReader<EncodedEntry>(
      options,
      ({ key, value }) => [
        keys ? fromBytes(key, keyEncoding) : undefined,
        values ? fromBytes(value, valueEncoding) : undefined,
      ],
      ({ key, value }) => (keys ? key.length : 0) + (values ? value.length : 0),
    );
    return new LevelIterator(this, asAbstract(options), reader);
  }

  _keys(options: EncodedIteratorOptions): LevelKeyIterator<this, KDefault> {
    const { keyEncoding } = options;
    const reader = this.#rangeReader<Encoded>(
      options,
      ({ key }) => fromBytes(key, keyEncoding),
      ({ key }) => key.length,
    );
    return new LevelKeyIterator(this, asAbstract(options), reader);
  }

  _values(options: EncodedIteratorOptions): LevelValueIterator<this, KDefault, VDefault> {
    const { valueEncoding } = options;
    const reader = this.#rangeReader<Encoded>(
      options,
      ({ value }) => fromBytes(value, valueEncoding),
      ({ value }) => value.length,
    );
    return new LevelValueIterator(this, asAbstract(options), reader);
  }

  #rangeReader<T>(
    options: EncodedIteratorOptions,
    itemOf: (entry: TreeEntry) => T,
    bytesOf: (entry: TreeEntry) => number,
  ): RangeReader<T> {
    const { limit, reverse } = options;
    const range = keyRange(options);
    const highWaterMarkBytes = highWaterMarkOf(options);
    try {
      return new RangeReader({
        cursor: this.#engine.cursor({ ...range, reverse, snapshot: treeSnapshotOf(options.snapshot) }),
        range,
        limit,
        signal: options.signal ?? undefined,
        highWaterMarkBytes,
        turns: this.#turns,
        itemOf,
        bytesOf,
      });
    } catch (error) {
      throw levelError(error);
    }
  }

  _snapshot(options: SnapshotOptions): LevelSnapshot {
    try {
      return new LevelSnapshot(options, this.#engine.snapshot());
    } catch (error) {
      throw levelError(error);
    }
  }

  // ── what abstract-level does not have ─────────────────────────────────────────────────────────────────────

  /** Writes the memtable to a table. */
  flush(): Promise<void> {
    return this.#whenOpen(() => this.#engine.flush());
  }

  /** Flushes, and merges all tables into the last level. */
  compact(): Promise<void> {
    return this.#whenOpen(() => this.#engine.compact());
  }

  /** A copy in `dir`, which must not exist, of everything visible now. LevelDB reads it too. */
  checkpoint(dir: string): Promise<void> {
    return this.#whenOpen(() => this.#engine.checkpoint(dir));
  }

  stats(): EngineStats {
    return this.#engine.stats();
  }

  async #whenOpen(work: () => Promise<void>): Promise<void> {
    if (this.status === 'opening') return this.deferAsync(() => this.#whenOpen(work));
    if (this.status !== 'open') throw new LevelError('LEVEL_DATABASE_NOT_OPEN', 'Database is not open');
    await this.#awaited(work());
  }
}

/** abstract-level encoded these options; its constructors, which get them back, are typed for what they were before. */
const asAbstract = (options: EncodedIteratorOptions): object => options;
