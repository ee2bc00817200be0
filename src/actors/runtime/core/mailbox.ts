/**
 * Mailbox: messages that wait for one incarnation, bounded by count and by bytes, in the order in which they came.
 *
 * At the bound its policy decides: `refuse`; `drop-oldest` (the oldest becomes a dead letter, its asker is told
 * OVERLOADED); or `wait`: asks and sends stand in a line before the mailbox, which is as bounded as the mailbox is, and
 * each keeps its own deadline. While anybody stands there a `tell` finds the mailbox full, so that it cannot overtake.
 *
 * Death notices do not count: they come before messages, and are as many as the actor watches.
 *
 * Invariants:
 *  - what is in it is within both bounds (one put back by unstash may stand above them);
 *  - nobody waits in line while the first of them would fit.
 */
import { assert } from '../../../core/base/assert.ts';
import { StoreError } from '../../../core/base/errors.ts';
import type { DeadLetterReason } from './dead-letters.ts';
import type { Envelope } from './envelope.ts';
import { Queue } from './queue.ts';
import type { MailboxOptions, MailboxPolicy } from './types.ts';

export type Offered = 'taken' | 'waits' | 'full' | 'too-large';

/** Told of an envelope that will not be handled. */
export type Discarded = (envelope: Envelope, reason: DeadLetterReason) => void;

export interface MailboxLimits {
  readonly messagesMax: number;
  readonly bytesMax: number;
  readonly policy: MailboxPolicy;
}

export function mailboxLimits(options: MailboxOptions = {}): MailboxLimits {
  const { messagesMax = 1024, bytesMax = 16 * 1024 * 1024, policy = 'wait' } = options;
  return { messagesMax, bytesMax, policy };
}

export class Mailbox {
  readonly limits: MailboxLimits;
  readonly #queue = new Queue<Envelope>();
  readonly #notices = new Queue<Envelope>();
  readonly #line = new Queue<Envelope>();
  readonly #onDiscard: Discarded;
  readonly #path: string;
  #bytes = 0;
  #most = 0;

  constructor(path: string, limits: MailboxLimits, onDiscard: Discarded) {
    this.#path = path;
    this.limits = limits;
    this.#onDiscard = onDiscard;
  }

  /** Messages that wait, those in line before it included. */
  get length(): number {
    return this.#queue.length + this.#notices.length + this.#line.length;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** The most messages that were in it at once. */
  get most(): number {
    return this.#most;
  }

  get isEmpty(): boolean {
    return this.#queue.length === 0 && this.#notices.length === 0;
  }

  /** Puts a message in. The caller tells whoever waits when it was not taken. */
  offer(envelope: Envelope, mayWait: boolean): Offered {
    if (this.#line.length === 0 && this.#fits(envelope)) {
      this.#put(envelope);
      return 'taken';
    }
    const { bytesMax, messagesMax, policy } = this.limits;
    if (envelope.bytes > bytesMax) return 'too-large';
    if (policy === 'drop-oldest') {
      while (!this.#fits(envelope)) this.#drop();
      this.#put(envelope);
      return 'taken';
    }
    if (policy === 'refuse' || !mayWait || this.#line.length >= messagesMax) return 'full';
    this.#line.push(envelope);
    return 'waits';
  }

  /** Takes a message whatever the bounds say: who sent it has counted it already. */
  accept(envelope: Envelope): void {
    this.#put(envelope);
  }

  /** A death notice: before all messages. */
  notify(envelope: Envelope): void {
    this.#notices.push(envelope);
  }

  /** Puts one back that had been taken, before all others. */
  putBack(envelope: Envelope): void {
    this.#queue.unshift(envelope);
    this.#bytes += envelope.bytes;
  }

  /** The next to be handled. */
  take(): Envelope | undefined {
    const notice = this.#notices.shift();
    if (notice !== undefined) return notice;
    const envelope = this.#queue.shift();
    if (envelope === undefined) return undefined;
    this.#bytes -= envelope.bytes;
    if (this.#line.length > 0) this.#admit();
    if (!envelope.wasTaken) {
      envelope.wasTaken = true;
      envelope.waiting.onTaken?.(envelope.bytes);
    }
    return envelope;
  }

  peek(): Envelope | undefined {
    return this.#notices.peek() ?? this.#queue.peek();
  }

  /** Discards all that is in it and before it. */
  clear(reason: DeadLetterReason): void {
    for (const queue of [this.#notices, this.#queue, this.#line]) {
      for (let envelope = queue.shift(); envelope !== undefined; envelope = queue.shift()) {
        if (queue === this.#queue && !envelope.wasTaken) envelope.waiting.onTaken?.(envelope.bytes);
        if (queue !== this.#notices) this.#onDiscard(envelope, reason);
      }
    }
    this.#bytes = 0;
  }

  #fits(envelope: Envelope): boolean {
    const { messagesMax, bytesMax } = this.limits;
    return this.#queue.length < messagesMax && this.#bytes + envelope.bytes <= bytesMax;
  }

  #put(envelope: Envelope): void {
    this.#queue.push(envelope);
    this.#bytes += envelope.bytes;
    if (this.#queue.length > this.#most) this.#most = this.#queue.length;
    envelope.waiting.admission?.resolve();
  }

  #drop(): void {
    const oldest = this.#queue.shift();
    assert(oldest !== undefined, 'a mailbox without room for one message has another');
    this.#bytes -= oldest.bytes;
    oldest.waiting.onTaken?.(oldest.bytes);
    oldest.discard(new StoreError('OVERLOADED', `${this.#path} let its oldest message go`));
    this.#onDiscard(oldest, 'dropped');
  }

  /** Lets those in line in, in their order, while there is room. */
  #admit(): void {
    for (let first = this.#line.peek(); first !== undefined; first = this.#line.peek()) {
      if (first.isGivenUp) {
        this.#line.shift();
        this.#onDiscard(first, 'given-up');
        continue;
      }
      if (!this.#fits(first)) return;
      this.#line.shift();
      this.#put(first);
    }
  }
}
