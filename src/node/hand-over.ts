/**
 * Hand-over: who leads and is about to stop lets somebody else lead while its clients still have it: they need not wait
 * until it is missed.
 */
import type { LogFunction } from '../actors/runtime/thread.ts';
import type { Members, NodeStatus } from '../client/types.ts';
import { isStoreError } from '../core/base/errors.ts';

/** Longest wait of a stop for somebody else to lead. */
const HAND_OVER_MS = 500;

export async function handOver(
  role: NodeStatus['role'],
  members: Pick<Members, 'transferLeader'>,
  log: LogFunction,
): Promise<void> {
  if (role !== 'leader') return;
  try {
    await members.transferLeader(undefined, { deadlineMs: HAND_OVER_MS });
  } catch (error) {
    // Nobody is there to take over, or not in time: it stops all the same, and is missed.
    if (!isStoreError(error)) throw error;
    log('info', 'node.kept-the-lead', { code: error.code, message: error.message });
  }
}
