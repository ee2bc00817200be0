/**
 * What a node is given by the run it is part of, and what it gives to clients.
 */
import type { Door } from '../../src/actors/gateway/connection.ts';
import type { Member } from '../../src/core/raft/membership.ts';
import type { Chance } from './chance.ts';
import type { SimNetwork } from './network.ts';
import type { SimNode } from './node.ts';
import type { Switches } from './options.ts';
import type { Oracle } from './oracle.ts';
import type { EventQueue } from './queue.ts';
import type { Trace } from './trace.ts';

export interface NodeWorld {
  readonly queue: EventQueue;
  readonly chance: Chance;
  readonly trace: Trace;
  readonly network: SimNetwork;
  readonly oracle: Oracle;
  readonly switches: Switches;
  readonly founders: readonly Member[];
  /** Everybody whom a config may name. */
  readonly members: readonly Member[];
  readonly nodes: () => readonly SimNode[];
  /** Lets so much time pass, with all that happens in it, while whoever calls this stands still. */
  readonly pass: (ms: number) => void;
  /** Promises are to run before the next event. */
  readonly async: () => void;
  /** Something is wrong that no fault explains. */
  readonly fail: (error: Error) => void;
}

/** A client's end of a connection: the node's door, and what it is told when the node is gone. */
export interface SimDoor extends Door {
  lost(): void;
}
