/**
 * Replication with everything around it played by the test: rings that the test reads, a mesh that only notes what
 * was sent, a clock that stands until it is moved, a disk whose syncs the test grants.
 */
import { type Transport } from '../../src/actors/mesh-outbox.ts';
import { TO_GATEWAY, TO_REPLICATION } from '../../src/actors/messages.ts';
import { Replication, type ReplicationWorld as ReplicationWorldOfNode } from '../../src/actors/replication.ts';
import { createRing, RingReader, RingWriter } from '../../src/actors/runtime/ring.ts';
import { Shared } from '../../src/actors/shared.ts';
import { ByteReader, ByteWriter } from '../../src/core/base/bytes.ts';
import { toIndex, toTerm } from '../../src/core/base/position.ts';
import { initialMembership, type Member } from '../../src/core/raft/membership.ts';
import { Raft } from '../../src/core/raft/raft.ts';
import { encodeMemberRequest, type MemberRequest, type MembersReply } from '../../src/core/wire/members.ts';
import { decodeMesh, type MeshMessage } from '../../src/core/wire/mesh.ts';
import { decodeRecord, type PersistRecord } from '../../src/engine/wal/payload.ts';
import { setLsn } from '../../src/engine/wal/payload.ts';
import { toLsn } from '../../src/core/base/position.ts';

const MIB = 1024 * 1024;

export interface WorldOptions {
  readonly id?: string;
  readonly nodes?: readonly string[];
  readonly dir?: string;
  readonly recordsBytes?: number;
  readonly committedBytes?: number;
  readonly toGatewayBytes?: number;
  readonly uncommittedBytesMax?: number;
  readonly lastLsn?: number;
  readonly clockEveryMs?: number;
  readonly toFiles?: ReplicationWorldOfNode['toFiles'];
}

export type ToGateway =
  | { readonly kind: 'refused'; readonly code: number; readonly tokens: readonly number[] }
  | { readonly kind: 'read'; readonly id: number; readonly index: number }
  | { readonly kind: 'leader'; readonly term: number; readonly leader: number };

export interface Sent {
  readonly to: string;
  readonly channel: string;
  readonly message: MeshMessage;
}

const json = (bytes: Uint8Array): unknown => JSON.parse(new TextDecoder().decode(bytes));

export const initialMembers = (ids: readonly string[]): Member[] =>
  ids.map((id) => ({ id, mesh: `${id}:1`, client: `ws://${id}:2`, http: '' }));

export class ReplicationWorld {
  /** Whom the mesh was told to reach. */
  peers: readonly string[] = [];
  dirs: readonly string[] = [];
  /** What the gateway was told of members, by `told`. */
  known: readonly Member[] = [];
  readonly memberReplies: { token: number; code: number; reply: MembersReply & { message: string } }[] = [];
  readonly shared: Shared = new Shared();
  readonly raft: Raft;
  readonly replication: Replication;
  readonly buffers: Readonly<Record<'inbox' | 'toGateway' | 'records' | 'committed', SharedArrayBuffer>>;
  readonly clock = { wallMs: 1_000_000, upMs: 0 };
  /** Peers whose channels are open. */
  readonly open: Set<string>;
  readonly sent: Sent[] = [];
  /** What an operator was told. */
  readonly logged: string[] = [];
  /** Bytes of each batch that went out. */
  readonly batches: number[] = [];
  readonly #inbox: RingWriter;
  readonly #toGateway: RingReader;
  readonly #records: RingReader;
  readonly #committed: RingReader;
  #nextLsn: number;

  constructor(options: WorldOptions = {}) {
    const id = options.id ?? 'n1';
    const nodes = options.nodes ?? ['n1'];
    this.open = new Set(nodes);
    this.#nextLsn = (options.lastLsn ?? 0) + 1;
    this.shared.set('syncedLsn', options.lastLsn ?? 0);
    this.buffers = {
      inbox: createRing(16 * MIB),
      toGateway: createRing(options.toGatewayBytes ?? MIB),
      records: createRing(options.recordsBytes ?? 16 * MIB),
      committed: createRing(options.committedBytes ?? 16 * MIB),
    };
    this.#inbox = new RingWriter(this.buffers.inbox);
    this.#toGateway = new RingReader(this.buffers.toGateway);
    this.#records = new RingReader(this.buffers.records);
    this.#committed = new RingReader(this.buffers.committed);
    this.raft = new Raft({
      id,
      membership: initialMembership(initialMembers(nodes)),
      electionTicks: 10,
      heartbeatTicks: 2,
      random: () => 0.5,
      hardState: { term: toTerm(0), vote: '', commit: toIndex(0) },
      lastIndex: toIndex(0),
      runs: [],
      source: {
        read: () => {
          throw new Error('nothing leaves memory here');
        },
      },
      cacheBytesMax: 64 * MIB,
      appendBytesMax: MIB,
      inflightMessagesMax: 256,
      inflightBytesMax: 8 * MIB,
      uncommittedBytesMax: options.uncommittedBytesMax ?? 64 * MIB,
    });
    const transport: Transport = {
      send: (to, channel, bytes) => {
        if (!this.open.has(to)) return false;
        this.batches.push(bytes.length);
        for (const message of decodeMesh(bytes.slice(), id, to)) this.sent.push({ to, channel, message });
        return true;
      },
      isOpen: (to) => this.open.has(to),
      setPeers: (peers) => {
        this.peers = peers.map((peer) => peer.id);
        this.dirs = peers.map((peer) => peer.dir);
      },
    };
    this.replication = new Replication({
      raft: this.raft,
      shared: this.shared,
      dir: options.dir ?? '',
      founders: initialMembers(nodes),
      clock: { nowMs: () => this.clock.wallMs, monotonicMs: () => this.clock.upMs },
      transport,
      inbox: new RingReader(this.buffers.inbox),
      toGateway: new RingWriter(this.buffers.toGateway),
      records: new RingWriter(this.buffers.records),
      committed: new RingWriter(this.buffers.committed),
      lastLsn: options.lastLsn ?? 0,
      clockEveryMs: options.clockEveryMs ?? 1_000,
      ...(options.toFiles && { toFiles: options.toFiles }),
      log: (level, event, fields) => this.logged.push(`${level} ${event} ${JSON.stringify(fields)}`),
    });
  }

  /** Time goes by, on both clocks. */
  pass(ms: number): void {
    this.clock.wallMs += ms;
    this.clock.upMs += ms;
  }

  // ── the gateway ──

  propose(...commands: readonly Uint8Array[]): void {
    const frame = new ByteWriter(1024).u8(TO_REPLICATION.propose);
    for (const command of commands) frame.u32(command.length).raw(command);
    if (!this.#inbox.write(frame.view())) throw new Error('the inbox is full');
    this.replication.turn();
  }

  askMembers(token: number, request: MemberRequest): void {
    this.#inbox.write(new ByteWriter(8).u8(TO_REPLICATION.member).u32(token).raw(encodeMemberRequest(request)).view());
    this.replication.turn();
  }

  askRead(id: number): void {
    this.#inbox.write(new ByteWriter(8).u8(TO_REPLICATION.read).u32(id).view());
    this.replication.turn();
  }

  /** What the gateway was told since it was last asked. */
  told(): ToGateway[] {
    const told: ToGateway[] = [];
    for (let frame = this.#toGateway.peek(); frame !== undefined; frame = this.#toGateway.peek()) {
      const reader = new ByteReader(frame.slice());
      this.#toGateway.pop();
      const kind = reader.u8();
      if (kind === TO_GATEWAY.read) told.push({ kind: 'read', id: reader.u32(), index: reader.u64() });
      else if (kind === TO_GATEWAY.leader) told.push({ kind: 'leader', term: reader.u64(), leader: reader.u32() });
      else if (kind === TO_GATEWAY.member) {
        const [token, code] = [reader.u32(), reader.u8()];
        this.memberReplies.push({
          token,
          code,
          reply: json(reader.raw(reader.left)) as MembersReply & { message: string },
        });
      } else if (kind === TO_GATEWAY.members) this.known = (json(reader.raw(reader.left)) as { known: Member[] }).known;
      else if (kind === TO_GATEWAY.refused) {
        const code = reader.u8();
        const tokens: number[] = [];
        while (reader.left > 0) tokens.push(reader.u32());
        told.push({ kind: 'refused', code, tokens });
      }
    }
    return told;
  }

  toldOf<K extends ToGateway['kind']>(kind: K): Extract<ToGateway, { kind: K }>[] {
    return this.told().filter((message): message is Extract<ToGateway, { kind: K }> => message.kind === kind);
  }

  // ── the WAL ──

  /** Takes the records that were handed over, as the committer does; not yet synced. */
  takeRecords(max: number = Number.POSITIVE_INFINITY): PersistRecord[] {
    const taken: PersistRecord[] = [];
    for (let frame = this.#records.peek(); frame !== undefined && taken.length < max; frame = this.#records.peek()) {
      const bytes = frame.slice();
      this.#records.pop();
      setLsn(bytes, toLsn(this.#nextLsn++));
      taken.push(decodeRecord(bytes) as PersistRecord);
    }
    return taken;
  }

  /** LSN of the newest record taken. */
  get lastLsn(): number {
    return this.#nextLsn - 1;
  }

  sync(lsn: number = this.lastLsn): void {
    this.shared.set('syncedLsn', lsn);
    this.replication.turn();
  }

  /** Takes and syncs until nothing more comes: a disk without delay. */
  settle(): PersistRecord[] {
    const all: PersistRecord[] = [];
    for (;;) {
      this.replication.turn();
      const taken = this.takeRecords();
      if (taken.length === 0) return all;
      all.push(...taken);
      this.sync();
    }
  }

  // ── the memtable ──

  /** Takes what was handed over to be applied. */
  takeApplied(frames: number = Number.POSITIVE_INFINITY): { index: number; data: Uint8Array }[] {
    const applied: { index: number; data: Uint8Array }[] = [];
    let count = 0;
    for (let frame = this.#committed.peek(); frame !== undefined && count < frames; frame = this.#committed.peek()) {
      const reader = new ByteReader(frame.slice());
      this.#committed.pop();
      count++;
      while (reader.left > 0) applied.push({ index: reader.u64(), data: reader.raw(reader.u32()) });
    }
    return applied;
  }

  // ── peers ──

  receive(from: string, ...messages: readonly MeshMessage[]): void {
    this.replication.receive(from, messages);
    this.replication.turn();
  }

  sentTo(to: string): MeshMessage[] {
    const messages = this.sent.filter((sent) => sent.to === to).map((sent) => sent.message);
    this.sent.length = 0;
    return messages;
  }

  /** Makes this node the leader of a cluster of three: the others say yes. */
  lead(): void {
    this.raft.campaign();
    this.replication.turn();
    const term = toTerm(this.raft.term + 1);
    this.receive('n2', {
      kind: 'raft',
      message: { kind: 'preVoteReply', from: 'n2', to: this.raft.id, term, granted: true, lastIndex: toIndex(0) },
    });
    this.settle();
    this.receive('n2', {
      kind: 'raft',
      message: {
        kind: 'voteReply',
        from: 'n2',
        to: this.raft.id,
        term: this.raft.term,
        granted: true,
        lastIndex: toIndex(0),
      },
    });
    this.settle();
    this.ack('n2');
    this.settle();
  }

  /** `peer` has everything. */
  ack(peer: string, index: number = this.raft.log.last): void {
    this.receive(peer, {
      kind: 'raft',
      message: {
        kind: 'appendReply',
        from: peer,
        to: this.raft.id,
        term: this.raft.term,
        rejected: false,
        index: toIndex(index),
        hintIndex: toIndex(0),
        hintTerm: toTerm(0),
      },
    });
  }

  /** `leader` leads in `term`: a heartbeat of it arrives. */
  follow(leader: string, term: number): void {
    this.receive(leader, {
      kind: 'raft',
      message: {
        kind: 'heartbeat',
        from: leader,
        to: this.raft.id,
        term: toTerm(term),
        commit: toIndex(0),
        readRound: 0,
        matchedByAll: toIndex(0),
        held: toIndex(0),
        members: toIndex(0),
      },
    });
  }
}
