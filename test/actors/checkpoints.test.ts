import { expect, test } from 'vitest';
import {
  checkpointBefore,
  CheckpointReader,
  CheckpointWriter,
  createCheckpoints,
  isCheckpoint,
} from '../../src/actors/checkpoints.ts';
import { below, forSeeds } from '../core/base/seeded.ts';

const KEPT = 4096 * 64;

test('a revision has the hash that was noted for it, until 4096 later ones were', () => {
  forSeeds(20, (random) => {
    const buffer = createCheckpoints();
    const [writer, reader] = [new CheckpointWriter(buffer), new CheckpointReader(buffer)];
    const start = 64 * below(random, 2 ** 40);
    const hashOf = (revision: number): number => Math.imul(revision / 64, 0x9e3779b1) >>> 0;
    const last = start + 64 * below(random, 10_000);
    for (let at = start; at <= last; at += 64) writer.note(at, hashOf(at), hashOf(at) ^ 5);
    for (let i = 0; i < 500; i++) {
      const at = start + 64 * (below(random, 12_000) - 1_000);
      if (at < 0) continue;
      const isKept = at >= start && at <= last && at > last - KEPT;
      expect(reader.at(at), `${at} of ${start} to ${last}`).toBe(isKept ? hashOf(at) : undefined);
      expect(reader.ledgerAt(at)).toBe(isKept ? (hashOf(at) ^ 5) >>> 0 : undefined);
    }
  });
});

test('nothing is there at first, whatever the numbers come to', () => {
  const reader = new CheckpointReader(createCheckpoints());
  for (const number of [0, 1, 4095, 4096, 2 ** 32, 2 ** 32 - 1, 2 ** 40 + 4095]) {
    expect(reader.at(64 * number)).toBeUndefined();
  }
});

test('a slot that is half written is absent, at every step of its writing', () => {
  const buffer = createCheckpoints();
  const words = new Int32Array(buffer);
  const [writer, reader] = [new CheckpointWriter(buffer), new CheckpointReader(buffer)];
  const [old, next] = [64 * 3, 64 * (3 + 4096)];
  writer.note(next, 222, 2);
  const after = [...words];
  writer.note(old, 111, 1);
  expect(reader.at(old)).toBe(111);
  // The writer's steps, one by one, up to the last.
  for (const at of [12, 13, 14]) {
    words[at] = after[at] as number;
    expect([reader.at(old), reader.at(next)]).toEqual([undefined, undefined]);
    expect([reader.ledgerAt(old), reader.ledgerAt(next)]).toEqual([undefined, undefined]);
  }
  words[15] = after[15] as number;
  expect([reader.at(old), reader.at(next)]).toEqual([undefined, 222]);
});

test('checkpoints are the multiples of 64', () => {
  expect([0, 1, 63, 64, 65, 2 ** 40, 2 ** 40 + 32].map(isCheckpoint)).toEqual([
    true,
    false,
    false,
    true,
    false,
    true,
    false,
  ]);
  expect([0, 63, 64, 127, 2 ** 40 + 5].map(checkpointBefore)).toEqual([0, 0, 64, 64, 2 ** 40]);
});
