/**
 * Feeder: whom a replica follows, as its wire sees it: a node, or another replica that is a relay. Over all of its lives.
 */
import type { Connection } from '../../src/actors/gateway/connection.ts';
import type { SimDoor } from './node-world.ts';

export interface Feeder {
  readonly name: string;
  /** Undefined: it is down. */
  readonly life: number | undefined;
  /** Somebody connects; undefined: nobody is there. */
  accept(door: SimDoor): Connection | undefined;
  /** A frame arrives on a connection of this life. */
  frame(life: number, connection: Connection, bytes: Uint8Array): void;
  left(life: number, connection: Connection, door: SimDoor): void;
}
