/**
 * Lease: one key of one client, with a time to live, kept by rewriting it for as long as the client wants it. Locks and
 * elections queue such keys up (locks-queue.ts).
 *
 *   key    = queue's prefix, 128 random bits: no two leases ever have the same, also not two tries of one client
 *   value  = place in decimal, a space, the caller's bytes        place: revision that made the key; 0 in that revision
 *
 * Whether it is still ours is asked of two judges. The store knows: the key is there. The client may only guess, and
 * guesses early: nine tenths of the time to live after the moment *before* the last rewriting was sent, by the monotonic
 * clock. The store counts from a later moment, so it lets go later, unless the two clocks run a tenth apart.
 *
 * Invariants:
 *  - a key is made by one transaction at most, and never again once it is gone: existence means "still held";
 *  - a rewriting names the revision it replaces, so one whose answer was lost cannot undo a later one.
 */
import { utf8 } from '../core/base/bytes.ts';
import { isStoreError, StoreError } from '../core/base/errors.ts';
import type { Revision } from '../core/base/position.ts';
import { isRetried } from './calls.ts';
import type { CallOptions, Client } from './types.ts';

/** What a lease needs of a client. */
export type LeaseClient = Pick<Client, 'txn' | 'get' | 'delete' | 'range' | 'watch' | 'status'>;

export interface LeaseWorld {
  readonly client: LeaseClient;
  /** Those that are held or wait: given back when the client closes. */
  readonly leases: Set<Lease>;
}

export interface LeaseOptions {
  readonly prefix: string;
  readonly value: Uint8Array;
  readonly ttlMs: number;
  /** When the caller gives up, by `performance.now()`. */
  readonly untilMs: number;
  readonly signal: AbortSignal | undefined;
}

/** The part of its time to live for which a client believes in a lease. */
const BELIEVED = 0.9;
const RENEWED = 1 / 3;
const RETRIED = 1 / 20;

/** Up to a tenth earlier or later, so that clients that came together do not stay together. */
const jittered = (ms: number): number => ms * (0.9 + Math.random() / 5);

/** It may have happened, and nobody can say so any more. */
const isInDoubt = (error: unknown): boolean =>
  isStoreError(error, 'OUTCOME_UNKNOWN') ||
  isStoreError(error, 'SESSION_EXPIRED') ||
  (isStoreError(error, 'CANCELLED') && error.data['mayHappen'] === true);

const isLate = (error: unknown): boolean => isStoreError(error, 'DEADLINE_EXCEEDED');

export class Lease {
  readonly key: string;
  /** Revision that made the key: its place in the queue, and the fencing token. */
  readonly place: Revision;
  readonly #world: LeaseWorld;
  readonly #ttlMs: number;
  readonly #lost = new AbortController();
  #value: Uint8Array;
  /** Revision of its newest rewriting that we know of. */
  #revision: number;
  #believedUntilMs = 0;
  #renewal: ReturnType<typeof setTimeout> | undefined;
  #end: ReturnType<typeof setTimeout> | undefined;
  /** Rewritings, one after the other. */
  #turn: Promise<unknown> = Promise.resolve();
  #leaving: Promise<void> | undefined;

  private constructor(
    world: LeaseWorld,
    options: LeaseOptions,
    made: { key: string; place: Revision; sentMs: number },
  ) {
    this.#world = world;
    this.#ttlMs = options.ttlMs;
    this.#value = options.value;
    this.key = made.key;
    this.place = made.place;
    this.#revision = made.place;
    world.leases.add(this);
    this.#extend(made.sentMs);
  }

  /** Queues up. Each try has a key of its own: one whose outcome is not known is looked for, and given up if not found. */
  static async join(world: LeaseWorld, options: LeaseOptions): Promise<Lease> {
    const { client } = world;
    const { ttlMs, untilMs, signal } = options;
    for (;;) {
      const key = `${options.prefix}${ticket()}`;
      const sentMs = performance.now();
      const callOptions = { deadlineMs: Math.max(0, Math.min(untilMs - sentMs, ttlMs * BELIEVED)), ...given(signal) };
      let place: Revision | undefined;
      try {
        const value = encodeSeat(0, options.value);
        place = (await client.txn((t) => t.ifAbsent(key).put(key, value, { ttlMs }), callOptions)).revision;
      } catch (error) {
        if (isInDoubt(error)) place = await settled(client, key, callOptions, error);
        if (place === undefined && (!mayTryAgain(error) || performance.now() >= untilMs)) throw error;
      }
      // The answer came when it was nearly over.
      if (place !== undefined && performance.now() >= sentMs + ttlMs * BELIEVED) {
        forget(client, key, ttlMs);
        place = undefined;
      }
      if (place !== undefined) return new Lease(world, options, { key, place, sentMs });
    }
  }

  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  get isHeld(): boolean {
    return !this.#lost.signal.aborted && performance.now() < this.#believedUntilMs;
  }

  /** Another value, from now on. OUTCOME_UNKNOWN: it is, or will be with the next renewal. */
  async update(value: Uint8Array, options: CallOptions = {}): Promise<void> {
    const before = this.#value;
    this.#value = value;
    try {
      await this.#rewrite(options);
    } catch (error) {
      if (!isInDoubt(error) && this.#value === value) this.#value = before;
      throw error;
    }
  }

  /** Gives it back. A call that failed may be repeated; the key goes by itself at the end of its time to live. */
  leave(): Promise<void> {
    this.#lose('released', 'it was given back');
    this.#leaving ??= this.#remove().catch((error: unknown) => {
      this.#leaving = undefined;
      throw error;
    });
    return this.#leaving;
  }

  async #remove(): Promise<void> {
    const { client } = this.#world;
    const untilMs = performance.now() + this.#ttlMs;
    for (;;) {
      const options = { deadlineMs: Math.max(0, untilMs - performance.now()) };
      try {
        await client.delete(this.key, options);
        return;
      } catch (error) {
        if (!isInDoubt(error) || performance.now() >= untilMs) throw error;
        if ((await client.get(this.key, options)) === undefined) return;
      }
    }
  }

  /** Writes the value again, and with it a whole time to live. Settles what earlier rewritings left open. */
  #rewrite(options: CallOptions): Promise<void> {
    const work = async (): Promise<void> => {
      while (!(await this.#rewriteOnce(options))) this.lost.throwIfAborted();
    };
    const done = this.#turn.then(work);
    // Whoever asked is told; the next in turn does not care.
    this.#turn = done.catch(() => {});
    return done;
  }

  /** False: it must be done again. */
  async #rewriteOnce({ deadlineMs, signal }: CallOptions): Promise<boolean> {
    this.lost.throwIfAborted();
    const [value, key] = [this.#value, this.key];
    const sentMs = performance.now();
    const leftMs = Math.max(0, this.#believedUntilMs - sentMs);
    const answer = await this.#world.client.txn(
      (t) =>
        t
          .ifRevision(key, this.#revision)
          .put(key, encodeSeat(this.place, value), { ttlMs: this.#ttlMs })
          .else()
          .get(key),
      { deadlineMs: Math.min(leftMs, deadlineMs ?? leftMs), ...given(signal) },
    );
    if (answer.succeeded) {
      this.#revision = answer.revision;
      this.#extend(sentMs);
      return value === this.#value;
    }
    const [found] = answer.results;
    const entry = found?.kind === 'get' ? found.entry : undefined;
    if (entry === undefined) this.#lose('gone', 'its key is gone from the store');
    // One of ours whose answer was lost.
    else this.#revision = entry.revision;
    return false;
  }

  #extend(sentMs: number): void {
    if (this.#lost.signal.aborted) return;
    this.#believedUntilMs = sentMs + this.#ttlMs * BELIEVED;
    clearTimeout(this.#end);
    const leftMs = Math.max(0, this.#believedUntilMs - performance.now());
    this.#end = setTimeout(() => this.#lose('late', 'it was not renewed in time'), leftMs);
    this.#renewAt(sentMs + jittered(this.#ttlMs * RENEWED));
  }

  #renewAt(atMs: number): void {
    clearTimeout(this.#renewal);
    this.#renewal = setTimeout(
      () => {
        this.#rewrite({ deadlineMs: this.#ttlMs * RENEWED }).catch((error: unknown) => {
          if (isStoreError(error, 'CLOSED')) this.#lose('closed', 'its client was closed');
          // There is time for another try, or `#end` says that there is not.
          else if (!this.#lost.signal.aborted) this.#renewAt(performance.now() + jittered(this.#ttlMs * RETRIED));
        });
      },
      Math.max(0, atMs - performance.now()),
    );
  }

  #lose(reason: 'late' | 'gone' | 'closed' | 'released', text: string): void {
    if (this.#lost.signal.aborted) return;
    clearTimeout(this.#renewal);
    clearTimeout(this.#end);
    this.#world.leases.delete(this);
    const { key, place: token } = this;
    this.#lost.abort(new StoreError('LOCK_LOST', `${key}: ${text}`, { data: { key, token, reason } }));
    // Others need not wait for what nobody believes in.
    if (reason === 'late') forget(this.#world.client, key, this.#ttlMs);
  }
}

/** Where a key stands whose making is in doubt; undefined: it is not there, and never will be used. */
async function settled(
  client: LeaseClient,
  key: string,
  options: CallOptions,
  cause: unknown,
): Promise<Revision | undefined> {
  const isWanted = !isStoreError(cause, 'CANCELLED');
  try {
    const entry = isWanted ? await client.get(key, { ...options, deadlineMs: options.deadlineMs ?? 0 }) : undefined;
    if (entry !== undefined) return entry.revision;
  } catch (error) {
    if (!isStoreError(error)) throw error;
    // Not known, so not used either.
  }
  forget(client, key, options.deadlineMs ?? 0);
  return undefined;
}

/** Removes a key that nobody uses, if that can be done now. If not, it goes by its time to live. */
function forget(client: LeaseClient, key: string, deadlineMs: number): void {
  client.delete(key, { deadlineMs }).catch(() => {});
}

const mayTryAgain = (error: unknown): boolean =>
  (isInDoubt(error) && !isStoreError(error, 'CANCELLED')) ||
  isLate(error) ||
  (error instanceof StoreError && isRetried(error));

const given = (signal: AbortSignal | undefined): { signal?: AbortSignal } => (signal === undefined ? {} : { signal });

function ticket(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

function encodeSeat(place: number, value: Uint8Array): Uint8Array {
  const head = utf8(`${place} `);
  const bytes = new Uint8Array(head.length + value.length);
  bytes.set(head);
  bytes.set(value, head.length);
  return bytes;
}
