/**
 * Relay: feeds other reflectors from an LDB, as a node feeds them from its state.
 *
 *   node ─ledger─▶ reflector ─▶ LDB ─▶ relay ─ledger─▶ reflector ─▶ LDB …
 *
 * It speaks the nodes' client protocol, so whoever follows it needs nothing new; and it is the nodes' shipper that feeds
 * them, over the LDB's rows and the records kept beside them. What was committed here is passed on: records, revisions,
 * log time and the cluster's state hash as they came. So a replica's lag is that of the cluster, however many hops away.
 *
 * A relay gives what it has and no more: a filter that asks for more than its own is refused, not cut down in silence.
 *
 * Loops. Each relay has an id. Who follows as a relay says its id, and is told the path: this relay, its upstream, and so
 * on. It is refused when it is on that path (RELAY_LOOP), and it leaves when it finds itself on a path that it is told later
 * (reflector/upstreams.ts): two relays that begin to follow each other at once both see it. Records never go in circles in
 * any case, as each is applied once, by its revision.
 *
 * Bounds: as the shipper's, and connections as the door's.
 */
import { assert } from '../core/base/assert.ts';
import { ByteReader, ByteWriter } from '../core/base/bytes.ts';
import { StoreError } from '../core/base/errors.ts';
import { type Revision, toIndex } from '../core/base/position.ts';
import { intersect, isSameFilter, type LedgerFilter, showFilter } from '../core/model/ledger-filter.ts';
import * as wire from '../core/wire/client.ts';
import { Connection, type Door } from './gateway/connection.ts';
import { FleetStreams } from './gateway/fleet-streams.ts';
import type { Readers } from './gateway/readers.ts';
import { Subscriptions } from './gateway/subscriptions.ts';
import { Shipper, type ShipperWorld } from './shipper.ts';
import type { ToShipper } from './shipper-messages.ts';

/** The LDB, as its relay reads it (engine/ldb/ldb-state.ts). */
export interface RelayState {
  readonly position: { readonly cluster: string; readonly revision: Revision; readonly timeMs: number };
  readonly filter: LedgerFilter | undefined;
  readonly ledgerFrom: Revision | undefined;
  readLedger(from: Revision): { readonly bytes: Uint8Array; readonly last: Revision } | undefined;
  /** Records that were committed since this was last asked. */
  takeFresh(): readonly Uint8Array[];
  scan: ShipperWorld['state']['scan'];
  endIdle(): void;
}

export interface RelayWorld {
  readonly id: string;
  /** Who may follow it; none named: everybody. */
  readonly readers: Readers;
  /** The state hash that the cluster told of a revision, while it is remembered. */
  readonly hashAt: (revision: number) => number | undefined;
  /** It is fresh enough to be followed: else those who have others go there. */
  readonly isFresh: () => boolean;
  readonly status: () => object;
  readonly monotonicMs: () => number;
  /** What its own LDB is known by. */
  readonly ldb: string;
  /** An LDB that follows it has said something, or left. */
  readonly onFleet: () => void;
}

const WINDOW_BYTES = 16 * 1024 * 1024;
const SUBSCRIPTIONS_MAX = 10_000;
const HELD_BYTES_MAX = 128 * 1024 * 1024;
const NO_POSITION = { cluster: '', revision: toIndex(0), timeMs: 0 };
const NONE = new Uint8Array(0);

export class Relay {
  readonly #world: RelayWorld;
  readonly #connections = new Set<Connection>();
  readonly #dirty = new Set<Connection>();
  readonly #subscriptions = new Subscriptions({
    toShipper: (message) => this.#toShipper(message),
    onEnded: (sub) => this.#left(sub),
    monotonicMs: () => this.#world.monotonicMs(),
  });
  /** The LDBs among those that follow it: its own upstream is told of them. */
  readonly fleet: FleetStreams;
  /** Relays that follow it: told when the path changes. */
  readonly #relays = new Map<Connection, Map<number, string>>();
  #state: RelayState | undefined;
  /** Of the last commit. */
  #position: RelayState['position'] = NO_POSITION;
  #shipper: Shipper | undefined;
  /** Whom it follows, and whom that one follows. */
  #above: readonly string[] = [];
  #wasFresh = false;

  constructor(world: RelayWorld) {
    this.#world = world;
    this.fleet = new FleetStreams({ via: world.ldb, nowMs: world.monotonicMs });
  }

  /** This relay, its upstream, and so on up to a node. */
  get path(): readonly string[] {
    return [this.#world.id, ...this.#above];
  }

  /** '' until the LDB was filled. */
  get cluster(): string {
    return this.#position.cluster;
  }

  get connections(): number {
    return this.#connections.size;
  }

  /** Reflectors that it feeds. */
  get followers(): number {
    return this.#shipper?.subscriptions ?? 0;
  }

  // ── the LDB's side ──

  /** The LDB was opened. */
  opened(state: RelayState): void {
    this.#state = state;
    this.#begin();
  }

  /** The LDB is about to be closed: nothing is read there any more. */
  gone(): void {
    this.#end(new StoreError('UNAVAILABLE', `${this.#world.id} opens its LDB anew`));
    this.#state = undefined;
    this.#position = NO_POSITION;
  }

  /** Records were committed, up to here. */
  committed({ revision, timeMs }: { readonly revision: Revision; readonly timeMs: number }): void {
    if (this.#shipper === undefined) return this.#begin();
    for (const records of this.#required().takeFresh()) this.#shipper.append(records);
    assert(this.#shipper.window.last === revision, 'what was committed is what is passed on');
    this.#position = { ...this.#position, revision, timeMs };
    this.#shipper.pumpAll();
  }

  /** A snapshot has taken the place of all there was: positions of followers mean something else. */
  replaced(): void {
    this.#begin();
  }

  /** The upstream's path; empty: a node, or nobody. */
  follows(above: readonly string[]): void {
    if (above.length === this.#above.length && above.every((id, i) => id === this.#above[i])) return;
    this.#above = above;
    for (const [connection, requests] of this.#relays) {
      for (const request of requests.keys()) this.#tellPath(connection, request);
    }
  }

  /** Now and then, a few times a second. */
  sweep(): void {
    const nowMs = this.#world.monotonicMs();
    this.#subscriptions.sweep();
    this.#shipper?.look();
    this.#state?.endIdle();
    for (const connection of this.#connections) {
      const lateness = connection.checkDeadlines(nowMs);
      if (lateness !== undefined) this.#drop(connection, lateness);
    }
    for (const connection of this.#dirty) connection.flush();
    const isFresh = this.#world.isFresh();
    if (isFresh === this.#wasFresh) return;
    this.#wasFresh = isFresh;
    for (const connection of this.#connections) connection.notice(isFresh ? this.#world.id : '', '');
  }

  /** Says goodbye to everybody. */
  close(): void {
    for (const connection of this.#connections) {
      this.#drop(connection, new StoreError('UNAVAILABLE', `${this.#world.id} is stopping`));
    }
    this.#shipper?.close();
  }

  /** A shipper for what the LDB is now: what the last one fed goes on there. */
  #begin(): void {
    this.#end(new StoreError('UNAVAILABLE', `${this.#world.id} took a snapshot itself`));
    const state = this.#required();
    this.#position = state.position;
    // They are there for who asks for them; the window begins with what comes next.
    state.takeFresh();
    const { cluster } = this.#position;
    if (cluster === '') return;
    this.#shipper = new Shipper({
      state: {
        scan: (bounds, revision) => state.scan(bounds, revision),
        readLedger: (from) => state.readLedger(from),
      },
      applied: () => this.#position.revision,
      timeMs: () => this.#position.timeMs,
      cluster,
      node: this.#world.id,
      windowBytes: WINDOW_BYTES,
      ledgerFrom: () => state.ledgerFrom ?? this.#position.revision + 1,
      subscriptionsMax: SUBSCRIPTIONS_MAX,
      hashAt: (revision) => this.#world.hashAt(revision),
      heldBytesMax: HELD_BYTES_MAX,
      post: (message) => this.#subscriptions.ship(message),
    });
  }

  #end(reason: StoreError): void {
    this.#shipper?.close();
    this.#shipper = undefined;
    this.#subscriptions.endAll(reason);
    this.#relays.clear();
  }

  #required(): RelayState {
    if (this.#state === undefined) throw new StoreError('UNAVAILABLE', `${this.#world.id} has no LDB yet`);
    return this.#state;
  }

  #left(sub: number): void {
    if (this.fleet.left(sub)) this.#world.onFleet();
  }

  #toShipper(message: ToShipper): void {
    this.#shipper?.receive(message);
  }

  // ── the door's side ──

  open(door: Door): Connection {
    const connection = new Connection(door, this.#world.monotonicMs(), this.#dirty);
    this.#connections.add(connection);
    return connection;
  }

  closed(connection: Connection): void {
    if (!this.#connections.delete(connection)) return;
    connection.isClosed = true;
    this.#dirty.delete(connection);
    this.#relays.delete(connection);
    this.#subscriptions.closed(connection);
  }

  receive(connection: Connection, bytes: Uint8Array): void {
    if (connection.isClosed) return;
    try {
      this.#frame(connection, new ByteReader(bytes));
      connection.flush();
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      this.#drop(connection, error);
    }
  }

  refuse(connection: Connection, error: StoreError): void {
    this.#drop(connection, error);
  }

  #frame(connection: Connection, reader: ByteReader): void {
    const type = reader.u8();
    if (!connection.isGreeted) {
      if (type !== wire.FRAME.hello) throw new StoreError('PROTOCOL_ERROR', 'the first frame must be a hello');
      this.#greet(connection, wire.decodeHello(reader));
      return;
    }
    switch (type) {
      case wire.FRAME.requests:
        while (reader.left > 0) {
          const [request, kind] = [reader.varint(), reader.u8()];
          // Deadlines are for what waits, and nothing waits here.
          reader.varint();
          this.#request(connection, request, kind, reader.raw(reader.u32()));
        }
        break;
      case wire.FRAME.credit:
        this.#subscriptions.credit(connection, reader.varint(), reader.varint());
        break;
      case wire.FRAME.cancel: {
        const request = reader.varint();
        this.#relays.get(connection)?.delete(request);
        this.#subscriptions.cancel(connection, request);
        break;
      }
      case wire.FRAME.report:
        this.fleet.report(connection.subs.get(reader.varint()), reader);
        this.#world.onFleet();
        break;
      default:
        throw new StoreError('PROTOCOL_ERROR', `a follower does not send frames of type ${type}`);
    }
  }

  #greet(connection: Connection, hello: wire.Hello): void {
    const version = wire.versionFor(hello, 'this relay');
    connection.isGreeted = true;
    const { id } = this.#world;
    const { cluster } = this.#position;
    // "Knows a leader" is how a node says that it is of use.
    const leader = this.#world.isFresh() ? id : '';
    connection.door.send(wire.encodeWelcome({ version, node: id, cluster, leader, leaderUrl: '', inFlightMax: 1 }));
  }

  #request(connection: Connection, request: number, kind: number, body: Uint8Array): void {
    try {
      if (kind === wire.REQUEST.status) {
        const status = new TextEncoder().encode(JSON.stringify(this.#world.status()));
        connection.ok(request, this.#position.revision, status);
      } else if (kind === wire.REQUEST.ledger) this.#follow(connection, request, new ByteReader(body));
      else throw new StoreError('READ_ONLY', 'this is a relay: it feeds replicas, and takes no other requests');
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      if (wire.isStream(kind)) connection.endStream(request, error);
      else connection.fail(request, error);
    }
  }

  #follow(connection: Connection, request: number, reader: ByteReader): void {
    const ledger = wire.decodeLedger(reader);
    reader.end();
    connection.checkNewStream(request);
    this.#checkPath(ledger.relay);
    const state = this.#required();
    const { cluster } = this.#position;
    const { token, wantsSnapshot, wantsHashes, wantsChecks, relay, goOn } = ledger;
    if (ledger.cluster !== '' && cluster !== '' && ledger.cluster !== cluster) {
      throw new StoreError('LDB_FOREIGN', `the replica belongs to cluster "${ledger.cluster}"; this is "${cluster}"`);
    }
    const filter = this.#within(state.filter, this.#world.readers.grant(token, ledger.filter));
    // Not UNAVAILABLE, which the SDK asks again by itself: who has other upstreams is to go there.
    if (this.#shipper === undefined) throw new StoreError('LDB_MISSING', `${this.#world.id} was never filled`);
    const range = { from: NONE, to: NONE };
    const wishes = { filter, wantsSnapshot, wantsHashes, wantsChecks, goOn };
    const sub = this.#subscriptions.add(connection, request, 'ledger', { ...ledger, ...range }, wishes);
    if (ledger.ldb !== undefined) this.fleet.joined(sub, { connection, request }, ledger.ldb, filter);
    if (relay === undefined) return;
    const requests = this.#relays.get(connection) ?? new Map<number, string>();
    this.#relays.set(connection, requests.set(request, relay));
    this.#tellPath(connection, request);
  }

  #checkPath(relay: string | undefined): void {
    const { path } = this;
    if (relay !== undefined && path.includes(relay)) {
      throw new StoreError('RELAY_LOOP', `${this.#world.id} follows ${relay} itself`, { data: { path } });
    }
    if (path.length > wire.RELAY_PATH_MAX) {
      const message = `${this.#world.id} is ${path.length} relays away from the nodes`;
      throw new StoreError('RELAY_LOOP', message, { data: { path, limit: wire.RELAY_PATH_MAX } });
    }
  }

  /** What is given; FORBIDDEN when it is not all here. */
  #within(held: LedgerFilter | undefined, asked: LedgerFilter | undefined): LedgerFilter | undefined {
    const given = intersect(held, asked);
    if (isSameFilter(given, asked)) return given;
    const message = `this relay has ${showFilter(held)}, which is not all of ${showFilter(asked)}`;
    throw new StoreError('FORBIDDEN', message, { data: { held: showFilter(held), asked: showFilter(asked) } });
  }

  #tellPath(connection: Connection, request: number): void {
    const writer = new ByteWriter(256).u8(wire.FRAME.stream).varint(request);
    connection.door.send(wire.encodePath(writer, this.path.slice(0, wire.RELAY_PATH_MAX + 1)).take());
  }

  #drop(connection: Connection, error: StoreError): void {
    if (connection.isClosed) return;
    connection.goodbye(error);
    this.closed(connection);
  }
}
