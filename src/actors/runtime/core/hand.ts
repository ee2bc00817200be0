/**
 * Hand: the message that an actor has in hand: one at a time, from its turn until its handler's promise is settled, with
 * the signal that tells the handler to give up.
 */
import type { ActorClock } from './clock.ts';
import type { Envelope } from './envelope.ts';

export class Hand {
  /** The message. */
  envelope: Envelope | undefined;
  /** Which message it is, of those that this actor has had. */
  turn = 0;
  /** In that turn it asked its own actor for something, and must not wait for it. */
  askOfItself: { readonly envelope: Envelope; readonly turn: number } | undefined;
  /** Its handler's promise is open: the actor takes nothing. */
  isBusy = false;
  /** Since when. */
  sinceMs = 0;
  readonly #clock: ActorClock;
  #controller: AbortController | undefined;

  constructor(clock: ActorClock) {
    this.#clock = clock;
  }

  take(envelope: Envelope): void {
    this.envelope = envelope;
    this.turn++;
    this.#controller = undefined;
  }

  /** Its handler has given a promise; an asker who gives up aborts the signal. */
  wait({ waiting: { answer } }: Envelope): void {
    this.isBusy = true;
    this.sinceMs = this.#clock.nowMs();
    if (answer !== undefined) answer.onGiveUp = (reason) => this.#controller?.abort(reason);
  }

  /** Nobody wants it any more; of the actor's end, or the asker's. */
  abort(reason: unknown): void {
    this.#controller?.abort(reason);
  }

  get isAborted(): boolean {
    return this.#controller?.signal.aborted === true;
  }

  /** Made when a handler asks for it; aborted already if `over` gives a reason. */
  signal(over: () => Error | undefined): AbortSignal {
    this.#controller ??= new AbortController();
    if (!this.#controller.signal.aborted) {
      const reason = over();
      if (reason !== undefined) this.#controller.abort(reason);
    }
    return this.#controller.signal;
  }

  /** The kind, and since when its handler has not returned; undefined when none is open. */
  get busy(): { readonly kind: string; readonly forMs: number } | undefined {
    if (!this.isBusy || this.envelope === undefined) return undefined;
    return { kind: this.envelope.message.kind, forMs: this.#clock.nowMs() - this.sinceMs };
  }
}
