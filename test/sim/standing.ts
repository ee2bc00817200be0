/**
 * Standing: how an actor of a node stands while turns are given.
 */
import { type ActorName, ACTORS } from '../../src/actors/shared.ts';
import type { Planned } from './queue.ts';

export const BELL_OF: Readonly<Record<ActorName, number>> = Object.fromEntries(
  ACTORS.map((name, i) => [name, i]),
) as Record<ActorName, number>;

/** How an actor of this life stands. */
export interface Standing {
  readonly name: ActorName;
  seen: number;
  planned: Planned | undefined;
  /** It sleeps till its plan, or till its bell rings. */
  sleeps: boolean;
  /** In the turn in hand it asked to look away for so long. */
  pauseMs: number;
  /** Its thread gets no core until then. */
  stalledUntilMs: number;
}

/** As a life begins. */
export const standings = (): Standing[] =>
  ACTORS.map((name) => ({ name, seen: 0, planned: undefined, sleeps: false, pauseMs: 0, stalledUntilMs: 0 }));
