/**
 * Checkpoint: a directory of its own that opens as the store did at one version. Its tables are hard links, so it
 * takes a moment and no room until the store compacts them away.
 *
 *   toDir.making/  tables linked → MANIFEST, one edit → CURRENT → all synced   then renamed to   toDir/
 *
 * So `toDir` is a whole checkpoint or is not there. What a crash leaves under the other name is thrown away by the
 * next try. The caller pins the version: no table of it may be removed meanwhile.
 *
 * What is not in tables is not in a checkpoint: its content ends at the state's `lastSequence`. It has no log, and says
 * so in a file CHECKPOINT (LevelDB passes over it), so that a store without a log is not taken for one.
 */
import { dirname, resolve } from 'node:path';
import { text, utf8 } from '../../../core/base/bytes.ts';
import type { Disk } from '../../../core/base/env.ts';
import { isStoreError, StoreError } from '../../../core/base/errors.ts';
import { renameCurrent, writeManifest } from './current.ts';
import { failed, synced } from './failures.ts';
import { tableName, tablePath } from './file-names.ts';
import { linkOrCopy } from './links.ts';
import { checkTables } from './recovery.ts';
import { liveFiles, type ManifestState } from './state.ts';

/** Makes `toDir`, which must be absent or empty (BAD_REQUEST), a copy of the store in `fromDir` at `state`. */
export function writeCheckpoint(disk: Disk, fromDir: string, toDir: string, state: ManifestState): void {
  const target = resolve(toDir);
  if (disk.exists(target) && disk.list(target).length > 0) {
    throw new StoreError('BAD_REQUEST', `a checkpoint needs a directory that is absent or empty: ${toDir}`);
  }
  checkTables(disk, fromDir, state);
  const making = `${target}.making`;
  try {
    disk.mkdir(making);
    empty(disk, making);
    for (const { number } of liveFiles(state)) {
      linkOrCopy(disk, tablePath(disk, fromDir, number), `${making}/${tableName(number)}`);
    }
    const manifest = state.nextFile;
    writeManifest(disk, making, manifest, { ...state, nextFile: manifest + 1 }).file.close();
    renameCurrent(disk, making, manifest);
    writeMark(disk, making, state.lastSequence);
    synced(() => disk.syncDir(making));
    disk.rename(making, target);
    synced(() => disk.syncDir(dirname(target)));
  } catch (cause) {
    giveUp(disk, making);
    if (isStoreError(cause)) throw cause;
    throw failed(`the checkpoint ${toDir} could not be made`, cause);
  }
}

export const CHECKPOINT = 'CHECKPOINT';

function writeMark(disk: Disk, dir: string, revision: number): void {
  const file = disk.open(`${dir}/${CHECKPOINT}`, 'create');
  try {
    file.write(utf8(`checkpoint of a ctlmesh store at revision ${revision}\n`), 0);
    synced(() => file.fdatasync());
  } finally {
    file.close();
  }
}

/** The revision of the checkpoint in `dir`; undefined when it is none, or is one no more. TABLE_CORRUPT. */
export function checkpointRevision(disk: Disk, dir: string): number | undefined {
  const path = `${dir}/${CHECKPOINT}`;
  if (!disk.exists(path)) return undefined;
  const file = disk.open(path, 'read');
  try {
    const bytes = new Uint8Array(256);
    const match = /^checkpoint of a ctlmesh store at revision (\d{1,16})\n$/.exec(
      text(bytes.subarray(0, file.read(bytes, 0, bytes.length, 0))),
    );
    if (match !== null) return Number(match[1]);
  } finally {
    file.close();
  }
  throw new StoreError('TABLE_CORRUPT', `${path} does not say of what it is`, { data: { file: path, offset: 0 } });
}

function empty(disk: Disk, dir: string): void {
  for (const name of disk.list(dir)) disk.remove(`${dir}/${name}`);
  // Removed for good, before other files get these names.
  synced(() => disk.syncDir(dir));
}

/** Gives the room of a half checkpoint back; an empty directory stays. */
function giveUp(disk: Disk, making: string): void {
  try {
    if (disk.exists(making)) empty(disk, making);
  } catch {
    // The next try empties it.
  }
}
