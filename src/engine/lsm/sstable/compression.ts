/**
 * Compression of blocks: none or Snappy, as in LevelDB.
 *
 * snappyjs is pure JavaScript and at 4 KiB faster than the native package. It trusts what it reads, though: tags
 * may lead it out of its buffers, and a length of 4 GB is allocated before a byte is looked at. So the tags are
 * walked first (they alone, not the bytes: a few percent of the work), and must give exactly the announced length;
 * a walk can demand at most 22 times what is there.
 */
import { compress, uncompress } from 'snappyjs';

/** Compressed bytes, or undefined when they save less than an eighth: LevelDB's rule. */
export function snappyCompress(bytes: Uint8Array): Uint8Array | undefined {
  const compressed = compress(bytes);
  return compressed.length < bytes.length - (bytes.length >>> 3) ? compressed : undefined;
}

/** The bytes that were compressed, in memory of their own; undefined when these are no such bytes. */
export function snappyUncompress(bytes: Uint8Array): Uint8Array | undefined {
  return isSnappy(bytes) ? uncompress(bytes) : undefined;
}

/**
 * Walks the tags.
 *
 *   length varint32 | (tag u8 ...)*
 *   tag & 3   0  literal: tag >>> 2 is its length - 1 if below 60, else 1 to 4 bytes follow that say it
 *             1  copy of 4..11 bytes,  offset 11 bits, one byte follows
 *             2  copy of 1..64 bytes,  offset u16 follows
 *             3  copy of 1..64 bytes,  offset u32 follows
 */
function isSnappy(bytes: Uint8Array): boolean {
  const end = bytes.length;
  let at = 0;
  let announced = 0;
  for (let scale = 1; ; scale *= 0x80) {
    if (at >= end || at === 5) return false;
    const byte = bytes[at++] as number;
    announced += (byte & 0x7f) * scale;
    if (byte < 0x80) break;
  }
  if (announced > 0xffff_ffff) return false;

  let made = 0;
  while (at < end) {
    const tag = bytes[at++] as number;
    const kind = tag & 3;
    let length = (tag >>> 2) + 1;
    if (kind === 0) {
      if (length > 60) {
        const width = length - 60;
        if (at + width > end) return false;
        length = load(bytes, at, width) + 1;
        at += width;
      }
      if (length > end - at) return false;
      at += length;
    } else {
      const width = kind === 3 ? 4 : kind;
      if (at + width > end) return false;
      let offset = load(bytes, at, width);
      if (kind === 1) {
        offset += (tag >>> 5) << 8;
        length = ((tag >>> 2) & 7) + 4;
      }
      if (offset === 0 || offset > made) return false;
      at += width;
    }
    made += length;
  }
  return made === announced;
}

/** A number of `width` bytes, little-endian. */
function load(bytes: Uint8Array, at: number, width: number): number {
  let value = 0;
  for (let i = width - 1; i >= 0; i--) value = value * 0x100 + (bytes[at + i] as number);
  return value;
}
