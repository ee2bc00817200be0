/**
 * BlockDirectory: a block as the cache keeps it, with a hash table of its keys before it. A point read finds its entry
 * by one probe, where a search looks at some restarts and then passes over eight entries, each a cache miss or two.
 *
 *   form   log2 of slots u8 (0: no directory) | common bytes u8 | 0 u16 | common, padded to 4 | slots u32 * | block
 *   slot   0 = free; offset of an entry in the block + 1 (24 bits) | part of the key's hash << 24
 *
 *   lookup   common = beginning of the key? ─▶ slot of its hash ─▶ entry ─▶ is it this key? ─▶ its value
 *
 * A key is put together from the entries before it, so a probe would end in a walk. Here it does not: `common` is what
 * all keys of the block begin with, and an entry shares just that with the one before it, or nothing at a restart. It
 * is still a block that a BlockCursor reads (sharing less than could be is allowed), and some bytes per entry longer.
 *
 * A directory takes as long to make as a block takes to read, some 10 µs, and then spares two of each read. So a block
 * comes without one, and gets it when it has been looked into some times (fences.ts counts).
 *
 * Only the newest version of each key is in the directory. What it cannot say is UNSURE, and left to a cursor. A block
 * that would grow by more than half, or is out of the ordinary in any way, is kept as it is, without a directory.
 *
 * (Turned down: hashes in place of keys, which are equal for other keys too; tags beside the entries' offsets, scanned:
 * 35 loads where a probe is one or two; whole keys in each entry: a third more bytes where keys are long.)
 *
 * The bytes may be overwritten while they are looked at (see block-cache.ts): every length is compared with what is
 * there before it is used, every loop has an end, and what was found counts if the lease is intact.
 */
import { EMPTY } from '../../../core/base/bytes.ts';
import { hashKey } from '../key-hash.ts';
import { loadU32, storeU32, storeVarint } from './format.ts';
import { revisionOf, TRAILER_BYTES, typeOf } from './keys.ts';
import { ABSENT, FOUND, UNSURE } from './block-lookup.ts';

const HEAD_BYTES = 4;
const SLOT_BYTES = 4;
const SLOTS_LOG_2_MAX = 13;
/** At most three slots of four are taken. */
const TAKEN_MAX = 0.75;
const ENTRIES_MAX: number = 2 ** SLOTS_LOG_2_MAX * TAKEN_MAX;
const OFFSET_MASK = 0xff_ffff;
const TAG_SHIFT = 24;
/** A length of one byte. */
const SHORT_MAX = 0x7f;
/** A length of two bytes. */
/** Below this a loop beats `set`. */
const LOOP_BYTES_MAX = 128;
const RESTART_INTERVAL = 16;
/** How much longer a form may be than its block, for those who would rather keep more blocks. */
const GROWTH_MAX = 1.5;
const GROWTH_BYTES_FREE = 256;

/** Whether the form at `bytes[at...]` has a directory. */
export function hasDirectory(bytes: Uint8Array, at: number): boolean {
  return bytes[at] !== 0;
}

/** Where in a form that begins at `at` its block begins; it ends with it. */
export function blockStart(bytes: Uint8Array, at: number): number {
  const log2 = bytes[at] as number;
  return log2 === 0 ? at + HEAD_BYTES : slotsStart(bytes, at) + (SLOT_BYTES << log2);
}

const slotsStart = (bytes: Uint8Array, at: number): number => at + HEAD_BYTES + (((bytes[at + 1] as number) + 3) & ~3);

/** A look into a form. One object serves many. */
export class DirectoryLookup {
  type = 0;
  revision = 0;
  valueStart = 0;
  valueEnd = 0;

  /**
   * Looks for the newest version of `user`, whose hash is `hash`, that is not newer than `revision`, in the form at
   * `bytes[at, end)`, which has a directory.
   */
  find(
    bytes: Uint8Array,
    at: number,
    end: number,
    user: Uint8Array,
    hash: number,
    revision: number,
  ): typeof ABSENT | typeof FOUND | typeof UNSURE {
    const log2 = bytes[at] as number;
    const common = bytes[at + 1] as number;
    const userBytes = user.length;
    const slotsAt = slotsStart(bytes, at);
    const blockAt = slotsAt + (SLOT_BYTES << log2);
    if (log2 > SLOTS_LOG_2_MAX || blockAt > end) return UNSURE;
    if (userBytes < common) return ABSENT;
    for (let i = 0; i < common; i++) if (bytes[at + HEAD_BYTES + i] !== user[i]) return ABSENT;
    const mask = (1 << log2) - 1;
    const tag = hash >>> TAG_SHIFT;
    let slot = hash & mask;
    for (let probes = 0; probes <= mask; probes++) {
      const word = loadU32(bytes, slotsAt + slot * SLOT_BYTES);
      if (word === 0) return ABSENT;
      slot = (slot + 1) & mask;
      if (word >>> TAG_SHIFT !== tag) continue;
      const entry = blockAt + (word & OFFSET_MASK) - 1;
      if (entry + HEAD_BYTES > end) return UNSURE;
      const shared = bytes[entry] as number;
      const unshared = bytes[entry + 1] as number;
      if (shared + unshared - TRAILER_BYTES !== userBytes) continue;
      let valueBytes = bytes[entry + 2] as number;
      let suffix = entry + 3;
      if (valueBytes > SHORT_MAX) valueBytes = (valueBytes & SHORT_MAX) | ((bytes[suffix++] as number) << 7);
      const valueStart = suffix + unshared;
      if (valueStart + valueBytes > end) return UNSURE;
      const from = suffix - shared;
      let i = common;
      while (i < userBytes && bytes[from + i] === user[i]) i++;
      if (i < userBytes) continue;
      this.revision = revisionOf(bytes, valueStart);
      // An older version may follow.
      if (this.revision > revision) return UNSURE;
      this.type = typeOf(bytes, valueStart);
      this.valueStart = valueStart;
      this.valueEnd = valueStart + valueBytes;
      return FOUND;
    }
    return UNSURE;
  }
}

/** Makes forms of blocks. One object serves many. */
export class DirectoryBuilder {
  /** The key of the entry read last. */
  #key = new Uint8Array(256);
  #first: Uint8Array = EMPTY;
  /** By entry: the hash of its key, and whether it is the newest version of it. */
  #hashes = new Uint32Array(256);
  #isNewest = new Uint8Array(256);
  #form = new Uint8Array(8192);

  /** Of the entry read last. */
  #shared = 0;
  #unshared = 0;
  #valueStart = 0;
  #end = 0;
  #isRepeated = false;

  /** The form, with a directory, of a block whose checksum was right, in memory of its own; undefined: it gets none. */
  build(block: Uint8Array): Uint8Array | undefined {
    if (block.length < 8) return undefined;
    const restarts = loadU32(block, block.length - 4);
    const entriesEnd = block.length - 4 - restarts * 4;
    const bytesMax = Math.floor(block.length * GROWTH_MAX) + GROWTH_BYTES_FREE;
    if (restarts === 0 || entriesEnd <= 0 || bytesMax > OFFSET_MASK) return undefined;

    const { count, common } = this.#survey(block, entriesEnd);
    if (count === 0) return undefined;
    let log2 = 1;
    while (2 ** log2 * TAKEN_MAX < count) log2++;
    const slotsAt = HEAD_BYTES + ((common + 3) & ~3);
    const blockAt = slotsAt + (SLOT_BYTES << log2);
    if (blockAt > bytesMax) return undefined;
    if (this.#form.length < bytesMax) this.#form = new Uint8Array(bytesMax * 2);
    const form = this.#form;
    form.fill(0, 0, blockAt);
    form[0] = log2;
    form[1] = common;
    for (let i = 0; i < common; i++) form[HEAD_BYTES + i] = this.#first[i] as number;

    const end = this.#write(block, entriesEnd, { blockAt, common, bytesMax });
    return end < 0 ? undefined : form.slice(0, end);
  }

  /** Reads all keys: how many there are, and what they have in common; 0: something is out of the ordinary. */
  #survey(block: Uint8Array, entriesEnd: number): { readonly count: number; readonly common: number } {
    let count = 0;
    let common = 0;
    for (let at = 0, length = 0; at < entriesEnd; at = this.#end) {
      if (count === ENTRIES_MAX || !this.#readEntry(block, at, entriesEnd, length)) return { count: 0, common: 0 };
      length = this.#shared + this.#unshared;
      const user = length - TRAILER_BYTES;
      const key = this.#key;
      if (count === 0) {
        common = Math.min(user, SHORT_MAX);
        this.#first = key.slice(0, common);
      } else if (this.#shared < common) {
        const first = this.#first;
        let same = 0;
        while (same < common && same < user && key[same] === first[same]) same++;
        common = same;
      } else common = Math.min(common, user);
      if (count === this.#hashes.length) this.#grow();
      this.#hashes[count] = hashKey(key, user);
      this.#isNewest[count] = count > 0 && this.#isRepeated ? 0 : 1;
      count++;
    }
    return { count, common };
  }

  /** Writes the entries, their slots and the restarts into #form; where they end, or -1: there is no room. */
  #write(
    block: Uint8Array,
    entriesEnd: number,
    { blockAt, common, bytesMax }: { readonly blockAt: number; readonly common: number; readonly bytesMax: number },
  ): number {
    const form = this.#form;
    const mask = (1 << (form[0] as number)) - 1;
    const slotsAt = slotsStart(form, 0);
    const restarts: number[] = [];
    let to = blockAt;
    let entry = 0;
    for (let at = 0, length = 0; at < entriesEnd; at = this.#end, entry++) {
      this.#readEntry(block, at, entriesEnd, length);
      length = this.#shared + this.#unshared;
      const isRestart = entry % RESTART_INTERVAL === 0;
      if (isRestart) restarts.push(to - blockAt);
      const shared = isRestart ? 0 : common;
      const valueBytes = this.#end - this.#valueStart;
      if (length - shared > SHORT_MAX || to + HEAD_BYTES + length + valueBytes > bytesMax) return -1;
      if (this.#isNewest[entry] === 1) {
        const hash = this.#hashes[entry] as number;
        let slot = hash & mask;
        while (loadU32(form, slotsAt + slot * SLOT_BYTES) !== 0) slot = (slot + 1) & mask;
        storeU32(form, slotsAt + slot * SLOT_BYTES, (to - blockAt + 1) | ((hash >>> TAG_SHIFT) << TAG_SHIFT));
      }
      form[to] = shared;
      form[to + 1] = length - shared;
      to = storeVarint(form, to + 2, valueBytes);
      for (let i = shared; i < length; i++) form[to++] = this.#key[i] as number;
      if (valueBytes > LOOP_BYTES_MAX) form.set(block.subarray(this.#valueStart, this.#end), to);
      else for (let i = 0; i < valueBytes; i++) form[to + i] = block[this.#valueStart + i] as number;
      to += valueBytes;
    }
    if (to + restarts.length * 4 + 4 > bytesMax) return -1;
    for (const restart of restarts) {
      storeU32(form, to, restart);
      to += 4;
    }
    storeU32(form, to, restarts.length);
    return to + 4;
  }

  /** Reads the entry at `at` behind a key of `before` bytes; false: it is out of the ordinary. */
  #readEntry(block: Uint8Array, at: number, entriesEnd: number, before: number): boolean {
    if (at + 3 > entriesEnd) return false;
    const shared = block[at] as number;
    const unshared = block[at + 1] as number;
    let valueBytes = block[at + 2] as number;
    let suffix = at + 3;
    if (valueBytes > SHORT_MAX) {
      const more = block[suffix++] as number;
      if (more > SHORT_MAX) return false;
      valueBytes = (valueBytes & SHORT_MAX) | (more << 7);
    }
    const length = shared + unshared;
    const user = length - TRAILER_BYTES;
    this.#shared = shared;
    this.#unshared = unshared;
    this.#valueStart = suffix + unshared;
    this.#end = this.#valueStart + valueBytes;
    if ((shared | unshared) > SHORT_MAX || shared > before || user < 0 || this.#end > entriesEnd) return false;
    // Two lengths below 128: the key has its room.
    const key = this.#key;
    let isRepeated = length === before;
    for (let i = shared; i < length; i++) {
      const byte = block[suffix + i - shared] as number;
      if (i < user && key[i] !== byte) isRepeated = false;
      key[i] = byte;
    }
    this.#isRepeated = isRepeated;
    return true;
  }

  #grow(): void {
    const hashes = new Uint32Array(this.#hashes.length * 2);
    hashes.set(this.#hashes);
    this.#hashes = hashes;
    const isNewest = new Uint8Array(hashes.length);
    isNewest.set(this.#isNewest);
    this.#isNewest = isNewest;
  }
}

/** The form without a directory. */
export function plainForm(block: Uint8Array): Uint8Array {
  const form = new Uint8Array(HEAD_BYTES + block.length);
  form.set(block, HEAD_BYTES);
  return form;
}
