import { describe, expect, test } from 'vitest';
import { ByteReader, ByteWriter } from '../../../src/core/base/bytes.ts';
import { isStoreError } from '../../../src/core/base/errors.ts';
import { toIndex, toTerm } from '../../../src/core/base/position.ts';
import { channelOf, decodeMesh, encodeMesh } from '../../../src/core/wire/mesh.ts';
import {
  CHUNK_BYTES_MAX,
  decodeSnapshotMeta,
  encodeSnapshotMeta,
  sameContent,
  snapshotBytes,
  type SnapshotMessage,
  type SnapshotMeta,
} from '../../../src/core/wire/snapshot.ts';
import { below, forSeeds, pick, randomBytes } from '../base/seeded.ts';

function randomMeta(random: () => number): SnapshotMeta {
  const n = (): number => pick(random, [1, 2 ** 32, below(random, 2 ** 45)]);
  return {
    ...{ term: toTerm(n()), number: n(), index: toIndex(n()), indexTerm: toTerm(n()) },
    files: Array.from({ length: below(random, 5) }, (_, i) => ({
      ...{ name: `${String(i + 1).padStart(6, '0')}.ldb`, bytes: n(), crc: below(random, 2 ** 32) },
    })),
  };
}

function randomMessages(random: () => number): SnapshotMessage[] {
  const name = { term: toTerm(below(random, 2 ** 40)), number: below(random, 100) };
  const offset = below(random, 2 ** 50);
  return [
    { kind: 'snapshotOffer', meta: randomMeta(random) },
    { kind: 'snapshotWant', ...name, offset, again: random() < 0.5 },
    {
      kind: 'snapshotChunk',
      ...name,
      offset,
      crc: below(random, 2 ** 32),
      bytes: randomBytes(random, below(random, 99)),
    },
    { kind: 'snapshotRefused', ...name, isLater: random() < 0.5 },
  ];
}

const encode = (messages: readonly SnapshotMessage[]): Uint8Array => {
  const writer = new ByteWriter(1);
  for (const message of messages) encodeMesh(writer, message);
  return writer.take();
};

test('every message comes back as it was sent, alone and in a batch; each kind has its number', () => {
  forSeeds(100, (random) => {
    const messages = randomMessages(random);
    expect(decodeMesh(encode(messages), 'n1', 'n2')).toEqual(messages);
    expect(messages.map((message) => encode([message])[0])).toEqual([20, 21, 22, 23]);
    for (const message of messages) expect(decodeMesh(encode([message]), 'n1', 'n2')).toEqual([message]);
    expect(messages.map(channelOf)).toEqual(['bulk', 'control', 'bulk', 'control']);
  });
});

describe('what makes no sense is refused', () => {
  const codeOf = (bytes: Uint8Array): string => {
    try {
      decodeMesh(bytes, 'n1', 'n2');
    } catch (error) {
      return isStoreError(error) ? error.code : String(error);
    }
    return 'accepted';
  };

  test('a chunk above its bound', () => {
    const chunk = (length: number): Uint8Array =>
      encode([
        {
          ...{ kind: 'snapshotChunk', term: toTerm(1), number: 1, offset: 0, crc: 0 },
          bytes: new Uint8Array(length),
        },
      ]);
    expect(codeOf(chunk(CHUNK_BYTES_MAX))).toBe('accepted');
    expect(codeOf(chunk(CHUNK_BYTES_MAX + 1))).toBe('PROTOCOL_ERROR');
  });

  test('files that are more than 2^53 bytes together, and a message cut short anywhere', () => {
    const random = (): number => 0.3;
    const file = { name: '000001.ldb', bytes: 2 ** 52, crc: 1 };
    const meta = { ...randomMeta(random), files: [file, { ...file, name: '000002.ldb' }] };
    expect(codeOf(encode([{ kind: 'snapshotOffer', meta }]))).toBe('PROTOCOL_ERROR');
    for (const message of randomMessages(random)) {
      const bytes = encode([message]);
      for (let length = 1; length < bytes.length; length++) {
        expect(codeOf(bytes.subarray(0, length))).toBe('PROTOCOL_ERROR');
      }
    }
  });
});

test('a meta is its bytes; content is the state and its files, whoever offers it', () => {
  forSeeds(100, (random) => {
    const meta = randomMeta(random);
    const writer = new ByteWriter(1);
    encodeSnapshotMeta(writer, meta);
    const reader = new ByteReader(writer.view());
    expect(decodeSnapshotMeta(reader)).toEqual(meta);
    expect(reader.left).toBe(0);
    expect(snapshotBytes(meta)).toBe(meta.files.reduce((sum, { bytes }) => sum + bytes, 0));
    expect(sameContent(meta, { ...meta, term: toTerm(meta.term + 1), number: meta.number + 1 })).toBe(true);
    expect(sameContent(meta, { ...meta, index: toIndex(meta.index + 1) })).toBe(false);
    expect(sameContent(meta, { ...meta, indexTerm: toTerm(meta.indexTerm + 1) })).toBe(false);
    expect(sameContent(meta, { ...meta, files: [...meta.files, { name: 'CURRENT', bytes: 1, crc: 0 }] })).toBe(false);
    for (const i of meta.files.keys()) {
      for (const other of [{ name: 'x' }, { bytes: 3 }, { crc: -1 }]) {
        const files = meta.files.map((file, j) => (i === j ? { ...file, ...other } : file));
        expect(sameContent(meta, { ...meta, files })).toBe(false);
      }
    }
  });
});
