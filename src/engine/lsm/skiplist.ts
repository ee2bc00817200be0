/**
 * Skiplist: sorted versions of keys in one SharedArrayBuffer. One thread writes; any thread reads, without
 * a message, a lock or a copy.
 *
 *   words   0 next free word · 1 levels in use · 2 entries · 3 live keys · 4..15 head tower
 *   node    0 key prefix   first four key bytes, big-endian, sign bit flipped: most comparisons end here
 *           1 key length (16 bits) | height (8 bits) << 16 | kind (8 bits) << 24
 *           2 value length
 *           3 4 revision, low and high word
 *           5 6 expiry in ms, low and high word (0: none)
 *           7.. tower: the next node at each level
 *           then key bytes, then value bytes, padded to a word
 *
 * Order: key ascending, then revision descending, so the newest version of a key that a reader may see is the
 * first one at or after (key, revision).
 *
 * Publication: a node is filled with plain stores and then linked bottom-up with Atomics.store; a reader that
 * follows a link therefore finds a whole node. Readers choose their revision first, and skip newer ones.
 *
 * Invariants:
 *  - nodes are never changed or freed once linked, so a node seen is valid for as long as the buffer is held;
 *  - level 0 holds every node; a node of height h is in levels 0..h-1;
 *  - the same calls in the same order give the same bytes (heights come from a counter, not from chance).
 */
import { assert } from '../../core/base/assert.ts';

const MAX_HEIGHT = 12;
const FREE = 0;
const LEVELS = 1;
const ENTRIES = 2;
const LIVE = 3;
const HEAD = 4;
const FIRST_FREE = HEAD + MAX_HEIGHT;

const PREFIX = 0;
const SHAPE = 1;
const VALUE_BYTES = 2;
const REV_LOW = 3;
const REV_HIGH = 4;
const EXPIRY_LOW = 5;
const EXPIRY_HIGH = 6;
const TOWER = 7;

const TWO_32 = 0x1_0000_0000;
const KEY_BYTES_MAX = 0xffff;

/** A node by its word offset; 0 is "none". */
export type NodeRef = number;

export const KIND_TOMBSTONE = 0;
export const KIND_PUT = 1;

/** Words of a node: for budgets, before it is made (height at its mean, rounded up). */
export function nodeBytes(keyBytes: number, valueBytes: number): number {
  return (TOWER + 2) * 4 + ((keyBytes + valueBytes + 3) & ~3);
}

export class Skiplist {
  readonly buffer: SharedArrayBuffer;
  readonly #words: Int32Array;
  readonly #bytes: Uint8Array;
  /** Writer only: the tower word of the last node before the target, at each level. */
  readonly #before = new Int32Array(MAX_HEIGHT);
  #heightState = 0x9e3779b9;

  constructor(buffer: SharedArrayBuffer) {
    this.buffer = buffer;
    this.#words = new Int32Array(buffer);
    this.#bytes = new Uint8Array(buffer);
    // Whoever attaches first begins the arena, be it a reader; nobody begins it a second time.
    Atomics.compareExchange(this.#words, LEVELS, 0, 1);
    Atomics.compareExchange(this.#words, FREE, 0, FIRST_FREE);
  }

  static create(bytes: number): Skiplist {
    assert(bytes >= 4096 && bytes % 8 === 0, 'an arena is at least a page, in whole words');
    return new Skiplist(new SharedArrayBuffer(bytes));
  }

  get usedBytes(): number {
    return (Atomics.load(this.#words, FREE) >>> 0) * 4;
  }

  get capacityBytes(): number {
    return this.buffer.byteLength;
  }

  get entries(): number {
    return Atomics.load(this.#words, ENTRIES);
  }

  /** Keys whose newest version is a put. */
  get liveKeys(): number {
    return Atomics.load(this.#words, LIVE);
  }

  /**
   * Adds a version (writer only). An equal (key, revision) goes before the one that is there, and so replaces
   * it for readers. Returns whether the key was live before.
   */
  insert(key: Uint8Array, revision: number, kind: number, value: Uint8Array, expiryMs: number): boolean {
    assert(key.length <= KEY_BYTES_MAX, 'a key length fits in 16 bits');
    const words = this.#words;
    const prefix = prefixOf(key);
    const low = (revision % TWO_32) | 0;
    const high = Math.floor(revision / TWO_32);
    const after = this.#seek(key, prefix, low, high, this.#before);
    const wasLive = after !== 0 && this.#keyEquals(after, key, prefix) && this.kind(after) === KIND_PUT;

    const height = this.#nextHeight();
    const keyAt = TOWER + height;
    const size = keyAt + ((key.length + value.length + 3) >>> 2);
    const node = words[FREE] as number;
    assert((node + size) * 4 <= this.buffer.byteLength, 'the memtable has room for what was admitted');
    words[FREE] = node + size;

    words[node + PREFIX] = prefix;
    words[node + SHAPE] = key.length | (height << 16) | (kind << 24);
    words[node + VALUE_BYTES] = value.length;
    words[node + REV_LOW] = low;
    words[node + REV_HIGH] = high;
    words[node + EXPIRY_LOW] = (expiryMs % TWO_32) | 0;
    words[node + EXPIRY_HIGH] = Math.floor(expiryMs / TWO_32);
    const bytesAt = (node + keyAt) * 4;
    this.#bytes.set(key, bytesAt);
    this.#bytes.set(value, bytesAt + key.length);

    const levels = words[LEVELS] as number;
    for (let level = levels; level < height; level++) this.#before[level] = HEAD;
    for (let level = 0; level < height; level++) {
      const link = (this.#before[level] as number) + level;
      words[node + TOWER + level] = words[link] as number;
      Atomics.store(words, link, node);
    }
    if (height > levels) Atomics.store(words, LEVELS, height);
    words[ENTRIES] = (words[ENTRIES] as number) + 1;
    const isLive = kind === KIND_PUT;
    if (isLive !== wasLive) words[LIVE] = (words[LIVE] as number) + (isLive ? 1 : -1);
    return wasLive;
  }

  /** The first node at or after (key, revision); 0 when there is none. */
  seek(key: Uint8Array, revision: number): NodeRef {
    return this.#seek(key, prefixOf(key), (revision % TWO_32) | 0, Math.floor(revision / TWO_32), undefined);
  }

  /** The newest version of `key` at or below `revision` (a put or a tombstone); 0 when there is none. */
  find(key: Uint8Array, revision: number): NodeRef {
    const prefix = prefixOf(key);
    const node = this.#seek(key, prefix, (revision % TWO_32) | 0, Math.floor(revision / TWO_32), undefined);
    return node !== 0 && this.#keyEquals(node, key, prefix) ? node : 0;
  }

  /** The last node before (key, revision); 0 when there is none. With no key: the last node of all. */
  seekBefore(key: Uint8Array | undefined, revision: number): NodeRef {
    const prefix = key === undefined ? 0 : prefixOf(key);
    const low = (revision % TWO_32) | 0;
    const high = Math.floor(revision / TWO_32);
    const words = this.#words;
    let tower = HEAD;
    for (let level = (words[LEVELS] as number) - 1; level >= 0; level--) {
      for (;;) {
        const next = words[tower + level] as number;
        if (next === 0 || (key !== undefined && this.#compare(next, key, prefix, low, high) >= 0)) break;
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

  kind(node: NodeRef): number {
    return (this.#words[node + SHAPE] as number) >>> 24;
  }

  revision(node: NodeRef): number {
    return (this.#words[node + REV_HIGH] as number) * TWO_32 + ((this.#words[node + REV_LOW] as number) >>> 0);
  }

  expiryMs(node: NodeRef): number {
    return (this.#words[node + EXPIRY_HIGH] as number) * TWO_32 + ((this.#words[node + EXPIRY_LOW] as number) >>> 0);
  }

  /** The key's bytes in shared memory: read, never write; copy before handing on. */
  keyView(node: NodeRef): Uint8Array {
    const at = this.#keyAt(node);
    return this.#bytes.subarray(at, at + this.#keyBytes(node));
  }

  /** The value's bytes in shared memory: read, never write; copy before handing on. */
  valueView(node: NodeRef): Uint8Array {
    const at = this.#keyAt(node) + this.#keyBytes(node);
    return this.#bytes.subarray(at, at + (this.#words[node + VALUE_BYTES] as number));
  }

  /** A copy of the value, in memory of its own. */
  valueCopy(node: NodeRef): Uint8Array {
    const at = this.#keyAt(node) + this.#keyBytes(node);
    return this.#bytes.slice(at, at + (this.#words[node + VALUE_BYTES] as number));
  }

  sameKey(a: NodeRef, b: NodeRef): boolean {
    if (this.#words[a + PREFIX] !== this.#words[b + PREFIX]) return false;
    const length = this.#keyBytes(a);
    if (length !== this.#keyBytes(b)) return false;
    const bytes = this.#bytes;
    const atA = this.#keyAt(a);
    const atB = this.#keyAt(b);
    for (let i = 4; i < length; i++) if (bytes[atA + i] !== bytes[atB + i]) return false;
    return true;
  }

  #keyBytes(node: NodeRef): number {
    return (this.#words[node + SHAPE] as number) & 0xffff;
  }

  #keyAt(node: NodeRef): number {
    return (node + TOWER + (((this.#words[node + SHAPE] as number) >>> 16) & 0xff)) * 4;
  }

  #keyEquals(node: NodeRef, key: Uint8Array, prefix: number): boolean {
    if (this.#words[node + PREFIX] !== prefix || this.#keyBytes(node) !== key.length) return false;
    const bytes = this.#bytes;
    const at = this.#keyAt(node);
    for (let i = 4; i < key.length; i++) if (bytes[at + i] !== key[i]) return false;
    return true;
  }

  /** Node against (key, revision): negative when the node stands before it. */
  #compare(node: NodeRef, key: Uint8Array, prefix: number, low: number, high: number): number {
    const words = this.#words;
    const nodePrefix = words[node + PREFIX] as number;
    if (nodePrefix !== prefix) return nodePrefix < prefix ? -1 : 1;
    const bytes = this.#bytes;
    const shape = words[node + SHAPE] as number;
    const length = shape & 0xffff;
    const at = (node + TOWER + ((shape >>> 16) & 0xff)) * 4;
    const shared = length < key.length ? length : key.length;
    // Equal prefixes settle the first four bytes, padding included.
    for (let i = 4; i < shared; i++) {
      const difference = (bytes[at + i] as number) - (key[i] as number);
      if (difference !== 0) return difference;
    }
    if (length !== key.length) return length - key.length;
    const nodeHigh = words[node + REV_HIGH] as number;
    if (nodeHigh !== high) return high - nodeHigh;
    return (low >>> 0) - ((words[node + REV_LOW] as number) >>> 0);
  }

  #seek(key: Uint8Array, prefix: number, low: number, high: number, before: Int32Array | undefined): NodeRef {
    const words = this.#words;
    let tower = HEAD;
    let next = 0;
    for (let level = (words[LEVELS] as number) - 1; level >= 0; level--) {
      for (;;) {
        next = words[tower + level] as number;
        if (next === 0) break;
        const nextPrefix = words[next + PREFIX] as number;
        if (nextPrefix > prefix) break;
        if (nextPrefix === prefix && this.#compare(next, key, prefix, low, high) >= 0) break;
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

/** The first four bytes as a signed word that sorts as the bytes do. */
function prefixOf(key: Uint8Array): number {
  const a = key[0] ?? 0;
  const b = key[1] ?? 0;
  const c = key[2] ?? 0;
  const d = key[3] ?? 0;
  return ((a << 24) | (b << 16) | (c << 8) | d) ^ 0x8000_0000;
}
