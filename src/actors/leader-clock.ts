/**
 * LeaderClock: the stamps of a leader. They begin at its wall clock and go on by its monotonic one, so that whatever
 * sets the wall clock meanwhile (NTP, an operator, a host that was asleep) is no time that passed: keys and sessions
 * expire by the difference of two stamps (core/model/log-time.ts).
 *
 * A wall clock that was set is followed, because log time also says how old a replica is: the stamps begin anew, and the
 * log is told. At most once a second, and only after the old stamps were brought up to that moment: a clock that is set
 * over and over takes no time away.
 *
 * Invariant: between two stamps of one term that the log does not know to be of different beginnings, no more time lies
 * than the monotonic clock has measured.
 */
import { assert } from '../core/base/assert.ts';
import { ByteWriter } from '../core/base/bytes.ts';
import type { Clock } from '../core/base/env.ts';
import { encodeClock, stampTime } from '../core/model/commands.ts';

/** Stamps may differ from the wall clock by this much before they begin anew. */
const STEP_MS = 500;
const STEP_EVERY_MS = 1_000;

interface Beginning {
  readonly wallMs: number;
  readonly monotonicMs: number;
}

export class LeaderClock {
  readonly #clock: Clock;
  #term = -1;
  #begun: Beginning = { wallMs: 0, monotonicMs: 0 };
  /** Written into the entries that `entries` made; counts once they are in the log. */
  #next: Beginning | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The stamp for what is proposed now, in `term`. A new term begins anew: its first entry tells the log. */
  stampMs(term: number): number {
    if (term !== this.#term) {
      this.#term = term;
      this.#begun = this.#read();
    }
    return this.#begun.wallMs + (this.#clock.monotonicMs() - this.#begun.monotonicMs);
  }

  /** Stamps what is proposed now. */
  stamp(term: number, commands: readonly Uint8Array[]): void {
    const stampMs = this.stampMs(term);
    for (const command of commands) stampTime(command, stampMs);
  }

  wasSet(term: number): boolean {
    const stampMs = this.stampMs(term);
    if (this.#clock.monotonicMs() - this.#begun.monotonicMs < STEP_EVERY_MS) return false;
    return Math.abs(this.#clock.nowMs() - stampMs) > STEP_MS;
  }

  /** Commands that bring log time to now, to be proposed together as they are. Call `logged` when they were taken. */
  entries(term: number): Uint8Array[] {
    const commands = [clockCommand(false, this.stampMs(term))];
    this.#next = this.wasSet(term) ? this.#read() : undefined;
    if (this.#next !== undefined) commands.push(clockCommand(true, this.#next.wallMs));
    return commands;
  }

  /** What `entries` made is in the log. Had it been refused, the old stamps would go on. */
  logged(term: number): void {
    assert(term === this.#term, 'entries are proposed in the term they were made in');
    this.#begun = this.#next ?? this.#begun;
    this.#next = undefined;
  }

  #read(): Beginning {
    return { wallMs: this.#clock.nowMs(), monotonicMs: this.#clock.monotonicMs() };
  }
}

function clockCommand(wasSet: boolean, stampMs: number): Uint8Array {
  const writer = new ByteWriter(32);
  encodeClock(writer, wasSet);
  const command = writer.take();
  stampTime(command, stampMs);
  return command;
}
