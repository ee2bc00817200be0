/**
 * RepairWatch: how far a node is that began with an empty directory because its own was damaged: for /readyz, `kvctl
 * status`, a metric and the log. It is in repair until it has, as a learner, what the others have; its vote comes back
 * a moment later, by itself.
 */
import type { LogFunction } from '../actors/runtime/thread.ts';
import type { NodeStatus } from '../client/types.ts';

export interface RepairFacts {
  /** Its directory took the place of a damaged one. */
  readonly isRepaired: boolean;
  readonly status: Pick<NodeStatus, 'role' | 'leader' | 'committed' | 'applied' | 'lagMs'>;
  /** Of a snapshot on its way in; 0 bytes: there is none. */
  readonly snapshot: { readonly bytes: number; readonly received: number };
}

/** A state older than that is still being fed; the leader's clock moves log time each second. */
export const FED_LAG_MS = 5_000;

/** "receives a snapshot: 43 %"; undefined: it is not in repair. */
export function repairState({ isRepaired, status, snapshot }: RepairFacts): string | undefined {
  const { role, leader, committed, applied, lagMs } = status;
  if (!isRepaired || role !== 'learner') return undefined;
  if (leader === null) return 'waits for a leader';
  if (snapshot.bytes > 0) return `receives a snapshot: ${percent(snapshot.received, snapshot.bytes)}`;
  if (lagMs !== null && lagMs <= FED_LAG_MS && applied === committed) return undefined;
  return `applies the log: ${percent(applied, committed)}`;
}

const percent = (part: number, whole: number): string =>
  `${whole === 0 ? 0 : Math.floor((100 * Math.min(part, whole)) / whole)} %`;

const LOOK_EVERY_MS = 1_000;
/** Told once in so long while nothing moves. */
const STUCK_MS = 5 * 60_000;

export interface RepairWatchWorld {
  readonly state: () => string | undefined;
  readonly nowMs: () => number;
  readonly log: LogFunction;
}

export class RepairWatch {
  readonly #world: RepairWatchWorld;
  readonly #timer: NodeJS.Timeout;
  #said: string | undefined;
  #sinceMs: number;

  constructor(world: RepairWatchWorld) {
    this.#world = world;
    this.#sinceMs = world.nowMs();
    this.#timer = setInterval(() => this.look(), LOOK_EVERY_MS).unref();
    this.look();
  }

  look(): void {
    const { state, nowMs, log } = this.#world;
    const now = state();
    if (now !== this.#said) {
      if (now === undefined) log('info', 'repair.done');
      else log('info', 'repair.progress', { state: now });
      this.#said = now;
      this.#sinceMs = nowMs();
    } else if (now !== undefined && nowMs() - this.#sinceMs >= STUCK_MS) {
      const advice = 'see kvctl member list at the others, and the logs of the leader';
      log('error', 'repair.stuck', { state: now, minutes: Math.round((nowMs() - this.#sinceMs) / 60_000), advice });
      this.#sinceMs = nowMs();
    }
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}
