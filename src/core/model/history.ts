/**
 * History: how far back a state can be read, by log time. Readers that go on at a revision (a long range, on another
 * node after a failover) have so long to do it; what was superseded before that may be forgotten.
 */
interface Sample {
  readonly timeMs: number;
  readonly revision: number;
}

const SAMPLE_EVERY_MS = 1_000;

export class History {
  readonly #ageMs: number;
  #samples: Sample[] = [];
  /** The oldest revision that must stay readable. */
  from: number;

  constructor(ageMs: number, from: number) {
    this.#ageMs = ageMs;
    this.from = from;
  }

  /** The state at `revision` is that of log time `timeMs`. */
  note(revision: number, timeMs: number): void {
    const newest = this.#samples.at(-1);
    if (newest !== undefined && timeMs - newest.timeMs < SAMPLE_EVERY_MS) return;
    this.#samples.push({ timeMs, revision });
    let count = 0;
    for (const { timeMs: then, revision: at } of this.#samples) {
      if (timeMs - then < this.#ageMs) break;
      this.from = at;
      count++;
    }
    if (count > 0) this.#samples = this.#samples.slice(count);
  }
}
