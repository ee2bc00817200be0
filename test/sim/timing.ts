/**
 * Timing of one life of a process, as the SDK sees time (src/client/timing.ts): virtual, and over when the life is.
 */
import type { Timer, Timing } from '../../src/client/timing.ts';
import type { Chance } from './chance.ts';
import type { EventQueue } from './queue.ts';

/** `enter` runs what it is given in that life's process, if it still lives. */
export function timingOf(queue: EventQueue, { random }: Chance, enter: (work: () => void) => void): Timing {
  return {
    nowMs: () => queue.nowMs,
    random,
    after: (delayMs, work) => {
      const planned = queue.after(delayMs, () => enter(work));
      return { cancel: () => queue.cancel(planned) };
    },
    every: (everyMs, work) => {
      let timer: Timer;
      const again = (): void => {
        const planned = queue.after(everyMs, () =>
          enter(() => {
            again();
            work();
          }),
        );
        timer = { cancel: () => queue.cancel(planned) };
      };
      again();
      return { cancel: () => timer.cancel() };
    },
  };
}
