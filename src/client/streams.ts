/**
 * Streams: ranges, watches and ledgers, each of which knows how to go on after the connection was lost.
 *
 * A stream remembers where it is in terms of the store (a revision, a key), never of a connection, so any node
 * can go on with it: a range reads the same revision from after its last key, a watch and a ledger from the
 * revision after the last one that was whole.
 */
import { ByteReader, ByteWriter } from '../core/base/bytes.ts';
import { isStoreError, StoreError } from '../core/base/errors.ts';
import { plus, type Revision, toIndex } from '../core/base/position.ts';
import { decodeRecords } from '../core/model/ledger.ts';
import { decodeFilter } from '../core/model/ledger-filter.ts';
import * as wire from '../core/wire/client.ts';
import { encodeReport } from '../core/wire/fleet.ts';
import { ClientBookmark, ClientEntry, ClientWatchEvent } from './entry.ts';
import { AsyncQueue, type QueueEvents } from './queue.ts';
import type {
  BrokenSnapshot,
  Entry,
  LedgerFrame,
  LedgerOptions,
  SlowWatch,
  SnapshotEntry,
  WatchBookmark,
  WatchEvent,
} from './types.ts';

/** One stream, as the client's connection handles it. */
export interface Stream {
  readonly kind: wire.RequestKind;
  /** Writes the request that (re)starts it where it is. */
  request(writer: ByteWriter, creditBytes: number): void;
  /** It was (re)started: what it says of itself goes this way, and is lost once the connection is. */
  attached?(send: (body: ByteWriter) => void): void;
  /** One part's payload (a view: copy what is kept), and what its frame cost of the credit. */
  part(payload: Uint8Array, frameBytes: number): void;
  /** Received and not yet consumed. */
  readonly heldBytes: number;
  /** The server ended it. `error`: why, if not because it is complete. */
  end(error: StoreError | undefined): void;
  /** False once the consumer left, or it is complete. */
  readonly isLive: boolean;
}

export class RangeStream implements Stream {
  readonly kind: wire.RequestKind = wire.REQUEST.range;
  readonly queue: AsyncQueue<Entry>;
  readonly #range: Omit<wire.RangeRequest, 'creditBytes'>;
  /** As asked, or that of the first part: a range is one state, wherever it goes on. */
  #revision: number;
  #last: Uint8Array | undefined;
  #count = 0;

  constructor(range: Omit<wire.RangeRequest, 'creditBytes'>, events: QueueEvents) {
    this.#range = range;
    this.#revision = range.revision;
    this.queue = new AsyncQueue(events);
  }

  get isLive(): boolean {
    return !this.queue.isEnded;
  }

  get heldBytes(): number {
    return this.queue.heldBytes;
  }

  request(writer: ByteWriter, creditBytes: number): void {
    const { limit, reverse, from, to } = this.#range;
    const last = this.#last;
    wire.encodeRange(writer, {
      ...this.#range,
      creditBytes,
      revision: this.#revision,
      limit: limit === 0 ? 0 : limit - this.#count,
      from: last !== undefined && !reverse ? after(last) : from,
      to: last !== undefined && reverse ? last : to,
    });
  }

  part(payload: Uint8Array, frameBytes: number): void {
    const reader = new ByteReader(payload.slice());
    this.#revision = reader.u64();
    const entries: Entry[] = [];
    while (reader.left > 0) {
      const { key, value, revision, expiryMs } = wire.decodeEntry(reader);
      entries.push(new ClientEntry(key, value, toIndex(revision), expiryMs));
    }
    this.#last = entries.at(-1)?.key ?? this.#last;
    this.#count += entries.length;
    this.queue.push(entries, frameBytes);
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

export interface WatchWishes {
  readonly from: Uint8Array;
  readonly to: Uint8Array;
  readonly fromRevision: number;
  readonly bookmarks: boolean;
  readonly onSlow: ((news: SlowWatch) => void) | undefined;
}

export class WatchStream implements Stream {
  readonly kind: wire.RequestKind = wire.REQUEST.watch;
  readonly queue: AsyncQueue<WatchEvent | WatchBookmark>;
  readonly #wishes: WatchWishes;
  /** The next revision wanted; 0: whatever comes next. */
  #next: number;

  constructor(wishes: WatchWishes, events: QueueEvents) {
    this.#wishes = wishes;
    this.#next = wishes.fromRevision;
    this.queue = new AsyncQueue(events);
  }

  get isLive(): boolean {
    return !this.queue.isEnded;
  }

  get heldBytes(): number {
    return this.queue.heldBytes;
  }

  request(writer: ByteWriter, creditBytes: number): void {
    const { from, to, bookmarks, onSlow } = this.#wishes;
    const tellSlow = onSlow !== undefined;
    wire.encodeWatch(writer, { fromRevision: this.#next, from, to, creditBytes, bookmarks, tellSlow });
  }

  part(payload: Uint8Array, frameBytes: number): void {
    const reader = new ByteReader(payload);
    const kind = reader.u8();
    const events: (WatchEvent | WatchBookmark)[] = [];
    if (kind === wire.PART.progress) {
      const revision = toIndex(reader.u64());
      if (revision + 1 > this.#next) this.#next = revision + 1;
      if (this.#wishes.bookmarks) events.push(new ClientBookmark(revision));
      this.queue.push(events, frameBytes);
      return;
    }
    if (kind === wire.PART.behind) {
      this.queue.push(events, frameBytes);
      this.#tellSlow(toIndex(reader.u64()), toIndex(reader.u64()));
      return;
    }
    if (kind !== wire.PART.records) throw new StoreError('PROTOCOL_ERROR', `a watch has no part ${kind}`);
    for (const { revision, timeMs, changes } of decodeRecords(reader.raw(reader.left).slice())) {
      if (revision < this.#next) throw new StoreError('PROTOCOL_ERROR', `revision ${revision} came twice`);
      for (const [i, change] of changes.entries()) {
        const lastOfRevision = i === changes.length - 1;
        events.push(new ClientWatchEvent(change, { revision, timeMs, lastOfRevision }));
      }
      this.#next = revision + 1;
    }
    this.queue.push(events, frameBytes);
  }

  /** In a turn of its own: what the caller throws is the caller's, and does not end the connection. */
  #tellSlow(revision: Revision, newestRevision: Revision): void {
    const { onSlow } = this.#wishes;
    const news = { revision, newestRevision, behind: newestRevision - revision };
    if (onSlow !== undefined) queueMicrotask(() => onSlow(news));
  }

  end(error: StoreError | undefined): void {
    this.queue.end(error);
  }
}

export type LedgerWishes = Omit<LedgerOptions, 'signal'>;

export class LedgerStream implements Stream {
  readonly kind: wire.RequestKind = wire.REQUEST.ledger;
  readonly queue: AsyncQueue<LedgerFrame>;
  readonly #wishes: LedgerWishes;
  #next: Revision;
  #owesSnapshot: boolean;
  /** Of the last checked part since the last hello. */
  #check = 0;
  /** How far a snapshot is that has not ended: all that came before a new hello is consumed before it. */
  #broken: BrokenSnapshot | undefined;
  /** Of the snapshot that is under way. */
  #revision: Revision | undefined;

  constructor(wishes: LedgerWishes, events: QueueEvents) {
    this.#wishes = wishes;
    this.#next = wishes.fromRevision;
    this.#owesSnapshot = wishes.wantsSnapshot ?? false;
    this.#broken = wishes.goOn?.from;
    this.queue = new AsyncQueue(events);
  }

  get isLive(): boolean {
    return !this.queue.isEnded;
  }

  get heldBytes(): number {
    return this.queue.heldBytes;
  }

  request(writer: ByteWriter, creditBytes: number): void {
    const { cluster, token, filter, wantsHashes, relay, replica } = this.#wishes;
    const wantsSnapshot = this.#owesSnapshot;
    const fromRevision = this.#next;
    const ldb = replica && { identity: replica.identity, streamMs: Date.now() };
    const wishes = { token, filter, wantsSnapshot, wantsHashes, wantsChecks: true, relay, ldb, goOn: this.#broken };
    wire.encodeLedger(writer, { fromRevision, cluster, creditBytes, ...wishes });
  }

  attached(send: (body: ByteWriter) => void): void {
    this.#wishes.replica?.attached((report) => {
      const body = new ByteWriter(32);
      encodeReport(body, report);
      send(body);
    });
  }

  part(payload: Uint8Array, frameBytes: number): void {
    if (payload[0] === wire.PART.asked) {
      this.#wishes.replica?.asked(new ByteReader(payload, 1).u64());
      this.queue.push([], frameBytes);
      return;
    }
    try {
      this.queue.push([this.#decode(payload)], frameBytes);
    } catch (error) {
      // The connection is as good as any; the stream is not, and whoever reads it says what becomes of it.
      if (!isStoreError(error, 'LEDGER_DAMAGED')) throw error;
      this.queue.end(error);
    }
  }

  #decode(payload: Uint8Array): LedgerFrame {
    if (payload[0] === wire.PART.checked) {
      const { check, part } = wire.openChecked(payload, this.#check);
      this.#check = check;
      return this.#noted(this.#decode(part));
    }
    const reader = new ByteReader(payload);
    const kind = reader.u8();
    if (kind === wire.PART.hello) {
      this.#check = 0;
      this.#revision = undefined;
      const [cluster, node] = [reader.string(), reader.string()];
      return { kind: 'hello', cluster, node, filter: reader.left === 0 ? undefined : decodeFilter(reader) };
    }
    if (kind === wire.PART.hash) return { kind: 'hash', revision: toIndex(reader.u64()), hash: reader.u32() };
    if (kind === wire.PART.path) return { kind: 'path', path: wire.decodePath(reader) };
    if (kind === wire.PART.records) {
      const bytes = reader.raw(reader.left).slice();
      // Inside a snapshot they are for the rows that it goes on with.
      if (this.#revision === undefined) {
        this.#next = plus(lastRevision(bytes), 1);
        this.#broken = undefined;
      }
      return { kind: 'records', bytes };
    }
    if (kind === wire.PART.snapshotBegin) {
      const [revision, timeMs] = [toIndex(reader.u64()), reader.f64()];
      this.#revision = revision;
      const about = reader.left === 0 ? 0 : reader.u64();
      const begin = { kind: 'snapshot-begin' as const, revision, timeMs, ...(about === 0 ? {} : { about }) };
      if (reader.left === 0) {
        this.#broken = undefined;
        return begin;
      }
      return { ...begin, goesOn: { revision: toIndex(reader.u64()), after: reader.blob().slice() } };
    }
    if (kind === wire.PART.snapshotEntries) {
      const entries: SnapshotEntry[] = [];
      const copy = new ByteReader(reader.raw(reader.left).slice());
      while (copy.left > 0) {
        const entry = wire.decodeEntry(copy);
        entries.push({ ...entry, revision: toIndex(entry.revision) });
      }
      return { kind: 'snapshot-entries', entries };
    }
    if (kind !== wire.PART.snapshotEnd) throw new StoreError('PROTOCOL_ERROR', `a ledger has no part ${kind}`);
    const revision = toIndex(reader.u64());
    this.#next = plus(revision, 1);
    this.#owesSnapshot = false;
    this.#revision = undefined;
    this.#broken = undefined;
    return { kind: 'snapshot-end', revision, ...(reader.left === 0 ? {} : { rows: reader.u64() }) };
  }

  /** Only in checked parts: older nodes send them otherwise, and rows in another order. */
  #noted(frame: LedgerFrame): LedgerFrame {
    if (this.#wishes.goOn === undefined || this.#revision === undefined) return frame;
    if (frame.kind === 'snapshot-entries') {
      const last = frame.entries.at(-1);
      if (last !== undefined) this.#broken = { revision: this.#revision, after: last.key };
    } else if (frame.kind === 'records' && this.#broken !== undefined) {
      this.#broken = { ...this.#broken, revision: lastRevision(frame.bytes) };
    }
    return frame;
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
