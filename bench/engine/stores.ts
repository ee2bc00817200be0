/**
 * The stores that the engine is measured beside, behind one small face: ours, LevelDB (classic-level) and LMDB.
 *
 * Each with its own defaults but for what makes them comparable: bytes in and out, snappy where there is compression,
 * a cache that holds the data, and no sync on a write unless it is asked for.
 */
import { join } from 'node:path';
import { ClassicLevel } from 'classic-level';
import { open } from 'lmdb';
import { type Engine, openEngine } from '../../src/engine/store/index.ts';
import type { System } from '../support/scenario.ts';

export interface Put {
  readonly key: Buffer;
  readonly value: Buffer;
}

export interface BenchStore {
  readonly system: System;
  /** Written together; not synced. */
  writeBatch(puts: readonly Put[]): Promise<unknown>;
  /** One put, on disk when it resolves. */
  putSynced(key: Buffer, value: Buffer): Promise<unknown>;
  put(key: Buffer, value: Buffer): Promise<unknown>;
  getSync(key: Buffer): Uint8Array | undefined;
  /** Entries from `from` on, in order, at most `limit`; the bytes of keys and values read. */
  scan(from: Buffer | undefined, limit: number): Promise<number>;
  /** Until the background has nothing to do. */
  settle(): Promise<void>;
  /** Facts for the table. */
  facts(): Record<string, number | string>;
  close(): Promise<void>;
}

export type StoreName = 'ctlmesh' | 'classic-level' | 'lmdb';

const MIB = 1024 * 1024;
export const CACHE_BYTES: number = 512 * MIB;
const SCAN_CHUNK = 1_000;

export function openStore(name: StoreName, dir: string): Promise<BenchStore> {
  const path = join(dir, name);
  if (name === 'ctlmesh') return openOurs(path);
  return name === 'classic-level' ? openLevel(path) : openLmdb(path);
}

async function openOurs(path: string): Promise<BenchStore> {
  const engine: Engine = await openEngine(path, { cacheBytes: CACHE_BYTES });
  return {
    system: 'ctlmesh',
    writeBatch: (puts) => {
      const batch = engine.batch();
      for (const { key, value } of puts) batch.put(key, value);
      return engine.write(batch, { sync: false });
    },
    putSynced: (key, value) => engine.put(key, value),
    put: (key, value) => engine.put(key, value, { sync: false }),
    getSync: (key) => engine.getSync(key),
    scan: (from, limit) => {
      const cursor = engine.cursor({ from });
      let bytes = 0;
      try {
        for (let i = 0; i < limit; i++) {
          const entry = cursor.next();
          if (entry === undefined) break;
          bytes += entry.key.length + entry.value.length;
        }
      } finally {
        cursor.close();
      }
      return Promise.resolve(bytes);
    },
    settle: async () => {
      await engine.flush();
      await engine.settled();
    },
    facts: () => {
      const { stall, tree } = engine.stats();
      const waitedMs = Object.values(stall.micros).reduce((sum, micros) => sum + micros, 0) / 1000;
      return {
        stalledMs: Math.round(waitedMs),
        longestStallMs: Math.round(stall.longestMicros / 1000),
        flushedMB: megabytes(tree['flushedBytes']),
        compactedMB: megabytes(tree['compactedBytes']),
      };
    },
    close: () => engine.close(),
  };
}

const megabytes = (bytes: unknown): number => Math.round(Number(bytes) / 1e6);

async function openLevel(path: string): Promise<BenchStore> {
  const level = new ClassicLevel<Buffer, Buffer>(path, {
    keyEncoding: 'buffer',
    valueEncoding: 'buffer',
    cacheSize: CACHE_BYTES,
  });
  await level.open();
  return {
    system: 'classic-level',
    writeBatch: (puts) => level.batch(puts.map(({ key, value }) => ({ type: 'put', key, value }))),
    putSynced: (key, value) => level.put(key, value, { sync: true }),
    put: (key, value) => level.put(key, value),
    getSync: (key) => level.getSync(key),
    scan: async (from, limit) => {
      const iterator = level.iterator({ ...(from === undefined ? {} : { gte: from }), limit });
      let bytes = 0;
      try {
        for (;;) {
          const entries = await iterator.nextv(SCAN_CHUNK);
          if (entries.length === 0) return bytes;
          for (const [key, value] of entries) bytes += key.length + value.length;
        }
      } finally {
        await iterator.close();
      }
    },
    settle: () => level.compactRange(Buffer.alloc(0), Buffer.alloc(32, 0xff)),
    facts: () => ({}),
    close: () => level.close(),
  };
}

async function openLmdb(path: string): Promise<BenchStore> {
  const db = open<Buffer, Buffer>({ path, encoding: 'binary', keyEncoding: 'binary', noSubdir: false });
  await db.flushed;
  return {
    system: 'lmdb',
    writeBatch: (puts) =>
      db.transaction(() => {
        for (const { key, value } of puts) void db.put(key, value);
      }),
    putSynced: async (key, value) => {
      await db.put(key, value);
      await db.flushed;
    },
    put: (key, value) => db.put(key, value),
    getSync: (key) => db.getBinary(key),
    scan: (from, limit) => {
      let bytes = 0;
      const range = db.getRange({ ...(from === undefined ? {} : { start: from }), limit });
      for (const { key, value } of range) bytes += key.length + value.length;
      return Promise.resolve(bytes);
    },
    settle: async () => {
      await db.flushed;
    },
    facts: () => ({}),
    close: () => db.close(),
  };
}
