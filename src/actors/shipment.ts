/**
 * Shipment: parts of the ledger on their way from a shipper to the sockets of those who read it.
 *
 * A thousand replicas that are all at the same place get the same frame. It is made once, crosses to the gateway's thread
 * once, in one message with those of everybody else, and gets its WebSocket header once (SharedFrame). What is left for
 * each is its socket's own work.
 */
import type { EndReason, FromShipper } from './shipper-messages.ts';

/** A message's worth: what more there is crosses in the next one, while the first leaves. */
const BYTES_MAX = 512 * 1024;
const PARTS_MAX = 4096;

/** What a shipper has for the gateway, until there is enough of it for a message, or its turn is over. */
export class Shipment {
  readonly #post: (message: FromShipper) => void;
  #places = new Map<Uint8Array<ArrayBuffer>, number>();
  #to: number[] = [];
  #bytes = 0;

  constructor(post: (message: FromShipper) => void) {
    this.#post = post;
  }

  /** `frame` belongs to the shipment until it leaves, and may be added for others. */
  add(sub: number, reader: number, frame: Uint8Array<ArrayBuffer>): void {
    let place = this.#places.get(frame);
    if (place === undefined) {
      place = this.#places.size;
      this.#places.set(frame, place);
      this.#bytes += frame.length;
    }
    this.#to.push(sub, reader, place);
  }

  /** There is enough for a message. */
  get isFull(): boolean {
    return this.#bytes >= BYTES_MAX || this.#to.length >= PARTS_MAX * 3;
  }

  /** All of it leaves, and the frames with it: they are whoever's gets them. The end of a slice is told in any case. */
  leave(endsSlice = false): void {
    if (this.#to.length === 0 && !endsSlice) return;
    const [frames, to] = [[...this.#places.keys()], this.#to];
    this.#places = new Map();
    this.#to = [];
    this.#bytes = 0;
    this.#post({ kind: 'parts', frames, to, endsSlice });
  }

  /** Of a subscription to which nothing is on its way here. */
  end(sub: number, error: EndReason): void {
    this.#post({ kind: 'end', sub, error });
  }
}

/** A frame that leaves by several doors: what one of them has made of it, the others take. Its bytes are never written to. */
export class SharedFrame {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** As it goes on the wire of a WebSocket, once a door needed that. */
  onWire: Uint8Array | undefined;

  constructor(bytes: Uint8Array<ArrayBuffer>) {
    this.bytes = bytes;
  }
}
