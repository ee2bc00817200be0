import { fstatSync, mkdtempSync, realpathSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { fdatasyncFdAsync, nodeDisk } from '../../../src/engine/disk/node-disk.ts';
import { bytesOf, codeOf, diskSuite, readText } from '../../suites/disk-suite.ts';

function freshDir(): string {
  return realpathSync(mkdtempSync(join(tmpdir(), 'ctlmesh-disk-')));
}

diskSuite('NodeDisk', () => {
  const dir = freshDir();
  return { disk: nodeDisk, dir, cleanUp: () => rmSync(dir, { recursive: true }) };
});

test('fd is the number of the open file, by which it may be synced beside its thread', async () => {
  const dir = freshDir();
  try {
    const file = nodeDisk.open(join(dir, 'a'), 'create');
    file.write(bytesOf('abc'), 0);
    expect(fstatSync(file.fd).ino).toBe(statSync(join(dir, 'a')).ino);
    await fdatasyncFdAsync(file.fd);
    file.close();
    expect(() => fdatasyncFdAsync(file.fd)).toThrow('a descriptor is zero or more');
  } finally {
    rmSync(dir, { recursive: true });
  }
});

test('a descriptor that is not open is the system’s EBADF', async () => {
  await expect(fdatasyncFdAsync(1_000_000)).rejects.toMatchObject({ code: 'EBADF' });
});

test('a relative path works, and a deep directory is made from it', () => {
  const dir = freshDir();
  const before = process.cwd();
  try {
    process.chdir(dir);
    nodeDisk.mkdir('x/y/../z');
    const file = nodeDisk.open('x/z/a', 'create');
    file.write(bytesOf('abc'), 0);
    file.close();
    nodeDisk.syncDir('x/z');
    expect(readText(nodeDisk, join(dir, 'x/z/a'))).toBe('abc');
  } finally {
    process.chdir(before);
    rmSync(dir, { recursive: true });
  }
});

test.runIf(process.platform === 'linux')('a full disk is ENOSPC', () => {
  const full = nodeDisk.open('/dev/full', 'write');
  try {
    expect(codeOf(() => full.write(bytesOf('abc'), 0))).toBe('ENOSPC');
  } finally {
    full.close();
  }
});
