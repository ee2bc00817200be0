/**
 * Bodies and parts of the streams that the shipper feeds: watches, and the ledgers of replicas. Part of the client
 * protocol (client.ts).
 */
import { ByteReader, type ByteWriter } from '../base/bytes.ts';
import { crc32c } from '../base/crc32c.ts';
import { StoreError } from '../base/errors.ts';
import { decodeFilter, encodeFilter, type LedgerFilter } from '../model/ledger-filter.ts';
import { decodeLdbStream, encodeLdbStream, type LdbStream } from './fleet.ts';

export interface WatchRequest {
  /** 0: from the next revision on. */
  readonly fromRevision: number;
  readonly from: Uint8Array;
  /** Exclusive; empty: to the end. */
  readonly to: Uint8Array;
  readonly creditBytes: number;
  /** A progress part at least once a second while nothing is held back. */
  readonly bookmarks?: boolean | undefined;
  /** A behind part when the reader is slow. */
  readonly tellSlow?: boolean | undefined;
}

const BOOKMARKS = 1;
const TELL_SLOW = 2;

export function encodeWatch(writer: ByteWriter, watch: WatchRequest): void {
  writer.varint(watch.fromRevision).blob(watch.from).blob(watch.to).varint(watch.creditBytes);
  const flags = (watch.bookmarks === true ? BOOKMARKS : 0) | (watch.tellSlow === true ? TELL_SLOW : 0);
  // Nothing wished for, nothing said: as clients wrote it before there was something to wish for.
  if (flags !== 0) writer.u8(flags);
}

export function decodeWatch(reader: ByteReader): WatchRequest {
  const watch = {
    fromRevision: reader.varint(),
    from: reader.blob(),
    to: reader.blob(),
    creditBytes: reader.varint(),
  };
  if (reader.left === 0) return watch;
  const flags = reader.u8();
  return { ...watch, bookmarks: (flags & BOOKMARKS) !== 0, tellSlow: (flags & TELL_SLOW) !== 0 };
}

/** A snapshot that broke off: its reader has the rows of `revision` up to the key `after`. */
export interface BrokenSnapshot {
  readonly revision: number;
  readonly after: Uint8Array;
}

export interface LedgerRequest {
  readonly fromRevision: number;
  /** '' for a new LDB. */
  readonly cluster: string;
  readonly creditBytes: number;
  /** Says who reads, to a cluster whose config names its readers. */
  readonly token?: string | undefined;
  /** What is wanted; undefined: everything that may be had. */
  readonly filter?: LedgerFilter | undefined;
  /** Begin with a snapshot, even where the records are kept. */
  readonly wantsSnapshot?: boolean | undefined;
  /** Hash parts between the records, when nothing is filtered out. */
  readonly wantsHashes?: boolean | undefined;
  /** Checked parts, wherever no hash part would find what was changed on the way: snapshots, and filtered records. */
  readonly wantsChecks?: boolean | undefined;
  /** Who asks is a relay of this id, and wants to know whom the stream comes through: path parts. */
  readonly relay?: string | undefined;
  /** An LDB that says who it is: it reports how far it is, and may be asked to. */
  readonly ldb?: LdbStream | undefined;
  /** Go on with this snapshot, if the ledger reaches back to it; else as if it had not been said. */
  readonly goOn?: BrokenSnapshot | undefined;
}

const TOKEN = 1;
const FILTER = 2;
const SNAPSHOT = 4;
const HASHES = 8;
const RELAY = 16;
const LDB = 32;
/** Without a body: a node that does not know it goes on as if it had not been asked. */
const CHECKS = 64;
/** Said only by who has a part of a snapshot, which came in checked parts; an older node refuses the request. */
const GO_ON = 128;

export function encodeLedger(writer: ByteWriter, ledger: LedgerRequest): void {
  const { token, filter, wantsSnapshot = false, wantsHashes = false, wantsChecks = false, relay, ldb, goOn } = ledger;
  writer.varint(ledger.fromRevision).string(ledger.cluster).varint(ledger.creditBytes);
  const said = (token === undefined ? 0 : TOKEN) | (filter === undefined ? 0 : FILTER);
  const from = (relay === undefined ? 0 : RELAY) | (ldb === undefined ? 0 : LDB) | (goOn === undefined ? 0 : GO_ON);
  const wants = (wantsSnapshot ? SNAPSHOT : 0) | (wantsHashes ? HASHES : 0) | (wantsChecks ? CHECKS : 0);
  const flags = said | from | wants;
  // Nothing wished for, nothing said: as clients wrote it before there was something to wish for.
  if (flags === 0) return;
  writer.u8(flags);
  if (token !== undefined) writer.string(token);
  if (filter !== undefined) writer.raw(encodeFilter(filter));
  if (relay !== undefined) writer.string(relay);
  if (ldb !== undefined) encodeLdbStream(writer, ldb);
  if (goOn !== undefined) writer.varint(goOn.revision).blob(goOn.after);
}

export function decodeLedger(reader: ByteReader): LedgerRequest {
  const ledger = { fromRevision: reader.varint(), cluster: reader.string(), creditBytes: reader.varint() };
  if (reader.left === 0) return ledger;
  const flags = reader.u8();
  return {
    ...ledger,
    token: (flags & TOKEN) === 0 ? undefined : reader.string(),
    filter: (flags & FILTER) === 0 ? undefined : decodeFilter(reader),
    wantsSnapshot: (flags & SNAPSHOT) !== 0,
    wantsHashes: (flags & HASHES) !== 0,
    wantsChecks: (flags & CHECKS) !== 0,
    relay: (flags & RELAY) === 0 ? undefined : reader.string(),
    ldb: (flags & LDB) === 0 ? undefined : decodeLdbStream(reader),
    goOn: (flags & GO_ON) === 0 ? undefined : decodeGoOn(reader),
  };
}

/** Longer than any key of a replica's rows (engine/ldb/format.ts). */
const AFTER_BYTES_MAX = 4096;

function decodeGoOn(reader: ByteReader): BrokenSnapshot {
  const [revision, after] = [reader.varint(), reader.blob()];
  if (after.length <= AFTER_BYTES_MAX) return { revision, after };
  throw new StoreError('PROTOCOL_ERROR', `a snapshot cannot go on behind a key of ${after.length} bytes`);
}

/**
 * Parts of a watch or ledger stream: the first payload byte.
 *   progress          revision u64              everything up to it was sent (a watch's first part, too)
 *   records           records (ledger.ts)       whole revisions, in order; in a watch without what was not asked for
 *   hello             cluster string | node string | filter, if it is not everything (model/ledger-filter.ts)
 *   snapshotBegin     revision u64 | timeMs f64 | about u64 | since u64, after blob
 *                                               about: only in a checked part: so many rows there are, 0: nobody knows;
 *                                               since, after: only when it goes on with one that broke off: records from
 *                                               since + 1 to revision come first, then the rows behind `after`
 *   snapshotEntries   entry*
 *   snapshotEnd       revision u64 | rows u64   rows: only in a checked part: that have come since snapshotBegin
 *   behind            sent u64 | newest u64     a slow reader: everything up to `sent` was sent, and more is there
 *   hash              revision u64 | hash u32   of the ledger at a revision of the records that come next (state-hash.ts)
 *   path              count varint | id string*  of a relay, to a relay: it, its upstream, and so on up to a node
 *   asked             revision u64              to an LDB that said who it is: report as soon as you show this one
 *   checked           crc u32 | part            CRC-32C of the part, going on from that of the checked part before it;
 *                                               the first behind a hello from 0
 */
export const PART: Readonly<
  Record<
    | 'progress'
    | 'records'
    | 'hello'
    | 'snapshotBegin'
    | 'snapshotEntries'
    | 'snapshotEnd'
    | 'behind'
    | 'hash'
    | 'path'
    | 'asked'
    | 'checked',
    number
  >
> = {
  progress: 0,
  records: 1,
  hello: 2,
  snapshotBegin: 3,
  snapshotEntries: 4,
  snapshotEnd: 5,
  behind: 6,
  hash: 7,
  path: 8,
  asked: 9,
  checked: 10,
};

/** Relays between a replica and the nodes: a tree that is deeper is a mistake. */
export const RELAY_PATH_MAX = 16;

export function encodePath(writer: ByteWriter, path: readonly string[]): ByteWriter {
  writer.u8(PART.path).varint(path.length);
  for (const id of path) writer.string(id);
  return writer;
}

/** Behind the part's first byte. */
export function decodePath(reader: ByteReader): string[] {
  const count = reader.varint();
  if (count > RELAY_PATH_MAX + 1) throw new StoreError('PROTOCOL_ERROR', `a path of ${count} relays`);
  return Array.from({ length: count }, () => reader.string());
}

/** Opens a checked part: write the part, then call `endChecked` with what this returned. */
export function beginChecked(writer: ByteWriter): number {
  writer.u8(PART.checked).u32(0);
  return writer.length;
}

/** `check`: the CRC-32C of what was written since, going on from that of the checked part before it. */
export function endChecked(writer: ByteWriter, at: number, check: number): void {
  writer.patchU32(at - 4, check);
}

/** The part inside a checked one, in place, and its CRC; `before`: that of the checked part before it. LEDGER_DAMAGED. */
export function openChecked(
  payload: Uint8Array,
  before: number,
): { readonly check: number; readonly part: Uint8Array } {
  const reader = new ByteReader(payload, 1);
  const check = reader.u32();
  const part = reader.raw(reader.left);
  const found = crc32c(part, 0, part.length, before);
  if (found === check) return { check, part };
  const message = `a part of the ledger has CRC ${hex(found)} where ${hex(check)} was sent: it was changed, or one is missing`;
  throw new StoreError('LEDGER_DAMAGED', message);
}

const hex = (crc: number): string => crc.toString(16).padStart(8, '0');
