/**
 * A shipper, with the memtable, the ledger on disk and the gateway played by the test.
 */
import { expect } from 'vitest';
import { Shipper } from '../../src/actors/shipper.ts';
import type { FromShipper, Subscribe } from '../../src/actors/shipper-messages.ts';
import { ByteReader, ByteWriter, utf8 } from '../../src/core/base/bytes.ts';
import { toIndex } from '../../src/core/base/position.ts';
import type { LedgerWindow } from '../../src/core/model/window.ts';
import { type Change, decodeRecords, encodeRecord } from '../../src/core/model/ledger.ts';
import { decodeEntry, FRAME, PART } from '../../src/core/wire/client.ts';
import { PlainState } from '../support/plain-state.ts';

const MIB = 1024 * 1024;

export const put = (key: string, value = 'v'): Change => ({
  kind: 'put',
  key: utf8(key),
  value: utf8(value),
  expiryMs: 0,
});

export interface Part {
  readonly sub: number;
  readonly part: 'hash' | 'progress' | 'records' | 'hello' | 'begin' | 'entries' | 'end' | 'behind';
  readonly revisions: number[];
  readonly keys: string[];
  readonly bytes: number;
}

/** A shipper, and the memtable's side of it played by the test. */
export class World {
  readonly memtable: PlainState;
  readonly shipper: Shipper;
  readonly posted: FromShipper[] = [];
  onPost: (message: FromShipper) => void = () => {};
  /** The ledger as the tree keeps it, behind the window. */
  kept: LedgerWindow | undefined;
  /** The oldest revision kept; default: the window's. */
  ledgerFrom: number | undefined;
  applied = 0;
  readonly hashes: Map<number, number> = new Map();
  timeMs = 0;

  constructor(
    options: {
      readonly windowBytes?: number;
      readonly subscriptionsMax?: number;
      readonly heldBytesMax?: number;
      /** The node that this one is after a restart. */
      readonly before?: World;
    } = {},
  ) {
    const { before } = options;
    this.memtable = before?.memtable ?? new PlainState(new SharedArrayBuffer(32 * MIB));
    this.applied = before?.applied ?? 0;
    this.timeMs = before?.timeMs ?? 0;
    this.ledgerFrom = before?.ledgerFrom;
    this.kept = before?.shipper.window;
    this.shipper = new Shipper({
      state: {
        scan: (bounds, revision) => this.memtable.scan(bounds, revision ?? toIndex(this.applied)),
        readLedger: (from) => this.kept?.read(from, MIB),
      },
      ledgerFrom: () => this.ledgerFrom ?? (this.shipper.window.last > 0 ? this.shipper.window.first : 1),
      applied: () => this.applied,
      timeMs: () => this.timeMs,
      rowsAbout: () => 1_000 + this.applied,
      cluster: 'c',
      node: 'n1',
      windowBytes: options.windowBytes ?? MIB,
      subscriptionsMax: options.subscriptionsMax ?? 10,
      hashAt: (revision) => this.hashes.get(revision),
      heldBytesMax: options.heldBytesMax ?? 1_000 * MIB,
      post: (message) => {
        this.posted.push(message);
        this.onPost(message);
      },
    });
  }

  /** One revision is applied; its record comes now, or later with `ship`. */
  write(changes: readonly Change[], ship = true): void {
    const revision = toIndex(++this.applied);
    this.timeMs = this.applied * 10;
    for (const change of changes) {
      if (change.kind === 'put') this.memtable.put(change.key, change.value, revision, 0);
      else this.memtable.remove(change.key, revision);
    }
    const writer = new ByteWriter(64);
    encodeRecord(writer, { revision, timeMs: this.timeMs, changes });
    this.#records.push(writer.take());
    if (ship) this.ship();
  }

  readonly #records: Uint8Array[] = [];

  ship(): void {
    this.append();
    this.shipper.pumpAll();
  }

  /** Into the window, and no further. */
  append(): void {
    for (const record of this.#records.splice(0)) this.shipper.append(record);
  }

  subscribe(sub: number, options: Partial<Subscribe> = {}): void {
    this.shipper.receive({
      kind: 'subscribe',
      sub,
      request: sub,
      mode: 'watch',
      fromRevision: 1,
      from: new Uint8Array(0),
      to: new Uint8Array(0),
      creditBytes: MIB,
      reader: sub,
      bookmarks: false,
      tellSlow: false,
      ...options,
    });
  }

  credit(sub: number, bytes: number): void {
    this.shipper.receive({ kind: 'credit', sub, bytes });
  }

  /** Parts of one subscription so far. */
  parts(sub: number): Part[] {
    return this.posted.flatMap(handed).flatMap((part) => (part.sub === sub ? [decode(part)] : []));
  }

  revisions(sub: number): number[] {
    return this.parts(sub).flatMap((part) => (part.part === 'records' ? part.revisions : []));
  }

  /** What sub was told of being behind: where it is, and where the node. */
  told(sub: number): number[][] {
    return this.parts(sub).flatMap((part) => (part.part === 'behind' ? [part.revisions] : []));
  }

  /** Bytes that a reader was handed and has not taken. */
  held(reader: number): number {
    let bytes = -(this.#taken.get(reader) ?? 0);
    for (const part of this.posted.flatMap(handed)) if (part.reader === reader) bytes += part.frame.length;
    return bytes;
  }

  /** A reader takes up to so many bytes of what it was handed. */
  take(reader: number, bytesMax: number): void {
    const bytes = Math.min(bytesMax, this.held(reader));
    if (bytes === 0) return;
    this.#taken.set(reader, (this.#taken.get(reader) ?? 0) + bytes);
    this.shipper.receive({ kind: 'taken', taken: [[reader, bytes]] });
  }

  readonly #taken = new Map<number, number>();

  end(sub: number): (FromShipper & { kind: 'end' })['error'] | undefined {
    for (const message of this.posted) if (message.kind === 'end' && message.sub === sub) return message.error;
    return undefined;
  }
}

/** Who gets which frame. */
export function handed(message: FromShipper): Handed[] {
  if (message.kind !== 'parts') return [];
  const { frames, to } = message;
  const parts: Handed[] = [];
  for (let at = 0; at < to.length; at += 3) {
    const [sub, reader, place] = to.slice(at, at + 3) as [number, number, number];
    parts.push({ sub, reader, frame: frames[place] as Uint8Array });
  }
  return parts;
}

export interface Handed {
  readonly sub: number;
  readonly reader: number;
  readonly frame: Uint8Array;
}

function decode(message: Handed): Part {
  const reader = new ByteReader(message.frame);
  expect(reader.u8()).toBe(FRAME.stream);
  expect(reader.varint()).toBe(message.sub);
  let kind = reader.u8();
  if (kind === PART.checked) {
    reader.u32();
    kind = reader.u8();
  }
  const part = { sub: message.sub, bytes: message.frame.length, revisions: [] as number[], keys: [] as string[] };
  if (kind === PART.progress) return { ...part, part: 'progress', revisions: [reader.u64()] };
  if (kind === PART.hash) return { ...part, part: 'hash', revisions: [reader.u64(), reader.u32()] };
  if (kind === PART.hello) return { ...part, part: 'hello', keys: [reader.string(), reader.string()] };
  if (kind === PART.behind) return { ...part, part: 'behind', revisions: [reader.u64(), reader.u64()] };
  if (kind === PART.snapshotBegin) return { ...part, part: 'begin', revisions: [reader.u64()] };
  if (kind === PART.snapshotEnd) return { ...part, part: 'end', revisions: [reader.u64()] };
  if (kind === PART.snapshotEntries) {
    while (reader.left > 0) {
      const entry = decodeEntry(reader);
      part.keys.push(Buffer.from(entry.key).toString());
      part.revisions.push(entry.revision);
    }
    return { ...part, part: 'entries' };
  }
  expect(kind).toBe(PART.records);
  for (const { revision, changes } of decodeRecords(reader.raw(reader.left))) {
    part.revisions.push(revision);
    part.keys.push(...changes.map((change) => Buffer.from(change.key).toString()));
  }
  return { ...part, part: 'records' };
}

export const upTo = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, i) => from + i);
