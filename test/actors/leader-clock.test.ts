/** A leader's stamps, against clocks that are set, and what a machine makes of them. */
import { describe, expect, test } from 'vitest';
import { LeaderClock } from '../../src/actors/leader-clock.ts';
import { stampTime } from '../../src/core/model/commands.ts';
import { below, forSeeds, pick } from '../core/base/seeded.ts';
import { Bench, changesOf, put } from '../core/model/model.ts';

const HOUR = 3_600_000;
const START = 1_000_000_000;

/** A host whose monotonic clock is right and whose wall clock is as wrong as the test makes it. */
class Host {
  wrongMs = 0;
  nowMs = START;
  readonly clock: LeaderClock = new LeaderClock({
    nowMs: () => this.nowMs + this.wrongMs,
    monotonicMs: () => this.nowMs - START + 77,
  });
}

const timesOf = (entries: readonly Uint8Array[]): number[] =>
  entries.map((data) => new DataView(data.buffer, data.byteOffset).getFloat64(1, true));

describe('stamps', () => {
  test('begin at the wall clock in each term and go on by the monotonic one', () => {
    const host = new Host();
    expect(host.clock.stampMs(3)).toBe(START);
    host.wrongMs = HOUR;
    host.nowMs += 40;
    expect(host.clock.stampMs(3)).toBe(START + 40);
    expect(host.clock.stampMs(4)).toBe(START + 40 + HOUR);
  });

  test('a clock that was set: a last stamp as they were, and a first one that says so', () => {
    const host = new Host();
    host.clock.stampMs(1);
    host.nowMs += 2_000;
    host.wrongMs = 400;
    expect(host.clock.wasSet(1)).toBe(false);
    host.wrongMs = -HOUR;
    expect(host.clock.wasSet(1)).toBe(true);
    const entries = host.clock.entries(1);
    expect(timesOf(entries)).toEqual([START + 2_000, START + 2_000 - HOUR]);
    // Nothing has changed before they are in the log.
    expect(host.clock.stampMs(1)).toBe(START + 2_000);
    host.clock.logged(1);
    host.nowMs += 10;
    expect(host.clock.stampMs(1)).toBe(START + 2_010 - HOUR);
    expect(host.clock.wasSet(1)).toBe(false);
    expect(timesOf(host.clock.entries(1))).toEqual([START + 2_010 - HOUR]);
  });

  test('entries that were refused change nothing, and those of a later moment are what counts', () => {
    const host = new Host();
    host.clock.stampMs(1);
    host.nowMs += 2_000;
    host.wrongMs = HOUR;
    host.clock.entries(1);
    host.wrongMs = 0;
    expect(host.clock.entries(1)).toHaveLength(1);
    host.clock.logged(1);
    expect(host.clock.stampMs(1)).toBe(START + 2_000);
  });

  test('a clock that is set over and over is followed once a second', () => {
    const host = new Host();
    host.clock.stampMs(1);
    let steps = 0;
    for (let i = 0; i < 1_000; i++) {
      host.nowMs += 10;
      host.wrongMs = i % 2 === 0 ? HOUR : -HOUR;
      if (!host.clock.wasSet(1)) continue;
      host.clock.entries(1);
      host.clock.logged(1);
      steps++;
    }
    expect(steps).toBeGreaterThan(5);
    expect(steps).toBeLessThanOrEqual(10);
  });
});

test('keys never expire early, and soon when somebody leads: leaders come and go, clocks are an hour wrong and jump', () => {
  forSeeds(60, (random) => {
    const bench = new Bench();
    const hosts = [new Host(), new Host(), new Host()];
    const due = new Map<string, number>();
    let nowMs = START;
    let term = 0;
    let host = hosts[0] as Host;
    const lead = (): void => {
      term++;
      host = pick(random, hosts);
      bench.apply(new Uint8Array(0));
    };
    const check = (changes: readonly string[]): void => {
      for (const change of changes) {
        if (!change.startsWith('-')) continue;
        const key = change.slice(1);
        expect(nowMs, `${key} at ${nowMs}`).toBeGreaterThanOrEqual(due.get(key) ?? Number.POSITIVE_INFINITY);
        due.delete(key);
      }
    };
    const pass = (ms: number): void => {
      nowMs += ms;
      for (const each of hosts) each.nowMs = nowMs;
    };
    const tick = (): void => {
      const entries = host.clock.entries(term);
      // The log is full now and then.
      if (below(random, 10) === 0) return;
      for (const entry of entries) check(changesOf(bench.apply(entry).record));
      host.clock.logged(term);
    };
    lead();
    for (let i = 0; i < 400; i++) {
      pass(pick(random, [0, 0.25, 1, 30, 700]));
      const act = below(random, 12);
      if (act === 0) lead();
      else if (act === 1) pick(random, hosts).wrongMs = below(random, 2 * HOUR) - HOUR;
      else if (act < 6) tick();
      else {
        const [key, ttlMs] = [`k${i}`, 1 + below(random, 5_000)];
        const entry = put(key, 'v', { ttlMs });
        stampTime(entry, host.clock.stampMs(term));
        due.set(key, nowMs + ttlMs);
        check(changesOf(bench.apply(entry).record));
      }
      if (below(random, 30) === 0) bench.restart();
    }
    // A leader that stays: everything goes within its time to live and a moment, though its clock is set each second.
    lead();
    for (let i = 0; i < 20; i++) {
      host.wrongMs = i % 2 === 0 ? HOUR : -HOUR;
      pass(500);
      for (const entry of host.clock.entries(term)) check(changesOf(bench.apply(entry).record));
      host.clock.logged(term);
    }
    expect([...due.keys()]).toEqual([]);
    expect(bench.all()).toEqual([]);
  });
});
