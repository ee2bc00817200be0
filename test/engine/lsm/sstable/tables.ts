/**
 * Tables for tests: entries by chance, tables of them on a memory disk, and a plain sorted array to compare with.
 */
import { expect } from 'vitest';
import type { DiskFile, Random } from '../../../../src/core/base/env.ts';
import { MemoryDisk } from '../../../../src/engine/disk/memory-disk.ts';
import { TableBuilder, type TableInfo, type TableOptions } from '../../../../src/engine/lsm/sstable/builder.ts';
import type { TableCursor } from '../../../../src/engine/lsm/sstable/cursor.ts';
import { compareInternal, makeInternalKey, revisionOf, typeOf } from '../../../../src/engine/lsm/sstable/keys.ts';
import { type BlockCacheLike, Table, TableResult } from '../../../../src/engine/lsm/sstable/table.ts';
import { below, pick, randomBytes } from '../../../core/base/seeded.ts';

export const PATH = '/000007.ldb';

export const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
export const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'latin1'));

export interface Entry {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

/** An entry of user key, revision and value; without a value, a tombstone. */
export function entry(userKey: string | Uint8Array, revision: number, value?: string | Uint8Array): Entry {
  const key = typeof userKey === 'string' ? bytes(userKey) : userKey;
  const stored = typeof value === 'string' ? bytes(value) : value;
  return { key: makeInternalKey(key, revision, stored === undefined ? 0 : 1), value: stored ?? new Uint8Array(0) };
}

export const byKey = (a: Entry, b: Entry): number => compareInternal(a.key, a.key.length, b.key, b.key.length);

export const show = ({ key, value }: Entry): string =>
  `${hex(key.subarray(0, -8))}@${revisionOf(key, key.length)}:${typeOf(key, key.length)}=${hex(value)}`;

/** A cache that holds nothing. */
export const NO_CACHE: BlockCacheLike = { get: () => undefined, put: () => {} };

/** A cache that holds everything, in copies, and counts. */
export class MapCache implements BlockCacheLike {
  readonly blocks: Map<string, Uint8Array> = new Map();
  hits: number = 0;
  misses: number = 0;

  get(number: number, offset: number): Uint8Array | undefined {
    const block = this.blocks.get(`${number}/${offset}`);
    if (block === undefined) this.misses++;
    else this.hits++;
    return block?.slice();
  }

  put(number: number, offset: number, block: Uint8Array): void {
    this.blocks.set(`${number}/${offset}`, block.slice());
  }
}

export const SMALL: TableOptions = { blockBytes: 200, restartInterval: 4, bloomBitsPerKey: 10, compression: 'snappy' };

export interface Built {
  readonly disk: MemoryDisk;
  readonly info: TableInfo;
  readonly bytes: Uint8Array;
}

export function build(entries: readonly Entry[], options: TableOptions = SMALL): Built {
  const disk = new MemoryDisk();
  const file = disk.open(PATH, 'create');
  const builder = new TableBuilder(file, options);
  for (const { key, value } of entries) builder.add(key, value);
  const info = builder.finish();
  file.close();
  return { disk, info, bytes: readAll(disk) };
}

export function readAll(disk: MemoryDisk): Uint8Array {
  const file = disk.open(PATH, 'read');
  const all = new Uint8Array(file.size());
  file.read(all, 0, all.length, 0);
  file.close();
  return all;
}

/** A disk with these bytes as its table. */
export function diskOf(content: Uint8Array): MemoryDisk {
  const disk = new MemoryDisk();
  const file = disk.open(PATH, 'create');
  file.write(content, 0);
  file.close();
  return disk;
}

export function openOn(disk: MemoryDisk, cache: BlockCacheLike = NO_CACHE): Table {
  const file: DiskFile = disk.open(PATH, 'read');
  return Table.open(file, { number: 7, fileBytes: file.size(), path: PATH }, cache);
}

export function openBytes(content: Uint8Array, cache: BlockCacheLike = NO_CACHE): Table {
  return openOn(diskOf(content), cache);
}

export const here = (cursor: TableCursor): Entry => ({
  key: cursor.key.slice(0, cursor.keyLength),
  value: cursor.value.slice(),
});

export function forwards(cursor: TableCursor): Entry[] {
  const entries: Entry[] = [];
  for (cursor.first(); cursor.valid; cursor.next()) entries.push(here(cursor));
  return entries;
}

export function backwards(cursor: TableCursor): Entry[] {
  const entries: Entry[] = [];
  for (cursor.last(); cursor.valid; cursor.prev()) entries.push(here(cursor));
  return entries;
}

/** What a point read gives, as `show` tells it; undefined when there is none. */
export function got(table: Table, userKey: Uint8Array, revision: number): string | undefined {
  const result = new TableResult();
  const found = table.get(userKey, revision, result);
  if (result.found !== found) expect.fail('a result says what the read says');
  if (!found) return undefined;
  const value = result.block.slice(result.valueStart, result.valueEnd);
  return show({ key: makeInternalKey(userKey, result.revision, result.type), value });
}

/** The same from the sorted entries. */
export function expected(entries: readonly Entry[], userKey: Uint8Array, revision: number): string | undefined {
  const match = entries.find(
    ({ key }) => hex(key.subarray(0, -8)) === hex(userKey) && revisionOf(key, key.length) <= revision,
  );
  return match && show(match);
}

const KEY_SHAPES: readonly ((random: Random) => Uint8Array)[] = [
  (random) => randomBytes(random, below(random, 4)).map((byte) => byte & 1),
  (random) => randomBytes(random, below(random, 7)).map((byte) => (byte & 1 ? 0xff : 0)),
  (random) => bytes(`user/${below(random, 3)}/key-${String(below(random, 1000)).padStart(6, '0')}`),
  (random) =>
    new Uint8Array(pick(random, [120, 127, 128, 129, 300, 1024]) + below(random, 3)).fill(
      pick(random, [0, 0x61, 0xff]),
    ),
  (random) => randomBytes(random, 1 + below(random, 12)),
];

export const REVISION_BASES: readonly number[] = [1, 2 ** 24 - 20, 2 ** 32 - 20, 2 ** 45, 2 ** 53 - 2000];

/** Up to `count` entries, sorted, no two alike; some keys have several versions. */
export function someEntries(random: Random, count: number): Entry[] {
  const shapes = KEY_SHAPES.filter(() => random() < 0.5);
  const base = pick(random, REVISION_BASES);
  const valueMax = pick(random, [0, 10, 200, 3000]);
  const byHex = new Map<string, Entry>();
  while (byHex.size < count) {
    const userKey = pick(random, shapes.length > 0 ? shapes : KEY_SHAPES)(random);
    const versions = random() < 0.1 ? 1 + below(random, 30) : 1;
    for (let i = 0; i < versions && byHex.size < count; i++) {
      const value = random() < 0.2 ? undefined : someValue(random, below(random, valueMax + 1));
      const made = entry(userKey, base + below(random, 1000), value);
      byHex.set(hex(made.key), made);
    }
    if (random() < 0.01) break;
  }
  return [...byHex.values()].sort(byKey);
}

/** Some compress well, some do not. */
function someValue(random: Random, length: number): Uint8Array {
  return random() < 0.5 ? randomBytes(random, length) : new Uint8Array(length).fill(below(random, 256));
}

export function someOptions(random: Random): TableOptions {
  return {
    blockBytes: pick(random, [1, 64, 500, 4096]),
    restartInterval: pick(random, [1, 2, 3, 16, 100]),
    bloomBitsPerKey: pick(random, [0, 1, 10, 60]),
    compression: pick(random, ['snappy', 'none']),
  };
}
