import { expect, test } from 'vitest';
import { BlockBuilder } from '../../../../src/engine/lsm/sstable/block-builder.ts';
import { BlockCursor } from '../../../../src/engine/lsm/sstable/block-cursor.ts';
import { compareInternal } from '../../../../src/engine/lsm/sstable/keys.ts';
import { below, forSeeds, pick, randomBytes } from '../../../core/base/seeded.ts';
import { bytes, type Entry, entry, hex, show, someEntries } from './tables.ts';

function blockOf(entries: readonly Entry[], restartInterval: number): Uint8Array {
  const builder = new BlockBuilder(restartInterval);
  for (const { key, value } of entries) builder.add(key, key.length, value, 0, value.length);
  const expectedBytes = builder.finishedBytes;
  const block = builder.finish().slice();
  expect(block.length).toBe(expectedBytes);
  return block;
}

const cursorOf = (block: Uint8Array): BlockCursor => {
  const cursor = new BlockCursor();
  cursor.reset(block, '/t', 77);
  return cursor;
};

const here = (cursor: BlockCursor): string =>
  show({
    key: cursor.key.slice(0, cursor.keyLength),
    value: cursor.block.slice(cursor.valueStart, cursor.valueEnd),
  });

test('the bytes of a block are the documented ones', () => {
  const entries = [entry('abc', 2, 'x'), entry('abd', 1, 'yz'), entry('b', 1)];
  // A tombstone of revision 1 ends in 00 01 00..., a put in 01 01 00...
  expect(hex(blockOf(entries, 2))).toBe(
    [
      '000b01 616263 0102000000000000 78',
      '020902 64 0101000000000000 797a',
      '000900 62 0001000000000000',
      '00000000 1d000000 02000000',
    ]
      .join('')
      .replaceAll(' ', ''),
  );
});

test('a builder and a cursor serve block after block', () => {
  forSeeds(100, (random) => {
    const builder = new BlockBuilder(pick(random, [1, 2, 3, 16]));
    const cursor = new BlockCursor();
    for (let round = 0; round < 3; round++) {
      const entries = someEntries(random, 1 + below(random, 60));
      builder.reset();
      expect(builder.isEmpty).toBe(true);
      for (const { key, value } of entries) {
        // From the middle of other buffers, as a merge has them.
        const longKey = Uint8Array.from([...key, 1, 2, 3]);
        const longValue = Uint8Array.from([9, ...value, 9]);
        builder.add(longKey, key.length, longValue, 1, value.length + 1);
      }
      cursor.reset(builder.finish().slice(), '/t', 0);
      cursor.check();
      const shown = entries.map(show);
      const seen: string[] = [];
      for (cursor.first(); cursor.valid; cursor.next()) seen.push(here(cursor));
      expect(seen).toEqual(shown);
      for (cursor.last(); cursor.valid; cursor.prev()) expect(here(cursor)).toBe(seen.pop());
      expect(seen).toEqual([]);
      for (let i = 0; i < 20; i++) {
        const { key } = random() < 0.5 ? pick(random, entries) : entry(randomBytes(random, below(random, 6)), 5);
        cursor.seek(key, key.length);
        const at = entries.findIndex((other) => compareInternal(other.key, other.key.length, key, key.length) >= 0);
        expect(cursor.valid ? here(cursor) : undefined).toBe(at < 0 ? undefined : shown[at]);
      }
    }
  });
});

test('restarts are as far apart as they are told to be', () => {
  const entries = Array.from({ length: 10 }, (_, i) => entry(`key${i}`, 1, ''));
  for (const interval of [1, 3, 10, 11]) {
    const block = blockOf(entries, interval);
    expect(new DataView(block.buffer).getUint32(block.length - 4, true)).toBe(Math.ceil(10 / interval));
  }
});

// LevelDB's table_test.cc: EmptyBlock, ZeroRestartPointsInBlock.
test.each([
  ['without entries', blockOf([], 16)],
  ['without restarts', new Uint8Array(4)],
])('a block %s is empty', (_, block) => {
  const cursor = cursorOf(block);
  const { key } = entry('foo', 1);
  for (const move of [() => cursor.first(), () => cursor.last(), () => cursor.seek(key, key.length)]) {
    move();
    expect(cursor.valid).toBe(false);
  }
  cursor.check();
});

test('a cursor that is at no entry does not move on, nor does one that let its block go', () => {
  const cursor = cursorOf(blockOf([entry('a', 1, '')], 1));
  expect(() => cursor.next()).toThrow('is at an entry');
  expect(() => cursor.prev()).toThrow('is at an entry');
  cursor.first();
  cursor.clear();
  expect(cursor.valid).toBe(false);
  cursor.first();
  expect(cursor.valid).toBe(false);
});

const u32 = (...values: number[]): number[] => [...new Uint8Array(Uint32Array.from(values).buffer)];
const KEY = [...entry('k', 1, '').key];
const corrupt = expect.objectContaining({ code: 'TABLE_CORRUPT', data: { file: '/t', offset: 77 } });

test.each<[string, number[]]>([
  ['nothing', []],
  ['too short for its restart count', [0, 0, 0]],
  ['more restarts than it has room for', u32(0, 2)],
  ['a restart count that overflows', u32(0, 0xffff_ffff)],
  ['restarts and no entries', u32(0, 0, 2)],
  ['entries and no restarts', [0, 9, 0, ...KEY, ...u32(0)]],
  ['a first restart that is not the first entry', [0, 9, 0, ...KEY, ...u32(3, 1)]],
])('a block with %s is damage', (_, block) => {
  expect(() => cursorOf(Uint8Array.from(block))).toThrow(corrupt);
});

test.each<[string, number[]]>([
  ['an entry is cut off in its header', [0, 9, ...u32(0, 1)]],
  ['a length goes on too long', [0x80, 0x80, 0x80, 0x80, 0x80, 0, 9, 0, ...KEY, ...u32(0, 1)]],
  ['a length is above 32 bits', [0, 0xff, 0xff, 0xff, 0xff, 0x1f, 0, ...KEY, ...u32(0, 1)]],
  ['a key leads out', [0, 10, 0, ...KEY, ...u32(0, 1)]],
  ['a value leads out', [0, 9, 1, ...KEY, ...u32(0, 1)]],
  ['a long value leads out', [0, 9, 0xff, 0xff, 0xff, 0xff, 0xf, ...KEY, ...u32(0, 1)]],
  ['a key is too short', [0, 7, 0, ...KEY.slice(2), ...u32(0, 1)]],
  ['the first key shares something', [1, 9, 0, ...KEY, ...u32(0, 1)]],
  ['a later key shares too much', [0, 9, 0, ...KEY, 10, 0, 0, ...u32(0, 1)]],
])('damage is found when %s', (_, content) => {
  const cursor = cursorOf(Uint8Array.from(content));
  const target = entry('zzz', 1).key;
  const walk = (): void => {
    for (cursor.first(); cursor.valid; cursor.next());
  };
  for (const move of [walk, () => cursor.last(), () => cursor.seek(target, target.length), () => cursor.check()]) {
    expect(move).toThrow(corrupt);
    expect(cursor.valid).toBe(false);
  }
});

test('a restart that is no entry is found by who needs it, and by a check', () => {
  const entries = Array.from({ length: 9 }, (_, i) => entry(`key${i}`, 1, 'value'));
  const good = blockOf(entries, 3);
  const restartsAt = good.length - 16;
  const moved = (restart: number, to: number): BlockCursor => {
    const block = good.slice();
    new DataView(block.buffer).setUint32(restartsAt + restart * 4, to, true);
    return cursorOf(block);
  };
  const second = new DataView(good.buffer).getUint32(restartsAt + 4, true);
  for (const wrong of [second + 1, second - 5, restartsAt, restartsAt + 1, 0xffff_ffff, 0]) {
    expect(() => moved(1, wrong).check()).toThrow(corrupt);
  }
  expect(() => moved(2, restartsAt).last()).toThrow(corrupt);
  // The entry before the second restart shares with its predecessor: it cannot be a restart.
  const sharing = cursorOf(good);
  sharing.first();
  sharing.next();
  expect(() => moved(1, sharing.valueStart - 9 - 3).check()).toThrow(corrupt);
});

test('whatever bytes a block has, every move ends, in its bounds, with an entry, the end or TABLE_CORRUPT', () => {
  forSeeds(150, (random) => {
    const entries = someEntries(random, 1 + below(random, 12));
    const good = blockOf(entries, 1 + below(random, 4));
    const block = random() < 0.1 ? randomBytes(random, below(random, 60)) : good.slice();
    for (let i = below(random, 4); i >= 0 && block.length > 0; i--) {
      // Mostly where lengths and restarts are.
      const at = random() < 0.5 ? below(random, block.length) : Math.max(0, block.length - 1 - below(random, 12));
      block[at] = random() < 0.5 ? below(random, 256) : (block[at] as number) ^ (1 << below(random, 8));
    }
    const cursor = new BlockCursor();
    const tryTo = (move: () => void): void => {
      try {
        move();
      } catch (error) {
        expect(error).toEqual(corrupt);
      }
    };
    let steps = 0;
    const inBounds = (): void => {
      steps++;
      expect(steps).toBeLessThan(10_000);
      expect(cursor.keyLength).toBeGreaterThanOrEqual(8);
      expect(cursor.keyLength).toBeLessThanOrEqual(cursor.key.length);
      expect(cursor.valueStart).toBeLessThanOrEqual(cursor.valueEnd);
      expect(cursor.valueEnd).toBeLessThanOrEqual(block.length);
    };
    let isWhole = false;
    tryTo(() => {
      cursor.reset(block, '/t', 77);
      isWhole = true;
    });
    if (!isWhole) return;
    tryTo(() => {
      for (cursor.first(); cursor.valid; cursor.next()) inBounds();
    });
    tryTo(() => {
      for (cursor.last(); cursor.valid; cursor.prev()) inBounds();
    });
    tryTo(() => cursor.check());
    for (const { key } of [...entries, entry(bytes('q'), 3)]) tryTo(() => cursor.seek(key, key.length));
  });
});
