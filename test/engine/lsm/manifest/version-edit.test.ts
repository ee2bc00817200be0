import { expect, test } from 'vitest';
import type { StoreError } from '../../../../src/core/base/errors.ts';
import { decodeEdit, encodeEdit, type VersionEdit } from '../../../../src/engine/lsm/manifest/version-edit.ts';
import { below, forSeeds, pick, randomBytes } from '../../../core/base/seeded.ts';
import type { Random } from '../../../../src/core/base/env.ts';

const FROM = { file: '/m', offset: 42 };

const counter = (random: Random): number =>
  pick(random, [
    0,
    1,
    127,
    128,
    2 ** 31,
    2 ** 32,
    2 ** 32 + 1,
    2 ** 50 + 7,
    Number.MAX_SAFE_INTEGER,
    below(random, 1e6),
  ]);

const internalKey = (random: Random): Uint8Array => randomBytes(random, 8 + below(random, 200));

function randomEdit(random: Random): VersionEdit {
  const some = <T>(make: () => T): T[] => Array.from({ length: 1 + below(random, 4) }, make);
  const maybe = (edit: VersionEdit): VersionEdit => (random() < 0.5 ? edit : {});
  return {
    ...maybe({ comparator: pick(random, ['leveldb.BytewiseComparator', 'ü', '']) }),
    ...maybe({ logNumber: counter(random) }),
    ...maybe({ prevLogNumber: counter(random) }),
    ...maybe({ nextFile: counter(random) }),
    ...maybe({ lastSequence: counter(random) }),
    ...maybe({ compactPointers: some(() => ({ level: below(random, 7), key: internalKey(random) })) }),
    ...maybe({ deletedFiles: some(() => ({ level: below(random, 7), number: counter(random) })) }),
    ...maybe({
      newFiles: some(() => ({
        level: below(random, 7),
        file: {
          number: counter(random),
          fileBytes: counter(random),
          smallest: internalKey(random),
          largest: internalKey(random),
        },
      })),
    }),
  };
}

test('EncodeDecode: an edit comes back as it was, and its bytes are the same again', () => {
  expect(decodeEdit(encodeEdit({}), FROM)).toEqual({});
  forSeeds(300, (random) => {
    const edit = randomEdit(random);
    const bytes = encodeEdit(edit);
    const decoded = decodeEdit(bytes, FROM);
    expect(decoded).toEqual(edit);
    expect(encodeEdit(decoded)).toEqual(bytes);
  });
});

test('the fields are LevelDB’s, in LevelDB’s order', () => {
  const smallest = new Uint8Array(8).fill(1);
  const largest = new Uint8Array(9).fill(2);
  const bytes = encodeEdit({
    newFiles: [{ level: 3, file: { number: 300, fileBytes: 400, smallest, largest } }],
    deletedFiles: [{ level: 4, number: 700 }],
    compactPointers: [{ level: 5, key: smallest }],
    lastSequence: 128,
    nextFile: 9,
    prevLogNumber: 0,
    logNumber: 6,
    comparator: 'c',
  });
  expect([...bytes]).toEqual(
    [
      [1, 1, 0x63],
      [2, 6],
      [9, 0],
      [3, 9],
      [4, 0x80, 0x01],
      [5, 5, 8, ...smallest],
      [6, 4, 0xbc, 0x05],
      [7, 3, 0xac, 0x02, 0x90, 0x03, 8, ...smallest, 9, ...largest],
    ].flat(),
  );
});

test('keys are copies, so a version does not hold on to its manifest’s bytes', () => {
  const bytes = encodeEdit({ compactPointers: [{ level: 1, key: new Uint8Array(8).fill(7) }] });
  const edit = decodeEdit(bytes, FROM);
  bytes.fill(0);
  expect(edit.compactPointers?.[0]?.key).toEqual(new Uint8Array(8).fill(7));
});

test.each([
  ['an unknown tag', [8, 1], 'unknown tag 8'],
  ['another unknown tag', [100], 'unknown tag 100'],
  ['a level too many', [6, 7, 1], 'there is no level 7'],
  ['a key without its trailer', [5, 0, 7, 1, 2, 3, 4, 5, 6, 7], 'an internal key of 7 bytes'],
  ['a field cut short', [7, 0, 1, 2, 8, 1], 'wanted'],
  ['a counter above 2^53', [4, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f], 'cannot read at offset'],
  ['a name that is no text', [1, 1, 0xff], 'not UTF-8'],
])('%s is damage, and the error says where', (_, bytes, reason) => {
  let error: unknown;
  try {
    decodeEdit(Uint8Array.from(bytes), FROM);
  } catch (thrown) {
    error = thrown;
  }
  expect(error).toMatchObject({ code: 'TABLE_CORRUPT', data: FROM });
  expect((error as StoreError).message).toContain(reason);
});

test('an edit cut at any byte is damage, or a whole shorter edit', () => {
  forSeeds(20, (random) => {
    const bytes = encodeEdit(randomEdit(random));
    for (let length = 0; length < bytes.length; length++) {
      try {
        expect(encodeEdit(decodeEdit(bytes.subarray(0, length), FROM))).toEqual(bytes.subarray(0, length));
      } catch (error) {
        expect(error).toMatchObject({ code: 'TABLE_CORRUPT' });
      }
    }
  });
});
