import { describe, expect, test } from 'vitest';
import { text, utf8 } from '../../../../src/core/base/bytes.ts';
import type { Disk } from '../../../../src/core/base/env.ts';
import { StoreError } from '../../../../src/core/base/errors.ts';
import { type DiskOp, MemoryDisk } from '../../../../src/engine/disk/memory-disk.ts';
import { CURRENT, parseFileName, tableName } from '../../../../src/engine/lsm/manifest/file-names.ts';
import { Manifest } from '../../../../src/engine/lsm/manifest/manifest.ts';
import { repairManifest, type TableTools } from '../../../../src/engine/lsm/manifest/repair.ts';
import type { ManifestState } from '../../../../src/engine/lsm/manifest/state.ts';
import type { FileMeta } from '../../../../src/engine/lsm/manifest/version-edit.ts';
import { seeded } from '../../../core/base/seeded.ts';
import { currentPath, DIR, gist, key, liveNumbers, readFile, watched, writeFile } from './world.ts';

/**
 * Tables for these tests: lines of `user@revision`, one line a block; a block with a '!' is damaged, a file that does
 * not begin with "table" cannot be read at all.
 */
function linesOf(disk: Disk, path: string): string[] {
  const [head, ...lines] = text(readFile(disk, path)).split('\n');
  if (head !== 'table') throw new StoreError('TABLE_CORRUPT', 'no footer', { data: { file: path, offset: 0 } });
  return lines.filter((line) => line !== '');
}

const bytesOf = (lines: string[]): Uint8Array => utf8(`${['table', ...lines].join('\n')}\n`);

function toolsOf(disk: Disk): TableTools {
  return {
    openTableInfo: (path) => {
      const lines = linesOf(disk, path);
      const bad = lines.findIndex((line) => line.includes('!'));
      if (bad >= 0) throw new StoreError('TABLE_CORRUPT', `block ${bad}`, { data: { file: path, offset: bad } });
      const entries = lines.map((line) => line.split('@') as [string, string]);
      const [first, last] = [entries[0], entries.at(-1)];
      if (first === undefined || last === undefined) return undefined;
      return {
        smallest: key(first[0], Number(first[1])),
        largest: key(last[0], Number(last[1])),
        maxRevision: Math.max(...entries.map(([, revision]) => Number(revision))),
      };
    },
    salvage: (path, outPath) => {
      const lines = linesOf(disk, path);
      const good = lines.filter((line) => !line.includes('!'));
      if (good.length > 0) writeFile(disk, outPath, bytesOf(good));
      return { kept: good.length, dropped: lines.length - good.length };
    },
  };
}

function makeTable(disk: Disk, manifest: Manifest, lines: string[]): FileMeta {
  const number = manifest.takeFileNumber();
  const path = `${DIR}/${tableName(number)}`;
  const bytes = bytesOf(lines);
  writeFile(disk, path, bytes);
  disk.syncDir(DIR);
  const { smallest, largest } = toolsOf(disk).openTableInfo(path) ?? expect.fail('entries');
  return { number, fileBytes: bytes.length, smallest, largest };
}

/** Tables 2 and 3 live, 4 an input of a compaction not removed yet (its output is 3), 5 of a flush not finished. */
function store(): { disk: MemoryDisk; state: ManifestState } {
  const disk = new MemoryDisk();
  const manifest = Manifest.create(disk, DIR);
  const flushed = makeTable(disk, manifest, ['a@7', 'c@8', 'd@9']);
  const output = makeTable(disk, manifest, ['a@1', 'e@3']);
  const input = makeTable(disk, manifest, ['a@1', 'b@2', 'e@3']);
  makeTable(disk, manifest, ['z@14']);
  manifest.append({ newFiles: [{ level: 1, file: input }], lastSequence: 3 });
  manifest.append({ newFiles: [{ level: 0, file: flushed }], lastSequence: 9 });
  manifest.append({
    deletedFiles: [{ level: 1, number: input.number }],
    newFiles: [{ level: 2, file: output }],
  });
  manifest.close();
  disk.crash({ keep: 'none' });
  return { disk, state: manifest.state };
}

const repair = (disk: MemoryDisk) => repairManifest(disk, DIR, toolsOf(disk));

/** Live tables after a repair that a crash follows, which must change nothing. */
function tablesIn(disk: MemoryDisk): { tables: number[]; lastSequence: number; entries: string[] } {
  disk.crash({ keep: 'none' });
  const { state } = Manifest.recover(disk, DIR) ?? expect.fail('a store');
  const tables = [...liveNumbers(state)];
  expect(
    state.levels.slice(1).every((files) => files.length === 0),
    'all in level 0',
  ).toBe(true);
  const entries = tables.flatMap((number) => linesOf(disk, `${DIR}/${tableName(number)}`));
  return { tables, lastSequence: state.lastSequence, entries: entries.sort() };
}

const tableNames = (disk: Disk, dir: string): string[] =>
  disk.list(dir).filter((name) => parseFileName(name)?.kind === 'table');

describe('repair', () => {
  test('of a store that is well gives the same tables, in level 0', () => {
    const { disk, state } = store();
    const report = repair(disk);
    expect(report).toEqual({
      tables: [2, 3],
      damaged: [],
      missing: [],
      takenBack: [],
      lost: ['000004.ldb', '000005.ldb', CURRENT, 'MANIFEST-000001'],
      lastSequence: 9,
    });
    expect(tablesIn(disk)).toEqual({
      tables: [...liveNumbers(state)].sort((a, b) => a - b),
      lastSequence: 9,
      entries: ['a@1', 'a@7', 'c@8', 'd@9', 'e@3'],
    });
  });

  test('MissingDescriptor: without the manifest, every table there is', () => {
    const { disk } = store();
    disk.remove(`${DIR}/MANIFEST-000001`);
    const report = repair(disk);
    expect(report).toMatchObject({ tables: [2, 3, 4, 5], missing: [], lastSequence: 14, lost: [CURRENT] });
    expect(tablesIn(disk).lastSequence).toBe(14);
  });

  test('without CURRENT, the tables that the newest manifest names', () => {
    const { disk } = store();
    disk.remove(`${DIR}/${CURRENT}`);
    expect(repair(disk)).toMatchObject({ tables: [2, 3], lost: ['000004.ldb', '000005.ldb', 'MANIFEST-000001'] });
    expect(tablesIn(disk).tables).toEqual([2, 3]);
  });

  test('CorruptedDescriptor: of a manifest that can be read in part, what it removed stays out', () => {
    const { disk } = store();
    const { manifest, state } = Manifest.recover(disk, DIR) ?? expect.fail('a store');
    // A table that only moves is removed and added; it stays.
    const [moved] = state.levels[2] ?? [];
    const file = moved ?? expect.fail('a table');
    manifest.append({ deletedFiles: [{ level: 2, number: 3 }], newFiles: [{ level: 3, file }] });
    const cleanBytes = readFile(disk, currentPath(disk)).length;
    manifest.append({ lastSequence: 20 });
    manifest.append({ lastSequence: 21 });
    disk.flipBit(currentPath(disk), cleanBytes + 8, 0);
    expect(() => Manifest.recover(disk, DIR)).toThrow('checksum');
    expect(repair(disk)).toMatchObject({ tables: [2, 3, 5], lost: ['000004.ldb', CURRENT, 'MANIFEST-000001'] });
    expect(tablesIn(disk).tables).toEqual([2, 3, 5]);
  });

  test('an older manifest, left beside a lost one, is not asked what there is', () => {
    const { disk } = store();
    const found = Manifest.recover(disk, DIR, { manifestBytesMax: 1 }) ?? expect.fail('a store');
    const { manifest } = found;
    while (manifest.fileNumber === 1) manifest.append({});
    const newer = makeTable(disk, manifest, ['k@30']);
    manifest.append({ newFiles: [{ level: 0, file: newer }], lastSequence: 30 });
    disk.remove(currentPath(disk));
    expect(repair(disk).tables).toEqual([2, 3, 5, newer.number]);
    expect(tablesIn(disk)).toMatchObject({ lastSequence: 30 });
  });

  test('TableFileRepair: a damaged table gives its good blocks to a new one, and is kept', () => {
    const { disk } = store();
    const path = `${DIR}/${tableName(2)}`;
    disk.remove(path);
    writeFile(disk, path, bytesOf(['a@7', 'c@8!', 'd@9']));
    const damaged = readFile(disk, path);
    const report = repair(disk);
    expect(report).toMatchObject({
      // What the compaction had removed is taken back: it may hold what was lost.
      tables: [3, 4, 6],
      takenBack: [4],
      damaged: [{ name: '000002.ldb', reason: 'block 1', kept: 2, dropped: 1, salvagedTo: '000006.ldb' }],
      lastSequence: 9,
    });
    expect(report.lost).toContain('000002.ldb');
    expect(readFile(disk, `${DIR}/lost/000002.ldb`)).toEqual(damaged);
    expect(tablesIn(disk).entries).toEqual(['a@1', 'a@1', 'a@7', 'b@2', 'd@9', 'e@3', 'e@3']);
  });

  test('a table of which nothing can be read is kept in lost/ and reported', () => {
    const { disk } = store();
    for (const [number, content] of [
      [2, utf8('rubbish')],
      [3, bytesOf(['a@1!'])],
    ] as const) {
      disk.remove(`${DIR}/${tableName(number)}`);
      writeFile(disk, `${DIR}/${tableName(number)}`, content);
    }
    const report = repair(disk);
    expect(report.damaged).toEqual([
      { name: '000002.ldb', reason: 'no footer', kept: 0, dropped: 0, salvagedTo: undefined },
      { name: '000003.ldb', reason: 'block 0', kept: 0, dropped: 1, salvagedTo: undefined },
    ]);
    expect(tableNames(disk, DIR)).toEqual(['000004.ldb']);
    expect(tablesIn(disk)).toMatchObject({ tables: [4], lastSequence: 3 });
  });

  test('a table that is missing is reported, and what was removed is taken back', () => {
    const { disk } = store();
    disk.remove(`${DIR}/${tableName(3)}`);
    expect(repair(disk)).toMatchObject({ tables: [2, 4], missing: [3], takenBack: [4] });
    expect(tablesIn(disk).entries).toContain('b@2');
  });

  test('a table without an entry, an old suffix, an empty directory', () => {
    const { disk } = store();
    disk.remove(`${DIR}/MANIFEST-000001`);
    writeFile(disk, `${DIR}/000040.ldb`, bytesOf([]));
    writeFile(disk, `${DIR}/000041.sst`, bytesOf(['y@4']));
    expect(repair(disk)).toMatchObject({ tables: [2, 3, 4, 5, 41], lost: ['000040.ldb', CURRENT] });
    const { state } = Manifest.recover(disk, DIR) ?? expect.fail('a store');
    expect(state.nextFile).toBe(43);
    const empty = new MemoryDisk();
    empty.mkdir(DIR);
    expect(repair(empty)).toMatchObject({ tables: [], lastSequence: 0 });
    expect(tablesIn(empty).tables).toEqual([]);
  });

  test('a table whose maker died before its sync is synced when it is taken', () => {
    const { disk } = store();
    disk.remove(`${DIR}/MANIFEST-000001`);
    const file = disk.open(`${DIR}/000040.ldb`, 'create');
    file.write(bytesOf(['y@4']), 0);
    file.close();
    expect(repair(disk).tables).toEqual([2, 3, 4, 5, 40]);
    expect(tablesIn(disk).entries).toContain('y@4');
  });

  test('can be done again, and what an earlier one kept is not written over', () => {
    const { disk } = store();
    repair(disk);
    const first = readFile(disk, `${DIR}/lost/${CURRENT}`);
    expect(repair(disk).lost).toEqual([`${CURRENT}.1`, 'MANIFEST-000006']);
    expect(readFile(disk, `${DIR}/lost/${CURRENT}`)).toEqual(first);
    expect(tablesIn(disk).tables).toEqual([2, 3]);
  });

  test('stops at what is no damage, with the store as it was', () => {
    const { disk, state } = store();
    const tools = toolsOf(disk);
    const broken: TableTools = {
      ...tools,
      openTableInfo: () => {
        throw Object.assign(new Error('EMFILE'), { code: 'EMFILE' });
      },
    };
    expect(() => repairManifest(disk, DIR, broken)).toThrow('EMFILE');
    const found = Manifest.recover(disk, DIR) ?? expect.fail('a store');
    expect(gist(found.state)).toEqual(gist(state));
  });
});

test('a crash or a failure at any call loses no table, and the next repair ends where this one would', () => {
  const damage = (): MemoryDisk => {
    const { disk } = store();
    const path = `${DIR}/${tableName(2)}`;
    disk.remove(path);
    writeFile(disk, path, bytesOf(['a@7', 'c@8!', 'd@9']));
    disk.syncDir(DIR);
    disk.flipBit(currentPath(disk), 8, 0);
    return disk;
  };
  const whole = damage();
  repair(whole);
  const expected = new Set(tablesIn(whole).entries);
  let crashes = 0;
  const finish = (crashed: MemoryDisk): void => {
    repair(crashed);
    expect(new Set(tablesIn(crashed).entries)).toEqual(expected);
    const kept = crashed.list(`${DIR}/lost`).filter((name) => name.startsWith('000002.ldb'));
    const contents = kept.map((name) => text(readFile(crashed, `${DIR}/lost/${name}`)));
    expect(contents).toContain(text(bytesOf(['a@7', 'c@8!', 'd@9'])));
  };
  const memory = damage();
  const disk = watched(memory, () => {
    for (let outcome = 0; outcome < 10; outcome++) {
      const crashed = memory.clone({ random: seeded(crashes++) });
      crashed.crash({ keep: outcome === 0 ? 'none' : outcome === 1 ? 'all' : 'random' });
      finish(crashed);
    }
  });
  repairManifest(disk, DIR, toolsOf(disk));
  expect(crashes).toBeGreaterThan(200);

  const ops: DiskOp[] = ['open', 'write', 'fdatasync', 'link', 'rename', 'remove', 'syncDir', 'mkdir'];
  for (const op of ops) {
    for (let skip = 0; ; skip++) {
      const failing = damage();
      failing.failNext({ op, code: 'ENOSPC', skip });
      try {
        repair(failing);
        break;
      } catch (error) {
        expect(error).toMatchObject({ code: expect.stringMatching(/^(STORE_FULL|DISK_FAILED)$/) });
      }
      finish(failing);
      expect(skip).toBeLessThan(40);
    }
  }
});
