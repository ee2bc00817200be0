/**
 * Progress of work on files: a bar on a terminal, nothing elsewhere; and the place where Ctrl-C is looked at, as that
 * work keeps the thread.
 */
import { setImmediate as breathe } from 'node:timers/promises';
import { SingleBar } from 'cli-progress';
import { StoreError } from '../../core/base/errors.ts';
import { showBytes } from './bytes.ts';
import type { Context } from './context.ts';

/** Signals and the bar get their turn after this much. */
const BREATHE_MS = 50;

export interface Progress {
  readonly step: (done: number, total: number) => Promise<void>;
  stop(): void;
}

export function progress(context: Context, what: string): Progress {
  const { stderr, signal } = context.deps;
  const bar =
    stderr.isTTY === true
      ? new SingleBar({
          stream: stderr,
          format: `${what} {bar} {percentage}% | {doneBytes} of {totalBytes}`,
          barCompleteChar: '#',
          barIncompleteChar: '.',
          hideCursor: true,
          fps: 10,
        })
      : undefined;
  let isStarted = false;
  let breathedAtMs = performance.now();
  return {
    step: async (done, total) => {
      const words = { doneBytes: showBytes(done), totalBytes: showBytes(total) };
      if (!isStarted) bar?.start(total, done, words);
      isStarted = true;
      bar?.setTotal(total);
      bar?.update(done, words);
      if (performance.now() - breathedAtMs >= BREATHE_MS) {
        await breathe();
        breathedAtMs = performance.now();
      }
      if (signal.aborted) throw new StoreError('CANCELLED', `${what} was interrupted`);
    },
    stop: () => bar?.stop(),
  };
}
