/** A log whose state comes from elsewhere: it begins where that ends, with the promises of before. */
import { expect, test } from 'vitest';
import { toIndex, toLsn, toTerm } from '../../../src/core/base/position.ts';
import { MemoryDisk } from '../../../src/engine/disk/memory-disk.ts';
import { beginLog } from '../../../src/engine/wal/begin.ts';
import { WalReader } from '../../../src/engine/wal/reader.ts';
import { recoverWal } from '../../../src/engine/wal/recovery.ts';
import { Standing } from '../../../src/engine/wal/standing.ts';
import { DIR, entryAt, Wal } from './wal.ts';

const hardState = { term: toTerm(12), vote: 'n2', commit: toIndex(500) };
const begin = (disk: MemoryDisk): void => beginLog(disk, DIR, { hardState, baseTerm: toTerm(11), salt: () => 99 });

function anOldLog(): MemoryDisk {
  const disk = new MemoryDisk();
  const wal = new Wal(disk, { segmentBytes: 1_000, spares: 2 });
  for (let index = 1; index <= 40; index++) {
    wal.write(entryAt(index, 100));
    wal.sync();
  }
  while (wal.committer.truncateTo(toIndex(20)));
  wal.committer.close();
  return disk;
}

test('it has no entry, goes on behind the state, keeps term and vote, and nothing of the log before', () => {
  const disk = anOldLog();
  begin(disk);
  disk.crash({ keep: 'none' });
  expect(disk.list(DIR)).toEqual(['000002.wal']);
  expect(recoverWal(disk, DIR)).toMatchObject({
    ...{ hardState, firstIndex: 501, lastIndex: 500, baseTerm: 11, runs: [], places: [], trimmedBytes: 0 },
  });
});

test('twice is as good as once', () => {
  const disk = anOldLog();
  begin(disk);
  begin(disk);
  expect(recoverWal(disk, DIR)).toMatchObject({ hardState, firstIndex: 501, lastIndex: 500 });
});

test('entries that follow are found again, and their terms', () => {
  const disk = new MemoryDisk();
  begin(disk);
  const wal = new Wal(disk, { segmentBytes: 2_000, spares: 0 });
  for (let index = 501; index <= 560; index++) {
    wal.write(entryAt(index, 100, 12));
    wal.sync();
  }
  disk.crash({ keep: 'none' });
  const recovered = recoverWal(disk, DIR);
  expect(recovered).toMatchObject({ firstIndex: 501, lastIndex: 560, baseTerm: 11, firstSegment: 2 });
  const standing = new Standing(recovered);
  expect([500, 501, 560].map((index) => standing.termOf(toIndex(index)))).toEqual([11, 12, 12]);
  const reader = new WalReader(disk, DIR, recovered, (index) => standing.termOf(index));
  expect(reader.read(toIndex(501), toIndex(503), 10_000).map(({ index }) => index)).toEqual([501, 502]);
  reader.close();
  expect(recovered.lastLsn).toBeGreaterThan(toLsn(60));
});
