import { expect, test } from 'vitest';
import { compress, uncompress } from 'snappyjs';
import { snappyCompress, snappyUncompress } from '../../../../src/engine/lsm/sstable/compression.ts';
import { below, forSeeds, pick, randomBytes } from '../../../core/base/seeded.ts';
import { bytes } from './tables.ts';

test('what was compressed comes back, from the middle of a buffer too', () => {
  forSeeds(60, (random) => {
    const length = pick(random, [0, 1, 14, 15, 16, 60, 61, 300, 4096, 65_535, 65_536, 65_537, 200_000]);
    const noise = randomBytes(random, 1 + below(random, 300));
    const original = Uint8Array.from({ length }, (_, i) => noise[i % noise.length] as number);
    if (random() < 0.3) original.set(randomBytes(random, length >>> 1));
    const compressed = compress(original);
    const buffer = Uint8Array.from([1, 2, 3, ...compressed, 4, 5]);
    expect(snappyUncompress(buffer.subarray(3, 3 + compressed.length))).toEqual(original);
    expect(snappyUncompress(compressed.slice(0, -1))).toBeUndefined();
    const kept = snappyCompress(buffer.subarray(3));
    if (kept === undefined) return;
    expect(snappyUncompress(kept)).toEqual(buffer.subarray(3));
    expect(uncompress(kept), 'others read it').toEqual(buffer.subarray(3));
  });
});

test('a block that does not save an eighth is left as it is', () => {
  forSeeds(20, (random) => {
    const noise = randomBytes(random, 4000);
    expect(snappyCompress(noise)).toBeUndefined();
    const isWorth = random() < 0.5;
    const zeros = isWorth ? 700 + below(random, 300) : below(random, 500);
    const mixed = Uint8Array.from([...noise, ...new Uint8Array(zeros)]);
    expect(snappyCompress(mixed) !== undefined, `${zeros} zeros`).toBe(isWorth);
  });
  expect(snappyCompress(new Uint8Array(0))).toBeUndefined();
});

const varint = (value: number): number[] => {
  const out: number[] = [];
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) out.push((rest % 0x80) | 0x80);
  return [...out, rest];
};
const literal = (...content: number[]): number[] => [(content.length - 1) << 2, ...content];

test('every kind of tag is understood', () => {
  const text = (stream: number[]): string | undefined => {
    const made = snappyUncompress(Uint8Array.from(stream));
    return made && Buffer.from(made).toString('latin1');
  };
  const a = [...bytes('abcd')];
  expect(text([4, ...literal(...a)])).toBe('abcd');
  expect(text([8, ...literal(...a), 0x01, 4])).toBe('abcdabcd');
  expect(text([9, ...literal(...a), (4 << 2) | 2, 2, 0])).toBe('abcdcdcdc');
  expect(text([6, ...literal(...a), (1 << 2) | 3, 4, 0, 0, 0])).toBe('abcdab');
  for (const width of [1, 2, 3, 4]) {
    const content = Array.from({ length: 70 }, () => 0x78);
    const size = [69, 0, 0, 0].slice(0, width);
    expect(text([70, (59 + width) << 2, ...size, ...content])).toBe('x'.repeat(70));
  }
  expect(text([0])).toBe('');
});

test.each<[string, number[]]>([
  ['no length', []],
  ['a length without an end', [0x80, 0x80]],
  ['a length of six bytes', [0x80, 0x80, 0x80, 0x80, 0x80, 0]],
  ['4 GiB announced', [0xff, 0xff, 0xff, 0xff, 0x0f, ...literal(1)]],
  ['more than 32 bits announced', [0xff, 0xff, 0xff, 0xff, 0x7f, ...literal(1)]],
  ['less than announced', [5, ...literal(1, 2, 3, 4)]],
  ['more than announced', [3, ...literal(1, 2, 3, 4)]],
  ['a literal that is cut off', [4, 3 << 2, 1, 2, 3]],
  ['a long literal without its length', [70, 61 << 2, 69]],
  ['a literal of 4 GiB', [70, 63 << 2, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4]],
  ['a literal of minus 2 GiB, to snappyjs', [70, 63 << 2, 0xff, 0xff, 0xff, 0x7f, 1, 2, 3, 4]],
  ['a copy of nothing', [8, ...literal(1, 2, 3, 4), 0x01, 0]],
  ['a copy from before the beginning', [8, ...literal(1, 2, 3, 4), 0x01, 5]],
  ['a copy that is cut off (11 bits)', [8, ...literal(1, 2, 3, 4), 0x01]],
  ['a copy that is cut off (16 bits)', [8, ...literal(1, 2, 3, 4), 0x0e, 4]],
  ['a copy that is cut off (32 bits)', [8, ...literal(1, 2, 3, 4), 0x0f, 4, 0, 0]],
  ['a copy from 4 GiB before', [8, ...literal(1, 2, 3, 4), 0x0f, 0xff, 0xff, 0xff, 0xff]],
  ['a copy first', [4, 0x01, 1]],
  ['many announced, few there', [...varint(1_000_000), ...literal(1)]],
])('a stream with %s is none', (_, stream) => {
  expect(snappyUncompress(Uint8Array.from(stream))).toBeUndefined();
});

test('whatever bytes come, uncompressing ends, with what they announce or with nothing', () => {
  forSeeds(300, (random) => {
    const original = new Uint8Array(below(random, 300)).map(() => below(random, 3));
    const stream = random() < 0.2 ? randomBytes(random, below(random, 40)) : compress(original);
    for (let i = below(random, 3); i >= 0 && stream.length > 0; i--)
      stream[below(random, stream.length)] = below(random, 256);
    const made = snappyUncompress(stream);
    if (made === undefined) return;
    let announced = 0;
    for (let i = 0; ; i++) {
      announced += ((stream[i] as number) & 0x7f) * 0x80 ** i;
      if ((stream[i] as number) < 0x80) break;
    }
    expect(made.length).toBe(announced);
  });
});
