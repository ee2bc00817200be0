/**
 * Credit: how much may be under way to one actor in another thread: sent, and not yet out of its mailbox there. A port
 * has no bound of its own, so the sender keeps what is beyond (in a mailbox of its own, with the actor's policy) until
 * it hears that some has been taken.
 *
 * Invariant: what is under way is within both bounds, or is one message.
 */
import type { MailboxLimits } from '../core/mailbox.ts';
import { Queue } from '../core/queue.ts';

const MESSAGES_MAX = 4_096;
const BYTES_MAX = 4 * 1024 * 1024;
/** The other side says what it took whenever it is this part of the credit. */
export const CREDIT_PART = 0.25;

/** Both sides reckon with the same. */
export function creditOf(limits: MailboxLimits): { readonly messagesMax: number; readonly bytesMax: number } {
  return { messagesMax: Math.min(limits.messagesMax, MESSAGES_MAX), bytesMax: Math.min(limits.bytesMax, BYTES_MAX) };
}

export class Credit {
  readonly #messagesMax: number;
  readonly #bytesMax: number;
  #sizes = new Queue<number>();
  #bytes = 0;

  constructor(limits: MailboxLimits) {
    const { messagesMax, bytesMax } = creditOf(limits);
    this.#messagesMax = messagesMax;
    this.#bytesMax = bytesMax;
  }

  /** Messages under way. */
  get messages(): number {
    return this.#sizes.length;
  }

  get bytes(): number {
    return this.#bytes;
  }

  has(bytes: number): boolean {
    if (this.#sizes.length === 0) return true;
    return this.#sizes.length < this.#messagesMax && this.#bytes + bytes <= this.#bytesMax;
  }

  spend(bytes: number): void {
    this.#sizes.push(bytes);
    this.#bytes += bytes;
  }

  /** The oldest so many have been taken. */
  restore(count: number): void {
    for (let i = 0; i < count; i++) this.#bytes -= this.#sizes.shift() ?? 0;
  }

  /** One of this size never left. */
  unspend(bytes: number): void {
    const others = new Queue<number>();
    let isFound = false;
    for (let size = this.#sizes.shift(); size !== undefined; size = this.#sizes.shift()) {
      if (isFound || size !== bytes) others.push(size);
      else isFound = true;
    }
    this.#sizes = others;
    this.#bytes -= bytes;
  }
}
