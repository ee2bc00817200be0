/** Damaged files under another name, with a crash after every change to the disk: nothing is lost, and nothing is left. */
import { expect, test } from 'vitest';
import { utf8 } from '../../../src/core/base/bytes.ts';
import type { Disk } from '../../../src/core/base/env.ts';
import { type Keep, MemoryDisk } from '../../../src/engine/disk/memory-disk.ts';
import { readSmallFile, replaceFile } from '../../../src/engine/disk/small-file.ts';
import { asideName, setAside } from '../../../src/engine/repair/aside.ts';
import { doneNow, readRecord, type Repair, writeRecord } from '../../../src/engine/repair/record.ts';
import { seeded } from '../../core/base/seeded.ts';
import { hookedDisk } from '../wal/hooked-disk.ts';

const DIR = '/n2';
const FILES = ['IDENTITY', 'DAMAGED', 'wal/1.wal', 'wal/2.wal', 'tree/CURRENT', 'tree/000007.ldb', 'incoming/CURRENT'];
const REPAIR: Repair = {
  ...{ when: '2026-11-20T18:42:17.000Z', code: 'WAL_CORRUPT', reason: 'a byte', replaces: 'old' },
  ...{ dir: 'repaired-1', aside: 'damaged-20261120T184217Z' },
};

function directory(): MemoryDisk {
  const disk = new MemoryDisk();
  for (const dir of ['', '/wal', '/tree', '/incoming', '/lost']) disk.mkdir(`${DIR}${dir}`);
  for (const path of [...FILES, 'LOCK', 'lost/000003.ldb']) {
    const file = disk.open(`${DIR}/${path}`, 'create');
    file.write(utf8(path), 0);
    file.fdatasync();
    file.close();
  }
  for (const dir of ['', '/wal', '/tree', '/incoming', '/lost']) disk.syncDir(`${DIR}${dir}`);
  return disk;
}

function expectAside(disk: Disk): void {
  for (const path of FILES) {
    expect(disk.exists(`${DIR}/${path}`), path).toBe(false);
    expect(readSmallFile(disk, `${DIR}/${REPAIR.aside}/${path}`), path).toBe(path);
  }
  // Not the node's to give up.
  for (const path of ['LOCK', 'lost/000003.ldb']) expect(readSmallFile(disk, `${DIR}/${path}`)).toBe(path);
}

test('all of it is kept, whatever crash comes between, and the place is empty', () => {
  expect(asideName(new Date(REPAIR.when))).toBe(REPAIR.aside);
  const live = directory();
  const moments: { what: string; disk: MemoryDisk }[] = [];
  setAside(
    hookedDisk(live, (what) => moments.push({ what, disk: live.clone() })),
    DIR,
    REPAIR.aside,
  );
  expectAside(live);
  expect(moments.length).toBeGreaterThan(20);
  for (const [number, { what, disk }] of moments.entries()) {
    for (const keep of ['none', 'all', 'random'] satisfies Keep[]) {
      const crashed = disk.clone({ random: seeded(number) });
      crashed.crash({ keep });
      for (const path of FILES) {
        const kept =
          readSmallFile(crashed, `${DIR}/${path}`) ?? readSmallFile(crashed, `${DIR}/${REPAIR.aside}/${path}`);
        expect(kept, `${path} after ${what} (${keep})`).toBe(path);
      }
      setAside(crashed, DIR, REPAIR.aside);
      expectAside(crashed);
    }
  }
});

test('what is not there is not asked for', () => {
  const disk = new MemoryDisk();
  disk.mkdir(DIR);
  setAside(disk, DIR, REPAIR.aside);
  expect(disk.list(`${DIR}/${REPAIR.aside}`)).toEqual([]);
});

test('the record of repairs is the old one or the new one, and remembers how many there were', () => {
  const disk = new MemoryDisk();
  disk.mkdir(DIR);
  expect(readRecord(disk, DIR)).toEqual({ done: [], count: 0 });
  let record = readRecord(disk, DIR);
  for (let i = 0; i < 20; i++) {
    writeRecord(disk, DIR, { ...record, pending: { ...REPAIR, dir: `repaired-${i}`, isAccepted: true } });
    record = doneNow(readRecord(disk, DIR));
    writeRecord(disk, DIR, record);
  }
  disk.crash({ keep: 'none' });
  const read = readRecord(disk, DIR);
  expect(read).toEqual(record);
  expect(read.count).toBe(20);
  expect(read.done.map(({ dir }) => dir)).toEqual(Array.from({ length: 16 }, (_, i) => `repaired-${i + 4}`));
  replaceFile(disk, DIR, 'REPAIRS', '{"done":1}');
  expect(() => readRecord(disk, DIR)).toThrow('REPAIRS');
});
