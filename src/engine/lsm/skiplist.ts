/**
 * Skiplist: sorted keys with their versions, in one SharedArrayBuffer. One thread writes; any thread reads,
 * without a message, a lock or a copy.
 *
 *   words     0 next free word · 1 levels in use · 2 versions · 3 live keys · 4..15 head tower · 16 index is full
 *             17.. index: a hash table of keys (open addressing, a power of two of slots): 0 = free, or the key's place
 *                  in as many low bits as places need, and above them bits of its hash
 *   key       0 prefix     first four key bytes, big-endian, sign bit flipped: most comparisons end here
 *             1 key length (16 bits) | height << 16
 *             2 newest version
 *             3.. tower: the next key at each level; then the key's bytes, padded to a word
 *   version   0 1 revision, low and high word
 *             2 3 expiry in ms, low and high word (0: none)
 *             4 value length (30 bits) | kind << 30
 *             5 the version before it, or 0
 *             6.. the value's bytes, padded to a word
 *
 *   levels ──▶ key "a" ────────────────▶ key "c"         a reader at revision R takes the first version
 *                │ newest                                 of the chain that is not newer than R
 *                ▼
 *              rev 9 ──▶ rev 4 ──▶ 0
 *
 * The index answers point reads and overwrites with one probe; the list is searched only for a new key and for
 * the start of a range. (Versions as list nodes of their own were simpler, and made each overwrite a search
 * that grew with its history: 56 % of the memtable thread.) An index that has no room for a key goes without it;
 * what is not found in it is then searched for.
 *
 * Publication: a key or version is filled with plain stores and then linked (towers bottom-up) with
 * Atomics.store; a reader that follows a link therefore finds a whole one. Readers choose their revision first
 * and pass over newer versions.
 *
 * Invariants:
 *  - nothing is freed, and nothing but links is changed once linked: what was seen stays valid for as long as
 *    the buffer is held;
 *  - level 0 holds every key; a key of height h is in levels 0..h-1; a chain's revisions never rise;
 *  - the same calls in the same order give the same list (heights come from a counter, not from chance);
 *  - zeroed header words and index are an empty list. So no reader ever begins an arena, and `reset` makes one new
 *    without a look at its nodes. It breaks what readers hold: the owner of the arenas knows when nobody reads.
 */
import { assert } from '../../core/base/assert.ts';
import { copyOut } from './copy.ts';
import { hashKey, prefixOf } from './key-hash.ts';

const MAX_HEIGHT = 12;
const FREE = 0;
const LEVELS = 1;
const VERSIONS = 2;
const LIVE = 3;
const HEAD = 4;
const INDEX_FULL = HEAD + MAX_HEIGHT;
const INDEX = INDEX_FULL + 1;

const PREFIX = 0;
const SHAPE = 1;
const NEWEST = 2;
const TOWER = 3;

const REV_LOW = 0;
const REV_HIGH = 1;
const EXPIRY_LOW = 2;
const EXPIRY_HIGH = 3;
const VALUE = 4;
const OLDER = 5;
const VALUE_AT = 6;

const TWO_32 = 0x1_0000_0000;
const KEY_BYTES_MAX = 0xffff;
const VALUE_BYTES_MAX = 0x3fff_ffff;
const KIND_SHIFT = 30;

const HEIGHT_SEED = 0x9e3779b9;

/** One slot per this many bytes of arena: fuller than three quarters only with many tiny keys. */
const BYTES_PER_SLOT = 64;

/**
 * Slots looked at for one key. A key that finds no room in them stays out of the index: keys may be chosen to
 * collide, and then cost a search each, not a walk over all of them.
 */
const PROBES_MAX = 64;

/** A key by its word offset; 0 is "none". */
export type NodeRef = number;
/** A version by its word offset; 0 is "none". */
export type VersionRef = number;

export const KIND_TOMBSTONE = 0;
export const KIND_PUT = 1;

export class Skiplist {
  readonly buffer: SharedArrayBuffer;
  readonly #words: Int32Array;
  readonly #bytes: Uint8Array;
  readonly #slotMask: number;
  /** The bits of a slot that say where the key is; the others are its hash's. */
  readonly #placeMask: number;
  /** Where the first key goes. */
  readonly #start: number;
  /** Where the last search in the index ended; -1: not at a free slot. */
  #freeSlot = -1;
  /** Writer only: keys in the index. */
  #indexed = 0;
  /** Writer only: the tower word of the last key before the target, at each level. */
  readonly #before = new Int32Array(MAX_HEIGHT);
  /** Writer only. */
  #heightState = HEIGHT_SEED;

  constructor(buffer: SharedArrayBuffer) {
    this.buffer = buffer;
    this.#words = new Int32Array(buffer);
    this.#bytes = new Uint8Array(buffer);
    const slots = slotsOf(buffer.byteLength);
    this.#slotMask = slots - 1;
    this.#placeMask = 2 ** (32 - Math.clz32(buffer.byteLength >>> 2)) - 1;
    this.#start = INDEX + slots;
    assert(this.#start * 4 <= buffer.byteLength, 'an arena has room for its index');
  }

  static create(bytes: number): Skiplist {
    assert(bytes >= 4096 && bytes % 8 === 0, 'an arena is at least a page, in whole words');
    return new Skiplist(new SharedArrayBuffer(bytes));
  }

  get usedBytes(): number {
    return (Atomics.load(this.#words, FREE) || this.#start) * 4;
  }

  get freeBytes(): number {
    return this.capacityBytes - this.usedBytes;
  }

  get capacityBytes(): number {
    return this.buffer.byteLength;
  }

  get versions(): number {
    return Atomics.load(this.#words, VERSIONS);
  }

  /** Keys whose newest version is a put. */
  get liveKeys(): number {
    return Atomics.load(this.#words, LIVE);
  }

  /**
   * Begins the arena anew (writer only, and only when no thread reads it): the list is empty, and lists that are
   * attached to the buffer, here or on other threads, see that.
   */
  reset(): void {
    this.#words.fill(0, 0, this.#start);
    this.#indexed = 0;
    this.#heightState = HEIGHT_SEED;
  }

  /**
   * Adds a version (writer only), not older than the key's newest; one of an equal revision goes before it, and
   * so replaces it for readers. Returns whether the key was live before.
   */
  insert(key: Uint8Array, revision: number, kind: number, value: Uint8Array, expiryMs: number): boolean {
    assert(key.length <= KEY_BYTES_MAX, 'a key length fits in 16 bits');
    assert(value.length <= VALUE_BYTES_MAX, 'a value length fits in 30 bits');
    const words = this.#words;
    const prefix = prefixOf(key);
    const hash = hashKey(key, key.length);
    const node = this.#findKey(key, prefix, hash);
    const older = node === 0 ? 0 : (words[node + NEWEST] as number);
    const wasLive = older !== 0 && this.kind(older) === KIND_PUT;
    assert(older === 0 || this.revision(older) <= revision, 'versions of a key never go back');

    // A new key and its version are one piece: an arena that is full is left as it was.
    const height = node === 0 ? this.#nextHeight() : 0;
    const versionWords = VALUE_AT + ((value.length + 3) >>> 2);
    const keyWords = node === 0 ? TOWER + height + ((key.length + 3) >>> 2) : 0;
    const version = this.#allocate(versionWords + keyWords);
    words[version + REV_LOW] = (revision % TWO_32) | 0;
    words[version + REV_HIGH] = Math.floor(revision / TWO_32);
    words[version + EXPIRY_LOW] = (expiryMs % TWO_32) | 0;
    words[version + EXPIRY_HIGH] = Math.floor(expiryMs / TWO_32);
    words[version + VALUE] = value.length | (kind << KIND_SHIFT);
    words[version + OLDER] = older;
    this.#bytes.set(value, (version + VALUE_AT) * 4);

    if (node === 0) this.#link(version + versionWords, key, { prefix, hash, height, version });
    else Atomics.store(words, node + NEWEST, version);
    words[VERSIONS] = (words[VERSIONS] as number) + 1;
    const isLive = kind === KIND_PUT;
    if (isLive !== wasLive) words[LIVE] = (words[LIVE] as number) + (isLive ? 1 : -1);
    return wasLive;
  }

  /**
   * The newest version of `key`, whose hashKey is `hash`, at or below `revision` (a put or a tombstone); 0 when there
   * is none.
   */
  find(key: Uint8Array, revision: number, hash: number = hashKey(key, key.length)): VersionRef {
    // Nothing is in it: what the caller may see was allocated before it was told so.
    if (this.#words[FREE] === 0) return 0;
    const node = this.#findKey(key, prefixOf(key), hash);
    return node === 0 ? 0 : this.versionAt(node, revision);
  }

  /** The newest version of a key at or below `revision`; 0 when it is younger than that. */
  versionAt(node: NodeRef, revision: number): VersionRef {
    let version = Atomics.load(this.#words, node + NEWEST);
    while (version !== 0 && this.revision(version) > revision) version = this.#words[version + OLDER] as number;
    return version;
  }

  /** The version of the same key before this one; 0 when there is none. */
  older(version: VersionRef): VersionRef {
    return this.#words[version + OLDER] as number;
  }

  /** The first key at or after `key`; 0 when there is none. */
  seek(key: Uint8Array): NodeRef {
    return this.#seek(key, prefixOf(key), undefined);
  }

  /** The last key before `key`; 0 when there is none. With no key: the last of all. */
  seekBefore(key: Uint8Array | undefined): NodeRef {
    const prefix = key === undefined ? 0 : prefixOf(key);
    const words = this.#words;
    let tower = HEAD;
    for (let level = (words[LEVELS] as number) - 1; level >= 0; level--) {
      for (;;) {
        const next = words[tower + level] as number;
        if (next === 0 || (key !== undefined && this.#compare(next, key, prefix) >= 0)) break;
        tower = next + TOWER;
      }
    }
    return tower === HEAD ? 0 : tower - TOWER;
  }

  first(): NodeRef {
    return Atomics.load(this.#words, HEAD);
  }

  next(node: NodeRef): NodeRef {
    return Atomics.load(this.#words, node + TOWER);
  }

  /** The key's bytes in shared memory: read, never write; copy before handing on. */
  keyView(node: NodeRef): Uint8Array {
    const at = this.#keyAt(node);
    return this.#bytes.subarray(at, at + this.#keyBytes(node));
  }

  kind(version: VersionRef): number {
    return (this.#words[version + VALUE] as number) >>> KIND_SHIFT;
  }

  revision(version: VersionRef): number {
    return (this.#words[version + REV_HIGH] as number) * TWO_32 + ((this.#words[version + REV_LOW] as number) >>> 0);
  }

  expiryMs(version: VersionRef): number {
    return (
      (this.#words[version + EXPIRY_HIGH] as number) * TWO_32 + ((this.#words[version + EXPIRY_LOW] as number) >>> 0)
    );
  }

  /** The value's bytes in shared memory: read, never write; copy before handing on. */
  valueView(version: VersionRef): Uint8Array {
    const at = (version + VALUE_AT) * 4;
    return this.#bytes.subarray(at, at + this.#valueBytes(version));
  }

  /** A copy of the value, in memory of its own. */
  valueCopy(version: VersionRef): Uint8Array {
    const at = (version + VALUE_AT) * 4;
    return copyOut(this.#bytes, at, at + this.#valueBytes(version));
  }

  #valueBytes(version: VersionRef): number {
    return (this.#words[version + VALUE] as number) & VALUE_BYTES_MAX;
  }

  #keyBytes(node: NodeRef): number {
    return (this.#words[node + SHAPE] as number) & 0xffff;
  }

  #keyAt(node: NodeRef): number {
    return (node + TOWER + ((this.#words[node + SHAPE] as number) >>> 16)) * 4;
  }

  #allocate(words: number): number {
    const at = (this.#words[FREE] as number) || this.#start;
    assert((at + words) * 4 <= this.buffer.byteLength, 'the memtable has room for what was admitted');
    this.#words[FREE] = at + words;
    return at;
  }

  /** Puts a new key with its first version into the list and the index. */
  #link(
    node: NodeRef,
    key: Uint8Array,
    { prefix, hash, height, version }: { prefix: number; hash: number; height: number; version: VersionRef },
  ): void {
    const words = this.#words;
    this.#seek(key, prefix, this.#before);
    words[node + PREFIX] = prefix;
    words[node + SHAPE] = key.length | (height << 16);
    words[node + NEWEST] = version;
    this.#bytes.set(key, (node + TOWER + height) * 4);
    const levels = words[LEVELS] as number;
    for (let level = levels; level < height; level++) this.#before[level] = HEAD;
    for (let level = 0; level < height; level++) {
      const link = (this.#before[level] as number) + level;
      words[node + TOWER + level] = words[link] as number;
      Atomics.store(words, link, node);
    }
    if (height > levels) Atomics.store(words, LEVELS, height);
    this.#addToIndex(node, hash);
  }

  /** Puts a key that `#findKey` has just not found into the slot at which it ended. */
  #addToIndex(node: NodeRef, hash: number): void {
    const mask = this.#slotMask;
    if (this.#freeSlot >= 0 && this.#indexed < mask - (mask >>> 2)) {
      Atomics.store(this.#words, INDEX + this.#freeSlot, node | (hash & ~this.#placeMask));
      this.#indexed++;
    } else Atomics.store(this.#words, INDEX_FULL, 1);
  }

  #findKey(key: Uint8Array, prefix: number, hash: number): NodeRef {
    const words = this.#words;
    const mask = this.#slotMask;
    const placeMask = this.#placeMask;
    let slot = hash & mask;
    this.#freeSlot = -1;
    for (let i = 0; i < PROBES_MAX; i++, slot = (slot + 1) & mask) {
      const word = Atomics.load(words, INDEX + slot);
      if (word === 0) {
        this.#freeSlot = slot;
        break;
      }
      if (((word ^ hash) & ~placeMask) !== 0) continue;
      const node = word & placeMask;
      if (words[node + PREFIX] === prefix && this.#keyEquals(node, key)) return node;
    }
    if (Atomics.load(words, INDEX_FULL) === 0) return 0;
    const node = this.#seek(key, prefix, undefined);
    return node !== 0 && words[node + PREFIX] === prefix && this.#keyEquals(node, key) ? node : 0;
  }

  /** Equal, given that the prefixes are. */
  #keyEquals(node: NodeRef, key: Uint8Array): boolean {
    if (this.#keyBytes(node) !== key.length) return false;
    const bytes = this.#bytes;
    const at = this.#keyAt(node);
    for (let i = 4; i < key.length; i++) if (bytes[at + i] !== key[i]) return false;
    return true;
  }

  /** A key of the list against `key`: negative when it stands before it. */
  #compare(node: NodeRef, key: Uint8Array, prefix: number): number {
    const nodePrefix = this.#words[node + PREFIX] as number;
    if (nodePrefix !== prefix) return nodePrefix < prefix ? -1 : 1;
    const bytes = this.#bytes;
    const length = this.#keyBytes(node);
    const at = this.#keyAt(node);
    const shared = length < key.length ? length : key.length;
    // Equal prefixes settle the first four bytes, padding included.
    for (let i = 4; i < shared; i++) {
      const difference = (bytes[at + i] as number) - (key[i] as number);
      if (difference !== 0) return difference;
    }
    return length - key.length;
  }

  /**
   * The first key at or after `key`. What makes it fast is what it does not look at: a key found to be behind the
   * target on one level is often the next one on the level below, too; and keys between two neighbours of the target
   * begin with the bytes that both have in common with it.
   */
  #seek(key: Uint8Array, prefix: number, before: Int32Array | undefined): NodeRef {
    const words = this.#words;
    const bytes = this.#bytes;
    const { length } = key;
    let tower = HEAD;
    let next = 0;
    /** The nearest key known to be at or after the target; 0: none is. */
    let behind = 0;
    let sameBefore = 0;
    let sameBehind = 0;
    for (let level = (words[LEVELS] as number) - 1; level >= 0; level--) {
      for (;;) {
        next = words[tower + level] as number;
        if (next === 0 || next === behind) break;
        const nextPrefix = words[next + PREFIX] as number;
        if (nextPrefix > prefix) {
          behind = next;
          sameBehind = 0;
          break;
        }
        if (nextPrefix === prefix) {
          const shape = words[next + SHAPE] as number;
          const nextLength = shape & 0xffff;
          const at = (next + TOWER + (shape >>> 16)) * 4;
          const shared = nextLength < length ? nextLength : length;
          // Equal prefixes settle the first four bytes, padding included.
          let same = sameBefore < sameBehind ? sameBefore : sameBehind;
          if (same < 4) same = 4;
          while (same < shared && bytes[at + same] === key[same]) same++;
          const isBefore = same < shared ? (bytes[at + same] as number) < (key[same] as number) : nextLength < length;
          if (!isBefore) {
            behind = next;
            sameBehind = same;
            break;
          }
          sameBefore = same;
        }
        tower = next + TOWER;
      }
      if (before !== undefined) before[level] = tower;
    }
    return next;
  }

  /** Geometric with p = 1/4, from a counter's hash: the same on every node and in every replay. */
  #nextHeight(): number {
    let x = this.#heightState;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#heightState = x;
    let height = 1;
    while (height < MAX_HEIGHT && (x & 3) === 0) {
      height++;
      x >>>= 2;
    }
    return height;
  }
}

/** The most that an insert of a key and a value of these lengths takes of an arena: a new key, of full height. */
export function bytesFor(keyBytes: number, valueBytes: number): number {
  return (VALUE_AT + ((valueBytes + 3) >>> 2) + TOWER + MAX_HEIGHT + ((keyBytes + 3) >>> 2)) * 4;
}

/** Slots of the index: a power of two, at least 16. */
function slotsOf(bytes: number): number {
  return 2 ** Math.max(4, Math.floor(Math.log2(bytes / BYTES_PER_SLOT)));
}
