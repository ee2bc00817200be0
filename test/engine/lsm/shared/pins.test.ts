import { describe, expect, test } from 'vitest';
import { InvariantViolation } from '../../../../src/core/base/assert.ts';
import { Control, createControl } from '../../../../src/engine/lsm/shared/control.ts';
import { createPins, type Hold, Pins, READER_SLOTS, type ReaderSlot } from '../../../../src/engine/lsm/shared/pins.ts';
import { below, forSeeds } from '../../../core/base/seeded.ts';
import { startCrew } from './crew.ts';
import type { PinsArgs } from './pins-reader.ts';
import { WatchedControl } from './watched-control.ts';

function world(): { control: Control; pins: Pins; memory: SharedArrayBuffer } {
  const control = new Control(createControl());
  const memory = createPins();
  control.currentVersion = 1;
  return { control, memory, pins: new Pins(memory, control) };
}

describe('a slot', () => {
  test('pins the version of a read until it leaves', () => {
    const { control, pins } = world();
    const slot = pins.claim();
    expect(pins.oldest()).toBeUndefined();
    expect(slot.enter()).toBe(1);
    control.currentVersion = 2;
    expect(pins.oldest()).toBe(1);
    slot.leave();
    expect(pins.oldest()).toBeUndefined();
    expect(slot.enter()).toBe(2);
    expect(pins.oldest()).toBe(2);
  });

  test('keeps the outermost of nested reads, and gives the inner ones the newest version', () => {
    const { control, pins } = world();
    const slot = pins.claim();
    slot.enter();
    control.currentVersion = 5;
    expect(slot.enter()).toBe(5);
    slot.leave();
    expect(pins.oldest()).toBe(1);
    slot.leave();
    expect(pins.oldest()).toBeUndefined();
  });

  test('keeps what is held when the read is over, and the read when the hold is', () => {
    const { control, pins } = world();
    const slot = pins.claim();
    const hold = slot.hold(slot.enter());
    slot.leave();
    control.currentVersion = 2;
    expect(slot.enter()).toBe(2);
    expect(pins.oldest()).toBe(1);
    hold.release();
    expect(pins.oldest()).toBe(2);
    hold.release();
    slot.leave();
    expect(pins.oldest()).toBeUndefined();
  });

  test('that is closed pins nothing, is free for another, and its holds do that one no harm', () => {
    const { control, pins } = world();
    const first = pins.claim();
    const hold = first.hold(first.enter());
    first.leave();
    first.close();
    first.close();
    expect(pins.oldest()).toBeUndefined();
    control.currentVersion = 3;
    const second = pins.claim();
    second.enter();
    hold.release();
    expect(pins.oldest()).toBe(3);
    expect(() => first.enter()).toThrow(InvariantViolation);
  });

  test('refuses what would pin too late', () => {
    const { control, pins } = world();
    const slot = pins.claim();
    control.currentVersion = 4;
    expect(() => slot.hold(4)).toThrow('from within');
    expect(() => slot.leave()).toThrow('has begun');
    slot.enter();
    expect(() => slot.hold(3)).toThrow('not older');
    expect(() => slot.hold(5)).toThrow('published');
    expect(() => slot.close()).toThrow('between reads');
    const empty = new Pins(createPins(), new Control(createControl())).claim();
    expect(() => empty.enter()).toThrow('before the first read');
  });
});

test('a version that is superseded between the look at it and its pin is not read: the pin moves on first', () => {
  const { control, memory, pins } = world();
  const pinned: (number | undefined)[] = [];
  const watched = new WatchedControl(control.memory, (look) => {
    pinned.push(pins.oldest());
    // The owner publishes before the second look and before the third.
    if (look === 2 || look === 3) control.currentVersion = look;
  });
  const slot = new Pins(memory, watched).claim();
  expect(slot.enter()).toBe(3);
  expect(pinned, 'each look but the first comes after the pin').toEqual([undefined, 1, 2, 3]);
  slot.leave();
  expect(pins.oldest()).toBeUndefined();
});

test('there is a slot for each reader, and no more', () => {
  const { pins } = world();
  const slots = Array.from({ length: READER_SLOTS }, () => pins.claim());
  expect(() => pins.claim()).toThrow(expect.objectContaining({ code: 'OVERLOADED', data: { limit: READER_SLOTS } }));
  for (const slot of slots) slot.enter();
  slots[40]?.leave();
  slots[40]?.close();
  const again = pins.claim();
  expect(() => pins.claim()).toThrow('taken');
  again.close();
});

test('any order of reads, holds and versions: the oldest is that of a list of them all', () => {
  forSeeds(60, (random) => {
    const { control, pins } = world();
    interface Reader {
      readonly slot: ReaderSlot;
      readonly reads: number[];
      holds: Hold[];
    }
    const readers: Reader[] = Array.from({ length: 3 }, () => ({ slot: pins.claim(), reads: [], holds: [] }));
    for (let step = 0; step < 300; step++) {
      const reader = readers[below(random, readers.length)] as Reader;
      const { slot, reads, holds } = reader;
      switch (below(random, 5)) {
        case 0:
          control.currentVersion += 1;
          break;
        case 1: {
          const version = slot.enter();
          expect(version).toBe(control.currentVersion);
          reads.push(version);
          break;
        }
        case 2:
          if (reads.length > 0) {
            reads.pop();
            slot.leave();
          }
          break;
        case 3: {
          const from = Math.min(...reads.slice(0, 1), ...holds.map((hold) => hold.version));
          if (Number.isFinite(from)) {
            holds.push(slot.hold(from + below(random, control.currentVersion - from + 1)));
          }
          break;
        }
        default:
          if (holds.length > 0) holds.splice(below(random, holds.length), 1)[0]?.release();
      }
      // Of nested reads the outermost is the oldest.
      const all = readers.flatMap((each) => [...each.reads.slice(0, 1), ...each.holds.map((hold) => hold.version)]);
      expect(pins.oldest()).toBe(all.length === 0 ? undefined : Math.min(...all));
    }
  });
});

test('no thread ever meets a version that the owner freed, over a million reads', async () => {
  const { control, memory, pins } = world();
  const resources = new Int32Array(new SharedArrayBuffer(4 * 4096)).fill(-1);
  const at = (version: number): number => version % resources.length;
  resources[at(1)] = 1;
  const args: PinsArgs = { control: control.memory, pins: memory, resources: resources.buffer };
  const crew = await startCrew(new URL('./pins-reader.ts', import.meta.url), 2, args);
  let freed = 0;
  let version = 1;
  let turns = 0;
  while (!crew.isDone(500_000, freed > 10_000)) {
    turns++;
    // A free resource for the next version, unless readers hold too many.
    if (version - freed < resources.length - 1) {
      version++;
      Atomics.store(resources, at(version), version);
      control.currentVersion = version;
    }
    const oldest = pins.oldest() ?? version;
    while (freed < oldest - 1) Atomics.store(resources, at(++freed), -1);
    // Some turns publish in bursts, some not for a while.
    if (turns % 1024 === 0) for (let i = 0; i < 20_000; i++) Atomics.load(resources, 0);
  }
  const reports = await crew.finish();
  expect(reports.flatMap(({ faults }) => faults)).toEqual([]);
  expect(reports.reduce((sum, { rounds }) => sum + rounds, 0)).toBeGreaterThanOrEqual(1_000_000);
  expect(freed, 'versions were freed all the while').toBeGreaterThan(10_000);
}, 60_000);
