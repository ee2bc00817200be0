/**
 * RepairRecord: what a node's directory remembers of its repairs: one that is under way, and those that are done.
 *
 *   REPAIRS   { "pending": { …repair, "isAccepted": true }, "done": [ …repair ] }
 *   repair  = { "when", "code", "reason", "replaces", "dir", "aside" }
 *
 * A repair begins here, before anybody is asked: the identity of the directory that is to come must outlive a crash, or
 * the cluster would be asked for another one each time. Once it is accepted the files that are there count for nothing.
 */
import type { Disk } from '../../core/base/env.ts';
import { StoreError } from '../../core/base/errors.ts';
import { readSmallFile, replaceFile } from '../disk/small-file.ts';

export interface Repair {
  /** ISO 8601. */
  readonly when: string;
  /** What was found, as the error said it. */
  readonly code: string;
  readonly reason: string;
  /** Identities of the directory that is given up and of the one that takes its place. */
  readonly replaces: string;
  readonly dir: string;
  /** Where the damaged files are kept, in the node's directory. */
  readonly aside: string;
}

export interface RepairRecord {
  /** `isAccepted`: the cluster knows the node by the new directory, whatever the files say. */
  readonly pending?: Repair & { readonly isAccepted: boolean };
  /** The oldest first, DONE_MAX at most. */
  readonly done: readonly Repair[];
  /** How many there ever were. */
  readonly count: number;
}

export const REPAIRS = 'REPAIRS';
const DONE_MAX = 16;

/** Throws DIR_FOREIGN when it cannot be read: nobody knows then which files count. */
export function readRecord(disk: Disk, dataDir: string): RepairRecord {
  const said = readSmallFile(disk, `${dataDir}/${REPAIRS}`);
  if (said === undefined) return { done: [], count: 0 };
  try {
    const { pending, done, count } = JSON.parse(said) as RepairRecord;
    if (!Array.isArray(done) || typeof count !== 'number') throw new Error('it is no record of repairs');
    return pending === undefined ? { done, count } : { pending, done, count };
  } catch (cause) {
    throw new StoreError('DIR_FOREIGN', `${dataDir} has a file ${REPAIRS} that cannot be read: ${String(cause)}`, {
      cause,
      data: { dir: dataDir },
    });
  }
}

export function writeRecord(disk: Disk, dataDir: string, record: RepairRecord): void {
  replaceFile(disk, dataDir, REPAIRS, `${JSON.stringify(record, undefined, 2)}\n`);
}

/** The one that is under way is done. */
export function doneNow({ pending, done, count }: RepairRecord): RepairRecord {
  if (pending === undefined) return { done, count };
  const { isAccepted: _, ...repair } = pending;
  return { done: [...done.slice(-(DONE_MAX - 1)), repair], count: count + 1 };
}
