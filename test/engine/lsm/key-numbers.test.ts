import { expect, test } from 'vitest';
import { compareBytes } from '../../../src/core/base/bytes.ts';
import { KeyNumbers } from '../../../src/engine/lsm/key-numbers.ts';
import { below, forSeeds, pick, randomBytes } from '../../core/base/seeded.ts';

const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'latin1'));
const numbered = (prefix: string, count: number): Uint8Array[] =>
  Array.from({ length: count }, (_, n) => bytes(`${prefix}${String(n * 7).padStart(12, '0')}`));

/** The first key that is not before `user`. */
const placeOf = (keys: readonly Uint8Array[], user: Uint8Array): number => {
  const place = keys.findIndex((key) => compareBytes(key, user) >= 0);
  return place < 0 ? keys.length : place;
};

test('numbers say the place of a key, or nothing, among keys of any kinds', () => {
  let told = 0;
  let asked = 0;
  forSeeds(400, (random) => {
    // Beginnings that are beginnings of each other, and none.
    const beginnings = Array.from({ length: 1 + below(random, 5) }, () =>
      randomBytes(random, below(random, 9)).map((byte) => byte & 1),
    );
    const keys = new Map<string, Uint8Array>();
    for (let i = below(random, 80); i >= 0; i--) {
      const key = Uint8Array.from([
        ...pick(random, beginnings),
        ...randomBytes(random, below(random, pick(random, [1, 3, 12]))),
      ]);
      keys.set(Buffer.from(key).toString('latin1'), key);
    }
    const sorted = [...keys.values()].sort(compareBytes);
    const numbers = new KeyNumbers(sorted);
    for (let i = 0; i < 60; i++) {
      const near = pick(random, sorted);
      const user = pick(random, [
        near,
        near.slice(0, below(random, near.length + 1)),
        Uint8Array.from([...near, below(random, 256)]),
        near.map((byte, at) => (at === near.length - 1 ? (byte + pick(random, [1, 255])) & 0xff : byte)),
        pick(random, beginnings),
        randomBytes(random, below(random, 8)),
      ]);
      const place = numbers.find(user);
      asked++;
      if (place < 0) continue;
      told++;
      if (place !== placeOf(sorted, user)) expect(place).toBe(placeOf(sorted, user));
    }
  });
  expect(told).toBeGreaterThan(asked / 5);
});

test('keys of two kinds are told apart, each among its own', () => {
  const sorted = [bytes('m'), ...numbered('ledger/', 40), ...numbered('user/k/', 200), bytes('v')].sort(compareBytes);
  const numbers = new KeyNumbers(sorted);
  for (const prefix of ['ledger/', 'user/k/']) {
    for (let n = 1; n < 270; n += 3) {
      const user = bytes(`${prefix}${String(n * 5 + 1).padStart(12, '0')}`);
      if (n * 5 + 1 > 270 || (n * 5 + 1) % 7 === 0) continue;
      expect(numbers.find(user)).toBe(placeOf(sorted, user));
    }
  }
  expect(numbers.find(bytes('w'))).toBe(-1);
});

test('no keys have no place, and many kinds are left to the keys', () => {
  expect(new KeyNumbers([]).find(bytes('a'))).toBe(-1);
  const many = Array.from({ length: 26 }, (_, i) => numbered(`${String.fromCharCode(97 + i)}/some/where/`, 9)).flat();
  const numbers = new KeyNumbers(many);
  for (const key of many) {
    const user = Uint8Array.from([...key, 1]);
    expect([-1, placeOf(many, user)]).toContain(numbers.find(user));
  }
});
