/** Asks every endpoint by itself, on a connection that stays with it; one that does not answer is an answer too. */
import type { CallOptions, Client } from '../../client/types.ts';
import { isStoreError } from '../../core/base/errors.ts';
import type { Context } from './context.ts';

export interface Answered<T> {
  readonly endpoint: string;
  readonly ok: true;
  readonly value: T;
}

export interface Unanswered {
  readonly endpoint: string;
  readonly ok: false;
  readonly code: string;
  readonly reason: string;
}

/** Who has not answered by then is shown as unreachable, however long --deadline is. */
const ANSWER_MS = 3_000;

export function askEach<T>(
  context: Context,
  ask: (client: Client, call: CallOptions) => Promise<T>,
): Promise<(Answered<T> | Unanswered)[]> {
  return Promise.all(context.endpoints.map((endpoint) => askOne(context, endpoint, ask)));
}

async function askOne<T>(
  context: Context,
  endpoint: string,
  ask: (client: Client, call: CallOptions) => Promise<T>,
): Promise<Answered<T> | Unanswered> {
  const deadlineMs = Math.min(ANSWER_MS, context.deadlineMs);
  const options = { pinned: true, connectDeadlineMs: deadlineMs, deadlineMs };
  try {
    const call = { deadlineMs, signal: context.deps.signal };
    return { endpoint, ok: true, value: await context.withClient((client) => ask(client, call), options, [endpoint]) };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return { endpoint, ok: false, code: isStoreError(error) ? error.code : 'INTERNAL', reason };
  }
}

/** For --json. */
export const unreachable = ({ endpoint, code, reason }: Unanswered): Record<string, unknown> => ({
  endpoint,
  reachable: false,
  code,
  reason,
});
