import { expect, test } from 'vitest';
import { InvariantViolation } from '../../../../src/core/base/assert.ts';
import { Control, createControl, type Gauge } from '../../../../src/engine/lsm/shared/control.ts';

const GAUGES: readonly Gauge[] = ['stall', 'stalls', 'stallMicros', 'frozenMemtables', 'level0Tables', 'debtBytes'];

test('what one thread sets, another sees, each word in its own place', () => {
  const mine = new Control(createControl());
  const theirs = new Control(mine.memory);
  mine.activeGeneration = 7;
  mine.currentVersion = 8;
  mine.visible = 2 ** 53 - 1;
  mine.floor = 2 ** 40 + 3;
  for (const [i, name] of GAUGES.entries()) mine.setGauge(name, 2 ** 33 + i);
  expect([theirs.activeGeneration, theirs.currentVersion, theirs.visible, theirs.floor]).toEqual([
    7,
    8,
    2 ** 53 - 1,
    2 ** 40 + 3,
  ]);
  expect(GAUGES.map((name) => theirs.gauge(name))).toEqual(GAUGES.map((_, i) => 2 ** 33 + i));
});

test('begins with nothing', () => {
  const control = new Control(createControl());
  expect([control.activeGeneration, control.currentVersion, control.visible, control.floor]).toEqual([0, 0, 0, 0]);
  expect(GAUGES.map((name) => control.gauge(name))).toEqual(GAUGES.map(() => 0));
});

test('no word goes back, and the floor stays at or below what is visible', () => {
  const control = new Control(createControl());
  control.activeGeneration = 3;
  control.currentVersion = 3;
  control.visible = 30;
  control.floor = 20;
  const wrong = [
    () => (control.activeGeneration = 2),
    () => (control.currentVersion = 2),
    () => (control.currentVersion = 2 ** 31),
    () => (control.activeGeneration = 3.5),
    () => (control.visible = 29),
    () => (control.visible = 2 ** 53),
    () => (control.floor = 19),
    () => (control.floor = 31),
    () => control.setGauge('debtBytes', 0.5),
  ];
  for (const each of wrong) expect(each).toThrow(InvariantViolation);
  expect([control.activeGeneration, control.currentVersion, control.visible, control.floor]).toEqual([3, 3, 30, 20]);
});

test('gauges go up and down', () => {
  const control = new Control(createControl());
  control.setGauge('stall', 2);
  control.setGauge('stall', 0);
  expect(control.gauge('stall')).toBe(0);
});
