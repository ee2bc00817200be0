/**
 * Life: one life of a node, from its start to its end: the production actors, put together as the supervisor, the
 * replication thread and src/node.ts do it, with this world's disk, clock, network and chance. The start is the
 * production one: (the directory is open, presence.ts) the tree is opened, the WAL recovered, the log behind it replayed.
 *
 * Only this file knows how actors are made.
 */
import { CheckpointReader, createCheckpoints } from '../../src/actors/checkpoints.ts';
import { Compactor, type Frozen } from '../../src/actors/compactor.ts';
import { DiskWatch } from '../../src/actors/disk-watch.ts';
import { Gateway } from '../../src/actors/gateway/gateway.ts';
import { LedgerIntake } from '../../src/actors/ledger-intake.ts';
import { Memtable } from '../../src/actors/memtable.ts';
import type { Transport } from '../../src/actors/mesh-outbox.ts';
import { PauseWatch } from '../../src/actors/pause-watch.ts';
import { Replication } from '../../src/actors/replication.ts';
import { RingReader, RingWriter } from '../../src/actors/runtime/ring.ts';
import { type ActorName, Shared } from '../../src/actors/shared.ts';
import { Shipper } from '../../src/actors/shipper.ts';
import type { FromShipper, ToShipper } from '../../src/actors/shipper-messages.ts';
import { SnapshotFiles } from '../../src/actors/snapshot-files.ts';
import { WalSyncer } from '../../src/actors/syncer.ts';
import { WalCommitter } from '../../src/actors/wal-committer.ts';
import { unreachable } from '../../src/core/base/assert.ts';
import type { Clock, Random } from '../../src/core/base/env.ts';
import { ByteReader } from '../../src/core/base/bytes.ts';
import { type Index, plus, toIndex, toLsn } from '../../src/core/base/position.ts';
import { decodeMembership, initialMembership, type Member } from '../../src/core/raft/membership.ts';
import { Raft } from '../../src/core/raft/raft.ts';
import type { Channel } from '../../src/core/wire/mesh.ts';
import { markDiverged } from '../../src/engine/disk/diverged.ts';
import type { JobRunner } from '../../src/engine/lsm/tree/keeper-world.ts';
import { InlineRunner } from '../../src/engine/lsm/tree/inline-runner.ts';
import { createTreeMemory } from '../../src/engine/lsm/tree/memory.ts';
import { StateReader } from '../../src/engine/state/state-reader.ts';
import { WalReader } from '../../src/engine/wal/reader.ts';
import { endOf, type Recovered, recoverWal } from '../../src/engine/wal/recovery.ts';
import {
  CLUSTER,
  DATA_DIR,
  ELECTION_TIMEOUT_MS,
  HEARTBEAT_MS,
  HISTORY_MS,
  LEDGER_BYTES,
  LEDGER_MS,
  RESERVE_BYTES,
  SEGMENT_BYTES,
  type Switches,
  TICKS_PER_HEARTBEAT,
  TREE,
  WAL_DIR,
  WAL_KEEP_BYTES,
  WINDOW_BYTES,
} from './options.ts';
import type { Presence } from './presence.ts';
import type { Rings } from './rings.ts';
import type { SimDisk } from './sim-disk.ts';
import { READERS } from './readers.ts';
import { TappedWriter } from './tapped-writer.ts';

export interface LifeWorld {
  readonly name: string;
  readonly presence: Presence;
  /** What the cluster begins with. */
  readonly founders: readonly Member[];
  readonly disk: SimDisk;
  readonly rings: Rings;
  readonly clock: Clock;
  readonly random: Random;
  readonly switches: Switches;
  readonly send: (to: string, channel: Channel, bytes: Uint8Array) => boolean;
  readonly isOpen: (to: string, channel: Channel) => boolean;
  readonly setPeers: Transport['setPeers'];
  /** Runs `work` of this life `delayMs` later, unless the life is over by then. */
  readonly later: (delayMs: number, work: () => void) => { cancel(): void };
  /** A port between two threads: what goes through it comes out soon, in order. */
  readonly port: () => (work: () => void) => void;
  /** Something asynchronous was begun or ended: let promises run before the next event. */
  readonly async: () => void;
  /** Syncs the log: others may have their turns meanwhile. */
  readonly sync: (sync: () => void) => void;
  readonly pause: (actor: ActorName, ms: number) => void;
  readonly log: (level: string, event: string, fields?: Record<string, unknown>) => void;
  /** The state of the WAL as it was found, before anything runs. */
  readonly onRecovered: (recovered: Recovered) => void;
  /** A frame of committed entries goes to the memtable · of ledger records to the shipper. */
  readonly onCommitted: (raft: Raft, frame: Uint8Array) => void;
  readonly onLedger: (frame: Uint8Array) => void;
  readonly onFailed: (error: Error) => void;
}

const MIB = 1024 * 1024;
const RING_LOOK_BYTES = MIB;

export class Life {
  readonly shared: Shared = new Shared();
  readonly raft: Raft;
  readonly replication: Replication;
  readonly gateway: Gateway;
  readonly state: StateReader;
  readonly presence: Presence;
  readonly #world: LifeWorld;
  readonly #committer: WalCommitter;
  readonly #syncer: WalSyncer;
  readonly #memtable: Memtable;
  readonly #compactor: Compactor;
  readonly #intake: LedgerIntake;
  readonly #shipperState: StateReader;
  readonly #answers: RingWriter;
  readonly #ledger: RingWriter;
  readonly #places: RingReader;
  readonly #records: RingWriter;
  readonly #walReader: WalReader;
  #walReaderFrom = 0;
  /** Everybody who ever was a member, by number. */
  #known: readonly Member[];
  #deferred: (() => void)[] = [];

  constructor(world: LifeWorld) {
    const { name, founders, disk, rings, clock, random } = world;
    const { shared } = this;
    this.#world = world;
    this.#known = founders;
    this.presence = world.presence;
    const { dirId, boot } = this.presence;
    const tree = createTreeMemory(TREE);
    const checkpoints = createCheckpoints();
    const dataDir = DATA_DIR;
    const walDir = WAL_DIR;
    const treeDir = `${dataDir}/tree`;
    const [toGateway, toShipper, toCompactor] = [world.port(), world.port(), world.port()];
    const [toFiles, toReplication] = [world.port(), world.port()];

    const later = (delayMs: number, work: () => void): { cancel(): void } =>
      world.later(delayMs, () => {
        world.async();
        work();
      });
    this.#compactor = new Compactor({
      shared,
      tree,
      disk,
      dir: treeDir,
      options: TREE,
      runner: this.#runner(tree.arenas),
      reserveBytes: RESERVE_BYTES,
      later,
      log: (level, event, fields) => world.log(level, event, fields),
    });
    void this.#compactor.failed.then((failure) => world.onFailed(failure));
    const snapshots = new SnapshotFiles({
      disk,
      dir: dataDir,
      checkpoint: (dir) => this.#compactor.checkpoint(dir),
      flushed: this.#compactor.flushed,
      soon: (work) => toFiles(work),
      post: (message) => toReplication(() => this.replication.filesSaid(message)),
      log: (level, event, fields) => world.log(level, event, fields),
    });

    const defer = (work: () => void): void => {
      this.#deferred.push(work);
    };
    const ofTree = { memory: tree, dir: treeDir, options: TREE, disk };
    this.state = new StateReader({ ...ofTree, defer });

    const recovered = recoverWal(disk, walDir);
    world.onRecovered(recovered);
    shared.set('loggedLsn', recovered.lastLsn);
    shared.set('syncedLsn', recovered.lastLsn);
    this.#walReader = new WalReader(disk, walDir, recovered, (index: Index) => this.raft.log.term(index));
    const hardState = world.switches.forgetVote ? { ...recovered.hardState, vote: '' } : recovered.hardState;
    const members = this.state.members();
    const { flushed } = this.#compactor;
    const electionTicks = Math.round(ELECTION_TIMEOUT_MS / (HEARTBEAT_MS / TICKS_PER_HEARTBEAT));
    this.raft = new Raft({
      id: name,
      dir: dirId,
      membership: members === undefined ? initialMembership(founders) : decodeMembership(members.entry),
      membershipIndex: toIndex(members?.index ?? 0),
      laterMemberships: recovered.memberEntries
        .filter(({ index }) => index > flushed)
        .map(({ index, data }) => ({ index, membership: decodeMembership(data) })),
      electionTicks,
      heartbeatTicks: TICKS_PER_HEARTBEAT,
      random,
      hardState,
      baseIndex: plus(recovered.firstIndex, -1),
      baseTerm: recovered.baseTerm,
      lastIndex: recovered.lastIndex,
      runs: recovered.runs,
      appliedIndex: toIndex(flushed),
      source: { read: (lo, hi, bytesMax) => this.#walReader.read(lo, hi, bytesMax) },
      cacheBytesMax: 4096,
      appendBytesMax: 4096,
      inflightMessagesMax: 8,
      inflightBytesMax: 16 * 1024,
      uncommittedBytesMax: 64 * 1024,
    });
    const { term, log } = this.raft;
    this.presence.began = { term, lastTerm: log.lastTerm, lastIndex: log.last };
    this.#records = new RingWriter(rings.records);
    this.replication = new Replication({
      raft: this.raft,
      log: (level, event, fields) => world.log(level, event, fields),
      shared,
      pauses: new PauseWatch({
        raft: this.raft,
        shared,
        monotonicMs: () => clock.monotonicMs(),
        electionTimeoutMs: ELECTION_TIMEOUT_MS,
        electionTicks,
      }),
      founders,
      clock,
      transport: {
        send: world.send,
        isOpen: world.isOpen,
        setPeers: world.setPeers,
      },
      inbox: new RingReader(rings.inbox),
      toGateway: new RingWriter(rings.toGateway),
      records: this.#records,
      committed: new TappedWriter(rings.committed, (frame) => {
        world.onCommitted(this.raft, frame);
        return !(world.switches.skipEntry && random() < 0.001);
      }),
      lastLsn: recovered.lastLsn,
      clockEveryMs: 1_000,
      dir: dirId,
      diskWatch: new DiskWatch({
        raft: this.raft,
        monotonicMs: () => clock.monotonicMs(),
        slowAfterMs: ELECTION_TIMEOUT_MS,
      }),
      states: {
        checkpoints: new CheckpointReader(checkpoints),
        markDiverged: (diverged) => markDiverged(disk, dataDir, diverged, new Date(clock.nowMs())),
      },
      toFiles: (message) => toFiles(() => snapshots.receive(message)),
    });
    this.#places = new RingReader(rings.places);
    this.#committer = new WalCommitter({
      shared,
      disk,
      dir: walDir,
      segmentBytes: SEGMENT_BYTES,
      keepBytes: WAL_KEEP_BYTES,
      end: endOf(recovered),
      records: new RingReader(rings.records),
      places: new RingWriter(rings.places),
      salt: () => Math.floor(random() * 2 ** 32),
      pause: (ms) => world.pause('wal-committer', ms),
      log: (level, event, fields) => world.log(level, event, fields),
    });
    this.#syncer = new WalSyncer({
      shared,
      lastLsn: recovered.lastLsn,
      fdatasync: (fd) =>
        world.sync(() => {
          if (!world.switches.walSyncDoesNothing) disk.fdatasync(fd);
        }),
      micros: () => clock.monotonicMs() * 1000,
    });

    this.#shipperState = new StateReader({ ...ofTree, defer });
    const hashes = new CheckpointReader(checkpoints);
    const shipper = new Shipper({
      state: this.#shipperState,
      applied: shared.reader('applied'),
      timeMs: shared.reader('timeMs'),
      cluster: CLUSTER,
      node: name,
      windowBytes: WINDOW_BYTES,
      ledgerFrom: shared.reader('ledgerFrom'),
      subscriptionsMax: 100,
      hashAt: (revision) => hashes.ledgerAt(revision),
      heldBytesMax: MIB,
      post: (message: FromShipper) => toGateway(() => this.gateway.ship(message)),
    });
    this.#intake = new LedgerIntake(shared, new RingReader(rings.ledger), shipper, {
      monotonicMs: () => clock.monotonicMs(),
      later,
    });

    this.#answers = new RingWriter(rings.answers);
    this.#ledger = new TappedWriter(rings.ledger, (frame) => {
      world.onLedger(frame);
      return true;
    });
    this.#memtable = new Memtable({
      shared,
      tree,
      options: TREE,
      reader: new StateReader({ ...ofTree, defer: () => {} }),
      committed: new RingReader(rings.committed),
      checkpoints,
      answers: this.#answers,
      ledger: this.#ledger,
      origin: boot,
      ledgerBytes: LEDGER_BYTES,
      ledgerMs: LEDGER_MS,
      historyMs: HISTORY_MS,
      toCompactor: (frozen: Frozen) =>
        toCompactor(() => {
          world.async();
          this.#compactor.receive(frozen);
        }),
      pause: (_seen, ms) => this.#memtableWaits(ms),
      monotonicMs: () => clock.monotonicMs(),
    });

    const storeFull = shared.reader('storeFull');
    const walFull = shared.reader('walFull');
    this.gateway = new Gateway({
      shared,
      state: this.state,
      isFull: () => storeFull() !== 0 || walFull() !== 0,
      destructiveSchemaChanges: true,
      outbox: new RingWriter(rings.inbox),
      fromReplication: new RingReader(rings.toGateway),
      answers: new RingReader(rings.answers),
      toShipper: (message: ToShipper) => toShipper(() => this.#intake.receive(message)),
      readers: READERS,
      node: name,
      cluster: CLUSTER,
      origin: boot,
      monotonicMs: () => clock.monotonicMs(),
      leader: () => ({ name: this.#known[shared.get('leader') - 1]?.id ?? '', url: '' }),
      status: () => {
        const timeMs = shared.get('timeMs');
        return { lagMs: timeMs === 0 ? null : Math.max(0, clock.nowMs() - timeMs) };
      },
      onMembers: (known) => {
        this.#known = known;
      },
      inFlightMax: 1000,
    });
  }

  /** One turn of an actor. True: it did something, and turns again before it sleeps. */
  turn(actor: ActorName): boolean {
    switch (actor) {
      case 'gateway':
        this.gateway.turn();
        return false;
      case 'replication':
        this.#takePlaces();
        this.replication.turn();
        return false;
      case 'wal-committer':
        return this.#commit();
      case 'syncer':
        return this.#syncer.turn();
      case 'memtable':
        return this.#memtable.turn();
      case 'compactor':
        this.#world.async();
        this.#compactor.turn();
        return false;
      case 'shipper':
        this.#intake.turn();
        return false;
      default:
        return unreachable(actor);
    }
  }

  /** Would this actor wait for a sync that is under way: to sync itself, or to leave a segment? */
  waitsForSync(actor: ActorName): boolean {
    if (actor === 'syncer') return true;
    const { offset } = this.#committer.inspect();
    return actor === 'wal-committer' && offset + 2 * this.#records.usedBytes >= SEGMENT_BYTES / 2;
  }

  /** What each actor does once a second though nobody rang. */
  idle(actor: ActorName): boolean {
    if (actor === 'compactor') {
      this.turn(actor);
      this.#compactor.publish();
      return false;
    }
    if (actor === 'shipper') {
      this.#shipperState.tree.refresh();
      this.#intake.look();
      return false;
    }
    if (actor === 'gateway') {
      this.state.tree.refresh();
      return false;
    }
    return this.turn(actor);
  }

  /** The end of a turn of an event loop. */
  endTurn(): void {
    if (this.#deferred.length === 0) return;
    const deferred = this.#deferred;
    this.#deferred = [];
    for (const work of deferred) work();
  }

  #commit(): boolean {
    const didSomething = this.#committer.turn();
    if (this.#world.switches.syncedBeforeSync) {
      this.shared.set('syncedLsn', this.shared.get('loggedLsn'));
      this.shared.bell('replication').ring();
    }
    return didSomething;
  }

  /** The memtable looks away; where its readers have no room they get their turn now, as they would in their threads. */
  #memtableWaits(ms: number): void {
    if (this.#answers.usedBytes > RING_LOOK_BYTES) this.gateway.turn();
    if (this.#ledger.usedBytes > RING_LOOK_BYTES) this.#intake.turn();
    this.#world.pause('memtable', ms);
  }

  #takePlaces(): void {
    const { shared } = this;
    for (let frame = this.#places.peek(); frame !== undefined; frame = this.#places.peek()) {
      const place = new ByteReader(frame);
      this.#walReader.addPlace({
        index: toIndex(place.u64()),
        lsn: toLsn(place.u64()),
        segment: place.u64(),
        offset: place.u64(),
      });
      this.#places.pop();
    }
    const firstSegment = shared.get('walFirstSegment');
    if (firstSegment === this.#walReaderFrom) return;
    this.#walReaderFrom = firstSegment;
    this.#walReader.trim({ firstSegment, firstIndex: toIndex(shared.get('walFirstIndex')) });
  }

  /** Jobs take a while, as in a pool; each runs whole, and dies where the disk does. */
  #runner(arenas: readonly SharedArrayBuffer[]): JobRunner {
    const world = this.#world;
    const inline = new InlineRunner({ disk: world.disk, arenas });
    return {
      run: (job) =>
        new Promise((resolve, reject) => {
          world.later(1 + 20 * world.random(), () => {
            world.async();
            // A life that ended in the middle of a job never hears of its end.
            inline.run(job).then(resolve, (error: Error) => {
              if (!world.disk.isDead) reject(error);
            });
          });
        }),
      close: () => inline.close(),
    };
  }
}
