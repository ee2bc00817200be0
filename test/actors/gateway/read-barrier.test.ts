import { beforeEach, expect, test } from 'vitest';
import { ReadBarrier, type Waiter } from '../../../src/actors/gateway/read-barrier.ts';

interface Read extends Waiter {
  readonly name: string;
  needs: number;
}

let nowMs: number;
let asked: number[];
let barrier: ReadBarrier<Read>;

const read = (name: string, needs = 0): Read => ({ name, needs });
const names = (reads: readonly Read[]): string[] => reads.map(({ name }) => name);
const round = (): number => asked.at(-1) ?? 0;

beforeEach(() => {
  nowMs = 1_000;
  asked = [];
  barrier = new ReadBarrier({ ask: (id) => asked.push(id), nowMs: () => nowMs, firstId: 70 });
});

test('reads that are there together share one round', () => {
  for (const name of ['a', 'b', 'c']) barrier.add(read(name));
  barrier.flush();
  barrier.flush();
  expect(asked).toEqual([70]);
  barrier.answer(70, 5);
  expect(barrier.release(4)).toEqual([]);
  expect(names(barrier.release(5))).toEqual(['a', 'b', 'c']);
  expect(barrier.waiting).toBe(0);
});

test('a read that arrives during a round waits for the next: the one under way may have been confirmed before it', () => {
  barrier.add(read('a'));
  barrier.flush();
  const first = round();
  barrier.add(read('late'));
  barrier.flush();
  expect(asked).toHaveLength(1);
  barrier.answer(first, 5);
  expect(names(barrier.release(100))).toEqual(['a']);
  barrier.flush();
  expect(asked).toHaveLength(2);
  barrier.answer(round(), 9);
  expect(names(barrier.release(9))).toEqual(['late']);
});

test('a read waits for what it names itself, too', () => {
  barrier.add(read('far', 20));
  barrier.add(read('near', 1));
  barrier.flush();
  barrier.answer(round(), 5);
  expect(names(barrier.release(5))).toEqual(['near']);
  expect(barrier.release(19)).toEqual([]);
  expect(names(barrier.release(20))).toEqual(['far']);
});

test('a refused round is asked again after a pause, with those that came meanwhile, first come first', () => {
  barrier.add(read('a'));
  barrier.flush();
  barrier.add(read('b'));
  barrier.answer(round(), 0);
  barrier.flush();
  expect(asked).toHaveLength(1);
  nowMs += 20;
  barrier.flush();
  expect(asked).toHaveLength(2);
  barrier.answer(round(), 3);
  expect(names(barrier.release(3))).toEqual(['a', 'b']);
});

test('a lost round is asked again once its deadline has passed; its late answer counts for nobody', () => {
  barrier.add(read('a'));
  barrier.flush();
  const lost = round();
  nowMs += 299;
  barrier.flush();
  expect(asked).toHaveLength(1);
  nowMs += 1;
  barrier.flush();
  expect(asked).toHaveLength(2);
  barrier.add(read('b'));
  barrier.answer(lost, 3);
  expect(barrier.release(100)).toEqual([]);
  barrier.answer(round(), 4);
  expect(names(barrier.release(4))).toEqual(['a']);
});

test('the first round of each boot has a number of its own', () => {
  const numbers = [1, 2 ** 47, 2 ** 32 + 1].map((firstId) => {
    const ids: number[] = [];
    const another = new ReadBarrier<Read>({ ask: (id) => ids.push(id), nowMs: () => nowMs, firstId });
    another.add(read('a'));
    another.flush();
    return ids[0];
  });
  // A round's number has 32 bits on its way.
  expect(numbers).toEqual([1, 0, 1]);
});

test('those that only wait for entries to be applied need no round', () => {
  barrier.addApplied(read('a', 7));
  barrier.flush();
  expect(asked).toEqual([]);
  expect(barrier.waitsForApplied).toBe(true);
  expect(names(barrier.release(7))).toEqual(['a']);
  expect(barrier.waitsForApplied).toBe(false);
});

test('who is taken out is not released, wherever it stood; the others are', () => {
  for (const name of ['next', 'stays']) barrier.add(read(name));
  barrier.flush();
  barrier.add(read('in round'));
  barrier.addApplied(read('applied', 50));
  expect(barrier.waiting).toBe(4);
  const removed = barrier.remove(({ name }) => name !== 'stays');
  expect(names(removed).sort()).toEqual(['applied', 'in round', 'next']);
  barrier.answer(round(), 2);
  expect(names(barrier.release(100))).toEqual(['stays']);
  expect(barrier.waiting).toBe(0);
});

test('a round dates the state from when it was asked, once its index is applied', () => {
  expect(barrier.provenMs(100)).toBe(Number.NEGATIVE_INFINITY);
  barrier.add(read('a'));
  barrier.flush();
  nowMs += 30;
  barrier.answer(round(), 5);
  expect(barrier.provenMs(4)).toBe(Number.NEGATIVE_INFINITY);
  barrier.add(read('b'));
  barrier.flush();
  nowMs += 30;
  barrier.answer(round(), 8);
  expect([5, 7, 8, 9].map((applied) => barrier.provenMs(applied))).toEqual([1_000, 1_000, 1_030, 1_030]);
});

test('refused and late rounds prove nothing', () => {
  barrier.add(read('a'));
  barrier.flush();
  const first = round();
  barrier.answer(first, 0);
  nowMs += 1_000;
  barrier.flush();
  barrier.answer(first, 5);
  expect(barrier.provenMs(100)).toBe(Number.NEGATIVE_INFINITY);
});

test('proofs that wait are bounded, and the newest is among those kept', () => {
  for (let i = 1; i <= 200; i++) {
    barrier.add(read(`r${i}`));
    nowMs = 1_000 + i;
    barrier.flush();
    barrier.answer(round(), i);
  }
  expect(barrier.provenMs(63)).toBe(1_063);
  expect(barrier.provenMs(199)).toBe(1_063);
  expect(barrier.provenMs(200)).toBe(1_200);
});
