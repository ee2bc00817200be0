/**
 * The machine, in the words that a figure needs to mean something; and a directory on its real disk.
 */
import { mkdirSync, mkdtempSync, statfsSync } from 'node:fs';
import { cpus, release, totalmem, type } from 'node:os';
import { join, resolve } from 'node:path';
import { BenchError } from './scenario.ts';

export function machine(): string {
  const all = cpus();
  const model = all[0]?.model.trim() ?? 'unknown CPU';
  const memory = Math.round(totalmem() / 2 ** 30);
  return `${model} × ${all.length}, ${memory} GiB, ${type()} ${release()}, Node ${process.version}`;
}

/** Files in memory: a sync there is a sync of nothing. Numbers from statfs(2). */
const MEMORY_FILESYSTEMS: Readonly<Record<number, string>> = { 0x01021994: 'tmpfs', 0x858458f6: 'ramfs' };

const ROOT: string = resolve(import.meta.dirname, '../..');

/** A new directory under `parent` (default: data/bench of the checkout). Refuses memory. */
export function makeDataDir(parent: string = join(ROOT, 'data', 'bench')): string {
  mkdirSync(parent, { recursive: true });
  const kind = MEMORY_FILESYSTEMS[statfsSync(parent).type];
  if (kind !== undefined) {
    throw new BenchError(`${parent} is on ${kind}, where a sync costs nothing; name a directory on a disk with --dir`);
  }
  return mkdtempSync(join(parent, 'run-'));
}
