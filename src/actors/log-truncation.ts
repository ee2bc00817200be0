/**
 * LogTruncation: lets the log begin later, as far as nobody needs what goes.
 *
 * What the entries did must be in synced tables here: the mark `flushed`, where this node's next start begins. Beside
 * that the log is kept for others:
 *  - for members that do not have it yet (`raft.log.truncatable`), as long as it is no longer than `walKeepBytes`: the mark
 *    `walKeepFrom`. Who is away for longer is sent a snapshot when it is back; `inspect` at the leader names it;
 *  - behind a snapshot that is being sent (`hold`): what comes after it is sent as entries.
 *
 * Not with every turn: a step copies what is left in the core's memory, and a segment of the WAL is many steps long.
 *
 * Invariant: the core has let go of what `walTruncateTo` allows the committer to remove, so it reads none of it.
 */
import type { Clock } from '../core/base/env.ts';
import { type Index, toIndex } from '../core/base/position.ts';
import type { Raft } from '../core/raft/raft.ts';
import type { LogFacts } from './facts.ts';
import type { Shared } from './shared.ts';

export interface TruncationWorld {
  readonly raft: Raft;
  readonly shared: Shared;
  readonly clock: Clock;
  /** The log may not begin behind it. */
  readonly hold: () => Index | undefined;
}

const STEP_EVERY_MS = 1_000;

export class LogTruncation {
  readonly #world: TruncationWorld;
  #steppedMs: number;

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
  }

  #step(): void {
    const { raft, shared, hold } = this.#world;
    const tooMuch = Math.min(shared.get('walKeepFrom'), raft.log.applying);
    const unneeded = Math.max(raft.log.truncatable, tooMuch);
    const upTo = toIndex(Math.min(unneeded, shared.get('flushed'), hold() ?? unneeded));
    if (upTo <= raft.log.base) return;
    raft.log.compactTo(upTo);
    shared.set('walTruncateTo', upTo);
  }

  inspect(): LogFacts {
    const { raft, shared } = this.#world;
    const { first, matchedByAll } = raft.log;
    return {
      first,
      matchedByAll,
      truncatable: raft.log.truncatable,
      flushed: shared.get('flushed'),
      keptFrom: shared.get('walKeepFrom'),
      heldBy: raft.logHolders,
    };
  }
}
