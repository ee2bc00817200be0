/**
 * The mesh protocol, version 7: between nodes. Each node dials every peer twice and sends only on what it
 * dialled: `control` (votes, heartbeats, acks, reads: small, never behind bulk) and `bulk` (appends, forwarded
 * proposals, snapshots, what actors say).
 *
 *   hello    = magic u32 "CTLP" | version u8 | channel u8 | cluster string | from string | to string | boot u64
 *              | mesh string | membersIndex u64 | dir string
 *              | life u64 | lineage | began          core/raft/witness.ts
 *              | commands varint                   core/model/command-levels.ts
 *   lineage  = count u8 (32 at most) | boot u64 *
 *   began    = term u64 | lastTerm u64 | lastIndex u64
 *   message  = kind u8 | …                       several follow each other in one WebSocket message
 *   batch    = crc u32 | message*                 CRC-32C: a byte changed on the way must not enter a log
 *
 * Entries travel as in the WAL: term u64, length u32, data.
 */
import { ByteReader, type ByteWriter } from '../base/bytes.ts';
import { StoreError } from '../base/errors.ts';
import { type Index, toIndex, toTerm } from '../base/position.ts';
import type { Entry, Message, NodeId } from '../raft/types.ts';
import { LINEAGE_MAX, type LifeSign } from '../raft/witness.ts';
import { decodeSnapshot, encodeSnapshot, type SnapshotMessage } from './snapshot.ts';

export const MESH_VERSION = 7;
export const MESH_MAGIC = 0x504c5443;

export type Channel = 'control' | 'bulk';

export interface MeshHello extends LifeSign {
  readonly version: number;
  readonly channel: Channel;
  readonly cluster: string;
  readonly from: NodeId;
  readonly to: NodeId;
  /** Where the sender listens, "host:port": who does not know it can answer all the same. */
  readonly mesh: string;
  /** The entry of its log that says who the members are: whoever has an older one may be the one that is behind. */
  readonly membersIndex: number;
  /** The newest level of commands that the sender can apply. */
  readonly commands: number;
}

export function encodeMeshHello(writer: ByteWriter, hello: MeshHello): void {
  writer
    .u32(MESH_MAGIC)
    .u8(hello.version)
    .u8(hello.channel === 'control' ? 0 : 1);
  writer.string(hello.cluster).string(hello.from).string(hello.to).u64(hello.boot);
  writer.string(hello.mesh).u64(hello.membersIndex).string(hello.dir);
  const { life, lineage, began } = hello;
  writer.u64(life).u8(lineage.length);
  for (const boot of lineage) writer.u64(boot);
  writer.u64(began.term).u64(began.lastTerm).u64(began.lastIndex).varint(hello.commands);
}

export function decodeMeshHello(bytes: Uint8Array): MeshHello {
  const reader = new ByteReader(bytes);
  if (reader.u32() !== MESH_MAGIC) throw new StoreError('PROTOCOL_ERROR', 'the first message is not a mesh hello');
  const version = reader.u8();
  if (version !== MESH_VERSION) {
    throw new StoreError('PROTOCOL_VERSION', `mesh version ${version}; this node speaks ${MESH_VERSION}`);
  }
  const channelCode = reader.u8();
  if (channelCode > 1) throw new StoreError('PROTOCOL_ERROR', `unknown mesh channel ${channelCode}`);
  const channel = channelCode === 0 ? 'control' : 'bulk';
  const hello = {
    version,
    channel,
    cluster: reader.string(),
    from: reader.string(),
    to: reader.string(),
    boot: reader.u64(),
    mesh: reader.string(),
    membersIndex: reader.u64(),
    dir: reader.string(),
    life: reader.u64(),
    lineage: decodeLineage(reader),
    began: {
      term: toTerm(reader.u64()),
      lastTerm: toTerm(reader.u64()),
      lastIndex: toIndex(reader.u64()),
    },
    commands: reader.varint(),
  } as const;
  reader.end();
  return hello;
}

function decodeLineage(reader: ByteReader): number[] {
  const count = reader.u8();
  if (count > LINEAGE_MAX) throw new StoreError('PROTOCOL_ERROR', `${count} earlier lives; ${LINEAGE_MAX} at most`);
  return Array.from({ length: count }, () => reader.u64());
}

/** What nodes say to each other beside Raft's own messages. */
export type MeshMessage =
  | { readonly kind: 'raft'; readonly message: Message }
  | SnapshotMessage
  /** Commands for the leader; each is a whole command, unstamped. */
  | { readonly kind: 'forward'; readonly commands: readonly Uint8Array[] }
  /** Commands that were not proposed, by their token at the node that sent them. Nothing happened to them. */
  | { readonly kind: 'refused'; readonly code: number; readonly tokens: readonly number[] }
  | { readonly kind: 'readIndex'; readonly id: number }
  /** index 0: not confirmed. */
  | { readonly kind: 'readIndexReply'; readonly id: number; readonly index: number }
  /** A request about members (core/wire/members.ts), for the leader; and its answer: code 0, or of an error. */
  | { readonly kind: 'member'; readonly id: number; readonly request: Uint8Array }
  | { readonly kind: 'memberReply'; readonly id: number; readonly code: number; readonly body: Uint8Array }
  /** The hash of the sender's state at `index` (core/model/state-hash.ts). */
  | { readonly kind: 'stateHash'; readonly index: Index; readonly hash: number }
  /** About the LDBs that a node feeds: a FleetAsk, and its FleetAnswer (core/wire/fleet.ts). */
  | { readonly kind: 'fleetAsk'; readonly id: number; readonly body: Uint8Array }
  | { readonly kind: 'fleetAnswer'; readonly id: number; readonly body: Uint8Array }
  /** What applications' actors say to each other: the business of actors/runtime/mesh alone. */
  | { readonly kind: 'actors'; readonly batch: Uint8Array };

const CODE: Readonly<Record<Message['kind'] | Exclude<MeshMessage['kind'], 'raft' | SnapshotMessage['kind']>, number>> =
  {
    preVote: 1,
    preVoteReply: 2,
    vote: 3,
    voteReply: 4,
    append: 5,
    appendReply: 6,
    commit: 7,
    heartbeat: 8,
    heartbeatReply: 9,
    timeoutNow: 10,
    forward: 16,
    refused: 17,
    readIndex: 18,
    readIndexReply: 19,
    member: 30,
    memberReply: 31,
    stateHash: 40,
    fleetAsk: 50,
    fleetAnswer: 51,
    actors: 60,
  };

/**
 * Where a message travels. All appends, empty ones too, go the same ordered way: a leader asks with an empty one
 * where a follower is, and the answer would be wrong if it overtook the entries before it.
 */
export function channelOf(message: MeshMessage): Channel {
  // Large, and nobody waits for it who could not wait a little longer.
  if (message.kind === 'fleetAsk' || message.kind === 'fleetAnswer' || message.kind === 'actors') return 'bulk';
  if (message.kind === 'forward') return 'bulk';
  if (message.kind === 'snapshotOffer' || message.kind === 'snapshotChunk') return 'bulk';
  return message.kind === 'raft' && message.message.kind === 'append' ? 'bulk' : 'control';
}

export function encodeMesh(writer: ByteWriter, mesh: MeshMessage): void {
  switch (mesh.kind) {
    case 'raft':
      encodeRaft(writer, mesh.message);
      return;
    case 'snapshotOffer':
    case 'snapshotWant':
    case 'snapshotChunk':
    case 'snapshotRefused':
      encodeSnapshot(writer, mesh);
      return;
    case 'forward':
      writer.u8(CODE.forward).u32(mesh.commands.length);
      for (const command of mesh.commands) writer.u32(command.length).raw(command);
      return;
    case 'refused':
      writer.u8(CODE.refused).u8(mesh.code).u32(mesh.tokens.length);
      for (const token of mesh.tokens) writer.u32(token);
      return;
    case 'readIndex':
      writer.u8(CODE.readIndex).u64(mesh.id);
      return;
    case 'readIndexReply':
      writer.u8(CODE.readIndexReply).u64(mesh.id).u64(mesh.index);
      return;
    case 'member':
      writer.u8(CODE.member).u64(mesh.id).blob(mesh.request);
      return;
    case 'memberReply':
      writer.u8(CODE.memberReply).u64(mesh.id).u8(mesh.code).blob(mesh.body);
      return;
    case 'stateHash':
      writer.u8(CODE.stateHash).u64(mesh.index).u32(mesh.hash);
      return;
    case 'fleetAsk':
    case 'fleetAnswer':
      writer.u8(CODE[mesh.kind]).u32(mesh.id).blob(mesh.body);
      return;
    case 'actors':
      writer.u8(CODE.actors).blob(mesh.batch);
      return;
  }
}

function encodeRaft(writer: ByteWriter, message: Message): void {
  writer.u8(CODE[message.kind]).u64(message.term);
  switch (message.kind) {
    case 'preVote':
    case 'vote':
      writer
        .u64(message.lastIndex)
        .u64(message.lastTerm)
        .u8(message.isTransfer ? 1 : 0);
      return;
    case 'preVoteReply':
    case 'voteReply':
      writer.u8(message.granted ? 1 : 0).u64(message.lastIndex);
      return;
    case 'append':
      writer.u64(message.prevIndex).u64(message.prevTerm).u64(message.commit).u32(message.entries.length);
      for (const entry of message.entries) writer.u64(entry.term).u32(entry.data.length).raw(entry.data);
      return;
    case 'appendReply':
      writer
        .u8(message.rejected ? 1 : 0)
        .u64(message.index)
        .u64(message.hintIndex)
        .u64(message.hintTerm);
      return;
    case 'commit':
      writer.u64(message.commit);
      return;
    case 'heartbeat':
      writer
        .u64(message.commit)
        .u64(message.readRound)
        .u64(message.matchedByAll)
        .u64(message.held)
        .u64(message.members);
      return;
    case 'heartbeatReply':
      writer.u64(message.readRound);
      return;
    case 'timeoutNow':
      return;
  }
}

/** All messages of a batch; entries and commands are views of `bytes`. `from` and `to` come from the hello. */
export function decodeMesh(bytes: Uint8Array, from: NodeId, to: NodeId): MeshMessage[] {
  const reader = new ByteReader(bytes);
  const messages: MeshMessage[] = [];
  while (reader.left > 0) messages.push(decodeOne(reader, from, to));
  return messages;
}

function decodeOne(reader: ByteReader, from: NodeId, to: NodeId): MeshMessage {
  const code = reader.u8();
  switch (code) {
    case CODE.forward: {
      const commands: Uint8Array[] = [];
      for (let left = reader.u32(); left > 0; left--) commands.push(reader.raw(reader.u32()));
      return { kind: 'forward', commands };
    }
    case CODE.refused: {
      const refusal = reader.u8();
      const tokens: number[] = [];
      for (let left = reader.u32(); left > 0; left--) tokens.push(reader.u32());
      return { kind: 'refused', code: refusal, tokens };
    }
    case CODE.readIndex:
      return { kind: 'readIndex', id: reader.u64() };
    case CODE.readIndexReply:
      return { kind: 'readIndexReply', id: reader.u64(), index: reader.u64() };
    case CODE.member:
      return { kind: 'member', id: reader.u64(), request: reader.blob() };
    case CODE.memberReply:
      return { kind: 'memberReply', id: reader.u64(), code: reader.u8(), body: reader.blob() };
    case CODE.stateHash:
      return { kind: 'stateHash', index: toIndex(reader.u64()), hash: reader.u32() };
    case CODE.fleetAsk:
      return { kind: 'fleetAsk', id: reader.u32(), body: reader.blob() };
    case CODE.fleetAnswer:
      return { kind: 'fleetAnswer', id: reader.u32(), body: reader.blob() };
    case CODE.actors:
      return { kind: 'actors', batch: reader.blob() };
    default:
      return decodeSnapshot(code, reader) ?? { kind: 'raft', message: decodeRaft(code, reader, from, to) };
  }
}

function decodeRaft(code: number, reader: ByteReader, from: NodeId, to: NodeId): Message {
  const term = toTerm(reader.u64());
  const envelope = { from, to, term };
  switch (code) {
    case CODE.preVote:
    case CODE.vote: {
      const kind = code === CODE.vote ? 'vote' : 'preVote';
      const last = { lastIndex: toIndex(reader.u64()), lastTerm: toTerm(reader.u64()) };
      return { ...envelope, kind, ...last, isTransfer: reader.u8() === 1 };
    }
    case CODE.preVoteReply:
    case CODE.voteReply:
      const kind = code === CODE.voteReply ? 'voteReply' : 'preVoteReply';
      return { ...envelope, kind, granted: reader.u8() === 1, lastIndex: toIndex(reader.u64()) };
    case CODE.append: {
      const prevIndex = toIndex(reader.u64());
      const prevTerm = toTerm(reader.u64());
      const commit = toIndex(reader.u64());
      const entries: Entry[] = [];
      const count = reader.u32();
      if (prevIndex + count > Number.MAX_SAFE_INTEGER) throw new StoreError('PROTOCOL_ERROR', 'an index above 2^53');
      for (let i = 1; i <= count; i++) {
        const entryTerm = toTerm(reader.u64());
        entries.push({ index: toIndex(prevIndex + i), term: entryTerm, data: reader.raw(reader.u32()) });
      }
      return { ...envelope, kind: 'append', prevIndex, prevTerm, commit, entries };
    }
    case CODE.appendReply: {
      const rejected = reader.u8() === 1;
      const index = toIndex(reader.u64());
      const hintIndex = toIndex(reader.u64());
      return { ...envelope, kind: 'appendReply', rejected, index, hintIndex, hintTerm: toTerm(reader.u64()) };
    }
    case CODE.commit:
      return { ...envelope, kind: 'commit', commit: toIndex(reader.u64()) };
    case CODE.heartbeat: {
      const commit = toIndex(reader.u64());
      const readRound = reader.u64();
      const matchedByAll = toIndex(reader.u64());
      const held = toIndex(reader.u64());
      return { ...envelope, kind: 'heartbeat', commit, readRound, matchedByAll, held, members: toIndex(reader.u64()) };
    }
    case CODE.heartbeatReply:
      return { ...envelope, kind: 'heartbeatReply', readRound: reader.u64() };
    case CODE.timeoutNow:
      return { ...envelope, kind: 'timeoutNow' };
    default:
      throw new StoreError('PROTOCOL_ERROR', `unknown mesh message ${code}`);
  }
}
