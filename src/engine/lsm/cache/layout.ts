/**
 * Layout of a block cache's memory: what lies where follows from its length alone, so that each thread finds it.
 *
 *   header 256 bytes | slots, a word each | tags, a byte each | touched, a byte each | ring, to the end
 */

/** The ring's unit: a cache line. Entries begin and end with one. */
export const UNIT_BYTES = 64;
export const HEADER_BYTES = 256;

/** Less is no cache: the ring would hold a handful of blocks. */
export const CACHE_BYTES_MIN: number = 64 * 1024;

/** A slot per this many bytes at most: with blocks of 4 KiB one slot in four to eight is used. */
const BYTES_PER_SLOT = 512;
const POSITIONS = 0x7fff_ffff;

export interface CacheLayout {
  /** A power of two; 0: this cache never holds anything. */
  readonly slots: number;
  readonly tagsAt: number;
  readonly touchedAt: number;
  readonly ringAt: number;
  readonly ringUnits: number;
  /** Positions go from 0 to below this; a multiple of `ringUnits`. */
  readonly positions: number;
}

/** The bytes of memory to make for a cache that may take `bytes`. */
export function memoryBytes(bytes: number): number {
  return bytes < CACHE_BYTES_MIN ? HEADER_BYTES : bytes - (bytes % UNIT_BYTES);
}

export function layoutOf(bytes: number): CacheLayout {
  if (bytes < CACHE_BYTES_MIN) {
    return { slots: 0, tagsAt: bytes, touchedAt: bytes, ringAt: bytes, ringUnits: 0, positions: 0 };
  }
  const slots = 2 ** Math.floor(Math.log2(bytes / BYTES_PER_SLOT));
  const tagsAt = HEADER_BYTES + slots * 4;
  const touchedAt = tagsAt + slots;
  const ringAt = Math.ceil((touchedAt + slots) / UNIT_BYTES) * UNIT_BYTES;
  const ringUnits = Math.floor((bytes - ringAt) / UNIT_BYTES);
  return { slots, tagsAt, touchedAt, ringAt, ringUnits, positions: Math.floor(POSITIONS / ringUnits) * ringUnits };
}
