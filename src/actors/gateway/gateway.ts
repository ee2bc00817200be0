/**
 * Gateway: between the doors and the log. Bytes of a client in, bytes for it out.
 *
 * It greets clients, takes their frames apart, and hands every request to Writes or Reads, which keep it until it
 * is answered. What arrives together leaves together: one ring frame per client frame, one reply frame per
 * connection and turn.
 *
 * A bad request is answered with a typed error; a bad frame ends its connection with a reason. Nobody else
 * notices either.
 *
 * Bounds: requests and bytes of writes under way per node, streams per connection, bytes waiting on a socket.
 *
 * On the put path: stops 2 and 8 of 9. From net (a door); to replication; from memtable; to the door.
 */
import { ByteReader } from '../../core/base/bytes.ts';
import { StoreError } from '../../core/base/errors.ts';
import type { Member } from '../../core/raft/membership.ts';
import type { ActorsView } from '../../core/wire/actors.ts';
import { needOf } from '../../core/wire/access.ts';
import * as wire from '../../core/wire/client.ts';
import type { StateReader } from '../../engine/state/state-reader.ts';
import type { FleetTable } from '../fleet-table.ts';
import { TO_GATEWAY } from '../messages.ts';
import type { RingReader, RingWriter } from '../runtime/ring.ts';
import { ROLES, type Shared } from '../shared.ts';
import type { FromShipper, ToShipper } from '../shipper-messages.ts';
import { type Caller, Callers } from './callers.ts';
import { Connection, type Door } from './connection.ts';
import { Inspections } from './inspections.ts';
import { Fleet } from './fleet.ts';
import { Members } from './members.ts';
import { Readers, type ReaderGrant } from './readers.ts';
import type { PutTraces } from './put-traces.ts';
import { Reads } from './reads.ts';
import type { TableSizes } from './table-sizes.ts';
import { Writes } from './writes.ts';

export interface GatewayWorld {
  readonly shared: Shared;
  readonly state: Pick<StateReader, 'get' | 'scan' | 'getPrivate' | 'privateRows'>;
  /** What each table of control data holds; without it nobody is told. */
  readonly tableSizes?: Pick<TableSizes, 'list'>;
  /** The disk is full: puts are refused. */
  readonly isFull: () => boolean;
  /** Tables may be dropped and cleared. */
  readonly destructiveSchemaChanges: boolean;
  /** To replication. */
  readonly outbox: RingWriter;
  readonly fromReplication: RingReader;
  readonly answers: RingReader;
  readonly toShipper: (message: ToShipper) => void;
  readonly node: string;
  readonly cluster: string;
  /** This boot's number in commands. */
  readonly origin: number;
  readonly monotonicMs: () => number;
  readonly leader: () => { readonly name: string; readonly url: string };
  readonly status: () => object;
  /** What the actors of this node do; without it nobody is told. */
  readonly actors?: () => Promise<ActorsView>;
  /** Follows writes that somebody outside follows; without it nobody is. */
  readonly traces?: PutTraces | undefined;
  /** The members have changed: everybody who ever was one, in the order of their numbers. */
  readonly onMembers: (known: readonly Member[]) => void;
  /** What an earlier life of this node has shown: nobody is shown less. Default 0. */
  readonly appliedBefore?: number;
  /** Requests that the node holds at once, over all connections. */
  readonly inFlightMax: number;
  /** Who may ask; default: everybody. */
  readonly callers?: Callers;
  /** Who may follow the ledger; default: everybody who may read. */
  readonly readers?: readonly ReaderGrant[];
}

/** Connections that are sent nothing by the sweep itself are looked at this often, not each time. */
const LOOK_EVERY_MS = 250;
const DEADLINE_MS_MAX = 10 * 60 * 1000;

const notShown = (): Promise<never> => Promise.reject(new StoreError('DISABLED', 'this node does not show its actors'));

export class Gateway {
  readonly #world: GatewayWorld;
  readonly #connections = new Set<Connection>();
  readonly #dirty = new Set<Connection>();
  readonly #writes: Writes;
  readonly #reads: Reads;
  readonly #members: Members;
  readonly #inspections: Inspections;
  readonly #fleet: Fleet;
  readonly #callers: Callers;
  #hasLeader = false;
  #requests = 0;
  #refused = 0;
  #lookedMs = Number.NEGATIVE_INFINITY;

  constructor(world: GatewayWorld) {
    this.#world = world;
    this.#callers = world.callers ?? new Callers([]);
    const replication = world.shared.bell('replication');
    this.#writes = new Writes({ ...world, replication });
    this.#members = new Members({ ...world, replication });
    this.#inspections = new Inspections(world.actors ?? notShown);
    const { shared } = world;
    this.#fleet = new Fleet({
      ...world,
      replication,
      applied: shared.reader('applied'),
      timeMs: shared.reader('timeMs'),
    });
    this.#reads = new Reads({
      ...world,
      readers: new Readers(world.readers ?? []),
      fleet: this.#fleet.streams,
      replication,
      applied: world.shared.reader('applied'),
      tellWaits: (waits) => world.shared.set('readsWait', waits ? 1 : 0),
    });
  }

  get connections(): number {
    return this.#connections.size;
  }

  get inFlight(): number {
    const asked = this.#members.underWay + this.#inspections.underWay + this.#fleet.underWay;
    return this.#writes.underWay + this.#reads.underWay + asked;
  }

  /** For metrics. */
  get counts(): Readonly<Record<'requests' | 'writes' | 'reads' | 'refused' | 'expired', number>> {
    return {
      requests: this.#requests,
      writes: this.#writes.admitted,
      reads: this.#reads.count,
      refused: this.#refused,
      expired: this.#writes.expired + this.#reads.expired,
    };
  }

  /** The LDBs that follow this node. */
  get fleet(): FleetTable {
    return this.#fleet.streams.table;
  }

  /** `caller`: known without a token. */
  open(door: Door, caller?: Caller): Connection {
    const connection = new Connection(door, this.#world.monotonicMs(), this.#dirty);
    if (caller !== undefined) connection.caller = caller;
    this.#connections.add(connection);
    return connection;
  }

  /** A connection is gone: what it waited for has nobody to hear of it. Its writes go on. */
  closed(connection: Connection): void {
    if (!this.#connections.delete(connection)) return;
    connection.isClosed = true;
    connection.cancelRanges();
    this.#reads.closed(connection);
    this.#members.closed(connection);
    this.#fleet.closed(connection);
  }

  /** One frame of a client. */
  receive(connection: Connection, bytes: Uint8Array): void {
    if (connection.isClosed) return;
    try {
      this.#frame(connection, new ByteReader(bytes));
      this.#writes.flush();
      this.#reads.release();
      this.#reads.flush();
      connection.flush();
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      this.#drop(connection, error);
    }
  }

  /** What came is no frame: the connection ends with the reason. */
  refuse(connection: Connection, error: StoreError): void {
    this.#drop(connection, error);
  }

  /** The bell rang: answers, refusals, news of leadership, entries applied. */
  turn(): void {
    this.#writes.flush();
    this.#writes.takeAnswers();
    this.#takeNews();
    this.#reads.release();
    this.#reads.flush();
    for (const connection of this.#dirty) connection.flush();
  }

  /** From the shipper. */
  ship(message: FromShipper): void {
    this.#reads.ship(message);
  }

  /** The shipper has ended, and another will begin: what it fed ends with `error`, which says to ask again. */
  shipperGone(error: StoreError): void {
    this.#reads.shipperGone(error);
  }

  /** Looks for what is past its deadline; every few dozen milliseconds. */
  sweep(): void {
    const nowMs = this.#world.monotonicMs();
    this.#writes.sweep(nowMs);
    this.#reads.sweep(nowMs);
    this.#members.sweep(nowMs);
    this.#fleet.sweep(nowMs);
    this.#reads.release();
    this.#lookAtConnections(nowMs);
    for (const connection of this.#dirty) connection.flush();
  }

  #lookAtConnections(nowMs: number): void {
    const isTimeForAll = nowMs - this.#lookedMs >= LOOK_EVERY_MS;
    if (isTimeForAll) this.#lookedMs = nowMs;
    for (const connection of this.#connections) {
      if (!isTimeForAll && !connection.hasRanges) continue;
      const lateness = connection.checkDeadlines(nowMs);
      if (lateness !== undefined) this.#drop(connection, lateness);
    }
  }

  /** Says goodbye to every client. */
  close(): void {
    for (const connection of this.#connections) {
      this.#drop(connection, new StoreError('UNAVAILABLE', `${this.#world.node} is stopping`));
    }
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
          const request = reader.varint();
          const kind = reader.u8();
          const deadlineMs = reader.varint();
          this.#request(connection, request, kind, deadlineMs, reader.raw(reader.u32()));
          if (connection.isOverrun) throw connection.overrun();
        }
        break;
      case wire.FRAME.credit:
        this.#reads.credit(connection, reader.varint(), reader.varint());
        break;
      case wire.FRAME.cancel:
        this.#reads.cancel(connection, reader.varint());
        break;
      case wire.FRAME.report:
        this.#fleet.streams.report(connection.subs.get(reader.varint()), reader);
        break;
      default:
        throw new StoreError('PROTOCOL_ERROR', `a client does not send frames of type ${type}`);
    }
  }

  #greet(connection: Connection, hello: wire.Hello): void {
    const version = wire.versionFor(hello, 'this node');
    connection.isGreeted = true;
    if (connection.caller.role === undefined) connection.caller = this.#callers.callerOf(hello.token);
    const { node, cluster, inFlightMax } = this.#world;
    const leader = this.#world.leader();
    connection.door.send(
      wire.encodeWelcome({ version, node, cluster, leader: leader.name, leaderUrl: leader.url, inFlightMax }),
    );
  }

  #request(connection: Connection, request: number, kind: number, deadlineMs: number, body: Uint8Array): void {
    this.#requests++;
    try {
      const limit = this.#world.inFlightMax;
      if (this.inFlight >= limit) {
        throw new StoreError('OVERLOADED', `a node holds ${limit} requests at once`, { data: { limit } });
      }
      const waitMs = deadlineMs === 0 || deadlineMs > DEADLINE_MS_MAX ? DEADLINE_MS_MAX : deadlineMs;
      const untilMs = this.#world.monotonicMs() + waitMs;
      if ((kind & wire.TRACED) !== 0) {
        this.#traced(connection, request, kind & ~wire.TRACED, untilMs, body);
        return;
      }
      this.#checkCaller(connection, kind, body);
      if (kind === wire.REQUEST.members) this.#members.submit(connection, request, untilMs, body);
      else if (kind === wire.REQUEST.actors) this.#inspections.submit(connection, request);
      else if (kind === wire.REQUEST.fleet) this.#fleet.submit(connection, request, untilMs, body);
      else if (wire.isCommand(kind)) this.#writes.submit(connection, request, kind, untilMs, body);
      else this.#reads.submit(connection, request, kind, untilMs, new ByteReader(body));
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      this.#refused++;
      if (wire.isStream(kind)) connection.endStream(request, error);
      else connection.fail(request, error);
    }
  }

  #traced(connection: Connection, request: number, kind: number, untilMs: number, body: Uint8Array): void {
    if (!wire.isCommand(kind)) throw new StoreError('BAD_REQUEST', `only writes are traced (${kind})`);
    const reader = new ByteReader(body);
    const traceparent = reader.string();
    const call = reader.raw(reader.left);
    this.#checkCaller(connection, kind, call);
    this.#writes.submit(connection, request, kind, untilMs, call, traceparent);
  }

  #checkCaller({ caller }: Connection, kind: number, body: Uint8Array): void {
    if (this.#callers.isOpen) return;
    // Where readers are named, it is they who may follow the ledger, and nobody else.
    if (kind === wire.REQUEST.ledger && (this.#world.readers?.length ?? 0) > 0) return;
    const need = needOf(kind, body);
    if (need !== undefined) this.#callers.check(caller, need);
  }

  #takeNews(): void {
    const { fromReplication } = this.#world;
    for (let frame = fromReplication.peek(); frame !== undefined; frame = fromReplication.peek()) {
      const reader = new ByteReader(frame.slice());
      fromReplication.pop();
      const kind = reader.u8();
      if (kind === TO_GATEWAY.read) this.#reads.confirmed(reader.u32(), reader.u64());
      else if (kind === TO_GATEWAY.refused) this.#writes.refused(reader);
      else if (kind === TO_GATEWAY.member) this.#members.answered(reader);
      else if (kind === TO_GATEWAY.members) this.#membersChanged(reader.raw(reader.left));
      else if (kind === TO_GATEWAY.fleetPeers) this.#fleet.peers(reader);
      else if (kind === TO_GATEWAY.fleetAsk) this.#fleet.asked(reader);
      else if (kind === TO_GATEWAY.fleetAnswer) this.#fleet.answered(reader);
      else if (kind === TO_GATEWAY.doubt) {
        this.#writes.doubt('the connection to the leader broke');
        this.#members.leaderChanged();
      } else this.#leaderChanged(reader.u64(), reader.u32() !== 0);
    }
  }

  #membersChanged(json: Uint8Array): void {
    const { known } = JSON.parse(new TextDecoder().decode(json)) as { readonly known: readonly Member[] };
    this.#world.onMembers(known);
  }

  #leaderChanged(term: number, hasLeader: boolean): void {
    this.#writes.leaderChanged(term, hasLeader);
    this.#members.leaderChanged();
    const hadLeader = this.#hasLeader;
    this.#hasLeader = hasLeader;
    if (hadLeader && !hasLeader && ROLES[this.#world.shared.get('role')] === 'learner') this.#sendAway();
    const leader = this.#world.leader();
    for (const connection of this.#connections) connection.notice(leader.name, leader.url);
  }

  /** This node was removed, perhaps as leader, or its leader is gone: clients need not wait here for what may never come. */
  #sendAway(): void {
    const error = new StoreError('UNAVAILABLE', `${this.#world.node} has no vote and hears of no leader`);
    for (const connection of this.#connections) this.#drop(connection, error);
  }

  #drop(connection: Connection, error: StoreError): void {
    if (connection.isClosed) return;
    connection.goodbye(error);
    this.closed(connection);
  }
}
