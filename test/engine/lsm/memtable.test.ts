import { expect, test } from 'vitest';
import { compareBytes, prefixEnd } from '../../../src/core/base/bytes.ts';
import { type Revision, toIndex } from '../../../src/core/base/position.ts';
import { PlainState, type PlainEntry, NEWEST, type ScanBounds } from '../../support/plain-state.ts';
import { below, forSeeds, pick, randomBytes } from '../../core/base/seeded.ts';

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const table = (bytes = 1024 * 1024): PlainState => new PlainState(new SharedArrayBuffer(bytes));

function all(memtable: PlainState, bounds: Partial<ScanBounds>, revision: Revision): PlainEntry[] {
  const cursor = memtable.scan({ from: new Uint8Array(0), to: undefined, reverse: false, ...bounds }, revision);
  const entries: PlainEntry[] = [];
  for (let entry = cursor.next(); entry !== undefined; entry = cursor.next()) entries.push(entry);
  expect(cursor.next(), 'an end stays an end').toBeUndefined();
  return entries;
}

interface Version {
  readonly revision: Revision;
  /** undefined: removed. */
  readonly value: Uint8Array | undefined;
  readonly expiryMs: number;
}

/** Every version of every key, kept plainly. */
class Model {
  readonly versions = new Map<string, { key: Uint8Array; versions: Version[] }>();

  add(key: Uint8Array, version: Version): boolean {
    const wasLive = this.get(key, NEWEST)?.value !== undefined;
    const known = this.versions.get(hex(key)) ?? { key, versions: [] };
    known.versions.push(version);
    this.versions.set(hex(key), known);
    return wasLive;
  }

  get(key: Uint8Array, revision: number): Version | undefined {
    return this.versions.get(hex(key))?.versions.findLast((version) => version.revision <= revision);
  }

  scan(bounds: ScanBounds, revision: number): PlainEntry[] {
    const entries = [...this.versions.values()]
      .filter(({ key }) => compareBytes(key, bounds.from) >= 0)
      .filter(({ key }) => bounds.to === undefined || compareBytes(key, bounds.to) < 0)
      .sort((a, b) => compareBytes(a.key, b.key))
      .flatMap(({ key }) => {
        const version = this.get(key, revision);
        if (version?.value === undefined) return [];
        return [{ key, value: version.value, revision: version.revision, expiryMs: version.expiryMs }];
      });
    return bounds.reverse ? entries.reverse() : entries;
  }
}

const KEY_SHAPES: readonly ((random: () => number) => Uint8Array)[] = [
  (random) => randomBytes(random, below(random, 4)).map((byte) => byte & 1),
  (random) => randomBytes(random, below(random, 7)).map((byte) => (byte & 1 ? 0xff : 0)),
  (random) => Uint8Array.from([0x6b, 0x65, 0x79, 0x2f, below(random, 20)]),
  (random) => new Uint8Array(1020 + below(random, 5)).fill(pick(random, [0, 0x61, 0xff])),
  (random) => randomBytes(random, 1 + below(random, 12)),
];

test('any run of puts and removes reads, at every revision, as a sorted map of versions would', () => {
  forSeeds(60, (random) => {
    const memtable = table();
    const model = new Model();
    const shapes = KEY_SHAPES.filter(() => random() < 0.6);
    const keyOf = (): Uint8Array => pick(random, shapes.length > 0 ? shapes : KEY_SHAPES)(random);
    // Revisions that cross 2^32, where two words change at once.
    let revision = pick(random, [1, 2 ** 31 - 60, 2 ** 32 - 100, 2 ** 45]);
    const start = revision;
    for (let i = 0; i < 250; i++) {
      if (random() < 0.8) revision += 1 + below(random, 3);
      const key = keyOf();
      const at = toIndex(revision);
      if (random() < 0.65) {
        const value = randomBytes(random, below(random, 60));
        const expiryMs = random() < 0.3 ? 1_700_000_000_000 + below(random, 2 ** 40) : 0;
        expect(memtable.put(key, value, at, expiryMs)).toBe(model.add(key, { revision: at, value, expiryMs }));
      } else {
        expect(memtable.remove(key, at)).toBe(model.add(key, { revision: at, value: undefined, expiryMs: 0 }));
      }
    }
    expect(memtable.liveKeys).toBe(
      model.scan({ from: new Uint8Array(0), to: undefined, reverse: false }, NEWEST).length,
    );
    const keys = [...model.versions.values()].map(({ key }) => key);
    for (let i = 0; i < 120; i++) {
      const at = toIndex(pick(random, [start - 1, start + below(random, revision - start + 2), revision, NEWEST]));
      const key = random() < 0.8 ? pick(random, keys) : keyOf();
      const expected = model.get(key, at);
      const stored = memtable.get(key, at);
      if (expected?.value === undefined) expect(stored).toBeUndefined();
      else expect(stored).toEqual({ value: expected.value, revision: expected.revision, expiryMs: expected.expiryMs });
      const newest = model.get(key, NEWEST);
      expect(memtable.newestRevision(key)).toBe(newest?.value === undefined ? 0 : newest.revision);
      expect(memtable.newest(key)?.revision).toBe(newest?.value === undefined ? undefined : newest.revision);

      const from = random() < 0.3 ? new Uint8Array(0) : random() < 0.5 ? pick(random, keys) : keyOf();
      const to = pick(random, [undefined, pick(random, keys), keyOf(), prefixEnd(from)]);
      const bounds = { from, to, reverse: random() < 0.5 };
      expect(all(memtable, bounds, at)).toEqual(model.scan(bounds, at));
    }
  });
});

test('a key with very many versions is passed in a few steps, and found at each of them', () => {
  const memtable = table(4 * 1024 * 1024);
  const [a, b, c] = ['a', 'b', 'c'].map((text) => Uint8Array.from(Buffer.from(text))) as [
    Uint8Array,
    Uint8Array,
    Uint8Array,
  ];
  memtable.put(a, a, toIndex(1), 0);
  for (let revision = 2; revision <= 20_000; revision++) {
    if (revision % 100 === 0) memtable.remove(b, toIndex(revision));
    else memtable.put(b, Uint8Array.of(revision & 0xff), toIndex(revision), 0);
  }
  memtable.put(c, c, toIndex(20_001), 0);
  for (const reverse of [false, true]) {
    const keysAt = (revision: number): string => {
      const keys = all(memtable, { reverse }, toIndex(revision)).map(({ key }) => Buffer.from(key).toString());
      return (reverse ? keys.reverse() : keys).join('');
    };
    expect([1, 2, 99, 100, 101, 19_999, 20_000, 20_001].map(keysAt)).toEqual([
      'a',
      'ab',
      'ab',
      'a',
      'ab',
      'ab',
      'a',
      'ac',
    ]);
  }
  for (let revision = 2; revision <= 20_000; revision += 37) {
    expect(memtable.get(b, toIndex(revision))?.revision).toBe(revision % 100 === 0 ? undefined : revision);
  }
});

test('a cursor shows the state of its revision, whatever is written while it stands', () => {
  forSeeds(40, (random) => {
    const memtable = table();
    const model = new Model();
    let revision = 0;
    const write = (): void => {
      const key = Uint8Array.of(below(random, 40));
      const at = toIndex(++revision);
      if (random() < 0.6) {
        const value = randomBytes(random, 4);
        memtable.put(key, value, at, 0);
        model.add(key, { revision: at, value, expiryMs: 0 });
      } else {
        memtable.remove(key, at);
        model.add(key, { revision: at, value: undefined, expiryMs: 0 });
      }
    };
    for (let i = 0; i < 60; i++) write();
    const cursors = Array.from({ length: 6 }, () => {
      const bounds = {
        from: Uint8Array.of(below(random, 20)),
        to: Uint8Array.of(20 + below(random, 21)),
        reverse: random() < 0.5,
      };
      const at = toIndex(below(random, revision + 1));
      return { bounds, at, cursor: memtable.scan(bounds, at), found: [] as PlainEntry[], isDone: false };
    });
    while (cursors.some(({ isDone }) => !isDone)) {
      write();
      const each = pick(random, cursors);
      const entry = each.cursor.next();
      if (entry === undefined) each.isDone = true;
      else each.found.push(entry);
    }
    for (const { bounds, at, found } of cursors) expect(found).toEqual(model.scan(bounds, at));
  });
});

test("what was read is the reader's own", () => {
  const memtable = table();
  memtable.put(Uint8Array.of(1), Uint8Array.of(2), toIndex(1), 0);
  const stored = memtable.get(Uint8Array.of(1), NEWEST)!;
  const [entry] = all(memtable, {}, NEWEST);
  stored.value.fill(9);
  entry!.key.fill(9);
  entry!.value.fill(9);
  expect(memtable.get(Uint8Array.of(1), NEWEST)?.value).toEqual(Uint8Array.of(2));
});

test('a reset memtable holds nothing, and is written and read again', () => {
  const memtable = table();
  const reader = new PlainState(memtable.buffer);
  const free = memtable.freeBytes;
  memtable.put(Uint8Array.of(1), Uint8Array.of(2), toIndex(9), 0);
  expect(reader.freeBytes).toBeLessThan(free);
  memtable.reset();
  expect(reader.freeBytes).toBe(free);
  expect([reader.get(Uint8Array.of(1), NEWEST), all(reader, {}, NEWEST), reader.liveKeys]).toEqual([undefined, [], 0]);
  memtable.put(Uint8Array.of(1), Uint8Array.of(3), toIndex(4), 0);
  expect(reader.get(Uint8Array.of(1), NEWEST)).toMatchObject({ value: Uint8Array.of(3), revision: 4 });
});
