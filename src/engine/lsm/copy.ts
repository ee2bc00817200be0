/**
 * copyOut: bytes that are lent, or shared with other threads, in memory that is the reader's own.
 *
 * From Node's pool of small buffers: a typed array with memory of its own costs half a microsecond before a byte of it
 * is copied, a good part of a read. So a short value is a view of a larger piece that nobody else writes (and that Node
 * does not let anybody transfer to another thread).
 */

/** Longer ones are copied by the engine's own loop. */
const LOOP_BYTES_MAX = 256;

export function copyOut(bytes: Uint8Array, from: number, to: number): Uint8Array {
  const length = to - from;
  const piece = Buffer.allocUnsafe(length);
  // Plain bytes: a Buffer compares, slices and prints in its own way.
  const copy = new Uint8Array(piece.buffer, piece.byteOffset, length);
  if (length > LOOP_BYTES_MAX) copy.set(bytes.subarray(from, to));
  else for (let i = 0; i < length; i++) copy[i] = bytes[from + i] as number;
  return copy;
}
