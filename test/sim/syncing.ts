/**
 * Syncing: the syncs of a node's log that take a while. A sync takes its time, and now and then somebody has a turn in it:
 * what is written then, it need not cover, and the node may end in it. What was written before is on the disk from the
 * sync's beginning, or at its end. The other syncs are points in time.
 */
import type { NodeWorld } from './node-world.ts';

/** How many of the syncs are no point in time. */
const DIVIDED = 0.4;
const SYNC_MS = 0.5;

export class Syncing {
  readonly #world: NodeWorld;
  #underWay: { readonly life: number; readonly untilMs: number } | undefined;
  /** Multiplies how long a sync takes. */
  slowness = 1;

  constructor(world: NodeWorld) {
    this.#world = world;
  }

  drawMs(): number {
    return this.#world.chance.delay(SYNC_MS) * this.slowness;
  }

  run(life: number, sync: () => void): void {
    const { chance, queue, pass } = this.#world;
    if (!chance.is(DIVIDED)) {
      sync();
      return;
    }
    const isEarly = chance.is(0.5);
    if (isEarly) sync();
    const ms = this.drawMs();
    // Of an earlier life, perhaps, which stands in it for good.
    const around = this.#underWay;
    this.#underWay = { life, untilMs: queue.nowMs + ms };
    pass(ms);
    this.#underWay = around;
    if (!isEarly) sync();
  }

  /** Until the sync is over that is under way in this life; undefined: there is none. */
  leftMs(life: number): number | undefined {
    if (this.#underWay?.life !== life) return undefined;
    return Math.max(0, this.#underWay.untilMs - this.#world.queue.nowMs);
  }
}
