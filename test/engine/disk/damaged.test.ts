import { expect, test } from 'vitest';
import { StoreError } from '../../../src/core/base/errors.ts';
import { isDamage, markDamaged, refuseDamaged } from '../../../src/engine/disk/damaged.ts';
import { MemoryDisk } from '../../../src/engine/disk/memory-disk.ts';
import { replaceFile } from '../../../src/engine/disk/small-file.ts';

const FOUND = new StoreError('TABLE_CORRUPT', 'tree/000007.ldb: a bad block', { data: { file: 'x', offset: 4096 } });

test('what a node met is thrown by its next start, also when the power fails at once; the first word stands', () => {
  const disk = new MemoryDisk();
  disk.mkdir('/n2');
  refuseDamaged(disk, '/n2', true);
  markDamaged(disk, '/n2', FOUND, new Date(0));
  markDamaged(disk, '/n2', new StoreError('WAL_CORRUPT', 'later'), new Date(1));
  disk.crash({ keep: 'none' });
  let met: unknown;
  try {
    refuseDamaged(disk, '/n2', true);
  } catch (error) {
    met = error;
  }
  expect(isDamage(met)).toBe(true);
  expect(met).toMatchObject({ code: 'TABLE_CORRUPT', data: { file: 'x', offset: 4096 } });
  expect((met as StoreError).message).toContain('000007.ldb: a bad block');
});

test('where nobody repairs it, damage may be met again; a directory that has forgotten its promises never starts', () => {
  const disk = new MemoryDisk();
  for (const dir of ['/n2', '/n3']) disk.mkdir(dir);
  markDamaged(disk, '/n2', FOUND, new Date(0));
  refuseDamaged(disk, '/n2', false);
  markDamaged(disk, '/n3', new StoreError('DIR_ROLLED_BACK', 'n1 has seen more'), new Date(0));
  expect(() => refuseDamaged(disk, '/n3', false)).toThrow('n1 has seen more');
});

test('a mark that cannot be read is one all the same', () => {
  const disk = new MemoryDisk();
  disk.mkdir('/n2');
  replaceFile(disk, '/n2', 'DAMAGED', '{');
  expect(() => refuseDamaged(disk, '/n2', true)).toThrow('damaged');
  expect(isDamage(new StoreError('DISK_FAILED', 'a sync failed')), 'its files may be what they were').toBe(false);
});
