/**
 * The queue of a lock or an election: leases under one prefix, in the order in which their keys were made. The first has
 * it. Each waits only for the one before it, so a release wakes one client and not a herd.
 *
 * Being first is for as long as the key lives: whoever comes later is made by a later revision. So each holder's place is
 * larger than all before, and serves as fencing token.
 */
import { isStoreError, StoreError } from '../core/base/errors.ts';
import type { Revision } from '../core/base/position.ts';
import { Lease, type LeaseClient, type LeaseWorld } from './locks-lease.ts';
import type { Entry, GetOptions, WatchEvent } from './types.ts';

/** Leases in one queue: each reads all of it once or twice, so it must not grow without end. */
const QUEUE_MAX = 1024;
const PLACE_DIGITS_MAX = 16;
const ZERO = 0x30;
const SPACE = 0x20;

export interface Seat {
  readonly key: string;
  readonly place: Revision;
  /** Of the newest rewriting. */
  readonly revision: Revision;
  readonly value: Uint8Array;
}

export interface TakeOptions {
  readonly prefix: string;
  readonly value: Uint8Array;
  readonly ttlMs: number;
  /** By `performance.now()`: when all of it must be over, and until when to stand behind others. */
  readonly untilMs: number;
  readonly waitUntilMs: number;
  readonly signal: AbortSignal | undefined;
}

/** Everybody in the queue, first come first. */
export async function readQueue(client: LeaseClient, prefix: string, options: GetOptions): Promise<Seat[]> {
  const seats: Seat[] = [];
  for await (const entry of client.range({ prefix, ...options })) {
    const seat = seatOf(entry);
    if (seat !== undefined) seats.push(seat);
  }
  return seats.sort((a, b) => a.place - b.place);
}

/** What an entry or an event of the queue says; undefined: it is none of ours. */
export function seatOf(entry: Entry | WatchEvent): Seat | undefined {
  const { value, revision } = entry;
  const end = value.indexOf(SPACE);
  if (end < 1 || end > PLACE_DIGITS_MAX) return undefined;
  let place = 0;
  for (const byte of value.subarray(0, end)) {
    if (byte < ZERO || byte > ZERO + 9) return undefined;
    place = place * 10 + (byte - ZERO);
  }
  // The revision that made it could not name itself.
  const made = place === 0 ? revision : (place as Revision);
  return { key: entry.keyText(), place: made, revision, value: value.subarray(end + 1) };
}

/** Queues up and waits until it is first. DEADLINE_EXCEEDED, CANCELLED, OVERLOADED: nothing is left behind. */
export async function take(world: LeaseWorld, options: TakeOptions): Promise<Lease> {
  for (;;) {
    const lease = await Lease.join(world, options);
    try {
      await reachFront(world.client, lease, options);
      if (lease.isHeld) return lease;
    } catch (error) {
      // A place that was lost (this process stood still, perhaps) is taken again, at the end.
      if (!isStoreError(error, 'LOCK_LOST')) {
        leave(lease);
        throw error;
      }
    }
    leave(lease);
  }
}

/** Nobody waits for it: what cannot be removed goes by its time to live. */
function leave(lease: Lease): void {
  lease.leave().catch(() => {});
}

async function reachFront(client: LeaseClient, lease: Lease, options: TakeOptions): Promise<void> {
  const { prefix, untilMs, waitUntilMs, signal } = options;
  for (;;) {
    const deadlineMs = Math.max(0, untilMs - performance.now());
    const seats = await readQueue(client, prefix, signal === undefined ? { deadlineMs } : { deadlineMs, signal });
    const ahead = seats.findIndex(({ key }) => key === lease.key);
    if (ahead === -1) throw new StoreError('LOCK_LOST', `${lease.key}: it lost its place in the queue`);
    if (ahead >= QUEUE_MAX) {
      throw new StoreError('OVERLOADED', `${QUEUE_MAX} wait for ${prefix} already`, { data: { limit: QUEUE_MAX } });
    }
    const before = seats[ahead - 1];
    if (before === undefined) return;
    const isGone = await waitForEnd(client, before, { lease, untilMs: Math.min(untilMs, waitUntilMs), signal, ahead });
    // It was the first, and nobody comes before those who are there.
    if (isGone && ahead === 1) return;
  }
}

interface Wait {
  readonly lease: Lease;
  readonly untilMs: number;
  readonly signal: AbortSignal | undefined;
  readonly ahead: number;
}

/** Waits for the end of another's key. False: nobody can say (its history is not kept any more), look again. */
async function waitForEnd(client: LeaseClient, seat: Seat, { lease, untilMs, signal, ahead }: Wait): Promise<boolean> {
  const late = new StoreError('DEADLINE_EXCEEDED', `${ahead} still ahead in the queue; nothing was done`, {
    data: { ahead },
  });
  const leftMs = untilMs - performance.now();
  if (leftMs <= 0) throw late;
  const stop = new AbortController();
  const timer = setTimeout(() => stop.abort(late), leftMs);
  const signals = [stop.signal, lease.lost, ...(signal === undefined ? [] : [signal])];
  const fromRevision = (seat.revision + 1) as Revision;
  try {
    for await (const event of client.watch({ key: seat.key, fromRevision, signal: AbortSignal.any(signals) })) {
      if (event.kind === 'delete') return true;
    }
    return false;
  } catch (error) {
    if (isStoreError(error, 'COMPACTED')) return false;
    // The watch only says that it was cancelled; by whom matters.
    if (signal?.aborted !== true) {
      stop.signal.throwIfAborted();
      lease.lost.throwIfAborted();
    }
    throw error;
  } finally {
    clearTimeout(timer);
  }
}
