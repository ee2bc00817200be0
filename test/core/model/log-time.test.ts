/** Time that passed is counted within one leader's stamps only; what a clock says it is, is another matter. */
import { describe, expect, test } from 'vitest';
import { ByteReader, ByteWriter, text } from '../../../src/core/base/bytes.ts';
import { encodeClock, stampTime } from '../../../src/core/model/commands.ts';
import { LogTime } from '../../../src/core/model/log-time.ts';
import { errorOfResult } from '../../../src/core/model/machine.ts';
import { Bench, changesOf, clock, command, openSession, put } from './model.ts';

const HOUR = 3_600_000;
const NO_OP = new Uint8Array(0);

function clockWasSet(timeMs: number): Uint8Array {
  const writer = new ByteWriter(32);
  encodeClock(writer, true);
  const bytes = writer.take();
  stampTime(bytes, timeMs);
  return bytes;
}

describe('the age of the log', () => {
  test('grows with the stamps of one clock; those that go back count for nothing', () => {
    const time = new LogTime();
    const ages = [1000, 1250.5, 1100, 1300].map((stamp) => {
      time.advance(stamp);
      return time.ageMs;
    });
    expect(ages).toEqual([0, 250.5, 250.5, 300]);
    expect(time.nowMs).toBe(1300);
  });

  test('does not count what lies between two clocks, forward or back', () => {
    const time = new LogTime();
    time.advance(10_000);
    time.beginClock();
    time.advance(10_000 + HOUR);
    expect([time.ageMs, time.nowMs]).toEqual([0, 10_000 + HOUR]);
    time.advance(10_007 + HOUR);
    expect(time.ageMs).toBe(7);
    time.beginClock();
    time.advance(500);
    time.advance(600);
    // Log time stands until the clock has come so far; the age goes on.
    expect([time.ageMs, time.nowMs]).toEqual([107, 10_007 + HOUR]);
  });

  test('says at which stamp of the clock in charge something is due; of none that has said nothing yet', () => {
    const time = new LogTime();
    time.advance(1000);
    expect(time.stampAt(500)).toBe(1500);
    time.beginClock();
    expect(time.stampAt(500)).toBe(Number.POSITIVE_INFINITY);
    time.advance(70_000);
    expect(time.stampAt(500)).toBe(70_500);
    expect(time.stampAt(Number.POSITIVE_INFINITY)).toBe(Number.POSITIVE_INFINITY);
  });

  test('stamps that are no time count for nothing', () => {
    const time = new LogTime();
    time.advance(1000);
    for (const stamp of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, -5]) time.advance(stamp);
    expect([time.nowMs, time.ageMs]).toEqual([1000, 0]);
  });

  test('goes on as it was after a restart, with a clock in charge or none', () => {
    for (const hasClock of [true, false]) {
      const time = new LogTime();
      time.advance(1000);
      time.beginClock();
      if (hasClock) time.advance(9_000.25);
      const saved = new ByteWriter(32);
      time.save(saved);
      const again = new LogTime();
      const reader = new ByteReader(saved.take());
      again.restore(reader);
      reader.end();
      for (const each of [time, again]) each.advance(10_000);
      expect([again.nowMs, again.ageMs, again.stampAt(5000)]).toEqual([time.nowMs, time.ageMs, time.stampAt(5000)]);
    }
  });
});

describe('a time to live', () => {
  test('is not shortened by a new leader whose clock is ahead: it keeps what it had left', () => {
    const bench = new Bench();
    bench.apply(put('k', 'v', { timeMs: 1000, ttlMs: 500 }));
    bench.apply(clock(1200));
    bench.apply(NO_OP);
    expect(changesOf(bench.apply(clock(1200 + HOUR)).record)).toEqual([]);
    expect(bench.machine.nextExpiryMs).toBe(1500 + HOUR);
    expect(changesOf(bench.apply(clock(1499 + HOUR)).record)).toEqual([]);
    expect(changesOf(bench.apply(clock(1500 + HOUR)).record)).toEqual(['-k']);
  });

  test('is not lengthened by a new leader whose clock is behind', () => {
    const bench = new Bench();
    bench.apply(put('k', 'v', { timeMs: 1000 + HOUR, ttlMs: 500 }));
    bench.apply(NO_OP);
    bench.apply(clock(1000));
    expect(bench.machine.nextExpiryMs).toBe(1500);
    expect(changesOf(bench.apply(clock(1500)).record)).toEqual(['-k']);
    expect(bench.machine.timeMs).toBe(1000 + HOUR);
  });

  test('does not notice that the leader set its clock', () => {
    const bench = new Bench();
    bench.apply(put('k', 'v', { timeMs: 1000, ttlMs: 500 }));
    expect(changesOf(bench.apply(clockWasSet(1000 + HOUR)).record)).toEqual([]);
    expect(bench.machine.timeMs).toBe(1000 + HOUR);
    expect(changesOf(bench.apply(clock(1499 + HOUR)).record)).toEqual([]);
    expect(changesOf(bench.apply(clock(1500 + HOUR)).record)).toEqual(['-k']);
  });

  test('is whole to the fraction of a millisecond', () => {
    const bench = new Bench();
    bench.apply(put('k', 'v', { timeMs: 1000.9, ttlMs: 5 }));
    expect(changesOf(bench.apply(clock(1005.8)).record)).toEqual([]);
    expect(changesOf(bench.apply(clock(1006)).record)).toEqual(['-k']);
  });

  test('is the same after a restart between two leaders', () => {
    const bench = new Bench();
    bench.apply(put('k', 'v', { timeMs: 1000, ttlMs: 500 }));
    bench.apply(NO_OP);
    bench.apply(clock(HOUR));
    bench.apply(put('j', 'v', { timeMs: HOUR, ttlMs: 100 }));
    bench.restart();
    expect(changesOf(bench.apply(clock(HOUR + 100)).record)).toEqual(['-j']);
    expect(changesOf(bench.apply(clock(HOUR + 499)).record)).toEqual([]);
    expect(changesOf(bench.apply(clock(HOUR + 500)).record)).toEqual(['-k']);
  });

  test('of a session too', () => {
    const bench = new Bench();
    const session = bench.apply(openSession(5_000, { timeMs: 1000 })).answer?.revision ?? 0;
    bench.apply(NO_OP);
    bench.apply(clock(HOUR));
    const kept = bench.apply(put('k', 'v', { session, seq: 1, timeMs: HOUR + 4_000 }));
    expect(errorOfResult(kept.answer?.code ?? -1)).toBeUndefined();
    bench.apply(clock(HOUR + 11_000));
    const late = bench.apply(command('keepAlive', { session }));
    expect(errorOfResult(late.answer?.code ?? -1)).toBe('SESSION_EXPIRED');
  });

  test('tells readers of an expiry that is not before it', () => {
    const bench = new Bench();
    bench.apply(put('j', 'v', { timeMs: 1000, ttlMs: 500 }));
    bench.apply(NO_OP);
    const { record } = bench.apply(put('k', 'v', { timeMs: HOUR, ttlMs: 500 }));
    expect(record.changes.map(({ key, expiryMs }) => [text(key), expiryMs])).toEqual([['k', HOUR + 500]]);
  });
});

test('an entry of a kind that nobody knows has no stamp', () => {
  const bench = new Bench();
  bench.apply(put('k', 'v', { timeMs: 1000, ttlMs: 500 }));
  const unknown = clock(1000 + HOUR);
  unknown[0] = 0x80;
  expect(changesOf(bench.apply(unknown).record)).toEqual([]);
  expect(bench.machine.timeMs).toBe(1000);
});
