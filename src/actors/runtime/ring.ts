/**
 * Ring: frames of bytes from one thread to another through a SharedArrayBuffer. One writer, one reader, no
 * clone, no message per frame: a whole turn's work crosses with one wake-up.
 *
 *   words   0 read position · 1 write position     bytes since the start, modulo 2^32
 *           2 frames read   · 3 frames written     the same; for who looks how full it is
 *   frame   length u32 | bytes | padding to 4       never wraps: when it does not fit before the end, a length
 *                                                   of 0xffffffff says "go on at the start"
 *
 * The bound is the buffer. At the bound `write` says no, and the sender decides: wait, refuse or keep.
 */
import { assert } from '../../core/base/assert.ts';

const READ = 0;
const WRITE = 1;
const FRAMES_READ = 2;
const FRAMES_WRITTEN = 3;
const HEADER_BYTES = 16;
const WRAP = 0xffff_ffff;

const padded = (bytes: number): number => (bytes + 3) & ~3;

export class Ring {
  protected readonly words: Int32Array;
  protected readonly bytes: Uint8Array;
  protected readonly view: DataView;
  readonly capacityBytes: number;

  constructor(buffer: SharedArrayBuffer) {
    this.words = new Int32Array(buffer, 0, HEADER_BYTES / 4);
    this.bytes = new Uint8Array(buffer, HEADER_BYTES);
    this.view = new DataView(buffer, HEADER_BYTES);
    this.capacityBytes = this.bytes.length;
    assert((this.capacityBytes & (this.capacityBytes - 1)) === 0, 'a ring is a power of two');
  }

  /** Bytes written and not yet read, headers included. */
  get usedBytes(): number {
    return (Atomics.load(this.words, WRITE) - Atomics.load(this.words, READ)) >>> 0;
  }

  /** Frames written and not yet read. Read first: it is never more than was written. */
  get frames(): number {
    const read = Atomics.load(this.words, FRAMES_READ);
    return (Atomics.load(this.words, FRAMES_WRITTEN) - read) >>> 0;
  }
}

export function createRing(capacityBytes: number): SharedArrayBuffer {
  return new SharedArrayBuffer(HEADER_BYTES + capacityBytes);
}

/** The largest frame that always fits sooner or later, wherever the positions stand. */
export const frameBytesMax = (capacityBytes: number): number => capacityBytes / 2 - 8;

export class RingWriter extends Ring {
  get freeBytes(): number {
    return this.capacityBytes - this.usedBytes;
  }

  /** Puts one frame; false when there is no room now. */
  write(frame: Uint8Array): boolean {
    assert(frame.length <= frameBytesMax(this.capacityBytes), 'a frame fits in half a ring');
    const write = Atomics.load(this.words, WRITE) >>> 0;
    const at = write % this.capacityBytes;
    const needed = 4 + padded(frame.length);
    const toEnd = this.capacityBytes - at;
    const skip = needed > toEnd ? toEnd : 0;
    if (needed + skip > this.freeBytes) return false;
    const start = skip > 0 ? 0 : at;
    if (skip > 0) this.view.setUint32(at, WRAP, true);
    this.view.setUint32(start, frame.length, true);
    this.bytes.set(frame, start + 4);
    // Counted first: a reader that is quick must not have read more than was written.
    Atomics.add(this.words, FRAMES_WRITTEN, 1);
    Atomics.store(this.words, WRITE, (write + skip + needed) | 0);
    return true;
  }
}

export class RingReader extends Ring {
  #next = 0;

  /** The oldest frame, in place (shared memory: copy what outlives `pop`), or undefined. */
  peek(): Uint8Array | undefined {
    let read = Atomics.load(this.words, READ) >>> 0;
    const write = Atomics.load(this.words, WRITE) >>> 0;
    if (read === write) return undefined;
    let at = read % this.capacityBytes;
    let length = this.view.getUint32(at, true);
    if (length === WRAP) {
      read = (read + this.capacityBytes - at) >>> 0;
      at = 0;
      length = this.view.getUint32(0, true);
    }
    assert(length <= frameBytesMax(this.capacityBytes), 'a ring holds frames it accepted');
    this.#next = (read + 4 + padded(length)) | 0;
    return this.bytes.subarray(at + 4, at + 4 + length);
  }

  /** Lets the frame that `peek` gave go. */
  pop(): void {
    Atomics.add(this.words, FRAMES_READ, 1);
    Atomics.store(this.words, READ, this.#next);
  }
}

/** Writes frames while there is room; returns the rest. */
export function drain(frames: readonly Uint8Array[], ring: RingWriter): Uint8Array[] {
  let count = 0;
  while (count < frames.length && ring.write(frames[count] as Uint8Array)) count++;
  return frames.slice(count);
}
