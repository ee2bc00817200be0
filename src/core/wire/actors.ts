/**
 * Actors as a node shows them: its own and the application's, in one shape, a row for each. Asked for by people, so it is
 * JSON; a node of another version may speak, so whoever reads it looks at what it needs.
 *
 * Rows are in the order of a tree: who spawned somebody stands before him.
 */
import { StoreError } from '../base/errors.ts';

/** `stuck`: a handler does not return, or its thread does not answer. `coming back`: between two lives. */
export type ActorState = 'starting' | 'running' | 'stuck' | 'stopping' | 'coming back';

export interface ActorRow {
  /** Whose it is. */
  readonly part: 'node' | 'application';
  /** `/` and the names of its parents and its own. */
  readonly path: string;
  /** What it is: its definition's name. */
  readonly name: string;
  /** 'main', or the thread's name. */
  readonly thread: string;
  readonly state: ActorState;
  /** Messages that wait: for an actor of the node, frames in its rings, each of a turn's messages. */
  readonly waits: number;
  /** The most that waited at once since it last started; undefined of an actor of a node. */
  readonly waitsMost?: number | undefined;
  /** How full its mailbox is, 0 to 1, by whichever of its bounds is nearer: messages, bytes. */
  readonly fullness: number;
  /** Messages that its newest life has handled; turns, for an actor of the node. */
  readonly handled: number;
  /** 99 in 100 were handled within this many ms, to a factor of two; null: none was timed yet. */
  readonly p99Ms: number | null;
  /** The same by kind of message. */
  readonly kinds: readonly KindRow[];
  /** How often it was started again. */
  readonly restarts: number;
  /** The kind in hand, and for how long, where a handler has not returned. */
  readonly busyWith?: { readonly kind: string; readonly forMs: number } | undefined;
}

export interface KindRow {
  readonly kind: string;
  readonly p99Ms: number;
}

export interface ActorsView {
  readonly node: string;
  readonly rows: readonly ActorRow[];
  /** Rows that there was no room for. */
  readonly leftOff: number;
  /** Messages of the application's actors that reached nobody, by reason, in all threads. */
  readonly deadLetters: Readonly<Record<string, number>>;
}

/** Rows that a node shows at most. */
export const ACTOR_ROWS_MAX = 1_000;

/** Throws PROTOCOL_ERROR when it is no view of actors. */
export function decodeActorsView(bytes: Uint8Array): ActorsView {
  const view = JSON.parse(new TextDecoder().decode(bytes)) as Partial<ActorsView> | null;
  const isView = typeof view?.node === 'string' && Array.isArray(view.rows) && typeof view.leftOff === 'number';
  if (!isView) throw new StoreError('PROTOCOL_ERROR', 'the reply says nothing of actors');
  return view as ActorsView;
}
