/**
 * copyOut: bytes that are lent, or shared with other threads, in memory that is the reader's own.
 *
 * From Node's pool of small buffers: a typed array with memory of its own costs half a microsecond before a byte of it
 * is copied, a good part of a read. So a short value is a view of a larger piece that nobody else writes (and that Node
 * does not let anybody transfer to another thread). Pieces are taken from the pool some kilobytes at a time, as each is
 * an object more; who keeps a value keeps its pool's 8 KiB, as with any small Buffer.
 */

/** Longer ones are copied by the engine's own loop. */
const LOOP_BYTES_MAX = 256;
/** The pool gives pieces of less than half its size. */
const PIECE_BYTES: number = Math.max(256, (Buffer.poolSize >>> 1) - 8);

let piece: Uint8Array = new Uint8Array(0);
let used = 0;

export function copyOut(bytes: Uint8Array, from: number, to: number): Uint8Array {
  const length = to - from;
  if (length > LOOP_BYTES_MAX) {
    const own = Buffer.allocUnsafe(length);
    // Plain bytes: a Buffer compares, slices and prints in its own way.
    const copy = new Uint8Array(own.buffer, own.byteOffset, length);
    copy.set(bytes.subarray(from, to));
    return copy;
  }
  if (used + length > piece.length) {
    piece = Buffer.allocUnsafe(PIECE_BYTES);
    used = 0;
  }
  const copy = new Uint8Array(piece.buffer as ArrayBuffer, piece.byteOffset + used, length);
  // Eight bytes apart, as in Node's pool: whoever reads words of them finds them aligned.
  used += (length + 7) & ~7;
  for (let i = 0; i < length; i++) copy[i] = bytes[from + i] as number;
  return copy;
}
