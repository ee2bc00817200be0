import { expect, test } from 'vitest';
import { MemoryDisk } from '../../../../src/engine/disk/memory-disk.ts';
import {
  highestNumber,
  manifestName,
  parseFileName,
  tableName,
  tablePath,
  tmpName,
} from '../../../../src/engine/lsm/manifest/file-names.ts';
import { writeFile } from './world.ts';

test('FileNameTest.Parse: names of LevelDB’s', () => {
  expect(
    ['100.log', '0.log', '0.sst', '0.ldb', 'CURRENT', 'LOCK', 'MANIFEST-2', 'MANIFEST-7', 'LOG', 'LOG.old'].map(
      parseFileName,
    ),
  ).toEqual([
    { kind: 'log', number: 100 },
    { kind: 'log', number: 0 },
    { kind: 'table', number: 0 },
    { kind: 'table', number: 0 },
    { kind: 'current' },
    { kind: 'lock' },
    { kind: 'manifest', number: 2 },
    { kind: 'manifest', number: 7 },
    { kind: 'notes' },
    { kind: 'notes' },
  ]);
  expect(parseFileName('9007199254740991.log')).toEqual({ kind: 'log', number: Number.MAX_SAFE_INTEGER });
});

test('FileNameTest.Parse: everything else is not a name of ours', () => {
  for (const name of [
    '',
    'foo',
    'foo-dx-100.log',
    '.log',
    'manifest',
    'CURREN',
    'CURRENTX',
    'MANIFES',
    'MANIFEST',
    'MANIFEST-',
    'XMANIFEST-3',
    'MANIFEST-3x',
    'LOC',
    'LOCKx',
    'LO',
    'LOGx',
    '18446744073709551616.log',
    '184467440737095516150.log',
    '100',
    '100.',
    '100.lop',
    '100.log\n',
    'lost',
    'wal',
  ]) {
    expect(parseFileName(name), name).toBeUndefined();
  }
});

test('FileNameTest.Construction: made names say what they were made of', () => {
  expect([tableName(7), manifestName(5), tmpName(999)]).toEqual(['000007.ldb', 'MANIFEST-000005', '000999.dbtmp']);
  expect(parseFileName(tableName(200))).toEqual({ kind: 'table', number: 200 });
  expect(parseFileName(manifestName(12_345_678))).toEqual({ kind: 'manifest', number: 12_345_678 });
  expect(parseFileName(tmpName(1))).toEqual({ kind: 'tmp', number: 1 });
  expect(() => tableName(0)).toThrow('a file number is one or more');
});

test('a table of an old store is found under its old suffix, but only when there is no other', () => {
  const disk = new MemoryDisk();
  expect(tablePath(disk, '/', 7)).toBe('//000007.ldb');
  writeFile(disk, '/000007.sst', new Uint8Array(1));
  expect(tablePath(disk, '', 7)).toBe('/000007.sst');
  writeFile(disk, '/000007.ldb', new Uint8Array(1));
  expect(tablePath(disk, '', 7)).toBe('/000007.ldb');
});

test('the highest number counts files of every kind', () => {
  expect(highestNumber([])).toBe(0);
  expect(highestNumber(['CURRENT', '000003.log', 'MANIFEST-000002', 'x', '000001.ldb'])).toBe(3);
});
