/**
 * The client protocol, version 1: binary WebSocket messages, each one frame, each frame many operations.
 *
 *   frame    = type u8 | body                                 little-endian; blob and string = length varint, bytes
 *   HELLO    c→s  magic u32 "CTLM" | versionMin u8 | versionMax u8 | client string [| token string]
 *   WELCOME  s→c  version u8 | node string | cluster string | leader string | leaderUrl string | inFlightMax varint
 *   REQUESTS c→s  request*    request = id varint | kind u8 | deadlineMs varint | length u32 | body
 *                   kind + 128: a traced write      body = traceparent string | body
 *   REPLIES  s→c  reply*      reply   = id varint | code u8 | ok: revision u64, extra blob
 *                                                          | else: message string, data string (JSON)
 *   STREAM   s→c  id varint | payload                         one part of a range, a watch or a ledger
 *   END      s→c  id varint | code u8 | revision u64, extra blob | message string, data string    (as a reply)
 *   CREDIT   c→s  id varint | bytes varint                    the stream may send this much more
 *   CANCEL   c→s  id varint
 *   REPORT   c→s  id varint | report                          of an LDB, on its ledger stream (wire/fleet.ts)
 *   NOTICE   s→c  leader string | leaderUrl string            who leads has changed
 *   GOODBYE  s→c  code u8 | message string                    the last frame before the socket is closed
 *
 * A write's body is a `call` (core/model/commands.ts), the same bytes as in the log. Versions: the server
 * answers with the highest that both know, or says GOODBYE PROTOCOL_VERSION.
 */
import { type ByteReader, ByteWriter } from '../base/bytes.ts';
import { ERROR_CODE_LIST, type ErrorCode, StoreError } from '../base/errors.ts';

// Streams have a file of their own.
export {
  type BrokenSnapshot,
  type LedgerRequest,
  PART,
  RELAY_PATH_MAX,
  type WatchRequest,
  beginChecked,
  decodeLedger,
  decodePath,
  decodeWatch,
  encodeLedger,
  encodePath,
  encodeWatch,
  endChecked,
  openChecked,
} from './subscribe.ts';

export const PROTOCOL_VERSION = 1;
export const MAGIC = 0x4d4c5443;

export type FrameType = 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9 | 10 | 11;
export const FRAME: Readonly<
  Record<
    | 'hello'
    | 'welcome'
    | 'requests'
    | 'replies'
    | 'stream'
    | 'end'
    | 'credit'
    | 'cancel'
    | 'notice'
    | 'goodbye'
    | 'report',
    FrameType
  >
> = {
  hello: 1,
  welcome: 2,
  requests: 3,
  replies: 4,
  stream: 5,
  end: 6,
  credit: 7,
  cancel: 8,
  notice: 9,
  goodbye: 10,
  report: 11,
};

/** 1..8 are commands, with the numbers of core/model/commands.ts; the rest read. */
export type RequestKind = number;
export const REQUEST: Readonly<
  Record<
    | 'put'
    | 'delete'
    | 'txn'
    | 'openSession'
    | 'keepAlive'
    | 'closeSession'
    | 'get'
    | 'range'
    | 'watch'
    | 'ledger'
    | 'status'
    | 'members'
    | 'control'
    | 'controlRead'
    | 'actors'
    | 'fleet',
    RequestKind
  >
> = {
  put: 1,
  delete: 2,
  txn: 3,
  openSession: 4,
  keepAlive: 5,
  closeSession: 6,
  control: 8,
  get: 16,
  range: 17,
  watch: 18,
  ledger: 19,
  status: 20,
  members: 21,
  controlRead: 22,
  actors: 23,
  fleet: 24,
};

/**
 * Added to a write's kind: a traceparent (string; wire/trace.ts) stands before its body. A node that does not know it
 * refuses the request, so it is only sent for writes that are traced.
 */
export const TRACED = 128;

/** The leader's clock (7) is nobody else's to set. */
export const isCommand = (kind: RequestKind): boolean => (kind >= 1 && kind <= 6) || kind === REQUEST.control;
/** Answered by STREAM and END frames instead of a reply. */
export const isStream = (kind: RequestKind): boolean => kind >= REQUEST.range && kind <= REQUEST.ledger;

export interface Hello {
  readonly versionMin: number;
  readonly versionMax: number;
  readonly client: string;
  /** Who asks (core/wire/access.ts); who does not know of it passes over it. */
  readonly token?: string | undefined;
}

/** What a server and this client both speak, or PROTOCOL_VERSION. `server`: what it calls itself. */
export function versionFor({ versionMin, versionMax }: Hello, server: string): number {
  if (versionMin <= PROTOCOL_VERSION && PROTOCOL_VERSION <= versionMax) return PROTOCOL_VERSION;
  const asked = `${versionMin} to ${versionMax}`;
  throw new StoreError('PROTOCOL_VERSION', `${server} speaks version ${PROTOCOL_VERSION}; the client ${asked}`);
}

export interface Welcome {
  readonly version: number;
  readonly node: string;
  readonly cluster: string;
  /** '' while nobody leads. */
  readonly leader: string;
  readonly leaderUrl: string;
  readonly inFlightMax: number;
}

export function encodeHello(hello: Hello): Uint8Array {
  const writer = new ByteWriter(64).u8(FRAME.hello).u32(MAGIC);
  writer.u8(hello.versionMin).u8(hello.versionMax).string(hello.client);
  if (hello.token !== undefined) writer.string(hello.token);
  return writer.take();
}

export function decodeHello(reader: ByteReader): Hello {
  if (reader.u32() !== MAGIC) throw new StoreError('PROTOCOL_ERROR', 'the first frame is not a ctlmesh hello');
  const hello = { versionMin: reader.u8(), versionMax: reader.u8(), client: reader.string() };
  return reader.left === 0 ? hello : { ...hello, token: reader.string() };
}

export function encodeWelcome(welcome: Welcome): Uint8Array {
  return new ByteWriter(128)
    .u8(FRAME.welcome)
    .u8(welcome.version)
    .string(welcome.node)
    .string(welcome.cluster)
    .string(welcome.leader)
    .string(welcome.leaderUrl)
    .varint(welcome.inFlightMax)
    .take();
}

export function decodeWelcome(reader: ByteReader): Welcome {
  return {
    version: reader.u8(),
    node: reader.string(),
    cluster: reader.string(),
    leader: reader.string(),
    leaderUrl: reader.string(),
    inFlightMax: reader.varint(),
  };
}

/** Opens a request in a REQUESTS frame; write the body, then call `endRequest` with what this returned. */
export function beginRequest(
  writer: ByteWriter,
  request: { readonly id: number; readonly kind: RequestKind; readonly deadlineMs: number },
): number {
  writer.varint(request.id).u8(request.kind).varint(request.deadlineMs);
  const at = writer.length;
  writer.u32(0);
  return at;
}

export function endRequest(writer: ByteWriter, at: number): void {
  writer.patchU32(at, writer.length - at - 4);
}

export interface ReplyOk {
  readonly id: number;
  readonly revision: number;
  /** A view of the frame. */
  readonly extra: Uint8Array;
  readonly error: undefined;
}

export interface ReplyError {
  readonly id: number;
  readonly error: StoreError;
}

export type Reply = ReplyOk | ReplyError;

export function encodeOk(writer: ByteWriter, id: number, revision: number, extra: Uint8Array): void {
  writer.varint(id).u8(0).u64(revision).blob(extra);
}

export function encodeFailure(writer: ByteWriter, id: number, error: StoreError): void {
  writer.varint(id).u8(codeNumber(error.code)).string(error.message).string(JSON.stringify(error.data));
}

export function decodeReply(reader: ByteReader): Reply {
  const id = reader.varint();
  const code = reader.u8();
  if (code === 0) return { id, revision: reader.u64(), extra: reader.blob(), error: undefined };
  return { id, error: decodeError(code, reader) };
}

export function encodeGoodbye(error: StoreError): Uint8Array {
  return new ByteWriter(64).u8(FRAME.goodbye).u8(codeNumber(error.code)).string(error.message).take();
}

export function decodeGoodbye(reader: ByteReader): StoreError {
  const code = reader.u8();
  return new StoreError(codeOf(code), reader.string());
}

function decodeError(code: number, reader: ByteReader): StoreError {
  const message = reader.string();
  const json = reader.string();
  return new StoreError(codeOf(code), message, { data: parseData(json) });
}

function parseData(json: string): Record<string, unknown> {
  try {
    const data: unknown = JSON.parse(json);
    return typeof data === 'object' && data !== null ? { ...data } : {};
  } catch (cause) {
    throw new StoreError('PROTOCOL_ERROR', 'the data of an error is not JSON', { cause });
  }
}

const codeNumber = (code: ErrorCode): number => ERROR_CODE_LIST.indexOf(code) + 1;
/** A code of a newer peer is still an error, of the general kind. */
const codeOf = (number: number): ErrorCode => ERROR_CODE_LIST[number - 1] ?? 'INTERNAL';

// ── bodies of reads ─────────────────────────────────────────────────────────────────────────────────────────

const LOCAL = 1;
const REVERSE = 2;
/** What is flagged by these stands at the end of the body: a node that does not know them refuses the request. */
const STALENESS = 4;
const REVISION = 8;

/** How old the answer may be; undefined: not at all. */
interface Staleness {
  readonly maxStalenessMs?: number | undefined;
}

const stalenessFlag = ({ maxStalenessMs }: Staleness): number => (maxStalenessMs === undefined ? 0 : STALENESS);

export interface GetRequest extends Staleness {
  readonly isLocal: boolean;
  readonly atLeast: number;
  /** Read the state of exactly this revision; 0 or undefined: the newest. */
  readonly revision?: number | undefined;
  readonly key: Uint8Array;
}

export function encodeGet(writer: ByteWriter, get: GetRequest): void {
  const { maxStalenessMs, revision = 0 } = get;
  writer
    .u8((get.isLocal ? LOCAL : 0) | stalenessFlag(get) | (revision === 0 ? 0 : REVISION))
    .varint(get.atLeast)
    .blob(get.key);
  if (maxStalenessMs !== undefined) writer.varint(maxStalenessMs);
  if (revision !== 0) writer.varint(revision);
}

export function decodeGet(reader: ByteReader): GetRequest {
  const flags = reader.u8();
  return {
    isLocal: (flags & LOCAL) !== 0,
    atLeast: reader.varint(),
    key: reader.blob(),
    maxStalenessMs: (flags & STALENESS) === 0 ? undefined : reader.varint(),
    revision: (flags & REVISION) === 0 ? undefined : reader.varint(),
  };
}

/** The extra of a get's reply: expiry f64, value. Its revision is 0 when there is no such key. */
export interface RangeRequest extends Staleness {
  readonly isLocal: boolean;
  readonly reverse: boolean;
  readonly atLeast: number;
  /** Read the state of exactly this revision (a range that goes on elsewhere); 0: the newest. */
  readonly revision: number;
  readonly from: Uint8Array;
  /** Empty: to the end. */
  readonly to: Uint8Array;
  /** 0: all. */
  readonly limit: number;
  readonly creditBytes: number;
}

export function encodeRange(writer: ByteWriter, range: RangeRequest): void {
  const { maxStalenessMs } = range;
  const flags = (range.isLocal ? LOCAL : 0) | (range.reverse ? REVERSE : 0) | stalenessFlag(range);
  writer.u8(flags).varint(range.atLeast);
  writer.varint(range.revision).blob(range.from).blob(range.to).varint(range.limit).varint(range.creditBytes);
  if (maxStalenessMs !== undefined) writer.varint(maxStalenessMs);
}

export function decodeRange(reader: ByteReader): RangeRequest {
  const flags = reader.u8();
  return {
    isLocal: (flags & LOCAL) !== 0,
    reverse: (flags & REVERSE) !== 0,
    atLeast: reader.varint(),
    revision: reader.varint(),
    from: reader.blob(),
    to: reader.blob(),
    limit: reader.varint(),
    creditBytes: reader.varint(),
    maxStalenessMs: (flags & STALENESS) === 0 ? undefined : reader.varint(),
  };
}

export interface WireEntry {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
  readonly revision: number;
  readonly expiryMs: number;
}

/** Entries of a snapshot part, or (after revision u64) of a range part, one after the other. */
export function encodeEntry(writer: ByteWriter, entry: WireEntry): void {
  writer.blob(entry.key).varint(entry.revision).f64(entry.expiryMs).blob(entry.value);
}

export function decodeEntry(reader: ByteReader): WireEntry {
  const key = reader.blob();
  const revision = reader.varint();
  const expiryMs = reader.f64();
  return { key, value: reader.blob(), revision, expiryMs };
}
