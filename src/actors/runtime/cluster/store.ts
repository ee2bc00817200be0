/**
 * Store: what actors of a cluster need of the replicated log: one transaction at a time, a look at what this node has now,
 * and leases that end by the log's time.
 */

export interface StoredEntry {
  readonly value: Uint8Array;
  readonly revision: number;
}

export type StoreCondition =
  | { readonly kind: 'revision'; readonly key: string; readonly revision: number }
  | { readonly kind: 'exists'; readonly key: string }
  | { readonly kind: 'absent'; readonly key: string };

/** All of it, or (when a condition does not hold) nothing. */
export interface StoreChange {
  readonly conditions: readonly StoreCondition[];
  readonly puts?: readonly (readonly [key: string, value: Uint8Array])[];
  readonly deletes?: readonly string[];
  /** Read in the same revision, behind the changes; and what is read where they were not made. */
  readonly read?: string;
  readonly readElse?: string;
}

export interface StoreOutcome {
  readonly succeeded: boolean;
  readonly revision: number;
  readonly read: StoredEntry | undefined;
}

/** Somebody's for as long as its key is there; a client's lock. */
export interface HostLease {
  /** Larger than that of every holder before. */
  readonly token: number;
  readonly key: string;
  /** By this node's clock, and early: while it is true nobody else can have it. */
  readonly isHeld: boolean;
  /** Aborted when it is lost, early as well. */
  readonly lost: AbortSignal;
  /** Holds in a transaction for as long as the lease is held. */
  condition(): StoreCondition;
  release(): Promise<void>;
}

export interface ActorStore {
  /** What this node has now: a hint, as it may be behind. Throws UNAVAILABLE while the node starts again. */
  glance(key: string): StoredEntry | undefined;
  /** In doubt it rejects with OUTCOME_UNKNOWN, or another error that does not say that nothing happened. */
  commit(change: StoreChange, options: { readonly deadlineMs: number }): Promise<StoreOutcome>;
  /** Waits until it is this node's. */
  lease(name: string, signal: AbortSignal): Promise<HostLease>;
}
