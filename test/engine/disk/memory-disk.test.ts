import { describe, expect, test } from 'vitest';
import type { Random } from '../../../src/core/base/env.ts';
import { type Keep, MemoryDisk, SECTOR_BYTES } from '../../../src/engine/disk/memory-disk.ts';
import { bytesOf, codeOf, diskSuite, pattern, readAll, readText, writeNew } from '../../suites/disk-suite.ts';

/** mulberry32: small, and the same everywhere. */
function seeded(seed: number): Random {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A disk with one durable file `/d/a` holding `content`. */
function diskWith(content: Uint8Array, random?: Random): MemoryDisk {
  const disk = new MemoryDisk(random ? { random } : {});
  disk.mkdir('/d');
  const file = disk.open('/d/a', 'create');
  file.write(content, 0);
  file.fdatasync();
  file.close();
  disk.syncDir('/d');
  return disk;
}

/** What `/d/a` may be after a crash, over `count` seeds. */
function outcomes(disk: MemoryDisk, count: number): Uint8Array[] {
  return Array.from({ length: count }, (_, seed) => {
    const crashed = disk.clone({ random: seeded(seed) });
    crashed.crash({ keep: 'random' });
    crashed.checkInvariants();
    return readAll(crashed, '/d/a');
  });
}

const distinct = (all: readonly Uint8Array[]): number =>
  new Set(all.map((bytes) => Buffer.from(bytes).toString('hex'))).size;

diskSuite('MemoryDisk', () => {
  const disk = new MemoryDisk();
  disk.mkdir('/d');
  return { disk, dir: '/d', cleanUp: () => disk.checkInvariants() };
});

describe('a crash', () => {
  test('loses exactly the bytes and the size that were not synced', () => {
    const disk = diskWith(bytesOf('durable'));
    const file = disk.open('/d/a', 'write');
    file.write(bytesOf('DUR'), 0);
    file.write(pattern(5000), 4);
    disk.crash({ keep: 'none' });
    disk.checkInvariants();
    expect(readText(disk, '/d/a')).toBe('durable');
  });

  test('keeps what was synced before it, and loses what was written after', () => {
    const disk = diskWith(new Uint8Array(0));
    const file = disk.open('/d/a', 'write');
    for (let i = 0; i < 100; i++) {
      file.write(pattern(60, i), i * 60);
      if (i === 70) file.fdatasync();
    }
    disk.crash({ keep: 'none' });
    const expected = new Uint8Array(71 * 60);
    for (let i = 0; i <= 70; i++) expected.set(pattern(60, i), i * 60);
    expect(readAll(disk, '/d/a')).toEqual(expected);
  });

  test('of the process alone loses nothing', () => {
    const disk = diskWith(bytesOf('durable'));
    disk.open('/d/a', 'write').write(pattern(5000), 100);
    writeNew(disk, '/d/b', 'new');
    disk.rename('/d/b', '/d/c');
    const before = readAll(disk, '/d/a');
    disk.crash({ keep: 'all' });
    expect(readAll(disk, '/d/a')).toEqual(before);
    expect(disk.list('/d')).toEqual(['a', 'c']);
  });

  test('brings back bytes that a truncate cut and nobody synced', () => {
    const content = pattern(3000);
    const disk = diskWith(content);
    const file = disk.open('/d/a', 'write');
    file.truncate(10);
    file.write(pattern(800, 2), 5);
    disk.crash({ keep: 'none' });
    expect(readAll(disk, '/d/a')).toEqual(content);
  });

  test('makes every open handle stale: calls throw EIO, close does not, and the disk opens anew', () => {
    const disk = diskWith(bytesOf('durable'));
    const file = disk.open('/d/a', 'write');
    disk.crash({ keep: 'none' });
    for (const call of [
      () => file.write(bytesOf('x'), 0),
      () => file.read(new Uint8Array(1), 0, 1, 0),
      () => file.fdatasync(),
      () => file.truncate(0),
      () => file.size(),
    ]) {
      expect(call).toThrow('stale handle');
      expect(codeOf(call)).toBe('EIO');
    }
    file.close();
    disk.checkInvariants();
    expect(disk.usedBytes).toBe(7);
    const again = disk.open('/d/a', 'write');
    again.write(bytesOf('D'), 0);
    expect(readText(disk, '/d/a')).toBe('Durable');
  });

  test('loses nothing when all was synced, whatever it keeps', () => {
    for (const keep of ['none', 'all', 'random'] as const satisfies Keep[]) {
      const content = pattern(4000);
      const disk = diskWith(content, seeded(1));
      disk.crash({ keep });
      expect(readAll(disk, '/d/a')).toEqual(content);
    }
  });

  test('gives the same state for the same seed', () => {
    const run = (seed: number): Uint8Array => {
      const disk = diskWith(new Uint8Array(20_000), seeded(seed));
      disk.open('/d/a', 'write').write(pattern(20_000), 0);
      disk.crash({ keep: 'random' });
      return readAll(disk, '/d/a');
    };
    expect(run(5)).toEqual(run(5));
    expect(run(5)).not.toEqual(run(6));
  });

  test('that is random needs a random source', () => {
    expect(() => new MemoryDisk().crash({ keep: 'random' })).toThrow('a random crash has a random source');
  });
});

describe('a torn write', () => {
  test('tears between sectors of the file and never inside one', () => {
    const old = pattern(10 * SECTOR_BYTES, 1);
    const disk = diskWith(old);
    // Neither end is at a sector's edge.
    const written = old.slice();
    written.set(pattern(6 * SECTOR_BYTES, 2), 700);
    disk.open('/d/a', 'write').write(written.subarray(700, 700 + 6 * SECTOR_BYTES), 700);

    const kept = new Set<string>();
    for (const bytes of outcomes(disk, 200)) {
      let mask = '';
      for (let at = 0; at < old.length; at += SECTOR_BYTES) {
        const sector = Buffer.from(bytes.subarray(at, at + SECTOR_BYTES));
        const isOld = sector.equals(old.subarray(at, at + SECTOR_BYTES));
        const isNew = sector.equals(written.subarray(at, at + SECTOR_BYTES));
        expect(isOld || isNew, `the sector at ${at} is whole`).toBe(true);
        mask += isNew && !isOld ? '1' : '0';
      }
      kept.add(mask);
    }
    // Sectors 1 to 7 were written: each was kept and lost, and on its own.
    expect([...kept].every((mask) => mask.startsWith('0') && mask.endsWith('00'))).toBe(true);
    for (let sector = 1; sector <= 7; sector++) {
      expect(new Set([...kept].map((mask) => mask[sector])).size).toBe(2);
    }
    expect(kept.size).toBeGreaterThan(60);
  });

  test('inside one sector is kept whole or not at all, and no newer write without the older', () => {
    const disk = diskWith(new Uint8Array(SECTOR_BYTES));
    const file = disk.open('/d/a', 'write');
    file.write(bytesOf('AAAA'), 100);
    file.write(bytesOf('BBBB'), 200);
    file.write(bytesOf('C'), 101);
    const seen = new Set(
      outcomes(disk, 100).map((bytes) =>
        [100, 101, 200].map((at) => String.fromCharCode(bytes[at] as number)).join(''),
      ),
    );
    expect([...seen].sort()).toEqual(['\0\0\0', 'AA\0', 'AAB', 'ACB']);
  });

  test('that grows the file may leave a size at a sector’s edge, and zeros where bytes were lost', () => {
    const disk = diskWith(bytesOf('head'));
    const grown = pattern(4 * SECTOR_BYTES + 9).fill(0xff);
    disk.open('/d/a', 'write').write(grown, 4);
    const all = outcomes(disk, 300);
    const sizes = new Set(all.map((bytes) => bytes.length));
    expect([...sizes].sort((a, b) => a - b)).toEqual([4, 512, 1024, 1536, 2048, 4 * SECTOR_BYTES + 13]);
    for (const bytes of all) {
      expect(Buffer.from(bytes.subarray(0, 4)).toString()).toBe('head');
      expect([0, 0xff]).toContain(bytes.at(600) ?? 0);
    }
    expect(all.some((bytes) => bytes.length > 1024 && bytes[600] === 0 && bytes[1030] === 0xff)).toBe(true);
    expect(all.some((bytes) => bytes.length > 1024 && bytes[600] === 0xff && bytes[1030] === 0)).toBe(true);
  });

  test('beyond the size that was kept is lost for good: growing again brings zeros', () => {
    // The sector is kept (choice 0), the size is not (choice 1 of 2).
    const choices = [0, 0.9];
    const disk = diskWith(bytesOf('head'), () => choices.shift() ?? 0);
    disk.open('/d/a', 'write').write(bytesOf('HEAD and tail'), 0);
    disk.crash({ keep: 'random' });
    expect(readText(disk, '/d/a')).toBe('HEAD');
    disk.open('/d/a', 'write').truncate(8);
    expect(readText(disk, '/d/a')).toBe('HEAD\0\0\0\0');
  });

  test('never reaches a byte that was synced', () => {
    const disk = diskWith(pattern(2000));
    const file = disk.open('/d/a', 'write');
    file.write(pattern(2000, 2), 2000);
    file.fdatasync();
    file.write(pattern(3000, 3), 4000);
    for (const bytes of outcomes(disk, 50)) {
      expect(bytes.subarray(0, 2000)).toEqual(pattern(2000));
      expect(bytes.subarray(2000, 4000)).toEqual(pattern(2000, 2));
    }
  });

  test('many writes between syncs stay bounded and still go back to the durable state', () => {
    const disk = diskWith(bytesOf('durable'));
    const file = disk.open('/d/a', 'write');
    for (let i = 0; i < 5000; i++) file.write(Uint8Array.of(i), i % 600);
    for (let i = 0; i < 500; i++) file.truncate(700 + i);
    disk.checkInvariants();
    expect(distinct(outcomes(disk, 100))).toBeGreaterThan(20);
    disk.crash({ keep: 'none' });
    expect(readText(disk, '/d/a')).toBe('durable');
  });
});

describe('names', () => {
  test('a created file vanishes in a crash, though its bytes were synced, until its directory is', () => {
    const disk = diskWith(bytesOf('a'));
    const file = disk.open('/d/b', 'create');
    file.write(bytesOf('bytes'), 0);
    file.fdatasync();
    const unsynced = disk.clone();
    unsynced.crash({ keep: 'none' });
    expect(unsynced.list('/d')).toEqual(['a']);
    disk.syncDir('/d');
    disk.crash({ keep: 'none' });
    expect(readText(disk, '/d/b')).toBe('bytes');
  });

  test('a durable name over bytes that were never synced is an empty file', () => {
    const disk = diskWith(bytesOf('a'));
    writeNew(disk, '/d/b', 'bytes');
    disk.syncDir('/d');
    disk.crash({ keep: 'none' });
    expect(readText(disk, '/d/b')).toBe('');
  });

  test('a removed file comes back with its durable bytes until its directory is synced', () => {
    const disk = diskWith(bytesOf('a'));
    disk.remove('/d/a');
    expect(disk.usedBytes).toBe(0);
    const unsynced = disk.clone();
    unsynced.crash({ keep: 'none' });
    expect(readText(unsynced, '/d/a')).toBe('a');
    expect(unsynced.usedBytes).toBe(1);
    disk.syncDir('/d');
    disk.crash({ keep: 'none' });
    expect(disk.list('/d')).toEqual([]);
  });

  test('a rename over a file is one act: the old or the new, never none', () => {
    const disk = diskWith(bytesOf('old'));
    const file = disk.open('/d/tmp', 'create');
    file.write(bytesOf('new'), 0);
    file.fdatasync();
    disk.syncDir('/d');
    disk.rename('/d/tmp', '/d/a');
    const seen = new Set<string>();
    for (let seed = 0; seed < 40; seed++) {
      const crashed = disk.clone({ random: seeded(seed) });
      crashed.crash({ keep: 'random' });
      crashed.checkInvariants();
      seen.add(`${crashed.list('/d').join('+')}:${readText(crashed, '/d/a')}`);
    }
    expect([...seen].sort()).toEqual(['a+tmp:old', 'a:new']);
  });

  test('unsynced changes are kept or lost each on its own', () => {
    const disk = diskWith(bytesOf('a'));
    for (const name of ['b', 'c']) writeNew(disk, `/d/${name}`, name);
    disk.remove('/d/a');
    const seen = new Set<string>();
    for (let seed = 0; seed < 100; seed++) {
      const crashed = disk.clone({ random: seeded(seed) });
      crashed.crash({ keep: 'random' });
      seen.add(crashed.list('/d').join(''));
    }
    expect([...seen].sort()).toEqual(['', 'a', 'ab', 'abc', 'ac', 'b', 'bc', 'c']);
  });

  test('a lost rename under a kept one leaves two files that do not share their bytes', () => {
    const disk = diskWith(bytesOf('a'));
    disk.rename('/d/a', '/d/b');
    disk.rename('/d/b', '/d/c');
    // Loses the first change (choice 1 of 2), keeps the second (choice 0).
    const choices = [0.9, 0];
    const crashed = disk.clone({ random: () => choices.shift() ?? 0 });
    crashed.crash({ keep: 'random' });
    crashed.checkInvariants();
    expect(crashed.list('/d')).toEqual(['a', 'c']);
    crashed.open('/d/a', 'write').write(bytesOf('X'), 0);
    expect(readText(crashed, '/d/c')).toBe('a');
  });

  test('syncing one directory leaves the names of another unsynced', () => {
    const disk = new MemoryDisk();
    disk.mkdir('/d');
    disk.mkdir('/e');
    writeNew(disk, '/d/a', '');
    writeNew(disk, '/e/a', '');
    disk.syncDir('/e');
    disk.crash({ keep: 'none' });
    expect(disk.list('/d')).toEqual([]);
    expect(disk.list('/e')).toEqual(['a']);
  });

  test('a link is durable once its directory is synced; its bytes go back as one file’s', () => {
    const disk = diskWith(bytesOf('old'));
    disk.mkdir('/e');
    disk.link('/d/a', '/e/b');
    expect(disk.usedBytes).toBe(3);
    disk.checkInvariants();
    const lost = disk.clone();
    lost.crash({ keep: 'none' });
    lost.checkInvariants();
    expect([lost.list('/d'), lost.list('/e')]).toEqual([['a'], []]);
    disk.syncDir('/e');
    disk.open('/e/b', 'write').write(bytesOf('new'), 0);
    disk.crash({ keep: 'none' });
    disk.checkInvariants();
    expect([readText(disk, '/d/a'), readText(disk, '/e/b')]).toEqual(['old', 'old']);
    const file = disk.open('/d/a', 'write');
    file.write(bytesOf('XYZ'), 0);
    file.close();
    expect(readText(disk, '/e/b')).toBe('XYZ');
    disk.remove('/d/a');
    expect(disk.usedBytes).toBe(3);
    disk.remove('/e/b');
    expect(disk.usedBytes).toBe(0);
  });

  test('a link and the removal of the first name are kept or lost each on its own', () => {
    const disk = diskWith(bytesOf('a'));
    disk.mkdir('/e');
    disk.link('/d/a', '/e/b');
    disk.remove('/d/a');
    const seen = new Set<string>();
    for (let seed = 0; seed < 60; seed++) {
      const crashed = disk.clone({ random: seeded(seed) });
      crashed.crash({ keep: 'random' });
      crashed.checkInvariants();
      seen.add([...crashed.list('/d'), ...crashed.list('/e')].join(''));
    }
    expect([...seen].sort()).toEqual(['', 'a', 'ab', 'b']);
  });

  test('a directory’s rename is kept or lost as one act, and durable once its parent is synced', () => {
    const disk = diskWith(bytesOf('a'));
    disk.rename('/d', '/e');
    disk.checkInvariants();
    const seen = new Set<string>();
    for (let seed = 0; seed < 20; seed++) {
      const crashed = disk.clone({ random: seeded(seed) });
      crashed.crash({ keep: 'random' });
      crashed.checkInvariants();
      const dir = crashed.list('/').join();
      seen.add(`${dir}:${readText(crashed, `/${dir}/a`)}`);
    }
    expect([...seen].sort()).toEqual(['d:a', 'e:a']);
    disk.syncDir('/');
    disk.crash({ keep: 'none' });
    expect(disk.list('/')).toEqual(['e']);
  });

  test('a directory is renamed with durable names only, and changed with a durable name only', () => {
    const disk = diskWith(bytesOf('a'));
    writeNew(disk, '/d/b', 'b');
    expect(codeOf(() => disk.rename('/d', '/e'))).toBe('EBUSY');
    disk.syncDir('/d');
    disk.rename('/d', '/e');
    expect(codeOf(() => writeNew(disk, '/e/c', 'c'))).toBe('EBUSY');
    expect(codeOf(() => disk.remove('/e/a'))).toBe('EBUSY');
    disk.syncDir('/');
    disk.remove('/e/a');
    expect(disk.list('/e')).toEqual(['b']);
    disk.checkInvariants();
  });

  test('a rename into another directory is refused', () => {
    const disk = diskWith(bytesOf('a'));
    disk.mkdir('/e');
    expect(codeOf(() => disk.rename('/d/a', '/e/a'))).toBe('EXDEV');
    expect(readText(disk, '/d/a')).toBe('a');
  });
});

describe('injected failures', () => {
  test('fire once, without effect, and then the call succeeds', () => {
    const disk = diskWith(bytesOf('abc'));
    const file = disk.open('/d/a', 'write');
    disk.failNext({ op: 'write', code: 'EIO' });
    expect(codeOf(() => file.write(bytesOf('X'), 0))).toBe('EIO');
    expect(readText(disk, '/d/a')).toBe('abc');
    file.write(bytesOf('X'), 0);
    expect(readText(disk, '/d/a')).toBe('Xbc');
  });

  test('fire as often as asked, after as many good calls as asked, on the path asked for', () => {
    const disk = diskWith(bytesOf('abc'));
    writeNew(disk, '/d/b', 'b');
    disk.failNext({ op: 'open', code: 'EMFILE', times: 2, skip: 1, path: '/d/a' });
    const tries = Array.from({ length: 5 }, () => {
      disk.open('/d/b', 'read').close();
      try {
        disk.open('/d/a', 'read').close();
        return 'ok';
      } catch (error) {
        return (error as NodeJS.ErrnoException).code;
      }
    });
    expect(tries).toEqual(['ok', 'EMFILE', 'EMFILE', 'ok', 'ok']);
  });

  test('can be armed for every call of a disk', () => {
    const disk = diskWith(bytesOf('abc'));
    const file = disk.open('/d/a', 'write');
    const calls = {
      open: () => disk.open('/d/a', 'read'),
      mkdir: () => disk.mkdir('/d/x'),
      list: () => disk.list('/d'),
      exists: () => disk.exists('/d/a'),
      rename: () => disk.rename('/d/a', '/d/b'),
      link: () => disk.link('/d/a', '/d/b'),
      remove: () => disk.remove('/d/a'),
      syncDir: () => disk.syncDir('/d'),
      read: () => file.read(new Uint8Array(1), 0, 1, 0),
      write: () => file.write(bytesOf('X'), 0),
      fdatasync: () => file.fdatasync(),
      truncate: () => file.truncate(0),
      size: () => file.size(),
    } as const;
    for (const [op, call] of Object.entries(calls)) {
      disk.failNext({ op: op as keyof typeof calls, code: 'EIO' });
      expect(codeOf(call), op).toBe('EIO');
    }
    expect(disk.list('/d')).toEqual(['a']);
    expect(readText(disk, '/d/a')).toBe('abc');
  });

  test('a failed sync makes nothing durable, and a second one that succeeds does not save it', () => {
    const disk = diskWith(new Uint8Array(1024));
    const file = disk.open('/d/a', 'write');
    file.write(bytesOf('first'), 0);
    disk.failNext({ op: 'fdatasync', code: 'EIO' });
    expect(codeOf(() => file.fdatasync())).toBe('EIO');
    file.write(bytesOf('second'), 512);
    file.fdatasync();
    expect(Buffer.from(readAll(disk, '/d/a').subarray(0, 5)).toString()).toBe('first');
    const rewritten = disk.clone();
    const again = rewritten.open('/d/a', 'write');
    again.write(bytesOf('FIRST'), 0);
    again.fdatasync();

    disk.crash({ keep: 'none' });
    const expected = new Uint8Array(1024);
    expected.set(bytesOf('second'), 512);
    expect(readAll(disk, '/d/a')).toEqual(expected);
    rewritten.crash({ keep: 'none' });
    expected.set(bytesOf('FIRST'), 0);
    expect(readAll(rewritten, '/d/a')).toEqual(expected);
  });

  test('a sync that lies makes nothing durable, and an honest one later does', () => {
    const disk = diskWith(bytesOf('old'));
    const file = disk.open('/d/a', 'write');
    disk.lieAboutSync = true;
    file.write(bytesOf('new'), 0);
    file.fdatasync();
    const betrayed = disk.clone();
    betrayed.crash({ keep: 'none' });
    expect(readText(betrayed, '/d/a')).toBe('old');
    disk.lieAboutSync = false;
    file.fdatasync();
    disk.crash({ keep: 'none' });
    expect(readText(disk, '/d/a')).toBe('new');
  });
});

describe('a full disk', () => {
  test('takes the part of a write that fits, then says ENOSPC', () => {
    const disk = new MemoryDisk({ capacityBytes: 1000 });
    const file = disk.open('/a', 'create');
    file.write(pattern(600), 0);
    expect(codeOf(() => file.write(pattern(600, 2), 600))).toBe('ENOSPC');
    expect(file.size()).toBe(1000);
    expect(readAll(disk, '/a').subarray(600)).toEqual(pattern(600, 2).subarray(0, 400));
    disk.checkInvariants();
  });

  test('still takes writes over bytes that are there', () => {
    const disk = new MemoryDisk({ capacityBytes: 10 });
    const file = disk.open('/a', 'create');
    file.write(bytesOf('0123456789'), 0);
    file.write(bytesOf('xyz'), 7);
    expect(codeOf(() => file.write(bytesOf('!'), 10))).toBe('ENOSPC');
    expect(codeOf(() => file.write(bytesOf('!'), 5000))).toBe('ENOSPC');
    expect(codeOf(() => file.truncate(11))).toBe('ENOSPC');
    expect(readText(disk, '/a')).toBe('0123456xyz');
    disk.capacityBytes = 4;
    file.write(bytesOf('still'), 0);
    expect(readText(disk, '/a')).toBe('still56xyz');
  });

  test('has room again after a truncate, a remove, and the close of a removed file', () => {
    const disk = new MemoryDisk({ capacityBytes: 100 });
    const file = disk.open('/a', 'create');
    file.write(pattern(100), 0);
    file.truncate(40);
    expect(disk.usedBytes).toBe(40);
    disk.remove('/a');
    expect(disk.usedBytes).toBe(40);
    file.close();
    expect(disk.usedBytes).toBe(0);
    writeNew(disk, '/b', 'x'.repeat(60));
    writeNew(disk, '/c', 'x'.repeat(40));
    disk.rename('/c', '/b');
    expect(disk.usedBytes).toBe(40);
    disk.checkInvariants();
  });
});

describe('a rotten bit', () => {
  test('is read now, and after a crash that goes back to the durable bytes', () => {
    const disk = diskWith(Uint8Array.of(0, 0, 0));
    disk.open('/d/a', 'write').write(Uint8Array.of(9), 0);
    disk.flipBit('/d/a', 1, 7);
    expect(readAll(disk, '/d/a')).toEqual(Uint8Array.of(9, 128, 0));
    disk.crash({ keep: 'none' });
    expect(readAll(disk, '/d/a')).toEqual(Uint8Array.of(0, 128, 0));
  });

  test('does not spread to other files over the sector of zeros they share', () => {
    // b's crash loses its sector (choice 1 of 2) and keeps its size (choice 0), so the zeros come into sight.
    const choices = [0.9, 0, 0];
    const disk = diskWith(new Uint8Array(0), () => choices.shift() ?? 0);
    const file = disk.open('/d/a', 'write');
    file.write(Uint8Array.of(1), 0);
    disk.flipBit('/d/a', 0, 1);
    file.fdatasync();
    writeNew(disk, '/d/b', 'x');
    disk.syncDir('/d');
    disk.crash({ keep: 'random' });
    expect(readAll(disk, '/d/a')).toEqual(Uint8Array.of(3));
    expect(readAll(disk, '/d/b')).toEqual(Uint8Array.of(0));
  });

  test('outside the file is a bug of the test', () => {
    const disk = diskWith(bytesOf('abc'));
    expect(() => disk.flipBit('/d/a', 3, 0)).toThrow('the byte is in the file');
    expect(() => disk.flipBit('/d/a', 0, 8)).toThrow('a byte has bits 0 to 7');
    expect(() => disk.flipBit('/d/none', 0, 0)).toThrow('is there');
  });
});

describe('a clone', () => {
  test('has the same bytes, names and unsynced changes, and then goes its own way', () => {
    const disk = diskWith(bytesOf('old'));
    const file = disk.open('/d/a', 'write');
    file.write(bytesOf('new'), 0);
    writeNew(disk, '/d/b', 'b');
    const copy = disk.clone();
    copy.checkInvariants();
    file.fdatasync();
    disk.syncDir('/d');
    copy.open('/d/b', 'write').write(bytesOf('X'), 0);
    expect(readText(disk, '/d/b')).toBe('b');
    expect(readText(copy, '/d/a')).toBe('new');

    copy.crash({ keep: 'none' });
    expect(copy.list('/d')).toEqual(['a']);
    expect(readText(copy, '/d/a')).toBe('old');
    expect(readText(disk, '/d/a')).toBe('new');
    expect(disk.list('/d')).toEqual(['a', 'b']);
    expect(file.size()).toBe(3);
  });
});
