/**
 * What every Disk does, whichever it is. A factory gives a fresh disk and an empty directory on it; the suite
 * says nothing about crashes, which only some disks can be asked for.
 */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Disk, DiskFile } from '../../src/core/base/env.ts';

export interface DiskUnderTest {
  readonly disk: Disk;
  /** An existing, empty directory. */
  readonly dir: string;
  cleanUp?(): void;
}

export function bytesOf(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

/** The whole file, as seen by a handle of its own. */
export function readAll(disk: Disk, path: string): Uint8Array {
  const file = disk.open(path, 'read');
  try {
    const bytes = new Uint8Array(file.size());
    expect(file.read(bytes, 0, bytes.length, 0)).toBe(bytes.length);
    return bytes;
  } finally {
    file.close();
  }
}

export function readText(disk: Disk, path: string): string {
  return new TextDecoder().decode(readAll(disk, path));
}

export function writeNew(disk: Disk, path: string, text: string): void {
  const file = disk.open(path, 'create');
  file.write(bytesOf(text), 0);
  file.close();
}

/** The error's code; fails when nothing is thrown. */
export function codeOf(act: () => unknown): unknown {
  try {
    act();
  } catch (error) {
    return (error as NodeJS.ErrnoException).code;
  }
  return expect.fail('nothing was thrown');
}

/** Bytes that differ from place to place, so that a shifted copy is seen. */
export function pattern(length: number, seed = 1): Uint8Array {
  const bytes = new Uint8Array(length);
  let x = seed >>> 0;
  for (let i = 0; i < length; i++) {
    x = (Math.imul(x, 1_664_525) + 1_013_904_223) >>> 0;
    bytes[i] = x >>> 24;
  }
  return bytes;
}

export function diskSuite(name: string, factory: () => DiskUnderTest): void {
  describe(`${name} is a Disk`, () => {
    let under: DiskUnderTest;
    let disk: Disk;
    let dir: string;
    let opened: DiskFile[];

    beforeEach(() => {
      under = factory();
      ({ disk, dir } = under);
      opened = [];
    });
    afterEach(() => {
      for (const file of opened) file.close();
      under.cleanUp?.();
    });

    const open = (path: string, mode: 'read' | 'write' | 'create'): DiskFile => {
      const file = disk.open(path, mode);
      opened.push(file);
      return file;
    };

    // ---- Opening

    test('a created file is there, empty, and its bytes come back', () => {
      const path = `${dir}/a`;
      expect(disk.exists(path)).toBe(false);
      const file = open(path, 'create');
      expect(disk.exists(path)).toBe(true);
      expect(file.size()).toBe(0);
      file.write(bytesOf('hello'), 0);
      expect(file.size()).toBe(5);
      expect(readText(disk, path)).toBe('hello');
    });

    test('opening what is not there is ENOENT, to read or to write', () => {
      expect(codeOf(() => disk.open(`${dir}/none`, 'read'))).toBe('ENOENT');
      expect(codeOf(() => disk.open(`${dir}/none`, 'write'))).toBe('ENOENT');
      expect(disk.list(dir)).toEqual([]);
    });

    test('creating what is there is EEXIST and leaves it as it was', () => {
      writeNew(disk, `${dir}/a`, 'first');
      expect(codeOf(() => disk.open(`${dir}/a`, 'create'))).toBe('EEXIST');
      expect(readText(disk, `${dir}/a`)).toBe('first');
    });

    test('creating in a directory that is not there is ENOENT', () => {
      expect(codeOf(() => disk.open(`${dir}/none/a`, 'create'))).toBe('ENOENT');
    });

    test('a path through a file is ENOTDIR', () => {
      writeNew(disk, `${dir}/a`, '');
      expect(codeOf(() => disk.open(`${dir}/a/b`, 'create'))).toBe('ENOTDIR');
      expect(codeOf(() => disk.mkdir(`${dir}/a/b/c`))).toBe('ENOTDIR');
      expect(disk.exists(`${dir}/a/b`)).toBe(false);
    });

    test('opening to write keeps the bytes that are there', () => {
      writeNew(disk, `${dir}/a`, 'abcdef');
      open(`${dir}/a`, 'write').write(bytesOf('XY'), 2);
      expect(readText(disk, `${dir}/a`)).toBe('abXYef');
    });

    test('a file opened for reading cannot be written', () => {
      writeNew(disk, `${dir}/a`, 'abc');
      const file = open(`${dir}/a`, 'read');
      expect(codeOf(() => file.write(bytesOf('x'), 0))).toBe('EBADF');
      expect(codeOf(() => file.truncate(0))).toBe('EINVAL');
      expect(readText(disk, `${dir}/a`)).toBe('abc');
    });

    test('a file that was created or opened to write can also be read', () => {
      const made = open(`${dir}/a`, 'create');
      made.write(bytesOf('abc'), 0);
      const into = new Uint8Array(3);
      expect(made.read(into, 0, 3, 0)).toBe(3);
      expect(open(`${dir}/a`, 'write').read(into, 0, 1, 2)).toBe(1);
      expect(into).toEqual(bytesOf('cbc'));
    });

    test('two handles see one file', () => {
      const one = open(`${dir}/a`, 'create');
      const two = open(`${dir}/a`, 'write');
      one.write(bytesOf('one'), 0);
      two.write(bytesOf('two'), 3);
      expect(one.size()).toBe(6);
      expect(readText(disk, `${dir}/a`)).toBe('onetwo');
    });

    // ---- Reading

    test('a read past the end gives what is there, and 0 at the end and beyond', () => {
      const file = open(`${dir}/a`, 'create');
      file.write(bytesOf('abcd'), 0);
      const into = new Uint8Array(8).fill(0xee);
      expect(file.read(into, 0, 8, 2)).toBe(2);
      expect(into).toEqual(Uint8Array.of(0x63, 0x64, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee));
      expect(file.read(into, 0, 8, 4)).toBe(0);
      expect(file.read(into, 0, 8, 4_000_000_000)).toBe(0);
      expect(file.size()).toBe(4);
    });

    test('a read fills its buffer from the offset, and no byte around it', () => {
      const file = open(`${dir}/a`, 'create');
      file.write(bytesOf('abcd'), 0);
      const into = new Uint8Array(6).fill(0xee);
      expect(file.read(into, 2, 3, 1)).toBe(3);
      expect(into).toEqual(Uint8Array.of(0xee, 0xee, 0x62, 0x63, 0x64, 0xee));
      expect(file.read(into, 6, 0, 0)).toBe(0);
    });

    test('a read that does not fit its buffer, and a negative place, are bugs', () => {
      const file = open(`${dir}/a`, 'create');
      expect(() => file.read(new Uint8Array(4), 2, 3, 0)).toThrow('the read fits its buffer');
      expect(() => file.read(new Uint8Array(4), 0, 4, -1)).toThrow('a position');
      expect(() => file.write(new Uint8Array(4), -1)).toThrow('a position');
      expect(() => file.truncate(-1)).toThrow('a size');
    });

    // ---- Writing

    test('a write beyond the end leaves zeros between', () => {
      const file = open(`${dir}/a`, 'create');
      file.write(bytesOf('ab'), 0);
      file.write(bytesOf('z'), 1500);
      const expected = new Uint8Array(1501);
      expected.set(bytesOf('ab'), 0);
      expected.set(bytesOf('z'), 1500);
      expect(readAll(disk, `${dir}/a`)).toEqual(expected);
    });

    test('an empty write changes nothing, wherever it is', () => {
      const file = open(`${dir}/a`, 'create');
      file.write(new Uint8Array(0), 100);
      expect(file.size()).toBe(0);
    });

    test('the bytes are taken at the call: the buffer may be used again', () => {
      const file = open(`${dir}/a`, 'create');
      const buffer = bytesOf('abc');
      file.write(buffer, 0);
      buffer.fill(0x78);
      expect(readText(disk, `${dir}/a`)).toBe('abc');
    });

    test('a part of a larger buffer is written, and shared memory too', () => {
      const file = open(`${dir}/a`, 'create');
      const shared = new Uint8Array(new SharedArrayBuffer(10));
      shared.set(bytesOf('0123456789'));
      file.write(shared.subarray(3, 7), 0);
      expect(readText(disk, `${dir}/a`)).toBe('3456');
      expect(file.read(shared, 0, 2, 2)).toBe(2);
      expect([...shared.subarray(0, 3)]).toEqual([...bytesOf('562')]);
    });

    test('a write of 9 MiB at an odd place comes back whole', () => {
      const file = open(`${dir}/a`, 'create');
      const large = pattern(9 * 1024 * 1024 + 17);
      file.write(large, 13);
      expect(file.size()).toBe(large.length + 13);
      const back = new Uint8Array(large.length);
      expect(file.read(back, 0, back.length, 13)).toBe(large.length);
      expect(Buffer.compare(back, large)).toBe(0);
    });

    test('overwriting does not change the size, and a sync changes nothing that is read', () => {
      const file = open(`${dir}/a`, 'create');
      file.write(pattern(3000), 0);
      file.fdatasync();
      file.write(pattern(1000, 2), 700);
      file.fdatasync();
      disk.syncDir(dir);
      const expected = pattern(3000);
      expected.set(pattern(1000, 2), 700);
      expect(readAll(disk, `${dir}/a`)).toEqual(expected);
    });

    test('truncate cuts, and growing again brings zeros and not the old bytes', () => {
      const file = open(`${dir}/a`, 'create');
      file.write(pattern(2000).fill(7), 0);
      file.truncate(700);
      expect(file.size()).toBe(700);
      file.truncate(1600);
      const expected = new Uint8Array(1600).fill(7, 0, 700);
      expect(readAll(disk, `${dir}/a`)).toEqual(expected);
      file.truncate(0);
      file.write(bytesOf('x'), 3);
      expect(readAll(disk, `${dir}/a`)).toEqual(Uint8Array.of(0, 0, 0, 0x78));
    });

    test('random writes and truncates give what a plain array gives', () => {
      const file = open(`${dir}/a`, 'create');
      let model = new Uint8Array(0);
      let x = 7;
      const next = (below: number): number => {
        x = (Math.imul(x, 1_664_525) + 1_013_904_223) >>> 0;
        return Math.floor((x / 2 ** 32) * below);
      };
      for (let step = 0; step < 300; step++) {
        const at = next(6000);
        const size = next(1800);
        const end = next(8) === 0 ? at : Math.max(model.length, at + size);
        const resized = new Uint8Array(end);
        resized.set(model.subarray(0, end));
        if (end === at) {
          file.truncate(end);
        } else {
          file.write(pattern(size, step), at);
          resized.set(pattern(size, step), at);
          // An empty write does not grow the file.
          if (size === 0) {
            expect(file.size()).toBe(model.length);
            continue;
          }
        }
        model = resized;
        expect(Buffer.compare(readAll(disk, `${dir}/a`), model), `after step ${step}`).toBe(0);
      }
    });

    // ---- Closing

    test('a file may be closed twice, and then does nothing more', () => {
      const file = open(`${dir}/a`, 'create');
      file.close();
      file.close();
      // Its number, if it had one, may be this file's now.
      const other = open(`${dir}/b`, 'create');
      expect(file.fd).toBe(-1);
      expect(codeOf(() => file.write(bytesOf('stray'), 0))).toBe('EBADF');
      expect(codeOf(() => file.read(new Uint8Array(1), 0, 1, 0))).toBe('EBADF');
      expect(codeOf(() => file.fdatasync())).toBe('EBADF');
      expect(codeOf(() => file.truncate(0))).toBe('EBADF');
      expect(codeOf(() => file.size())).toBe('EBADF');
      expect(other.size()).toBe(0);
    });

    // ---- Names

    test('names are listed in byte order, directories among them, and only of this directory', () => {
      // U+FF5E sorts before U+1F600 by bytes, and after it by UTF-16 units.
      const names = ['b', 'a', 'B', '10', '9', 'a.b', 'ab', 'é', '\u{1f600}', '\uff5e'];
      for (const name of names) writeNew(disk, `${dir}/${name}`, '');
      disk.mkdir(`${dir}/aa/deep`);
      writeNew(disk, `${dir}/aa/inner`, '');
      expect(disk.list(dir)).toEqual(['10', '9', 'B', 'a', 'a.b', 'aa', 'ab', 'b', 'é', '\uff5e', '\u{1f600}']);
      expect(disk.list(`${dir}/aa`)).toEqual(['deep', 'inner']);
      expect(disk.list(`${dir}/aa/deep`)).toEqual([]);
    });

    test('listing what is not there is ENOENT, and a file is ENOTDIR', () => {
      writeNew(disk, `${dir}/a`, '');
      expect(codeOf(() => disk.list(`${dir}/none`))).toBe('ENOENT');
      expect(codeOf(() => disk.list(`${dir}/a`))).toBe('ENOTDIR');
    });

    test('a directory is made with its parents, and again without harm', () => {
      disk.mkdir(`${dir}/x/y/z`);
      writeNew(disk, `${dir}/x/y/z/a`, 'kept');
      disk.mkdir(`${dir}/x/y/z`);
      disk.mkdir(`${dir}/x/`);
      expect(disk.exists(`${dir}/x/y`)).toBe(true);
      expect(readText(disk, `${dir}/x/y/z/a`)).toBe('kept');
    });

    test('a directory cannot take the name of a file', () => {
      writeNew(disk, `${dir}/a`, 'kept');
      expect(codeOf(() => disk.mkdir(`${dir}/a`))).toBe('EEXIST');
      expect(readText(disk, `${dir}/a`)).toBe('kept');
    });

    test('rename moves the name, and the open file goes with it', () => {
      const file = open(`${dir}/a`, 'create');
      file.write(bytesOf('one'), 0);
      disk.rename(`${dir}/a`, `${dir}/b`);
      file.write(bytesOf('two'), 3);
      expect(disk.list(dir)).toEqual(['b']);
      expect(readText(disk, `${dir}/b`)).toBe('onetwo');
    });

    test('rename over an existing file replaces it', () => {
      writeNew(disk, `${dir}/a`, 'new');
      writeNew(disk, `${dir}/b`, 'older');
      disk.rename(`${dir}/a`, `${dir}/b`);
      expect(disk.list(dir)).toEqual(['b']);
      expect(readText(disk, `${dir}/b`)).toBe('new');
    });

    test('rename of a file to its own name changes nothing', () => {
      writeNew(disk, `${dir}/a`, 'same');
      disk.rename(`${dir}/a`, `${dir}/a`);
      expect(readText(disk, `${dir}/a`)).toBe('same');
    });

    test('rename of what is not there, or to where nothing is, is ENOENT', () => {
      writeNew(disk, `${dir}/a`, 'kept');
      expect(codeOf(() => disk.rename(`${dir}/none`, `${dir}/a`))).toBe('ENOENT');
      expect(codeOf(() => disk.rename(`${dir}/a`, `${dir}/none/a`))).toBe('ENOENT');
      expect(readText(disk, `${dir}/a`)).toBe('kept');
    });

    test('a link is a second name of the same bytes, which stay until both are removed', () => {
      const file = open(`${dir}/a`, 'create');
      file.write(bytesOf('one'), 0);
      disk.mkdir(`${dir}/x`);
      disk.link(`${dir}/a`, `${dir}/x/b`);
      file.write(bytesOf('two'), 3);
      expect(readText(disk, `${dir}/x/b`)).toBe('onetwo');
      file.close();
      disk.remove(`${dir}/a`);
      expect(disk.exists(`${dir}/a`)).toBe(false);
      expect(readText(disk, `${dir}/x/b`)).toBe('onetwo');
      disk.remove(`${dir}/x/b`);
      expect(disk.list(`${dir}/x`)).toEqual([]);
    });

    test('a link to a name that is taken is EEXIST, of what is not there ENOENT, of a directory EPERM', () => {
      writeNew(disk, `${dir}/a`, 'a');
      writeNew(disk, `${dir}/b`, 'b');
      disk.mkdir(`${dir}/x`);
      expect(codeOf(() => disk.link(`${dir}/a`, `${dir}/b`))).toBe('EEXIST');
      expect(codeOf(() => disk.link(`${dir}/a`, `${dir}/x`))).toBe('EEXIST');
      expect(codeOf(() => disk.link(`${dir}/none`, `${dir}/c`))).toBe('ENOENT');
      expect(codeOf(() => disk.link(`${dir}/a`, `${dir}/none/c`))).toBe('ENOENT');
      expect(codeOf(() => disk.link(`${dir}/x`, `${dir}/c`))).toBe('EPERM');
      expect(disk.list(dir)).toEqual(['a', 'b', 'x']);
      expect(readText(disk, `${dir}/b`)).toBe('b');
    });

    test('a rename onto another name of the same file changes nothing, as POSIX has it', () => {
      writeNew(disk, `${dir}/a`, 'same');
      disk.link(`${dir}/a`, `${dir}/b`);
      disk.rename(`${dir}/a`, `${dir}/b`);
      // Windows takes the old name away.
      if (process.platform !== 'win32') expect(disk.list(dir)).toEqual(['a', 'b']);
      expect(readText(disk, `${dir}/b`)).toBe('same');
    });

    test('a directory is renamed with all that is in it', () => {
      disk.mkdir(`${dir}/x/deep`);
      writeNew(disk, `${dir}/x/a`, 'a');
      writeNew(disk, `${dir}/x/deep/b`, 'b');
      for (const made of [`${dir}/x`, `${dir}/x/deep`]) disk.syncDir(made);
      disk.rename(`${dir}/x`, `${dir}/y`);
      disk.syncDir(dir);
      expect(disk.list(dir)).toEqual(['y']);
      expect(disk.list(`${dir}/y`)).toEqual(['a', 'deep']);
      expect(readText(disk, `${dir}/y/deep/b`)).toBe('b');
      expect(disk.exists(`${dir}/x/a`)).toBe(false);
      writeNew(disk, `${dir}/y/c`, 'c');
      expect(readText(disk, `${dir}/y/c`)).toBe('c');
    });

    // Windows words these its own way; nothing of ours relies on it there.
    test.skipIf(process.platform === 'win32')('a directory takes the name of an empty one, and of nothing else', () => {
      for (const name of ['x', 'empty', 'full']) disk.mkdir(`${dir}/${name}`);
      writeNew(disk, `${dir}/full/a`, 'a');
      writeNew(disk, `${dir}/file`, 'file');
      for (const synced of [dir, `${dir}/full`]) disk.syncDir(synced);
      expect(codeOf(() => disk.rename(`${dir}/x`, `${dir}/full`))).toBe('ENOTEMPTY');
      expect(codeOf(() => disk.rename(`${dir}/x`, `${dir}/file`))).toBe('ENOTDIR');
      expect(codeOf(() => disk.rename(`${dir}/file`, `${dir}/x`))).toBe('EISDIR');
      expect(codeOf(() => disk.rename(`${dir}/x`, `${dir}/none/x`))).toBe('ENOENT');
      disk.rename(`${dir}/x`, `${dir}/empty`);
      expect(disk.list(dir)).toEqual(['empty', 'file', 'full']);
    });

    test('a removed file is gone by name, and its name is free', () => {
      writeNew(disk, `${dir}/a`, 'old');
      disk.remove(`${dir}/a`);
      expect(disk.exists(`${dir}/a`)).toBe(false);
      expect(codeOf(() => disk.remove(`${dir}/a`))).toBe('ENOENT');
      writeNew(disk, `${dir}/a`, 'new');
      expect(readText(disk, `${dir}/a`)).toBe('new');
    });

    // Windows refuses to remove an open file; nothing of ours relies on it there.
    test.skipIf(process.platform === 'win32')(
      'a file removed or replaced while open stays readable and writable',
      () => {
        const removed = open(`${dir}/a`, 'create');
        const replaced = open(`${dir}/b`, 'create');
        removed.write(bytesOf('abc'), 0);
        replaced.write(bytesOf('xyz'), 0);
        disk.remove(`${dir}/a`);
        writeNew(disk, `${dir}/c`, 'c');
        disk.rename(`${dir}/c`, `${dir}/b`);
        for (const [file, text] of [
          [removed, 'abcd'],
          [replaced, 'xyzd'],
        ] as const) {
          file.write(bytesOf('d'), 3);
          file.fdatasync();
          const into = new Uint8Array(4);
          expect(file.read(into, 0, 4, 0)).toBe(4);
          expect(into).toEqual(bytesOf(text));
        }
        expect(disk.list(dir)).toEqual(['b']);
        expect(readText(disk, `${dir}/b`)).toBe('c');
      },
    );

    test('a directory can be synced, one that is not there cannot', () => {
      writeNew(disk, `${dir}/a`, '');
      disk.syncDir(dir);
      expect(codeOf(() => disk.syncDir(`${dir}/none`))).toBe('ENOENT');
    });
  });
}
