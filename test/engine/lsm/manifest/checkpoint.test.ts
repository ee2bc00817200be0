import { expect, test } from 'vitest';
import type { Disk } from '../../../../src/core/base/env.ts';
import type { StoreError } from '../../../../src/core/base/errors.ts';
import { MemoryDisk } from '../../../../src/engine/disk/memory-disk.ts';
import { writeCheckpoint } from '../../../../src/engine/lsm/manifest/checkpoint.ts';
import { tableName } from '../../../../src/engine/lsm/manifest/file-names.ts';
import { Manifest } from '../../../../src/engine/lsm/manifest/manifest.ts';
import { seeded } from '../../../core/base/seeded.ts';
import { add, DIR, gist, makeTable, readFile, watched } from './world.ts';

const COPY = '/copies/one';

function store(disk: Disk): Manifest {
  const manifest = Manifest.create(disk, DIR);
  manifest.append({ ...add(0, makeTable(disk, manifest, 'a', 'm')), lastSequence: 5 });
  manifest.append({ ...add(2, makeTable(disk, manifest, 'a', 'z', 3000)), lastSequence: 9 });
  return manifest;
}

const stateIn = (disk: Disk, dir: string): unknown => {
  const found = Manifest.recover(disk, dir, { readOnly: true });
  return found && gist(found.state);
};

function errorOf(act: () => unknown): StoreError {
  try {
    act();
  } catch (error) {
    return error as StoreError;
  }
  return expect.fail('nothing was thrown');
}

test('a checkpoint is the store as it was, whatever becomes of the store', () => {
  const disk = new MemoryDisk();
  const manifest = store(disk);
  const { state } = manifest;
  const table = makeTable(disk, manifest, 'x', 'z');
  manifest.append({
    deletedFiles: [{ level: 0, number: 2 }],
    newFiles: [{ level: 3, file: table }],
    lastSequence: 12,
  });
  const used = disk.usedBytes;
  writeCheckpoint(disk, DIR, COPY, state);
  expect(disk.usedBytes - used, 'tables are shared').toBeLessThan(300);
  expect(disk.list('/copies')).toEqual(['one']);
  for (const name of disk.list(DIR)) disk.remove(`${DIR}/${name}`);
  disk.crash({ keep: 'none' });
  expect(stateIn(disk, COPY)).toEqual(gist(state));
  expect(readFile(disk, `${COPY}/${tableName(3)}`)).toEqual(new Uint8Array(3000).fill(3));
  // It is a store like any other.
  const own = Manifest.recover(disk, COPY)?.manifest ?? expect.fail('a store');
  expect(own.takeFileNumber()).toBe(state.nextFile + 1);
  own.append({ lastSequence: 10 });
  disk.crash({ keep: 'none' });
  expect(Manifest.recover(disk, COPY)?.state.lastSequence).toBe(10);
});

test('an empty directory may be its place, one with a file may not', () => {
  const disk = new MemoryDisk();
  const { state } = store(disk);
  disk.mkdir(COPY);
  writeCheckpoint(disk, DIR, COPY, state);
  expect(stateIn(disk, COPY)).toEqual(gist(state));
  const before = disk.list(COPY);
  const error = errorOf(() => writeCheckpoint(disk, DIR, COPY, state));
  expect(error.code).toBe('BAD_REQUEST');
  expect(disk.list(COPY)).toEqual(before);
});

test('a table that is not there, or not as it should be, is TABLE_CORRUPT, and no checkpoint is made', () => {
  const disk = new MemoryDisk();
  const { state } = store(disk);
  disk.open(`${DIR}/${tableName(3)}`, 'write').truncate(2999);
  expect(errorOf(() => writeCheckpoint(disk, DIR, COPY, state))).toMatchObject({
    code: 'TABLE_CORRUPT',
    data: { file: `${DIR}/${tableName(3)}` },
  });
  expect(disk.exists(COPY)).toBe(false);
});

test('where no link can be, tables are copied, durably', () => {
  const memory = new MemoryDisk();
  const { state } = store(memory);
  for (const code of ['EXDEV', 'EPERM', 'EMLINK']) {
    const disk: Disk = {
      ...watched(memory, () => {}),
      link() {
        throw Object.assign(new Error(code), { code });
      },
    };
    writeCheckpoint(disk, DIR, `/${code}`, state);
    const crashed = memory.clone();
    crashed.crash({ keep: 'none' });
    expect(stateIn(crashed, `/${code}`)).toEqual(gist(state));
    expect(readFile(crashed, `/${code}/${tableName(3)}`)).toEqual(new Uint8Array(3000).fill(3));
  }
  expect(memory.usedBytes).toBeGreaterThan(4 * 3000);
});

test('a crash after any call leaves a whole checkpoint or none, and the next try makes it', () => {
  let crashes = 0;
  let whole = 0;
  const memory = new MemoryDisk();
  const manifest = store(memory);
  const { state } = manifest;
  const disk = watched(memory, () => {
    for (let outcome = 0; outcome < 20; outcome++) {
      const crashed = memory.clone({ random: seeded(crashes++) });
      crashed.crash({ keep: outcome === 0 ? 'none' : outcome === 1 ? 'all' : 'random' });
      expect(stateIn(crashed, DIR)).toEqual(gist(state));
      if (crashed.exists(COPY)) {
        whole++;
        expect(stateIn(crashed, COPY)).toEqual(gist(state));
        continue;
      }
      writeCheckpoint(crashed, DIR, COPY, state);
      crashed.crash({ keep: 'none' });
      expect(stateIn(crashed, COPY)).toEqual(gist(state));
      expect(crashed.list('/copies')).toEqual(['one']);
    }
  });
  writeCheckpoint(disk, DIR, COPY, state);
  expect(crashes).toBeGreaterThan(200);
  expect(whole).toBeGreaterThan(10);
});

test('a disk that fails leaves no checkpoint and gives its room back; the next try makes it', () => {
  for (const op of ['open', 'mkdir', 'link', 'write', 'fdatasync', 'rename', 'syncDir'] as const) {
    for (let skip = 0; ; skip++) {
      const disk = new MemoryDisk();
      const { state } = store(disk);
      const used = disk.usedBytes;
      disk.failNext({ op, code: 'ENOSPC', skip });
      let error: StoreError | undefined;
      try {
        writeCheckpoint(disk, DIR, COPY, state);
      } catch (thrown) {
        error = thrown as StoreError;
      }
      if (error === undefined) break;
      if (error instanceof Error && !('data' in error)) {
        // The checks before anything is made: the system's error as it is.
        expect(disk.exists('/copies')).toBe(false);
        continue;
      }
      expect(error.code).toBe(op === 'fdatasync' || op === 'syncDir' ? 'DISK_FAILED' : 'STORE_FULL');
      const isDone = disk.exists(COPY);
      if (isDone) expect(op).toBe('syncDir');
      else expect(disk.usedBytes).toBe(used);
      if (!isDone) writeCheckpoint(disk, DIR, COPY, state);
      expect(stateIn(disk, COPY)).toEqual(gist(state));
      expect(skip).toBeLessThan(20);
    }
  }
});
