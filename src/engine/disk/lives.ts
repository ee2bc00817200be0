/**
 * Lives: the file in which a node's directory counts its lives, and remembers those of the others that it has seen
 * (core/raft/witness.ts). A life is written down, synced, before anything is said in it.
 *
 *   LIVES   { "life": 12, "boots": [ …numbers of its lives, the newest last ], "seen": { "n2": { "dir", "boot", "life" } } }
 *
 * It has one writer at a time: whoever begins a life, and then the thread that speaks with the others.
 */
import type { Disk } from '../../core/base/env.ts';
import { StoreError } from '../../core/base/errors.ts';
import { LINEAGE_MAX, type SeenLife } from '../../core/raft/witness.ts';
import { readSmallFile, replaceFile } from './small-file.ts';

export const LIVES = 'LIVES';

export interface Lives {
  readonly life: number;
  /** The newest is this life's. */
  readonly boots: readonly number[];
  readonly seen: Readonly<Record<string, SeenLife>>;
}

/** TABLE_CORRUPT when it cannot be read: what is in a directory whose lives are not known may be of any of them. */
export function readLives(disk: Disk, dir: string): Lives {
  const path = `${dir}/${LIVES}`;
  const said = readSmallFile(disk, path);
  if (said === undefined) return { life: 0, boots: [], seen: {} };
  try {
    const { life, boots, seen } = JSON.parse(said) as Lives;
    const isWhole = Number.isSafeInteger(life) && Array.isArray(boots) && typeof seen === 'object' && seen !== null;
    if (!isWhole) throw new Error('it is no record of lives');
    return { life, boots, seen };
  } catch (cause) {
    throw new StoreError('TABLE_CORRUPT', `${path} cannot be read: ${String(cause)}`, {
      cause,
      data: { file: path, offset: 0 },
    });
  }
}

/** The life with this number begins. */
export function beginLife(disk: Disk, dir: string, boot: number): Lives {
  const { life, boots, seen } = readLives(disk, dir);
  const lives = { life: life + 1, boots: [...boots.slice(-LINEAGE_MAX), boot], seen };
  writeLives(disk, dir, lives);
  return lives;
}

export function writeLives(disk: Disk, dir: string, lives: Lives): void {
  replaceFile(disk, dir, LIVES, `${JSON.stringify(lives)}\n`);
}
