/**
 * DiskWatch: a leader whose own disk stands still hands over.
 *
 * Others commit without its disk, but it applies only what it has synced itself: its clients would wait for as long as
 * its disk does, while a node with a good disk could lead. A disk that stands still for an election timeout is taken for
 * slow; when nobody can take over, it is asked again after as long.
 */
import type { Raft } from '../core/raft/raft.ts';
import type { LogFunction } from './runtime/thread.ts';

export interface DiskWatchWorld {
  readonly raft: Pick<Raft, 'isLeader' | 'isTransferring' | 'transfer'>;
  readonly monotonicMs: () => number;
  readonly slowAfterMs: number;
  readonly log?: LogFunction | undefined;
}

export class DiskWatch {
  readonly #world: DiskWatchWorld;
  #syncedSeq = -1;
  /** Since when nothing was synced though something waits. */
  #sinceMs: number | undefined;
  #askedMs = Number.NEGATIVE_INFINITY;

  constructor(world: DiskWatchWorld) {
    this.#world = world;
  }

  /** With each tick: `waits` says whether anything that was handed to the WAL is not synced. */
  look(waits: boolean, syncedSeq: number): void {
    const nowMs = this.#world.monotonicMs();
    if (!waits || syncedSeq !== this.#syncedSeq) {
      this.#syncedSeq = syncedSeq;
      this.#sinceMs = waits ? nowMs : undefined;
      return;
    }
    this.#sinceMs ??= nowMs;
    const { raft, slowAfterMs, log } = this.#world;
    const waitedMs = nowMs - this.#sinceMs;
    if (waitedMs < slowAfterMs || !raft.isLeader || raft.isTransferring || nowMs - this.#askedMs < slowAfterMs) return;
    this.#askedMs = nowMs;
    const handsOver = raft.transfer();
    log?.('warn', 'disk.slow', { ms: Math.round(waitedMs), handsOver });
  }
}
