/**
 * Recovery of a manifest: from CURRENT to the state that it proves, checked against the tables in the directory.
 *
 * What is kept is made durable before it is returned. The last edit may be one that its process wrote and died
 * before syncing, or whose sync failed: then its pages are clean to the kernel and not on the disk. So it is written
 * again, as it is, and synced; then the directory, for a CURRENT whose rename was not. Else a caller could remove
 * tables on the word of an edit that the next power cut takes back. A torn tail is cut off in the same turn. None of
 * it needs room: a store opens on a full disk.
 *
 * No CURRENT and no other file is a new store. No CURRENT beside tables is damage; beside manifests alone it is a
 * first start that died, if these hold no more than a first start writes.
 */
import type { Disk, DiskFile } from '../../../core/base/env.ts';
import { StoreError } from '../../../core/base/errors.ts';
import { readCurrent } from './current.ts';
import { CURRENT, highestNumber, manifestName, parseFileName, tablePath } from './file-names.ts';
import { type LogEnd, readLog, type RecordPlace } from './log-format.ts';
import { applyEdit, EMPTY_STATE, liveFiles, type ManifestState, type Refuse } from './state.ts';
import { decodeEdit, type VersionEdit } from './version-edit.ts';

export interface RecoveredState {
  /** Of the manifest file that goes on. */
  readonly number: number;
  /** Open for appends; undefined when for reading only. */
  readonly file: DiskFile | undefined;
  /** Where the next record goes. */
  readonly end: number;
  /** Where the first record ends, which holds the state that the file began with. */
  readonly firstEnd: number;
  readonly state: ManifestState;
  readonly trimmedBytes: number;
}

export function recoverState(
  disk: Disk,
  dir: string,
  { readOnly }: { readonly readOnly: boolean },
): RecoveredState | undefined {
  if (!disk.exists(dir)) return undefined;
  const number = readCurrent(disk, dir);
  if (number === undefined) {
    refuseLostCurrent(disk, dir);
    return undefined;
  }
  const path = `${dir}/${manifestName(number)}`;
  if (!disk.exists(path)) {
    throw corrupt(path, 0, `${dir}/${CURRENT} names it, and it is missing; kvctl repair can rebuild it`);
  }
  const file = disk.open(path, readOnly ? 'read' : 'write');
  let isKept = false;
  try {
    const { state, log, firstEnd } = readManifest(file, path);
    checkTables(disk, dir, state);
    if (!readOnly) {
      makeDurable(file, log);
      disk.syncDir(dir);
      isKept = true;
    }
    const names = disk.list(dir);
    return {
      number,
      file: readOnly ? undefined : file,
      end: log.end,
      firstEnd,
      state: { ...state, nextFile: Math.max(state.nextFile, highestNumber(names) + 1) },
      trimmedBytes: log.trimmedBytes,
    };
  } finally {
    if (!isKept) file.close();
  }
}

interface ReadManifest {
  readonly state: ManifestState;
  readonly log: LogEnd;
  readonly firstEnd: number;
}

/** The state that a manifest's edits give. Throws TABLE_CORRUPT. */
function readManifest(file: DiskFile, path: string): ReadManifest {
  let state = EMPTY_STATE;
  let firstEnd = 0;
  /** Which counters were ever said: LevelDB writes each into every manifest, in whichever edit. */
  const said: { [Field in (typeof NEEDED_FIELDS)[number]]?: boolean } = {};
  const log = readLog(file, path, (payload, place) => {
    const edit = decodeEdit(payload, place);
    state = applyEdit(state, edit, refuseAt(place));
    for (const field of NEEDED_FIELDS) said[field] ||= edit[field] !== undefined;
    if (firstEnd === 0) firstEnd = place.end;
  });
  // The first record was synced before CURRENT named the file, so no crash can have torn it.
  if (log.records === 0) throw corrupt(path, 0, 'it holds no whole record');
  for (const field of NEEDED_FIELDS) {
    if (!said[field]) throw corrupt(path, log.end, `no edit in it says ${field}`);
  }
  return { state, log, firstEnd };
}

const NEEDED_FIELDS = ['logNumber', 'nextFile', 'lastSequence'] as const satisfies (keyof VersionEdit)[];

function refuseAt(place: RecordPlace): Refuse {
  return (what) => {
    throw corrupt(place.file, place.offset, what);
  };
}

/** Each table of the state is there and as long as the manifest says. */
export function checkTables(disk: Disk, dir: string, state: ManifestState): void {
  for (const { number, fileBytes } of liveFiles(state)) {
    const path = tablePath(disk, dir, number);
    if (!disk.exists(path)) throw corrupt(path, 0, 'the manifest names this table, and it is missing');
    const file = disk.open(path, 'read');
    let size: number;
    try {
      size = file.size();
    } finally {
      file.close();
    }
    if (size !== fileBytes) {
      throw corrupt(path, Math.min(size, fileBytes), `it has ${size} bytes, and the manifest says ${fileBytes}`);
    }
  }
}

function makeDurable(file: DiskFile, log: LogEnd): void {
  const record = new Uint8Array(log.end - log.lastStart);
  let done = 0;
  while (done < record.length) {
    const count = file.read(record, done, record.length - done, log.lastStart + done);
    if (count === 0) throw new StoreError('DISK_FAILED', 'a manifest that was read before is shorter now');
    done += count;
  }
  file.truncate(log.end);
  file.write(record, log.lastStart);
  file.fdatasync();
}

/** Passes for an empty directory, or what a first start leaves that died before its CURRENT. */
function refuseLostCurrent(disk: Disk, dir: string): void {
  const path = `${dir}/${CURRENT}`;
  const lost = (beside: string): never => {
    throw corrupt(path, 0, `it is missing beside ${beside}; kvctl repair can rebuild it`);
  };
  for (const name of disk.list(dir)) {
    const parsed = parseFileName(name);
    if (parsed?.kind === 'table') lost(name);
    if (parsed?.kind === 'manifest' && !isFirstStart(disk, `${dir}/${name}`)) lost(name);
  }
}

/** At most one record, of a store with nothing in it. */
function isFirstStart(disk: Disk, path: string): boolean {
  const file = disk.open(path, 'read');
  let hasContent = false;
  try {
    const { records } = readLog(file, path, (payload, place) => {
      const edit = decodeEdit(payload, place);
      hasContent ||= edit.newFiles !== undefined || (edit.lastSequence ?? 0) > 0;
    });
    return records <= 1 && !hasContent;
  } finally {
    file.close();
  }
}

function corrupt(path: string, offset: number, what: string): StoreError {
  return new StoreError('TABLE_CORRUPT', `${path}: ${what}`, { data: { file: path, offset } });
}
