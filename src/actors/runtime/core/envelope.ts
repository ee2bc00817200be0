/**
 * Envelope: a message on its way to one incarnation, with what it weighs and who waits for what comes of it.
 *
 * Invariant: an envelope's life ends once: it is handled, or discarded with the reason, and then whoever waits is told.
 */
import type { StoreError } from '../../../core/base/errors.ts';
import type { Asker } from './asker.ts';
import type { AnyMessage } from './protocol.ts';

/** Who waits for an answer: an ask in this thread, or one in another behind a link. */
export interface Answer {
  /** Nobody waits any more: answered, given up, gone. */
  readonly isSettled: boolean;
  /** When it is given up; Infinity for never. Of the clock of this thread. */
  readonly deadlineAtMs: number;
  resolve(value: unknown): void;
  reject(error: Error): void;
  /** Set while it is handled: called when the asker gives up. */
  onGiveUp: ((reason: StoreError) => void) | undefined;
}

/** Who takes a stream's items. */
export interface Sink {
  /** Items under way at once. */
  readonly window: number;
  /** Set where the maker is in another thread: called with each item that is taken. */
  onItemTaken: (() => void) | undefined;
  readonly isSettled: boolean;
  /** Resolves when an item is wanted, or nobody wants any more. */
  wanted(): Promise<void>;
  item(value: unknown): void;
  end(): void;
  reject(error: Error): void;
  /** Set while it runs: called when the taker ends it. */
  onGiveUp: ((reason: StoreError) => void) | undefined;
}

/** Whoever waits for a message to be let in. */
export interface Admission {
  readonly isSettled: boolean;
  resolve(): void;
  reject(error: Error): void;
}

/** What left a mailbox is told to who sent it there from another thread: it may send as much again. */
export type OnTaken = (bytes: number) => void;

export interface Waiting {
  readonly answer?: Answer | undefined;
  readonly sink?: Sink | undefined;
  readonly admission?: Admission | undefined;
  readonly trace?: string | undefined;
  /** Who waits for the answer, if that is an actor. */
  readonly asker?: Asker | undefined;
  readonly transfer?: readonly unknown[] | undefined;
  readonly onTaken?: OnTaken | undefined;
}

const NOBODY: Waiting = {};

export class Envelope {
  readonly message: AnyMessage;
  readonly bytes: number;
  readonly waiting: Waiting;
  /** It left its mailbox before, and was put back. */
  wasTaken = false;

  constructor(message: AnyMessage, bytes: number, waiting: Waiting = NOBODY) {
    this.message = message;
    this.bytes = bytes;
    this.waiting = waiting;
  }

  /** Whoever sent it with a question has given up. */
  get isGivenUp(): boolean {
    const { answer, sink, admission } = this.waiting;
    return answer?.isSettled === true || sink?.isSettled === true || admission?.isSettled === true;
  }

  /** It will not be handled: whoever waits is told why. */
  discard(error: Error): void {
    const { answer, sink, admission } = this.waiting;
    answer?.reject(error);
    sink?.reject(error);
    admission?.reject(error);
  }
}
