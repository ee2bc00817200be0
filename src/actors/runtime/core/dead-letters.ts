/**
 * Dead letters: messages and answers that reached nobody, by reason. Each is counted; the log is told of the first few
 * and then of how many more there were, at most once in a while: a flood of them must not become a flood of lines.
 */
import type { LogFunction } from '../thread.ts';
import type { ActorClock } from './clock.ts';

export const DEAD_LETTER_REASONS = [
  /** The actor had ended, or ended before the message's turn came. */
  'stopped',
  /** The mailbox was full. */
  'full',
  /** It was the oldest in a full mailbox that lets the oldest go. */
  'dropped',
  /** Larger than the whole mailbox may be. */
  'too-large',
  /** The actor has no such kind. */
  'unhandled',
  /** Whoever asked had given up before its turn came. */
  'given-up',
  /** An answer to somebody who had given up, or had ended. */
  'late-answer',
  /** It cannot be sent to another thread. */
  'uncloneable',
  /** There was no room to put it aside. */
  'stash-full',
  /** Its node was out of reach, or ceased to be while nobody knew what became of it. */
  'unreachable',
] as const;

export type DeadLetterReason = (typeof DEAD_LETTER_REASONS)[number];

export type DeadLetterCounts = Readonly<Record<DeadLetterReason, number>>;

export interface DeadLetter {
  readonly reason: DeadLetterReason;
  readonly path: string;
  readonly kind: string;
}

const LOGGED_AT_FIRST = 10;
const QUIET_MS = 5 * 60_000;

export class DeadLetters {
  readonly #log: LogFunction;
  readonly #clock: ActorClock;
  readonly #counts: Record<DeadLetterReason, number>;
  readonly #listeners = new Set<(letter: DeadLetter) => void>();
  /** What was counted when it was last taken. */
  #taken: DeadLetterCounts | undefined;
  #logged = 0;
  #unlogged = 0;
  #quietUntilMs = 0;
  #isSilent = false;

  constructor(log: LogFunction, clock: ActorClock) {
    this.#log = log;
    this.#clock = clock;
    this.#counts = Object.fromEntries(DEAD_LETTER_REASONS.map((reason) => [reason, 0])) as Record<
      DeadLetterReason,
      number
    >;
  }

  /** How many there were, by reason; in all threads, of the system that has them: those of others a second late. */
  get counts(): DeadLetterCounts {
    return { ...this.#counts };
  }

  get total(): number {
    return Object.values(this.#counts).reduce((sum, count) => sum + count, 0);
  }

  /** Tells of each from now on; the result ends it. Of other threads only the counts are known. */
  subscribe(listener: (letter: DeadLetter) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** So many more since the last time that this was asked; undefined: none. */
  takeNew(): DeadLetterCounts | undefined {
    const { counts } = this;
    const before = this.#taken;
    this.#taken = counts;
    const more = Object.entries(counts).map(([reason, count]) => [
      reason,
      count - (before?.[reason as DeadLetterReason] ?? 0),
    ]);
    return more.some(([, count]) => count !== 0) ? (Object.fromEntries(more) as DeadLetterCounts) : undefined;
  }

  /** Another thread has counted so many more. */
  addCounts(counts: DeadLetterCounts): void {
    for (const reason of DEAD_LETTER_REASONS) this.#counts[reason] += counts[reason];
  }

  add(reason: DeadLetterReason, path: string, kind: string): void {
    this.#counts[reason]++;
    if (this.#listeners.size > 0) this.#tellListeners({ reason, path, kind });
    if (!this.#isSilent) this.#tell(reason, path, kind);
  }

  /** What a listener throws is its own: whoever sent the message is in the middle of something else. */
  #tellListeners(letter: DeadLetter): void {
    for (const listener of this.#listeners) {
      try {
        listener(letter);
      } catch (error) {
        this.#log('error', 'actor.dead-letters.listener', { message: String(error) });
      }
    }
  }

  /** No more lines: while everything stops, dead letters are no news. */
  silence(): void {
    this.#isSilent = true;
  }

  #tell(reason: DeadLetterReason, path: string, kind: string): void {
    if (this.#logged >= LOGGED_AT_FIRST) {
      const nowMs = this.#clock.nowMs();
      if (nowMs < this.#quietUntilMs) {
        this.#unlogged++;
        return;
      }
      this.#log('warn', 'actor.dead-letters', { unlogged: this.#unlogged, ...this.#counts });
      this.#logged = 0;
      this.#unlogged = 0;
    }
    this.#logged++;
    if (this.#logged === LOGGED_AT_FIRST) this.#quietUntilMs = this.#clock.nowMs() + QUIET_MS;
    this.#log('info', 'actor.dead-letter', { reason, path, kind });
  }
}
