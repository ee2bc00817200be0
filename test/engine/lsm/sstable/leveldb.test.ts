/**
 * Both ways with LevelDB itself, by classic-level: its tables are read by ours, and ours by it.
 */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ClassicLevel } from 'classic-level';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { TABLE_DEFAULTS, type TableOptions } from '../../../../src/engine/lsm/sstable/builder.ts';
import { decodeFooter, type Footer, FOOTER_BYTES } from '../../../../src/engine/lsm/sstable/format.ts';
import { revisionOf } from '../../../../src/engine/lsm/sstable/keys.ts';
import { verifyTable } from '../../../../src/engine/lsm/sstable/verify.ts';
import { below, pick, randomBytes, seeded } from '../../../core/base/seeded.ts';
import {
  build,
  byKey,
  bytes,
  diskOf,
  type Entry,
  forwards,
  got,
  hex,
  openBytes,
  PATH,
  show,
  someEntries,
} from './tables.ts';

type Level = ClassicLevel<Uint8Array, Uint8Array>;

let base = '';
beforeAll(() => {
  base = mkdtempSync(join(tmpdir(), 'ctlmesh-sstable-'));
});
afterAll(() => rmSync(base, { recursive: true }));

async function openLevel(name: string, options: object = {}): Promise<Level> {
  const level: Level = new ClassicLevel(join(base, name), { keyEncoding: 'view', valueEncoding: 'view', ...options });
  await level.open();
  return level;
}

/** The tables of a LevelDB directory. */
function tablesIn(name: string): Uint8Array[] {
  const dir = join(base, name);
  return readdirSync(dir)
    .filter((file) => file.endsWith('.ldb'))
    .map((file) => new Uint8Array(readFileSync(join(dir, file))));
}

/** The newest version of each user key that is no tombstone, in order. */
function live(entries: readonly Entry[]): Entry[] {
  const newest = new Map<string, Entry>();
  for (const each of entries.toSorted(byKey).toReversed()) newest.set(hex(each.key.subarray(0, -8)), each);
  return [...newest.values()].filter(({ key }) => key[key.length - 8] === 1).sort(byKey);
}

const plain = ({ key, value }: Entry): string => `${hex(key.subarray(0, -8))}=${hex(value)}`;

/** Writes by chance into a LevelDB, closes it and gives what it should hold. */
async function fill(level: Level, seed: number): Promise<string[]> {
  const random = seeded(seed);
  const model = new Map<string, Uint8Array>();
  const keyOf = (): Uint8Array =>
    random() < 0.8 ? bytes(`key/${below(random, 2000)}`) : randomBytes(random, below(random, 300));
  for (let round = 0; round < 8; round++) {
    const batch = level.batch();
    for (let i = 0; i < 500; i++) {
      const key = keyOf();
      if (random() < 0.2) {
        batch.del(key);
        model.delete(hex(key));
        continue;
      }
      const value = randomBytes(random, below(random, pick(random, [5, 400])));
      batch.put(key, random() < 0.5 ? value.fill(7) : value);
      model.set(hex(key), value);
    }
    await batch.write();
  }
  await level.compactRange(bytes(''), bytes('\xff'.repeat(20)));
  await level.close();
  return [...model].map(([key, value]) => `${key}=${hex(value)}`).sort();
}

test.each([
  { name: 'plain' },
  { name: 'raw', compression: false },
  { name: 'tiny-blocks', blockSize: 1024, blockRestartInterval: 1 },
  { name: 'large-blocks', blockSize: 65536, blockRestartInterval: 100, compression: false },
])("LevelDB's tables ($name) read whole, and key by key", async ({ name, ...options }) => {
  const held = await fill(await openLevel(name, options), 1 + name.length);
  const tables = tablesIn(name);
  const entries = tables.flatMap((content) => forwards(openBytes(content).cursor()));
  expect(live(entries).map(plain).sort()).toEqual(held);
  for (const content of tables) {
    const table = openBytes(content);
    expect(table.readProperties()).toBeUndefined();
    const file = diskOf(content).open(PATH, 'read');
    const own = forwards(table.cursor());
    expect(verifyTable(file, { number: 7, fileBytes: content.length, path: PATH }).entries).toBe(own.length);
    for (const each of own) {
      expect(got(table, each.key.slice(0, -8), revisionOf(each.key, each.key.length))).toBe(show(each));
    }
  }
});

test('a table of the same entries has the same data, filter and index, byte for byte', async () => {
  // Uncompressed, as two Snappy compressors may both be right.
  await fill(await openLevel('exact', { compression: false }), 99);
  let compared = 0;
  for (const content of tablesIn('exact')) {
    const ours = build(forwards(openBytes(content).cursor()), { ...TABLE_DEFAULTS, compression: 'none' }).bytes;
    const [theirFooter, ourFooter] = [content, ours].map((table) =>
      decodeFooter(table.slice(-FOOTER_BYTES), '/t', table.length),
    ) as [Footer, Footer];
    // Data and filter stand before the metaindex; ours has the properties between.
    const { offset } = theirFooter.metaindex;
    compared += offset;
    expect(Buffer.compare(ours.subarray(0, offset), content.subarray(0, offset))).toBe(0);
    const indexOf = (table: Uint8Array, { index }: Footer): string =>
      hex(table.subarray(index.offset, index.offset + index.size));
    expect(indexOf(ours, ourFooter)).toBe(indexOf(content, theirFooter));
  }
  expect(compared).toBeGreaterThan(100_000);
});

test.each([
  { blockBytes: 4096, restartInterval: 16, bloomBitsPerKey: 10, compression: 'snappy' },
  { blockBytes: 4096, restartInterval: 16, bloomBitsPerKey: 10, compression: 'none' },
  { blockBytes: 1, restartInterval: 1, bloomBitsPerKey: 30, compression: 'snappy' },
  { blockBytes: 100_000, restartInterval: 7, bloomBitsPerKey: 0, compression: 'snappy' },
] as const satisfies readonly TableOptions[])('our tables read in LevelDB: %j', async (options) => {
  const name = `ours-${JSON.stringify(options).replaceAll(/\W/g, '')}`;
  // LevelDB's own sequence numbers go on from ours, and have 56 bits.
  const entries = someEntries(seeded(options.blockBytes), 1500);
  mkdirSync(join(base, name));
  writeFileSync(join(base, name, '000005.ldb'), build(entries, options).bytes);
  // Makes a manifest around the table, which stays as it is.
  await ClassicLevel.repair(join(base, name));
  expect(tablesIn(name).map(hex)).toEqual([hex(build(entries, options).bytes)]);

  const level = await openLevel(name);
  const expectedLive = live(entries);
  const all = await level.iterator().all();
  expect(all.map(([key, value]) => `${hex(key)}=${hex(value)}`)).toEqual(expectedLive.map(plain));
  // Point reads go through our filter.
  const values = await level.getMany(expectedLive.map(({ key }) => key.slice(0, -8)));
  expect(values.map((value) => value && hex(value))).toEqual(expectedLive.map(({ value }) => hex(value)));
  await level.close();
});
