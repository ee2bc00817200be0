/**
 * ReadQueue: linearizable reads without a log entry (ReadIndex, thesis §6.4).
 *
 * A read takes the commit index at its arrival and waits until a quorum has answered a heartbeat that was sent
 * afterwards: nobody else can have been leader in between. All reads of a turn share one round. Before the
 * leader has committed an entry of its own term it does not know its commit index, so reads wait for that.
 */
import type { Index } from '../base/position.ts';
import type { ReadState } from './types.ts';

interface Round {
  readonly number: number;
  readonly index: Index;
  readonly ids: number[];
}

export class ReadQueue {
  /** Asked for, not yet in a round. */
  #waiting: number[] = [];
  #rounds: Round[] = [];
  #lastRound = 0;
  #done: ReadState[] = [];

  get hasWaiting(): boolean {
    return this.#waiting.length > 0;
  }

  get hasDone(): boolean {
    return this.#done.length > 0;
  }

  /** The newest round still open, or 0: what heartbeats carry. */
  get openRound(): number {
    return this.#rounds.at(-1)?.number ?? 0;
  }

  get pending(): number {
    let count = this.#waiting.length;
    for (const round of this.#rounds) count += round.ids.length;
    return count;
  }

  ask(id: number): void {
    this.#waiting.push(id);
  }

  /** Puts all waiting reads into one new round at `commit`. */
  startRound(commit: Index): void {
    this.#rounds.push({ number: ++this.#lastRound, index: commit, ids: this.#waiting });
    this.#waiting = [];
  }

  /** A quorum has confirmed every round up to `number`. */
  confirm(number: number): void {
    while (this.#rounds.length > 0 && (this.#rounds[0]?.number ?? 0) <= number) {
      const round = this.#rounds.shift();
      for (const id of round?.ids ?? []) this.#done.push({ id, index: round?.index });
    }
  }

  /** Leadership is gone: every open read fails rather than lies. */
  failAll(): void {
    for (const round of this.#rounds) for (const id of round.ids) this.#done.push({ id, index: undefined });
    for (const id of this.#waiting) this.#done.push({ id, index: undefined });
    this.#rounds = [];
    this.#waiting = [];
  }

  takeDone(): ReadState[] {
    const done = this.#done;
    this.#done = [];
    return done;
  }
}
