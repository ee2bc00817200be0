import { expect, test } from 'vitest';
import {
  decodeVersion,
  encodeVersion,
  type PublishedVersion,
} from '../../../../src/engine/lsm/shared/version-codec.ts';
import type { TableRef } from '../../../../src/engine/lsm/tree/version.ts';
import type { Random } from '../../../../src/core/base/env.ts';
import { below, forSeeds, randomBytes } from '../../../core/base/seeded.ts';

const NONE: ReadonlyMap<number, TableRef> = new Map();
const counter = (random: Random): number => Math.floor(random() * 2 ** below(random, 54));

function tableOf(random: Random, number: number): TableRef {
  return {
    number,
    fileBytes: counter(random),
    smallest: randomBytes(random, 8 + below(random, 40)),
    largest: randomBytes(random, 8 + below(random, 400)),
    entries: counter(random),
    tombstones: counter(random),
    smallestRevision: counter(random),
    largestRevision: counter(random),
    earliestExpiryMs: counter(random),
  };
}

function versionOf(random: Random, number: number): PublishedVersion {
  return {
    number,
    flushedGeneration: counter(random),
    floor: counter(random),
    levels: Array.from({ length: 7 }, (_, level) =>
      Array.from({ length: below(random, 5) }, (__, i) => tableOf(random, level * 2 ** 45 + i * 1000 + 1)),
    ),
  };
}

test('a version comes back whole: every field, every level, numbers up to 2^53', () => {
  forSeeds(100, (random) => {
    const version = versionOf(random, 1 + below(random, 2 ** 31 - 1));
    expect(decodeVersion(encodeVersion(version), NONE)).toEqual(version);
  });
});

test('tables that are known are the same objects, wherever they stand now; new ones do not hold on to the bytes', () => {
  forSeeds(50, (random) => {
    const version = versionOf(random, 1);
    const tables = version.levels.flat();
    const known = new Map(tables.filter(() => random() < 0.5).map((table) => [table.number, table]));
    const moved = { ...version, number: 2, levels: version.levels.toReversed() };
    const bytes = encodeVersion(moved).slice();
    const decoded = decodeVersion(bytes, known);
    bytes.fill(0xee);
    expect(decoded).toEqual(moved);
    const back = new Map(decoded.levels.flat().map((table) => [table.number, table]));
    for (const table of tables) expect(back.get(table.number) === table).toBe(known.has(table.number));
  });
});

test('bytes that are cut or too many are refused', () => {
  forSeeds(1, (random) => {
    const bytes = encodeVersion({ ...versionOf(random, 1), levels: [[tableOf(random, 5)]] }).slice();
    for (let length = 0; length < bytes.length; length++) {
      expect(() => decodeVersion(bytes.subarray(0, length), NONE)).toThrow(
        expect.objectContaining({ code: 'PROTOCOL_ERROR' }),
      );
    }
    expect(() => decodeVersion(Uint8Array.of(...bytes, 0), NONE)).toThrow('too many');
  });
});
