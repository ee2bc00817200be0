/**
 * The SDK's public types that every part of its face is made of: what calls take, and what writes give.
 */
import type { Revision } from '../core/base/position.ts';
import type { FleetVisibility } from '../core/wire/fleet.ts';

/** A key or value as callers may give it: text is UTF-8. */
export type Bytes = Uint8Array | string;

export interface CallOptions {
  /** Milliseconds until the call gives up; default `ConnectOptions.deadlineMs` (10 000). */
  readonly deadlineMs?: number;
  readonly signal?: AbortSignal;
  /**
   * Of a write: the W3C traceparent that it is a part of. If that is sampled, a node that has a tracer tells its stages as
   * spans below it. A node that does not know traces refuses the call
   * (BAD_REQUEST).
   */
  readonly trace?: string;
}

/** How many replicas are to show a revision, and by when. */
export interface Visible {
  /** Their share of all that count: above 0, at most 1. */
  readonly replicas: number;
  /** Milliseconds, from the write's answer on; default 1000, at most ten minutes. */
  readonly withinMs?: number;
  /** With fewer replicas than this there are never enough. Default 0: where none is connected nobody is waited for. */
  readonly replicasMin?: number;
}

export interface WriteOptions extends CallOptions {
  /**
   * Resolves only when so many local replicas show the write: `db.fleet`, docs/fleet.md. NOT_VISIBLE when they do not in
   * time, with who does not; the write is done all the same, as `data.revision`.
   */
  readonly visible?: Visible;
}

export interface PutOptions extends WriteOptions {
  /** Milliseconds to live, from the moment the leader takes the write; never less. The time nobody leads does not count. */
  readonly ttlMs?: number;
}

export interface GetOptions extends CallOptions {
  /**
   * 'linearizable' (default): sees every write acknowledged before the call, confirmed with a quorum.
   * 'local': what the connected node has now; answers with the quorum lost.
   */
  readonly consistency?: 'linearizable' | 'local';
  /** Waits until the node has applied this revision (read your own write anywhere). */
  readonly atLeast?: Revision | number;
  /**
   * Sees every write that was acknowledged this many milliseconds before the call: answered by the connected node
   * alone while it can prove that of its state, else confirmed with a quorum. TOO_STALE when neither can be by the
   * deadline. With `consistency: 'linearizable'`, which asks for more, it changes nothing.
   */
  readonly maxStalenessMs?: number;
  /** The state of exactly this revision. COMPACTED, with `data.oldestRevision`, when the node no longer has it. */
  readonly revision?: Revision | number;
}

export interface WriteResult {
  readonly revision: Revision;
  /** Of the replicas that were waited for: how many there are, and how many show it. */
  readonly visibility?: FleetVisibility;
}
