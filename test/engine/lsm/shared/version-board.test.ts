import { expect, test } from 'vitest';
import { InvariantViolation } from '../../../../src/core/base/assert.ts';
import { createVersionBoard, VersionBoard } from '../../../../src/engine/lsm/shared/version-board.ts';
import { below, forSeeds, randomBytes } from '../../../core/base/seeded.ts';
import { type BoardArgs, bytesMaxAt, recordOf } from './board-reader.ts';
import { startCrew } from './crew.ts';

const PAUSE = new Int32Array(new SharedArrayBuffer(4));

test('a board gives the newest record, as a copy, and nothing before the first', () => {
  const owner = new VersionBoard(createVersionBoard());
  const reader = new VersionBoard(owner.memory);
  expect(reader.read()).toBeUndefined();
  const bytes = Uint8Array.of(1, 2, 3);
  owner.publish(4, bytes);
  bytes.fill(9);
  const record = reader.read();
  expect(record).toEqual({ number: 4, bytes: Uint8Array.of(1, 2, 3) });
  owner.publish(9, new Uint8Array(0));
  expect(reader.read()).toEqual({ number: 9, bytes: new Uint8Array(0) });
  expect(record?.bytes).toEqual(Uint8Array.of(1, 2, 3));
  expect(record?.bytes.buffer).toBeInstanceOf(ArrayBuffer);
});

test('records of any length, in any order, come back as they were, also to who attached before the board grew', () => {
  forSeeds(30, (random) => {
    const owner = new VersionBoard(createVersionBoard(8192, 8 * 1024 * 1024));
    const reader = new VersionBoard(owner.memory);
    for (let number = 1; number <= 60; number++) {
      const bytes = randomBytes(random, below(random, 1 << below(random, 15)));
      owner.publish(number, bytes);
      expect(Buffer.compare(reader.read()?.bytes ?? new Uint8Array(1), bytes)).toBe(0);
      expect(reader.read()?.number).toBe(number);
    }
  });
});

test('a board of small records does not grow however many there are', () => {
  const owner = new VersionBoard(createVersionBoard(16 * 1024, 1024 * 1024));
  for (let number = 1; number <= 10_000; number++) owner.publish(number, new Uint8Array(number % 2000));
  expect(owner.memory.byteLength).toBe(16 * 1024);
});

test('a record that does not fit is refused, and the one before stays', () => {
  const owner = new VersionBoard(createVersionBoard(8192, 64 * 1024));
  owner.publish(1, Uint8Array.of(7));
  const limit = { code: 'OVERLOADED', data: expect.objectContaining({ limit: 64 * 1024 }) };
  expect(() => owner.publish(2, new Uint8Array(64 * 1024))).toThrow(expect.objectContaining(limit));
  expect(owner.read()).toEqual({ number: 1, bytes: Uint8Array.of(7) });
  owner.publish(2, Uint8Array.of(8));
  expect(owner.read()).toEqual({ number: 2, bytes: Uint8Array.of(8) });
});

test('version numbers rise', () => {
  const owner = new VersionBoard(createVersionBoard());
  owner.publish(2, Uint8Array.of(1));
  expect(() => owner.publish(2, Uint8Array.of(1))).toThrow(InvariantViolation);
});

test('no thread ever reads a torn record or an older one, while records change, grow and move', async () => {
  const steps = [8, 64, 512, 4096, 20_000].map((bytes, i) => [i * 20_000, bytes] as const);
  const owner = new VersionBoard(createVersionBoard(8192, 16 * 1024 * 1024));
  let number = 1;
  owner.publish(number, recordOf(number, bytesMaxAt(steps, number)));
  const args: BoardArgs = { board: owner.memory, steps };
  const crew = await startCrew(new URL('./board-reader.ts', import.meta.url), 2, args);
  while (!crew.isDone(50_000, number > 120_000)) {
    number++;
    owner.publish(number, recordOf(number, bytesMaxAt(steps, number)));
    // Pauses of all lengths: readers must also get through, and meet the owner at each place.
    for (let i = number % 97; i > 0; i--) Atomics.load(PAUSE, 0);
  }
  const reports = await crew.finish();
  expect(reports.flatMap(({ faults }) => faults)).toEqual([]);
  for (const { rounds } of reports) expect(rounds).toBeGreaterThanOrEqual(50_000);
  expect(owner.memory.byteLength).toBeGreaterThan(8192);
}, 60_000);
