/**
 * Days from seeds: messages lost, doubled, late and out of order, partitions of every shape, crashes that keep part
 * of what was unsynced, slow disks, tiny limits. RaftChecker looks on at every step.
 */
import { describe, expect, test } from 'vitest';
import { type Day, liveThrough, seedsToTry } from '../../support/raft-chaos.ts';

const STEPS = 3000;
const SEEDS = Number(process.env['CTLMESH_RAFT_SEEDS'] ?? 300);

describe('a cluster on a bad day', () => {
  const days: Day[] = [];

  test('stays safe at every step and makes progress once all is healed', { timeout: 0 }, () => {
    for (const seed of seedsToTry(1, SEEDS)) days.push(liveThrough(seed, STEPS));
  });

  test('is a day on which things happen: elections, commits, reads, crashes, reverts and lives from a shorter log', () => {
    if (days.length < 100) return;
    const sum = (of: (day: Day) => number): number => days.reduce((total, day) => total + of(day), 0);
    expect(sum((day) => day.elections) / days.length).toBeGreaterThan(3);
    expect(sum((day) => day.committed) / days.length).toBeGreaterThan(30);
    expect(sum((day) => day.readsConfirmed)).toBeGreaterThan(days.length);
    expect(sum((day) => day.crashes)).toBeGreaterThan(days.length);
    expect(sum((day) => day.reverts)).toBeGreaterThan(20);
    expect(sum((day) => day.compacted) / days.length).toBeGreaterThan(50);
    expect(sum((day) => day.shortStarts)).toBeGreaterThan(days.length);
  });

  test('goes the same way every time its seed is played', () => {
    for (const seed of [1, 2, 3, 5, 8, 13, 21, 34]) expect(liveThrough(seed, STEPS)).toEqual(liveThrough(seed, STEPS));
  });
});

describe('a bad day on which members come and go', () => {
  test('stays safe at every step, and whoever is added again catches up', { timeout: 0 }, () => {
    const days: Day[] = [];
    for (const seed of seedsToTry(1, SEEDS)) days.push(liveThrough(seed, STEPS, true));
    if (days.length < 100) return;
    const sum = (of: (day: Day) => number): number => days.reduce((total, day) => total + of(day), 0);
    expect(sum((day) => day.memberChanges) / days.length).toBeGreaterThan(5);
    expect(sum((day) => day.committed) / days.length).toBeGreaterThan(30);
    expect(sum((day) => day.elections) / days.length).toBeGreaterThan(3);
  });
});
