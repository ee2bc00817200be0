import { describe, expect, test } from 'vitest';
import { InvariantViolation } from '../../../src/core/base/assert.ts';
import {
  ByteReader,
  ByteWriter,
  compareBytes,
  equalBytes,
  prefixEnd,
  text,
  utf8,
} from '../../../src/core/base/bytes.ts';
import { isStoreError } from '../../../src/core/base/errors.ts';
import { below, forSeeds, pick, randomBytes } from './seeded.ts';

const MAX = Number.MAX_SAFE_INTEGER;
/** Where counters change their shape. */
const EDGES: readonly number[] = [
  ...Array.from({ length: 54 }, (_, bit) => [2 ** bit - 1, 2 ** bit]).flat(),
  2 ** 32 + 1,
  MAX - 1,
].filter((value) => value <= MAX);

function protocolError(act: () => unknown): void {
  try {
    act();
  } catch (error) {
    if (isStoreError(error, 'PROTOCOL_ERROR')) return;
    throw error;
  }
  expect.fail('nothing was thrown');
}

describe('counters', () => {
  test('come back from 8 bytes and from a varint, at every power of two up to 2^53 - 1', () => {
    for (const value of EDGES) {
      const bytes = new ByteWriter(1).u64(value).varint(value).take();
      const reader = new ByteReader(bytes);
      expect(reader.u64()).toBe(value);
      expect(reader.varint()).toBe(value);
      reader.end();
    }
  });

  test('take 1 byte below 128 and at most 8', () => {
    const lengthOf = (value: number): number => new ByteWriter().varint(value).length;
    expect([0, 127, 128, 16_383, 16_384, 2 ** 49 - 1, 2 ** 49, MAX].map(lengthOf)).toEqual([1, 1, 2, 2, 3, 7, 8, 8]);
  });

  test.each([-1, 2 ** 53, 0.5, Number.NaN, Number.POSITIVE_INFINITY])(
    '%d is no counter and is not written',
    (value) => {
      const writer = new ByteWriter();
      expect(() => writer.u64(value)).toThrow(InvariantViolation);
      expect(() => writer.varint(value)).toThrow(InvariantViolation);
      expect(writer.length).toBe(0);
    },
  );

  test('above 2^53 - 1 are refused in bytes', () => {
    protocolError(() => new ByteReader(Uint8Array.of(0, 0, 0, 0, 0, 0, 0x20, 0)).u64());
    protocolError(() => new ByteReader(new Uint8Array(8).fill(0xff)).u64());
    // 2^53, 2^56 - 1, and one byte too many.
    protocolError(() => new ByteReader(Uint8Array.of(0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10)).varint());
    protocolError(() => new ByteReader(Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f)).varint());
    protocolError(() => new ByteReader(Uint8Array.of(0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0)).varint());
    protocolError(() => new ByteReader(new Uint8Array(1000).fill(0x80)).varint());
  });
});

describe('a reader', () => {
  test('takes any bytes apart, as any sequence of things, and never looks behind their end', () => {
    forSeeds(3000, (random) => {
      // The bytes stand inside larger ones: to read past them would be possible, and wrong.
      const around = randomBytes(random, 64);
      const bytes = around.subarray(16, 16 + below(random, 32));
      const reader = new ByteReader(bytes);
      for (;;) {
        const before = reader.at;
        try {
          const step = pick(random, ['u8', 'u32', 'u64', 'f64', 'varint', 'blob', 'string', 'raw'] as const);
          const read = step === 'raw' ? reader.raw(below(random, 40)) : reader[step]();
          if (read instanceof Uint8Array) {
            expect(read.byteOffset).toBeGreaterThanOrEqual(bytes.byteOffset);
            expect(read.byteOffset + read.length).toBeLessThanOrEqual(bytes.byteOffset + bytes.length);
          }
        } catch (error) {
          expect(isStoreError(error, 'PROTOCOL_ERROR'), String(error)).toBe(true);
          break;
        }
        expect(reader.at).toBeGreaterThanOrEqual(before);
        expect(reader.at + reader.left).toBe(bytes.length);
        expect(reader.left).toBeGreaterThanOrEqual(0);
      }
    });
  });

  test('says where it stopped, and that more was left than should be', () => {
    const reader = new ByteReader(Uint8Array.of(1, 2, 3));
    reader.u8();
    expect(() => reader.u32()).toThrow('offset 1: 4 bytes wanted, 2 left');
    expect(() => reader.end()).toThrow('2 bytes too many');
  });

  test('compares a length with what is left before it makes anything of it', () => {
    const bytes = new ByteWriter()
      .varint(MAX)
      .raw(Uint8Array.of(1, 2, 3))
      .take();
    protocolError(() => new ByteReader(bytes).blob());
    protocolError(() => new ByteReader(bytes).string());
  });
});

describe('a writer', () => {
  test('gives back what was written, however small it began', () => {
    forSeeds(50, (random) => {
      const writer = new ByteWriter(below(random, 4));
      const blobs = Array.from({ length: below(random, 20) }, () => randomBytes(random, below(random, 300)));
      for (const blob of blobs)
        writer
          .blob(blob)
          .f64(blob.length / 3)
          .u32(0xffff_ffff - blob.length);
      const reader = new ByteReader(writer.take());
      for (const blob of blobs) {
        expect(reader.blob()).toEqual(blob);
        expect(reader.f64()).toBe(blob.length / 3);
        expect(reader.u32()).toBe(0xffff_ffff - blob.length);
      }
      reader.end();
    });
  });

  test('takes a copy and shows a view', () => {
    const writer = new ByteWriter(8).u32(1);
    const taken = writer.take();
    writer.patchU32(0, 2);
    expect(taken).toEqual(Uint8Array.of(1, 0, 0, 0));
    expect(writer.view()).toEqual(Uint8Array.of(2, 0, 0, 0));
    writer.reset();
    expect(writer.view().length).toBe(0);
  });
});

describe('text', () => {
  test.each(['', 'a', 'grüße', '日本語', '🙂', '\0', '\ufeffmarked', '\ufeff', 'a\ufeffb'])(
    '%j comes back as it was',
    (value) => {
      expect(text(utf8(value))).toBe(value);
      expect(new ByteReader(new ByteWriter().string(value).take()).string()).toBe(value);
    },
  );

  test('of bytes in shared memory is text too', () => {
    const shared = new Uint8Array(new SharedArrayBuffer(4));
    shared.set(utf8('café'.slice(0, 3)));
    expect(text(shared.subarray(0, 3))).toBe('caf');
  });

  test.each([[0xff], [0xc3], [0xed, 0xa0, 0x80], [0xc0, 0x80], [0xf5, 0x80, 0x80, 0x80]])(
    'is refused when the bytes are not UTF-8 (%#)',
    (...bytes) => protocolError(() => text(Uint8Array.from(bytes))),
  );
});

describe('the order of bytes', () => {
  test('is that of Buffer.compare', () => {
    forSeeds(2000, (random) => {
      const a = randomBytes(random, below(random, 6)).map((byte) => (byte < 200 ? byte & 1 : 0xff));
      const b = randomBytes(random, below(random, 6)).map((byte) => (byte < 200 ? byte & 1 : 0xff));
      expect(Math.sign(compareBytes(a, b))).toBe(Buffer.compare(a, b));
      expect(equalBytes(a, b)).toBe(Buffer.compare(a, b) === 0);
    });
  });

  test('gives a prefix an end: every key with the prefix is before it, every later key is not', () => {
    expect(prefixEnd(utf8('ab'))).toEqual(utf8('ac'));
    expect(prefixEnd(Uint8Array.of(1, 0xff, 0xff))).toEqual(Uint8Array.of(2));
    expect(prefixEnd(Uint8Array.of(0xff, 0xff))).toBeUndefined();
    expect(prefixEnd(new Uint8Array(0))).toBeUndefined();
    forSeeds(2000, (random) => {
      const of = (length: number): Uint8Array =>
        randomBytes(random, length).map((byte) => pick(random, [0, 1, 254, 255, byte]));
      const prefix = of(below(random, 4));
      const key = random() < 0.5 ? of(below(random, 5)) : Uint8Array.from([...prefix, ...of(below(random, 3))]);
      const end = prefixEnd(prefix);
      const isIn = compareBytes(key, prefix) >= 0 && (end === undefined || compareBytes(key, end) < 0);
      expect(isIn).toBe(equalBytes(key.subarray(0, prefix.length), prefix));
    });
  });
});
