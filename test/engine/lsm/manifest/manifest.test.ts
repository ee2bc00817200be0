import { describe, expect, test } from 'vitest';
import { InvariantViolation } from '../../../../src/core/base/assert.ts';
import { utf8 } from '../../../../src/core/base/bytes.ts';
import type { Disk } from '../../../../src/core/base/env.ts';
import type { StoreError } from '../../../../src/core/base/errors.ts';
import { type Fault, MemoryDisk } from '../../../../src/engine/disk/memory-disk.ts';
import { tableName } from '../../../../src/engine/lsm/manifest/file-names.ts';
import { HEADER_BYTES, LogWriter } from '../../../../src/engine/lsm/manifest/log-format.ts';
import { Manifest } from '../../../../src/engine/lsm/manifest/manifest.ts';
import { removeStale } from '../../../../src/engine/lsm/manifest/stale-files.ts';
import type { ManifestState } from '../../../../src/engine/lsm/manifest/state.ts';
import { encodeEdit, type VersionEdit } from '../../../../src/engine/lsm/manifest/version-edit.ts';
import { codeOf } from '../../../suites/disk-suite.ts';
import {
  add,
  currentPath,
  DIR,
  gist,
  key,
  liveNumbers,
  makeTable,
  manifests,
  readFile,
  watched,
  writeFile,
} from './world.ts';

const levelsOf = (state: ManifestState): number[][] => state.levels.map((files) => files.map(({ number }) => number));

function recovered(disk: MemoryDisk, options = {}): { manifest: Manifest; state: ManifestState; trimmedBytes: number } {
  return Manifest.recover(disk, DIR, options) ?? expect.fail('there is a store');
}

/** The error of an act. */
function errorOf(act: () => unknown): StoreError {
  try {
    act();
  } catch (error) {
    return error as StoreError;
  }
  return expect.fail('nothing was thrown');
}

/** A store with two tables in level 1, durable; and its manifest. */
function store(options = {}): { disk: MemoryDisk; manifest: Manifest } {
  const disk = new MemoryDisk();
  const manifest = Manifest.create(disk, DIR, options);
  manifest.append({ ...add(1, makeTable(disk, manifest, 'a', 'c')), lastSequence: 5 });
  manifest.append({ ...add(1, makeTable(disk, manifest, 'd', 'f')), lastSequence: 9 });
  return { disk, manifest };
}

describe('a manifest', () => {
  test('of a directory that is not there, or empty, or holds others’ files, is undefined', () => {
    const disk = new MemoryDisk();
    expect(Manifest.recover(disk, DIR)).toBeUndefined();
    disk.mkdir(DIR);
    expect(Manifest.recover(disk, DIR)).toBeUndefined();
    for (const name of ['IDENTITY', 'LOCK', '000003.log', '000004.dbtmp']) {
      writeFile(disk, `${DIR}/${name}`, new Uint8Array(1));
    }
    expect(Manifest.recover(disk, DIR, { readOnly: true })).toBeUndefined();
  });

  test('that was made is there after a crash, and empty', () => {
    const disk = new MemoryDisk();
    Manifest.create(disk, DIR).close();
    disk.crash({ keep: 'none' });
    expect(Buffer.from(readFile(disk, `${DIR}/CURRENT`)).toString()).toBe('MANIFEST-000001\n');
    const { state, trimmedBytes } = recovered(disk);
    expect(levelsOf(state)).toEqual([[], [], [], [], [], [], []]);
    expect([state.lastSequence, state.nextFile, state.logNumber, trimmedBytes]).toEqual([0, 2, 0, 0]);
  });

  test('is not made over another', () => {
    const { disk } = store();
    expect(() => Manifest.create(disk, DIR)).toThrow('a new store has no CURRENT');
  });

  test('gives back after a crash what its edits said', () => {
    const { disk, manifest } = store();
    const moved = manifest.state.levels[1]?.[0] ?? expect.fail('a table');
    const flushed = makeTable(disk, manifest, 'a', 'z');
    manifest.append(add(0, flushed));
    manifest.append({
      deletedFiles: [{ level: 1, number: moved.number }],
      newFiles: [{ level: 2, file: moved }],
      compactPointers: [{ level: 1, key: key('b') }],
      lastSequence: 12,
    });
    expect(levelsOf(manifest.state)).toEqual([[flushed.number], [3], [2], [], [], [], []]);
    disk.crash({ keep: 'none' });
    const { state } = recovered(disk);
    expect(gist(state)).toEqual(gist(manifest.state));
    expect(state.lastSequence).toBe(12);
    expect(state.compactPointers[1]).toEqual(key('b'));
    expect(state.nextFile).toBe(5);
  });

  test('ManifestReused: the next life goes on in the same file', () => {
    const { disk, manifest } = store();
    const before = readFile(disk, currentPath(disk));
    manifest.close();
    const next = recovered(disk).manifest;
    next.append({ lastSequence: 10 });
    next.close();
    expect(manifests(disk)).toEqual(['MANIFEST-000001']);
    const after = readFile(disk, currentPath(disk));
    expect(Buffer.compare(after.subarray(0, before.length), before)).toBe(0);
    expect(recovered(disk).state.lastSequence).toBe(10);
  });

  test('LargeManifestCompacted: one that has grown past its bound is replaced by one of a single edit', () => {
    const { disk, manifest } = store({ manifestBytesMax: 300 });
    for (let i = 10; manifest.fileNumber === 1; i++) manifest.append({ lastSequence: i });
    expect(manifests(disk)).toEqual(['MANIFEST-000001', 'MANIFEST-000004']);
    expect(readFile(disk, `${DIR}/MANIFEST-000001`).length).toBeGreaterThanOrEqual(300);
    expect(readFile(disk, `${DIR}/MANIFEST-000004`).length).toBeLessThan(200);
    expect(currentPath(disk)).toBe(`${DIR}/MANIFEST-000004`);
    manifest.append({ lastSequence: 1000 });
    disk.crash({ keep: 'none' });
    expect(gist(recovered(disk).state)).toEqual(gist(manifest.state));
    // The next life holds to the bound as well.
    const next = recovered(disk, { manifestBytesMax: 50 });
    while (next.manifest.fileNumber === 4) next.manifest.append({});
    expect(gist(recovered(disk).state)).toEqual(gist(manifest.state));
  });

  test('a state larger than the bound is not written anew for each edit', () => {
    const { disk, manifest } = store({ manifestBytesMax: 1 });
    for (let i = 0; i < 200; i++) manifest.append(add(0, makeTable(disk, manifest, `k${i}`, `l${i}`)));
    // Each file doubles the one before, near enough.
    expect(manifests(disk).length).toBeLessThan(15);
    expect(manifests(disk).length).toBeGreaterThan(3);
    expect(gist(recovered(disk).state)).toEqual(gist(manifest.state));
  });

  test('numbers are never given twice, not even those of files that no edit names', () => {
    const { disk, manifest } = store();
    const numbers = [manifest.takeFileNumber(), manifest.takeFileNumber()];
    expect(numbers).toEqual([4, 5]);
    writeFile(disk, `${DIR}/${tableName(5)}`, new Uint8Array(1));
    disk.syncDir(DIR);
    disk.crash({ keep: 'none' });
    const next = recovered(disk).manifest;
    expect(next.takeFileNumber()).toBe(6);
  });

  test('a closed one takes nothing, and closes twice', () => {
    const { manifest } = store();
    manifest.close();
    manifest.close();
    expect(errorOf(() => manifest.append({})).code).toBe('CLOSED');
  });

  test('opened for reading changes nothing on the disk and takes nothing', () => {
    const { disk, manifest } = store();
    writeFile(disk, `${DIR}/junk`, new Uint8Array(1));
    disk.open(currentPath(disk), 'write').write(Uint8Array.of(1, 2, 3), readFile(disk, currentPath(disk)).length);
    const before = readFile(disk, currentPath(disk));
    const reader = recovered(disk, { readOnly: true });
    expect(reader.trimmedBytes).toBe(3);
    expect(gist(reader.state)).toEqual(gist(manifest.state));
    expect(errorOf(() => reader.manifest.append({})).code).toBe('READ_ONLY');
    expect(reader.manifest.fileNumber).toBeUndefined();
    reader.manifest.close();
    expect(readFile(disk, currentPath(disk))).toEqual(before);
    expect(recovered(disk).trimmedBytes).toBe(3);
    expect(readFile(disk, currentPath(disk)).length).toBe(before.length - 3);
  });

  test('a manifest that LevelDB would write is read: its counters may stand in the second edit', () => {
    const disk = new MemoryDisk();
    disk.mkdir(DIR);
    const file = disk.open(`${DIR}/MANIFEST-000007`, 'create');
    const writer = new LogWriter(file, 0);
    writer.append(encodeEdit({ comparator: 'leveldb.BytewiseComparator' }));
    writer.append(encodeEdit({ logNumber: 6, prevLogNumber: 0, nextFile: 8, lastSequence: 3 }));
    writeFile(disk, `${DIR}/CURRENT`, utf8('MANIFEST-000007\n'));
    const { state } = recovered(disk);
    expect(state).toMatchObject({ logNumber: 6, nextFile: 8, lastSequence: 3 });
  });
});

describe('a wrong edit of our own is a bug, and nothing of it is written', () => {
  test.each<[string, (manifest: Manifest, disk: MemoryDisk) => VersionEdit]>([
    ['overlap in a level', (manifest, disk) => add(1, makeTable(disk, manifest, 'c', 'd'))],
    ['overlap with the one before', (manifest, disk) => add(1, makeTable(disk, manifest, 'b', 'b2'))],
    ['overlap with the one behind', (manifest, disk) => add(1, makeTable(disk, manifest, 'c2', 'e'))],
    ['overlap that swallows both', (manifest, disk) => add(1, makeTable(disk, manifest, '0', 'z'))],
    ['a table that ends before it begins', (manifest, disk) => add(1, makeTable(disk, manifest, 'z', 'y'))],
    ['a table removed where it is not', () => ({ deletedFiles: [{ level: 2, number: 2 }] })],
    ['a table added twice', (manifest) => add(2, manifest.state.levels[1]?.[0] ?? expect.fail('a table'))],
    ['a sequence that goes back', () => ({ lastSequence: 8 })],
    ['another comparator', () => ({ comparator: 'other' })],
    ['a number that nobody gave', () => add(2, { number: 99, fileBytes: 1, smallest: key('a'), largest: key('b') })],
  ])('%s', (_, edit) => {
    const { disk, manifest } = store();
    const wrong = edit(manifest, disk);
    const before = gist(manifest.state);
    const bytes = readFile(disk, currentPath(disk));
    expect(() => manifest.append(wrong)).toThrow(InvariantViolation);
    expect(gist(manifest.state)).toEqual(before);
    expect(readFile(disk, currentPath(disk))).toEqual(bytes);
    manifest.append({ lastSequence: 10 });
    expect(recovered(disk).state.lastSequence).toBe(10);
  });

  test('tables of a level may touch in a user key, as LevelDB allows, in the order of its versions only', () => {
    const { disk, manifest } = store();
    const table = (smallest: Uint8Array, largest: Uint8Array) => ({
      ...makeTable(disk, manifest, 'x', 'x'),
      smallest,
      largest,
    });
    manifest.append(add(3, table(key('a', 4), key('k', 7))));
    manifest.append(add(3, table(key('k', 6), key('z', 1))));
    expect(() => manifest.append(add(4, table(key('k', 6), key('k', 7))))).toThrow('ends before it begins');
    expect(() => manifest.append(add(3, table(key('z', 1), key('zz', 1))))).toThrow('overlap');
    manifest.append(add(4, table(key('k', 6), key('z', 1))));
    expect(() => manifest.append(add(4, table(key('a', 1), key('k', 6))))).toThrow('overlap');
  });

  test('tables come in key order and in level 0 in order of numbers, whatever the order of edits', () => {
    const { disk, manifest } = store();
    const late = makeTable(disk, manifest, 'm', 'n');
    const later = makeTable(disk, manifest, 'a', 'b');
    manifest.append({ newFiles: [later, late].map((file) => ({ level: 0, file })) });
    manifest.append({
      newFiles: ['p', '0', 'g'].map((user) => ({ level: 1, file: makeTable(disk, manifest, user, user) })),
    });
    expect(levelsOf(manifest.state).slice(0, 2)).toEqual([
      [4, 5],
      [7, 2, 3, 8, 6],
    ]);
  });
});

describe('ManifestWriteError', () => {
  const fail: Record<string, Fault> = {
    'no space for the record': { op: 'write', code: 'ENOSPC' },
    'EIO on the record': { op: 'write', code: 'EIO' },
  };

  test.each(Object.entries(fail))('%s: nothing has changed, and it goes on', (_, fault) => {
    const { disk, manifest } = store();
    const before = gist(manifest.state);
    const table = makeTable(disk, manifest, 'x', 'z');
    disk.failNext(fault);
    const error = errorOf(() => manifest.append(add(1, table)));
    expect(error.code).toBe(fault.code === 'ENOSPC' ? 'STORE_FULL' : 'DISK_FAILED');
    expect(manifest.failure).toBeUndefined();
    expect(gist(manifest.state)).toEqual(before);
    // The job gives its table up; a restart knows nothing of it, whatever the disk kept.
    disk.remove(`${DIR}/${tableName(table.number)}`);
    for (const keep of ['none', 'all'] as const) {
      const crashed = disk.clone();
      crashed.crash({ keep });
      expect(gist(recovered(crashed).state)).toEqual(before);
    }
    manifest.append(add(1, makeTable(disk, manifest, 'x', 'z')));
    // After EIO the file is not trusted with another record.
    const { fileNumber } = manifest;
    expect(fileNumber === 1).toBe(fault.code === 'ENOSPC');
    manifest.append({});
    expect(manifest.fileNumber).toBe(fileNumber);
    disk.crash({ keep: 'none' });
    expect(gist(recovered(disk).state)).toEqual(gist(manifest.state));
  });

  test('a record that fits only in part leaves nothing of itself, and the store opens on the full disk', () => {
    const { disk, manifest } = store();
    const before = gist(manifest.state);
    const table = makeTable(disk, manifest, 'x', 'z');
    for (const room of [0, 1, 6, 7, 8, 30]) {
      disk.capacityBytes = disk.usedBytes + room;
      expect(errorOf(() => manifest.append(add(1, table))).code).toBe('STORE_FULL');
      const crashed = disk.clone();
      crashed.crash({ keep: 'all' });
      expect(recovered(crashed)).toMatchObject({ trimmedBytes: 0 });
      expect(gist(recovered(crashed).state)).toEqual(before);
    }
    disk.capacityBytes = Number.POSITIVE_INFINITY;
    manifest.append(add(1, table));
    expect(gist(recovered(disk).state)).toEqual(gist(manifest.state));
  });

  test('a process that dies in the middle of a record on a full disk leaves a store that opens there', () => {
    const { disk, manifest } = store();
    const size = readFile(disk, currentPath(disk)).length;
    // The beginning of a record: its header promises more than there is.
    const bytes = new Uint8Array(40).fill(0x55);
    bytes.set([1, 2, 3, 4, 200, 0, 1]);
    disk.open(currentPath(disk), 'write').write(bytes, size);
    disk.capacityBytes = disk.usedBytes;
    const next = recovered(disk);
    expect(next.trimmedBytes).toBe(40);
    expect(gist(next.state)).toEqual(gist(manifest.state));
    next.manifest.append({ lastSequence: 10 });
    expect(recovered(disk).state.lastSequence).toBe(10);
  });

  test.each<[string, Fault, string | undefined]>([
    ['no handle for the new file', { op: 'open', code: 'EMFILE' }, undefined],
    ['no space for the new file', { op: 'write', code: 'ENOSPC' }, undefined],
    ['EIO in the new file', { op: 'write', code: 'EIO' }, undefined],
    ['a failed sync of the new file', { op: 'fdatasync', code: 'EIO' }, 'before'],
    ['a failed sync of its name', { op: 'syncDir', code: 'EIO' }, 'before'],
    ['no space for CURRENT', { op: 'write', code: 'ENOSPC', skip: 1 }, undefined],
    ['a failed sync of CURRENT', { op: 'fdatasync', code: 'EIO', skip: 1 }, 'before'],
    ['a rename refused for space', { op: 'rename', code: 'ENOSPC' }, undefined],
    ['a rename with EIO', { op: 'rename', code: 'EIO' }, undefined],
    ['a failed sync of CURRENT’s name', { op: 'syncDir', code: 'EIO', skip: 1 }, 'either'],
  ])('while rolling over: %s', (_, fault, poisoned) => {
    const { disk, manifest } = store({ manifestBytesMax: 1 });
    while (manifest.fileNumber === 1) manifest.append({});
    const number = manifest.fileNumber;
    // To the brink: the next edit rolls over.
    const size = () => readFile(disk, currentPath(disk)).length;
    const bound = 2 * size();
    while (size() < bound) manifest.append({});
    const before = gist(manifest.state);
    const table = makeTable(disk, manifest, 'x', 'z');
    disk.failNext(fault);
    const error = errorOf(() => manifest.append(add(1, table)));
    expect(error.code).toBe(fault.code === 'ENOSPC' ? 'STORE_FULL' : 'DISK_FAILED');
    expect(gist(manifest.state)).toEqual(before);
    expect(manifest.fileNumber).toBe(number);
    if (poisoned !== undefined) {
      expect(manifest.failure).toBe(error);
      expect(errorOf(() => manifest.append({}))).toBe(error);
      const after = new Set<string>();
      for (const keep of ['none', 'all'] as const) {
        const crashed = disk.clone();
        crashed.crash({ keep });
        after.add(JSON.stringify(gist(recovered(crashed).state)) === JSON.stringify(before) ? 'before' : 'after');
      }
      expect([...after].sort()).toEqual(poisoned === 'before' ? ['before'] : ['after', 'before']);
      return;
    }
    expect(manifest.failure).toBeUndefined();
    disk.remove(`${DIR}/${tableName(table.number)}`);
    expect(disk.list(DIR).filter((name) => name.endsWith('.dbtmp'))).toEqual([]);
    for (const keep of ['none', 'all'] as const) {
      const crashed = disk.clone();
      crashed.crash({ keep });
      expect(gist(recovered(crashed).state)).toEqual(before);
    }
    manifest.append(add(1, makeTable(disk, manifest, 'x', 'z')));
    expect(manifest.fileNumber).not.toBe(number);
    disk.crash({ keep: 'none' });
    expect(gist(recovered(disk).state)).toEqual(gist(manifest.state));
  });

  test('a rename that fails and was done all the same is final: CURRENT is asked', () => {
    const memory = new MemoryDisk();
    let isLying = false;
    const disk: Disk = {
      ...watched(memory, () => {}),
      rename(from, to) {
        memory.rename(from, to);
        if (isLying) throw Object.assign(new Error('EIO, says the disk'), { code: 'EIO' });
      },
    };
    const manifest = Manifest.create(disk, DIR, { manifestBytesMax: 1 });
    const table = makeTable(disk, manifest, 'a', 'b');
    isLying = true;
    let edits = 0;
    while (manifest.failure === undefined) {
      try {
        manifest.append(edits++ === 0 ? add(0, table) : {});
      } catch (error) {
        expect(error).toBe(manifest.failure);
      }
    }
    expect(edits).toBeGreaterThan(1);
    expect(manifest.fileNumber).toBe(1);
    expect(manifests(memory).length).toBe(2);
    expect(gist(recovered(memory).state)).toEqual(gist(manifest.state));
  });

  test('a failed sync of a record is final: the outcome is open, and a sync is not tried again', () => {
    const { disk, manifest } = store();
    const before = gist(manifest.state);
    const table = makeTable(disk, manifest, 'x', 'z');
    disk.failNext({ op: 'fdatasync', code: 'EIO' });
    const error = errorOf(() => manifest.append(add(1, table)));
    expect(error.code).toBe('DISK_FAILED');
    expect(manifest.failure).toBe(error);
    expect(errorOf(() => manifest.append({}))).toBe(error);
    expect(gist(manifest.state)).toEqual(before);
    const lost = disk.clone();
    lost.crash({ keep: 'none' });
    expect(gist(recovered(lost).state)).toEqual(before);
    // The next process sees the record, as the kernel has it, and makes it true before it acts on it.
    manifest.close();
    const next = recovered(disk);
    expect(next.state.levels[1]?.length).toBe(3);
    disk.crash({ keep: 'none' });
    expect(gist(recovered(disk).state)).toEqual(gist(next.state));
  });

  test('a write that fails and cannot be taken back is final', () => {
    for (const op of ['truncate', 'fdatasync'] as const) {
      const { disk, manifest } = store();
      disk.failNext({ op: 'write', code: 'EIO' });
      disk.failNext({ op, code: 'EIO' });
      const error = errorOf(() => manifest.append({}));
      expect(error.code).toBe('DISK_FAILED');
      expect(manifest.failure).toBe(error);
    }
  });

  test('a new store that cannot be made leaves a directory in which it can', () => {
    for (const op of ['open', 'write', 'fdatasync', 'syncDir', 'rename'] as const) {
      for (const skip of [0, 1]) {
        const disk = new MemoryDisk();
        disk.mkdir(DIR);
        disk.failNext({ op, code: 'ENOSPC', skip });
        if (op === 'rename' && skip === 1) continue;
        const error = errorOf(() => Manifest.create(disk, DIR));
        expect(error.code).toBe(op === 'fdatasync' || op === 'syncDir' ? 'DISK_FAILED' : 'STORE_FULL');
        disk.crash({ keep: 'all' });
        const again = Manifest.recover(disk, DIR)?.manifest ?? Manifest.create(disk, DIR);
        again.append({ lastSequence: 1 });
        expect(recovered(disk).state.lastSequence).toBe(1);
      }
    }
  });
});

describe('recovery refuses', () => {
  const corrupt = (disk: MemoryDisk, file: string, message: string): void => {
    for (const readOnly of [true, false]) {
      const before = disk.list(DIR).map((name) => Buffer.from(readFile(disk, `${DIR}/${name}`)).toString('hex'));
      const error = errorOf(() => Manifest.recover(disk, DIR, { readOnly }));
      expect(error.code).toBe('TABLE_CORRUPT');
      expect(error.data['file']).toBe(file);
      expect(error.message).toContain(message);
      expect(typeof error.data['offset']).toBe('number');
      expect(disk.list(DIR).map((name) => Buffer.from(readFile(disk, `${DIR}/${name}`)).toString('hex'))).toEqual(
        before,
      );
    }
  };

  test('ManifestMissing, MissingDescriptor: the manifest that CURRENT names', () => {
    const { disk } = store();
    disk.remove(`${DIR}/MANIFEST-000001`);
    corrupt(disk, `${DIR}/MANIFEST-000001`, 'kvctl repair');
  });

  test('a missing CURRENT beside tables or a manifest that was in use', () => {
    const { disk } = store();
    disk.remove(`${DIR}/CURRENT`);
    corrupt(disk, `${DIR}/CURRENT`, 'it is missing beside 000002.ldb; kvctl repair can rebuild it');
    for (const number of [2, 3]) disk.remove(`${DIR}/${tableName(number)}`);
    corrupt(disk, `${DIR}/CURRENT`, 'it is missing beside MANIFEST-000001');
  });

  test('but not one that a first start did not come to write', () => {
    const { disk } = store();
    for (const name of ['CURRENT', tableName(2), tableName(3)]) disk.remove(`${DIR}/${name}`);
    const [first] = readFile(disk, `${DIR}/MANIFEST-000001`).subarray(4);
    const firstRecordBytes = HEADER_BYTES + (first as number);
    for (const size of [firstRecordBytes, 20, 3, 0]) {
      disk.open(`${DIR}/MANIFEST-000001`, 'write').truncate(size);
      expect(Manifest.recover(disk, DIR)).toBeUndefined();
    }
    expect(Manifest.create(disk, DIR).fileNumber).toBe(2);
  });

  test.each([
    ['empty', ''],
    ['without its newline', 'MANIFEST-000001'],
    ['of another file', '000002.ldb\n'],
    ['of no name', '\xff\xfe\n'],
    ['too long', `MANIFEST-${'0'.repeat(80)}1\n`],
  ])('a CURRENT that is %s', (_, content) => {
    const { disk } = store();
    disk.remove(`${DIR}/CURRENT`);
    writeFile(disk, `${DIR}/CURRENT`, Uint8Array.from(Buffer.from(content, 'latin1')));
    corrupt(disk, `${DIR}/CURRENT`, 'does not name a manifest');
  });

  test('CorruptedDescriptor: a rotten record', () => {
    const { disk } = store();
    disk.flipBit(`${DIR}/MANIFEST-000001`, 70, 3);
    corrupt(disk, `${DIR}/MANIFEST-000001`, 'checksum');
  });

  test('a manifest without a whole record, which no crash leaves under CURRENT', () => {
    const { disk } = store();
    for (const size of [0, 10]) {
      disk.open(`${DIR}/MANIFEST-000001`, 'write').truncate(size);
      corrupt(disk, `${DIR}/MANIFEST-000001`, 'no whole record');
    }
  });

  test('MissingSSTFile: a table that is not there', () => {
    const { disk } = store();
    disk.remove(`${DIR}/${tableName(3)}`);
    corrupt(disk, `${DIR}/${tableName(3)}`, 'missing');
  });

  test('a table of another length', () => {
    const { disk } = store();
    disk.open(`${DIR}/${tableName(3)}`, 'write').truncate(99);
    corrupt(disk, `${DIR}/${tableName(3)}`, 'it has 99 bytes, and the manifest says 100');
  });

  test.each<[string, VersionEdit, string]>([
    ['overlapping tables', { newFiles: [{ level: 1, file: table(2, 'b', 'd') }] }, 'tables 1 and 2 overlap'],
    ['a removal of what is not there', { deletedFiles: [{ level: 3, number: 1 }] }, 'is removed from level 3'],
    ['a table twice', { newFiles: [{ level: 5, file: table(1, 'a', 'c') }] }, 'is there already'],
    ['a sequence that goes back', { lastSequence: 1 }, 'the sequence goes back from 2 to 1'],
    ['a counter of files that goes back', { nextFile: 8 }, 'the next file goes back from 9 to 8'],
    ['another comparator', { comparator: 'reverse' }, 'its comparator is "reverse"'],
  ])('%s in the manifest', (_, edit, message) => {
    const disk = diskOf([
      { comparator: 'leveldb.BytewiseComparator', logNumber: 0, nextFile: 9, lastSequence: 2 },
      { newFiles: [{ level: 1, file: table(1, 'a', 'c') }] },
      edit,
    ]);
    for (const number of [1, 2]) writeFile(disk, `${DIR}/${tableName(number)}`, new Uint8Array(100));
    corrupt(disk, `${DIR}/MANIFEST-000008`, message);
  });

  test.each(['logNumber', 'nextFile', 'lastSequence'] as const)('a manifest that never says %s', (field) => {
    const counters: VersionEdit = { logNumber: 0, nextFile: 9, lastSequence: 2 };
    const disk = diskOf([Object.fromEntries(Object.entries(counters).filter(([name]) => name !== field)), {}]);
    corrupt(disk, `${DIR}/MANIFEST-000008`, field);
  });

  function table(number: number, from: string, to: string) {
    return { number, fileBytes: 100, smallest: key(from), largest: key(to) };
  }

  function diskOf(edits: VersionEdit[]): MemoryDisk {
    const disk = new MemoryDisk();
    disk.mkdir(DIR);
    const writer = new LogWriter(disk.open(`${DIR}/MANIFEST-000008`, 'create'), 0);
    for (const edit of edits) writer.append(encodeEdit(edit));
    writeFile(disk, `${DIR}/CURRENT`, utf8('MANIFEST-000008\n'));
    return disk;
  }

  test('the system’s own errors come through as they are', () => {
    const { disk } = store();
    disk.failNext({ op: 'open', code: 'EMFILE' });
    expect(codeOf(() => Manifest.recover(disk, DIR))).toBe('EMFILE');
  });
});

test('removeStale takes what no version names, and nothing else', () => {
  const { disk, manifest } = store({ manifestBytesMax: 1 });
  while (manifest.fileNumber === 1) manifest.append({});
  const dead = makeTable(disk, manifest, 'x', 'z');
  const pinned = makeTable(disk, manifest, 'x', 'z');
  for (const name of ['IDENTITY', 'LOCK', '000003.log', '000077.dbtmp', '000078.sst', 'x.ldb', 'LOG']) {
    writeFile(disk, `${DIR}/${name}`, new Uint8Array(1));
  }
  disk.mkdir(`${DIR}/lost`);
  const tables = liveNumbers(manifest.state).add(pinned.number);
  const gone = removeStale(disk, DIR, { tables, manifest: manifest.fileNumber ?? 0 });
  expect(gone).toEqual([tableName(dead.number), '000077.dbtmp', '000078.sst', 'MANIFEST-000001']);
  expect(disk.list(DIR)).toEqual(
    [
      '000002.ldb',
      '000003.ldb',
      '000003.log',
      tableName(pinned.number),
      'CURRENT',
      'IDENTITY',
      'LOCK',
      'LOG',
      `MANIFEST-00000${manifest.fileNumber}`,
      'lost',
      'x.ldb',
    ].sort(),
  );
  manifest.append({ lastSequence: 100 });
  expect(recovered(disk).state.lastSequence).toBe(100);
});
