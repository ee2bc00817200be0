/**
 * RelaySide: a replica that feeds others: the production relay (src/actors/relay.ts) of each of its lives, over what its LDB
 * is read by, and the doors of those who follow it. What src/reflector/relay-door.ts does with sockets is done here with doors.
 *
 * What must hold of it: it passes on nothing but what its own LDB shows, whatever is under way there.
 */
import type { Connection, Door } from '../../src/actors/gateway/connection.ts';
import { Readers } from '../../src/actors/gateway/readers.ts';
import type { ReflectorEvent } from '../../src/actors/reflector.ts';
import { Relay, type RelayState, type RelayWorld } from '../../src/actors/relay.ts';
import { assert } from '../../src/core/base/assert.ts';
import { lastRevisionIn } from '../../src/core/model/ledger.ts';
import { PART } from '../../src/core/wire/client.ts';
import type { Feeder } from './feeder.ts';
import type { SimDoor } from './node-world.ts';
import { READERS } from './readers.ts';
import { openPart } from './replica-wire.ts';

export interface RelaySideWorld {
  readonly name: string;
  /** Of its process; undefined: it is down. */
  readonly life: () => number | undefined;
  /** It stands still. */
  readonly isPaused: () => boolean;
  /** Runs `work` in that life; never, when it has ended. */
  readonly enter: (life: number, work: () => void) => void;
  /** The newest revision that its LDB shows. */
  readonly shows: () => number;
  readonly fail: (error: Error) => void;
}

export class RelaySide implements Feeder {
  readonly name: string;
  readonly #world: RelaySideWorld;
  #relay: Relay | undefined;
  readonly #doors = new Set<SimDoor>();
  /** Parts of ledgers that it passed on. */
  passed = 0;

  constructor(world: RelaySideWorld) {
    this.name = world.name;
    this.#world = world;
  }

  get life(): number | undefined {
    return this.#world.life();
  }

  // ── its process ──

  begin(life: number, world: Pick<RelayWorld, 'hashAt' | 'isFresh' | 'monotonicMs'> & { lagMs: () => number }): void {
    const relay = new Relay({
      ...world,
      // Another one with each start, as paths are of this life.
      id: `${this.name}-${life}`,
      readers: new Readers(READERS),
      status: () => ({ role: 'relay', lagMs: finite(world.lagMs()), path: relay.path }),
      ldb: this.name,
      onFleet: () => {},
    });
    this.#relay = relay;
  }

  /** Its process is gone; who followed it may be told so by its host. */
  end(): void {
    this.#relay = undefined;
    const doors = [...this.#doors];
    this.#doors.clear();
    for (const door of doors) door.lost();
  }

  /** It is told to end, and says goodbye. */
  close(): void {
    this.#relay?.close();
  }

  get id(): string {
    return this.#relay?.path[0] ?? '';
  }

  follows(above: readonly string[]): void {
    this.#relay?.follows(above);
  }

  sweep(): void {
    this.#relay?.sweep();
  }

  // ── its LDB ──

  opened(state: RelayState): void {
    this.#relay?.opened(state);
  }

  gone(): void {
    this.#relay?.gone();
  }

  note(event: ReflectorEvent): void {
    try {
      if (event.kind === 'applied') this.#relay?.committed(event);
      else if (event.kind === 'snapshot' && event.state === 'end') this.#relay?.replaced();
    } catch (error) {
      this.#world.fail(error instanceof Error ? error : new Error(String(error)));
    }
  }

  // ── its doors ──

  accept(door: SimDoor): Connection | undefined {
    const relay = this.#relay;
    if (relay === undefined || this.#world.isPaused()) return undefined;
    this.#doors.add(door);
    return relay.open(this.#looking(door));
  }

  frame(life: number, connection: Connection, bytes: Uint8Array): void {
    this.#world.enter(life, () => this.#relay?.receive(connection, bytes));
  }

  left(life: number, connection: Connection, door: SimDoor): void {
    this.#doors.delete(door);
    this.#world.enter(life, () => this.#relay?.closed(connection));
  }

  /** The same door; what goes out is looked at. */
  #looking(door: SimDoor): Door {
    return {
      send: (frame) => {
        this.#look(frame);
        door.send(frame);
      },
      close: () => door.close(),
      bufferedBytes: 0,
    };
  }

  #look(frame: Uint8Array): void {
    const part = openPart(frame);
    if (part === undefined) return;
    const { kind, reader } = part;
    let last = 0;
    if (kind === PART.records) last = lastRevisionIn(reader.raw(reader.left));
    else if (kind === PART.snapshotBegin || kind === PART.snapshotEnd) last = reader.u64();
    else return;
    this.passed++;
    const shows = this.#world.shows();
    assert(last <= shows, `${this.name}: it passes on ${last}, and its LDB shows ${shows}`);
  }
}

const finite = (ms: number): number | null => (Number.isFinite(ms) ? ms : null);
