/**
 * Shared: the one small block of memory that all threads of a node see: watermarks, gauges and bells.
 *
 * Everything else crosses threads in rings. Each word has one writer (named below); anybody may read.
 */
import { assert, must } from '../core/base/assert.ts';
import { PUT_STAGES_WORDS, PutStages } from './put-stages.ts';
import { Bell, BELL_WORDS } from './runtime/bell.ts';
import { Lock } from './runtime/lock.ts';
import { METER_WORDS, TurnMeter } from './runtime/turn-meter.ts';

/** Who has a bell. The order is the layout. */
export type ActorName = 'gateway' | 'replication' | 'wal-committer' | 'syncer' | 'memtable' | 'compactor' | 'shipper';
export const ACTORS: readonly ActorName[] = [
  'gateway',
  'replication',
  'wal-committer',
  'syncer',
  'memtable',
  'compactor',
  'shipper',
];

export function actorNamed(name: string): ActorName {
  return must(
    ACTORS.find((actor) => actor === name),
    'an actor of the node',
  );
}

/** An actor as a number from 1: whose pins, snapshots and locks in shared memory are whose. */
export const ownerOf = (actor: ActorName): number => ACTORS.indexOf(actor) + 1;

/** Words by name, grouped by who writes them. The order is the layout. */
const MARKS = [
  // wal-committer
  'loggedLsn',
  'walMarks',
  'walFd',
  /** 1 during a turn: what a thread that ends then had begun to write is in doubt. */
  'walBusy',
  'walGroups',
  'walRecords',
  'walBytes',
  'walSegment',
  /** 1 while there is no room for the next record: it waits, and puts are refused. */
  'walFull',
  /** Where the log begins: older segments were removed. */
  'walFirstIndex',
  'walFirstSegment',
  /** Entries up to here are more than the log keeps for a node that is away. */
  'walKeepFrom',
  // syncer
  'syncedLsn',
  'syncs',
  'syncMicros',
  'walFailed',
  // replication
  'term',
  'role',
  /** Place, from 1, in the list of everybody who ever was a member (TO_GATEWAY.members); 0: nobody. */
  'leader',
  'lastIndex',
  'committed',
  'stable',
  'proposals',
  'forwarded',
  'elections',
  /** Times that the thread stood still for an election timeout and longer, and for how long in all. */
  'pauses',
  'pausedMs',
  'meshSent',
  'meshSentBytes',
  'meshReceived',
  /** 1 while committed entries wait for room in the ring to the memtable. */
  'applyWaits',
  /** The newest revision at which the state was compared with another node's · how often it was another one. */
  'stateCompared',
  'stateDifferences',
  /** 1 while a member has another state, and no majority says who is right. */
  'stateDiverged',
  /** Entries up to here are needed no more: the committer may remove segments that hold no later one. */
  'walTruncateTo',
  /** 1: a snapshot is to take the place of this node's state, and everything starts again. */
  'installs',
  /** A snapshot on its way in: how long it is, and how much of it has come. 0: there is none. */
  'snapshotBytes',
  'snapshotReceived',
  // gateway
  /** 1 while reads wait for something to be applied. */
  'readsWait',
  // memtable
  'applied',
  'timeMs',
  /** The stamp of the leader in charge at which the next key is due; 0: none. */
  'nextExpiryMs',
  'memtableBytes',
  'memtableKeys',
  'sessions',
  /** The oldest revision of the ledger that is kept · of the state that can be read. */
  'ledgerFrom',
  'historyFrom',
  // shipper
  'ledgerFirst',
  'ledgerLast',
  'subscriptions',
  /** Bytes on their way to watches and replicas · those of them that are held back · watches ended with COMPACTED. */
  'readersHeldBytes',
  'readersSlow',
  'watchesCompacted',
  // the clients' door
  /** Clients that have come and are not let in yet. */
  'clientsWaiting',
  // compactor
  /** What entries up to here did is in synced tables that the manifest names. 0: in memory only, as it is without one. */
  'flushed',
  /** 1 while the disk is full: puts are refused. */
  'storeFull',
  'tables',
  'tableBytes',
  'tableKeys',
  'flushes',
  'compactions',
  'compactedBytes',
] as const;

export type Mark = (typeof MARKS)[number];

const AT = Object.fromEntries(MARKS.map((name, i) => [name, i])) as Record<Mark, number>;

const METERS_AT = MARKS.length * 8;
const STAGES_AT = METERS_AT + ACTORS.length * METER_WORDS * 8;
const BELLS_AT = STAGES_AT + PUT_STAGES_WORDS * 8;
const CONTROL_AT = BELLS_AT + ACTORS.length * BELL_WORDS * 4;
const LOCK_AT = CONTROL_AT + ACTORS.length * 4;

/** Role as a number in the block. A learner has no vote: it is added, or waits to be, or was removed. */
export const ROLES: readonly ('follower' | 'candidate' | 'leader' | 'learner')[] = [
  'follower',
  'candidate',
  'leader',
  'learner',
];

export class Shared {
  readonly buffer: SharedArrayBuffer;
  readonly #marks: BigInt64Array;
  readonly #meterWords: BigInt64Array;
  readonly #bellWords: Int32Array;
  readonly #controlWords: Int32Array;
  /** Of the writes that are traced. */
  readonly stages: PutStages;
  /** Held by whoever syncs the WAL: the syncer, or the committer. */
  readonly syncLock: Lock;

  constructor(buffer: SharedArrayBuffer = new SharedArrayBuffer(LOCK_AT + 4)) {
    this.buffer = buffer;
    this.#marks = new BigInt64Array(buffer, 0, MARKS.length);
    this.#meterWords = new BigInt64Array(buffer, METERS_AT, ACTORS.length * METER_WORDS);
    this.#bellWords = new Int32Array(buffer, BELLS_AT, ACTORS.length * BELL_WORDS);
    this.#controlWords = new Int32Array(buffer, CONTROL_AT, ACTORS.length);
    this.stages = new PutStages(new BigInt64Array(buffer, STAGES_AT, PUT_STAGES_WORDS));
    this.syncLock = new Lock(new Int32Array(buffer, LOCK_AT, 1));
  }

  get(mark: Mark): number {
    return Number(Atomics.load(this.#marks, AT[mark]));
  }

  set(mark: Mark, value: number): void {
    assert(Number.isSafeInteger(value), `a mark is a safe integer (${mark})`);
    Atomics.store(this.#marks, AT[mark], BigInt(value));
  }

  add(mark: Mark, value: number): void {
    Atomics.add(this.#marks, AT[mark], BigInt(value));
  }

  /** Reads one mark again and again without looking its place up. */
  reader(mark: Mark): () => number {
    const at = AT[mark];
    const marks = this.#marks;
    return () => Number(Atomics.load(marks, at));
  }

  bell(actor: ActorName): Bell {
    return new Bell(this.#bellWords, ACTORS.indexOf(actor) * BELL_WORDS, this.meter(actor));
  }

  /** Turns of this actor. */
  meter(actor: ActorName): TurnMeter {
    return new TurnMeter(this.#meterWords, ACTORS.indexOf(actor) * METER_WORDS);
  }

  /** The supervisor has a call for this actor: its parked thread must let its event loop go round. */
  wantsControl(actor: ActorName): boolean {
    return Atomics.load(this.#controlWords, ACTORS.indexOf(actor)) > 0;
  }

  beginControl(actor: ActorName): void {
    Atomics.add(this.#controlWords, ACTORS.indexOf(actor), 1);
    this.bell(actor).ring();
  }

  endControl(actor: ActorName): void {
    Atomics.sub(this.#controlWords, ACTORS.indexOf(actor), 1);
  }
}
