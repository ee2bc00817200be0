/**
 * guardStage: a host says by itself that what it is shown is bad: it asks a check of the application now and then, while some
 * ring is shown more than everybody, and halts the stage (or rolls it back) when the check does not like it.
 *
 * A check that throws, or has no answer in time, is a bad one: an application that is broken by what it is shown may not be able
 * to say so. A cluster that cannot be reached is not the check's fault: it is asked again at the next turn, with the check.
 */
import { isStoreError, StoreError } from '../core/base/errors.ts';
import { REASON_CHARS_MAX } from '../core/model/control/stages.ts';
import type { GuardOptions, Stages, StageView } from './stage-types.ts';
import type { Timing } from './timing.ts';

const EVERY_MS = 5000;
const CHECK_DEADLINE_MS = 5000;

/** Resolves with the reason once it has acted; with undefined when `signal` says stop. */
export async function guardStage(
  stages: Stages,
  name: string,
  { check, everyMs = EVERY_MS, checkDeadlineMs = CHECK_DEADLINE_MS, act = 'halt', signal }: GuardOptions,
  timing: Timing,
): Promise<string | undefined> {
  while (!isStopped(signal)) {
    try {
      const stage = (await stages.list()).find((one) => one.name === name);
      if (stage === undefined) throw new StoreError('NOT_FOUND', `Stage not found: ${name}`, { data: { stage: name } });
      if (isAhead(stage)) {
        const wrong = await answerOf(check, stage, checkDeadlineMs, timing);
        if (wrong !== undefined && !isStopped(signal)) return await acted(stages, name, act, wrong);
      }
    } catch (error) {
      if (!isStoreError(error) || error.retry === 'never') throw error;
    }
    await pause(everyMs, signal, timing);
  }
  return undefined;
}

const isStopped = (signal: AbortSignal | undefined): boolean => signal?.aborted === true;

/** A ring is shown more than everybody, or may be; and nobody has halted it. */
function isAhead({ rings, halted }: StageView): boolean {
  const everybody = rings.at(-1)?.shown ?? null;
  return halted === null && everybody !== null && rings.some(({ shown }) => shown === null || shown > everybody);
}

async function answerOf(
  check: GuardOptions['check'],
  stage: StageView,
  deadlineMs: number,
  timing: Timing,
): Promise<string | undefined> {
  const { promise: late, resolve } = Promise.withResolvers<string>();
  const timer = timing.after(deadlineMs, () => resolve(`the check had no answer within ${deadlineMs} ms`));
  try {
    return await Promise.race([Promise.resolve(stage).then(check), late]);
  } catch (error) {
    return `the check failed: ${error instanceof Error ? error.message : String(error)}`;
  } finally {
    timer.cancel();
  }
}

async function acted(stages: Stages, name: string, act: 'halt' | 'rollback', wrong: string): Promise<string> {
  const reason = Array.from(wrong === '' ? 'the check says no' : wrong)
    .slice(0, REASON_CHARS_MAX)
    .join('');
  // First, so that it is known why; a rollback halts it, too.
  await stages.halt(name, reason);
  if (act === 'halt') return reason;
  try {
    await stages.rollback(name, { onlyUnreleased: true });
  } catch (error) {
    // Nothing had changed: nobody is shown anything that everybody is not.
    if (!isStoreError(error, 'BAD_REQUEST')) throw error;
  }
  return reason;
}

function pause(delayMs: number, signal: AbortSignal | undefined, timing: Timing): Promise<void> {
  return new Promise((resolve) => {
    if (isStopped(signal)) {
      resolve();
      return;
    }
    const end = (): void => {
      timer.cancel();
      signal?.removeEventListener('abort', end);
      resolve();
    };
    const timer = timing.after(delayMs, end);
    signal?.addEventListener('abort', end, { once: true });
  });
}
