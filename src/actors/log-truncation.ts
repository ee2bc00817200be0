/**
 * LogTruncation: lets the log begin later, as far as nobody needs what goes.
 *
 * Two have to agree: the cluster (every voter holds the entries: `raft.truncatable`) and this node's next start (what
 * the entries did is in synced tables: the mark `flushed`). A voter that is down keeps everybody's log as long as it
 * is; `inspect` at the leader names it.
 *
 * Not with every turn: a step copies what is left in the core's memory, and a segment of the WAL is many steps long.
 *
 * Invariant: the core has let go of what `walTruncateTo` allows the committer to remove, so it reads none of it.
 */
import type { Clock } from '../core/base/env.ts';
import { toIndex } from '../core/base/position.ts';
import type { Raft } from '../core/raft/raft.ts';
import type { NodeId } from '../core/raft/types.ts';
import type { LogFunction } from './runtime/thread.ts';
import type { Shared } from './shared.ts';

export interface TruncationWorld {
  readonly raft: Raft;
  readonly shared: Shared;
  readonly clock: Clock;
  readonly log?: LogFunction;
}

const STEP_EVERY_MS = 1_000;

export class LogTruncation {
  readonly #world: TruncationWorld;
  #steppedMs: number;
  /** Followers that are known to need what is gone. */
  #stranded: ReadonlySet<NodeId> = new Set();

  constructor(world: TruncationWorld) {
    this.#world = world;
    this.#steppedMs = world.clock.monotonicMs();
  }

  /** Call with each tick: now and then it makes a step. */
  tick(): void {
    const nowMs = this.#world.clock.monotonicMs();
    if (nowMs - this.#steppedMs < STEP_EVERY_MS) return;
    this.#steppedMs = nowMs;
    this.#step();
    this.#report();
  }

  #step(): void {
    const { raft, shared } = this.#world;
    const upTo = toIndex(Math.min(raft.truncatable, shared.get('flushed')));
    if (upTo <= raft.log.base) return;
    raft.log.compactTo(upTo);
    shared.set('walTruncateTo', upTo);
  }

  /** A stranded follower needs an operator (nothing but appends can be sent yet): said once, and again if it comes back. */
  #report(): void {
    const { raft, log } = this.#world;
    const stranded = new Set(raft.logHolders?.stranded);
    for (const peer of stranded) {
      if (!this.#stranded.has(peer)) log?.('error', 'raft.follower-stranded', { peer, first: raft.log.first });
    }
    this.#stranded = stranded;
  }

  inspect(): Record<string, unknown> {
    const { raft, shared } = this.#world;
    const { first, matchedByAll } = raft.log;
    return {
      first,
      matchedByAll,
      truncatable: raft.truncatable,
      flushed: shared.get('flushed'),
      /** Who holds the log back, and by how many entries; only a leader knows. */
      heldBy: raft.logHolders,
    };
  }
}
