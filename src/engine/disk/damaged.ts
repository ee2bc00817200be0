/**
 * Damaged: the file that a running node leaves when it meets damage in its own files, so that its next start knows of it
 * before anything is served: a start reads the log and the manifest, but not every block of every table.
 *
 *   DAMAGED   { "code": "TABLE_CORRUPT", "message": "…", "data": { "file": …, "offset": … }, "when": "…ISO 8601…" }
 *
 * It goes with the damaged files when the node repairs itself from its peers, and with `kvctl repair`, when that leaves
 * nothing damaged. Whoever mends them in another way removes it.
 */
import type { Disk } from '../../core/base/env.ts';
import { type ErrorCode, StoreError } from '../../core/base/errors.ts';
import { readSmallFile, replaceFile } from './small-file.ts';

export const DAMAGED = 'DAMAGED';

/** Codes that say of a node's files that they are not what was written, or not the cluster's. */
const DAMAGE: ReadonlySet<ErrorCode> = new Set(['WAL_CORRUPT', 'TABLE_CORRUPT', 'DIVERGED', 'DIR_ROLLED_BACK']);

export const isDamage = (error: unknown): error is StoreError => error instanceof StoreError && DAMAGE.has(error.code);

/** Notes what was met. The first word stands. */
export function markDamaged(disk: Disk, dir: string, { code, message, data }: StoreError, when: Date): void {
  if (disk.exists(`${dir}/${DAMAGED}`)) return;
  replaceFile(
    disk,
    dir,
    DAMAGED,
    `${JSON.stringify({ code, message, data, when: when.toISOString() }, undefined, 2)}\n`,
  );
}

/**
 * Throws what was met by an earlier run, under its code. `isRepaired` false: nobody repairs it, so that it may as well be
 * met again; but a directory that has forgotten what it promised never starts.
 */
export function refuseDamaged(disk: Disk, dir: string, isRepaired: boolean): void {
  const said = readSmallFile(disk, `${dir}/${DAMAGED}`);
  if (said === undefined) return;
  const { code, message, data } = parse(said);
  if (!isRepaired && code !== 'DIR_ROLLED_BACK') return;
  const known = [...DAMAGE].find((one) => one === code);
  throw new StoreError(known ?? 'TABLE_CORRUPT', `${message} (as its file ${DAMAGED} says)`, { data });
}

/**
 * What an earlier run noted of files that can be mended where they are, in words; undefined: nothing. Not of a directory
 * that has forgotten what it promised, or has come to another state: no tool mends that.
 */
export function damageNoted(disk: Disk, dir: string): string | undefined {
  const said = readSmallFile(disk, `${dir}/${DAMAGED}`);
  if (said === undefined) return undefined;
  const { code, message } = parse(said);
  return code === 'TABLE_CORRUPT' || code === 'WAL_CORRUPT' ? message : undefined;
}

/** However the file looks, that it is there is enough. */
function parse(said: string): { code: unknown; message: string; data: Record<string, unknown> } {
  try {
    const { code, message, data } = JSON.parse(said) as Record<string, unknown>;
    const facts = typeof data === 'object' && data !== null ? { ...data } : {};
    return { code, message: String(message), data: facts };
  } catch {
    return { code: undefined, message: 'the files of this node are damaged', data: {} };
  }
}
