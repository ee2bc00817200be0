/**
 * Spans: ledger records that were just read for a subscription. The next one that is at the same place is sent the same
 * frame: a thousand replicas that have all there is are told of a write in one.
 */
import { must } from '../core/base/assert.ts';
import { ByteWriter } from '../core/base/bytes.ts';
import type { Revision } from '../core/base/position.ts';
import { FRAME, PART } from '../core/wire/client.ts';

export interface Span {
  readonly bytes: Uint8Array;
  readonly last: Revision;
}

interface Kept extends Span {
  readonly from: Revision;
  /** By the request that is in it. */
  readonly frames: Map<number, Uint8Array<ArrayBuffer>>;
}

/** Frame type, request and part. */
const HEADER_BYTES_MAX = 16;

export class Spans {
  readonly #read: (from: Revision, bytesMax: number) => Span | undefined;
  #kept: Kept | undefined;

  constructor(read: (from: Revision, bytesMax: number) => Span | undefined) {
    this.#read = read;
  }

  /** Whole records from `from` on; undefined: there are none, or none any more. */
  next(from: Revision, bytesMax: number): Span | undefined {
    const kept = this.#kept;
    if (kept !== undefined && kept.from === from && kept.bytes.length <= bytesMax) return kept;
    const span = this.#read(from, bytesMax);
    this.#kept = span && { from, bytes: span.bytes, last: span.last, frames: new Map() };
    return this.#kept;
  }

  /** The frame with the span that `next` gave last, for a stream of this request. */
  frame(request: number): Uint8Array<ArrayBuffer> {
    const { bytes, frames } = must(this.#kept, 'a span is read before it is framed');
    let frame = frames.get(request);
    if (frame === undefined) {
      const writer = new ByteWriter(bytes.length + HEADER_BYTES_MAX);
      frame = writer.u8(FRAME.stream).varint(request).u8(PART.records).raw(bytes).take();
      frames.set(request, frame);
    }
    return frame;
  }

  /** The frames are gone. */
  clear(): void {
    this.#kept = undefined;
  }
}
