/**
 * TappedWriter: a ring that is looked into, and may lose what is written to it.
 */
import { RingWriter } from '../../src/actors/runtime/ring.ts';

export class TappedWriter extends RingWriter {
  readonly #tap: (frame: Uint8Array) => boolean;

  /** `tap` says whether the frame is to be written at all. */
  constructor(buffer: SharedArrayBuffer, tap: (frame: Uint8Array) => boolean) {
    super(buffer);
    this.#tap = tap;
  }

  override write(frame: Uint8Array): boolean {
    if (this.freeBytes < 2 * frame.length + 16) return super.write(frame);
    return this.#tap(frame) ? super.write(frame) : true;
  }
}
