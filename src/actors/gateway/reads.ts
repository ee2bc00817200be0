/**
 * Reads: gets and ranges, answered here from shared memory once the barrier lets them, and the watches and
 * ledgers that the shipper feeds.
 *
 * A linearizable read waits for the barrier (read-barrier.ts); a local one only for the revision it names. One that
 * may be stale by so much is local while an earlier round proves that, and linearizable otherwise. A
 * watch "from now on" needs to know what now is, so it waits for the barrier too; one that names a revision
 * knows already.
 */
import type { ByteReader } from '../../core/base/bytes.ts';
import { ByteWriter } from '../../core/base/bytes.ts';
import { StoreError } from '../../core/base/errors.ts';
import type { Revision } from '../../core/base/position.ts';
import { boundToUserKeys, checkKey } from '../../core/model/limits.ts';
import type { StoredValue } from '../../core/model/store.ts';
import * as wire from '../../core/wire/client.ts';
import { type ControlReadRequest, decodeControlRead } from '../../core/wire/control.ts';
import type { StateCursor, StateReader } from '../../engine/state/state-reader.ts';
import { TO_REPLICATION } from '../messages.ts';
import type { Bell } from '../runtime/bell.ts';
import type { RingWriter } from '../runtime/ring.ts';
import type { Connection } from './connection.ts';
import type { FleetStreams } from './fleet-streams.ts';
import type { Readers } from './readers.ts';
import { readControl } from './control-reads.ts';
import { ReadBarrier, type Waiter } from './read-barrier.ts';
import { Subscriptions } from './subscriptions.ts';
import type { TableSizes } from './table-sizes.ts';
import type { FromShipper, ToShipper } from '../shipper-messages.ts';

export interface ReadsWorld {
  readonly state: Pick<StateReader, 'get' | 'scan' | 'getPrivate' | 'privateRows'>;
  /** What each table of control data holds; without it nobody is told. */
  readonly tableSizes?: Pick<TableSizes, 'list'> | undefined;
  readonly applied: () => number;
  /** What an earlier life of this node has shown: a read waits until that is here again. Default 0. */
  readonly appliedBefore?: number;
  /** Says whether somebody waits for entries to be applied, so that the memtable rings for them. */
  readonly tellWaits: (waits: boolean) => void;
  readonly outbox: RingWriter;
  readonly replication: Bell;
  readonly toShipper: (message: ToShipper) => void;
  readonly node: string;
  readonly cluster: string;
  /** Who may read the ledger, and what of it. */
  readonly readers: Readers;
  /** The LDBs among those that follow it. */
  readonly fleet: Pick<FleetStreams, 'joined' | 'left'>;
  readonly origin: number;
  readonly monotonicMs: () => number;
  readonly status: () => object;
}

/** A read, a range or a new watch that waits for the barrier. */
interface PendingRead extends Waiter {
  readonly connection: Connection;
  readonly request: number;
  readonly deadlineMs: number;
  readonly get: wire.GetRequest | undefined;
  readonly range: wire.RangeRequest | undefined;
  readonly watch: wire.WatchRequest | undefined;
  readonly control: ControlReadRequest | undefined;
  /** It may be answered from a state that is at most this old. */
  readonly maxStalenessMs?: number | undefined;
  needs: number;
}

/** So much before its deadline a read that found no proof is told so: its reason is to arrive before the deadline does. */
const TELL_STALE_MS = 100;

const NONE = new Uint8Array(0);
const encoder = new TextEncoder();

export class Reads {
  readonly #world: ReadsWorld;
  readonly #barrier: ReadBarrier<PendingRead>;
  readonly #subscriptions: Subscriptions;
  /** The memtable was asked to ring for every entry. */
  #waits = false;
  count = 0;
  expired = 0;

  constructor(world: ReadsWorld) {
    this.#world = world;
    this.#subscriptions = new Subscriptions({
      toShipper: world.toShipper,
      onEnded: (sub) => world.fleet.left(sub),
      monotonicMs: world.monotonicMs,
    });
    this.#barrier = new ReadBarrier({ ask: (id) => this.#ask(id), nowMs: world.monotonicMs, firstId: world.origin });
  }

  get underWay(): number {
    return this.#barrier.waiting;
  }

  /** Takes a request; throws the typed error of one that cannot be served. */
  submit(connection: Connection, request: number, kind: number, deadlineMs: number, reader: ByteReader): void {
    const none = { get: undefined, range: undefined, watch: undefined, control: undefined };
    const pending = { connection, request, deadlineMs, ...none };
    switch (kind) {
      case wire.REQUEST.get: {
        const get = wire.decodeGet(reader);
        reader.end();
        checkKey(get.key);
        const { revision = 0 } = get;
        const needs = Math.max(get.atLeast, revision);
        this.#await(
          { ...pending, get, ...this.#freshness({ ...get, revision }, deadlineMs), needs },
          {
            isSettled: isLocal(get) || revision !== 0,
          },
        );
        break;
      }
      case wire.REQUEST.controlRead: {
        const control = decodeControlRead(reader);
        reader.end();
        this.#await({ ...pending, control, needs: control.atLeast }, { isSettled: control.isLocal });
        break;
      }
      case wire.REQUEST.range: {
        const asked = wire.decodeRange(reader);
        reader.end();
        const range = { ...asked, to: boundToUserKeys(asked.from, asked.to) };
        connection.checkNewStream(request);
        // A named revision is settled already: it needs no confirmation, only to be applied here.
        const needs = Math.max(range.atLeast, range.revision);
        this.#await(
          { ...pending, range, ...this.#freshness(range, deadlineMs), needs },
          {
            isSettled: isLocal(range) || range.revision !== 0,
          },
        );
        break;
      }
      case wire.REQUEST.watch: {
        const asked = wire.decodeWatch(reader);
        reader.end();
        const watch = { ...asked, to: boundToUserKeys(asked.from, asked.to) };
        connection.checkNewStream(request);
        if (watch.fromRevision === 0) this.#await({ ...pending, watch, needs: 0 }, { isSettled: false });
        else this.#subscriptions.add(connection, request, 'watch', watch);
        break;
      }
      case wire.REQUEST.ledger: {
        const ledger = wire.decodeLedger(reader);
        reader.end();
        connection.checkNewStream(request);
        const { cluster } = this.#world;
        if (ledger.cluster !== '' && ledger.cluster !== cluster) {
          const message = `the replica belongs to cluster "${ledger.cluster}"; this is "${cluster}"`;
          throw new StoreError('LDB_FOREIGN', message);
        }
        // It was wiped, or is not let in yet, or has not replayed its log. Not UNAVAILABLE, which the SDK asks again here:
        // who has something already is fed by others at once.
        if (ledger.fromRevision > 1 && this.#world.applied() === 0) {
          throw new StoreError('LDB_MISSING', `${this.#world.node} has no state yet`);
        }
        const filter = this.#world.readers.grant(ledger.token, ledger.filter);
        const { wantsSnapshot, wantsHashes, wantsChecks, goOn } = ledger;
        const range = { from: NONE, to: NONE };
        const wishes = { filter, wantsSnapshot, wantsHashes, wantsChecks, goOn };
        const sub = this.#subscriptions.add(connection, request, 'ledger', { ...ledger, ...range }, wishes);
        if (ledger.ldb === undefined) break;
        this.#world.fleet.joined(sub, { connection, request }, ledger.ldb, filter);
        break;
      }
      case wire.REQUEST.status:
        reader.end();
        connection.ok(request, this.#world.applied(), encoder.encode(JSON.stringify(this.#world.status())));
        break;
      default:
        throw new StoreError('BAD_REQUEST', `unknown request ${kind}`);
    }
  }

  /** Asks for a read index if somebody waits for one. Once per turn. */
  flush(): void {
    this.#barrier.flush();
  }

  /** Round `id` is confirmed at `index`, or (0) could not be. */
  confirmed(id: number, index: number): void {
    this.#barrier.answer(id, index);
  }

  /** Answers everyone whose index is applied. */
  release(): void {
    this.#releaseApplied();
    const waits = this.#barrier.waitsForApplied;
    if (waits === this.#waits) return;
    this.#waits = waits;
    this.#world.tellWaits(waits);
    // Looked at after it was said: the memtable either sees the word and rings, or has applied it by now.
    if (waits) this.#releaseApplied();
  }

  #releaseApplied(): void {
    for (const read of this.#barrier.release(this.#world.applied())) {
      read.connection.inFlight--;
      this.#answer(read);
    }
  }

  sweep(nowMs: number): void {
    for (const read of this.#barrier.remove((waiter) => waiter.deadlineMs <= nowMs)) {
      this.expired++;
      this.#fail(read, this.#lateness(read, nowMs));
    }
    this.#barrier.flush();
    this.#subscriptions.sweep();
  }

  /** From the shipper. */
  ship(message: FromShipper): void {
    this.#subscriptions.ship(message);
  }

  /** The shipper's thread is gone: watches and replicas resume at the one that follows. */
  shipperGone(error: StoreError): void {
    this.#subscriptions.endAll(error);
  }

  credit(connection: Connection, request: number, bytes: number): void {
    if (!this.#subscriptions.credit(connection, request, bytes)) connection.creditRange(request, bytes);
  }

  cancel(connection: Connection, request: number): void {
    this.#subscriptions.cancel(connection, request);
    connection.cancelRange(request);
    for (const read of this.#barrier.remove((r) => r.connection === connection && r.request === request)) {
      read.connection.inFlight--;
    }
  }

  /** The connection is gone; nobody hears of its reads. */
  closed(connection: Connection): void {
    this.#barrier.remove((read) => read.connection === connection);
    this.#subscriptions.closed(connection);
  }

  #lateness({ watch, maxStalenessMs }: PendingRead, nowMs: number): StoreError {
    if (maxStalenessMs === undefined) {
      const what = watch === undefined ? 'read' : 'watch';
      return new StoreError('DEADLINE_EXCEEDED', `no quorum confirmed the ${what} before its deadline`);
    }
    const provenMs = this.#barrier.provenMs(this.#world.applied());
    const stalenessMs = provenMs === Number.NEGATIVE_INFINITY ? null : Math.ceil(nowMs - provenMs);
    const age = stalenessMs === null ? 'of an age nobody has confirmed' : `up to ${stalenessMs} ms old`;
    return new StoreError('TOO_STALE', `what this node has is ${age}; ${maxStalenessMs} ms were asked for`, {
      data: { maxStalenessMs, stalenessMs },
    });
  }

  /** What a read that may be stale has beside others: its bound, and a deadline of its own. */
  #freshness(
    { maxStalenessMs, revision }: { readonly maxStalenessMs?: number | undefined; readonly revision: number },
    deadlineMs: number,
  ): Partial<Pick<PendingRead, 'maxStalenessMs' | 'deadlineMs'>> {
    // The state of a named revision is as old as it is.
    if (maxStalenessMs === undefined || revision !== 0) return {};
    const leftMs = deadlineMs - this.#world.monotonicMs();
    return { maxStalenessMs, deadlineMs: deadlineMs - Math.min(TELL_STALE_MS, leftMs / 4) };
  }

  /** Does this node's state hold every write that was acknowledged so long before now? */
  #isFresh({ maxStalenessMs }: PendingRead): boolean {
    if (maxStalenessMs === undefined) return false;
    return this.#world.monotonicMs() - this.#barrier.provenMs(this.#world.applied()) <= maxStalenessMs;
  }

  /** Answers now if it may, or puts it behind the barrier. */
  #await(read: PendingRead, { isSettled }: { readonly isSettled: boolean }): void {
    this.count++;
    read.needs = Math.max(read.needs, this.#world.appliedBefore ?? 0);
    const isHere = isSettled || this.#isFresh(read);
    if (isHere && read.needs <= this.#world.applied()) {
      this.#answer(read);
      return;
    }
    read.connection.inFlight++;
    if (isHere) this.#barrier.addApplied(read);
    else this.#barrier.add(read);
  }

  #answer(read: PendingRead): void {
    const { connection, request, get, range, watch, control } = read;
    if (get !== undefined) {
      this.#answerGet(connection, request, get);
    } else if (control !== undefined) {
      this.#answerControl(connection, request, control);
    } else if (range !== undefined) {
      const cursor = this.#scan(connection, request, range);
      if (cursor === undefined) return;
      connection.startRange(request, {
        cursor,
        revision: cursor.revision,
        left: range.limit === 0 ? Number.POSITIVE_INFINITY : range.limit,
        credit: range.creditBytes,
      });
    } else if (watch !== undefined) {
      const fromRevision = Math.max(read.needs, this.#world.applied()) + 1;
      this.#subscriptions.add(connection, request, 'watch', { ...watch, fromRevision });
    }
  }

  #answerGet(connection: Connection, request: number, { key, revision = 0 }: wire.GetRequest): void {
    const refusal = connection.refusesValue();
    if (refusal !== undefined) return connection.fail(request, refusal);
    try {
      const stored = revision === 0 ? this.#world.state.get(key) : this.#getAt(key, revision);
      if (stored === undefined) connection.ok(request, 0, NONE);
      else connection.okValue(request, stored);
    } catch (error) {
      // A damaged table: the client asks another node. COMPACTED: the revision is no longer kept.
      if (!(error instanceof StoreError)) throw error;
      connection.fail(request, error);
    }
  }

  #answerControl(connection: Connection, request: number, control: ControlReadRequest): void {
    try {
      connection.ok(request, this.#world.applied(), readControl(this.#world, control));
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      connection.fail(request, error);
    }
  }

  /** The value of `key` as of `revision`; COMPACTED, with the oldest one, when that is no longer kept. */
  #getAt(key: Uint8Array, revision: number): StoredValue | undefined {
    const cursor = this.#world.state.scan({ from: key, to: after(key), reverse: false }, revision as Revision);
    try {
      return cursor.next();
    } finally {
      cursor.close();
    }
  }

  /** Undefined: the client was told why not (COMPACTED, or too many at once). */
  #scan(connection: Connection, request: number, range: wire.RangeRequest): StateCursor | undefined {
    const bounds = { from: range.from, to: range.to.length === 0 ? undefined : range.to, reverse: range.reverse };
    try {
      return this.#world.state.scan(bounds, range.revision === 0 ? undefined : (range.revision as Revision));
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      connection.endStream(request, error);
      return undefined;
    }
  }

  #fail(read: PendingRead, error: StoreError): void {
    read.connection.inFlight--;
    if (read.get !== undefined || read.control !== undefined) read.connection.fail(read.request, error);
    else read.connection.endStream(read.request, error);
  }

  #ask(id: number): void {
    // No room: the round is asked again when its deadline passes.
    this.#world.outbox.write(new ByteWriter(8).u8(TO_REPLICATION.read).u32(id).view());
    this.#world.replication.ring();
  }
}

/** Local without a bound: one that has a bound is answered from here only where the bound is proved. */
function isLocal(read: { readonly isLocal: boolean; readonly maxStalenessMs?: number | undefined }): boolean {
  return read.isLocal && read.maxStalenessMs === undefined;
}

/** The first key after `key`. */
function after(key: Uint8Array): Uint8Array {
  const next = new Uint8Array(key.length + 1);
  next.set(key);
  return next;
}
