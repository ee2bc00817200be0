/**
 * The SDK's public types of staged delivery (docs/staged-delivery.md).
 */
import type { Revision } from '../core/base/position.ts';
import type { FilterInput } from '../core/model/ledger-filter.ts';
import type { CallOptions, GetOptions, WriteResult } from './call-types.ts';

export interface StageSpec extends FilterInput {
  /**
   * Rings of hosts before everybody else, in the order in which they are shown what is new; the first of them follows.
   * Default none: everybody waits for a release. At most 15.
   */
  readonly rings?: readonly string[];
}

export interface RingView {
  /** `*`: everybody who is in no other ring. */
  readonly name: string;
  /** It is shown the data as of this revision; null: it follows. */
  readonly shown: Revision | null;
}

export interface StageView {
  readonly name: string;
  readonly created: Revision;
  readonly families: readonly string[];
  /** As `family/table`. */
  readonly tables: readonly string[];
  readonly prefixes: readonly string[];
  /** In their order; the last is `*`. */
  readonly rings: readonly RingView[];
  /** What everybody was shown before: where a rollback may go. */
  readonly good: Revision;
  /** Why nothing is released; null: it may be. */
  readonly halted: string | null;
}

/**
 * Which data hosts are shown ring by ring. Beside what every call may fail with: NOT_FOUND (no such stage or ring), BAD_REQUEST,
 * DISABLED (the stage is halted).
 */
export interface Stages {
  /** ALREADY_EXISTS: the name, or another stage is of some of it. At most 64 stages. */
  create(stage: string, spec: StageSpec, options?: CallOptions): Promise<WriteResult>;
  list(options?: GetOptions): Promise<StageView[]>;
  /** The ring is shown what the ring before it is shown now; the first ring, or behind one that follows: what there is now. */
  release(stage: string, ring: string, options?: CallOptions): Promise<WriteResult>;
  /** The ring is shown every change at once, from now on. */
  follow(stage: string, ring: string, options?: CallOptions): Promise<WriteResult>;
  /** Rings that follow stay at what there is now; but the first of several goes on. */
  hold(stage: string, options?: CallOptions): Promise<WriteResult>;
  /** Nothing is released until `resume`. What is shown stays as it is; a ring that follows goes on. */
  halt(stage: string, reason: string, options?: CallOptions): Promise<WriteResult>;
  resume(stage: string, options?: CallOptions): Promise<WriteResult>;
  /**
   * All rings go back: to what everybody (`*`) is shown, if a ring is shown more; else to what everybody was shown before. And
   * the stage is halted.
   */
  rollback(stage: string, options?: CallOptions): Promise<WriteResult>;
  /** For emergencies: everybody is shown what there is, at once and from now on, also when it was halted. */
  bypass(stage: string, options?: CallOptions): Promise<WriteResult>;
  /** The data is not staged any more: everybody is shown what there is. */
  drop(stage: string, options?: CallOptions): Promise<WriteResult>;
}
