/**
 * Locks: `client.lock()` and `client.election()`, made of what the store has: keys with a time to live, transactions with
 * conditions, watches. The nodes know nothing of locks.
 *
 * A lock with a time to live is a hint by itself: a holder that stood still for too long goes on as if nothing had
 * happened. What makes it safe is the fence: `t.if(lock.condition())` in every transaction, checked where it is applied,
 * or the token given to whatever else is written to. docs/locks.md says which promise comes from where.
 */
import { StoreError } from '../core/base/errors.ts';
import { checkDeadline } from './calls.ts';
import { LeaderElection } from './election.ts';
import type { Lease, LeaseClient, LeaseWorld } from './locks-lease.ts';
import { take, type TakeOptions } from './locks-queue.ts';
import type { Election, Lock, LockOptions } from './types.ts';
import { HeldLease } from './locks-held.ts';

const TTL_MS = 15_000;
/** Below a second a change of leader takes longer than a lock lives. */
const TTL_MS_MIN = 1_000;
const TTL_MS_MAX = 24 * 60 * 60 * 1000;
const NONE = new Uint8Array(0);

export class Locks {
  readonly #world: LeaseWorld;
  readonly #deadlineMs: number;

  constructor(client: LeaseClient, deadlineMs: number) {
    this.#world = { client, leases: new Set() };
    this.#deadlineMs = deadlineMs;
  }

  async lock(name: string, options: LockOptions = {}): Promise<Lock> {
    return new HeldLock(await take(this.#world, this.#takeOptions(prefixOf('locks', name), NONE, options)));
  }

  election(name: string): Election {
    const prefix = prefixOf('elections', name);
    return new LeaderElection(this.#world.client, prefix, (value, options) =>
      take(this.#world, this.#takeOptions(prefix, value, options)),
    );
  }

  /** The client ends: gives back what is held, and leaves every queue. The deletes are sent; nobody waits here. */
  close(): void {
    // What cannot be removed any more goes by its time to live.
    for (const lease of [...this.#world.leases]) lease.leave().catch(() => {});
  }

  #takeOptions(prefix: string, value: Uint8Array, options: LockOptions): TakeOptions {
    const { ttlMs = TTL_MS, signal } = options;
    if (!Number.isSafeInteger(ttlMs) || ttlMs < TTL_MS_MIN || ttlMs > TTL_MS_MAX) {
      throw new StoreError('BAD_REQUEST', `ttlMs is ${TTL_MS_MIN} to ${TTL_MS_MAX} here (got ${ttlMs})`);
    }
    const nowMs = performance.now();
    const untilMs = nowMs + checkDeadline(options.deadlineMs ?? this.#deadlineMs);
    const waitUntilMs = options.waitMs === undefined ? untilMs : nowMs + checkDeadline(options.waitMs);
    return { prefix, value, ttlMs, untilMs, waitUntilMs, signal };
  }
}

class HeldLock extends HeldLease implements Lock {
  readonly #lease: Lease;

  constructor(lease: Lease) {
    super(lease);
    this.#lease = lease;
  }

  release(): Promise<void> {
    return this.#lease.leave();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.release();
  }
}

/** A name may hold anything; a slash in it must not make it a part of another's queue. */
function prefixOf(kind: 'locks' | 'elections', name: string): string {
  if (name === '') throw new StoreError('BAD_REQUEST', 'a name must have at least 1 character');
  return `ctlmesh/${kind}/${name.replaceAll('%', '%25').replaceAll('/', '%2F')}/`;
}
