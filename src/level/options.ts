/**
 * Options: what may be said to a CtlmeshLevel, and what the engine makes of it.
 *
 * classic-level's names for sizes are understood too, so that a program can change the database by changing an
 * import. What is given under `engine` counts before them.
 */
import type {
  AbstractBatchDelOperation,
  AbstractBatchOptions,
  AbstractBatchPutOperation,
  AbstractClearOptions,
  AbstractDatabaseOptions,
  AbstractDelOptions,
  AbstractIteratorOptions,
  AbstractKeyIteratorOptions,
  AbstractOpenOptions,
  AbstractPutOptions,
  AbstractValueIteratorOptions,
} from 'abstract-level';
import type { EngineOptions } from '../engine/store/index.ts';

/** classic-level's, by the same names and with the same meaning; the defaults are the engine's. */
export interface ClassicOptions {
  readonly compression?: boolean | undefined;
  readonly cacheSize?: number | undefined;
  readonly writeBufferSize?: number | undefined;
  readonly blockSize?: number | undefined;
  readonly maxOpenFiles?: number | undefined;
  readonly blockRestartInterval?: number | undefined;
  readonly maxFileSize?: number | undefined;
}

export interface SyncOptions {
  /** True: resolve when it is on the disk, safe from a power cut. Default false: safe from a crash of the process. */
  readonly sync?: boolean | undefined;
}

/** When a value is to be gone: after a time, or at a time. */
export interface ExpiryOptions {
  /** Milliseconds from now. */
  readonly ttlMs?: number | undefined;
  /** Milliseconds since 1970. */
  readonly expiryMs?: number | undefined;
}

export interface HighWaterOptions {
  /** Bytes that `nextv` gives at most, but for the last item, and that are read ahead of `next` (default 16 KiB). */
  readonly highWaterMarkBytes?: number | undefined;
}

/** `sync` here is the default of every write. */
export interface OpenOptions extends AbstractOpenOptions, ClassicOptions, SyncOptions {
  readonly engine?: Omit<EngineOptions, 'createIfMissing' | 'errorIfExists'> | undefined;
}

export interface DatabaseOptions<K, V> extends AbstractDatabaseOptions<K, V>, Omit<OpenOptions, 'passive'> {}
export interface PutOptions<K, V> extends AbstractPutOptions<K, V>, SyncOptions, ExpiryOptions {}
export interface DelOptions<K> extends AbstractDelOptions<K>, SyncOptions {}
/** Expiry here is the default of every put in the batch. */
export interface BatchOptions<K, V> extends AbstractBatchOptions<K, V>, SyncOptions, ExpiryOptions {}
export type BatchOperation<TDatabase, K, V> =
  | (AbstractBatchPutOperation<TDatabase, K, V> & ExpiryOptions)
  | AbstractBatchDelOperation<TDatabase, K>;
export interface ClearOptions<K> extends AbstractClearOptions<K>, SyncOptions {}
export interface IteratorOptions<K, V> extends AbstractIteratorOptions<K, V>, HighWaterOptions {}
export interface KeyIteratorOptions<K> extends AbstractKeyIteratorOptions<K>, HighWaterOptions {}
export interface ValueIteratorOptions<K, V> extends AbstractValueIteratorOptions<K, V>, HighWaterOptions {}

/** `constructed` was given to the constructor: it counts before the other names, and `open` counts before it. */
export function engineOptions(options: OpenOptions, constructed: OpenOptions['engine']): EngineOptions {
  const { compression, createIfMissing, errorIfExists } = options;
  const classic: Record<string, unknown> = {
    compression: compression === undefined ? undefined : compression ? 'snappy' : 'none',
    cacheBytes: options.cacheSize,
    memtableBytes: options.writeBufferSize,
    blockBytes: options.blockSize,
    openTablesMax: options.maxOpenFiles,
    restartInterval: options.blockRestartInterval,
    tableBytes: options.maxFileSize,
  };
  const given = Object.entries(classic).filter(([, value]) => value !== undefined);
  return {
    ...(Object.fromEntries(given) as EngineOptions),
    ...constructed,
    ...options.engine,
    createIfMissing: createIfMissing !== false,
    errorIfExists: errorIfExists === true,
  };
}

/** The clock at which a value goes; 0: never. */
export function expiryOf({ ttlMs, expiryMs }: ExpiryOptions, nowMs: number): number {
  if (ttlMs === undefined && expiryMs === undefined) return 0;
  if (ttlMs !== undefined && expiryMs !== undefined) throw new TypeError("Give 'ttlMs' or 'expiryMs', not both");
  const expiry = ttlMs === undefined ? (expiryMs as number) : nowMs + checkPositive('ttlMs', ttlMs);
  return checkPositive('expiryMs', expiry);
}

/** undefined: none was given. */
export function highWaterMarkOf({ highWaterMarkBytes }: HighWaterOptions): number | undefined {
  if (highWaterMarkBytes === undefined || highWaterMarkBytes >= 0) return highWaterMarkBytes;
  throw new TypeError("The 'highWaterMarkBytes' option must be 0 or more");
}

function checkPositive(name: string, value: number): number {
  if (Number.isFinite(value) && value > 0) return value;
  throw new TypeError(`The '${name}' option must be a positive number of milliseconds`);
}
