/**
 * BlockCache: blocks of tables, in one ring of shared memory for all threads of the process.
 *
 *   header    words: 0 lock: who writes, 0 = nobody · 16 tail · 17 head · 32.. totals of 64 bits: hits, misses, puts, rejected
 *   slots     a word each: position of an entry + 1, or 0; buckets of eight
 *   tags      a byte per slot: part of the key's hash, so that few entries are looked at in vain
 *   touched   a byte per slot: read since it was put
 *   ring      entries, from the oldest (tail) to the newest (head), in units of 64 bytes; none goes over the end
 *   entry     words: 0 position · 1 bytes (-1: filler up to the end) · 2 3 file · 4 5 offset · 6 slot · 7 units; the block
 *
 * A position counts units since the start, modulo a multiple of the ring, so it says place and age at once. The ring
 * laps its positions after 64 GiB or more have been put.
 *
 * Writing needs the lock, which is only ever tried: who does not get it does not cache. Room is made at the tail: an
 * entry that was touched goes on to the head (a second chance, CLOCK), the others are gone. Then in this order: the
 * tail moves on, a fence, the bytes are overwritten, the slot is set.
 *
 * Reading: slot, entry, is it this file and offset, copy, a fence, and a look whether the tail has passed the
 * position. If it has, the copy may be of other bytes, and counts as a miss. (`lend` leaves out the copy: the look
 * at the tail is then the reader's, when it has what it wants. What a block means is the reader's too: those that are
 * lent are forms, see block-directory.ts.) A slot, a tag or an entry may hold
 * anything meanwhile; lengths are checked before they are used, and nothing else can do harm.
 *
 * (Turned down: frames of fixed size, which lose half of each for blocks that vary; pins on entries, two atomic writes
 * per read on lines that all threads share; putting a block again when it is read at the tail, which copies blocks
 * when there is no need of room.) Every step of a put leaves a whole ring behind, so the lock of a thread that died is
 * simply let go for it (`releaseOf`); until then reads go on and nothing is cached.
 *
 * Invariants: head - tail <= ring; a set slot names an entry between them; all of it lies in the bytes that were given.
 */
import { assert } from '../../../core/base/assert.ts';
import { fence } from '../shared/fence.ts';
import { OWNER_DEFAULT } from '../shared/pins.ts';
import { type CacheCounts, Counts } from './counts.ts';
import { HEADER_BYTES, layoutOf, memoryBytes, UNIT_BYTES } from './layout.ts';
import { Slab } from './slab.ts';

const LOCK = 0;
const TAIL = 16;
const HEAD = 17;

const POSITION = 0;
const BYTES = 1;
const FILE_LOW = 2;
const FILE_HIGH = 3;
const OFFSET_LOW = 4;
const OFFSET_HIGH = 5;
const SLOT = 6;
const UNITS = 7;
const ENTRY_BYTES = 32;

const FILLER = -1;
const WAYS = 8;
const TWO_32 = 0x1_0000_0000;

/** So many of the largest blocks fit in the ring. */
const BLOCKS_MIN = 8;
/** Second chances per put, so that none takes long. */
const CHANCES_MAX = 32;

export interface CacheStats extends CacheCounts {
  readonly capacityBytes: number;
  readonly usedBytes: number;
}

/** Memory for a cache that takes no more than `bytes`, all included; with less than 64 KiB it never holds a block. */
export function createBlockCache(bytes: number): SharedArrayBuffer {
  return new SharedArrayBuffer(memoryBytes(bytes));
}

export class BlockCache {
  readonly #words: Int32Array;
  readonly #doubles: Float64Array;
  readonly #memory: SharedArrayBuffer;
  readonly #slots: Int32Array;
  readonly #tags: Uint8Array;
  readonly #touched: Uint8Array;
  readonly #slotMask: number;
  readonly #ringAt: number;
  readonly #ringUnits: number;
  readonly #positions: number;
  readonly #blockBytesMax: number;
  readonly #slab = new Slab();
  /** For a block on its way from the tail to the head. */
  #moving = new Uint8Array(0);
  readonly #counts: Counts;

  readonly #owner: number;

  constructor(memory: SharedArrayBuffer, owner: number = OWNER_DEFAULT) {
    this.#owner = owner;
    const { slots, tagsAt, touchedAt, ringAt, ringUnits, positions } = layoutOf(memory.byteLength);
    this.#memory = memory;
    this.bytes = new Uint8Array(memory);
    this.#words = new Int32Array(memory);
    this.#doubles = new Float64Array(memory);
    this.#counts = new Counts(new BigInt64Array(memory, 0, HEADER_BYTES / 8));
    this.#slots = new Int32Array(memory, HEADER_BYTES, slots);
    this.#tags = new Uint8Array(memory, tagsAt, slots);
    this.#touched = new Uint8Array(memory, touchedAt, slots);
    this.#slotMask = slots - 1;
    this.#ringAt = ringAt;
    this.#ringUnits = ringUnits;
    this.#positions = positions;
    this.#blockBytesMax = Math.floor(ringUnits / BLOCKS_MIN) * UNIT_BYTES - ENTRY_BYTES;
  }

  /** The block, as a copy of the caller's own; undefined when it is not there. */
  get(fileNumber: number, offset: number): Uint8Array | undefined {
    this.#counts.next();
    if (this.#ringUnits === 0) return this.#miss();
    const position = this.#find(fileNumber, offset);
    if (position < 0) return this.#miss();
    const at = this.#wordAt(position);
    const block = this.#slab.copy(this.#doubles, (at * 4 + ENTRY_BYTES) / 8, this.#lentBytes);
    if (!this.isIntact(position)) return this.#miss();
    this.#counts.hits++;
    return block;
  }

  /**
   * Lends a block where it stands, in `bytes[lentAt, lentEnd)`, without a copy: for a short look, which counts only if
   * `isIntact` says so of its `lease` when all of it has been read. Until then it may be other bytes, or change under
   * the reader. False: it is not there.
   */
  lend(fileNumber: number, offset: number): boolean {
    this.#counts.next();
    const position = this.#ringUnits === 0 ? -1 : this.#find(fileNumber, offset);
    if (position < 0) {
      this.#counts.misses++;
      return false;
    }
    this.#lendAt(position);
    return true;
  }

  /** Lends it if it still stands where it was lent as `lease`, some time ago (-1: never): spares the search. */
  lendAgain(fileNumber: number, offset: number, lease: number): boolean {
    if (lease < 0 || !this.#isStill(lease, fileNumber, offset)) return false;
    this.#counts.next();
    this.#lendAt(lease);
    return true;
  }

  #lendAt(position: number): void {
    this.#counts.hits++;
    this.lease = position;
    this.lentAt = this.#wordAt(position) * 4 + ENTRY_BYTES;
    this.lentEnd = this.lentAt + this.#lentBytes;
  }

  /** Does the block still stand where it was lent some time ago? Spares the search; the look at the tail comes later. */
  #isStill(position: number, fileNumber: number, offset: number): boolean {
    if (position < 0) return false;
    const words = this.#words;
    const at = this.#wordAt(position);
    const bytes = words[at + BYTES] as number;
    if (!this.#isOf(at, position, fileNumber, offset) || bytes < 0 || bytes > this.#blockBytesMax) return false;
    this.#lentBytes = bytes;
    // Now and then is enough to be known as read, and what is read often is read then too.
    const slot = words[at + SLOT] as number;
    if ((this.#counts.uncounted & 7) === 0 && slot >= 0 && slot <= this.#slotMask) this.#touched[slot] = 1;
    return true;
  }

  /** All of the cache's memory. */
  readonly bytes: Uint8Array;
  /** Of the block that was lent last: its name, and where it stands. */
  lease = -1;
  lentAt = 0;
  lentEnd = 0;
  #lentBytes = 0;

  /** True when nothing of what was lent, or copied, has been overwritten yet. */
  isIntact(lease: number): boolean {
    fence();
    return this.#isLive(lease, Atomics.load(this.#words, TAIL));
  }

  /** The position of a block's entry, as far as can be seen without a lock; -1: it is not there. */
  #find(fileNumber: number, offset: number): number {
    const words = this.#words;
    const hash = hashOf(fileNumber, offset);
    const tag = hash & 0xff;
    const bucket = this.#bucketOf(hash);
    for (let slot = bucket; slot < bucket + WAYS; slot++) {
      if (this.#tags[slot] !== tag) continue;
      const position = Atomics.load(this.#slots, slot) - 1;
      if (position < 0) continue;
      const at = this.#wordAt(position);
      if (!this.#isOf(at, position, fileNumber, offset)) continue;
      const bytes = words[at + BYTES] as number;
      if (bytes < 0 || bytes > this.#blockBytesMax) continue;
      if (this.#touched[slot] === 0) this.#touched[slot] = 1;
      this.#lentBytes = bytes;
      return position;
    }
    return -1;
  }

  /** Offers a block: it is cached unless it is too large, or another thread is writing. */
  put(fileNumber: number, offset: number, bytes: Uint8Array): void {
    this.#offer(fileNumber, offset, bytes, false);
  }

  /** Offers other bytes for a block that may be there; where it stood they stay as they are until they go. */
  replace(fileNumber: number, offset: number, bytes: Uint8Array): void {
    this.#offer(fileNumber, offset, bytes, true);
  }

  #offer(fileNumber: number, offset: number, bytes: Uint8Array, isNew: boolean): void {
    assert(Number.isSafeInteger(fileNumber) && fileNumber >= 0, 'a file number is a safe integer');
    assert(Number.isSafeInteger(offset) && offset >= 0, 'an offset is a safe integer');
    if (this.#ringUnits === 0 || bytes.length > this.#blockBytesMax) return;
    this.#counts.next();
    if (Atomics.compareExchange(this.#words, LOCK, 0, this.#owner) !== 0) {
      this.#counts.rejected++;
      return;
    }
    try {
      this.#putLocked(fileNumber, offset, bytes, isNew);
    } finally {
      Atomics.store(this.#words, LOCK, 0);
    }
  }

  /** Lets go of the lock that `owner` held: its thread has ended. What it was putting is there, or is not. */
  releaseOf(owner: number): void {
    Atomics.compareExchange(this.#words, LOCK, owner, 0);
  }

  /** Totals over all threads; other threads' newest few hundred are not in them yet. */
  get stats(): CacheStats {
    const head = Atomics.load(this.#words, HEAD);
    return {
      capacityBytes: this.#ringUnits * UNIT_BYTES,
      usedBytes: this.#ringUnits === 0 ? 0 : this.#distance(Atomics.load(this.#words, TAIL), head) * UNIT_BYTES,
      ...this.#counts.totals(),
    };
  }

  /** Walks the ring and the slots; while nobody puts. */
  checkInvariants(): void {
    const words = this.#words;
    const entries = new Map<number, number>();
    const head = Atomics.load(words, HEAD);
    let position = Atomics.load(words, TAIL);
    for (let units = 0; position !== head; ) {
      const at = this.#wordAt(position);
      assert(words[at + POSITION] === position, 'an entry stands where it says');
      if (words[at + BYTES] !== FILLER) entries.set(position, words[at + SLOT] as number);
      const length = words[at + UNITS] as number;
      assert(length > 0 && (position % this.#ringUnits) + length <= this.#ringUnits, 'no entry goes over the end');
      units += length;
      assert(units <= this.#ringUnits, 'the entries are no more than the ring');
      position = (position + length) % this.#positions;
    }
    for (const [slot, word] of this.#slots.entries()) {
      if (word !== 0) assert(entries.get(word - 1) === slot, 'a set slot names an entry that names it');
    }
  }

  #putLocked(fileNumber: number, offset: number, bytes: Uint8Array, isNew: boolean): void {
    const hash = hashOf(fileNumber, offset);
    const bucket = this.#bucketOf(hash);
    for (let slot = bucket; slot < bucket + WAYS; slot++) {
      const position = (this.#slots[slot] as number) - 1;
      if (position < 0 || !this.#isOf(this.#wordAt(position), position, fileNumber, offset)) continue;
      // Two threads that missed the same block both read it: the first to come keeps it.
      if (!isNew) return;
      // No slot leads to it any more, and the tail will pass it by.
      Atomics.store(this.#slots, slot, 0);
    }
    this.#counts.puts++;
    this.#giveChances(unitsOf(bytes.length));
    const slot = this.#freeSlot(bucket);
    this.#tags[slot] = hash & 0xff;
    this.#touched[slot] = 0;
    this.#append(slot, fileNumber, offset, bytes);
  }

  /** Makes room at the tail as long as what was touched may go on to the head. */
  #giveChances(units: number): void {
    const words = this.#words;
    let chances = CHANCES_MAX;
    while (chances > 0 && this.#freeUnits() < this.#unitsWithFiller(units)) {
      const position = words[TAIL] as number;
      const at = this.#wordAt(position);
      const slot = words[at + SLOT] as number;
      const isTouched = words[at + BYTES] !== FILLER && this.#slots[slot] === position + 1 && this.#touched[slot] !== 0;
      if (!isTouched) {
        this.#dropOldest();
        continue;
      }
      chances--;
      const bytes = words[at + BYTES] as number;
      if (this.#moving.length < bytes) this.#moving = new Uint8Array(bytes * 2);
      const block = this.#moving.subarray(0, bytes);
      block.set(new Uint8Array(this.#memory, at * 4 + ENTRY_BYTES, bytes));
      const fileNumber = joined(words[at + FILE_LOW] as number, words[at + FILE_HIGH] as number);
      const offset = joined(words[at + OFFSET_LOW] as number, words[at + OFFSET_HIGH] as number);
      this.#touched[slot] = 0;
      this.#dropOldest();
      this.#append(slot, fileNumber, offset, block);
    }
  }

  /** Puts an entry at the head, dropping from the tail what is in its way, and sets its slot. */
  #append(slot: number, fileNumber: number, offset: number, block: Uint8Array): void {
    const words = this.#words;
    const units = unitsOf(block.length);
    const needed = this.#unitsWithFiller(units);
    while (this.#freeUnits() < needed) this.#dropOldest();
    // The tail is past what is overwritten before the first byte of it is.
    fence();
    let position = words[HEAD] as number;
    if (needed > units) {
      const at = this.#wordAt(position);
      words[at + POSITION] = position;
      words[at + BYTES] = FILLER;
      words[at + UNITS] = needed - units;
      position = (position + needed - units) % this.#positions;
    }
    const at = this.#wordAt(position);
    words[at + POSITION] = position;
    words[at + BYTES] = block.length;
    words[at + FILE_LOW] = fileNumber | 0;
    words[at + FILE_HIGH] = (fileNumber / TWO_32) | 0;
    words[at + OFFSET_LOW] = offset | 0;
    words[at + OFFSET_HIGH] = (offset / TWO_32) | 0;
    words[at + SLOT] = slot;
    words[at + UNITS] = units;
    new Uint8Array(this.#memory, at * 4 + ENTRY_BYTES, block.length).set(block);
    Atomics.store(words, HEAD, (position + units) % this.#positions);
    Atomics.store(this.#slots, slot, position + 1);
  }

  #dropOldest(): void {
    const words = this.#words;
    const position = words[TAIL] as number;
    assert(position !== words[HEAD], 'what is dropped is there');
    const at = this.#wordAt(position);
    assert(words[at + POSITION] === position, 'the tail stands at an entry');
    const slot = words[at + SLOT] as number;
    if (words[at + BYTES] !== FILLER && this.#slots[slot] === position + 1) Atomics.store(this.#slots, slot, 0);
    Atomics.store(words, TAIL, (position + (words[at + UNITS] as number)) % this.#positions);
  }

  /** A free slot of the bucket, or that of its oldest entry, one that was not touched before one that was. */
  #freeSlot(bucket: number): number {
    const head = this.#words[HEAD] as number;
    let oldest = bucket;
    let age = -1;
    for (let slot = bucket; slot < bucket + WAYS; slot++) {
      const position = (this.#slots[slot] as number) - 1;
      if (position < 0) return slot;
      const slotAge = this.#distance(position, head) + (this.#touched[slot] === 0 ? this.#ringUnits : 0);
      if (slotAge > age) {
        oldest = slot;
        age = slotAge;
      }
    }
    return oldest;
  }

  #isOf(at: number, position: number, fileNumber: number, offset: number): boolean {
    const words = this.#words;
    return (
      words[at + POSITION] === position &&
      words[at + FILE_LOW] === (fileNumber | 0) &&
      words[at + OFFSET_LOW] === (offset | 0) &&
      words[at + FILE_HIGH] === ((fileNumber / TWO_32) | 0) &&
      words[at + OFFSET_HIGH] === ((offset / TWO_32) | 0)
    );
  }

  #bucketOf(hash: number): number {
    return (hash >>> 8) & this.#slotMask & ~(WAYS - 1);
  }

  #wordAt(position: number): number {
    return (this.#ringAt + (position % this.#ringUnits) * UNIT_BYTES) / 4;
  }

  /** Units from one position on to another. */
  #distance(from: number, to: number): number {
    const distance = to - from;
    return distance < 0 ? distance + this.#positions : distance;
  }

  #isLive(position: number, tail: number): boolean {
    return this.#distance(tail, position) < this.#ringUnits;
  }

  #freeUnits(): number {
    return this.#ringUnits - this.#distance(this.#words[TAIL] as number, this.#words[HEAD] as number);
  }

  /** What an entry takes at the head: where it would go over the end, a filler comes before it. */
  #unitsWithFiller(units: number): number {
    const toEnd = this.#ringUnits - ((this.#words[HEAD] as number) % this.#ringUnits);
    return units > toEnd ? units + toEnd : units;
  }

  #miss(): undefined {
    this.#counts.misses++;
    return undefined;
  }
}

const unitsOf = (bytes: number): number => Math.ceil((ENTRY_BYTES + bytes) / UNIT_BYTES);
const joined = (low: number, high: number): number => high * TWO_32 + (low >>> 0);

/** Mixes all bits of both, so that low bits tell neighbours apart (murmur's last steps). */
function hashOf(fileNumber: number, offset: number): number {
  let hash = Math.imul(fileNumber | 0, 0x9e3779b1) ^ Math.imul((fileNumber / TWO_32) | 0, 0x27d4eb2f);
  hash = Math.imul(hash ^ (hash >>> 15), 0x85ebca6b) ^ (offset | 0) ^ Math.imul((offset / TWO_32) | 0, 0x165667b1);
  hash = Math.imul(hash ^ (hash >>> 16), 0x7feb352d);
  hash = Math.imul(hash ^ (hash >>> 15), 0x846ca68b);
  return hash ^ (hash >>> 16);
}
