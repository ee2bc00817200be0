/**
 * Fence: nothing that this thread reads or writes in shared memory moves across it, to either side.
 *
 * Atomics.store orders what stood before it, Atomics.load what comes after; neither keeps a *later* plain write from
 * being seen first, nor an *earlier* plain read from being done last. A seqlock needs exactly these two: its writer
 * says "being changed" before it changes a byte, its reader looks again after the last byte it copied. (On x64 the
 * processor does both by itself; ARM does not.)
 *
 * The exchange is on a word of the thread's own, so threads do not meet in it.
 */
const WORD = new Int32Array(new SharedArrayBuffer(4));

export function fence(): void {
  Atomics.exchange(WORD, 0, 0);
}
