/**
 * ReplicaWire: a reflector's connection to one life of a node or a relay, as the SDK sees it (src/client/transport.ts) and as
 * whoever feeds it does (a door). A socket: what is sent comes in order, or not at all from some place on. It is reset in the middle of a frame; it
 * stands still, for a while or for ever; its other end goes without a word.
 *
 * On a bad wire parts of the ledger are lost, come twice, or in another order: no socket does that, but whoever stands between
 * may. And once in a run a record comes with another value than it was sent with: bad memory on the way.
 */
import type { Connection } from '../../src/actors/gateway/connection.ts';
import type { Transport, TransportEvents } from '../../src/client/transport.ts';
import { ByteReader, ByteWriter } from '../../src/core/base/bytes.ts';
import { decodeRecords, encodeRecord } from '../../src/core/model/ledger.ts';
import * as wire from '../../src/core/wire/client.ts';
import type { Chance } from './chance.ts';
import type { Feeder } from './feeder.ts';
import type { SimDoor } from './node-world.ts';
import type { EventQueue } from './queue.ts';

export interface WireWorld {
  readonly queue: EventQueue;
  readonly chance: Chance;
  /** One way, mostly. */
  readonly latencyMs: number;
  /** Undefined: there is nobody at that address, or no way to it. */
  readonly feeder: Feeder | undefined;
  readonly events: TransportEvents;
  /** Runs `work` in the reflector's process, if it still lives. */
  readonly enter: (work: () => void) => void;
  readonly isBad: () => boolean;
  /** Something was lost, comes twice or in another order. */
  readonly onDisorder: () => void;
  /** A record of this revision may be changed on its way: true, and it is. */
  readonly mayChange: (revision: number) => boolean;
}

const REFUSED_MS = 1;
/** What comes later than this comes late. */
const QUICK_MS = 1_000;
/** How often a dead host says so. */
const TOLD = 0.7;

export class ReplicaWire {
  readonly #world: WireWorld;
  readonly #life: number | undefined;
  #connection: Connection | undefined;
  #isClosed = false;
  /** Nothing arrives any more, at either end, and neither knows. */
  #isSilent = false;
  #inMs = 0;
  #outMs = 0;
  /** A part that comes, or comes again, behind the next one. */
  #held: Uint8Array | undefined;
  #hasSnapshot = false;
  /** A ledger stream has begun on it, and the reflector has heard so. */
  #isFollowed = false;
  readonly transport: Transport;

  constructor(world: WireWorld) {
    this.#world = world;
    this.#life = world.feeder?.life;
    this.transport = {
      send: (frame) => this.#say(frame),
      bufferedBytes: 0,
      close: () => this.drop(),
    };
    world.queue.after(world.chance.delay(world.latencyMs), () => this.#open());
  }

  #open(): void {
    const { feeder, chance, queue, events, enter } = this.#world;
    if (this.#isClosed) return;
    if (feeder?.life === this.#life && this.#life !== undefined) this.#connection = feeder?.accept(this.#door);
    if (this.#connection !== undefined) enter(() => events.onOpen());
    else if (chance.is(TOLD)) queue.after(REFUSED_MS, () => this.#ended('refused'));
  }

  readonly #door: SimDoor = {
    send: (frame) => this.#hear(frame),
    close: () => this.#later(() => this.#ended('closed by who feeds')),
    bufferedBytes: 0,
    lost: () => {
      if (this.#world.chance.is(TOLD)) this.#later(() => this.#ended('who feeds is gone'));
      else this.#isSilent = true;
    },
  };

  #say(frame: Uint8Array): void {
    const { queue, chance, feeder } = this.#world;
    if (this.#isClosed || this.#isSilent) return;
    this.#outMs = Math.max(this.#outMs, queue.nowMs + chance.delay(this.#world.latencyMs));
    queue.after(this.#outMs - queue.nowMs, () => {
      const { connection, life } = { connection: this.#connection, life: this.#life };
      if (connection !== undefined && life !== undefined && !this.#isClosed) feeder?.frame(life, connection, frame);
    });
  }

  #hear(frame: Uint8Array): void {
    const part = partOf(frame);
    this.#hasSnapshot ||= part === wire.PART.snapshotBegin;
    const mayBeLost = part === wire.PART.records || part === wire.PART.snapshotEntries;
    if (!mayBeLost || this.#isSilent) {
      this.#deliver(frame);
      return;
    }
    const given = this.#changed(frame);
    const { chance, isBad, onDisorder } = this.#world;
    const fate = isBad() ? chance.weighted(FATES) : 'comes';
    if (fate !== 'comes') onDisorder();
    const held = this.#held;
    this.#held = fate === 'overtaken' || fate === 'again' ? given : undefined;
    if (fate !== 'lost' && fate !== 'overtaken') this.#deliver(given);
    if (fate === 'twice') this.#deliver(given);
    if (held !== undefined) this.#deliver(held);
  }

  /** With another value of a row, of the same length. */
  #changed(frame: Uint8Array): Uint8Array {
    if (this.#hasSnapshot) return frame;
    const reader = new ByteReader(frame);
    reader.u8();
    reader.varint();
    // One that is checked would be found out by that: it is the state hash that is tried here.
    if (reader.u8() === wire.PART.checked) return frame;
    const head = frame.subarray(0, reader.at);
    const records = decodeRecords(reader.raw(reader.left));
    const record = records.find(({ changes }) => changes.some(({ value }) => value.length > 0));
    if (record === undefined || !this.#world.mayChange(record.revision)) return frame;
    const writer = new ByteWriter(frame.length + 16).raw(head);
    for (const one of records) {
      const changes = one.changes.map((change) => ({ ...change, value: change.value.slice() }));
      const put = one === record ? changes.find(({ value }) => value.length > 0) : undefined;
      if (put !== undefined) put.value[put.value.length - 1] = (put.value.at(-1) ?? 0) ^ 1;
      encodeRecord(writer, { ...one, changes });
    }
    return writer.take();
  }

  #deliver(frame: Uint8Array): void {
    this.#later(() =>
      this.#world.enter(() => {
        if (this.#isClosed || this.#isSilent) return;
        this.#isFollowed ||= partOf(frame) === wire.PART.hello;
        this.#world.events.onFrame(frame);
      }),
    );
  }

  /** After all that is on its way. */
  #later(work: () => void): void {
    const { queue, chance } = this.#world;
    this.#inMs = Math.max(this.#inMs, queue.nowMs + chance.delay(this.#world.latencyMs));
    queue.after(this.#inMs - queue.nowMs, () => {
      if (!this.#isClosed) work();
    });
  }

  #ended(reason: string): void {
    if (this.#isClosed) return;
    this.drop();
    this.#world.enter(() => this.#world.events.onClose(reason));
  }

  /** Whom its reflector follows over it; undefined: nobody, or neither hears of the other for now. */
  get followed(): Feeder | undefined {
    const { feeder, queue } = this.#world;
    const isQuick = !this.#isClosed && !this.#isSilent && this.#inMs <= queue.nowMs + QUICK_MS;
    return isQuick && this.#isFollowed ? feeder : undefined;
  }

  /** Reset: what is on its way is lost. */
  reset(): void {
    this.#ended('reset');
  }

  /** What comes from now on comes so much later. */
  stall(ms: number): void {
    this.#inMs = Math.max(this.#inMs, this.#world.queue.nowMs + ms);
  }

  goSilent(): void {
    this.#isSilent = true;
  }

  /** Its reflector is gone, or has left. */
  drop(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    const { feeder } = this.#world;
    if (this.#connection !== undefined && this.#life !== undefined)
      feeder?.left(this.#life, this.#connection, this.#door);
  }
}

const FATES = [
  [93, 'comes'],
  [2, 'lost'],
  [1, 'twice'],
  [2, 'again'],
  [2, 'overtaken'],
] as const;

/** The kind of a stream's part, or undefined. */
const partOf = (frame: Uint8Array): number | undefined => openPart(frame)?.kind;

/** A stream's part, and what is behind its kind; undefined: the frame is none. */
export function openPart(frame: Uint8Array): { readonly kind: number; readonly reader: ByteReader } | undefined {
  const reader = new ByteReader(frame);
  if (reader.u8() !== wire.FRAME.stream) return undefined;
  reader.varint();
  const kind = reader.u8();
  if (kind !== wire.PART.checked) return { kind, reader };
  reader.u32();
  return { kind: reader.u8(), reader };
}
