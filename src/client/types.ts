/**
 * The SDK's public types: what `connect()` gives, in the order a reader meets it.
 */
import type { Revision } from '../core/base/position.ts';
import type { LedgerFilter } from '../core/model/ledger-filter.ts';
import type { Member } from '../core/raft/membership.ts';
import type { ActorsView } from '../core/wire/actors.ts';
import type { MembersReply } from '../core/wire/members.ts';
import type { Bytes, CallOptions, GetOptions, PutOptions, WriteOptions, WriteResult } from './call-types.ts';
import type { Control } from './control-types.ts';
import type { Fleet, LedgerReplica } from './fleet-types.ts';

export type { Bytes, CallOptions, GetOptions, PutOptions, WriteOptions, WriteResult } from './call-types.ts';
export type { Member } from '../core/raft/membership.ts';
export type { ActorRow, ActorsView, ActorState, KindRow } from '../core/wire/actors.ts';
export type { MemberProgress } from '../core/wire/members.ts';

export interface Entry {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
  /** The write that made this value. */
  readonly revision: Revision;
  /** Absolute log time at which it expires, later if leaders change meanwhile; or undefined. */
  readonly expiryMs: number | undefined;
  keyText(): string;
  text(): string;
  json(): unknown;
}

export interface RangeOptions extends GetOptions {
  /** Keys that begin with this. Not together with from/to. */
  readonly prefix?: Bytes;
  /** First key, inclusive. */
  readonly from?: Bytes;
  /** End, exclusive. */
  readonly to?: Bytes;
  readonly limit?: number;
  readonly reverse?: boolean;
}

export interface WatchOptions {
  readonly key?: Bytes;
  readonly prefix?: Bytes;
  /**
   * First revision wanted; default: the next one. COMPACTED when it is older than what the nodes keep: begin at
   * `data.oldestRevision` of the error, or read the state and go on from there.
   */
  readonly fromRevision?: Revision | number;
  /** Also gives bookmarks, one a second at least: how far the watch is while nothing it watches changes. */
  readonly bookmarks?: boolean;
  /**
   * Told once when the consumer has been too slow for what the node may hold for it: the node sends no more until it
   * goes on, and then goes on where it was. Called as soon as the news comes, ahead of events that wait to be taken.
   */
  readonly onSlow?: (news: SlowWatch) => void;
  readonly signal?: AbortSignal;
}

/** How far a slow watch is. */
export interface SlowWatch {
  /** Everything up to here was sent. */
  readonly revision: Revision;
  /** The newest revision of the node. */
  readonly newestRevision: Revision;
  /** Revisions between the two. */
  readonly behind: number;
}

/** Everything up to `revision` came before it: the watch may be resumed at `revision + 1`. */
export interface WatchBookmark {
  readonly kind: 'bookmark';
  readonly revision: Revision;
}

/** What a watch gives: bookmarks only where they were asked for. */
export type WatchItem<O extends WatchOptions> = O extends { readonly bookmarks: true }
  ? WatchEvent | WatchBookmark
  : WatchEvent;

export interface WatchEvent {
  readonly kind: 'put' | 'delete';
  readonly key: Uint8Array;
  /** Empty for a delete. */
  readonly value: Uint8Array;
  readonly revision: Revision;
  /** Log time of the revision. */
  readonly timeMs: number;
  /** True on the last event of its revision: a revision is then complete. */
  readonly lastOfRevision: boolean;
  keyText(): string;
  text(): string;
  json(): unknown;
}

export interface DeleteResult extends WriteResult {
  /** False when there was nothing to delete. */
  readonly found: boolean;
}

/** One answer per operation of the branch that ran. */
export type TxnOpResult =
  | { readonly kind: 'put' }
  | { readonly kind: 'delete'; readonly found: boolean }
  | { readonly kind: 'get'; readonly entry: Entry | undefined };

export interface TxnResult extends WriteResult {
  /** True when every condition held, so the main branch ran; false when the else branch ran. */
  readonly succeeded: boolean;
  readonly results: readonly TxnOpResult[];
}

/** A condition as a value: what `lock.condition()` gives. */
export type TxnCondition =
  | { readonly kind: 'revision'; readonly key: Bytes; readonly revision: number }
  | { readonly kind: 'exists' | 'absent'; readonly key: Bytes }
  | { readonly kind: 'value'; readonly key: Bytes; readonly value: Bytes };

/** Conditions first, then operations; `else()` switches to the other branch. Calls chain. */
export interface TxnBuilder {
  if(condition: TxnCondition): TxnBuilder;
  /** The key's value was written by exactly this revision; 0 = the key is absent. */
  ifRevision(key: Bytes, revision: number): TxnBuilder;
  ifExists(key: Bytes): TxnBuilder;
  ifAbsent(key: Bytes): TxnBuilder;
  ifValue(key: Bytes, value: Bytes): TxnBuilder;
  put(key: Bytes, value: Bytes, options?: { readonly ttlMs?: number }): TxnBuilder;
  delete(key: Bytes): TxnBuilder;
  get(key: Bytes): TxnBuilder;
  else(): TxnBuilder;
}

export interface NodeStatus {
  readonly node: string;
  readonly cluster: string;
  /** A learner has no vote: it was added and not promoted, waits to be added, or was removed. A relay is no node. */
  readonly role: 'leader' | 'follower' | 'candidate' | 'learner' | 'relay';
  readonly term: number;
  /** Node id of the leader it follows, or null. */
  readonly leader: string | null;
  readonly leaderUrl: string | null;
  readonly committed: number;
  readonly applied: number;
  readonly lastIndex: number;
  /** Age of the newest log time it has applied, in ms; null before the first. */
  readonly lagMs: number | null;
  /** An estimate once there are tables: a key that was overwritten counts twice until its versions are merged. */
  readonly keys: number;
  /** Of the memtable that is written now, and the size at which it becomes a table. */
  readonly memtableBytes: number;
  readonly memtableBytesMax: number;
  readonly tableBytes: number;
  /** Everything up to this revision is in tables; a restart applies the log from there. */
  readonly flushed: number;
  readonly version: string;
  readonly uptimeMs: number;
  /** What it does, and how far it is, while it gets its state anew because its files were damaged: 'applies the log: 43 %'. */
  readonly repair?: string;
  /** Of a relay: it, its upstream, and so on up to a node. */
  readonly path?: readonly string[];
}

/** Who belongs to the cluster, as its leader has it, and how far each is. */
export type MembersView = MembersReply;

/**
 * Changes of who belongs to the cluster. Each resolves when the change is committed, with the members as they are then,
 * and rejects with MEMBER_REFUSED, and the reason, when it is not possible now.
 */
export interface Members {
  list(options?: CallOptions): Promise<MembersView>;
  /** Adds a node as a learner: it gets everything, and counts for nothing. Start it with `join: true`. */
  add(member: Member, options?: CallOptions): Promise<MembersView>;
  /** Gives a vote to a learner that has caught up. */
  promote(id: string, options?: CallOptions): Promise<MembersView>;
  /** A leader that is removed hands over first. */
  remove(id: string, options?: CallOptions): Promise<MembersView>;
  /** Gives the vote of `old`, who leaves, to the learner `by`: one change, so that as many vote as before. */
  replace(old: string, by: string, options?: CallOptions): Promise<MembersView>;
  /**
   * Lets a member go on with the empty directory `dir` (its IDENTITY) because the one that it `replaces` is damaged: it
   * gives up its vote, is fed as a learner, and votes again by itself once it has caught up. Nodes ask for it themselves.
   */
  readmit(
    id: string,
    directory: { readonly dir: string; readonly replaces: string },
    options?: CallOptions,
  ): Promise<MembersView>;
  /** The leader hands over, to `to` or to the voter that has most of the log. */
  transferLeader(to?: string, options?: CallOptions): Promise<MembersView>;
}

export type ClientState = 'connecting' | 'connected' | 'reconnecting' | 'closed';

export type ClientEvent =
  | { readonly kind: 'connected'; readonly url: string; readonly node: string }
  | { readonly kind: 'disconnected'; readonly url: string; readonly reason: string }
  | { readonly kind: 'retrying'; readonly attempt: number; readonly delayMs: number; readonly reason: string };

export interface ConnectOptions {
  /** Default for calls, in ms. */
  readonly deadlineMs?: number;
  /** How long `connect` itself may take; default 10 000. */
  readonly connectDeadlineMs?: number;
  /** Gives up connecting; does nothing once connected. */
  readonly signal?: AbortSignal;
  /** Calls under way at once before callers wait; default 1024. */
  readonly inFlightMax?: number;
  /** Told about connections coming and going. */
  readonly onEvent?: (event: ClientEvent) => void;
  /** Who asks, where the cluster's config names its callers: without it, or with nobody's, calls fail with TOKEN_INVALID. */
  readonly token?: string;
  /** Stay on this node: no move to the leader, no other endpoint (status tools). */
  readonly pinned?: boolean;
  /** Move to the leader when it is another node (default true): a write there saves a hop. Replicas need not. */
  readonly followLeader?: boolean;
}

export interface Client extends AsyncDisposable {
  readonly state: ClientState;
  /** The endpoint in use, or undefined between connections. */
  readonly endpoint: string | undefined;
  put(key: Bytes, value: Bytes, options?: PutOptions): Promise<WriteResult>;
  get(key: Bytes, options?: GetOptions): Promise<Entry | undefined>;
  delete(key: Bytes, options?: WriteOptions): Promise<DeleteResult>;
  range(options?: RangeOptions): AsyncIterable<Entry>;
  txn(build: (t: TxnBuilder) => unknown, options?: WriteOptions): Promise<TxnResult>;
  watch<O extends WatchOptions = WatchOptions>(options?: O): AsyncIterable<WatchItem<O>>;
  status(options?: CallOptions): Promise<NodeStatus>;
  /**
   * The actors of the connected node, its own and its application's: where each runs, what waits for it, how long it
   * takes. A thousand rows at most; the view says how many were left off.
   */
  listActors(options?: CallOptions): Promise<ActorsView>;
  /** A lock that one client at a time has, first come first served, with a fencing token. docs/locks.md. */
  lock(name: string, options?: LockOptions): Promise<Lock>;
  /** One leader at a time among those who campaign, and who it is. docs/locks.md. */
  election(name: string): Election;
  readonly members: Members;
  /** Families of tables with typed rows, and who may write them. */
  readonly control: Control;
  /** The local replicas that follow the cluster, and what they show. */
  readonly fleet: Fleet;
  /** The whole ledger, as a reflector needs it. See `LedgerFrame`. `LDB_MISSING`: it goes on, and who was asked has nothing yet. */
  ledger(options: LedgerOptions): AsyncIterable<LedgerFrame>;
  /** Sends what waits, closes the session, closes the socket. May be called twice. */
  close(): Promise<void>;
}

export interface LedgerOptions {
  /** First revision wanted: the LDB's position + 1 (1 for an empty LDB). */
  readonly fromRevision: Revision;
  /** The cluster the LDB belongs to; '' when it is new. LDB_FOREIGN when it is another one. */
  readonly cluster: string;
  readonly signal?: AbortSignal;
  /** Says who reads, to a cluster whose config names its readers; FORBIDDEN without a valid one. */
  readonly token?: string | undefined;
  /** Only this part; `hello` says what of it is given. Default: everything that may be had. */
  readonly filter?: LedgerFilter | undefined;
  /** Begins with a snapshot, even where the records are kept. */
  readonly wantsSnapshot?: boolean;
  /** `hash` frames between the records, when nothing is filtered out. */
  readonly wantsHashes?: boolean;
  /** Who follows: the cluster then knows of it, and how far it is. */
  readonly replica?: LedgerReplica | undefined;
  /**
   * The consumer goes on with snapshots that broke off: with the one it has a part of already (`from`), and with those that
   * break off on this stream. It is then to take a `snapshot-begin` with `goesOn`. Default: an unfinished snapshot is void.
   */
  readonly goOn?: { readonly from: BrokenSnapshot | undefined };
  /** Who asks is a relay of this id: `path` frames. RELAY_LOOP when the stream would come back to it. */
  readonly relay?: string | undefined;
}

/**
 * What a ledger stream brings, in order: `hello`, then either `records` from `fromRevision` on, or (when the
 * nodes no longer keep that revision) `snapshot-begin`, `snapshot-entries`*, `snapshot-end`, and `records` from
 * the snapshot's revision + 1. A snapshot may also come later in the stream, when the reader fell behind.
 * The stream resumes by itself across reconnects; after one, `hello` and perhaps a snapshot come again, and
 * an unfinished snapshot is void, unless the consumer said that it goes on with them (`goOn`). Rows, and records of a part of the data, come with checksums: LEDGER_DAMAGED when what
 * came is not what was sent.
 */
export type LedgerFrame =
  | {
      readonly kind: 'hello';
      readonly cluster: string;
      readonly node: string;
      /** What the stream gives; undefined: everything. */
      readonly filter?: LedgerFilter | undefined;
    }
  /**
   * `goesOn`: with that one, whose rows up to the key `after` are there: `records` from its revision + 1 up to this one's come
   * first, for those rows, and then the entries behind `after`.
   */
  | {
      readonly kind: 'snapshot-begin';
      readonly revision: Revision;
      readonly timeMs: number;
      /** How many rows there are, about; undefined: nobody knows. */
      readonly about?: number;
      readonly goesOn?: BrokenSnapshot;
    }
  | { readonly kind: 'snapshot-entries'; readonly entries: readonly SnapshotEntry[] }
  /** `rows`: how many were sent; undefined: the node does not say. */
  | { readonly kind: 'snapshot-end'; readonly revision: Revision; readonly rows?: number }
  /** The cluster's hash of its state (core/model/state-hash.ts) at a revision of the records that come next. */
  | { readonly kind: 'hash'; readonly revision: Revision; readonly hash: number }
  /** To a relay, from one: whom the stream comes through, the nearest first; again when that changes. */
  | { readonly kind: 'path'; readonly path: readonly string[] }
  /** Whole records in revision order, encoded as in core/model/ledger.ts (`decodeRecords`). */
  | { readonly kind: 'records'; readonly bytes: Uint8Array };

/** A snapshot that broke off: the rows of `revision` are there, up to the key `after`. */
export interface BrokenSnapshot {
  readonly revision: Revision;
  readonly after: Uint8Array;
}

export interface SnapshotEntry {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
  readonly revision: Revision;
  readonly expiryMs: number;
}

// ── locks and elections: docs/locks.md ──────────────────────────────────────────────────────────────────────

export interface LockOptions extends CallOptions {
  /** How long the lock outlives a holder that is gone; 1 s to 24 h, default 15 s. It is renewed three times as often. */
  readonly ttlMs?: number;
  /** Longest time behind others; 0: only if it is free. Default: until the deadline. */
  readonly waitMs?: number;
}

/** Something that one client at a time has, for as long as it keeps saying so. */
export interface Held {
  /** Fencing token: the revision at which its holder queued up. Each holder's is larger than all before. */
  readonly token: Revision;
  /** The key that stands for it in the store. */
  readonly key: string;
  /**
   * Aborted as soon as it may be lost, with a `StoreError` of code LOCK_LOST: not renewed in time (by this host's monotonic
   * clock, counted from before the renewal was sent), gone from the store, or given back.
   */
  readonly lost: AbortSignal;
  /** Asks the clock, now: after a pause of the process the clock knows before `lost` does. */
  readonly isHeld: boolean;
  /** For `t.if(…)`: a transaction with it changes nothing once this is lost, whatever the client believes. */
  condition(): TxnCondition;
}

export interface Lock extends Held, AsyncDisposable {
  /** Gives it back; the next in the queue has it within a round trip. May be called twice. */
  release(): Promise<void>;
}

export interface Leader {
  readonly token: Revision;
  readonly key: string;
  /** What it campaigned with, or proclaimed since. */
  readonly value: Uint8Array;
  text(): string;
}

export interface Leadership extends Held, AsyncDisposable {
  /** Changes the value that observers see. LOCK_LOST when it no longer leads. */
  proclaim(value: Bytes, options?: CallOptions): Promise<void>;
  /** Gives it back; the next candidate leads within a round trip. May be called twice. */
  resign(): Promise<void>;
}

export interface Election {
  /** Resolves when elected; first come, first served. One campaign of an `Election` at a time. */
  campaign(value: Bytes, options?: LockOptions): Promise<Leadership>;
  /** Who leads now, confirmed with a quorum; undefined: nobody. */
  leader(options?: CallOptions): Promise<Leader | undefined>;
  /**
   * Who leads (if somebody does), then every change in order: a new leader, a new value, undefined when nobody is left.
   * It goes on across reconnects; it ends with COMPACTED when its reader was too slow, as a watch does.
   */
  observe(options?: { readonly signal?: AbortSignal }): AsyncIterable<Leader | undefined>;
  /** As `Leadership.proclaim` of the campaign that was won last. */
  proclaim(value: Bytes, options?: CallOptions): Promise<void>;
  /** As `Leadership.resign` of the campaign that was won last; without one it does nothing. */
  resign(): Promise<void>;
}
