/**
 * wal-committer: the thread that owns the WAL's files and the order of LSNs. It parks until replication has
 * put records into its ring, writes all that are there as one group, and rings the syncer.
 *
 * On the put path: stop 4 of 9. From replication; to syncer.
 */
import { randomInt } from 'node:crypto';
import { nodeDisk } from '../engine/disk/node-disk.ts';
import { Committer } from '../engine/wal/committer.ts';
import { PLACE_EVERY_BYTES, type Place } from '../engine/wal/log-state.ts';
import type { WalEnd } from '../engine/wal/recovery.ts';
import { Spares } from '../engine/wal/spares.ts';
import { ByteWriter } from '../core/base/bytes.ts';
import { isStoreError, StoreError } from '../core/base/errors.ts';
import { type Lsn, plus, toIndex } from '../core/base/position.ts';
import { firstIndexOf } from '../engine/wal/payload.ts';
import { park } from './runtime/bell.ts';
import { RingReader, RingWriter } from './runtime/ring.ts';
import type { StartActor } from './runtime/thread.ts';
import { Shared } from './shared.ts';
import { syncAlone } from './sync-alone.ts';

export interface CommitterArgs {
  readonly shared: SharedArrayBuffer;
  /** WAL records from replication. */
  readonly records: SharedArrayBuffer;
  /** Waypoints to replication: index u64, lsn u64, segment u64, offset u64 per frame. */
  readonly places: SharedArrayBuffer;
  readonly dir: string;
  readonly segmentBytes: number;
  /** Where the log goes on. */
  readonly end: WalEnd;
}

/** Files of removed segments kept to be used again. */
const SPARES = 2;
/** One group holds at most about this much, so that a flood of records still syncs in between. */
const GROUP_BYTES_MAX = 4 * 1024 * 1024;
/** On a full disk: how often it is looked for room. */
const FULL_LOOK_MS = 20;

export const url: string = import.meta.url;

const syncFailed = (): StoreError =>
  new StoreError('DISK_FAILED', 'a sync of the WAL has failed; nothing more is written');

export const start: StartActor<CommitterArgs, undefined> = (args, context) => {
  const shared = new Shared(args.shared);
  const ring = new RingReader(args.records);
  const places = new RingWriter(args.places);
  const bell = shared.bell('wal-committer');
  const syncer = shared.bell('syncer');
  const syncedLsn = shared.reader('syncedLsn');
  const spares = new Spares({ disk: nodeDisk, dir: args.dir, segmentBytes: args.segmentBytes, max: SPARES });
  const walTruncateTo = shared.reader('walTruncateTo');
  const committer = new Committer(
    {
      disk: nodeDisk,
      dir: args.dir,
      segmentBytes: args.segmentBytes,
      salt: () => randomInt(2 ** 32),
      spares,
      synced: () => syncedLsn() as Lsn,
      alone: (sync) => syncAlone(shared, sync),
      onSegment: (file, segment) => {
        shared.set('walFd', file.fd);
        shared.set('walSegment', segment);
      },
    },
    args.end,
  );

  let bytesSincePlace = Number.POSITIVE_INFINITY;
  const note = (record: Uint8Array): void => {
    bytesSincePlace += record.length;
    const index = firstIndexOf(record);
    if (index === undefined || bytesSincePlace < PLACE_EVERY_BYTES) return;
    const place: Place = {
      index,
      lsn: plus(committer.lastLsn, 1),
      segment: committer.segment,
      offset: committer.offset,
    };
    const frame = new ByteWriter(32).u64(place.index).u64(place.lsn).u64(place.segment).u64(place.offset).view();
    // No room: the reader begins at an earlier waypoint and reads a little more.
    if (places.write(frame)) bytesSincePlace = 0;
  };

  let handed = 0;
  /** Replication counts its records; the marks and bases between them have LSNs too, and are told before they are logged. */
  const publish = (): void => {
    shared.set('walMarks', committer.logged - args.end.lastLsn - handed);
    shared.set('loggedLsn', committer.logged);
    syncer.ring();
  };

  /** Nothing was to be removed then. */
  let looked = { upTo: 0, segment: 0 };
  /**
   * Removes one segment of those that replication has let go of. Its directory is synced, so that is done when nobody
   * waits for the disk, or when a new segment was begun (which is dear anyway).
   */
  const truncate = (): boolean => {
    const upTo = walTruncateTo();
    if (upTo === looked.upTo && committer.segment === looked.segment) return false;
    if (!committer.truncateTo(toIndex(upTo))) {
      looked = { upTo, segment: committer.segment };
      return false;
    }
    shared.set('walFirstIndex', committer.firstIndex);
    shared.set('walFirstSegment', committer.firstSegment);
    return true;
  };

  let isFull = false;
  /** A full disk is met before a record is in the log, and is no failure: the record waits. */
  const hasRoom = (payloadBytes: number): boolean => {
    try {
      committer.makeRoom(payloadBytes);
      if (isFull) shared.set('walFull', 0);
      isFull = false;
    } catch (error) {
      if (!isStoreError(error, 'STORE_FULL')) throw error;
      if (!isFull) context.log('warn', 'wal.full', { message: error.message });
      isFull = true;
      shared.set('walFull', 1);
      shared.bell('compactor').ring();
    }
    return !isFull;
  };

  const turn = (): boolean => {
    if (shared.get('walFailed') !== 0) committer.poison(syncFailed());
    const { logged } = committer;
    committer.turn();
    // A new segment was begun, and the last one has its mark.
    if (committer.logged !== logged) {
      publish();
      truncate();
    }
    let bytes = 0;
    for (let record = ring.peek(); record !== undefined && bytes < GROUP_BYTES_MAX; record = ring.peek()) {
      if (!hasRoom(record.length)) break;
      note(record);
      committer.append(record);
      handed++;
      bytes += record.length;
      ring.pop();
    }
    if (bytes === 0 && isFull) {
      // What is handed over stays in the ring, and nothing of it was promised. Deletes elsewhere make room.
      bell.wait(bell.read(), FULL_LOOK_MS);
      return true;
    }
    // Nobody waits for the disk: a little of what makes the next segment cheap.
    if (bytes === 0) return truncate() || spares.step();
    shared.add('walRecords', committer.groupRecords);
    shared.add('walBytes', bytes);
    shared.add('walGroups', 1);
    committer.commitGroup();
    publish();
    return true;
  };

  const loop = park(bell, turn, () => shared.wantsControl('wal-committer'));
  return Promise.resolve({
    started: undefined,
    ended: loop.ended,
    stop: async () => {
      await loop.stop();
      try {
        // What replication handed over before it stopped is written and sealed.
        turn();
      } finally {
        spares.close();
        committer.close();
      }
    },
    inspect: () => ({
      logged: committer.logged,
      segment: committer.segment,
      offset: committer.offset,
      firstSegment: committer.firstSegment,
      firstIndex: committer.firstIndex,
      spares: spares.ready,
    }),
  });
};
