/**
 * replication: the thread where Raft lives, with the mesh's sockets. Puts the parts together: recovers the WAL,
 * makes the core from what it proves, opens the mesh, and then turns with the bell, the sockets and the clock.
 *
 * All socket events of one round of the event loop end in one flush, so that what arrived together is persisted
 * and sent on together.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { CheckpointReader } from '../actors/checkpoints.ts';
import { Replication } from '../actors/replication.ts';
import { DiskWatch } from '../actors/disk-watch.ts';
import { PauseWatch } from '../actors/pause-watch.ts';
import { listen } from '../actors/runtime/bell.ts';
import { RingReader, RingWriter } from '../actors/runtime/ring.ts';
import type { ReplicationFacts } from '../actors/facts.ts';
import type { StartActor } from '../actors/runtime/thread.ts';
import { Shared } from '../actors/shared.ts';
import type { ReplicationPlumbing, ReplicationStarted } from '../actors/beginnings.ts';
import type { FromFiles } from '../actors/snapshot-files.ts';
import { must } from '../core/base/assert.ts';
import { ByteReader } from '../core/base/bytes.ts';
import { StoreError } from '../core/base/errors.ts';
import { type Index, plus, toIndex, toLsn } from '../core/base/position.ts';
import { decodeMembership, initialMembership, type Member } from '../core/raft/membership.ts';
import { Raft } from '../core/raft/raft.ts';
import { type LifeSign, Witness } from '../core/raft/witness.ts';
import { endForgetful, meetLife } from './mesh/lives.ts';
import { readLives } from '../engine/disk/lives.ts';
import { markDiverged } from '../engine/disk/diverged.ts';
import { nodeDisk } from '../engine/disk/node-disk.ts';
import { gapBetween } from '../engine/wal/gap.ts';
import { WalReader } from '../engine/wal/reader.ts';
import { endOf, recoverWal } from '../engine/wal/recovery.ts';
import { ActorsPort } from './mesh/actors-port.ts';
import { Mesh } from './mesh/mesh.ts';

export interface ReplicationArgs extends ReplicationPlumbing {
  readonly dir: string;
  readonly cluster: string;
  readonly node: string;
  /** How this node introduces itself; where its log stands is found here. */
  readonly life: Omit<LifeSign, 'began'>;
  /** What the cluster begins with; the log may say otherwise by now. */
  readonly members: readonly Member[];
  /** Where the mesh listens: "host:port". */
  readonly listen: string;
  /** Whom a node that joins lets in though its log does not name them. */
  readonly guests: readonly Member[];
  readonly electionTimeoutMs: number;
  readonly heartbeatMs: number;
}

const TICKS_PER_HEARTBEAT = 4;
const TELL_COMMIT_MS = 1;
/** Longest wait of a stop for somebody else to lead, and how often it looks. */
const HAND_OVER_MS = 500;
const HAND_OVER_LOOK_MS = 2;
const MIB = 1024 * 1024;

export const url: string = import.meta.url;

export const start: StartActor<ReplicationArgs, ReplicationStarted, ReplicationFacts> = async (args, context) => {
  const shared = new Shared(args.shared);
  const startedAt = performance.now();
  const recovered = recoverWal(nodeDisk, args.dir);
  context.log('info', 'wal.recovered', {
    records: recovered.records,
    firstIndex: recovered.firstIndex,
    lastIndex: recovered.lastIndex,
    lastLsn: recovered.lastLsn,
    trimmedBytes: recovered.trimmedBytes,
    ms: Math.round(performance.now() - startedAt),
  });
  const gap = gapBetween(args.appliedIndex, recovered);
  if (gap !== undefined) {
    throw new StoreError('WAL_CORRUPT', `the log in ${args.dir} ${gap}`, { data: { file: args.dir, offset: 0 } });
  }
  shared.set('loggedLsn', recovered.lastLsn);
  shared.set('syncedLsn', recovered.lastLsn);

  const tickMs = Math.max(1, Math.floor(args.heartbeatMs / TICKS_PER_HEARTBEAT));
  const electionTicks = Math.max(TICKS_PER_HEARTBEAT + 1, Math.round(args.electionTimeoutMs / tickMs));
  const reader = new WalReader(nodeDisk, args.dir, recovered, (index: Index) => raft.log.term(index));
  const raft: Raft = new Raft({
    id: args.node,
    dir: args.life.dir,
    membership:
      args.membership === undefined ? initialMembership(args.members) : decodeMembership(args.membership.entry),
    membershipIndex: toIndex(args.membership?.index ?? 0),
    laterMemberships: recovered.memberEntries
      .filter(({ index }) => index > args.appliedIndex)
      .map(({ index, data }) => ({ index, membership: decodeMembership(data) })),
    electionTicks,
    heartbeatTicks: TICKS_PER_HEARTBEAT,
    random: Math.random,
    hardState: recovered.hardState,
    baseIndex: plus(recovered.firstIndex, -1),
    baseTerm: recovered.baseTerm,
    lastIndex: recovered.lastIndex,
    runs: recovered.runs,
    appliedIndex: toIndex(args.appliedIndex),
    source: { read: (lo, hi, bytesMax) => reader.read(lo, hi, bytesMax) },
    cacheBytesMax: 8 * MIB,
    appendBytesMax: MIB,
    inflightMessagesMax: 256,
    inflightBytesMax: 8 * MIB,
    uncommittedBytesMax: 64 * MIB,
  });

  const lives = { disk: nodeDisk, dataDir: args.dataDir };
  const witness = new Witness(readLives(nodeDisk, args.dataDir).seen);
  let flushPlanned = false;
  const planFlush = (): void => {
    if (flushPlanned) return;
    flushPlanned = true;
    setImmediate(() => {
      flushPlanned = false;
      guard(() => replication.turn());
      planCommits();
    });
  };
  let commitTimer: NodeJS.Timeout | undefined;
  /** The next append tells followers what is committed; without one in a moment, they are told by a message. */
  const planCommits = (): void => {
    const { committed } = replication;
    if (commitTimer !== undefined || !replication.hasUntoldCommit(committed)) return;
    commitTimer = setTimeout(() => {
      commitTimer = undefined;
      // An append may have carried this one, and a later one be waiting for the next.
      if (replication.hasUntoldCommit(committed)) guard(() => replication.tellCommits());
      else planCommits();
    }, TELL_COMMIT_MS);
  };
  const mesh = new Mesh({
    cluster: args.cluster,
    node: args.node,
    life: { ...args.life, began: { term: raft.term, lastTerm: raft.log.lastTerm, lastIndex: raft.log.last } },
    listen: args.listen,
    guests: args.guests,
    log: context.log,
    meet: (peer, life) => meetLife(witness, lives, peer, life),
    onRolledBack: (peer, reason) => guard(() => endForgetful(lives, peer, reason, new Date())),
    onMessages: (from, messages) => {
      shared.add('meshReceived', messages.length);
      for (const mesh of messages) if (mesh.kind === 'raft') witness.heard(mesh.message, raft);
      guard(() => replication.receive(from, messages));
      planFlush();
    },
    onMet: (peer, dir, commands) => guard(() => replication.met(peer, dir, commands)),
    onConnected: (peer) => {
      actors.connected(peer);
      guard(() => replication.connected(peer));
    },
    onDisconnected: (peer) => {
      actors.disconnected(peer);
      guard(() => replication.disconnected(peer));
    },
    onPeerLeft: (peer) => {
      actors.disconnected(peer);
      guard(() => replication.peerLeft(peer));
    },
  });
  const actors = new ActorsPort(must(context.ports['actors'], 'replication has a port to the actors'), mesh);
  const monotonicMs = (): number => performance.now();
  const { electionTimeoutMs } = args;
  const compactor = must(context.ports['compactor'], 'replication has a port to the compactor');
  const replication = new Replication({
    raft,
    log: context.log,
    shared,
    diskWatch: new DiskWatch({ raft, monotonicMs, slowAfterMs: electionTimeoutMs, log: context.log }),
    pauses: new PauseWatch({ raft, shared, monotonicMs, electionTimeoutMs, electionTicks, log: context.log }),
    dir: args.life.dir,
    founders: args.members,
    clock: { nowMs: () => Date.now(), monotonicMs },
    transport: mesh,
    inbox: new RingReader(args.inbox),
    toGateway: new RingWriter(args.toGateway),
    records: new RingWriter(args.records),
    committed: new RingWriter(args.committed),
    lastLsn: recovered.lastLsn,
    clockEveryMs: 1_000,
    states: {
      checkpoints: new CheckpointReader(args.checkpoints),
      markDiverged: (diverged) => markDiverged(nodeDisk, args.dataDir, diverged, new Date()),
    },
    toActors: (from, batch) => actors.heard(from, batch),
    toFiles: (message, transfer) => compactor.postMessage(message, [...transfer]),
  });

  // A broken invariant in any callback ends the actor, as one in a turn does.
  let crash: (error: unknown) => void = () => {};
  const crashed = new Promise<never>((_, reject) => {
    crash = reject;
  });
  const guard = (work: () => void): void => {
    try {
      work();
    } catch (error) {
      crash(error);
    }
  };

  compactor.on('message', (message: FromFiles) => guard(() => replication.filesSaid(message)));

  const places = new RingReader(args.places);
  let readerFrom = 0;
  const takePlaces = (): void => {
    for (let frame = places.peek(); frame !== undefined; frame = places.peek()) {
      const place = new ByteReader(frame);
      reader.addPlace({
        index: toIndex(place.u64()),
        lsn: toLsn(place.u64()),
        segment: place.u64(),
        offset: place.u64(),
      });
      places.pop();
    }
    // In this order: an index that is told with its segment, or a later one.
    const firstSegment = shared.get('walFirstSegment');
    if (firstSegment === readerFrom) return;
    readerFrom = firstSegment;
    reader.trim({ firstSegment, firstIndex: toIndex(shared.get('walFirstIndex')) });
  };

  await mesh.open();
  const loop = listen(shared.bell('replication'), () => {
    takePlaces();
    replication.turn();
    planCommits();
  });
  const ticker = setInterval(() => guard(() => replication.tick()), tickMs);

  const stop = async (): Promise<void> => {
    // Who leads hands over first: the others need not wait until they miss it.
    guard(() => replication.handOver());
    const handedBy = monotonicMs() + HAND_OVER_MS;
    while (replication.isHandingOver && monotonicMs() < handedBy) await sleep(HAND_OVER_LOOK_MS);
    clearInterval(ticker);
    clearTimeout(commitTimer);
    mesh.close();
    compactor.close();
    actors.close();
    await loop.stop();
    reader.close();
  };
  return {
    started: { end: endOf(recovered) },
    ended: Promise.race([loop.ended, crashed]),
    stop,
    inspect: () => replication.inspect(),
  };
};
