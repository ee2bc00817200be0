/**
 * Timing: time and chance as the SDK's connections, calls and streams see them. The platform's own; the simulator has another one, in
 * which an hour passes in seconds and the same seed draws the same.
 */
import type { Random } from '../core/base/env.ts';

export interface Timer {
  /** It does nothing any more. May be called twice, and after it has fired. */
  cancel(): void;
}

export interface Timing {
  /** Milliseconds from an arbitrary start; never goes back. */
  readonly nowMs: () => number;
  readonly random: Random;
  readonly after: (delayMs: number, work: () => void) => Timer;
  readonly every: (everyMs: number, work: () => void) => Timer;
}

// Looked up with every call: tests put other ones in their place.
export const PLATFORM: Timing = {
  nowMs: () => performance.now(),
  random: () => Math.random(),
  after: (delayMs, work) => {
    const timer = setTimeout(work, delayMs);
    return { cancel: () => clearTimeout(timer) };
  },
  every: (everyMs, work) => {
    const timer = setInterval(work, everyMs);
    return { cancel: () => clearInterval(timer) };
  },
};
