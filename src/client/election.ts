/**
 * LeaderElection: the queue of locks-queue.ts, where the first leads and its value is for everybody to see.
 *
 * An observer reads the queue as it is at one revision, and follows it by a watch from the next: so it sees every change,
 * once and in order, over any number of connections.
 */
import { equalBytes, text } from '../core/base/bytes.ts';
import { StoreError } from '../core/base/errors.ts';
import type { Revision } from '../core/base/position.ts';
import { toBytes } from './entry.ts';
import { HeldLease } from './locks-held.ts';
import type { Lease, LeaseClient } from './locks-lease.ts';
import { readQueue, type Seat, seatOf } from './locks-queue.ts';
import type { Bytes, CallOptions, Election, Leader, Leadership, LockOptions, WatchEvent } from './types.ts';

type Take = (value: Uint8Array, options: LockOptions) => Promise<Lease>;

export class LeaderElection implements Election {
  readonly #client: LeaseClient;
  readonly #prefix: string;
  readonly #take: Take;
  #isCampaigning = false;
  #won: HeldLeadership | undefined;

  constructor(client: LeaseClient, prefix: string, take: Take) {
    this.#client = client;
    this.#prefix = prefix;
    this.#take = take;
  }

  async campaign(value: Bytes, options: LockOptions = {}): Promise<Leadership> {
    if (this.#isCampaigning || this.#won?.isHeld === true) {
      throw new StoreError(
        'BAD_REQUEST',
        'this election campaigns or leads already; take another for a second candidate',
      );
    }
    this.#isCampaigning = true;
    try {
      this.#won = new HeldLeadership(await this.#take(toBytes(value), options));
      return this.#won;
    } finally {
      this.#isCampaigning = false;
    }
  }

  async leader(options: CallOptions = {}): Promise<Leader | undefined> {
    const [first] = await readQueue(this.#client, this.#prefix, options);
    return first === undefined ? undefined : new SeatedLeader(first);
  }

  async *observe({ signal }: { readonly signal?: AbortSignal } = {}): AsyncGenerator<Leader | undefined, void, void> {
    const stop = new AbortController();
    const both = signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal]);
    try {
      // A read that a quorum confirms brings the node that answers it up to now; then it is asked how far that is.
      await this.#client.get(this.#prefix, { signal: both });
      const { applied } = await this.#client.status({ signal: both });
      const seats = await readQueue(this.#client, this.#prefix, { signal: both, revision: applied });
      const observed = new Observed(seats);
      const fromRevision = (applied + 1) as Revision;
      const changes = this.#client.watch({ prefix: this.#prefix, fromRevision, signal: both });
      if (observed.leader !== undefined) yield observed.leader;
      for await (const event of changes) if (observed.apply(event)) yield observed.leader;
    } finally {
      // Also where the reader left before the watch was read from.
      stop.abort();
    }
  }

  proclaim(value: Bytes, options?: CallOptions): Promise<void> {
    if (this.#won === undefined) return Promise.reject(new StoreError('BAD_REQUEST', 'no campaign was won yet'));
    return this.#won.proclaim(value, options);
  }

  resign(): Promise<void> {
    return this.#won === undefined ? Promise.resolve() : this.#won.resign();
  }
}

class HeldLeadership extends HeldLease implements Leadership {
  readonly #lease: Lease;

  constructor(lease: Lease) {
    super(lease);
    this.#lease = lease;
  }

  async proclaim(value: Bytes, options?: CallOptions): Promise<void> {
    await this.#lease.update(toBytes(value), options);
  }

  resign(): Promise<void> {
    return this.#lease.leave();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.resign();
  }
}

class SeatedLeader implements Leader {
  readonly token: Revision;
  readonly key: string;
  readonly value: Uint8Array;

  constructor(seat: Seat) {
    this.token = seat.place;
    this.key = seat.key;
    this.value = seat.value;
  }

  text(): string {
    return text(this.value);
  }
}

/** Rewritten or not, it tells an observer nothing new. */
const isAlike = (a: Seat, b: Seat): boolean => a.place === b.place && equalBytes(a.value, b.value);

/** The queue as an observer knows it, event by event. */
class Observed {
  readonly #seats = new Map<string, Seat>();
  /** Whom the observer was told of, or nobody. */
  #told: Seat | undefined;

  constructor(seats: readonly Seat[]) {
    for (const seat of seats) this.#seats.set(seat.key, seat);
    this.#tell(this.#first());
  }

  get leader(): Leader | undefined {
    return this.#told === undefined ? undefined : new SeatedLeader(this.#told);
  }

  /** True: `leader` is another, or says something else. */
  apply(event: WatchEvent): boolean {
    const key = event.keyText();
    if (event.kind === 'delete') this.#seats.delete(key);
    else {
      const seat = seatOf(event);
      if (seat !== undefined) this.#seats.set(key, seat);
    }
    // A revision is one step: what it did is looked at when all of it is here.
    return event.lastOfRevision && this.#tell(this.#first());
  }

  #tell(seat: Seat | undefined): boolean {
    const told = this.#told;
    const isSame = seat === undefined || told === undefined ? seat === told : isAlike(seat, told);
    this.#told = seat;
    return !isSame;
  }

  #first(): Seat | undefined {
    let first: Seat | undefined;
    for (const seat of this.#seats.values()) if (first === undefined || seat.place < first.place) first = seat;
    return first;
  }
}
