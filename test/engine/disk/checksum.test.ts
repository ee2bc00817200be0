import { expect, test } from 'vitest';
import { crc32c } from '../../../src/core/base/crc32c.ts';
import { checksum } from '../../../src/engine/disk/checksum.ts';
import { below, forSeeds, randomBytes } from '../../core/base/seeded.ts';

test('both ways give the same checksum, of any part, of shared memory too', () => {
  expect(checksum(new TextEncoder().encode('x123456789x'), 1, 10)).toBe(0xe3069283);
  forSeeds(100, (random) => {
    const bytes = randomBytes(random, 400);
    const from = below(random, 200);
    const to = from + below(random, 200);
    const shared = new Uint8Array(new SharedArrayBuffer(400));
    shared.set(bytes);
    expect(checksum(bytes, from, to)).toBe(crc32c(bytes.slice(from, to)));
    expect(checksum(shared, from, to)).toBe(crc32c(bytes.slice(from, to)));
    // Going on from a seed, as the log's chunks do.
    const seed = below(random, 2 ** 32);
    expect(checksum(bytes, from, to, seed)).toBe(crc32c(bytes, from, to, seed));
  });
});
