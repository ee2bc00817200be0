/**
 * Streams: ranges, watches and ledgers, each of which knows how to go on after the connection was lost.
 *
 * A stream remembers where it is in terms of the store (a revision, a key), never of a connection, so any node
 * can go on with it: a range reads the same revision from after its last key, a watch and a ledger from the
 * revision after the last one that was whole.
 */
import { ByteReader, type ByteWriter } from '../core/base/bytes.ts';
import { StoreError } from '../core/base/errors.ts';
import { plus, type Revision, toIndex } from '../core/base/position.ts';
import { decodeRecords } from '../core/model/ledger.ts';
import * as wire from '../core/wire/client.ts';
import { ClientEntry, ClientWatchEvent } from './entry.ts';
import { AsyncQueue, type QueueEvents } from './queue.ts';
import type { Entry, LedgerFrame, SnapshotEntry, WatchEvent } from './types.ts';

/** What a stream may have sent and not consumed. */
export const CREDIT_BYTES: number = 1024 * 1024;

/** One stream, as the client's connection handles it. */
export interface Stream {
  readonly kind: wire.RequestKind;
  /** Writes the request that (re)starts it where it is. */
  request(writer: ByteWriter): void;
  /** One part's payload (a view: copy what is kept). */
  part(payload: Uint8Array): void;
  /** The server ended it. `error`: why, if not because it is complete. */
  end(error: StoreError | undefined): void;
  /** False once the consumer left, or it is complete. */
  readonly isLive: boolean;
}

export class RangeStream implements Stream {
  readonly kind: wire.RequestKind = wire.REQUEST.range;
  readonly queue: AsyncQueue<Entry>;
  readonly #range: wire.RangeRequest;
  #revision = 0;
  #last: Uint8Array | undefined;
  #count = 0;

  constructor(range: Omit<wire.RangeRequest, 'creditBytes' | 'revision'>, events: QueueEvents) {
    this.#range = { ...range, revision: 0, creditBytes: CREDIT_BYTES };
    this.queue = new AsyncQueue(events);
  }

  get isLive(): boolean {
    return !this.queue.isEnded;
  }

  request(writer: ByteWriter): void {
    const { limit, reverse, from, to } = this.#range;
    const last = this.#last;
    wire.encodeRange(writer, {
      ...this.#range,
      revision: this.#revision,
      limit: limit === 0 ? 0 : limit - this.#count,
      from: last !== undefined && !reverse ? after(last) : from,
      to: last !== undefined && reverse ? last : to,
    });
  }

  part(payload: Uint8Array): void {
    const reader = new ByteReader(payload.slice());
    this.#revision = reader.u64();
    while (reader.left > 0) {
      const before = reader.at;
      const { key, value, revision, expiryMs } = wire.decodeEntry(reader);
      this.#last = key;
      this.#count++;
      this.queue.push(new ClientEntry(key, value, toIndex(revision), expiryMs), reader.at - before);
    }
    if (this.#range.limit !== 0 && this.#count >= this.#range.limit) this.queue.end();
  }

  end(error: StoreError | undefined): void {
    this.queue.end(error);
  }
}

/** The first key after `key`. */
function after(key: Uint8Array): Uint8Array {
  const next = new Uint8Array(key.length + 1);
  next.set(key);
  return next;
}

export class WatchStream implements Stream {
  readonly kind: wire.RequestKind = wire.REQUEST.watch;
  readonly queue: AsyncQueue<WatchEvent>;
  readonly #from: Uint8Array;
  readonly #to: Uint8Array;
  /** The next revision wanted; 0: whatever comes next. */
  #next: number;

  constructor(
    options: { readonly from: Uint8Array; readonly to: Uint8Array; readonly fromRevision: number },
    events: QueueEvents,
  ) {
    this.#from = options.from;
    this.#to = options.to;
    this.#next = options.fromRevision;
    this.queue = new AsyncQueue(events);
  }

  get isLive(): boolean {
    return !this.queue.isEnded;
  }

  request(writer: ByteWriter): void {
    wire.encodeWatch(writer, {
      fromRevision: this.#next,
      from: this.#from,
      to: this.#to,
      creditBytes: CREDIT_BYTES,
    });
  }

  part(payload: Uint8Array): void {
    const reader = new ByteReader(payload);
    const kind = reader.u8();
    if (kind === wire.PART.progress) {
      const revision = reader.u64();
      if (revision + 1 > this.#next) this.#next = revision + 1;
      return;
    }
    if (kind !== wire.PART.records) throw new StoreError('PROTOCOL_ERROR', `a watch has no part ${kind}`);
    for (const { revision, timeMs, changes } of decodeRecords(reader.raw(reader.left).slice())) {
      if (revision < this.#next) throw new StoreError('PROTOCOL_ERROR', `revision ${revision} came twice`);
      for (const [i, change] of changes.entries()) {
        const lastOfRevision = i === changes.length - 1;
        const bytes = change.key.length + change.value.length + 24;
        this.queue.push(new ClientWatchEvent(change, { revision, timeMs, lastOfRevision }), bytes);
      }
      this.#next = revision + 1;
    }
  }

  end(error: StoreError | undefined): void {
    this.queue.end(error);
  }
}

export class LedgerStream implements Stream {
  readonly kind: wire.RequestKind = wire.REQUEST.ledger;
  readonly queue: AsyncQueue<LedgerFrame>;
  #next: Revision;
  readonly #cluster: string;

  constructor(options: { readonly fromRevision: Revision; readonly cluster: string }, events: QueueEvents) {
    this.#next = options.fromRevision;
    this.#cluster = options.cluster;
    this.queue = new AsyncQueue(events);
  }

  get isLive(): boolean {
    return !this.queue.isEnded;
  }

  request(writer: ByteWriter): void {
    wire.encodeLedger(writer, { fromRevision: this.#next, cluster: this.#cluster, creditBytes: CREDIT_BYTES });
  }

  part(payload: Uint8Array): void {
    const reader = new ByteReader(payload);
    const kind = reader.u8();
    const bytes = payload.length;
    if (kind === wire.PART.hello) {
      this.queue.push({ kind: 'hello', cluster: reader.string(), node: reader.string() }, bytes);
    } else if (kind === wire.PART.records) {
      const records = reader.raw(reader.left).slice();
      this.#next = plus(lastRevision(records), 1);
      this.queue.push({ kind: 'records', bytes: records }, bytes);
    } else if (kind === wire.PART.snapshotBegin) {
      this.queue.push({ kind: 'snapshot-begin', revision: toIndex(reader.u64()), timeMs: reader.f64() }, bytes);
    } else if (kind === wire.PART.snapshotEntries) {
      const entries: SnapshotEntry[] = [];
      const copy = new ByteReader(reader.raw(reader.left).slice());
      while (copy.left > 0) {
        const entry = wire.decodeEntry(copy);
        entries.push({ ...entry, revision: toIndex(entry.revision) });
      }
      this.queue.push({ kind: 'snapshot-entries', entries }, bytes);
    } else if (kind === wire.PART.snapshotEnd) {
      const revision = toIndex(reader.u64());
      this.#next = plus(revision, 1);
      this.queue.push({ kind: 'snapshot-end', revision }, bytes);
    } else throw new StoreError('PROTOCOL_ERROR', `a ledger has no part ${kind}`);
  }

  end(error: StoreError | undefined): void {
    this.queue.end(error);
  }
}

/** Revision of the last of some whole records: steps over bodies, reads none. */
function lastRevision(records: Uint8Array): Revision {
  const reader = new ByteReader(records);
  let revision = 0;
  while (reader.left > 0) {
    revision = reader.u64();
    reader.f64();
    reader.raw(reader.u32());
  }
  return toIndex(revision);
}
