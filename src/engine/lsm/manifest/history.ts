/**
 * History: what old manifests still say, for repair. Not trusted as recovery trusts it: read up to the first damage,
 * and asked only which tables were named and which were removed.
 */
import type { Disk } from '../../../core/base/env.ts';
import { isStoreError } from '../../../core/base/errors.ts';
import { readCurrent } from './current.ts';
import { manifestName, parseFileName } from './file-names.ts';
import { readLog } from './log-format.ts';
import { decodeEdit, type VersionEdit } from './version-edit.ts';

export interface History {
  /** The store's tables; undefined when no manifest can say it: the one that counts is lost, or damaged. */
  readonly named: ReadonlySet<number> | undefined;
  /** Tables that an edit took away: what they held is in others, or deleted. Numbers are never used again. */
  readonly removed: ReadonlySet<number>;
}

export function readHistory(disk: Disk, dir: string): History {
  const numbers: number[] = [];
  for (const name of disk.list(dir)) {
    const parsed = parseFileName(name);
    if (parsed?.kind === 'manifest') numbers.push(parsed.number);
  }
  // Without CURRENT the newest is the one that counted, or the one that was about to.
  const counting = currentOrNone(disk, dir) ?? Math.max(0, ...numbers);
  let named: ReadonlySet<number> | undefined;
  const removed = new Set<number>();
  for (const number of numbers) {
    const history = historyOf(disk, `${dir}/${manifestName(number)}`);
    // An older one knows what was removed, and not what came since.
    if (number === counting) named = history.named;
    for (const table of history.removed) removed.add(table);
  }
  return { named, removed };
}

/** Up to the first damage; with that, or without any edit, it names nothing. */
function historyOf(disk: Disk, path: string): History {
  const named = new Set<number>();
  const removed = new Set<number>();
  const fold = (edit: VersionEdit): void => {
    for (const { number } of edit.deletedFiles ?? []) {
      named.delete(number);
      removed.add(number);
    }
    // A table that only changed its level is in both lists.
    for (const { file } of edit.newFiles ?? []) {
      named.add(file.number);
      removed.delete(file.number);
    }
  };
  let edits = 0;
  const file = disk.open(path, 'read');
  try {
    readLog(file, path, (payload, place) => {
      fold(decodeEdit(payload, place));
      edits++;
    });
    return { named: edits === 0 ? undefined : named, removed };
  } catch (error) {
    if (!isDamage(error)) throw error;
    return { named: undefined, removed };
  } finally {
    file.close();
  }
}

function currentOrNone(disk: Disk, dir: string): number | undefined {
  try {
    return readCurrent(disk, dir);
  } catch (error) {
    if (!isDamage(error)) throw error;
    return undefined;
  }
}

/** What a repair works around; anything else stops it (no handles left, no right to read, a bug). */
export function isDamage(error: unknown): boolean {
  return isStoreError(error, 'TABLE_CORRUPT') || (error as NodeJS.ErrnoException).code === 'EIO';
}
