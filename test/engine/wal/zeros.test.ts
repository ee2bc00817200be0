/** Zeros are skipped by pieces, and nothing that is not zero ever is. */
import { expect, test } from 'vitest';
import { endOfContent, skipZeros } from '../../../src/engine/wal/zeros.ts';

test.each([0, 1, 511, 512, 513, 1024, 1600])('a byte at %i of 1601 is never passed', (at) => {
  const bytes = new Uint8Array(1_601);
  bytes[at] = 7;
  for (const from of [0, 1, 7, 500, 513]) {
    const end = skipZeros(bytes, from, bytes.length);
    expect(end).toBeGreaterThanOrEqual(from);
    expect(end <= at || from > at).toBe(true);
  }
  for (const length of [at, at + 1, bytes.length]) expect(endOfContent(bytes, length)).toBe(length > at ? at + 1 : 0);
});

test('zeros are skipped to less than a piece before their end', () => {
  const bytes = new Uint8Array(5_000);
  expect(5_000 - skipZeros(bytes, 3, bytes.length)).toBeLessThan(512);
  expect(endOfContent(bytes, bytes.length)).toBe(0);
});
