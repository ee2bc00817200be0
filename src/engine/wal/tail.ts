/**
 * Tails: a log followed as it grows. They read what is durable, and wait for more; they end when the log is closed,
 * throw what it failed with, and throw CANCELLED when their signal says so.
 *
 * A tail holds nothing but its place, so a slow one costs no memory: it reads from the file.
 */
import { StoreError } from '../../core/base/errors.ts';
import { type Index, type Lsn, plus } from '../../core/base/position.ts';
import type { WalChange } from './lsn-reader.ts';

/** Where a tail by index is: a revert moves it back. */
export interface TailCursor {
  next: Index;
  /** Something was reverted since the last read. */
  isStale: boolean;
}

/** What a tail needs of the log that it follows. */
export interface Followed {
  /** Tails by index under way. */
  readonly cursors: Set<TailCursor>;
  readonly durableIndex: () => Index;
  readonly durableLsn: () => Lsn;
  /** Durable entries from `from` on, at least one. */
  readonly read: (from: Index, bytesMax: number) => readonly { index: Index; data: Uint8Array }[];
  /** What the durable records from `from` on say. */
  readonly readLsn: (from: Lsn, bytesMax: number) => readonly WalChange[];
  /** Resolves when more is durable, something was reverted, or the log has ended. */
  readonly changed: () => Promise<void>;
  /** True when the log is closed; throws what it failed with. */
  readonly ended: () => boolean;
}

/** One part of a tail: bounds what a reader that stops in the middle has read for nothing. */
const PART_BYTES_MAX = 256 * 1024;

export async function* tailEntries(
  log: Followed,
  from: Index,
  signal: AbortSignal | undefined,
): AsyncGenerator<{ index: Index; data: Uint8Array }, void, undefined> {
  const cursor: TailCursor = { next: from, isStale: false };
  log.cursors.add(cursor);
  try {
    for (;;) {
      throwIfAborted(signal);
      const durable = log.durableIndex();
      if (cursor.next <= durable) {
        cursor.isStale = false;
        for (const entry of log.read(cursor.next, PART_BYTES_MAX)) {
          cursor.next = plus(entry.index, 1);
          yield entry;
          throwIfAborted(signal);
          // While it was away the rest may have been reverted: it is read anew.
          if (cursor.isStale) break;
        }
      } else if (log.ended()) return;
      else await nextChange(log, signal);
    }
  } finally {
    log.cursors.delete(cursor);
  }
}

export async function* tailChanges(
  log: Followed,
  from: Lsn,
  signal: AbortSignal | undefined,
): AsyncGenerator<WalChange, void, undefined> {
  let next = from;
  for (;;) {
    throwIfAborted(signal);
    const durable = log.durableLsn();
    if (next <= durable) {
      const changes = log.readLsn(next, PART_BYTES_MAX);
      if (changes.length === 0) next = plus(durable, 1);
      for (const change of changes) {
        next = plus(change.lsn, 1);
        yield change;
        throwIfAborted(signal);
      }
    } else if (log.ended()) return;
    else await nextChange(log, signal);
  }
}

function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) {
    throw new StoreError('CANCELLED', 'the tail was cancelled', { cause: signal.reason });
  }
}

/** Waits for a change, or for the signal; leaves no listener behind. */
async function nextChange(log: Followed, signal: AbortSignal | undefined): Promise<void> {
  if (signal === undefined) return log.changed();
  const { promise, resolve } = Promise.withResolvers<void>();
  const onAbort = (): void => resolve();
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    await Promise.race([log.changed(), promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
