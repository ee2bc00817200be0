/**
 * Errand: one request about members, by frames through whichever node is asked, on a connection of its own.
 */
import type { Connection } from '../../src/actors/gateway/connection.ts';
import { ByteReader, ByteWriter } from '../../src/core/base/bytes.ts';
import * as wire from '../../src/core/wire/client.ts';
import { encodeMemberRequest, type MemberRequest } from '../../src/core/wire/members.ts';
import type { Chance } from './chance.ts';
import type { SimDoor } from './node-world.ts';
import type { SimNode } from './node.ts';
import type { EventQueue } from './queue.ts';

export interface ErrandWorld {
  readonly queue: EventQueue;
  readonly chance: Chance;
}

const LATENCY_MS = 0.3;
export const PATIENCE_MS = 5_000;

/** `hear` is called once, or never. False: nobody was there. */
export function ask(
  world: ErrandWorld,
  node: SimNode,
  request: MemberRequest,
  hear: (reply: wire.Reply) => void,
): boolean {
  const { life } = node;
  if (life === undefined) return false;
  const errand = new Errand(world, node, life, (frame) => {
    const reader = new ByteReader(frame);
    if (reader.u8() === wire.FRAME.replies) hear(wire.decodeReply(reader));
  });
  errand.say(wire.encodeHello({ versionMin: 1, versionMax: wire.PROTOCOL_VERSION, client: 'operator' }));
  const writer = new ByteWriter(128).u8(wire.FRAME.requests);
  const at = wire.beginRequest(writer, { id: 1, kind: wire.REQUEST.members, deadlineMs: PATIENCE_MS });
  writer.raw(encodeMemberRequest(request));
  wire.endRequest(writer, at);
  errand.say(writer.take());
  return true;
}

class Errand implements SimDoor {
  readonly bufferedBytes: number = 0;
  readonly #connection: Connection | undefined;
  readonly #node: SimNode;
  readonly #life: number;
  readonly #onFrame: (frame: Uint8Array) => void;
  readonly #world: ErrandWorld;
  #isClosed = false;

  constructor(world: ErrandWorld, node: SimNode, life: number, onFrame: (frame: Uint8Array) => void) {
    this.#world = world;
    this.#node = node;
    this.#life = life;
    this.#onFrame = onFrame;
    this.#connection = node.accept(this);
    world.queue.after(PATIENCE_MS, () => this.#drop());
  }

  say(frame: Uint8Array): void {
    if (this.#connection !== undefined && !this.#isClosed) this.#node.frame(this.#life, this.#connection, frame);
  }

  send(frame: Uint8Array): void {
    const { queue, chance } = this.#world;
    queue.after(chance.delay(LATENCY_MS), () => {
      if (!this.#isClosed) this.#onFrame(frame);
    });
  }

  close(): void {
    this.#drop();
  }

  lost(): void {
    this.#isClosed = true;
  }

  #drop(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (this.#connection !== undefined) this.#node.left(this.#life, this.#connection, this);
  }
}
