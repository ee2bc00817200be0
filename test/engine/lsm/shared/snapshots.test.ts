import { describe, expect, test } from 'vitest';
import { InvariantViolation } from '../../../../src/core/base/assert.ts';
import { Control, createControl } from '../../../../src/engine/lsm/shared/control.ts';
import {
  createSnapshots,
  type Snapshot,
  SNAPSHOT_SLOTS,
  Snapshots,
} from '../../../../src/engine/lsm/shared/snapshots.ts';
import { below, forSeeds } from '../../../core/base/seeded.ts';
import { startCrew } from './crew.ts';
import type { SnapshotsArgs } from './snapshots-reader.ts';
import { WatchedControl } from './watched-control.ts';

function world(): { control: Control; snapshots: Snapshots; memory: SharedArrayBuffer } {
  const control = new Control(createControl());
  const memory = createSnapshots();
  return { control, memory, snapshots: new Snapshots(memory, control) };
}

test('a snapshot is of the newest visible revision, also of none', () => {
  const { control, snapshots } = world();
  const first = snapshots.take();
  expect(first.revision).toBe(0);
  control.visible = 2 ** 53 - 1;
  const last = snapshots.take();
  expect(last.revision).toBe(2 ** 53 - 1);
  expect(snapshots.raiseFloor(2 ** 53 - 1)).toEqual([0]);
  first.release();
  first.release();
  expect(snapshots.raiseFloor(5)).toEqual([]);
  last.release();
});

test('one below the floor is refused with the oldest that can be had, and takes no slot', () => {
  const { control, snapshots } = world();
  control.visible = 20;
  expect(snapshots.raiseFloor(10)).toEqual([]);
  const refusal = expect.objectContaining({ code: 'COMPACTED', data: { oldestRevision: 10 } });
  for (let i = 0; i < SNAPSHOT_SLOTS + 1; i++) expect(() => snapshots.takeAt(9)).toThrow(refusal);
  expect(snapshots.takeAt(10).revision).toBe(10);
  for (const revision of [21, -1, 0.5]) {
    expect(() => snapshots.takeAt(revision)).toThrow(expect.objectContaining({ code: 'BAD_REQUEST' }));
  }
});

describe('a floor that rises while a snapshot is taken', () => {
  test('moves one of "now" on to what is visible then, and the owner is told of it all the while', () => {
    const { control, memory, snapshots } = world();
    control.visible = 10;
    const told: number[][] = [];
    const watched = new WatchedControl(control.memory, (look) => {
      if (look > 2) return;
      control.visible = 10 + look * 10;
      told.push(snapshots.raiseFloor(5 + look * 10));
    });
    const snapshot = new Snapshots(memory, watched).take();
    expect(snapshot.revision).toBe(30);
    expect(told, 'the slot is written before the floor is looked at').toEqual([[10], [20]]);
    expect(snapshots.raiseFloor(30)).toEqual([]);
    snapshot.release();
  });

  test('refuses one of a revision, and its slot is free again', () => {
    const { control, memory, snapshots } = world();
    control.visible = 20;
    const told: number[][] = [];
    const watched = new WatchedControl(control.memory, (look) => {
      if (look === 1) told.push(snapshots.raiseFloor(15));
    });
    const late = new Snapshots(memory, watched);
    const refusal = expect.objectContaining({ code: 'COMPACTED', data: { oldestRevision: 15 } });
    expect(() => late.takeAt(10)).toThrow(refusal);
    expect(told, 'the slot is written before the floor is looked at').toEqual([[10]]);
    expect(snapshots.raiseFloor(15)).toEqual([]);
  });
});

test('the owner can ask whether any snapshot is held, below the floor or not', () => {
  const { memory, control, snapshots } = world();
  expect(snapshots.isAnyHeld()).toBe(false);
  // Of revision 0, and in the last slot as well as in the first.
  const all = Array.from({ length: SNAPSHOT_SLOTS }, () => new Snapshots(memory, control).take());
  for (const snapshot of all) {
    expect(snapshots.isAnyHeld()).toBe(true);
    snapshot.release();
  }
  expect(snapshots.isAnyHeld()).toBe(false);
});

test('the floor never falls, and is never above what is visible', () => {
  const { control, snapshots } = world();
  control.visible = 20;
  snapshots.raiseFloor(10);
  snapshots.raiseFloor(3);
  expect(control.floor).toBe(10);
  expect(() => snapshots.raiseFloor(21)).toThrow(InvariantViolation);
});

test('there are so many slots and no more; a released one is free again', () => {
  const { snapshots } = world();
  const all = Array.from({ length: SNAPSHOT_SLOTS }, () => snapshots.take());
  const refusal = expect.objectContaining({ code: 'OVERLOADED', data: { limit: SNAPSHOT_SLOTS } });
  expect(() => snapshots.take()).toThrow(refusal);
  expect(() => snapshots.takeAt(0)).toThrow(refusal);
  all[100]?.release();
  snapshots.take().release();
  all[100]?.release();
  snapshots.take();
  expect(() => snapshots.take()).toThrow(refusal);
});

test('any order of snapshots, releases and floors: the owner is told each held revision below the floor, in order', () => {
  forSeeds(50, (random) => {
    const { control, memory } = world();
    const threads = [new Snapshots(memory, control), new Snapshots(memory, control)];
    const open: Snapshot[] = [];
    for (let step = 0; step < 200; step++) {
      const snapshots = threads[below(random, 2)] as Snapshots;
      switch (below(random, 5)) {
        case 0:
          control.visible += below(random, 3);
          break;
        case 1:
          open.push(snapshots.take());
          break;
        case 2:
          open.push(snapshots.takeAt(control.floor + below(random, control.visible - control.floor + 1)));
          break;
        case 3:
          if (open.length > 0) open.splice(below(random, open.length), 1)[0]?.release();
          break;
        default: {
          const list = snapshots.raiseFloor(Math.min(control.visible, control.floor + below(random, 4)));
          const expected = new Set(open.map(({ revision }) => revision).filter((revision) => revision < control.floor));
          expect(list).toEqual([...expected].sort((a, b) => a - b));
        }
      }
    }
  });
});

test('nothing that a thread holds is ever dropped, while the floor follows close behind, over 300 000 rounds', async () => {
  const { control, memory, snapshots } = world();
  const states = new Int32Array(new SharedArrayBuffer(4 * 8192)).fill(-1);
  const at = (revision: number): number => revision % states.length;
  Atomics.store(states, at(0), 0);
  const args: SnapshotsArgs = { control: control.memory, snapshots: memory, states: states.buffer };
  const crew = await startCrew(new URL('./snapshots-reader.ts', import.meta.url), 2, args);
  // What the owner keeps, oldest first.
  let kept = [0];
  let dropped = 0;
  let heldBelow = 0;
  while (!crew.isDone(150_000, dropped > 10_000 && heldBelow > 1000)) {
    const next = control.visible + 1;
    if (next - (kept[0] ?? next) < states.length - 1) {
      Atomics.store(states, at(next), next);
      kept.push(next);
      control.visible = next;
    }
    const held = new Set(snapshots.raiseFloor(control.visible - (next % 3)));
    if (held.size > 0) heldBelow++;
    const { floor } = control;
    kept = kept.filter((revision) => {
      if (revision >= floor || held.has(revision)) return true;
      Atomics.store(states, at(revision), -1);
      dropped++;
      return false;
    });
  }
  const reports = await crew.finish();
  expect(reports.flatMap(({ faults }) => faults)).toEqual([]);
  expect(reports.reduce((sum, { rounds }) => sum + rounds, 0)).toBeGreaterThanOrEqual(300_000);
  expect(dropped, 'revisions were dropped all the while').toBeGreaterThan(10_000);
  expect(heldBelow, 'some were held below the floor').toBeGreaterThan(1000);
}, 60_000);
