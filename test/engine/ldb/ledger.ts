/**
 * Ledger for tests: records by hand, and an endless deterministic stream with its model.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ByteWriter, EMPTY, utf8 } from '../../../src/core/base/bytes.ts';
import { type Revision, toIndex } from '../../../src/core/base/position.ts';
import { type Change, encodeRecord } from '../../../src/core/model/ledger.ts';
import type { LdbReader } from '../../../src/engine/ldb/reader.ts';
import type { SnapshotRow } from '../../../src/engine/ldb/writer.ts';

export const CLUSTER = 'test-cluster';

export function temporaryDir(): { readonly path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), 'ctlmesh.ldb-'));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

export const put = (key: Uint8Array | string, value: Uint8Array | string, expiryMs = 0): Change => ({
  kind: 'put',
  key: typeof key === 'string' ? utf8(key) : key,
  value: typeof value === 'string' ? utf8(value) : value,
  expiryMs,
});

export const del = (key: Uint8Array | string): Change => ({
  kind: 'delete',
  key: typeof key === 'string' ? utf8(key) : key,
  value: EMPTY,
  expiryMs: 0,
});

/** Log time of a revision in tests. */
export const timeOf = (revision: number): number => 1_000_000 + revision * 10;

/** Records from `from` on, one per list of changes. */
export function records(from: number, ...changes: readonly (readonly Change[])[]): Uint8Array {
  const writer = new ByteWriter();
  changes.forEach((of, i) => {
    encodeRecord(writer, { revision: toIndex(from + i), timeMs: timeOf(from + i), changes: of });
  });
  return writer.take();
}

// ---- A stream that everyone can compute

const STREAM_KEYS = 50;

function scramble(value: number): number {
  let x = (value ^ 0x9e3779b9) >>> 0;
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return (x ^ (x >>> 16)) >>> 0;
}

/** What revision `revision` changes: 0 to 3 keys, put or deleted. */
export function streamChanges(revision: number): Change[] {
  const seed = scramble(revision);
  const changes = new Map<string, Change>();
  for (let i = 0; i < seed % 4; i++) {
    const pick = scramble(seed + i);
    const key = `key-${pick % STREAM_KEYS}`;
    const value = `${revision}:${'x'.repeat((pick >>> 8) % 300)}`;
    changes.set(key, pick % 5 === 0 ? del(key) : put(key, value));
  }
  return [...changes.values()];
}

export function streamRecords(from: number, count: number): Uint8Array {
  return records(from, ...Array.from({ length: count }, (_, i) => streamChanges(from + i)));
}

/** Each revision one more row of 1 KiB. */
export function fillRecords(from: number, count: number): Uint8Array {
  const key = (i: number): string => String(from + i).padStart(8, '0');
  return records(from, ...Array.from({ length: count }, (_, i) => [put(key(i), key(i).repeat(128))]));
}

/** The stream's state at growing revisions. */
export class StreamModel {
  readonly rows: Map<string, { value: string; revision: number }> = new Map();
  revision = 0;

  advanceTo(revision: number): this {
    while (this.revision < revision) {
      this.revision++;
      for (const change of streamChanges(this.revision)) {
        const key = Buffer.from(change.key).toString();
        if (change.kind === 'delete') this.rows.delete(key);
        else this.rows.set(key, { value: Buffer.from(change.value).toString(), revision: this.revision });
      }
    }
    return this;
  }

  snapshotRows(): SnapshotRow[] {
    return [...this.rows].map(([key, { value, revision }]) => ({
      key: utf8(key),
      value: utf8(value),
      revision: toIndex(revision),
      expiryMs: 0,
    }));
  }

  /** As `dump` gives it. */
  dump(): Record<string, string> {
    return Object.fromEntries([...this.rows].map(([key, { value, revision }]) => [key, `${revision}=${value}`]));
  }
}

/** Of a snapshot that never ends, in key order. */
export const arrivingRow = (n: number): SnapshotRow => ({
  key: utf8(String(n).padStart(8, '0')),
  value: utf8(`${n}:`.padEnd(200, 'x')),
  revision: toIndex(1 + (n % 7)),
  expiryMs: 0,
});

export function dump(ldb: LdbReader): Record<string, string> {
  return Object.fromEntries([...ldb.range()].map((entry) => [entry.keyText(), `${entry.revision}=${entry.text()}`]));
}

export const revisionOf = (value: number): Revision => toIndex(value);

/** Until timers have run, so that readers see the newest commit. */
export const nextTurn = (): Promise<void> => new Promise((done) => setTimeout(done, 5));
