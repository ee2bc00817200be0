import { array, assert, integer, property, tuple } from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ByteWriter, utf8 } from '../../../src/core/base/bytes.ts';
import { toIndex } from '../../../src/core/base/position.ts';
import { decodeRecords, encodeRecord } from '../../../src/core/model/ledger.ts';
import { LedgerWindow } from '../../../src/core/model/window.ts';

/** Whole records from `first` on, with values of these sizes. */
function chunk(first: number, sizes: readonly number[]): Uint8Array {
  const writer = new ByteWriter(256);
  for (const [i, bytes] of sizes.entries()) {
    encodeRecord(writer, {
      revision: toIndex(first + i),
      timeMs: first + i,
      changes: [{ kind: 'put', key: utf8(`k${first + i}`), value: new Uint8Array(bytes), expiryMs: 0 }],
    });
  }
  return writer.take();
}

const revisionsIn = (bytes: Uint8Array): number[] => decodeRecords(bytes).map(({ revision }) => revision);
const upTo = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, i) => from + i);

/** Everything from `from` on, read part by part. */
function readAll(window: LedgerWindow, from: number, bytesMax: number): number[] {
  const revisions: number[] = [];
  for (let next = from; ; ) {
    const part = window.read(toIndex(next), bytesMax);
    if (part === undefined) return revisions;
    const read = revisionsIn(part.bytes);
    expect(read.at(-1)).toBe(part.last);
    expect(read[0]).toBe(next);
    revisions.push(...read);
    next = part.last + 1;
  }
}

describe('an empty window', () => {
  test('has no revision, and begins anywhere', () => {
    const window = new LedgerWindow(1_000);
    expect([window.first, window.last, window.bytes]).toEqual([1, 0, 0]);
    expect(window.read(toIndex(1), 100)).toBeUndefined();
    window.append(chunk(50, [1, 1]));
    expect([window.first, window.last]).toEqual([50, 51]);
    expect(window.read(toIndex(49), 100)).toBeUndefined();
    expect(window.read(toIndex(52), 100)).toBeUndefined();
  });
});

describe('what is appended', () => {
  test.each([
    ['leaves a gap', chunk(4, [1])],
    ['comes again', chunk(2, [1])],
    ['has a gap inside', new Uint8Array([...chunk(3, [1]), ...chunk(5, [1])])],
    ['is no whole record', chunk(3, [10]).slice(0, -1)],
  ])('is refused when it %s', (_what, bytes) => {
    const window = new LedgerWindow(10_000);
    window.append(chunk(1, [1, 1]));
    expect(() => window.append(bytes)).toThrow(/broken/);
  });

  test('stays within its budget: the oldest chunks leave, the newest stays however large', () => {
    const window = new LedgerWindow(3_000);
    for (let revision = 1; revision <= 100; revision++) {
      window.append(chunk(revision, [200]));
      expect(window.bytes).toBeLessThanOrEqual(3_000);
      expect(window.last).toBe(revision);
    }
    expect(window.first).toBeGreaterThan(90);
    expect(readAll(window, window.first, 10_000)).toEqual(upTo(window.first, 100));
    window.append(chunk(101, [50_000]));
    expect([window.first, window.last]).toEqual([101, 101]);
    expect(readAll(window, 101, 1)).toEqual([101]);
    window.append(chunk(102, [1]));
    expect([window.first, window.last]).toEqual([102, 102]);
  });

  test('small records cost the same however many there are: two hundred thousand of them take a moment', () => {
    const window = new LedgerWindow(12_000_000);
    for (let revision = 1; revision <= 200_000; revision++) window.append(chunk(revision, [1]));
    // Were each append to move all that is kept, this would take minutes.
    expect(window.last - window.first).toBeGreaterThan(40_000);
    for (const from of [window.first, toIndex(window.first + 1), toIndex(199_999)]) {
      expect(readAll(window, from, 1_000)).toEqual(upTo(from, 200_000));
    }
  });
});

describe('a read', () => {
  test('from each revision, in parts of any size, gives all that follow, each once', () => {
    assert(
      property(
        array(array(integer({ min: 0, max: 300 }), { minLength: 1, maxLength: 8 }), { minLength: 1, maxLength: 12 }),
        integer({ min: 1, max: 2_000 }),
        tuple(integer({ min: 1, max: 1_000 }), integer({ min: 500, max: 20_000 })),
        (chunks, bytesMax, [first, budget]) => {
          const window = new LedgerWindow(budget);
          let next = first;
          for (const sizes of chunks) {
            window.append(chunk(next, sizes));
            next += sizes.length;
          }
          expect(window.last).toBe(next - 1);
          for (let from = window.first; from <= window.last; from = toIndex(from + 1)) {
            expect(readAll(window, from, bytesMax)).toEqual(upTo(from, window.last));
          }
          expect(window.read(toIndex(window.first - 1), bytesMax)).toBeUndefined();
          expect(window.read(toIndex(window.last + 1), bytesMax)).toBeUndefined();
        },
      ),
      { numRuns: 150 },
    );
  });

  test('gives one record at least, and stops at the bound', () => {
    const window = new LedgerWindow(100_000);
    window.append(chunk(1, [1_000, 1_000, 1_000, 1_000]));
    expect(revisionsIn(window.read(toIndex(1), 1)?.bytes ?? new Uint8Array(0))).toEqual([1]);
    expect(revisionsIn(window.read(toIndex(2), 2_500)?.bytes ?? new Uint8Array(0))).toEqual([2, 3]);
  });

  test('is a view: nothing is copied', () => {
    const window = new LedgerWindow(100_000);
    const bytes = chunk(1, [10, 10]);
    window.append(bytes);
    expect(window.read(toIndex(2), 1_000)?.bytes.buffer).toBe(bytes.buffer);
  });
});

describe('what came one by one', () => {
  test('is read together, up to the bound; the first record comes whatever it is', () => {
    const window = new LedgerWindow(100_000);
    for (let revision = 1; revision <= 50; revision++) window.append(chunk(revision, [100]));
    expect(readAll(window, 1, 100_000)).toEqual(upTo(1, 50));
    const few = window.read(toIndex(3), 500);
    expect(few?.bytes.length).toBeLessThanOrEqual(500);
    expect(revisionsIn(few?.bytes ?? new Uint8Array(0))).toEqual(upTo(3, few?.last ?? 0));
    expect(few?.last).toBeGreaterThan(4);
    expect(window.read(toIndex(3), 1)?.last).toBe(3);
    expect(readAll(window, 1, 1)).toEqual(upTo(1, 50));
  });

  test('of one chunk there is no copy', () => {
    const window = new LedgerWindow(100_000);
    const bytes = chunk(1, [100, 100]);
    window.append(bytes);
    expect(window.read(toIndex(2), 1_000)?.bytes.buffer).toBe(bytes.buffer);
  });
});
