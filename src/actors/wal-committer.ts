/**
 * WalCommitter: the actor that owns the WAL's files and the order of LSNs. In a turn it writes all records that
 * replication has put into its ring, as one group, and rings the syncer.
 *
 * Its world is given: disk, chance, and how it waits. The thread (wal-committer.thread.ts) gives the real one.
 *
 * On the put path: stop 4 of 9. From replication; to syncer.
 */
import { ByteWriter } from '../core/base/bytes.ts';
import type { Disk } from '../core/base/env.ts';
import { isStoreError, StoreError } from '../core/base/errors.ts';
import { type Lsn, plus, toIndex } from '../core/base/position.ts';
import { Committer } from '../engine/wal/committer.ts';
import { PLACE_EVERY_BYTES, type Place } from '../engine/wal/log-state.ts';
import { firstIndexOf } from '../engine/wal/payload.ts';
import type { WalEnd } from '../engine/wal/recovery.ts';
import { Spares } from '../engine/wal/spares.ts';
import type { CommitterFacts } from './facts.ts';
import type { Bell } from './runtime/bell.ts';
import type { RingReader, RingWriter } from './runtime/ring.ts';
import type { LogFunction } from './runtime/thread.ts';
import type { Shared } from './shared.ts';
import { syncAlone } from './sync-alone.ts';

export interface WalCommitterWorld {
  readonly shared: Shared;
  readonly disk: Disk;
  readonly dir: string;
  readonly segmentBytes: number;
  /** What the log may hold for the sake of a node that is away; without a bound if it is left out. */
  readonly keepBytes?: number;
  /** Where the log goes on. */
  readonly end: WalEnd;
  /** WAL records from replication. */
  readonly records: RingReader;
  /** Waypoints to replication: index u64, lsn u64, segment u64, offset u64 per frame. */
  readonly places: RingWriter;
  /** A number that no earlier segment of this log has: any 32 bits of chance. */
  readonly salt: () => number;
  /** Looks away until the actor's bell is rung, `ms` at the most. */
  readonly pause: (ms: number) => void;
  readonly log: LogFunction;
}

/** Files of removed segments kept to be used again. */
const SPARES = 2;
/** One group holds at most about this much, so that a flood of records still syncs in between. */
const GROUP_BYTES_MAX = 4 * 1024 * 1024;
/** On a full disk: how often it is looked for room. */
const FULL_LOOK_MS = 20;

const syncFailed = (): StoreError =>
  new StoreError('DISK_FAILED', 'a sync of the WAL has failed; nothing more is written');

export class WalCommitter {
  readonly #world: WalCommitterWorld;
  readonly #shared: Shared;
  readonly #ring: RingReader;
  readonly #syncer: Bell;
  readonly #walTruncateTo: () => number;
  readonly #spares: Spares;
  readonly #committer: Committer;
  #bytesSincePlace = Number.POSITIVE_INFINITY;
  #handed = 0;
  /** Nothing was to be removed then. */
  #looked = { upTo: 0, segment: 0 };
  #isFull = false;

  constructor(world: WalCommitterWorld) {
    const { shared, disk, dir, segmentBytes, salt } = world;
    this.#world = world;
    this.#shared = shared;
    this.#ring = world.records;
    this.#syncer = shared.bell('syncer');
    this.#walTruncateTo = shared.reader('walTruncateTo');
    const syncedLsn = shared.reader('syncedLsn');
    this.#spares = new Spares({ disk, dir, segmentBytes, max: SPARES });
    this.#committer = new Committer(
      {
        disk,
        dir,
        segmentBytes,
        salt,
        spares: this.#spares,
        synced: () => syncedLsn() as Lsn,
        alone: (sync) => syncAlone(shared, sync),
        onSegment: (file, segment) => {
          shared.set('walFd', file.fd);
          shared.set('walSegment', segment);
        },
      },
      world.end,
    );
    this.#tellKept();
  }

  /** Says whether there was something to do. */
  turn(): boolean {
    this.#shared.set('walBusy', 1);
    const didSomething = this.#turn();
    // Not where it throws: then, too, nobody knows what is written.
    this.#shared.set('walBusy', 0);
    return didSomething;
  }

  #turn(): boolean {
    const shared = this.#shared;
    const committer = this.#committer;
    const ring = this.#ring;
    if (shared.get('walFailed') !== 0) committer.poison(syncFailed());
    const { logged } = committer;
    committer.turn();
    // A new segment was begun, and the last one has its mark.
    if (committer.logged !== logged) {
      this.#publish();
      this.#tellKept();
      this.#truncate();
    }
    let bytes = 0;
    for (let record = ring.peek(); record !== undefined && bytes < GROUP_BYTES_MAX; record = ring.peek()) {
      if (!this.#hasRoom(record.length)) break;
      this.#note(record);
      committer.append(record);
      this.#handed++;
      bytes += record.length;
      ring.pop();
    }
    if (bytes === 0 && this.#isFull) {
      // What is handed over stays in the ring, and nothing of it was promised. Deletes elsewhere make room.
      this.#world.pause(FULL_LOOK_MS);
      return true;
    }
    // Nobody waits for the disk: a little of what makes the next segment cheap.
    if (bytes === 0) return this.#truncate() || this.#spares.step();
    shared.add('walRecords', committer.groupRecords);
    shared.add('walBytes', bytes);
    shared.add('walGroups', 1);
    committer.commitGroup();
    this.#publish();
    return true;
  }

  /** What replication handed over before it stopped is written and sealed. */
  close(): void {
    try {
      this.turn();
    } finally {
      this.#spares.close();
      this.#committer.close();
    }
  }

  inspect(): CommitterFacts {
    const { logged, segment, offset, firstSegment, firstIndex } = this.#committer;
    return { logged, segment, offset, firstSegment, firstIndex, spares: this.#spares.ready };
  }

  #note(record: Uint8Array): void {
    this.#bytesSincePlace += record.length;
    const index = firstIndexOf(record);
    if (index === undefined || this.#bytesSincePlace < PLACE_EVERY_BYTES) return;
    const committer = this.#committer;
    const place: Place = {
      index,
      lsn: plus(committer.lastLsn, 1),
      segment: committer.segment,
      offset: committer.offset,
    };
    const frame = new ByteWriter(32).u64(place.index).u64(place.lsn).u64(place.segment).u64(place.offset).view();
    // No room: the reader begins at an earlier waypoint and reads a little more.
    if (this.#world.places.write(frame)) this.#bytesSincePlace = 0;
  }

  /** Replication counts its records; the marks and bases between them have LSNs too, and are told before they are logged. */
  #publish(): void {
    const { logged } = this.#committer;
    const marks = logged - this.#world.end.lastLsn - this.#handed;
    this.#shared.set('walMarks', marks);
    if (this.#shared.stages.isArmed) this.#shared.stages.reached('logged', logged - marks);
    this.#shared.set('loggedLsn', logged);
    this.#syncer.ring();
  }

  /** Entries up to here are more than the log keeps for anybody. */
  #tellKept(): void {
    this.#shared.set('walKeepFrom', this.#committer.indexBefore(this.#world.keepBytes ?? Number.POSITIVE_INFINITY));
  }

  /**
   * Removes one segment of those that replication has let go of. Its directory is synced, so that is done when nobody
   * waits for the disk, or when a new segment was begun (which is dear anyway).
   */
  #truncate(): boolean {
    const committer = this.#committer;
    const upTo = this.#walTruncateTo();
    if (upTo === this.#looked.upTo && committer.segment === this.#looked.segment) return false;
    if (!committer.truncateTo(toIndex(upTo))) {
      this.#looked = { upTo, segment: committer.segment };
      return false;
    }
    this.#shared.set('walFirstIndex', committer.firstIndex);
    this.#shared.set('walFirstSegment', committer.firstSegment);
    return true;
  }

  /** A full disk is met before a record is in the log, and is no failure: the record waits. */
  #hasRoom(payloadBytes: number): boolean {
    const shared = this.#shared;
    try {
      this.#committer.makeRoom(payloadBytes);
      if (this.#isFull) shared.set('walFull', 0);
      this.#isFull = false;
    } catch (error) {
      if (!isStoreError(error, 'STORE_FULL')) throw error;
      if (!this.#isFull) this.#world.log('warn', 'wal.full', { message: error.message });
      this.#isFull = true;
      shared.set('walFull', 1);
      shared.bell('compactor').ring();
    }
    return !this.#isFull;
  }
}
