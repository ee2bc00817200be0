/** A real disk writes short only when it is full or a write is above 2 GiB, so here node:fs is made to. */
import type * as fs from 'node:fs';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { nodeDisk } from '../../../src/engine/disk/node-disk.ts';
import { codeOf, pattern, readAll } from '../../suites/disk-suite.ts';

const limits = vi.hoisted(() => ({ bytesPerWrite: 0 }));

vi.mock('node:fs', async (original) => {
  const real = await original<typeof fs>();
  const writeSync = (fd: number, bytes: Uint8Array, offset: number, length: number, position: number): number =>
    limits.bytesPerWrite === 0
      ? 0
      : real.writeSync(fd, bytes, offset, Math.min(length, limits.bytesPerWrite), position);
  return { ...real, writeSync };
});

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'ctlmesh-short-'));
});
afterEach(() => rmSync(dir, { recursive: true }));

test('a short write is continued where it stopped', () => {
  limits.bytesPerWrite = 7;
  const file = nodeDisk.open(join(dir, 'a'), 'create');
  file.write(pattern(100), 5);
  file.close();
  const expected = new Uint8Array(105);
  expected.set(pattern(100), 5);
  expect(readAll(nodeDisk, join(dir, 'a'))).toEqual(expected);
});

test('a disk that takes no byte is EIO, not an endless loop', () => {
  limits.bytesPerWrite = 0;
  const file = nodeDisk.open(join(dir, 'a'), 'create');
  expect(codeOf(() => file.write(pattern(1), 0))).toBe('EIO');
  file.close();
});
