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

export interface GuardOptions {
  /**
   * Is all well with what this host is shown? A text says what is not. An error, and no answer within `checkDeadlineMs`, are as
   * bad.
   */
  readonly check: (stage: StageView) => string | undefined | Promise<string | undefined>;
  /** Between two checks; default 5000. */
  readonly everyMs?: number;
  /** Default 5000. */
  readonly checkDeadlineMs?: number;
  /** What is done about it; default 'halt': nothing more is released. 'rollback': and all rings go back to what everybody is shown. */
  readonly act?: 'halt' | 'rollback';
  /** Ends it. */
  readonly signal?: AbortSignal;
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
   * the stage is halted. `onlyUnreleased`: in the second case BAD_REQUEST.
   */
  rollback(
    stage: string,
    options?: CallOptions & { readonly onlyUnreleased?: boolean | undefined },
  ): Promise<WriteResult>;
  /** For emergencies: everybody is shown what there is, at once and from now on, also when it was halted. */
  bypass(stage: string, options?: CallOptions): Promise<WriteResult>;
  /**
   * Looks after a stage from a host of an early ring: asks `check` while some ring is shown more than everybody, and halts the
   * stage when it does not like it. Resolves with the reason then; with undefined when `signal` says stop. What may pass (no
   * leader, no connection) it gets over; it rejects with what does not: NOT_FOUND, CLOSED.
   */
  guard(stage: string, options: GuardOptions): Promise<string | undefined>;
  /** The data is not staged any more: everybody is shown what there is. */
  drop(stage: string, options?: CallOptions): Promise<WriteResult>;
}
