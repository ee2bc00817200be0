import { expect, test } from 'vitest';
import { compareBytes } from '../../../../src/core/base/bytes.ts';
import {
  compareInternal,
  encodeInternalKey,
  isVersionOf,
  makeInternalKey,
  revisionOf,
  typeOf,
  userKeyLength,
} from '../../../../src/engine/lsm/sstable/keys.ts';
import { shortestSeparator, shortSuccessor } from '../../../../src/engine/lsm/sstable/separators.ts';
import { below, forSeeds, pick, randomBytes } from '../../../core/base/seeded.ts';
import { bytes, hex } from './tables.ts';

const REVISIONS = [0, 1, 255, 256, 2 ** 24, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 40 + 5, 2 ** 48, 2 ** 53 - 1];

/** A user key of few bytes, so that prefixes and equal keys are common. */
const someKey = (random: () => number): Uint8Array =>
  randomBytes(random, below(random, 5)).map((byte) => pick(random, [0, 0x61, 0x62, 0x63, 0xfe, 0xff, byte]));

/** The packed number as LevelDB has it. */
const packed = (key: Uint8Array): bigint => Buffer.from(key).readBigUInt64LE(key.length - 8);

const compare = (a: Uint8Array, b: Uint8Array): number => compareInternal(a, a.length, b, b.length);

test('a key gives back what it was made of, and is the number LevelDB writes', () => {
  forSeeds(50, (random) => {
    const userKey = randomBytes(random, below(random, 40));
    for (const revision of REVISIONS) {
      const type = below(random, 2);
      const key = makeInternalKey(userKey, revision, type);
      expect(packed(key)).toBe((BigInt(revision) << 8n) | BigInt(type));
      expect(revisionOf(key, key.length)).toBe(revision);
      expect(typeOf(key, key.length)).toBe(type);
      expect(key.subarray(0, userKeyLength(key.length))).toEqual(userKey);
      const into = new Uint8Array(100).fill(0xee);
      expect(encodeInternalKey(into, userKey, revision, type)).toBe(key.length);
      expect(into.slice(0, key.length)).toEqual(key);
      expect(into.slice(key.length).every((byte) => byte === 0xee)).toBe(true);
    }
  });
});

test('a key that does not fit its buffer, and a revision that is no safe integer, are bugs', () => {
  expect(() => encodeInternalKey(new Uint8Array(10), bytes('abc'), 1, 1)).toThrow('fits its buffer');
  for (const revision of [-1, 0.5, 2 ** 53, Number.NaN]) {
    expect(() => makeInternalKey(bytes('a'), revision, 1)).toThrow('safe integer');
  }
});

test('keys go up and numbers down', () => {
  forSeeds(300, (random) => {
    const a = makeInternalKey(someKey(random), pick(random, REVISIONS), below(random, 2));
    const b = random() < 0.1 ? a : makeInternalKey(someKey(random), pick(random, REVISIONS), below(random, 2));
    const byUser = compareBytes(a.subarray(0, -8), b.subarray(0, -8));
    const byNumber = packed(a) === packed(b) ? 0 : packed(a) > packed(b) ? -1 : 1;
    const answer = Math.sign(byUser === 0 ? byNumber : byUser);
    expect(Math.sign(compare(a, b))).toBe(answer);
    expect(Math.sign(compare(b, a))).toBe(0 - answer);
    const longer = [a, b].map((key) => Uint8Array.from([...key, 9, 9])) as [Uint8Array, Uint8Array];
    expect(Math.sign(compareInternal(longer[0], a.length, longer[1], b.length))).toBe(answer);
    expect(isVersionOf(a, a.length, b.subarray(0, -8))).toBe(byUser === 0);
  });
});

const separator = (a: Uint8Array, b: Uint8Array): Uint8Array => {
  const key = a.slice();
  return key.slice(0, shortestSeparator(key, key.length, b, b.length));
};

const successor = (a: Uint8Array): Uint8Array => {
  const key = a.slice();
  return key.slice(0, shortSuccessor(key, key.length));
};

const key = (userKey: string, revision: number, type = 1): Uint8Array =>
  makeInternalKey(bytes(userKey), revision, type);
/** kMaxSequenceNumber with kValueTypeForSeek. */
const highest = (userKey: string): Uint8Array =>
  Uint8Array.from([...bytes(userKey), 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);

// LevelDB's dbformat_test.cc.
test.each([
  ['user keys are the same', key('foo', 100), key('foo', 99), key('foo', 100)],
  ['user keys are the same, upwards', key('foo', 100), key('foo', 101), key('foo', 100)],
  ['equal', key('foo', 100), key('foo', 100), key('foo', 100)],
  ['only the type differs', key('foo', 100), key('foo', 100, 0), key('foo', 100)],
  ['user keys are out of order', key('foo', 100), key('bar', 99), key('foo', 100)],
  ['different, shortened', key('foo', 100), key('hello', 200), highest('g')],
  ['the start is a prefix', key('foo', 100), key('foobar', 200), key('foo', 100)],
  ['the end is a prefix', key('foobar', 100), key('foo', 200), key('foobar', 100)],
  ['no byte between', key('foo1', 100), key('foo2', 100), key('foo1', 100)],
  ['not shorter', key('foo1', 100), key('foo9', 100), key('foo1', 100)],
  ['0xff cannot be raised', key('a\xffx', 1), key('b', 1), key('a\xffx', 1)],
])('separator: %s', (_, a, b, expected) => {
  expect(hex(separator(a, b))).toBe(hex(expected));
});

test.each([
  ['raised', key('foo', 100), highest('g')],
  ['not shorter', key('f', 100), key('f', 100)],
  ['0xff is passed over', key('\xff\xffab', 100), highest('\xff\xffb')],
  ['all 0xff', key('\xff\xff', 100), key('\xff\xff', 100)],
  ['empty', key('', 100), key('', 100)],
])('successor: %s', (_, a, expected) => {
  expect(hex(successor(a))).toBe(hex(expected));
});

test('a separator is not before the first key, before the second, and of a user key of its own if it is shorter', () => {
  forSeeds(500, (random) => {
    const a = makeInternalKey(someKey(random), pick(random, REVISIONS), below(random, 2));
    const b = makeInternalKey(someKey(random), pick(random, REVISIONS), below(random, 2));
    if (compare(a, b) >= 0) return;
    const between = separator(a, b);
    expect(compare(a, between)).toBeLessThanOrEqual(0);
    expect(compare(between, b)).toBeLessThan(0);
    const after = successor(a);
    expect(compare(a, after)).toBeLessThanOrEqual(0);
    for (const made of [between, after]) {
      if (hex(made) === hex(a)) continue;
      expect(made.length).toBeLessThan(a.length);
      expect(compareBytes(a.subarray(0, -8), made.subarray(0, -8))).toBeLessThan(0);
    }
    if (hex(between) !== hex(a)) expect(compareBytes(between.subarray(0, -8), b.subarray(0, -8))).toBeLessThan(0);
  });
});
