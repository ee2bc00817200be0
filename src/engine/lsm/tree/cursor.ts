/**
 * TreeCursor: live entries in key order at one revision, forward or backward, within bounds.
 *
 * It hides what the tree is made of: of a key's versions it gives the newest that is not newer than its revision, and
 * nothing for a tombstone or a value that has expired.
 *
 * A cursor keeps its revision readable (a snapshot) for as long as it lives, but files and memtables only while it is
 * used: at the end of the turn it lets go of them (`suspend`), and places itself again behind the last key when it
 * is asked for more. So a reader that pauses for an hour holds up neither a file's removal nor a memtable's reuse.
 */
import { envelopeExpiryMs, envelopeValueStart } from '../sstable/envelope.ts';
import { makeInternalKey, revisionOf, SEEK_TYPE, TYPE_TOMBSTONE, typeOf } from '../sstable/keys.ts';
import { StoreError } from '../../../core/base/errors.ts';
import { copyOut } from '../copy.ts';
import { compareBytes } from '../../../core/base/bytes.ts';
import type { MergeCursor } from './merge.ts';

export interface TreeEntry {
  /** Copies, in memory of their own. */
  readonly key: Uint8Array;
  readonly value: Uint8Array;
  readonly revision: number;
  /** 0: never. */
  readonly expiryMs: number;
}

export interface CursorBounds {
  /** Inclusive; undefined: from the beginning. */
  readonly from?: Uint8Array | undefined;
  /** Exclusive; undefined: to the end. */
  readonly to?: Uint8Array | undefined;
  readonly reverse?: boolean | undefined;
}

/** What a cursor needs of the reader that made it. */
export interface CursorWorld {
  /** Sources of the current version, pinned until `release`. */
  readonly acquire: (bounds: CursorBounds) => { readonly merge: MergeCursor; release(): void };
  /** The cursor is in use in this turn: it is to be suspended at its end. */
  readonly used: (cursor: TreeCursor) => void;
  /** Lets go of the snapshot. */
  readonly closed: (cursor: TreeCursor) => void;
}

/** Behind every version of a key: no write has revision 0. */
const LAST_REVISION = 0;
const NONE: Uint8Array = new Uint8Array(0);

export class TreeCursor {
  readonly revision: number;
  readonly #world: CursorWorld;
  readonly #bounds: CursorBounds;
  readonly #reverse: boolean;
  /** Values that expire at or before it are gone; 0: none are. */
  readonly #nowMs: number;
  #held: { readonly merge: MergeCursor; release(): void } | undefined;
  /** The last user key that was given or passed over; where to go on. */
  #last: Uint8Array = new Uint8Array(64);
  /** -1: not begun. */
  #lastLength = -1;
  /** Where to begin, when it is not at the bound. */
  #seekTo: Uint8Array | undefined;
  #isEnded = false;
  #isClosed = false;

  constructor(world: CursorWorld, bounds: CursorBounds, { revision, nowMs }: { revision: number; nowMs: number }) {
    this.#world = world;
    this.#bounds = bounds;
    this.#reverse = bounds.reverse === true;
    this.revision = revision;
    this.#nowMs = nowMs;
  }

  /** The next entry, or undefined at the end (and from then on). */
  next(): TreeEntry | undefined {
    if (this.#isClosed) throw new StoreError('CLOSED', 'the cursor is closed');
    if (this.#isEnded) return undefined;
    const merge = this.#place();
    const entry = this.#reverse ? this.#backward(merge) : this.#forward(merge);
    if (entry === undefined) {
      this.#isEnded = true;
      this.suspend();
    }
    return entry;
  }

  /**
   * Goes to `key`, within the bounds: the next entry is the first at or after it (of a reverse cursor, the first at or
   * before it).
   */
  seek(key: Uint8Array): void {
    if (this.#isClosed) throw new StoreError('CLOSED', 'the cursor is closed');
    this.#seekTo = key.slice();
    this.#lastLength = -1;
    this.#isEnded = false;
    this.suspend();
  }

  /** Lets go of files and memtables until the next use. */
  suspend(): void {
    this.#held?.release();
    this.#held = undefined;
  }

  /** May be called twice. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.suspend();
    this.#world.closed(this);
  }

  #place(): MergeCursor {
    if (this.#held !== undefined) return this.#held.merge;
    this.#held = this.#world.acquire(this.#bounds);
    this.#world.used(this);
    const { merge } = this.#held;
    if (this.#reverse) this.#placeBackward(merge);
    else this.#placeForward(merge);
    return merge;
  }

  #placeForward(merge: MergeCursor): void {
    const { from } = this.#bounds;
    let start = this.#seekTo ?? from;
    let revision: number = Number.MAX_SAFE_INTEGER;
    if (this.#lastLength >= 0) {
      start = this.#last.subarray(0, this.#lastLength);
      revision = LAST_REVISION;
    } else if (start !== undefined && from !== undefined && compareBytes(start, from) < 0) start = from;
    if (start === undefined) merge.first();
    else seek(merge, start, revision);
  }

  #placeBackward(merge: MergeCursor): void {
    const { to } = this.#bounds;
    // Before every version of the key: the key itself is not wanted.
    if (this.#lastLength >= 0) seekBefore(merge, this.#last.subarray(0, this.#lastLength), Number.MAX_SAFE_INTEGER);
    else if (this.#seekTo !== undefined && (to === undefined || compareBytes(this.#seekTo, to) < 0)) {
      seekBefore(merge, this.#seekTo, LAST_REVISION);
    } else if (to === undefined) merge.last();
    else seekBefore(merge, to, Number.MAX_SAFE_INTEGER);
  }

  #forward(merge: MergeCursor): TreeEntry | undefined {
    const { to } = this.#bounds;
    for (; merge.valid; merge.next()) {
      const { key, keyLength } = merge;
      const revision = revisionOf(key, keyLength);
      if (revision > this.revision || this.#isLast(key, keyLength - 8)) continue;
      if (to !== undefined && compareUser(key, keyLength - 8, to) >= 0) return undefined;
      this.#setLast(key, keyLength - 8);
      if (typeOf(key, keyLength) === TYPE_TOMBSTONE) continue;
      const { top } = merge;
      const { block, valueStart, valueEnd } = top;
      const expiryMs = envelopeExpiryMs(block, valueStart, valueEnd);
      if (expiryMs !== 0 && expiryMs <= this.#nowMs) continue;
      const value = copyOut(block, valueAt(block, valueStart, valueEnd), valueEnd);
      return { key: copyOut(key, 0, keyLength - 8), value, revision, expiryMs };
    }
    return undefined;
  }

  /** Backward, a key's versions come oldest first: the last that is not too new counts. */
  #backward(merge: MergeCursor): TreeEntry | undefined {
    const { from } = this.#bounds;
    while (merge.valid) {
      if (from !== undefined && compareUser(merge.key, merge.keyLength - 8, from) < 0) return undefined;
      this.#setLast(merge.key, merge.keyLength - 8);
      let isThere = false;
      let revision = -1;
      let expiryMs = 0;
      let value = NONE;
      for (; merge.valid && this.#isLast(merge.key, merge.keyLength - 8); merge.prev()) {
        const { key, keyLength } = merge;
        const version = revisionOf(key, keyLength);
        if (version > this.revision) continue;
        revision = version;
        isThere = typeOf(key, keyLength) !== TYPE_TOMBSTONE;
        if (!isThere) continue;
        const { block, valueStart, valueEnd } = merge.top;
        expiryMs = envelopeExpiryMs(block, valueStart, valueEnd);
        value = copyOut(block, valueAt(block, valueStart, valueEnd), valueEnd);
      }
      if (!isThere || (expiryMs !== 0 && expiryMs <= this.#nowMs)) continue;
      return { key: copyOut(this.#last, 0, this.#lastLength), value, revision, expiryMs };
    }
    return undefined;
  }

  #isLast(key: Uint8Array, length: number): boolean {
    if (length !== this.#lastLength) return false;
    const last = this.#last;
    // From the end: neighbours share their beginnings.
    for (let i = length - 1; i >= 0; i--) if (last[i] !== key[i]) return false;
    return true;
  }

  #setLast(key: Uint8Array, length: number): void {
    if (length > this.#last.length) this.#last = new Uint8Array(length * 2);
    const last = this.#last;
    for (let i = 0; i < length; i++) last[i] = key[i] as number;
    this.#lastLength = length;
  }
}

export const unknownEnvelope = (): StoreError =>
  new StoreError('TABLE_CORRUPT', 'a stored value has flags that this version does not know');

/** Where the value begins in its envelope; throws TABLE_CORRUPT when that cannot be known. */
function valueAt(stored: Uint8Array, start: number, end: number): number {
  const at = envelopeValueStart(stored, start, end);
  if (at < 0) throw unknownEnvelope();
  return at;
}

function seek(merge: MergeCursor, user: Uint8Array, revision: number): void {
  const key = makeInternalKey(user, revision, SEEK_TYPE);
  merge.seek(key, key.length);
}

function seekBefore(merge: MergeCursor, user: Uint8Array, revision: number): void {
  const key = makeInternalKey(user, revision, SEEK_TYPE);
  merge.seekBefore(key, key.length);
}

function compareUser(key: Uint8Array, length: number, other: Uint8Array): number {
  const shared = length < other.length ? length : other.length;
  for (let i = 0; i < shared; i++) {
    const difference = (key[i] as number) - (other[i] as number);
    if (difference !== 0) return difference;
  }
  return length - other.length;
}
