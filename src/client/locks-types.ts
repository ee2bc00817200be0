/**
 * What `client.lock()` and `client.election()` give, in the order a reader meets it. What it promises: docs/locks.md.
 */
import type { Revision } from '../core/base/position.ts';
import type { Bytes, CallOptions, TxnCondition } from './types.ts';

export interface LockOptions extends CallOptions {
  /** How long the lock outlives a holder that is gone; 1 s to 24 h, default 15 s. It is renewed three times as often. */
  readonly ttlMs?: number;
  /** Longest time behind others; 0: only if it is free. Default: until the deadline. */
  readonly waitMs?: number;
}

/** Something that one client at a time has, for as long as it keeps saying so. */
export interface Held {
  /** Fencing token: the revision at which its holder queued up. Each holder's is larger than all before. */
  readonly token: Revision;
  /** The key that stands for it in the store. */
  readonly key: string;
  /**
   * Aborted as soon as it may be lost, with a `StoreError` of code LOCK_LOST: not renewed in time (by this host's monotonic
   * clock, counted from before the renewal was sent), gone from the store, or given back.
   */
  readonly lost: AbortSignal;
  /** Asks the clock, now: after a pause of the process the clock knows before `lost` does. */
  readonly isHeld: boolean;
  /** For `t.if(…)`: a transaction with it changes nothing once this is lost, whatever the client believes. */
  condition(): TxnCondition;
}

export interface Lock extends Held, AsyncDisposable {
  /** Gives it back; the next in the queue has it within a round trip. May be called twice. */
  release(): Promise<void>;
}

export interface Leader {
  readonly token: Revision;
  readonly key: string;
  /** What it campaigned with, or proclaimed since. */
  readonly value: Uint8Array;
  text(): string;
}

export interface Leadership extends Held, AsyncDisposable {
  /** Changes the value that observers see. LOCK_LOST when it no longer leads. */
  proclaim(value: Bytes, options?: CallOptions): Promise<void>;
  /** Gives it back; the next candidate leads within a round trip. May be called twice. */
  resign(): Promise<void>;
}

export interface Election {
  /** Resolves when elected; first come, first served. One campaign of an `Election` at a time. */
  campaign(value: Bytes, options?: LockOptions): Promise<Leadership>;
  /** Who leads now, confirmed with a quorum; undefined: nobody. */
  leader(options?: CallOptions): Promise<Leader | undefined>;
  /**
   * Who leads (if somebody does), then every change in order: a new leader, a new value, undefined when nobody is left.
   * It goes on across reconnects; it ends with COMPACTED when its reader was too slow, as a watch does.
   */
  observe(options?: { readonly signal?: AbortSignal }): AsyncIterable<Leader | undefined>;
  /** As `Leadership.proclaim` of the campaign that was won last. */
  proclaim(value: Bytes, options?: CallOptions): Promise<void>;
  /** As `Leadership.resign` of the campaign that was won last; without one it does nothing. */
  resign(): Promise<void>;
}
