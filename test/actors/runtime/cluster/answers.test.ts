/** What a durable actor remembers of its answers, at each of its bounds: the answer, or that nobody knows. */
import { expect, test } from 'vitest';
import { type Answers, NO_ANSWERS, recall, remember } from '../../../../src/actors/runtime/cluster/answers.ts';

const call = (seq: number, { asker = 'n1', floor = 1, attempt = 2 } = {}): Parameters<typeof recall>[1] => ({
  asker,
  seq,
  floor,
  attempt,
});
const unknown = expect.objectContaining({ code: 'OUTCOME_UNKNOWN' }) as Error;

test('a question that is asked again gets its answer; one that was not asked has none', () => {
  let answers: Answers = NO_ANSWERS;
  for (let seq = 1; seq <= 5; seq++) answers = remember(answers, call(seq), seq * 10);
  expect(recall(answers, call(3))).toEqual({ reply: 30 });
  expect(recall(answers, call(6))).toBeUndefined();
  expect(recall(answers, call(3, { asker: 'n2' }))).toBeUndefined();
  // What its asker has the answer of is forgotten.
  answers = remember(answers, call(6, { floor: 5 }), 60);
  expect(answers.askers[0]?.answered.map(({ seq }) => seq)).toEqual([5, 6]);
});

test('at the bounds a question that is asked again is answered with a doubt, and a new one is new', () => {
  let answers: Answers = NO_ANSWERS;
  for (let seq = 1; seq <= 300; seq++) answers = remember(answers, call(seq), null);
  expect(() => recall(answers, call(1))).toThrow(unknown);
  expect(recall(answers, call(1, { attempt: 1 }))).toBeUndefined();
  expect(recall(answers, call(300))).toEqual({ reply: null });
  for (let i = 0; i < 20; i++) answers = remember(answers, call(1, { asker: `other-${i}` }), i);
  expect(answers.askers).toHaveLength(16);
  expect(() => recall(answers, call(300))).toThrow(unknown);
});

test('long answers are known to have been given; those of who is gone take no room for ever', () => {
  let answers = remember(NO_ANSWERS, call(1), 'x'.repeat(5_000));
  expect(() => recall(answers, call(1))).toThrow(unknown);
  expect(() => recall(answers, call(1, { attempt: 1 }))).toThrow(unknown);
  for (let i = 0; i < 16; i++) {
    for (let seq = 1; seq <= 20; seq++) answers = remember(answers, call(seq, { asker: `a${i}` }), 'x'.repeat(4_000));
  }
  expect(JSON.stringify(answers).length).toBeLessThan(80_000);
  expect(recall(answers, call(20, { asker: 'a15' }))).toEqual({ reply: 'x'.repeat(4_000) });
  expect(() => recall(answers, call(20, { asker: 'a0' }))).toThrow(unknown);
});
