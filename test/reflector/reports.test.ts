import { expect, test } from 'vitest';
import type { LdbReport, LdbRow } from '../../src/client/fleet-types.ts';
import type { Timing } from '../../src/client/timing.ts';
import { toIndex } from '../../src/core/base/position.ts';
import { LdbReports } from '../../src/reflector/reports.ts';

const IDENTITY = { id: 'a', instance: 'i', host: 'h', labels: {}, pid: 1, version: '0' };

/** Time that the test makes pass. */
class FakeTiming implements Timing {
  now = 0;
  #due: { atMs: number; work: () => void }[] = [];
  nowMs = (): number => this.now;
  random = (): number => 0;
  every = (): never => {
    throw new Error('nothing is done every so often');
  };
  after = (delayMs: number, work: () => void): { cancel: () => void } => {
    const one = { atMs: this.now + delayMs, work };
    this.#due.push(one);
    return { cancel: () => (this.#due = this.#due.filter((other) => other !== one)) };
  };

  pass(ms: number): void {
    this.now += ms;
    const due = this.#due.filter(({ atMs }) => atMs <= this.now);
    this.#due = this.#due.filter(({ atMs }) => atMs > this.now);
    for (const { work } of due) work();
  }
}

function world(): { reports: LdbReports; timing: FakeTiming; sent: LdbReport[]; revisions: () => number[] } {
  const timing = new FakeTiming();
  const reports = new LdbReports(IDENTITY, timing);
  const sent: LdbReport[] = [];
  reports.attached((report) => sent.push(report));
  return { reports, timing, sent, revisions: () => sent.map(({ revision }) => revision) };
}

const applied = (revision: number) =>
  ({ kind: 'applied', revision: toIndex(revision), records: 1, timeMs: revision }) as const;
const following = (revision: number) => ({ kind: 'following', revision: toIndex(revision), timeMs: 0 }) as const;

test('nothing is said before it is known; then the first commit after a pause at once, others now and then', () => {
  const { reports, timing, revisions } = world();
  expect(revisions()).toEqual([]);
  reports.note(following(3));
  reports.note(applied(4));
  reports.note(applied(5));
  expect(revisions()).toEqual([3]);
  timing.pass(1_000);
  expect(revisions()).toEqual([3, 5]);
  timing.pass(1_000);
  reports.note(applied(6));
  expect(revisions()).toEqual([3, 5, 6]);
});

test('what is waited for is said with its commit, not before and not later', () => {
  const { reports, revisions } = world();
  reports.note(following(3));
  reports.asked(6);
  reports.note(applied(5));
  expect(revisions()).toEqual([3]);
  reports.note(applied(7));
  expect(revisions()).toEqual([3, 7]);
  reports.note(applied(8));
  expect(revisions()).toEqual([3, 7]);
  reports.asked(8);
  expect(revisions()).toEqual([3, 7, 8]);
});

test('a new stream is told anew where it is; a snapshot shows nothing until it is whole', () => {
  const { reports, sent } = world();
  reports.note(following(3));
  const again: LdbReport[] = [];
  reports.attached((report) => again.push(report));
  expect(again).toMatchObject([{ revision: 3 }]);
  reports.note({ kind: 'snapshot', state: 'begin', revision: toIndex(90), timeMs: 1, entries: 0 });
  reports.note({ kind: 'snapshot', state: 'end', revision: toIndex(90), timeMs: 1, entries: 9 });
  expect(again.slice(1)).toMatchObject([
    { revision: 3, isInSnapshot: true },
    { revision: 90, isInSnapshot: false },
  ]);
  expect(sent).toHaveLength(1);
});

test('a relay passes on what is asked, and what those below it say: at once while somebody waits', () => {
  const { reports, timing, sent } = world();
  const below: LdbRow = {
    ...{ ...IDENTITY, id: 'leaf', via: 'a', filter: null, revision: 3, timeMs: 0 },
    ...{ state: 'following', silentMs: 0, streamMs: 0 },
  };
  let rows = [below];
  const asked: number[] = [];
  reports.feeds({ table: { rows: () => rows, left: 2 }, ask: (revision) => asked.push(revision) });
  reports.note(following(3));
  expect(sent).toMatchObject([{ revision: 3, below: [{ id: 'leaf', revision: 3 }], belowLeft: 2 }]);
  reports.asked(4);
  expect(asked).toEqual([4]);
  reports.note(applied(4));
  expect(sent).toHaveLength(2);
  rows = [{ ...below, revision: 4 }];
  reports.belowChanged();
  reports.belowChanged();
  timing.pass(10);
  expect(sent.slice(2)).toMatchObject([{ revision: 4, below: [{ revision: 4 }] }]);
  reports.belowChanged();
  timing.pass(999);
  expect(sent).toHaveLength(3);
  timing.pass(1);
  expect(sent).toHaveLength(4);
});
