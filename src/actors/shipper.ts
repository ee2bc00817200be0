/**
 * Shipper: feeds the ledger to whoever reads on: watches and LDBs.
 *
 * Each subscription has a position and a credit in bytes. While it has credit and its position is in the
 * window, it gets whole records; without credit it gets nothing and costs nothing but its place. A reader that
 * fell out of the window is told: a watch ends with COMPACTED and the oldest revision, an LDB gets a snapshot
 * of the state at one revision and goes on from the next.
 *
 * What is on its way to readers is bounded for each by its credit and for all together (reader-budget.ts); the rest
 * waits in the ledger, as a number. A watch that waits for longer is told so, once, and goes on where it was. So a
 * slow reader costs bounded memory and never loses anything silently.
 *
 * On the put path: stop 9 of 9. From memtable; to the doors and, over them, to reflectors.
 */
import { unreachable } from '../core/base/assert.ts';
import { ByteWriter } from '../core/base/bytes.ts';
import { isStoreError, StoreError } from '../core/base/errors.ts';
import { plus, type Revision, toIndex } from '../core/base/position.ts';
import { encodeFilter, TableDirectory } from '../core/model/ledger-filter.ts';
import { LedgerWindow } from '../core/model/window.ts';
import { beginChecked, type BrokenSnapshot, endChecked, FRAME, PART } from '../core/wire/client.ts';
import { checksum } from '../engine/disk/checksum.ts';
import type { StateReader } from '../engine/state/state-reader.ts';
import { checkpointBefore } from './checkpoints.ts';
import { FilteredLedger } from './filtered-ledger.ts';
import { ReaderBudget } from './reader-budget.ts';
import { Shipment } from './shipment.ts';
import type { FromShipper, Subscribe, ToShipper } from './shipper-messages.ts';
import { type FeedWorld, SnapshotFeed } from './snapshot-feed.ts';
import { Spans } from './spans.ts';
import { writeWatched } from './watched.ts';

export interface ShipperWorld extends Omit<FeedWorld, 'read'> {
  readonly state: Pick<StateReader, 'scan' | 'readLedger'>;
  readonly applied: () => number;
  readonly cluster: string;
  readonly node: string;
  readonly windowBytes: number;
  readonly subscriptionsMax: number;
  /** The hash of the ledger at a checkpoint, while it is known. */
  readonly hashAt: (revision: number) => number | undefined;
  /** What may be on its way to all readers together. */
  readonly heldBytesMax: number;
  readonly post: (message: FromShipper) => void;
}

/** Bytes of one part, so that parts of several subscriptions take turns. */
const PART_BYTES = 128 * 1024;
/** A watch that saw nothing of interest for this many revisions still tells how far it is. */
const PROGRESS_EVERY = 1_000;
/** Looks in a row that find a reader held back before it is slow: the first may have come in the middle of a burst. */
const SLOW_AFTER_LOOKS = 2;

interface Subscription {
  readonly options: Subscribe;
  /** The next revision to send. */
  next: Revision;
  credit: number;
  toldProgress: Revision;
  /** Looks in a row that found it held back. */
  waited: number;
  snapshot: SnapshotFeed | undefined;
  /** What is to be begun: a whole one, or the rest of one that broke off. */
  owesSnapshot: 'whole' | BrokenSnapshot | undefined;
  readonly filtered: FilteredLedger | undefined;
  /** CRC of the last checked part. */
  check: number;
}

export class Shipper {
  readonly #world: ShipperWorld;
  readonly #shipment: Shipment;
  readonly #feedWorld: FeedWorld;
  readonly window: LedgerWindow;
  readonly #subs = new Map<number, Subscription>();
  readonly #budget: ReaderBudget;
  readonly #directory = new TableDirectory();
  /** Somebody was sent less than there was, because of what the node holds already. */
  #hasHeldBack = false;
  #slow = 0;
  /** Who is still to have a turn. */
  #round: Iterator<Subscription> | undefined;
  /** Until the shipment leaves. */
  readonly #spans = new Spans((from, bytesMax) => this.#read(from, bytesMax));
  /** Parts so far. */
  #sent = 0;
  /** Watches that ended because their position was no longer kept. */
  compacted = 0;

  constructor(world: ShipperWorld) {
    this.#world = world;
    this.#shipment = new Shipment(world.post);
    this.#feedWorld = { ...world, read: (from) => this.#read(from, PART_BYTES) };
    this.#budget = new ReaderBudget(world.heldBytesMax);
    this.window = new LedgerWindow(world.windowBytes);
  }

  get subscriptions(): number {
    return this.#subs.size;
  }

  /** Bytes on their way to readers. */
  get heldBytes(): number {
    return this.#budget.heldBytes;
  }

  /** Readers that the last look found held back, once again. */
  get slow(): number {
    return this.#slow;
  }

  /** New records from the memtable; `bytes` is kept. */
  append(bytes: Uint8Array): void {
    this.window.append(bytes);
  }

  receive(message: ToShipper): void {
    switch (message.kind) {
      case 'subscribe':
        this.#subscribe(message);
        break;
      case 'taken':
        for (const [reader, bytes] of message.taken) this.#budget.taken(reader, bytes);
        if (this.#hasHeldBack) this.pumpAll();
        break;
      case 'cancel':
        this.#remove(message.sub);
        break;
      case 'credit': {
        const sub = this.#subs.get(message.sub);
        if (sub === undefined) break;
        sub.credit += message.bytes;
        this.#pump(sub);
        break;
      }
      case 'sent':
        // For whoever paces the rounds (ledger-intake.ts).
        break;
      default:
        unreachable(message);
    }
    this.#leave();
  }

  /** Sends everybody what is there for them and they have credit for. */
  pumpAll(): void {
    this.#hasHeldBack = false;
    for (const sub of this.#subs.values()) this.#pump(sub);
    this.#leave();
  }

  /** The same in slices: everybody has one turn in a round. */
  beginRound(): void {
    this.#hasHeldBack = false;
    this.#round = this.#subs.values();
  }

  get isInRound(): boolean {
    return this.#round !== undefined;
  }

  /** Turns of a round, until there are so many parts. True: who gets them will say when they are `sent`. */
  pumpSlice(parts: number): boolean {
    const before = this.#sent;
    while (this.#sent - before < parts) {
      const next = this.#round?.next();
      if (next === undefined || next.done === true) {
        this.#round = undefined;
        break;
      }
      this.#pump(next.value);
    }
    if (this.#sent === before) return false;
    this.#leave(true);
    return true;
  }

  /** Twice a second: says where watches are that asked for it, and who is slow. */
  look(): void {
    this.#slow = 0;
    for (const sub of this.#subs.values()) {
      if (this.#isHeldBack(sub)) this.#lookAtSlow(sub);
      else {
        sub.waited = 0;
        if (sub.options.bookmarks && sub.credit > 0) this.#sendProgress(sub, plus(sub.next, -1));
      }
    }
    this.#leave();
  }

  /** There is more for it, and it is not sent. */
  #isHeldBack(sub: Subscription): boolean {
    const hasMore = sub.snapshot !== undefined || sub.next <= this.window.last;
    return hasMore && (sub.credit <= 0 || !this.#budget.mayHand(sub.options.reader));
  }

  #lookAtSlow(sub: Subscription): void {
    const { mode, tellSlow } = sub.options;
    if (mode === 'watch' && this.#isCompacted(sub)) {
      // It will never go on from here: told now, and not when it has room at last.
      this.#endCompacted(sub);
      return;
    }
    sub.waited++;
    if (sub.waited < SLOW_AFTER_LOOKS) return;
    this.#slow++;
    if (!tellSlow || sub.waited > SLOW_AFTER_LOOKS) return;
    // Beyond its credit: a few bytes, once until it goes on.
    this.#post(sub, (writer) => writer.u8(PART.behind).u64(plus(sub.next, -1)).u64(this.window.last));
  }

  #subscribe(options: Subscribe): void {
    if (this.#subs.size >= this.#world.subscriptionsMax) {
      const limit = this.#world.subscriptionsMax;
      this.#end(
        options.sub,
        new StoreError('OVERLOADED', `a node serves ${limit} watches and replicas`, { data: { limit } }),
      );
      return;
    }
    const next = toIndex(options.fromRevision);
    const sub: Subscription = {
      options,
      next,
      credit: options.creditBytes,
      toldProgress: plus(next, -1),
      waited: 0,
      snapshot: undefined,
      owesSnapshot: options.goOn ?? wholeIfWanted(options),
      filtered:
        options.filter &&
        new FilteredLedger(options.filter, this.#world.state, this.#directory, {
          fromStart: next === 1 && options.goOn === undefined,
        }),
      check: 0,
    };
    this.#subs.set(options.sub, sub);
    if (options.mode === 'ledger') {
      this.#post(sub, (writer) => {
        writer.u8(PART.hello).string(this.#world.cluster).string(this.#world.node);
        return options.filter === undefined ? writer : writer.raw(encodeFilter(options.filter));
      });
    } else if (!this.#isCompacted(sub)) {
      // The watch stands: everything from here on will be told.
      this.#sendProgress(sub, plus(next, -1));
    }
    this.#pump(sub);
  }

  #pump(sub: Subscription): void {
    try {
      this.#pumpOn(sub);
    } catch (error) {
      // A damaged table: the replica may be fed by another node.
      if (!isStoreError(error)) throw error;
      this.#end(sub.options.sub, error);
    }
  }

  #pumpOn(sub: Subscription): void {
    while (sub.credit > 0) {
      // Here only: below, a frame that was made for others may be in hand.
      if (this.#shipment.isFull) this.#leave();
      if (!this.#budget.mayHand(sub.options.reader)) {
        this.#hasHeldBack = true;
        return;
      }
      if (sub.snapshot !== undefined) {
        if (!this.#sendSnapshotPart(sub, sub.snapshot)) return;
        continue;
      }
      if (sub.owesSnapshot !== undefined) {
        if (!this.#beginOwed(sub, sub.owesSnapshot)) return;
        continue;
      }
      if (sub.next > this.window.last && sub.next > this.#world.applied()) return;
      const records = this.#spans.next(sub.next, Math.min(PART_BYTES, Math.max(sub.credit, 1)));
      if (records === undefined) {
        if (!this.#isCompacted(sub)) return;
        if (sub.options.mode === 'watch') {
          this.#endCompacted(sub);
          return;
        }
        if (!this.#beginSnapshot(sub)) return;
        continue;
      }
      if (sub.filtered !== undefined) {
        const rest = sub.filtered.sift(records.bytes);
        if (rest === undefined) {
          sub.owesSnapshot = 'whole';
          continue;
        }
        this.#postChecked(sub, (writer) => void writer.u8(PART.records).raw(rest));
      } else if (sub.options.mode === 'ledger') {
        if (sub.options.wantsHashes === true) this.#sendHash(sub, records.last);
        this.#send(sub, this.#spans.frame(sub.options.request));
      } else this.#sendWatched(sub, records.bytes, records.last);
      sub.next = plus(records.last, 1);
      sub.waited = 0;
    }
  }

  /** From the window, or from the tree, which keeps what has left it. */
  #read(from: Revision, bytesMax: number): { readonly bytes: Uint8Array; readonly last: Revision } | undefined {
    // What is kept is one thing, whether it is still in memory or not.
    if (this.#world.ledgerFrom() > from) return undefined;
    const records = this.window.read(from, bytesMax);
    if (records !== undefined) return records;
    // What is behind the window's end is on its way to it.
    const hasLeft = this.window.last === 0 || from < this.window.first;
    if (!hasLeft || from > this.#world.applied()) return undefined;
    return this.#world.state.readLedger(from);
  }

  /** Is what is wanted no longer kept? */
  #isCompacted(sub: Subscription): boolean {
    return sub.next < this.#world.ledgerFrom();
  }

  /** Before the records up to `last`: the newest hash that is noted of them. */
  #sendHash(sub: Subscription, last: Revision): void {
    const revision = checkpointBefore(last);
    const hash = revision < sub.next ? undefined : this.#world.hashAt(revision);
    if (hash === undefined) return;
    this.#post(sub, (writer) => writer.u8(PART.hash).u64(revision).u32(hash));
  }

  #sendWatched(sub: Subscription, bytes: Uint8Array, last: Revision): void {
    const writer = this.#frame(sub).u8(PART.records);
    if (writeWatched(writer, sub.options, bytes)) {
      this.#send(sub, writer.take());
      sub.toldProgress = last;
    }
    if (last - sub.toldProgress >= PROGRESS_EVERY) {
      this.#sendProgress(sub, last);
    }
  }

  #sendProgress(sub: Subscription, revision: Revision): void {
    this.#post(sub, (part) => part.u8(PART.progress).u64(revision));
    sub.toldProgress = revision;
  }

  #endCompacted(sub: Subscription): void {
    const oldestRevision = this.#world.ledgerFrom();
    this.compacted++;
    const message = `revision ${sub.next} is no longer kept; the oldest is ${oldestRevision}`;
    this.#end(sub.options.sub, new StoreError('COMPACTED', message, { data: { oldestRevision } }));
  }

  // ── snapshots ──

  /** False: it waits, for what is on its way here; or it was ended. */
  #beginOwed(sub: Subscription, owed: 'whole' | BrokenSnapshot): boolean {
    if (owed === 'whole') return this.#beginSnapshot(sub);
    if (owed.revision > this.#world.applied()) return false;
    if (this.#world.ledgerFrom() <= owed.revision + 1) return this.#beginSnapshot(sub, owed);
    // No records, no way from that state to this one: it gets what it would have got without.
    sub.owesSnapshot = wholeIfWanted(sub.options);
    return true;
  }

  /** False: there are too many at once; the reader is told to come again. */
  #beginSnapshot(sub: Subscription, goOn?: BrokenSnapshot): boolean {
    try {
      const isChecked = sub.options.wantsChecks === true;
      sub.snapshot = new SnapshotFeed(this.#feedWorld, { filtered: sub.filtered, goOn, isChecked });
    } catch (error) {
      if (!isStoreError(error, 'OVERLOADED')) throw error;
      this.#end(sub.options.sub, error);
      return false;
    }
    sub.owesSnapshot = undefined;
    sub.snapshot.begin((fill) => this.#postChecked(sub, fill));
    return true;
  }

  /** False: it waits for records that are on their way here. */
  #sendSnapshotPart(sub: Subscription, snapshot: SnapshotFeed): boolean {
    const step = snapshot.step((fill) => this.#postChecked(sub, fill));
    if (step === 'sent' || step === 'waits') return step === 'sent';
    snapshot.close();
    sub.snapshot = undefined;
    if (step === 'anew') sub.owesSnapshot = 'whole';
    else sub.next = plus(snapshot.revision, 1);
    return true;
  }

  // ── frames ──

  #frame(sub: Subscription): ByteWriter {
    return new ByteWriter(1024).u8(FRAME.stream).varint(sub.options.request);
  }

  #post(sub: Subscription, fill: (writer: ByteWriter) => ByteWriter): void {
    this.#send(sub, fill(this.#frame(sub)).take());
  }

  /** A part that its reader can check, if it asked for that. Nothing is sent when `fill` says false. */
  #postChecked(sub: Subscription, fill: (writer: ByteWriter) => boolean | void): void {
    const writer = this.#frame(sub);
    const isChecked = sub.options.wantsChecks === true;
    const at = isChecked ? beginChecked(writer) : 0;
    if (fill(writer) === false) return;
    if (isChecked) {
      sub.check = checksum(writer.view(), at, writer.length, sub.check);
      endChecked(writer, at, sub.check);
    }
    this.#send(sub, writer.take());
  }

  #send(sub: Subscription, frame: Uint8Array<ArrayBuffer>): void {
    const { sub: number, reader } = sub.options;
    sub.credit -= frame.length;
    this.#budget.handed(reader, frame.length);
    this.#sent++;
    this.#shipment.add(number, reader, frame);
  }

  /** What was sent leaves. The frames are gone with it. */
  #leave(endsSlice = false): void {
    this.#spans.clear();
    this.#shipment.leave(endsSlice);
  }

  /** Lets go of all cursors. */
  close(): void {
    for (const sub of [...this.#subs.keys()]) this.#remove(sub);
  }

  #remove(sub: number): void {
    this.#subs.get(sub)?.snapshot?.close();
    this.#subs.delete(sub);
  }

  #end(sub: number, error: StoreError): void {
    this.#remove(sub);
    // Behind what it was sent.
    this.#leave();
    const { code, message, data } = error;
    this.#shipment.end(sub, { code, message, data });
  }
}

const wholeIfWanted = ({ wantsSnapshot }: Subscribe): 'whole' | undefined =>
  wantsSnapshot === true ? 'whole' : undefined;
