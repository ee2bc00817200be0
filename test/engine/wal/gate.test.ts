import { expect, test } from 'vitest';
import { toIndex } from '../../../src/core/base/position.ts';
import { TruncationGate } from '../../../src/engine/wal/gate.ts';

const at = toIndex;

test('the gate stands at the least of its consumers; one that has said nothing keeps everything', () => {
  const gate = new TruncationGate(['tree', 'replica']);
  expect(gate.value).toBe(0);
  gate.advance('tree', at(50));
  expect([gate.value, gate.highest]).toEqual([0, 50]);
  gate.advance('replica', at(20));
  expect(gate.value).toBe(20);
  gate.advance('replica', at(60));
  expect([gate.value, gate.highest]).toEqual([50, 60]);
  expect(gate.inspect()).toEqual({ tree: 50, replica: 60 });
});

test('nobody lets go of anything when there is no consumer, and one more is one more to wait for', () => {
  const gate = new TruncationGate();
  expect([gate.value, gate.highest]).toEqual([0, 0]);
  gate.advance('tree', at(9));
  expect(gate.value).toBe(9);
  gate.advance('late', at(4));
  expect(gate.value).toBe(4);
});

test('a watermark never goes back; standing still is allowed', () => {
  const gate = new TruncationGate(['tree']);
  gate.advance('tree', at(7));
  gate.advance('tree', at(7));
  expect(() => gate.advance('tree', at(6))).toThrow('a watermark never goes back (tree: 6 after 7)');
  expect(gate.value).toBe(7);
});
