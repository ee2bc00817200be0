/**
 * readManifest: what a store's manifest says, for tools: each edit with its place, and the state they add up to.
 *
 * Unlike recovery it changes nothing and asks nothing of the tables, as these are what a tool wants to look at. It may
 * run beside the process that writes: the manifest that CURRENT named may then be gone when it is opened, and is looked
 * up again.
 */
import type { Disk } from '../../core/base/env.ts';
import { StoreError } from '../../core/base/errors.ts';
import { readCurrent } from '../lsm/manifest/current.ts';
import { CURRENT, manifestName } from '../lsm/manifest/file-names.ts';
import { readLog } from '../lsm/manifest/log-format.ts';
import { applyEdit, EMPTY_STATE, type ManifestState } from '../lsm/manifest/state.ts';
import { decodeEdit, type VersionEdit } from '../lsm/manifest/version-edit.ts';

export interface ReadManifest {
  readonly path: string;
  readonly state: ManifestState;
  readonly edits: readonly { readonly offset: number; readonly edit: VersionEdit }[];
  readonly bytes: number;
  /** Of an edit that a crash cut short, or that is being written. */
  readonly tornBytes: number;
}

/** A writer can begin a new manifest only so often while we look. */
const ATTEMPTS = 5;

/** Undefined when there is no CURRENT. Throws TABLE_CORRUPT with the place of what is damaged. */
export function readManifest(disk: Disk, dir: string): ReadManifest | undefined {
  for (let attempt = 1; ; attempt++) {
    if (!disk.exists(dir)) return undefined;
    const number = readCurrent(disk, dir);
    if (number === undefined) return undefined;
    const path = `${dir}/${manifestName(number)}`;
    if (disk.exists(path)) {
      try {
        return readEdits(disk, path);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || attempt === ATTEMPTS) throw error;
      }
    } else if (attempt === ATTEMPTS) {
      throw corrupt(path, 0, `${dir}/${CURRENT} names it, and it is missing; kvctl repair can rebuild it`);
    }
  }
}

function readEdits(disk: Disk, path: string): ReadManifest {
  const file = disk.open(path, 'read');
  try {
    let state = EMPTY_STATE;
    const edits: { offset: number; edit: VersionEdit }[] = [];
    const log = readLog(file, path, (payload, place) => {
      const edit = decodeEdit(payload, place);
      state = applyEdit(state, edit, (what) => {
        throw corrupt(path, place.offset, what);
      });
      edits.push({ offset: place.offset, edit });
    });
    if (edits.length === 0) throw corrupt(path, 0, 'it holds no whole record');
    return { path, state, edits, bytes: log.end, tornBytes: log.trimmedBytes };
  } finally {
    file.close();
  }
}

function corrupt(path: string, offset: number, what: string): StoreError {
  return new StoreError('TABLE_CORRUPT', `${path}: ${what}`, { data: { file: path, offset } });
}
