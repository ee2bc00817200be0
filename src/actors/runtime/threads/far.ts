/**
 * Far: what stands here for somebody in another thread: one who asked, one who takes a stream's items, and the sender
 * of messages in a mailbox, who may send more when they have left it.
 */
import { StoreError } from '../../../core/base/errors.ts';
import type { Answer, Envelope, OnTaken, Sink } from '../core/envelope.ts';
import type { Target } from '../core/target.ts';
import { CREDIT_PART, creditOf } from './credit.ts';
import { OP } from './ops.ts';
import { toPlain } from '../thread.ts';

/** What they need of their link. */
export interface FarLink {
  late(): void;
  put(owner: { unsent(envelope: Envelope | undefined, error: StoreError): void }, ...parts: readonly unknown[]): void;
}

abstract class Far {
  onGiveUp: ((reason: StoreError) => void) | undefined;
  isSettled = false;
  protected readonly link: FarLink;
  protected readonly call: number;
  readonly #done: () => void;

  constructor(link: FarLink, call: number, done: () => void) {
    this.link = link;
    this.call = call;
    this.#done = done;
  }

  reject(error: Error): void {
    if (this.settle()) this.link.put(this, OP.failed, this.call, toPlain(error));
  }

  /** Whoever asked does not want it any more. */
  giveUp(reason: StoreError): void {
    if (this.isSettled) return;
    this.isSettled = true;
    this.onGiveUp?.(reason);
  }

  /** Whoever asked is gone, with its thread. */
  gone(reason: StoreError): void {
    this.giveUp(reason);
  }

  /** What it was to be told cannot be cloned; why can. */
  unsent(_envelope: Envelope | undefined, error: StoreError): void {
    this.#done();
    this.link.put(this, OP.failed, this.call, toPlain(new StoreError('BAD_REQUEST', `the answer ${error.message}`)));
  }

  protected settle(): boolean {
    if (this.isSettled) return false;
    this.isSettled = true;
    this.#done();
    return true;
  }
}

export class FarAnswer extends Far implements Answer {
  readonly deadlineAtMs: number;

  constructor(link: FarLink, call: number, done: () => void, deadlineAtMs: number) {
    super(link, call, done);
    this.deadlineAtMs = deadlineAtMs;
  }

  resolve(value: unknown): void {
    if (this.settle()) this.link.put(this, OP.answer, this.call, value);
    else this.link.late();
  }
}

export class FarSink extends Far implements Sink {
  readonly window: number;
  onItemTaken: (() => void) | undefined;
  #wanted: number;
  #wake: (() => void) | undefined;

  constructor(link: FarLink, call: number, done: () => void, window: number) {
    super(link, call, done);
    this.window = window;
    this.#wanted = window;
  }

  async wanted(): Promise<void> {
    while (!this.isSettled && this.#wanted <= 0) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  want(count: number): void {
    this.#wanted += count;
    this.#wake?.();
  }

  item(value: unknown): void {
    if (this.isSettled) return;
    this.#wanted--;
    this.link.put(this, OP.item, this.call, value);
  }

  end(): void {
    if (this.settle()) this.link.put(this, OP.end, this.call);
  }

  override reject(error: Error): void {
    super.reject(error);
    this.#wake?.();
  }

  override giveUp(reason: StoreError): void {
    super.giveUp(reason);
    this.#wake?.();
  }

  override unsent(envelope: Envelope | undefined, error: StoreError): void {
    this.giveUp(error);
    super.unsent(envelope, error);
  }
}

/** Counts what has left a mailbox here: whoever sent it may send as much again. */
export class Inbox {
  readonly id: number;
  #messages = 0;
  #bytes = 0;
  readonly #messagesPart: number;
  readonly #bytesPart: number;
  readonly #hasNews: (isMuch: boolean) => void;

  /** `hasNews` is told whether it is so much that the other side should hear of it even if nothing else leaves. */
  constructor(target: Target, hasNews: (isMuch: boolean) => void) {
    this.id = target.id;
    const { messagesMax, bytesMax } = creditOf(target.limits);
    this.#messagesPart = messagesMax * CREDIT_PART;
    this.#bytesPart = bytesMax * CREDIT_PART;
    this.#hasNews = hasNews;
  }

  readonly onTaken: OnTaken = (bytes) => {
    this.#messages++;
    this.#bytes += bytes;
    const isMuch = this.#messages >= this.#messagesPart || this.#bytes >= this.#bytesPart;
    if (isMuch || this.#messages === 1) this.#hasNews(isMuch);
  };

  /** How many since last time. */
  take(): number {
    const count = this.#messages;
    this.#messages = 0;
    this.#bytes = 0;
    return count;
  }
}
