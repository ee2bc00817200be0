/**
 * Tables that are not what was written: each read gives what was written, or says TABLE_CORRUPT with the place.
 */
import { expect, test } from 'vitest';
import { isStoreError } from '../../../../src/core/base/errors.ts';
import { BlockBuilder } from '../../../../src/engine/lsm/sstable/block-builder.ts';
import { FILTER_NAME, FOOTER_BYTES, PROPERTIES_NAME } from '../../../../src/engine/lsm/sstable/format.ts';
import { makeInternalKey, revisionOf } from '../../../../src/engine/lsm/sstable/keys.ts';
import { verifyTable } from '../../../../src/engine/lsm/sstable/verify.ts';
import { below, forSeeds, pick, seeded } from '../../../core/base/seeded.ts';
import { blockOf, rawTable } from './raw-table.ts';
import {
  backwards,
  build,
  bytes,
  diskOf,
  type Entry,
  entry,
  expected,
  forwards,
  got,
  here,
  openBytes,
  PATH,
  show,
  SMALL,
  someEntries,
} from './tables.ts';

const verify = (content: Uint8Array): unknown => {
  const file = diskOf(content).open(PATH, 'read');
  return verifyTable(file, { number: 7, fileBytes: content.length, path: PATH });
};

/**
 * What `act` gives; undefined when it finds damage and says where. Anything else fails the test. (Plain comparisons
 * here and below: they are made some hundred thousand times.)
 */
function orDamage<T>(content: Uint8Array, act: () => T): T | undefined {
  try {
    return act();
  } catch (error) {
    if (!isStoreError(error, 'TABLE_CORRUPT')) throw error;
    const { file, offset } = error.data;
    const isPlace = file === PATH && typeof offset === 'number' && offset >= 0 && offset <= content.length;
    if (!isPlace) throw new Error(`no place is told: ${error.message}`, { cause: error });
    return undefined;
  }
}

/** Reads a table in every way; says how many of them found damage. */
function readAll(content: Uint8Array, entries: readonly Entry[]): number {
  let damaged = 0;
  const same = (act: () => string, answer: string): void => {
    const read = orDamage(content, act);
    if (read === undefined) damaged++;
    else if (read !== answer) throw new Error(`read ${read} for ${answer}`);
  };
  const table = orDamage(content, () => openBytes(content));
  if (table === undefined) return 1;
  const shown = entries.map(show);
  same(() => forwards(table.cursor()).map(show).join(), shown.join());
  same(
    () =>
      backwards(table.cursor({ fillCache: false }))
        .map(show)
        .join(),
    shown.toReversed().join(),
  );
  for (const [i, { key }] of entries.entries()) {
    const userKey = key.slice(0, -8);
    for (const revision of [revisionOf(key, key.length), 0]) {
      same(() => String(got(table, userKey, revision)), String(expected(entries, userKey, revision)));
    }
    same(() => String(table.mayContain(userKey)), 'true');
    same(() => {
      const cursor = table.cursor();
      cursor.seek(key, key.length);
      return cursor.valid ? show(here(cursor)) : 'the end';
    }, shown[i] as string);
  }
  return damaged;
}

const ENTRIES: readonly Entry[] = [
  entry('apple', 9, 'a red one'),
  entry('apple', 4, 'a green one'),
  entry('apple', 2),
  entry('banana', 5, 'y'.repeat(60)),
  entry('cherry', 6, ''),
  entry('cherry/stone', 7, 'z'),
];

test.each([
  { name: 'compressed', options: SMALL },
  { name: 'small blocks', options: { ...SMALL, blockBytes: 1, compression: 'none' } as const },
])('every flipped bit of a small table ($name) is found or harms no read', ({ options }) => {
  const { bytes: good } = build(ENTRIES, options);
  expect(readAll(good, ENTRIES)).toBe(0);
  expect(verify(good)).toMatchObject({ entries: ENTRIES.length });
  for (let at = 0; at < good.length; at++) {
    for (let bit = 0; bit < 8; bit++) {
      const flipped = good.slice();
      flipped[at] = (flipped[at] as number) ^ (1 << bit);
      readAll(flipped, ENTRIES);
      // A scrub finds each of them.
      if (orDamage(flipped, () => verify(flipped)) !== undefined) expect.fail(`bit ${bit} of byte ${at} went unseen`);
    }
  }
});

test('a table that is cut anywhere is damaged', () => {
  const { bytes: good } = build(ENTRIES);
  for (let length = 0; length < good.length; length++) {
    const cut = good.slice(0, length);
    expect(orDamage(cut, () => openBytes(cut))).toBeUndefined();
    expect(orDamage(cut, () => verify(cut))).toBeUndefined();
  }
});

test('a file that is shorter than its manifest says is damaged where it ends', () => {
  const { bytes: good, disk } = build(someEntries(seeded(5), 200));
  const file = disk.open(PATH, 'write');
  file.truncate(1000);
  expect(() => verifyTable(file, { number: 7, fileBytes: good.length, path: PATH })).toThrow(
    expect.objectContaining({ code: 'TABLE_CORRUPT', data: { file: PATH, offset: 1000 } }),
  );
});

test('damage in one block leaves the others readable', () => {
  const entries = Array.from({ length: 100 }, (_, i) => entry(`key${String(i).padStart(3, '0')}`, 1, 'v'.repeat(20)));
  const { bytes: content } = build(entries, { ...SMALL, compression: 'none' });
  content[5] = (content[5] as number) ^ 1;
  const table = openBytes(content);
  const damaged = entries.filter(({ key }) => orDamage(content, () => got(table, key.slice(0, -8), 1)) === undefined);
  expect(damaged.length).toBeGreaterThan(2);
  expect(damaged.length).toBeLessThan(10);
  expect(damaged).toEqual(entries.slice(0, damaged.length));
});

test('contents that are wrong under a right checksum end in damage or in some answer, never in anything else', () => {
  forSeeds(150, (random) => {
    const entries = someEntries(random, 2 + below(random, 30));
    const middle = 1 + below(random, entries.length - 1);
    const first = blockOf(entries.slice(0, middle));
    const second = blockOf(entries.slice(middle));
    const target = pick(random, [first, second]);
    for (let i = below(random, 3); i >= 0; i--) target[below(random, target.length)] = below(random, 256);
    const content = rawTable({
      blocks: [
        { content: first, separator: (entries[middle - 1] as Entry).key },
        { content: second, separator: (entries.at(-1) as Entry).key },
      ],
      compression: random() < 0.2 ? 1 : 0,
    });
    const table = orDamage(content, () => openBytes(content));
    if (table === undefined) return;
    orDamage(content, () => forwards(table.cursor()));
    orDamage(content, () => backwards(table.cursor({ fillCache: false })));
    for (const { key } of entries) {
      orDamage(content, () => got(table, key.slice(0, -8), revisionOf(key, key.length)));
      const cursor = table.cursor();
      orDamage(content, () => cursor.seek(key, key.length));
    }
    orDamage(content, () => verify(content));
  });
});

// ── one wrong thing at a time ──

const A = [entry('a', 2, 'x'), entry('b', 3, 'y')];
const B = [entry('c', 2, 'x'), entry('d', 3, 'y')];
const GOOD = [
  { content: A, separator: makeInternalKey(bytes('b'), 3, 1) },
  { content: B, separator: makeInternalKey(bytes('d'), 3, 1) },
];

test('a table put together by hand is a table', () => {
  const content = rawTable({ blocks: GOOD });
  expect(readAll(content, [...A, ...B])).toBe(0);
  expect(verify(content)).toMatchObject({ entries: 4, dataBlocks: 2, filterBytes: 0 });
});

test('a read finds a block of an unknown compression', () => {
  const content = rawTable({ blocks: GOOD, compression: 9 });
  expect(() => forwards(openBytes(content).cursor())).toThrow(/unknown method \(9\)/);
});

test('a read finds a compressed block that is none', () => {
  const content = rawTable({ blocks: GOOD, compression: 1 });
  expect(() => forwards(openBytes(content).cursor())).toThrow('compressed wrongly');
});

test('a read finds a version of an unknown type', () => {
  const odd = { key: makeInternalKey(bytes('a'), 2, 7), value: bytes('') };
  const content = rawTable({ blocks: [{ content: [odd], separator: odd.key }] });
  expect(() => got(openBytes(content), bytes('a'), 5)).toThrow('unknown type 7');
  expect(() => verify(content)).toThrow('unknown type 7');
});

test.each([
  ['cut off', [0x80]],
  ['followed by more', [0, 10, 0]],
  ['longer than any', [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1, 0]],
  ['above 2^53', [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0]],
  ['of a block behind the end', [0xff, 0xff, 0x7f, 10]],
  ['of a block that ends behind the end', [0, 0xff, 0x7f]],
])('a read finds a handle that is %s', (_, handle) => {
  const content = rawTable({
    blocks: [{ content: A, separator: makeInternalKey(bytes('b'), 3, 1), handle: Uint8Array.from(handle) }],
  });
  expect(orDamage(content, () => forwards(openBytes(content).cursor()))).toBeUndefined();
  expect(orDamage(content, () => forwards(openBytes(content).cursor({ fillCache: false })))).toBeUndefined();
  expect(orDamage(content, () => got(openBytes(content), bytes('a'), 5))).toBeUndefined();
});

test('a name of the future is passed over, and need not lead to a block', () => {
  const content = rawTable({
    blocks: GOOD,
    named: [
      { name: 'aaa', content: bytes('anything') },
      { name: 'zzz', content: bytes('anything'), handle: bytes('no handle') },
    ],
  });
  expect(readAll(content, [...A, ...B])).toBe(0);
});

test('a block that no read wants is read by a scrub all the same', () => {
  const content = rawTable({ blocks: GOOD, named: [{ name: 'aaa', content: bytes('anything') }] });
  verify(content);
  const at = Buffer.from(content).indexOf('anything');
  content[at] = (content[at] as number) ^ 1;
  expect(readAll(content, [...A, ...B])).toBe(0);
  expect(() => verify(content)).toThrow('checksum');
});

test.each([FILTER_NAME, PROPERTIES_NAME])('a name that we know leads to a block: %s', (name) => {
  const content = rawTable({
    blocks: GOOD,
    named: [{ name, content: bytes('anything'), handle: bytes('no handle') }],
  });
  expect(() => openBytes(content).mayContain(bytes('a'))).toThrow(`no block for ${name}`);
});

test('a filter that is none is damage, not a filter that lets everything pass', () => {
  const content = rawTable({ blocks: GOOD, named: [{ name: FILTER_NAME, content: bytes('anything') }] });
  expect(() => got(openBytes(content), bytes('a'), 5)).toThrow('filter block');
});

test.each([
  ['cut off', [0x80]],
  ['too long', [1, 1]],
  ['missing', []],
])('a property that is %s is damage', (_, value) => {
  const names = new BlockBuilder(1);
  const key = bytes('entries');
  names.add(key, key.length, Uint8Array.from(value), 0, value.length);
  const content = rawTable({ blocks: GOOD, named: [{ name: PROPERTIES_NAME, content: names.finish().slice() }] });
  expect(() => openBytes(content).readProperties()).toThrow('the property entries is no counter');
});

test.each<[string, () => Uint8Array]>([
  [
    'is before its last key',
    () => rawTable({ blocks: [{ content: A, separator: makeInternalKey(bytes('a'), 9, 1) }] }),
  ],
  [
    'is not before its first key',
    () =>
      rawTable({
        blocks: [
          { content: A, separator: makeInternalKey(bytes('c'), 2, 1) },
          { content: B, separator: makeInternalKey(bytes('d'), 3, 1) },
        ],
      }),
  ],
  [
    'keys do not ascend',
    () => rawTable({ blocks: [{ content: [...A, ...A], separator: makeInternalKey(bytes('b'), 3, 1) }] }),
  ],
  [
    'keys do not ascend',
    () =>
      rawTable({ blocks: [{ content: [A[1] as Entry, A[0] as Entry], separator: makeInternalKey(bytes('b'), 3, 1) }] }),
  ],
  [
    'a data block is empty',
    () => rawTable({ blocks: [{ content: [], separator: makeInternalKey(bytes('b'), 3, 1) }] }),
  ],
  ['the table is empty', () => rawTable({ blocks: [] })],
  ['leave a gap', () => rawTable({ blocks: GOOD, gap: 1 })],
  ['the filter misses', () => rawTable({ blocks: GOOD, named: [{ name: FILTER_NAME, content: emptyFilter() }] })],
  [
    'says entries 5 of itself, and has 4',
    () => rawTable({ blocks: GOOD, named: [{ name: PROPERTIES_NAME, content: fiveEntries() }] }),
  ],
  [
    'a revision is above 2^53',
    () => {
      const key = Uint8Array.from([0x61, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
      return rawTable({ blocks: [{ content: [{ key, value: bytes('') }], separator: key }] });
    },
  ],
])('a scrub finds what a read passes by: %s', (what, make) => {
  const content = make();
  expect(() => verify(content)).toThrow(what);
  expect(orDamage(content, () => verify(content))).toBeUndefined();
});

/** One stretch with a filter that was given nothing. */
function emptyFilter(): Uint8Array {
  return Uint8Array.from([0, 0, 0, 0, 0, 0, 0, 0, 6, ...[0, 0, 0, 0], ...[9, 0, 0, 0], 11]);
}

function fiveEntries(): Uint8Array {
  const properties = new BlockBuilder(1);
  for (const [name, value] of Object.entries({
    entries: 5,
    largestRevision: 3,
    rawKeyBytes: 36,
    rawValueBytes: 4,
    smallestRevision: 2,
  })) {
    properties.add(bytes(name), name.length, Uint8Array.of(value), 0, 1);
  }
  return properties.finish().slice();
}

test('a file of another kind is no table', () => {
  for (const content of [new Uint8Array(0), new Uint8Array(FOOTER_BYTES), bytes('x'.repeat(500))]) {
    expect(orDamage(content, () => openBytes(content))).toBeUndefined();
  }
});
