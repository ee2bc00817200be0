import { expect, test } from 'vitest';
import { ByteWriter } from '../../../../src/core/base/bytes.ts';
import { encodeEnvelope, envelopeExpiryMs, envelopeValueStart } from '../../../../src/engine/lsm/sstable/envelope.ts';
import { bytes, hex } from './tables.ts';

const envelope = (expiryMs: number, value: Uint8Array): Uint8Array => {
  const writer = new ByteWriter(4);
  encodeEnvelope(writer, expiryMs, value);
  return writer.take();
};

test('the bytes are the documented ones', () => {
  expect(hex(envelope(0, bytes('xyz')))).toBe('0078797a');
  expect(hex(envelope(0x0102_0304_0506, bytes('xyz')))).toBe('01060504030201000078797a');
});

test.each([0, 1, 2 ** 32 - 1, 2 ** 32, 1_700_000_000_000, 2 ** 53 - 1])('an expiry of %d comes back', (expiryMs) => {
  for (const value of ['', 'x', 'a longer value']) {
    const stored = envelope(expiryMs, bytes(value));
    const inside = Uint8Array.from([0xaa, 1, ...stored, 1, 0xbb]);
    expect(envelopeExpiryMs(stored)).toBe(expiryMs);
    expect(envelopeExpiryMs(inside, 2, inside.length - 2)).toBe(expiryMs);
    expect(stored.subarray(envelopeValueStart(stored))).toEqual(bytes(value));
    expect(envelopeValueStart(inside, 2, inside.length - 2)).toBe(2 + envelopeValueStart(stored));
  }
});

test('what is no envelope has no value and no expiry', () => {
  const cut = envelope(5, bytes('')).slice(0, -1);
  const unknown = Uint8Array.from([2, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
  const both = Uint8Array.from([3, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
  const tooLate = Uint8Array.from([1, 0, 0, 0, 0, 0, 0, 0x20, 0, 0]);
  for (const stored of [bytes(''), cut, unknown, both, tooLate]) {
    expect(envelopeValueStart(stored)).toBe(-1);
    expect(envelopeExpiryMs(stored)).toBe(0);
  }
  // What stands behind the end is not looked at.
  expect(envelopeValueStart(envelope(5, bytes('xyz')), 0, 8)).toBe(-1);
  expect(envelopeExpiryMs(envelope(5, bytes('xyz')), 0, 8)).toBe(0);
});
