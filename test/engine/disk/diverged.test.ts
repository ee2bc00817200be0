import { expect, test } from 'vitest';
import { text } from '../../../src/core/base/bytes.ts';
import { isStoreError } from '../../../src/core/base/errors.ts';
import { type Diverged, markDiverged, refuseDiverged } from '../../../src/engine/disk/diverged.ts';
import { MemoryDisk } from '../../../src/engine/disk/memory-disk.ts';

const WORD: Diverged = { index: 6400, own: '0badcafe', theirs: 'cafebabe', by: ['n1', 'n2'] };
const WHEN = new Date('2026-11-20T10:25:54.832Z');

function refusal(disk: MemoryDisk): string | undefined {
  try {
    refuseDiverged(disk, '/n3');
    return undefined;
  } catch (error) {
    if (isStoreError(error, 'DIVERGED')) return error.message;
    throw error;
  }
}

function contentOf(disk: MemoryDisk): unknown {
  const file = disk.open('/n3/DIVERGED', 'read');
  const bytes = new Uint8Array(file.size());
  file.read(bytes, 0, bytes.length, 0);
  file.close();
  return JSON.parse(text(bytes));
}

test('a directory is marked for good: a crash at once after leaves the mark, and it says what to do', () => {
  const disk = new MemoryDisk();
  disk.mkdir('/n3');
  disk.syncDir('/');
  expect(refusal(disk)).toBeUndefined();
  markDiverged(disk, '/n3', WORD, WHEN);
  disk.crash({ keep: 'none' });
  expect(contentOf(disk)).toEqual({ ...WORD, when: '2026-11-20T10:25:54.832Z' });
  expect(refusal(disk)).toMatch(/\/n3 has a file DIVERGED.*kvctl member remove.*empty directory/);
});

test('the first word stands', () => {
  const disk = new MemoryDisk();
  disk.mkdir('/n3');
  disk.syncDir('/');
  markDiverged(disk, '/n3', WORD, WHEN);
  markDiverged(disk, '/n3', { ...WORD, index: 12_800 }, WHEN);
  expect(contentOf(disk)).toMatchObject({ index: 6400 });
});

test('a mark that nobody can read is one', () => {
  const disk = new MemoryDisk();
  disk.mkdir('/n3');
  disk.syncDir('/');
  disk.open('/n3/DIVERGED', 'create').close();
  expect(refusal(disk)).toBeDefined();
});
