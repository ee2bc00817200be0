/**
 * Clock: time as actors have it, so that a test can give them one that stands still.
 */
export interface ActorClock {
  /** Milliseconds from an arbitrary start; never goes back. */
  nowMs(): number;
  /** Calls once after a pause; the result cancels it. A background timer does not keep the process. */
  after(pauseMs: number, call: () => void, isBackground?: boolean): () => void;
}

export const realClock: ActorClock = {
  nowMs: () => performance.now(),
  after: (pauseMs, call, isBackground = false) => {
    const timer = setTimeout(call, pauseMs);
    if (isBackground) timer.unref();
    return () => clearTimeout(timer);
  },
};
