import { expect, test } from 'vitest';
import { LINEAGE_MAX } from '../../../src/core/raft/witness.ts';
import { beginLife, readLives, writeLives } from '../../../src/engine/disk/lives.ts';
import { MemoryDisk } from '../../../src/engine/disk/memory-disk.ts';
import { replaceFile } from '../../../src/engine/disk/small-file.ts';

test('a life is counted before it begins, whatever becomes of it, and the newest are remembered', () => {
  const disk = new MemoryDisk();
  disk.mkdir('/n1');
  expect(readLives(disk, '/n1')).toEqual({ life: 0, boots: [], seen: {} });
  for (let boot = 101; boot <= 140; boot++) {
    const lives = beginLife(disk, '/n1', boot);
    expect(lives.boots.at(-1)).toBe(boot);
    disk.crash({ keep: 'none' });
  }
  const { life, boots } = readLives(disk, '/n1');
  expect(life).toBe(40);
  expect(boots).toEqual(Array.from({ length: LINEAGE_MAX + 1 }, (_, i) => 108 + i));
});

test('what was seen of others outlives a life', () => {
  const disk = new MemoryDisk();
  disk.mkdir('/n1');
  const seen = { n2: { dir: 'd2', boot: 7, life: 3 } };
  writeLives(disk, '/n1', { ...beginLife(disk, '/n1', 1), seen });
  disk.crash({ keep: 'none' });
  expect(beginLife(disk, '/n1', 2)).toEqual({ life: 2, boots: [1, 2], seen });
});

test('a file that cannot be read is damage', () => {
  const disk = new MemoryDisk();
  disk.mkdir('/n1');
  for (const content of ['{', '{"life":"x"}']) {
    replaceFile(disk, '/n1', 'LIVES', content);
    expect(() => beginLife(disk, '/n1', 1)).toThrow('LIVES cannot be read');
  }
});
