/**
 * A WAL under test: a committer and a syncer in one thread, on a memory disk, beside a plain list of what was
 * handed to them. What recovery finds is compared with that list.
 */
import { expect } from 'vitest';
import { ByteWriter } from '../../../src/core/base/bytes.ts';
import type { Disk, DiskFile } from '../../../src/core/base/env.ts';
import { isStoreError, type StoreError } from '../../../src/core/base/errors.ts';
import { type Index, type Lsn, type Term, toIndex, toTerm } from '../../../src/core/base/position.ts';
import type { Entry, HardState } from '../../../src/core/raft/types.ts';
import { Committer } from '../../../src/engine/wal/committer.ts';
import { segmentName } from '../../../src/engine/wal/format.ts';
import { decodeRecord, encodePersist, type WalRecord } from '../../../src/engine/wal/payload.ts';
import { listSegments } from '../../../src/engine/wal/read-log.ts';
import { type Recovered, recoverWal } from '../../../src/engine/wal/recovery.ts';
import { SegmentScanner } from '../../../src/engine/wal/scanner.ts';
import { Spares } from '../../../src/engine/wal/spares.ts';
import { Syncer } from '../../../src/engine/wal/syncer.ts';
import { below, randomBytes } from '../../core/base/seeded.ts';

export const DIR = '/wal';

/** What one persist says. */
export interface Said {
  readonly hardState: HardState;
  readonly revertFrom: Index | undefined;
  readonly entries: readonly Entry[];
}

export function encode(said: Said): Uint8Array {
  const writer = new ByteWriter();
  encodePersist(writer, { seq: 0, ...said });
  return writer.take();
}

/** The log that a list of persists amounts to. */
export class LogModel {
  hardState: HardState = { term: toTerm(0), vote: '', commit: toIndex(0) };
  entries: Entry[] = [];

  fold(said: Said): void {
    this.hardState = said.hardState;
    if (said.revertFrom !== undefined) this.entries.length = said.revertFrom - 1;
    this.entries.push(...said.entries);
  }

  get lastIndex(): Index {
    return toIndex(this.entries.length);
  }

  termOf(index: Index): Term | undefined {
    return index === 0 ? toTerm(0) : this.entries[index - 1]?.term;
  }

  get runs(): { first: number; term: number }[] {
    const runs: { first: number; term: number }[] = [];
    for (const entry of this.entries) {
      if (runs.at(-1)?.term !== entry.term) runs.push({ first: entry.index, term: entry.term });
    }
    return runs;
  }

  /** A persist that may follow: entries, at times a revert, a vote. Terms only grow with a revert. */
  next(random: () => number, dataBytes: () => number): Said {
    const { commit } = this.hardState;
    const reverts = this.lastIndex > commit && random() < 0.15;
    const isNewTerm = reverts || random() < 0.1 || this.hardState.term === 0;
    const term = toTerm(this.hardState.term + (isNewTerm ? 1 + below(random, 2) : 0));
    const revertFrom = reverts ? toIndex(commit + 1 + below(random, this.lastIndex - commit)) : undefined;
    const before = revertFrom === undefined ? this.lastIndex : revertFrom - 1;
    const count = revertFrom === undefined && random() < 0.1 ? 0 : 1 + below(random, 5);
    const entries = Array.from({ length: count }, (_, i) => ({
      index: toIndex(before + 1 + i),
      term,
      data: randomBytes(random, dataBytes()),
    }));
    const last = before + count;
    const moved = random() < 0.3 ? toIndex(commit + below(random, Math.max(1, last - commit + 1))) : commit;
    return { hardState: { term, vote: random() < 0.5 ? 'n1' : '', commit: moved }, revertFrom, entries };
  }
}

let salts = 0;

export interface WalOptions {
  readonly segmentBytes?: number;
  readonly spares?: number;
  readonly zeroAheadBytes?: number;
  /** Runs when a sync has read what is logged and has not begun: what a committer may do meanwhile. */
  readonly duringSync?: (wal: Wal) => void;
}

export class Wal {
  readonly disk: Disk;
  readonly recovered: Recovered;
  readonly committer: Committer;
  readonly syncer: Syncer;
  readonly spares: Spares;
  file: DiskFile | undefined;

  /** Opens what is there. */
  constructor(disk: Disk, options: WalOptions = {}) {
    this.disk = disk;
    this.recovered = recoverWal(disk, DIR);
    const segmentBytes = options.segmentBytes ?? 64 * 1024 * 1024;
    const { zeroAheadBytes = 1024 * 1024 } = options;
    this.spares = new Spares({ disk, dir: DIR, segmentBytes, zeroAheadBytes, max: options.spares ?? 0 });
    this.committer = new Committer(
      {
        disk,
        dir: DIR,
        segmentBytes,
        zeroAheadBytes,
        // Any numbers that differ.
        salt: () => Math.imul(++salts, 0x9e3779b1),
        spares: this.spares,
        synced: () => this.syncer.synced,
        onSegment: (file) => {
          this.file = file;
        },
      },
      this.recovered,
    );
    this.syncer = new Syncer(
      {
        logged: () => {
          const { logged } = this.committer;
          options.duringSync?.(this);
          return logged;
        },
        fdatasync: () => this.file!.fdatasync(),
      },
      this.recovered.lastLsn,
    );
  }

  /** One record, one group. */
  write(said: Said): Lsn {
    const lsn = this.committer.append(encode(said));
    this.committer.commitGroup();
    return lsn;
  }

  /** Synced, and known to be: chunks written from here on prove it. */
  sync(): void {
    this.syncer.sync();
    this.committer.turn();
  }
}

/** One entry of `bytes` bytes at `index`. */
export const entryAt = (index: number, bytes = 20, term = 1): Said => ({
  hardState: { term: toTerm(term), vote: '', commit: toIndex(0) },
  revertFrom: undefined,
  entries: [{ index: toIndex(index), term: toTerm(term), data: new Uint8Array(bytes).fill(index) }],
});

export const pathOf = (segment: number): string => `${DIR}/${segmentName(segment)}`;

export interface FoundRecord {
  readonly record: WalRecord;
  readonly segment: number;
  readonly start: number;
  readonly end: number;
  readonly syncedOffset: number;
}

/** Every record that can be read, in order, as recovery would see them; copies. */
export function readRecords(disk: Disk): FoundRecord[] {
  const found: FoundRecord[] = [];
  for (const segment of listSegments(disk, DIR)) {
    const file = disk.open(pathOf(segment), 'read');
    const scanner = new SegmentScanner(file, segment);
    for (let next = scanner.next(); next !== undefined; next = scanner.next()) {
      const { start, end, syncedOffset } = next;
      found.push({ record: decodeRecord(next.payload.slice()), segment, start, end, syncedOffset });
    }
    file.close();
  }
  return found;
}

export function readBytes(disk: Disk, path: string): Uint8Array {
  const file = disk.open(path, 'read');
  const bytes = new Uint8Array(file.size());
  file.read(bytes, 0, bytes.length, 0);
  file.close();
  return bytes;
}

/** Puts a file there, durably, in place of an older one. */
export function putFile(disk: Disk, path: string, bytes: Uint8Array): void {
  disk.mkdir(DIR);
  if (disk.exists(path)) disk.remove(path);
  const file = disk.open(path, 'create');
  file.write(bytes, 0);
  file.fdatasync();
  file.close();
  disk.syncDir(DIR);
}

/** Recovers; the error when it refuses as WAL_CORRUPT. */
export function tryRecover(disk: Disk): { recovered: Recovered } | { refused: StoreError } {
  try {
    return { recovered: recoverWal(disk, DIR) };
  } catch (error) {
    if (isStoreError(error, 'WAL_CORRUPT')) return { refused: error };
    throw error;
  }
}

/** It must refuse, naming this file and offset, and leave every byte as it was. */
export function expectRefusal(disk: Disk, path: string, offset: number): void {
  const before = disk.list(DIR).map((name) => readBytes(disk, `${DIR}/${name}`));
  const outcome = tryRecover(disk);
  if (!('refused' in outcome)) {
    expect.fail(`damage in ${path} at ${offset} went unnoticed: recovered up to LSN ${outcome.recovered.lastLsn}`);
  }
  const { refused } = outcome;
  expect(refused.data).toEqual({ file: path, offset });
  expect(refused.message).toContain(path);
  expect(refused.message).toContain(`offset ${offset}`);
  expect(disk.list(DIR).map((name) => readBytes(disk, `${DIR}/${name}`))).toEqual(before);
}
