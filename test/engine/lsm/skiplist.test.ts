import { describe, expect, test } from 'vitest';
import { InvariantViolation } from '../../../src/core/base/assert.ts';
import { compareBytes } from '../../../src/core/base/bytes.ts';
import { hashKey } from '../../../src/engine/lsm/key-hash.ts';
import { bytesFor, KIND_PUT, KIND_TOMBSTONE, Skiplist } from '../../../src/engine/lsm/skiplist.ts';
import { below, forSeeds, pick, randomBytes } from '../../core/base/seeded.ts';

const NONE = new Uint8Array(0);
const key = (...bytes: number[]): Uint8Array => Uint8Array.from(bytes);
const TOP = Number.MAX_SAFE_INTEGER;

function keysInOrder(list: Skiplist): Uint8Array[] {
  const keys: Uint8Array[] = [];
  for (let node = list.first(); node !== 0; node = list.next(node)) keys.push(list.keyView(node).slice());
  return keys;
}

/** Keys that are hard to tell apart: prefixes of each other, zeros at the end, 0xff, and long ones. */
const HARD_KEYS: readonly Uint8Array[] = [
  ...[key(), key(0), key(0, 0), key(0, 0, 0), key(0, 0, 0, 0), key(0, 0, 0, 0, 0), key(0, 0, 0, 1)],
  ...[key(0x61), key(0x61, 0), key(0x61, 0, 0, 0), key(0x61, 0, 0, 0, 0), key(0x61, 0, 0, 0, 1), key(0x61, 0, 1)],
  ...[key(0x61, 0x62, 0x63, 0x64), key(0x61, 0x62, 0x63, 0x64, 0), key(0x61, 0x62, 0x63, 0x64, 0xff)],
  ...[key(0x7f, 0xff, 0xff, 0xff), key(0x80), key(0x80, 0, 0, 0), key(0x7f), key(0xff), key(0xff, 0xff, 0xff, 0xff)],
  ...[key(0xff, 0xff, 0xff, 0xff, 0xff), new Uint8Array(1024), new Uint8Array(1024).fill(0xff), new Uint8Array(1023)],
];

describe('order', () => {
  test('is that of the bytes, also of keys that begin alike or differ in length alone', () => {
    forSeeds(50, (random) => {
      const list = Skiplist.create(256 * 1024);
      const keys = [...HARD_KEYS].sort(() => random() - 0.5);
      for (const [i, each] of keys.entries()) list.insert(each, i + 1, KIND_PUT, NONE, 0);
      expect(keysInOrder(list).map((each) => Buffer.from(each).toString('hex'))).toEqual(
        HARD_KEYS.toSorted(compareBytes).map((each) => Buffer.from(each).toString('hex')),
      );
      for (const [i, each] of keys.entries()) {
        expect(list.revision(list.find(each, TOP))).toBe(i + 1);
        expect(compareBytes(list.keyView(list.seek(each)), each)).toBe(0);
      }
    });
  });

  test('of the versions of one key is newest first, beyond 2^31 and 2^32 too, and a look finds the newest it may see', () => {
    const list = Skiplist.create(64 * 1024);
    const revisions = [1, 2, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 32 + 1, 2 ** 45, 2 ** 53 - 2];
    for (const [i, revision] of revisions.entries()) list.insert(key(7), revision, KIND_PUT, key(i), 0);
    for (const [i, revision] of revisions.entries()) {
      for (const at of [revision, (revisions[i + 1] ?? TOP) - 1]) {
        const version = list.find(key(7), at);
        expect([list.revision(version), list.valueCopy(version)[0]]).toEqual([revision, i]);
        expect(list.versionAt(list.first(), at)).toBe(version);
      }
    }
    expect(keysInOrder(list)).toEqual([key(7)]);
    expect(list.find(key(7), 0)).toBe(0);
    expect(list.find(key(6), TOP)).toBe(0);
    expect(list.find(key(7, 0), TOP)).toBe(0);
  });

  test('of versions never goes back', () => {
    const list = Skiplist.create(4096);
    list.insert(key(1), 5, KIND_PUT, NONE, 0);
    expect(() => list.insert(key(1), 4, KIND_PUT, NONE, 0)).toThrow('never go back');
  });

  test('puts an equal revision before the one that is there', () => {
    const list = Skiplist.create(4096);
    list.insert(key(1), 5, KIND_TOMBSTONE, NONE, 0);
    list.insert(key(1), 5, KIND_PUT, key(9), 0);
    expect(list.kind(list.find(key(1), 5))).toBe(KIND_PUT);
    expect(list.versions).toBe(2);
    expect(list.liveKeys).toBe(1);
  });
});

test('expiries come back whole, beyond 2^32 too', () => {
  const list = Skiplist.create(16 * 1024);
  const expiries = [0, 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 1_763_000_000_000, 4_900_000_000_000];
  for (const [i, expiryMs] of expiries.entries()) list.insert(key(i), 1, KIND_PUT, NONE, expiryMs);
  for (const [i, expiryMs] of expiries.entries()) expect(list.expiryMs(list.find(key(i), 1))).toBe(expiryMs);
});

test('live keys are those whose newest version is a put', () => {
  forSeeds(40, (random) => {
    const list = Skiplist.create(256 * 1024);
    const live = new Set<number>();
    for (let revision = 1; revision <= 400; revision++) {
      const i = below(random, 30);
      const isPut = random() < 0.6;
      const wasLive = list.insert(key(i), revision, isPut ? KIND_PUT : KIND_TOMBSTONE, NONE, 0);
      expect(wasLive).toBe(live.has(i));
      if (isPut) live.add(i);
      else live.delete(i);
      expect(list.liveKeys).toBe(live.size);
      expect(list.versions).toBe(revision);
    }
  });
});

describe('the index', () => {
  test('that is full still finds every key, old and new, and no other', () => {
    // 8 KiB have 32 slots; 24 are filled, and the other keys are searched for.
    const list = Skiplist.create(8192);
    for (let i = 0; i < 60; i++) list.insert(key(i), i + 1, KIND_PUT, key(i), 0);
    for (let i = 0; i < 60; i++) list.insert(key(i), 100 + i, KIND_TOMBSTONE, NONE, 0);
    for (let i = 0; i < 60; i++) {
      expect(list.valueCopy(list.find(key(i), 99))).toEqual(key(i));
      expect(list.kind(list.find(key(i), TOP))).toBe(KIND_TOMBSTONE);
    }
    for (let i = 60; i < 256; i++) expect(list.find(key(i), TOP)).toBe(0);
    expect(keysInOrder(list).length).toBe(60);
  });
});

describe('keys chosen to collide', () => {
  test('are all found, and no other, though most stay out of the index', () => {
    // 128 KiB have 512 slots, and 300 keys all want the same one.
    const colliding: Uint8Array[] = [];
    for (let i = 0; colliding.length < 400; i++) {
      const each = Uint8Array.from(Buffer.from(`key-${i}`));
      if ((hashKey(each, each.length) & 511) === 300) colliding.push(each);
    }
    const list = Skiplist.create(128 * 1024);
    for (const [i, each] of colliding.slice(0, 300).entries()) list.insert(each, i + 1, KIND_PUT, NONE, 0);
    for (const [i, each] of colliding.slice(0, 300).entries()) {
      expect(list.revision(list.find(each, TOP))).toBe(i + 1);
      expect(list.insert(each, 1000 + i, KIND_TOMBSTONE, NONE, 0)).toBe(true);
    }
    for (const each of colliding.slice(300)) expect(list.find(each, TOP)).toBe(0);
    expect(keysInOrder(list).length).toBe(300);
    expect(list.liveKeys).toBe(0);
    const slots = new Int32Array(list.buffer, 17 * 4, 512);
    expect(slots.filter((slot) => slot !== 0).length, 'the index holds a bounded run of them').toBe(64);
  });
});

describe('seeks', () => {
  test('find the first key at or after a place and the last before it, as in a sorted list', () => {
    forSeeds(60, (random) => {
      const list = Skiplist.create(512 * 1024);
      const all = new Map<string, Uint8Array>();
      const randomKey = (): Uint8Array =>
        random() < 0.3 ? pick(random, HARD_KEYS) : randomBytes(random, below(random, 7)).map((byte) => byte & 3);
      for (let revision = 1; revision <= 150; revision++) {
        const each = randomKey();
        list.insert(each, revision, KIND_PUT, NONE, 0);
        all.set(Buffer.from(each).toString('hex'), each);
      }
      const sorted = [...all.values()].sort(compareBytes);
      const keyAt = (node: number): Uint8Array | undefined => (node === 0 ? undefined : list.keyView(node).slice());
      for (let i = 0; i < 150; i++) {
        const target = randomKey();
        expect(keyAt(list.seek(target))).toEqual(sorted.find((each) => compareBytes(each, target) >= 0));
        expect(keyAt(list.seekBefore(target))).toEqual(sorted.findLast((each) => compareBytes(each, target) < 0));
      }
      expect(keyAt(list.seekBefore(undefined))).toEqual(sorted.at(-1));
    });
  });

  test('in an empty list find nothing', () => {
    const list = Skiplist.create(4096);
    expect([list.first(), list.seek(NONE), list.seekBefore(undefined), list.find(key(1), TOP)]).toEqual([0, 0, 0, 0]);
    expect([list.versions, list.liveKeys]).toEqual([0, 0]);
  });
});

describe('the arena', () => {
  test('that is full stops the writer, and what was there stays readable', () => {
    const list = Skiplist.create(4096);
    let count = 0;
    expect(() => {
      for (;;) {
        list.insert(key(count >>> 8, count & 0xff), count + 1, KIND_PUT, new Uint8Array(20).fill(count), 0);
        count++;
      }
    }).toThrow(InvariantViolation);
    expect(list.usedBytes).toBeLessThanOrEqual(list.capacityBytes);
    expect(list.versions).toBe(count);
    expect(count).toBeGreaterThan(50);
    for (let i = 0; i < count; i++)
      expect(list.valueCopy(list.find(key(i >>> 8, i & 0xff), TOP))).toEqual(new Uint8Array(20).fill(i));
    expect(() => list.insert(key(9, 9), 9999, KIND_PUT, new Uint8Array(4096), 0)).toThrow(InvariantViolation);
    expect(keysInOrder(list).length).toBe(count);
  });

  test('is used to its last word', () => {
    const list = Skiplist.create(4096);
    list.insert(key(1), 1, KIND_PUT, NONE, 0);
    const overhead = list.usedBytes - 64;
    const free = list.capacityBytes - list.usedBytes;
    let fits = 0;
    for (let value = free; value > 0 && fits === 0; value -= 4) {
      try {
        list.insert(key(2), 2, KIND_PUT, new Uint8Array(value), 0);
        fits = value;
      } catch (error) {
        expect(error).toBeInstanceOf(InvariantViolation);
      }
    }
    expect(free - fits).toBeLessThan(overhead + 48);
  });

  test('is the same, byte for byte, after the same calls', () => {
    const build = (): Uint8Array => {
      const list = Skiplist.create(256 * 1024);
      forSeeds(1, (random) => {
        for (let i = 1; i <= 1000; i++)
          list.insert(randomBytes(random, below(random, 20)), i, below(random, 2), randomBytes(random, 9), i);
      });
      return new Uint8Array(list.buffer).slice();
    };
    expect(Buffer.compare(build(), build())).toBe(0);
  });

  test('holds a key of 64 KiB less one, and refuses a longer one rather than break', () => {
    const list = Skiplist.create(1024 * 1024);
    list.insert(new Uint8Array(0xffff).fill(1), 1, KIND_PUT, key(5), 0);
    expect(list.valueCopy(list.find(new Uint8Array(0xffff).fill(1), 1))).toEqual(key(5));
    expect(() => list.insert(new Uint8Array(0x1_0000), 2, KIND_PUT, NONE, 0)).toThrow(InvariantViolation);
  });

  test('seen by a second list over the same buffer is what the first wrote, and goes on', () => {
    const writer = Skiplist.create(64 * 1024);
    const early = new Skiplist(writer.buffer);
    writer.insert(key(1), 1, KIND_PUT, key(10), 0);
    const late = new Skiplist(writer.buffer);
    writer.insert(key(2), 2, KIND_PUT, key(20), 0);
    for (const reader of [early, late]) {
      expect(keysInOrder(reader)).toEqual([key(1), key(2)]);
      expect(reader.usedBytes).toBe(writer.usedBytes);
    }
  });

  test('values are copied in, and copied out', () => {
    const list = Skiplist.create(4096);
    const value = key(1, 2, 3);
    list.insert(key(1), 1, KIND_PUT, value, 0);
    value.fill(9);
    const node = list.find(key(1), 1);
    const copy = list.valueCopy(node);
    expect(copy).toEqual(key(1, 2, 3));
    expect(copy.buffer).toBeInstanceOf(ArrayBuffer);
    expect(list.valueView(node).buffer).toBe(list.buffer);
  });
});

describe('a reset arena', () => {
  test('is an empty list to the writer and to lists that were attached before, and takes the same writes again', () => {
    forSeeds(20, (random) => {
      const list = Skiplist.create(64 * 1024);
      const reader = new Skiplist(list.buffer);
      for (let round = 0; round < 4; round++) {
        const model = new Map<string, { revision: number; value: Uint8Array }[]>();
        // Some rounds fill the index, some hardly begin.
        const count = 1 + below(random, 700);
        for (let revision = 1; revision <= count; revision++) {
          const each = randomBytes(random, below(random, 8)).map((byte) => byte & 7);
          const value = randomBytes(random, below(random, 12));
          if (list.freeBytes < bytesFor(each.length, value.length)) break;
          list.insert(each, revision, KIND_PUT, value, 0);
          const name = Buffer.from(each).toString('hex');
          model.set(name, [{ revision, value }, ...(model.get(name) ?? [])]);
        }
        for (const view of [list, reader]) {
          expect(keysInOrder(view).map((each) => Buffer.from(each).toString('hex'))).toEqual([...model.keys()].sort());
          for (const [name, versions] of model) {
            let version = view.find(Buffer.from(name, 'hex'), TOP);
            for (const { revision, value } of versions) {
              expect([view.revision(version), view.valueCopy(version)]).toEqual([revision, value]);
              version = view.older(version);
            }
            expect(version).toBe(0);
          }
        }
        list.reset();
        for (const view of [list, reader, new Skiplist(list.buffer)]) {
          expect([view.first(), view.seek(NONE), view.seekBefore(undefined)]).toEqual([0, 0, 0]);
          expect([view.versions, view.liveKeys, view.usedBytes]).toEqual([0, 0, list.usedBytes]);
          for (const name of model.keys()) expect(view.find(Buffer.from(name, 'hex'), TOP)).toBe(0);
        }
      }
    });
  });

  test('gives the same list as a new one: same places, same heights, same index', () => {
    const fill = (list: Skiplist): number[] => {
      const places: number[] = [];
      forSeeds(1, (random) => {
        for (let i = 1; i <= 300; i++)
          list.insert(randomBytes(random, 1 + below(random, 9)), i, KIND_PUT, key(i & 255), 0);
      });
      for (let node = list.first(); node !== 0; node = list.next(node)) places.push(node);
      return [...places, ...new Int32Array(list.buffer, 0, 17 + 256), list.usedBytes];
    };
    const used = Skiplist.create(64 * 1024);
    for (let i = 0; i < 500; i++) used.insert(key(i >>> 8, i & 255), 1, KIND_PUT, key(1, 2, 3), 0);
    used.reset();
    expect(fill(used)).toEqual(fill(Skiplist.create(64 * 1024)));
  });

  test('is an empty list of zeros: a reader that comes first begins nothing', () => {
    const buffer = new SharedArrayBuffer(8192);
    const reader = new Skiplist(buffer);
    expect([reader.first(), reader.find(key(1), TOP), reader.seekBefore(undefined)]).toEqual([0, 0, 0]);
    expect(new Uint8Array(buffer).every((byte) => byte === 0)).toBe(true);
    const empty = reader.usedBytes;
    expect(empty).toBeGreaterThan(0);
    new Skiplist(buffer).insert(key(1), 1, KIND_PUT, key(2), 0);
    expect(reader.valueCopy(reader.find(key(1), TOP))).toEqual(key(2));
    expect(reader.usedBytes).toBeGreaterThan(empty);
  });
});

test('bytesFor is the most an insert takes: what is admitted by it fits, and some insert takes all of it', () => {
  forSeeds(20, (random) => {
    const list = Skiplist.create(64 * 1024);
    let isReached = false;
    for (let revision = 1; ; revision++) {
      const each = randomBytes(random, below(random, 40));
      const value = randomBytes(random, below(random, 60));
      const bound = bytesFor(each.length, value.length);
      const free = list.freeBytes;
      if (free < bound) break;
      list.insert(each, revision, KIND_PUT, value, 0);
      expect(free - list.freeBytes).toBeLessThanOrEqual(bound);
      // Heights below 12 take less; eleven words are all that may lie between.
      isReached ||= free - list.freeBytes >= bound - 44;
    }
    expect(isReached).toBe(true);
    expect(list.freeBytes).toBe(list.capacityBytes - list.usedBytes);
  });
});
