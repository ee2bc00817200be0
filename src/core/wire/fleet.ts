/**
 * The fleet on the wire: who an LDB says it is, how far it says it is, and what nodes tell each other and clients of all
 * of them.
 *
 *   stream    identity JSON | streamMs f64                    once, with the request for the ledger
 *   report    flags u8 | revision u64 | timeMs f64            after commits, now and then (actors/ldb-reports.ts)
 *             | below blob, left varint                       flag 2: a relay's, of the LDBs that it feeds
 *
 * A report is the LDB's word: everything up to `revision` is visible to its readers. What people read as often as
 * programs do is JSON; whoever takes it checks every field, as it ends in the tables of operators.
 */
import { type ByteReader, type ByteWriter, text, utf8 } from '../base/bytes.ts';
import { isStoreError, StoreError } from '../base/errors.ts';

export interface LdbIdentity {
  /** The same whenever this LDB is followed. */
  readonly id: string;
  /** Of this run of the process that follows. */
  readonly instance: string;
  readonly host: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly pid: number;
  readonly version: string;
}

/** 'gone': it was here and left, a short while ago. */
export type LdbState = 'following' | 'snapshot' | 'gone';

/** One LDB, as who feeds it knows it. */
export interface LdbRow extends LdbIdentity {
  /** Who feeds it: a node, or a relay by its id. */
  readonly via: string;
  /** What of the data it holds; null: everything. */
  readonly filter: string | null;
  /** Everything up to here is visible to its readers, as of its last report. */
  readonly revision: number;
  /** Log time of the revision. */
  readonly timeMs: number;
  readonly state: LdbState;
  /** Since its last word. */
  readonly silentMs: number;
  /** When its stream began, by its own clock: of two rows of one instance the later is true. */
  readonly streamMs: number;
}

export interface LdbReport {
  readonly revision: number;
  readonly timeMs: number;
  readonly isInSnapshot: boolean;
  /** A relay's: LDBs that it feeds, and those that relays below it feed. */
  readonly below?: readonly LdbRow[] | undefined;
  /** A relay's: LDBs there was no room for in `below`. */
  readonly belowLeft?: number | undefined;
}

/** LDBs that are looked for at other nodes, in one question. */
export const SOUGHT_MAX = 128;
/** Of one relay's report. What is more is counted, and not named. */
export const BELOW_ROWS_MAX = 1_000;
const TEXT_MAX = 256;
const LABELS_MAX = 16;

const IN_SNAPSHOT = 1;
const BELOW = 2;

/** The stream of an LDB that says who it is. */
export interface LdbStream {
  readonly identity: LdbIdentity;
  /** When it was begun, by the LDB's own clock. */
  readonly streamMs: number;
}

export function encodeLdbStream(writer: ByteWriter, { identity, streamMs }: LdbStream): void {
  writer.string(JSON.stringify(identity)).f64(streamMs);
}

/** Throws PROTOCOL_ERROR. */
export function decodeLdbStream(reader: ByteReader): LdbStream {
  const json = reader.string();
  const streamMs = reader.f64();
  return asFrame(() => ({ identity: checkIdentity(parse(json)), streamMs: checkNumber('streamMs', streamMs) }));
}

/** An identity and nothing else that was said with it. Throws BAD_REQUEST. */
export function checkIdentity(value: unknown): LdbIdentity {
  const { id, instance, host, labels, pid, version } = fieldsOf(value);
  const entries = Object.entries(fieldsOf(labels));
  if (entries.length > LABELS_MAX) throw bad(`an LDB has at most ${LABELS_MAX} labels`);
  return {
    id: checkText('id', id),
    instance: checkText('instance', instance),
    host: checkText('host', host),
    labels: Object.fromEntries(entries.map(([name, label]) => [checkText('label', name), checkText('label', label)])),
    pid: checkNumber('pid', pid),
    version: checkText('version', version),
  };
}

export function encodeReport(writer: ByteWriter, report: LdbReport): void {
  const { revision, timeMs, isInSnapshot, below, belowLeft = 0 } = report;
  writer
    .u8((isInSnapshot ? IN_SNAPSHOT : 0) | (below === undefined ? 0 : BELOW))
    .u64(revision)
    .f64(timeMs);
  if (below === undefined) return;
  const left = belowLeft + Math.max(0, below.length - BELOW_ROWS_MAX);
  writer.string(JSON.stringify(below.slice(0, BELOW_ROWS_MAX))).varint(left);
}

/** Throws PROTOCOL_ERROR. */
export function decodeReport(reader: ByteReader): LdbReport {
  const flags = reader.u8();
  const report = { revision: reader.u64(), timeMs: reader.f64(), isInSnapshot: (flags & IN_SNAPSHOT) !== 0 };
  asFrame(() => checkNumber('timeMs', report.timeMs));
  if ((flags & BELOW) === 0) return report;
  const json = reader.string();
  const belowLeft = reader.varint();
  return asFrame(() => {
    const rows = parse(json);
    if (Array.isArray(rows) && rows.length <= BELOW_ROWS_MAX)
      return { ...report, below: rows.map(checkRow), belowLeft };
    throw bad(`a relay names at most ${BELOW_ROWS_MAX} LDBs`);
  });
}

function checkRow(value: unknown): LdbRow {
  const { via, filter, revision, timeMs, state, silentMs, streamMs } = fieldsOf(value);
  if (state !== 'following' && state !== 'snapshot' && state !== 'gone') throw bad('the state of an LDB is unknown');
  return {
    ...checkIdentity(value),
    via: checkText('via', via),
    filter: filter === null ? null : checkText('filter', filter),
    revision: checkNumber('revision', revision),
    timeMs: checkNumber('timeMs', timeMs),
    state,
    silentMs: checkNumber('silentMs', silentMs),
    streamMs: checkNumber('streamMs', streamMs),
  };
}

// ── questions ───────────────────────────────────────────────────────────────────────────────────────────────

/** A client's: who is there, or do enough of them show a revision? */
export type FleetRequest =
  | { readonly op: 'list' }
  | {
      readonly op: 'visible';
      readonly revision: number;
      /** Of all: above 0, at most 1. */
      readonly share: number;
      /** Fewer LDBs than this are never enough. */
      readonly replicasMin: number;
      readonly withinMs: number;
    };

/** The answer to `list`. */
export interface FleetView {
  readonly ldbs: readonly LdbRow[];
  /** There are so many more, for which there was no room. */
  readonly left: number;
  /** Where the node that answered is. */
  readonly revision: number;
  readonly timeMs: number;
  /** Nodes that did not answer: what they feed is not in it. */
  readonly unheard: readonly string[];
}

/** The answer to `visible`, and the data of NOT_VISIBLE. */
export interface FleetVisibility {
  /** LDBs that were counted. */
  readonly replicas: number;
  readonly showing: number;
  /** Some of those that do not show it. */
  readonly missing: readonly Pick<LdbRow, 'id' | 'host' | 'via' | 'revision' | 'state'>[];
  /** Nodes that did not answer, and left not long enough ago for their LDBs to have gone elsewhere. */
  readonly unheard: readonly string[];
}

/** Between nodes: what is asked of each. */
export interface FleetAsk {
  /** For each: how many do not show it? They are asked to say so when they do. */
  readonly revisions: readonly number[];
  /** Rows of all, and not only of those that do not show the greatest of `revisions`. */
  readonly isList: boolean;
  /** LDBs that are perhaps elsewhere by now: is one of them here? */
  readonly sought: readonly string[];
}

export interface FleetAnswer {
  /** LDBs that are fed by the node, and by relays below it. */
  readonly connected: number;
  /** By revision asked for: how many do not show it. Those who left a short while ago are among them. */
  readonly behind: readonly number[];
  readonly rows: readonly LdbRow[];
  /** Of `sought`, those that are connected. */
  readonly found: readonly Pick<LdbRow, 'id' | 'instance' | 'streamMs'>[];
}

/** From replication to the gateway: who was asked, and who could not be. */
export interface FleetPeers {
  readonly asked: readonly string[];
  readonly away: readonly { readonly id: string; readonly awayMs: number }[];
}

export function encodeFleetRequest(request: FleetRequest): Uint8Array {
  return utf8(JSON.stringify(request));
}

const WITHIN_MS_MAX = 10 * 60 * 1000;

/** Throws BAD_REQUEST. */
export function decodeFleetRequest(bytes: Uint8Array): FleetRequest {
  const { op, revision, share, replicasMin, withinMs } = fieldsOf(parse(text(bytes)));
  if (op === 'list') return { op };
  if (op !== 'visible') throw bad(`unknown question about the fleet: ${String(op)}`);
  const asked = {
    revision: checkNumber('revision', revision),
    share: checkNumber('share', share),
    replicasMin: checkNumber('replicasMin', replicasMin),
    withinMs: checkNumber('withinMs', withinMs),
  };
  if (asked.share <= 0 || asked.share > 1) throw bad('the share of replicas is above 0 and at most 1');
  if (asked.withinMs > WITHIN_MS_MAX) throw bad(`withinMs is at most ${WITHIN_MS_MAX}`);
  return { op, ...asked };
}

// What nodes say to each other and to their clients: their word counts, and is not checked again.

export const decodeFleetAsk = (bytes: Uint8Array): FleetAsk => JSON.parse(text(bytes)) as FleetAsk;
export const decodeFleetAnswer = (bytes: Uint8Array): FleetAnswer => JSON.parse(text(bytes)) as FleetAnswer;
export const decodeFleetPeers = (bytes: Uint8Array): FleetPeers => JSON.parse(text(bytes)) as FleetPeers;
export const decodeFleetView = (bytes: Uint8Array): FleetView => JSON.parse(text(bytes)) as FleetView;
export const decodeVisibility = (bytes: Uint8Array): FleetVisibility => JSON.parse(text(bytes)) as FleetVisibility;

export const encodeFleet = (value: FleetAsk | FleetAnswer | FleetPeers | FleetView | FleetVisibility): Uint8Array =>
  utf8(JSON.stringify(value));

// ── checks ──────────────────────────────────────────────────────────────────────────────────────────────────

/** A frame in which somebody says what he may not is none. */
function asFrame<T>(check: () => T): T {
  try {
    return check();
  } catch (cause) {
    if (!isStoreError(cause)) throw cause;
    throw new StoreError('PROTOCOL_ERROR', cause.message, { cause });
  }
}

function parse(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch (cause) {
    throw new StoreError('BAD_REQUEST', 'what an LDB says of itself is JSON', { cause });
  }
}

function fieldsOf(value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return { ...value };
  throw bad('what an LDB says of itself is an object');
}

function checkText(name: string, value: unknown): string {
  if (typeof value === 'string' && value.length <= TEXT_MAX) return value;
  throw bad(`the ${name} of an LDB is a text of at most ${TEXT_MAX} characters`);
}

function checkNumber(name: string, value: unknown): number {
  if (typeof value === 'number' && Number.isFinite(value) && value >= 0) return value;
  throw bad(`${name} is a number from 0`);
}

const bad = (message: string): StoreError => new StoreError('BAD_REQUEST', message);
