import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { array, assert, constant, integer, oneof, property } from 'fast-check';
import { expect, onTestFinished, test } from 'vitest';
import { createRing, frameBytesMax, RingReader, RingWriter } from '../../../src/actors/runtime/ring.ts';

const CAPACITY = 256;

/** A ring whose positions already stand at `at`, as after so many bytes. */
function ringAt(at: number, capacity = CAPACITY): { writer: RingWriter; reader: RingReader } {
  const buffer = createRing(capacity);
  new Int32Array(buffer, 0, 2).fill(at | 0);
  return { writer: new RingWriter(buffer), reader: new RingReader(buffer) };
}

const START = oneof(
  constant(0),
  // Around the places where the positions lose their sign, and where they begin again.
  integer({ min: 0x8000_0000 - 2 * CAPACITY, max: 0x8000_0000 + CAPACITY }).map((at) => at & ~3),
  integer({ min: 0x1_0000_0000 - 3 * CAPACITY, max: 0x1_0000_0000 - 4 }).map((at) => at & ~3),
);

test('a ring is a queue of frames, whatever their sizes and wherever its positions stand', () => {
  assert(
    property(
      START,
      array(
        oneof(
          { weight: 3, arbitrary: integer({ min: 0, max: frameBytesMax(CAPACITY) }) },
          { weight: 2, arbitrary: constant('read' as const) },
        ),
        { maxLength: 200 },
      ),
      (start, steps) => {
        const { writer, reader } = ringAt(start);
        const model: Uint8Array[] = [];
        let n = 0;
        for (const step of steps) {
          if (step === 'read') {
            const frame = reader.peek();
            expect(frame?.slice()).toEqual(model.shift());
            if (frame !== undefined) reader.pop();
          } else {
            const frame = new Uint8Array(step).fill(++n);
            if (writer.write(frame)) model.push(frame);
            // An empty ring takes any frame.
            else expect(model.length).toBeGreaterThan(0);
          }
          expect(writer.usedBytes).toBeLessThanOrEqual(CAPACITY);
          expect(writer.freeBytes + writer.usedBytes).toBe(CAPACITY);
          expect(writer.usedBytes === 0).toBe(model.length === 0);
          expect(writer.frames).toBe(model.length);
        }
        for (const frame of model) {
          expect(reader.peek()?.slice()).toEqual(frame);
          reader.pop();
        }
        expect(reader.peek()).toBeUndefined();
        expect(reader.usedBytes).toBe(0);
      },
    ),
    { numRuns: 300 },
  );
});

test('a full ring takes nothing more and loses nothing', () => {
  const { writer, reader } = ringAt(0);
  const frame = Uint8Array.of(1, 2, 3, 4);
  let count = 0;
  while (writer.write(frame)) count++;
  expect(count).toBe(CAPACITY / 8);
  expect(writer.write(new Uint8Array(0))).toBe(false);
  expect(writer.freeBytes).toBe(0);
  for (let i = 0; i < count; i++) {
    expect(reader.peek()?.slice()).toEqual(frame);
    reader.pop();
  }
  expect(writer.freeBytes).toBe(CAPACITY);
});

test('the largest frame fits into an empty ring at every position; a larger one is a bug', () => {
  const frame = new Uint8Array(frameBytesMax(CAPACITY)).fill(7);
  for (let at = 0; at < CAPACITY; at += 4) {
    const { writer, reader } = ringAt(at);
    expect(writer.write(frame)).toBe(true);
    expect(reader.peek()?.slice()).toEqual(frame);
  }
  const { writer } = ringAt(0);
  expect(() => writer.write(new Uint8Array(frame.length + 1))).toThrow(/half a ring/);
});

test('a frame that was looked at and not taken stays the oldest', () => {
  const { writer, reader } = ringAt(0);
  writer.write(Uint8Array.of(1));
  writer.write(Uint8Array.of(2));
  expect(reader.peek()?.slice()).toEqual(Uint8Array.of(1));
  expect(reader.peek()?.slice()).toEqual(Uint8Array.of(1));
  reader.pop();
  expect(reader.peek()?.slice()).toEqual(Uint8Array.of(2));
});

test('a capacity that is no power of two is refused', () => {
  expect(() => new RingWriter(createRing(100))).toThrow(/power of two/);
});

test('two hundred thousand frames cross between two threads, whole and in order', { timeout: 150_000 }, async () => {
  const count = 200_000;
  const capacity = 16 * 1024;
  const buffer = createRing(capacity);
  // The positions pass 2^32 on the way.
  new Int32Array(buffer, 0, 2).fill((0x1_0000_0000 - 1024 * 1024) | 0);
  const worker = new Worker(new URL('../fixtures/ring-writer.ts', import.meta.url), {
    workerData: { buffer, count, bytesMax: 700 },
  });
  onTestFinished(async () => {
    await worker.terminate();
  });
  let failure: string | undefined;
  worker.on('error', (error) => (failure = String(error)));
  await once(worker, 'online');
  const reader = new RingReader(buffer);
  let bad = 0;
  const deadlineMs = performance.now() + 120_000;
  for (let n = 0; n < count; ) {
    const frame = reader.peek();
    if (frame === undefined) {
      if (failure !== undefined || performance.now() > deadlineMs) throw new Error(`after ${n}: ${failure}`);
      await new Promise((resolve) => setImmediate(resolve));
      continue;
    }
    const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
    if (frame.length !== 4 + ((n * 31) % 700) || view.getUint32(0, true) !== n) bad++;
    for (let i = 4; i < frame.length; i++) if (frame[i] !== (n & 0xff)) bad++;
    reader.pop();
    n++;
  }
  expect(bad).toBe(0);
  expect(reader.peek()).toBeUndefined();
});
