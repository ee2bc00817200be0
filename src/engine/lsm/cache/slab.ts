/**
 * Slab: private memory for copies of blocks, cut from larger pieces. An allocation per block costs more than the copy
 * of it; eight blocks in one cost little. Who keeps a block keeps its slab, so slabs are small.
 *
 * Copies go in doubles: between shared and private memory the engine copies by elements, and those are the largest.
 */
const SLAB_BYTES = 32 * 1024;
/** A longer copy has a slab of its own. */
const SHARED_BYTES_MAX: number = SLAB_BYTES / 4;

export class Slab {
  #buffer = new ArrayBuffer(SLAB_BYTES);
  #doubles = new Float64Array(this.#buffer);
  #at = 0;

  /** A copy of `bytes` bytes of `source`, from its double `from` on. */
  copy(source: Float64Array, from: number, bytes: number): Uint8Array<ArrayBuffer> {
    const count = (bytes + 7) >>> 3;
    if (bytes > SHARED_BYTES_MAX) {
      const doubles = new Float64Array(count);
      doubles.set(source.subarray(from, from + count));
      return new Uint8Array(doubles.buffer, 0, bytes);
    }
    if (this.#at + count * 8 > SLAB_BYTES) {
      this.#buffer = new ArrayBuffer(SLAB_BYTES);
      this.#doubles = new Float64Array(this.#buffer);
      this.#at = 0;
    }
    const at = this.#at;
    this.#at = at + count * 8;
    this.#doubles.set(source.subarray(from, from + count), at >>> 3);
    return new Uint8Array(this.#buffer, at, bytes);
  }
}
