/**
 * Timers: messages that an actor sends itself later. They belong to the incarnation: when it ends, nothing of them
 * reaches anybody.
 *
 * Invariant: of one name at most one tick waits in the mailbox.
 */
import { StoreError } from '../../../core/base/errors.ts';
import type { ActorClock } from './clock.ts';
import type { AnyMessage } from './protocol.ts';

const TIMERS_MAX = 1_024;

export interface TimersWorld {
  readonly clock: ActorClock;
  /** Puts the message into the mailbox; `onTaken` is called when it leaves it, handled or not. */
  readonly tick: (message: AnyMessage, onTaken: () => void) => void;
}

export class ActorTimers {
  readonly #world: TimersWorld;
  readonly #cancels = new Map<string, () => void>();
  #isClosed = false;

  constructor(world: TimersWorld) {
    this.#world = world;
  }

  get count(): number {
    return this.#cancels.size;
  }

  after(name: string, pauseMs: number, message: AnyMessage): void {
    this.#set(name);
    const cancel = this.#world.clock.after(pauseMs, () => {
      this.#cancels.delete(name);
      this.#world.tick(message, () => {});
    });
    this.#cancels.set(name, cancel);
  }

  every(name: string, pauseMs: number, message: AnyMessage): void {
    this.#set(name);
    if (!(pauseMs > 0)) throw new StoreError('BAD_REQUEST', `a timer's pause must be above 0 ms, not ${pauseMs}`);
    let isWaiting = false;
    const again = (): void => {
      this.#cancels.set(name, this.#world.clock.after(pauseMs, tick));
    };
    const tick = (): void => {
      again();
      if (isWaiting) return;
      isWaiting = true;
      this.#world.tick(message, () => {
        isWaiting = false;
      });
    };
    again();
  }

  cancel(name: string): void {
    this.#cancels.get(name)?.();
    this.#cancels.delete(name);
  }

  /** Ends all; none can be set any more. */
  close(): void {
    this.#isClosed = true;
    for (const cancel of this.#cancels.values()) cancel();
    this.#cancels.clear();
  }

  #set(name: string): void {
    if (this.#isClosed) throw new StoreError('ACTOR_STOPPED', 'an actor that has ended sets no timers');
    this.cancel(name);
    if (this.#cancels.size >= TIMERS_MAX)
      throw new StoreError('OVERLOADED', `an actor has at most ${TIMERS_MAX} timers`);
  }
}
