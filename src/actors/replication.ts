/**
 * Replication: drives the Raft core, and is the only one who does.
 *
 * It gathers what happened in a turn (proposals, mesh messages, syncs, ticks), asks the core once what is to be
 * done, and hands that on: records to the wal-committer, messages to the mesh, committed entries to the
 * memtable. Followers get an append at the same moment as the own disk; promises wait for the sync.
 *
 * Proposals that arrive at a follower go to the leader as they are; the answer is made wherever the entry is
 * applied, and the node whose client asked recognises its own. What cannot be proposed is refused by token, and
 * a refusal means that nothing happened.
 *
 * Invariant:
 *  - committed entries are handed to the memtable in index order, each once.
 *
 * On the put path: stops 3 and 6 of 9. From gateway; to wal-committer and the peers; then to memtable.
 */
import { assert } from '../core/base/assert.ts';
import { ByteReader, ByteWriter } from '../core/base/bytes.ts';
import type { Clock } from '../core/base/env.ts';
import type { Index } from '../core/base/position.ts';
import { tokenOf } from '../core/model/commands.ts';
import { resultCode } from '../core/model/machine.ts';
import type { Member } from '../core/raft/membership.ts';
import type { Raft } from '../core/raft/raft.ts';
import type { Message, NodeId, Ready } from '../core/raft/types.ts';
import type { MeshMessage } from '../core/wire/mesh.ts';
import { ApplyOutbox } from './apply-outbox.ts';
import { CommandGate } from './command-gate.ts';
import type { DiskWatch } from './disk-watch.ts';
import type { ReplicationFacts } from './facts.ts';
import { FleetRelay } from './fleet-relay.ts';
import { GatewayOutbox } from './gateway-outbox.ts';
import { HeldCommands } from './held-commands.ts';
import { Divergence, type DivergenceWorld } from './divergence.ts';
import { LeaderClock } from './leader-clock.ts';
import { LogTruncation } from './log-truncation.ts';
import { Members } from './members.ts';
import { MeshOutbox, type Transport } from './mesh-outbox.ts';
import { ReadRelay } from './read-relay.ts';
import { TO_GATEWAY, TO_REPLICATION } from './messages.ts';
import type { PauseWatch } from './pause-watch.ts';
import type { RingReader, RingWriter } from './runtime/ring.ts';
import type { LogFunction } from './runtime/thread.ts';
import { ROLES, type Shared } from './shared.ts';
import type { FromFiles, ToFiles } from './snapshot-files.ts';
import { Snapshots } from './snapshots.ts';
import { WalOutbox } from './wal-outbox.ts';

export interface ReplicationWorld {
  readonly raft: Raft;
  readonly shared: Shared;
  /** Identity of this node's data directory; none where there is no directory. */
  readonly dir?: string;
  /** What the cluster began with; their places are their numbers (members.ts). */
  readonly founders: readonly Member[];
  readonly clock: Clock;
  readonly transport: Transport;
  /** From the gateway: messages.ts. */
  readonly inbox: RingReader;
  /** To the gateway. */
  readonly toGateway: RingWriter;
  /** To the wal-committer. */
  readonly records: RingWriter;
  /** To the memtable. */
  readonly committed: RingWriter;
  /** LSN of the newest record at the start. */
  readonly lastLsn: number;
  /** Longest silence of the log while this node leads: log time goes on at least this often. */
  readonly clockEveryMs: number;
  /** To the files of snapshots; without them none is sent or received. */
  readonly toFiles?: (message: ToFiles, transfer: readonly ArrayBuffer[]) => void;
  /** To the applications' actors; nobody hears what is said to them without it. */
  readonly toActors?: (from: NodeId, batch: Uint8Array) => void;
  /** The hashes of this node's state, and what becomes of it when they are wrong; without them nothing is compared. */
  readonly states?: Pick<DivergenceWorld, 'checkpoints' | 'markDiverged'>;
  /** Looks for pauses of this thread; nobody does where time is the test's. */
  readonly pauses?: PauseWatch;
  /** Has a leader whose disk stands still hand over; nobody does where there is no disk. */
  readonly diskWatch?: DiskWatch;
  /** For what an operator has to know. */
  readonly log?: LogFunction;
}

interface Promised {
  readonly after: number;
  readonly messages: readonly Message[];
}

export class Replication {
  readonly #world: ReplicationWorld;
  readonly #raft: Raft;
  readonly #outbox: MeshOutbox;

  readonly #wal: WalOutbox;
  readonly #truncation: LogTruncation;
  readonly #snapshots: Snapshots | undefined;
  #promised: Promised[] = [];
  readonly #gateway: GatewayOutbox;
  readonly #gate: CommandGate;

  readonly #held = new HeldCommands();
  readonly #reads: ReadRelay;
  readonly #members: Members;
  readonly #divergence: Divergence | undefined;
  readonly #fleet: FleetRelay;

  readonly #apply: ApplyOutbox;
  #applyWaits = false;
  #shown = { committed: -1, stable: -1, last: -1 };
  readonly #time: LeaderClock;
  #lastAppendMs = 0;
  #told = { term: -1, number: -1, role: '' };

  constructor(world: ReplicationWorld) {
    this.#world = world;
    this.#raft = world.raft;
    this.#apply = new ApplyOutbox(world.committed, world.shared.bell('memtable'), world.shared.stages);
    this.#wal = new WalOutbox(world.shared, world.records, world.lastLsn);
    this.#truncation = new LogTruncation({ ...world, hold: () => this.#snapshots?.hold });
    this.#time = new LeaderClock(world.clock);
    this.#outbox = new MeshOutbox({
      transport: world.transport,
      onSent: (messages, bytes) => {
        world.shared.add('meshSent', messages);
        world.shared.add('meshSentBytes', bytes);
      },
      onLost: (peer, channel) => {
        if (channel === 'bulk') this.#raft.unreachable(peer);
      },
    });
    this.#gateway = new GatewayOutbox(world.toGateway, world.shared.bell('gateway'));
    const tell = (frame: ByteWriter): void => this.#gateway.tell(frame);
    const post = (to: NodeId, message: MeshMessage): void => this.#outbox.post(to, message);
    this.#reads = new ReadRelay({ raft: world.raft, tell, post });
    const { raft, founders, clock, transport, log, toFiles } = world;
    this.#gate = new CommandGate({ peers: () => raft.configuration.peersOf(raft.id), log });
    this.#snapshots = toFiles && new Snapshots({ ...world, toFiles, post });
    this.#members = new Members({
      dir: world.dir ?? '',
      ...{ raft, founders, clock, tell, post, log },
      setPeers: (peers, index) => transport.setPeers(peers, index),
    });
    this.#fleet = new FleetRelay({ raft, clock, transport, tell, post });
    this.#divergence = world.states && new Divergence({ ...world, ...world.states, post });
    if (raft.configuration.isAlone(raft.id)) raft.campaign();
  }

  /** Whatever rang the bell: commands from the gateway, a sync, room in a ring. Ends with `flush`. */
  turn(): void {
    if (this.#isEnding) return;
    this.#world.pauses?.look();
    this.#takeInbox();
    if (this.#wal.takeSyncs()) this.#raft.persisted(this.#wal.syncedSeq);
    this.flush();
  }

  tick(): void {
    this.#snapshots?.tick();
    if (this.#isEnding) return;
    this.#world.pauses?.look();
    this.#raft.tick();
    this.#world.diskWatch?.look(this.#wal.waits, this.#wal.syncedSeq);
    this.#advanceTime();
    this.turn();
    this.#truncation.tick();
    this.#members.tick();
    this.#divergence?.tick();
  }

  /** Hands over, if this node leads and somebody can take over; over when `isHandingOver` is false. */
  handOver(): void {
    if (this.#raft.transfer()) this.flush();
  }

  /** It leads, and a successor is on its way. */
  get isHandingOver(): boolean {
    return this.#raft.isTransferring;
  }

  /** Messages from `from`; call `flush` once the turn's messages are in. */
  receive(from: NodeId, messages: readonly MeshMessage[]): void {
    if (this.#isEnding) return;
    this.#world.pauses?.look();
    for (const mesh of messages) {
      switch (mesh.kind) {
        case 'raft':
          this.#raft.step(mesh.message);
          break;
        case 'forward':
          this.#proposeForwarded(from, mesh.commands);
          break;
        case 'refused':
          this.#gateway.refused(mesh.code, mesh.tokens);
          break;
        case 'readIndex':
          this.#reads.ask({ from, id: mesh.id });
          break;
        case 'readIndexReply':
          this.#reads.tell(mesh.id, mesh.index);
          break;
        case 'member':
          this.#members.asked(from, mesh.id, mesh.request);
          break;
        case 'memberReply':
          this.#members.replied(mesh.id, mesh.code, mesh.body);
          break;
        case 'stateHash':
          this.#divergence?.heard(from, mesh.index, mesh.hash);
          break;
        case 'fleetAsk':
        case 'fleetAnswer':
          this.#fleet.heard(from, mesh);
          break;
        case 'actors':
          this.#world.toActors?.(from, mesh.batch);
          break;
        default:
          this.#snapshots?.receive(from, mesh);
      }
    }
  }

  /** What the files of snapshots say. */
  filesSaid(message: FromFiles): void {
    this.#snapshots?.said(message);
    this.#outbox.flush();
  }

  /** This node starts again, from a snapshot. What it promised is written down, and it promises nothing more. */
  get #isEnding(): boolean {
    return this.#snapshots?.isInstalling === true;
  }

  /** Our connection to `peer` is there (again): what waited for it may go. */
  connected(peer: NodeId): void {
    if (peer === this.#raft.leader) this.#releaseHeld();
    this.flush();
  }

  /** A peer was let in, with this data directory; it can apply commands up to `level`. */
  met(peer: NodeId, dir: string, level: number): void {
    this.#members.sawDir(peer, dir);
    this.#gate.met(peer, level);
  }

  /** The connection on which we send bulk to `peer` broke. */
  disconnected(peer: NodeId): void {
    this.#raft.unreachable(peer);
    this.#members.lost(peer);
    this.#fleet.lost(peer);
    // Commands may have been lost with it; nobody else would say so before their deadlines.
    if (peer === this.#raft.leader) this.#gateway.tell(new ByteWriter(1).u8(TO_GATEWAY.doubt));
  }

  /** A connection that `peer` had opened to us broke. */
  peerLeft(peer: NodeId): void {
    this.#members.peerLeft(peer);
    this.#raft.suspectLeader(peer);
  }

  /** Asks the core what the turn amounts to, and hands it on. */
  flush(): void {
    if (this.#isEnding) return;
    this.#wal.sendBacklog();
    this.#gateway.sendBacklog();
    for (;;) {
      const ready = this.#raft.ready(this.#apply.room);
      this.#handOn(ready);
      // A node alone steps its own promises at once; go on until nothing moves.
      if (!this.#releasePromises() && ready.apply.length === 0 && !this.#waitForRoom()) break;
    }
    // Waking a thread costs some 30 µs, so the longest way goes first: the followers, the own disk, the state.
    this.#outbox.flush();
    this.#wal.ring();
    this.#apply.ring();
    this.#publish();
  }

  get committed(): Index {
    return this.#raft.log.committed;
  }

  /** True while followers were not told of a commit up to `index`: call `tellCommits` when no append goes by soon. */
  hasUntoldCommit(index: Index): boolean {
    return this.#raft.hasUntoldCommit(index);
  }

  tellCommits(): void {
    this.#raft.tellCommits();
    this.flush();
  }

  /** Asks the memtable to ring when it has made room, if entries wait for it. True: there is room already. */
  #waitForRoom(): boolean {
    const { log } = this.#raft;
    const waits = log.applying < log.committed && log.applying < log.stable;
    if (waits !== this.#applyWaits) this.#world.shared.set('applyWaits', waits ? 1 : 0);
    this.#applyWaits = waits;
    // Looked at after it was said: the memtable either sees the word or has made the room by now.
    return waits && this.#apply.room > 0;
  }

  #handOn(ready: Ready): void {
    if (ready.persist !== undefined) {
      this.#wal.write(ready.persist);
      this.#lastAppendMs = this.#world.clock.monotonicMs();
    }
    for (const message of ready.send) this.#outbox.post(message.to, { kind: 'raft', message });
    if (ready.sendOnceSynced.length > 0) {
      this.#promised.push({ after: ready.promisedAfter, messages: ready.sendOnceSynced });
    }
    if (ready.apply.length > 0) this.#apply.hand(ready.apply);
    for (const read of ready.reads) this.#reads.answer(read.id, read.index ?? 0);
  }

  /** Lets go of promises whose persist is synced. True when some were addressed to this node. */
  #releasePromises(): boolean {
    let steppedOwn = false;
    let count = 0;
    for (const { after, messages } of this.#promised) {
      if (after > this.#wal.syncedSeq) break;
      for (const message of messages) {
        if (message.to === this.#raft.id) {
          this.#raft.step(message);
          steppedOwn = true;
        } else this.#outbox.post(message.to, { kind: 'raft', message });
      }
      count++;
    }
    if (count > 0) this.#promised = this.#promised.slice(count);
    return steppedOwn;
  }

  // ── from and to the gateway ───────────────────────────────────────────────────────────────────────────────

  #takeInbox(): void {
    const { inbox } = this.#world;
    for (let frame = inbox.peek(); frame !== undefined; frame = inbox.peek()) {
      // The ring's room is lent; what enters the log is ours.
      const reader = new ByteReader(frame.slice());
      inbox.pop();
      const kind = reader.u8();
      if (kind === TO_REPLICATION.read) this.#reads.ask({ from: undefined, id: reader.u32() });
      else if (kind === TO_REPLICATION.member) this.#members.ask(reader.u32(), reader.raw(reader.left));
      else if (!this.#fleet.takes(kind, reader)) {
        assert(kind === TO_REPLICATION.propose, 'the gateway sends commands and reads');
        const commands: Uint8Array[] = [];
        while (reader.left > 0) commands.push(reader.raw(reader.u32()));
        this.#route(commands);
      }
    }
  }

  /** Commands of this node's own clients: into the log, to the leader, or held until there is one. */
  #route(commands: readonly Uint8Array[]): void {
    if (this.#raft.isLeader && !this.#raft.isTransferring) {
      this.#world.shared.add('proposals', commands.length);
      this.#propose(commands, (code, tokens) => this.#gateway.refused(code, tokens));
      return;
    }
    const leader = this.#raft.leader;
    if (leader !== '' && leader !== this.#raft.id && this.#world.transport.isOpen(leader, 'bulk')) {
      this.#world.shared.add('forwarded', commands.length);
      this.#outbox.forward(leader, commands);
      return;
    }
    if (!this.#held.hold(commands)) this.#gateway.refused(resultCode('UNAVAILABLE'), commands.map(tokenOf));
  }

  /** Says whether any went into the log; `refuse` is told of those that did not. */
  #propose(commands: readonly Uint8Array[], refuse: GatewayOutbox['refused']): boolean {
    const { may, mayNot } = this.#gate.sort(commands);
    if (mayNot.length > 0) refuse(resultCode('UPGRADE_PENDING'), mayNot.map(tokenOf));
    if (may.length === 0) return false;
    this.#time.stamp(this.#raft.term, may);
    if (this.#raft.propose(may) !== undefined) return true;
    refuse(resultCode(this.#raft.isLeader ? 'OVERLOADED' : 'NOT_LEADER'), may.map(tokenOf));
    return false;
  }

  #proposeForwarded(from: NodeId, commands: readonly Uint8Array[]): void {
    if (commands.length === 0) return;
    this.#world.shared.add('proposals', commands.length);
    const refuse: GatewayOutbox['refused'] = (code, tokens) =>
      this.#outbox.post(from, { kind: 'refused', code, tokens });
    // Their clients are answered there, when the entries are applied there.
    if (this.#propose(commands, refuse)) this.#raft.awaitCommit(from, this.#raft.log.last);
  }

  /** Log time must go on while nobody writes: keys expire by it, and a replica's age is measured by it. */
  #advanceTime(): void {
    if (!this.#raft.isLeader || !this.#raft.hasCommittedInTerm) return;
    const { clock, shared, clockEveryMs } = this.#world;
    const { term } = this.#raft;
    const nextExpiryMs = shared.get('nextExpiryMs');
    const isDue = nextExpiryMs !== 0 && nextExpiryMs <= this.#time.stampMs(term);
    const isSilent = clock.monotonicMs() - this.#lastAppendMs >= clockEveryMs;
    if (!isDue && !isSilent && !this.#time.wasSet(term)) return;
    if (this.#raft.propose(this.#time.entries(term)) !== undefined) this.#time.logged(term);
  }

  // ── what others see ───────────────────────────────────────────────────────────────────────────────────────

  #publish(): void {
    this.#members.look();
    const { shared } = this.#world;
    const { log, term, leader } = this.#raft;
    const { role } = this.#members;
    const shown = this.#shown;
    if (log.committed !== shown.committed) shared.set('committed', log.committed);
    if (log.stable !== shown.stable) shared.set('stable', log.stable);
    if (log.last !== shown.last) shared.set('lastIndex', log.last);
    shown.committed = log.committed;
    shown.stable = log.stable;
    shown.last = log.last;
    // A leader may be heard before the entry that says who it is: its number comes later than its name.
    const number = this.#members.numberOf(leader);
    if (term === this.#told.term && number === this.#told.number && role === this.#told.role) return;
    if (role === 'leader' && this.#told.role !== 'leader') shared.add('elections', 1);
    this.#told = { term, number, role };
    shared.set('term', term);
    shared.set('role', ROLES.indexOf(role));
    shared.set('leader', number);
    this.#gateway.tell(new ByteWriter(16).u8(TO_GATEWAY.leader).u64(term).u32(number));
    if (leader !== '' && this.#held.length > 0) {
      this.#releaseHeld();
      this.flush();
    }
  }

  #releaseHeld(): void {
    const held = this.#held.take();
    if (held.length > 0) this.#route(held);
  }

  inspect(): ReplicationFacts {
    return {
      role: this.#raft.role,
      term: this.#raft.term,
      leader: this.#raft.leader,
      held: this.#held.length,
      reads: this.#reads.pending,
      recordBacklog: this.#wal.backlog,
      log: this.#truncation.inspect(),
      snapshots: this.#snapshots?.inspect(),
    };
  }
}
