import { mkdirSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { isStoreError } from '../../../src/core/base/errors.ts';
import { claimDir, type Owner } from '../../../src/engine/disk/identity.ts';

const N1: Owner = { cluster: 'a', node: 'n1' };

let base: string;
let dir: string;

beforeEach(() => {
  base = realpathSync(mkdtempSync(join(tmpdir(), 'ctlmesh-identity-')));
  dir = join(base, 'data');
});
afterEach(() => rmSync(base, { recursive: true }));

function foreign(owner: Owner): string {
  try {
    claimDir(dir, owner);
  } catch (error) {
    if (!isStoreError(error)) throw error;
    expect(error.code).toBe('DIR_FOREIGN');
    return error.message;
  }
  return expect.fail('the directory was given');
}

test('the first claim writes the identity, and the next reads the same', () => {
  const first = claimDir(dir, N1);
  expect(first).toMatchObject({ format: 2, cluster: 'a', node: 'n1' });
  expect(first.dirId).toMatch(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
  expect(new Date(first.createdAt).toISOString()).toBe(first.createdAt);
  expect(readdirSync(dir)).toEqual(['IDENTITY']);
  expect(JSON.parse(readFileSync(join(dir, 'IDENTITY'), 'utf8'))).toEqual(first);
  expect(claimDir(dir, N1)).toEqual(first);
});

test('two directories of one node differ in their id', () => {
  expect(claimDir(dir, N1).dirId).not.toBe(claimDir(join(base, 'other'), N1).dirId);
});

test('another node or another cluster is refused, by name', () => {
  claimDir(dir, { cluster: 'a', node: 'n2' });
  expect(foreign({ cluster: 'b', node: 'n1' })).toBe(
    `data directory ${dir} belongs to node "n2" of cluster "a"; this is node "n1" of cluster "b"`,
  );
  expect(foreign({ cluster: 'a', node: 'n1' })).toContain('belongs to node "n2"');
  expect(foreign({ cluster: 'b', node: 'n2' })).toContain('of cluster "a"');
});

test('an identity that cannot be trusted is refused with its reason, and left as it is', () => {
  mkdirSync(dir);
  const good = { format: 2, cluster: 'a', node: 'n1', dirId: 'd', createdAt: 't' };
  const cases: readonly (readonly [string, string])[] = [
    ['', 'it is not JSON'],
    [JSON.stringify(good).slice(0, -4), 'it is not JSON'],
    ['null', 'it is not an object'],
    ['"n1"', 'it is not an object'],
    ['[]', 'its format is undefined'],
    [JSON.stringify({ ...good, format: 1 }), 'its format is 1, and this version knows 2. Start it with the version'],
    [JSON.stringify({ ...good, format: 3 }), 'its format is 3, and this version knows 2'],
    [JSON.stringify({ ...good, format: '2' }), 'its format is "2"'],
    [JSON.stringify({ ...good, cluster: 7 }), 'its "cluster" is not a text'],
    [JSON.stringify({ ...good, node: undefined }), 'its "node" is not a text'],
    [JSON.stringify({ ...good, dirId: '' }), 'its "dirId" is not a text'],
    [JSON.stringify({ ...good, createdAt: null }), 'its "createdAt" is not a text'],
  ];
  for (const [content, reason] of cases) {
    writeFileSync(join(dir, 'IDENTITY'), content);
    expect(foreign(N1)).toContain(reason);
    expect(readFileSync(join(dir, 'IDENTITY'), 'utf8')).toBe(content);
  }
  writeFileSync(join(dir, 'IDENTITY'), JSON.stringify(good));
  expect(claimDir(dir, N1)).toEqual(good);
});

test('an identity that cannot be read is refused, not replaced', () => {
  mkdirSync(join(dir, 'IDENTITY'), { recursive: true });
  expect(foreign(N1)).toContain('EISDIR');
});

test('the rest of a claim that died before its rename is swept away', () => {
  mkdirSync(dir);
  writeFileSync(join(dir, 'IDENTITY.tmp'), '{"format":1,"cluster":"z","node"');
  expect(claimDir(dir, N1).cluster).toBe('a');
  expect(readdirSync(dir)).toEqual(['IDENTITY']);
});
