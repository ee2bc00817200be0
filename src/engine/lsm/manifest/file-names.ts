/**
 * File names of a store's directory: LevelDB's, so that its tools know what they look at.
 *
 *   CURRENT           names the manifest that counts
 *   MANIFEST-000005   the log of version edits
 *   000007.ldb        a table (`000007.sst` in stores from before LevelDB 1.14)
 *   000003.log        a write-ahead log of LevelDB's own; we make none, and remove none
 *   000009.dbtmp      a file on its way to another name; worth nothing after a crash
 *   LOCK, LOG         LevelDB's lock and its notes
 *
 * All numbers come from one counter, so a number names one file ever.
 */
import { assert } from '../../../core/base/assert.ts';
import type { Disk } from '../../../core/base/env.ts';

export const CURRENT = 'CURRENT';
/** Where repair puts what it takes away; a directory, so a name that is no file's. */
export const LOST = 'lost';

export type FileName =
  | { readonly kind: 'table' | 'manifest' | 'log' | 'tmp'; readonly number: number }
  | { readonly kind: 'current' | 'lock' | 'notes' };

const DIGITS_MIN = 6;

export function tableName(number: number): string {
  return `${padded(number)}.ldb`;
}

export function manifestName(number: number): string {
  return `MANIFEST-${padded(number)}`;
}

export function tmpName(number: number): string {
  return `${padded(number)}.dbtmp`;
}

const NUMBERED = /^(?:MANIFEST-(\d+)|(\d+)\.(ldb|sst|log|dbtmp))$/;

const KIND_BY_SUFFIX = { ldb: 'table', sst: 'table', log: 'log', dbtmp: 'tmp' } as const;

/** What a name says, or undefined when it is not a name of ours. */
export function parseFileName(name: string): FileName | undefined {
  if (name === CURRENT) return { kind: 'current' };
  if (name === 'LOCK') return { kind: 'lock' };
  if (name === 'LOG' || name === 'LOG.old') return { kind: 'notes' };
  const match = NUMBERED.exec(name);
  if (match === null) return undefined;
  const number = Number(match[1] ?? match[2]);
  if (!Number.isSafeInteger(number)) return undefined;
  const suffix = match[3];
  // The pattern lets only these four through.
  const kind = suffix === undefined ? 'manifest' : KIND_BY_SUFFIX[suffix as keyof typeof KIND_BY_SUFFIX];
  return { kind, number };
}

/** Path of a table: under the name we give, or under the older one when only that is there. */
export function tablePath(disk: Disk, dir: string, number: number): string {
  const path = `${dir}/${tableName(number)}`;
  if (disk.exists(path)) return path;
  const older = `${dir}/${padded(number)}.sst`;
  return disk.exists(older) ? older : path;
}

/** The highest number any file in the directory bears; 0 when there is none. */
export function highestNumber(names: readonly string[]): number {
  let highest = 0;
  for (const name of names) {
    const parsed = parseFileName(name);
    if (parsed !== undefined && 'number' in parsed && parsed.number > highest) highest = parsed.number;
  }
  return highest;
}

function padded(number: number): string {
  assert(Number.isSafeInteger(number) && number > 0, `a file number is one or more (got ${number})`);
  return String(number).padStart(DIGITS_MIN, '0');
}
