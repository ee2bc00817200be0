/**
 * GatewayOutbox: frames for the gateway, in their order: what finds no room in the ring waits here.
 *
 * Bound: what waits is refusals, read indexes and news, no more than the gateway has asked for.
 */
import { ByteWriter } from '../core/base/bytes.ts';
import { TO_GATEWAY } from './messages.ts';
import type { Bell } from './runtime/bell.ts';
import { drain, type RingWriter } from './runtime/ring.ts';

export class GatewayOutbox {
  readonly #ring: RingWriter;
  readonly #gateway: Bell;
  #backlog: Uint8Array[] = [];

  constructor(ring: RingWriter, gateway: Bell) {
    this.#ring = ring;
    this.#gateway = gateway;
  }

  tell(frame: ByteWriter): void {
    if (this.#backlog.length > 0 || !this.#ring.write(frame.view())) this.#backlog.push(frame.take());
    this.#gateway.ring();
  }

  /** These commands were not proposed, by their tokens. */
  refused(code: number, tokens: readonly number[]): void {
    const frame = new ByteWriter(16 + tokens.length * 4).u8(TO_GATEWAY.refused).u8(code);
    for (const token of tokens) frame.u32(token);
    this.tell(frame);
  }

  /** The ring may have room again. */
  sendBacklog(): void {
    if (this.#backlog.length === 0) return;
    this.#backlog = drain(this.#backlog, this.#ring);
    this.#gateway.ring();
  }
}
