/**
 * PauseWatch: notices that this thread stood still (a stopped process, a frozen host, a long collection of garbage),
 * and has a leader step down that may have been replaced meanwhile.
 *
 * Raft's time is counted in ticks, and a pause of any length is one tick long: a leader that slept for a minute would
 * go on for a whole election timeout before CheckQuorum asks who has spoken since. It could answer nothing wrong, since
 * every read has a round of its own and nothing is committed without a quorum; but it would take writes and reads
 * that it cannot finish. So the clock is asked, before anything that waits is looked at: after a gap of an election
 * timeout the leader's time is up, whatever was said before the gap, and it is stepped down by the ticks it missed.
 *
 * A follower that was paused is given no ticks: its leader's heartbeats may wait in its sockets, and it would stand
 * for no reason.
 */
import type { Raft } from '../core/raft/raft.ts';
import type { LogFunction } from './runtime/thread.ts';
import type { Shared } from './shared.ts';

export interface PauseWorld {
  readonly raft: Pick<Raft, 'isLeader' | 'role' | 'term' | 'tick'>;
  readonly shared: Pick<Shared, 'add'>;
  readonly monotonicMs: () => number;
  /** Silence for which followers wait: a leader's word holds no longer. */
  readonly electionTimeoutMs: number;
  /** The same in ticks. */
  readonly electionTicks: number;
  readonly log?: LogFunction | undefined;
}

export class PauseWatch {
  readonly #world: PauseWorld;
  /** When it last looked; a start may take as long as it likes. */
  #seenMs = Number.POSITIVE_INFINITY;

  constructor(world: PauseWorld) {
    this.#world = world;
  }

  /** At the beginning of every turn, before what has arrived is looked at; ticks bring one many times a timeout. */
  look(): void {
    const nowMs = this.#world.monotonicMs();
    const gapMs = nowMs - this.#seenMs;
    this.#seenMs = nowMs;
    if (gapMs > this.#world.electionTimeoutMs) this.#wake(gapMs);
  }

  #wake(gapMs: number): void {
    const { raft, shared, electionTicks, log } = this.#world;
    const { role, term } = raft;
    shared.add('pauses', 1);
    shared.add('pausedMs', Math.round(gapMs));
    // Two timeouts: the first may end on what peers said before the pause. Where no other is needed, it leads on.
    for (let ticks = 0; ticks < 2 * electionTicks && raft.isLeader; ticks++) raft.tick();
    log?.('warn', 'node.paused', {
      ms: Math.round(gapMs),
      role,
      term,
      steppedDown: role === 'leader' && !raft.isLeader,
    });
  }
}
