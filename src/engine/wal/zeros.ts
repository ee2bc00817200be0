/**
 * Zeros: segments are filled with them before they are written to, so most of what a start looks through is zeros. By
 * pieces, as memory is compared: byte by byte it was a good part of a start's time.
 */
const PIECE_BYTES = 512;
const PIECE: Uint8Array = new Uint8Array(PIECE_BYTES);

/** Where the zeros that begin at `from` end, or `to`; at a byte that is not zero, or some bytes before it. */
export function skipZeros(bytes: Uint8Array, from: number, to: number): number {
  let at = from;
  while (at + PIECE_BYTES <= to && Buffer.compare(bytes.subarray(at, at + PIECE_BYTES), PIECE) === 0) at += PIECE_BYTES;
  return at;
}

/** The end of what is not zeros at the end of the first `length` bytes; 0: all are. */
export function endOfContent(bytes: Uint8Array, length: number): number {
  let end = length;
  while (end >= PIECE_BYTES && Buffer.compare(bytes.subarray(end - PIECE_BYTES, end), PIECE) === 0) end -= PIECE_BYTES;
  while (end > 0 && bytes[end - 1] === 0) end--;
  return end;
}
