import { describe, expect, test } from 'vitest';
import { MemoryDisk } from '../../../src/engine/disk/memory-disk.ts';
import { Spares } from '../../../src/engine/wal/spares.ts';
import { DIR, putFile, readBytes } from './wal.ts';

const MIB = 1024 * 1024;
const path = (name: string): string => `${DIR}/${name}`;

const open = (disk: MemoryDisk, max = 2): Spares => new Spares({ disk, dir: DIR, segmentBytes: 1_000, max });

function settle(spares: Spares): number {
  let steps = 0;
  while (spares.step()) steps++;
  return steps;
}

const isZeros = (bytes: Uint8Array): boolean => bytes.every((byte) => byte === 0);

/** A directory with a segment of `bytes` bytes, none of them zero. */
function withSegment(bytes: number, name = '000001.wal'): MemoryDisk {
  const disk = new MemoryDisk();
  putFile(disk, path(name), new Uint8Array(bytes).fill(0xab));
  return disk;
}

describe('a retired segment', () => {
  test.each([0, 10, MIB - 1, MIB, 3 * MIB])(
    'of %i bytes becomes whole zeros of one length, on the disk too',
    (bytes) => {
      const disk = withSegment(bytes);
      const spares = open(disk);
      spares.retire(path('000001.wal'), 1);
      disk.syncDir(DIR);
      expect([disk.list(DIR), spares.ready]).toEqual([['spare-000001.wal'], 0]);
      expect(settle(spares), 'in small steps').toBe(4);
      expect(spares.ready).toBe(1);
      disk.crash({ keep: 'none' });
      const found = readBytes(disk, path('spare-000001.wal'));
      expect([found.length, isZeros(found)]).toEqual([MIB, true]);
      expect(spares.take(9)).toEqual({ path: path('spare-000001.wal'), bytes: MIB });
      expect(spares.ready).toBe(0);
    },
  );

  test('is not given before it is filled, nor its name touched', () => {
    const disk = withSegment(5_000);
    const spares = open(disk);
    spares.retire(path('000001.wal'), 1);
    spares.step();
    expect(spares.take(4)).toEqual({ path: path('spare-000004.wal'), bytes: 0 });
    expect(readBytes(disk, path('spare-000004.wal')).length).toBe(0);
    settle(spares);
    expect(spares.take(5)).toEqual({ path: path('spare-000001.wal'), bytes: MIB });
  });

  test('is removed when there are enough, or none are wanted', () => {
    for (const max of [0, 2]) {
      const disk = new MemoryDisk();
      for (let segment = 1; segment <= 4; segment++) putFile(disk, path(`00000${segment}.wal`), Uint8Array.of(1));
      const spares = open(disk, max);
      for (let segment = 1; segment <= 4; segment++) spares.retire(path(`00000${segment}.wal`), segment);
      expect(disk.list(DIR)).toHaveLength(max);
    }
  });

  test('that cannot be filled is given up, and the next one is filled', () => {
    for (const op of ['open', 'write', 'fdatasync', 'size'] as const) {
      const disk = withSegment(10);
      putFile(disk, path('000002.wal'), Uint8Array.of(1));
      const spares = open(disk);
      spares.retire(path('000001.wal'), 1);
      spares.retire(path('000002.wal'), 2);
      disk.failNext({ op, code: 'EIO', path: path('spare-000001.wal') });
      settle(spares);
      expect([disk.list(DIR), spares.ready], op).toEqual([['spare-000002.wal'], 1]);
    }
  });
});

describe('at a start', () => {
  test('what is zeros to its end is a spare again, and nothing else', () => {
    const cases: [Uint8Array, boolean][] = [
      [new Uint8Array(MIB), true],
      [new Uint8Array(MIB - 1), false],
      [new Uint8Array(MIB + 1), false],
      [new Uint8Array(0), false],
      ...[0, 300_000, MIB - 1].map((at): [Uint8Array, boolean] => [new Uint8Array(MIB).fill(1, at, at + 1), false]),
    ];
    for (const [bytes, isSpare] of cases) {
      const disk = new MemoryDisk();
      putFile(disk, path('spare-000007.wal'), bytes);
      const spares = open(disk);
      expect(spares.ready, 'not before it was looked at').toBe(0);
      settle(spares);
      expect([spares.ready, disk.list(DIR).length]).toEqual(isSpare ? [1, 1] : [0, 0]);
    }
  });

  test('zeros that the process before has not synced are synced before they are believed', () => {
    const disk = withSegment(MIB, 'spare-000003.wal');
    const file = disk.open(path('spare-000003.wal'), 'write');
    file.write(new Uint8Array(MIB), 0);
    const spares = open(disk);
    settle(spares);
    expect(spares.ready).toBe(1);
    disk.crash({ keep: 'none' });
    expect(isZeros(readBytes(disk, path('spare-000003.wal')))).toBe(true);
  });

  test('more than are wanted are removed', () => {
    const disk = new MemoryDisk();
    for (let i = 1; i <= 5; i++) putFile(disk, path(`spare-00000${i}.wal`), new Uint8Array(MIB));
    const spares = open(disk, 2);
    settle(spares);
    expect([spares.ready, disk.list(DIR).length]).toEqual([2, 2]);
  });

  test('a file that a start has left half made is made anew, whatever is in it', () => {
    const disk = withSegment(100, 'spare-000001.wal');
    const spares = open(disk);
    expect(spares.take(1)).toEqual({ path: path('spare-000001.wal'), bytes: 0 });
    expect(settle(spares), 'it is no longer looked at').toBe(0);
    expect(readBytes(disk, path('spare-000001.wal')).length).toBe(0);
  });
});

test('a name that is taken while its zeros are being looked at is not given twice', async () => {
  const disk = new MemoryDisk();
  putFile(disk, path('spare-000005.wal'), new Uint8Array(MIB));
  const spares = open(disk);
  for (let i = 0; i < 3; i++) spares.step();
  const step = spares.stepBeside((file) => {
    expect(spares.take(5)).toEqual({ path: path('spare-000005.wal'), bytes: 0 });
    file.fdatasync();
    return Promise.resolve();
  });
  await step;
  expect(spares.ready).toBe(0);
});

test('filled beside the caller, it is the same, and a failed sync gives it up', async () => {
  const disk = withSegment(10);
  const spares = open(disk);
  spares.retire(path('000001.wal'), 1);
  let syncs = 0;
  while (
    await spares.stepBeside((file) => {
      syncs++;
      file.fdatasync();
      return Promise.resolve();
    })
  );
  expect([syncs, spares.ready]).toEqual([4, 1]);
  putFile(disk, path('000002.wal'), Uint8Array.of(1));
  spares.retire(path('000002.wal'), 2);
  expect(await spares.stepBeside(() => Promise.reject(new Error('EIO')))).toBe(true);
  expect(await spares.stepBeside(() => Promise.reject(new Error('EIO')))).toBe(false);
  expect(disk.list(DIR)).toEqual(['spare-000001.wal']);
});
