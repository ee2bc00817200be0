/**
 * Compression of blocks: none or Snappy, as in LevelDB.
 *
 * Snappy is LZ77 with a table of where four bytes were seen last (format_description.txt of google/snappy):
 *
 *   length varint32 | (tag u8 ...)*
 *   tag & 3   0  literal: tag >>> 2 is its length - 1 if below 60, else 1 to 4 bytes follow that say it
 *             1  copy of 4..11 bytes,  offset 11 bits, one byte follows
 *             2  copy of 1..64 bytes,  offset u16 follows
 *             3  copy of 1..64 bytes,  offset u32 follows
 *
 * Ours, because the packages cost too much where a node makes tables all the time (docs/decisions/snappy-of-our-own.md):
 * snappyjs twice the time and garbage for each block, and it trusts what it reads; the native one as much as snappyjs,
 * most of it the call. Here compressed bytes are lent from one buffer, and no tag leads out of the buffers:
 * a stream can demand at most 22 times its own size, and gives exactly what it announced or nothing.
 */

/** A piece is compressed on its own: places in it fit into 16 bits. */
const FRAGMENT_BYTES = 0x1_0000;
const HASH_BITS_MAX = 14;
const HASH_BITS_MIN = 8;
/** So near its end a piece is not searched: four bytes must be there to be compared, with some to spare. */
const MARGIN_BYTES = 15;
/** A copy of 64 bytes by three is the most that a stream can demand. */
const GROWTH_MAX = 22;
/** Longer runs are copied by the engine's own loop. */
const LOOP_BYTES_MAX = 48;

const lastSeen = new Uint16Array(1 << HASH_BITS_MAX);
let output = new Uint8Array(8192);

/**
 * Compressed bytes, lent until the next call; undefined when they save less than an eighth: LevelDB's rule.
 */
export function snappyCompress(bytes: Uint8Array): Uint8Array | undefined {
  const { length } = bytes;
  // The longest that may come of it: what cannot be compressed, with a tag for each 60 bytes or so.
  const most = 32 + length + Math.floor(length / 6);
  if (output.length < most) output = new Uint8Array(most);
  let at = 0;
  for (let rest = length; ; rest = Math.floor(rest / 0x80)) {
    if (rest < 0x80) {
      output[at++] = rest;
      break;
    }
    output[at++] = (rest % 0x80) | 0x80;
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, length);
  for (let from = 0; from < length; from += FRAGMENT_BYTES) {
    at = compressFragment(bytes, view, from, Math.min(from + FRAGMENT_BYTES, length), at);
  }
  return at < length - (length >>> 3) ? output.subarray(0, at) : undefined;
}

/** Writes what bytes[from, to) become behind `at`; tells the end. */
function compressFragment(bytes: Uint8Array, view: DataView, from: number, to: number, at: number): number {
  let bits = HASH_BITS_MIN;
  while (bits < HASH_BITS_MAX && 1 << bits < to - from) bits++;
  const shift = 32 - bits;
  lastSeen.fill(0, 0, 1 << bits);

  const searchEnd = to - MARGIN_BYTES;
  /** Up to here it is written. */
  let written = from;
  let here = from + 1;
  while (here < searchEnd) {
    // Search: the longer nothing is found, the larger the steps.
    let seen = 0;
    let missed = 32;
    for (;;) {
      const word = view.getInt32(here, true);
      const hash = Math.imul(word, 0x1e35a7bd) >>> shift;
      seen = from + (lastSeen[hash] as number);
      lastSeen[hash] = here - from;
      if (view.getInt32(seen, true) === word && seen < here) break;
      here += missed++ >>> 5;
      if (here >= searchEnd) return writeLiteral(bytes, written, to, at);
    }
    if (here > written) at = writeLiteral(bytes, written, here, at);
    // Where a copy ends another one may begin.
    for (;;) {
      let end = here + 4;
      let other = seen + 4;
      while (end < to && bytes[end] === bytes[other]) {
        end++;
        other++;
      }
      at = writeCopy(end - here, here - seen, at);
      here = end;
      written = end;
      if (here >= searchEnd) return written < to ? writeLiteral(bytes, written, to, at) : at;
      lastSeen[Math.imul(view.getInt32(here - 1, true), 0x1e35a7bd) >>> shift] = here - 1 - from;
      const word = view.getInt32(here, true);
      const hash = Math.imul(word, 0x1e35a7bd) >>> shift;
      seen = from + (lastSeen[hash] as number);
      lastSeen[hash] = here - from;
      if (view.getInt32(seen, true) !== word || seen >= here) break;
    }
    here++;
  }
  return written < to ? writeLiteral(bytes, written, to, at) : at;
}

function writeLiteral(bytes: Uint8Array, from: number, to: number, start: number): number {
  const length = to - from;
  let at = start;
  if (length <= 60) {
    output[at++] = (length - 1) << 2;
  } else if (length <= 0x100) {
    output[at++] = 60 << 2;
    output[at++] = length - 1;
  } else {
    output[at++] = 61 << 2;
    output[at++] = (length - 1) & 0xff;
    output[at++] = (length - 1) >>> 8;
  }
  if (length > LOOP_BYTES_MAX) output.set(bytes.subarray(from, to), at);
  else for (let i = 0; i < length; i++) output[at + i] = bytes[from + i] as number;
  return at + length;
}

function writeCopy(length: number, offset: number, start: number): number {
  let at = start;
  let rest = length;
  // Never less than 4 is left: the short form is for 4 and more.
  while (rest > 64) {
    const piece = rest >= 68 ? 64 : 60;
    output[at++] = 2 | ((piece - 1) << 2);
    output[at++] = offset & 0xff;
    output[at++] = offset >>> 8;
    rest -= piece;
  }
  if (rest < 12 && offset < 2048) {
    output[at++] = 1 | ((rest - 4) << 2) | ((offset >>> 8) << 5);
    output[at++] = offset & 0xff;
    return at;
  }
  output[at++] = 2 | ((rest - 1) << 2);
  output[at++] = offset & 0xff;
  output[at++] = offset >>> 8;
  return at;
}

/** The bytes that were compressed, in memory of their own; undefined when these are no such bytes. */
export function snappyUncompress(bytes: Uint8Array): Uint8Array | undefined {
  const end = bytes.length;
  let at = 0;
  let announced = 0;
  for (let scale = 1; ; scale *= 0x80) {
    if (at >= end || at === 5) return undefined;
    const byte = bytes[at++] as number;
    announced += (byte & 0x7f) * scale;
    if (byte < 0x80) break;
  }
  if (announced > end * GROWTH_MAX) return undefined;

  const made = new Uint8Array(announced);
  let to = 0;
  while (at < end) {
    const tag = bytes[at++] as number;
    const kind = tag & 3;
    let length = (tag >>> 2) + 1;
    if (kind === 0) {
      if (length > 60) {
        const width = length - 60;
        if (at + width > end) return undefined;
        length = load(bytes, at, width) + 1;
        at += width;
      }
      if (length > end - at || length > announced - to) return undefined;
      if (length > LOOP_BYTES_MAX) made.set(bytes.subarray(at, at + length), to);
      else for (let i = 0; i < length; i++) made[to + i] = bytes[at + i] as number;
      at += length;
    } else {
      const width = kind === 3 ? 4 : kind;
      if (at + width > end) return undefined;
      let offset = load(bytes, at, width);
      if (kind === 1) {
        offset += (tag >>> 5) << 8;
        length = ((tag >>> 2) & 7) + 4;
      }
      if (offset === 0 || offset > to || length > announced - to) return undefined;
      at += width;
      // Byte by byte: a copy may go on with what it makes.
      for (let i = 0; i < length; i++) made[to + i] = made[to + i - offset] as number;
    }
    to += length;
  }
  return to === announced ? made : undefined;
}

/** A number of `width` bytes, little-endian. */
function load(bytes: Uint8Array, at: number, width: number): number {
  let value = 0;
  for (let i = width - 1; i >= 0; i--) value = value * 0x100 + (bytes[at + i] as number);
  return value;
}
