/**
 * Progress: what a leader knows of one follower, and how much it may have under way to it.
 *
 *   probe      one append at a time, until the place where both logs agree is found
 *   replicate  appends are sent ahead of their acks, within a window of messages and bytes
 *
 * `match` is proven (acked); `next` is hope (sent). Invariant: match < next.
 */
import { assert } from '../base/assert.ts';
import { type Index, plus, toIndex } from '../base/position.ts';

export class Progress {
  match: Index = toIndex(0);
  next: Index;
  state: 'probe' | 'replicate' = 'probe';
  /** Probing and waiting for the answer (or for a heartbeat's). */
  isPaused = false;
  /** Heard from since the last quorum check. */
  isActive = false;
  /** The newest read round this peer has confirmed. */
  readRound = 0;
  /** The commit index last told to this peer. */
  toldCommit: Index = toIndex(0);
  /** Somebody there waits for a commit up to here: it is told as soon as it is known. */
  awaitedCommit: Index = toIndex(0);

  readonly #messagesMax: number;
  readonly #bytesMax: number;
  /** Last index and bytes of each append under way, oldest first. */
  #inflight: { lastIndex: Index; bytes: number }[] = [];
  #inflightBytes = 0;

  constructor(next: Index, window: { messagesMax: number; bytesMax: number }) {
    this.next = next;
    this.#messagesMax = window.messagesMax;
    this.#bytesMax = window.bytesMax;
  }

  get isWindowFull(): boolean {
    return this.#inflight.length >= this.#messagesMax || this.#inflightBytes >= this.#bytesMax;
  }

  get inflightMessages(): number {
    return this.#inflight.length;
  }

  get maySend(): boolean {
    return this.state === 'probe' ? !this.isPaused : !this.isWindowFull;
  }

  sent(lastIndex: Index, bytes: number): void {
    if (this.state === 'probe') {
      this.isPaused = true;
      return;
    }
    this.next = plus(lastIndex, 1);
    this.#inflight.push({ lastIndex, bytes });
    this.#inflightBytes += bytes;
  }

  /** An ack up to `index`; true when it taught us something. */
  acked(index: Index): boolean {
    const isNews = index > this.match;
    if (isNews) this.match = index;
    if (this.next <= index) this.next = plus(index, 1);
    let count = 0;
    while (count < this.#inflight.length && (this.#inflight[count]?.lastIndex ?? 0) <= index) {
      this.#inflightBytes -= this.#inflight[count]?.bytes ?? 0;
      count++;
    }
    if (count > 0) this.#inflight = this.#inflight.slice(count);
    if (this.state === 'probe') {
      this.state = 'replicate';
      this.isPaused = false;
      this.next = plus(this.match, 1);
    }
    assert(this.match < this.next, 'match < next');
    return isNews;
  }

  /** The follower has no (rejected, term); true when this is news and another place is to be tried. */
  rejected(rejected: Index, hint: Index): boolean {
    if (this.state === 'replicate') {
      if (rejected <= this.match) return false;
      this.becomeProbe();
      return true;
    }
    if (this.next - 1 !== rejected) return false;
    const next = toIndex(Math.max(Math.min(rejected, hint + 1), this.match + 1));
    // It denies what it has acked: an old message, or a disk that was lost. Asking again at once would not end.
    if (next === this.next) return false;
    this.next = next;
    this.isPaused = false;
    return true;
  }

  /** What was sent may be lost: begin again after what is proven. */
  becomeProbe(): void {
    this.state = 'probe';
    this.isPaused = false;
    this.next = plus(this.match, 1);
    this.#inflight = [];
    this.#inflightBytes = 0;
  }
}
