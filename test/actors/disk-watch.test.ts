import { expect, test } from 'vitest';
import { DiskWatch } from '../../src/actors/disk-watch.ts';

class World {
  nowMs = 0;
  asked = 0;
  readonly raft = {
    isLeader: true,
    isTransferring: false,
    transfer: (): boolean => {
      this.asked++;
      return true;
    },
  };
  readonly logged: string[] = [];
  readonly watch = new DiskWatch({
    raft: this.raft,
    monotonicMs: () => this.nowMs,
    slowAfterMs: 1_000,
    log: (_level, event, fields) => this.logged.push(`${event} ${JSON.stringify(fields)}`),
  });

  look(atMs: number, waits: boolean, syncedSeq: number): number {
    this.nowMs = atMs;
    this.watch.look(waits, syncedSeq);
    return this.asked;
  }
}

test('a disk that stands still for an election timeout has its leader hand over, and again after as long', () => {
  const world = new World();
  expect(world.look(0, true, 5)).toBe(0);
  expect(world.look(999, true, 5)).toBe(0);
  expect(world.look(1_000, true, 5)).toBe(1);
  expect(world.logged).toEqual(['disk.slow {"ms":1000,"handsOver":true}']);
  expect(world.look(1_900, true, 5)).toBe(1);
  expect(world.look(2_000, true, 5)).toBe(2);
});

test('a disk that gets on, however slowly, is left alone; so is one that has nothing to do', () => {
  const world = new World();
  for (let i = 0; i < 20; i++) world.look(i * 900, true, i);
  expect(world.asked).toBe(0);
  world.look(18_000, false, 20);
  expect(world.look(60_000, false, 20)).toBe(0);
  // What comes after a long rest has a timeout of its own.
  expect(world.look(60_001, true, 20)).toBe(0);
  expect(world.look(60_900, true, 20)).toBe(0);
  expect(world.look(61_001, true, 20)).toBe(1);
});

test('only a leader that does not hand over yet', () => {
  const world = new World();
  world.raft.isLeader = false;
  world.look(0, true, 1);
  expect(world.look(5_000, true, 1)).toBe(0);
  world.raft.isLeader = true;
  world.raft.isTransferring = true;
  expect(world.look(6_000, true, 1)).toBe(0);
});
