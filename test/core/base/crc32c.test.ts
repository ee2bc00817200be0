import { expect, test } from 'vitest';
import { utf8 } from '../../../src/core/base/bytes.ts';
import { crc32c, mask } from '../../../src/core/base/crc32c.ts';
import { below, forSeeds, randomBytes } from './seeded.ts';

/** The definition, one bit at a time. */
function bitwise(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  }
  return ~crc >>> 0;
}

test('the check value and the vectors of RFC 3720 come out', () => {
  expect(crc32c(utf8('123456789'))).toBe(0xe3069283);
  expect(crc32c(new Uint8Array(32))).toBe(0x8a9136aa);
  expect(crc32c(new Uint8Array(32).fill(0xff))).toBe(0x62a8ab43);
  expect(crc32c(Uint8Array.from({ length: 32 }, (_, i) => i))).toBe(0x46dd794e);
  expect(crc32c(new Uint8Array(0))).toBe(0);
});

test('eight bytes at a time gives what one bit at a time gives, at any length and alignment', () => {
  forSeeds(400, (random) => {
    const bytes = randomBytes(random, below(random, 90));
    const from = below(random, bytes.length + 1);
    const to = from + below(random, bytes.length - from + 1);
    expect(crc32c(bytes, from, to)).toBe(bitwise(bytes.slice(from, to)));
    expect(crc32c(bytes.subarray(from, to))).toBe(bitwise(bytes.slice(from, to)));
  });
});

test('a checksum goes on from the one of the bytes before', () => {
  forSeeds(100, (random) => {
    const bytes = randomBytes(random, below(random, 200));
    const cut = below(random, bytes.length + 1);
    expect(crc32c(bytes, cut, bytes.length, crc32c(bytes, 0, cut))).toBe(crc32c(bytes));
  });
});

test("the mask is LevelDB's, and no two checksums share one", () => {
  const unmask = (masked: number): number => {
    const rotated = (masked - 0xa282ead8) >>> 0;
    return ((rotated >>> 17) | (rotated << 15)) >>> 0;
  };
  const crc = crc32c(utf8('foo'));
  expect(mask(crc)).not.toBe(crc);
  expect(mask(mask(crc))).not.toBe(crc);
  forSeeds(200, (random) => {
    const value = below(random, 2 ** 32);
    expect(unmask(mask(value))).toBe(value);
  });
});
