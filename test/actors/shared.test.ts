import { Worker } from 'node:worker_threads';
import { expect, onTestFinished, test } from 'vitest';
import { ACTORS, type Mark, Shared } from '../../src/actors/shared.ts';
import { until } from './support.ts';

const MARKS: readonly Mark[] = [
  'loggedLsn',
  'walMarks',
  'syncedLsn',
  'walFailed',
  'committed',
  'applied',
  'subscriptions',
];

test('each mark has a word of its own, up to 2^53, and no bell or control word shares it', () => {
  const shared = new Shared();
  for (const [i, mark] of MARKS.entries()) shared.set(mark, Number.MAX_SAFE_INTEGER - i);
  for (const actor of ACTORS) {
    shared.bell(actor).ring();
    shared.beginControl(actor);
  }
  for (const [i, mark] of MARKS.entries()) {
    expect(shared.get(mark)).toBe(Number.MAX_SAFE_INTEGER - i);
    expect(shared.reader(mark)()).toBe(Number.MAX_SAFE_INTEGER - i);
  }
  // One ring of ours, one of the control call.
  expect(ACTORS.map((actor) => shared.bell(actor).read())).toEqual(ACTORS.map(() => 2));
  expect(ACTORS.map((actor) => shared.wantsControl(actor))).toEqual(ACTORS.map(() => true));
});

test('a mark that is no safe integer is a bug', () => {
  const shared = new Shared();
  for (const value of [0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53]) {
    expect(() => shared.set('applied', value)).toThrow(/safe integer/);
  }
});

test('control is wanted while any call is under way', () => {
  const shared = new Shared();
  shared.beginControl('syncer');
  shared.beginControl('syncer');
  shared.endControl('syncer');
  expect([shared.wantsControl('syncer'), shared.wantsControl('memtable')]).toEqual([true, false]);
  shared.endControl('syncer');
  expect(shared.wantsControl('syncer')).toBe(false);
});

test('two blocks over the same memory are one', () => {
  const shared = new Shared();
  const other = new Shared(shared.buffer);
  other.add('syncs', 2);
  shared.add('syncs', 3);
  other.bell('gateway').ring();
  expect([shared.get('syncs'), other.get('syncs'), shared.bell('gateway').read()]).toEqual([5, 5, 1]);
});

test('a word that is written by another thread is never seen half', async () => {
  const shared = new Shared();
  const worker = new Worker(new URL('./fixtures/mark-writer.ts', import.meta.url), { workerData: shared.buffer });
  onTestFinished(async () => {
    await worker.terminate();
  });
  const torn: number[] = [];
  let seen = 0;
  await until(
    'many values were seen',
    () => {
      for (let i = 0; i < 20_000; i++) {
        const value = shared.get('committed');
        // Both halves of what is written are the same number.
        if (Math.floor(value / 2 ** 32) !== value % 2 ** 32) torn.push(value);
        if (value !== 0) seen++;
      }
      return seen > 200_000;
    },
    20_000,
  );
  expect(torn).toEqual([]);
});
