/** The history format: what is taken, and what is refused with which words. */
import { expect, test } from 'vitest';
import { HistoryParser, HistoryRecorder, type HistoryEvent, parseHistory } from '../../src/testing/index.ts';
import { below, forSeeds } from '../core/base/seeded.ts';

const LINES = [
  '{"process":0,"type":"invoke","f":"write","key":"x","value":1,"time":5,"index":0}',
  '{"process":1,"type":"invoke","f":"txn","value":[["r","x",null],["append","é",2]],"time":5}',
  '',
  '{"process":1,"type":"ok","f":"txn","value":[["r","x",[1]],["append","é",2]],"time":7.5}',
  '{"process":0,"type":"info","f":"write","key":"x","value":1,"error":"timeout"}',
  '{"process":2,"type":"invoke","f":"cas","key":"x","value":[1,2]}',
];

test('a history in pieces of any size is the same history', () => {
  const text = LINES.join('\n');
  const whole = parseHistory(text);
  expect(whole.operations).toMatchObject([
    { index: 0, process: 0, f: 'write', outcome: 'unknown', call: { at: 0, line: 1, time: 5 }, end: undefined },
    { index: 1, process: 1, f: 'txn', outcome: 'ok', call: { at: 1, line: 2 }, end: { at: 2, line: 4, time: 7.5 } },
    { index: 2, outcome: 'unknown', parts: [{ kind: 'cas', key: '"x"', from: 1, to: 2 }] },
  ]);
  expect(whole.operations[1]?.parts).toEqual([
    { kind: 'read', key: '"x"', value: [1] },
    { kind: 'append', key: '"é"', value: 2 },
  ]);
  forSeeds(50, (random) => {
    const parser = new HistoryParser();
    for (let at = 0; at < text.length; ) {
      const to = at + 1 + below(random, 40);
      parser.push(text.slice(at, to));
      at = to;
    }
    expect(parser.end()).toEqual(whole);
  });
});

const invoke = '{"process":0,"type":"invoke","f":"read","key":"x"}';
test.each([
  [['{"process":0'], /line 1 is no JSON: /],
  [['[1]'], /line 1 is no JSON object/],
  [['', '{"type":"invoke","f":"read","key":"x"}'], /line 2 has no process: .* is missing/],
  [['{"process":"nemesis","type":"info","f":"read"}'], /has no process: .* is "nemesis"/],
  [['{"process":0,"type":"begin","f":"read","key":"x"}'], /unknown type: "begin" \(known are invoke, ok, fail, info\)/],
  [['{"process":0,"type":"invoke","f":"delete","key":"x"}'], /unknown f: "delete"/],
  [['{"process":0,"type":"invoke","f":"read"}'], /has no key: a read needs one/],
  [['{"process":0,"type":"invoke","f":"write","key":"x"}'], /has no value to write/],
  [['{"process":0,"type":"invoke","f":"cas","key":"x","value":3}'], /is a cas whose value is not \[from, to\]/],
  [
    ['{"process":0,"type":"invoke","f":"txn","value":[["put","x",1]]}'],
    /has \["put","x",1\] in its txn, which is none of/,
  ],
  [[invoke, invoke], /line 2 invokes while process 0 has an operation open, of line 1/],
  [['{"process":0,"type":"ok","f":"read","key":"x","value":1}'], /ends an operation of process 0, which has none open/],
  [
    [invoke, '{"process":0,"type":"ok","f":"write","key":"x","value":1}'],
    /ends a write where process 0 has a read open/,
  ],
  [[invoke, '{"process":0,"type":"ok","f":"read","key":"y","value":1}'], /has key "y"; the operation, .*, has "x"/],
  [[invoke, '{"process":0,"type":"ok","f":"read","key":"x"}'], /does not say what it read/],
  [[invoke, '{"process":0,"type":"info","f":"read"}', invoke], /line 3 invokes with process 0, which ended with info/],
  [
    [
      '{"process":0,"type":"invoke","f":"write","key":"x","value":1}',
      '{"process":0,"type":"ok","f":"write","value":2}',
    ],
    /ends a write of 1 with another value: 2/,
  ],
  [
    [
      '{"process":0,"type":"invoke","f":"txn","value":[["r","x",null]]}',
      '{"process":0,"type":"ok","f":"txn","value":[["r","y",null]]}',
    ],
    /ends a txn with other operations than it began with/,
  ],
  [
    ['{"process":0,"type":"invoke","f":"read","key":1,"time":9}', '{"process":0,"type":"fail","f":"read","time":8}'],
    /line 2 goes back in time, from 9 to 8/,
  ],
])('%j is refused', (lines, message) => {
  expect(() => parseHistory(lines.join('\n'))).toThrow(message);
});

test('more events than allowed are refused', () => {
  expect(() => parseHistory(LINES.join('\n'), { eventsMax: 3 })).toThrow(/line 5 is one event too many: at most 3/);
});

test('the recorder gives a number to one operation at a time, and none again after an unknown outcome', () => {
  const events: HistoryEvent[] = [];
  let now = 0;
  const recorder = new HistoryRecorder({ write: (event) => events.push(event), now: () => now++ });
  const a = recorder.invoke('write', { key: 'x', value: 1 });
  const b = recorder.invoke('read', { key: 'x' });
  expect([a.process, b.process]).toEqual([0, 1]);
  a.info();
  b.ok(null);
  expect(() => b.ok(null)).toThrow(/ends once/);
  const c = recorder.invoke('cas', { key: 'x', value: [1, 2] });
  const d = recorder.invoke('txn', { value: [['r', 'x', null]] });
  expect([c.process, d.process]).toEqual([1, 2]);
  c.fail();
  d.ok([['r', 'x', 1]]);
  const history = parseHistory(events);
  expect(history).toEqual(parseHistory(events.map((event) => JSON.stringify(event)).join('\n')));
  expect(history.operations.map(({ outcome }) => outcome)).toEqual(['unknown', 'ok', 'fail', 'ok']);
});
