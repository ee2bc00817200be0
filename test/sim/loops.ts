/**
 * Loops: relays that follow each other in a circle are fed by nobody. Two may begin to at once; each is told the path, and one
 * leaves. So a circle in which everybody hears the other may stand for a moment, and not for seconds.
 */
import { assert } from '../../src/core/base/assert.ts';
import type { Feeder } from './feeder.ts';
import type { EventQueue } from './queue.ts';

export interface Follower {
  /** What it is followed by; undefined: it is no relay. */
  readonly side: Feeder | undefined;
  /** Whom it follows, and hears. */
  readonly followed: Feeder | undefined;
}

const LOOK_EVERY_MS = 500;
/** Less than data takes to be old and to be left for that (src/reflector/patience.ts): a loop is not left for its age. */
const STANDS_MAX_MS = 6_000;

export class Loops {
  readonly #followers: readonly Follower[];
  readonly #queue: EventQueue;
  readonly #fail: (error: Error) => void;
  #sinceMs: number | undefined;

  constructor(followers: readonly Follower[], queue: EventQueue, fail: (error: Error) => void) {
    this.#followers = followers;
    this.#queue = queue;
    this.#fail = fail;
  }

  begin(): void {
    this.#queue.after(LOOK_EVERY_MS, () => {
      try {
        this.#look();
      } catch (error) {
        this.#fail(error as Error);
      }
      this.begin();
    });
  }

  #look(): void {
    const loop = this.#loop();
    const { nowMs } = this.#queue;
    if (loop === undefined) this.#sinceMs = undefined;
    else this.#sinceMs ??= nowMs;
    const stoodMs = this.#sinceMs === undefined ? 0 : nowMs - this.#sinceMs;
    assert(stoodMs <= STANDS_MAX_MS, `relays do not follow each other: ${loop}`);
  }

  #loop(): string | undefined {
    const above = new Map(this.#followers.map(({ side, followed }) => [side, followed]));
    for (const { side } of this.#followers) {
      const path = [side];
      for (let at = side && above.get(side); at !== undefined; at = above.get(at)) {
        if (at === side) return path.map((one) => one?.name).join(' ← ');
        if (path.includes(at)) break;
        path.push(at);
      }
    }
    return undefined;
  }
}
