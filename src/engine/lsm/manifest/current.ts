/**
 * CURRENT: the one line that says which manifest counts, and how a manifest comes to be the one.
 *
 *   manifest written → synced → its name durable → CURRENT.tmp written → synced → renamed over CURRENT → name durable
 *
 * So a CURRENT that can be read names a manifest that is whole, whenever the power goes.
 */
import { text, utf8 } from '../../../core/base/bytes.ts';
import type { Disk, DiskFile } from '../../../core/base/env.ts';
import { StoreError } from '../../../core/base/errors.ts';
import { synced } from './failures.ts';
import { CURRENT, manifestName, parseFileName, tmpName } from './file-names.ts';
import { LogWriter } from './log-format.ts';
import { type ManifestState, snapshotEdit } from './state.ts';
import { encodeEdit } from './version-edit.ts';

/** Longer than any name of ours. */
const CURRENT_BYTES_MAX = 64;

/** A new manifest that holds this state in one record: synced, its name durable, not yet the one that counts. */
export function writeManifest(
  disk: Disk,
  dir: string,
  number: number,
  state: ManifestState,
): { readonly file: DiskFile; readonly writer: LogWriter } {
  const file = disk.open(`${dir}/${manifestName(number)}`, 'create');
  try {
    const writer = new LogWriter(file, 0);
    writer.append(encodeEdit(snapshotEdit(state)));
    synced(() => file.fdatasync());
    synced(() => disk.syncDir(dir));
    return { file, writer };
  } catch (error) {
    file.close();
    throw error;
  }
}

/** Makes manifest `number` the one that counts. The name is durable only once the directory is synced. */
export function renameCurrent(disk: Disk, dir: string, number: number): void {
  const tmp = `${dir}/${tmpName(number)}`;
  const file = disk.open(tmp, 'create');
  try {
    file.write(utf8(`${manifestName(number)}\n`), 0);
    synced(() => file.fdatasync());
  } finally {
    file.close();
  }
  disk.rename(tmp, `${dir}/${CURRENT}`);
}

/** The manifest that counts, by number; undefined when there is no CURRENT. */
export function readCurrent(disk: Disk, dir: string): number | undefined {
  const path = `${dir}/${CURRENT}`;
  if (!disk.exists(path)) return undefined;
  const file = disk.open(path, 'read');
  const bytes = new Uint8Array(CURRENT_BYTES_MAX);
  let count: number;
  try {
    count = file.read(bytes, 0, bytes.length, 0);
  } finally {
    file.close();
  }
  const number = manifestNumber(bytes.subarray(0, count));
  if (number === undefined) {
    throw new StoreError('TABLE_CORRUPT', `${path} does not name a manifest; kvctl repair can rebuild it`, {
      data: { file: path, offset: 0 },
    });
  }
  return number;
}

function manifestNumber(bytes: Uint8Array): number | undefined {
  // Bytes that are no UTF-8 would throw, and a name is ASCII anyway.
  if (bytes.some((byte) => byte > 0x7f) || bytes.at(-1) !== 0x0a) return undefined;
  const name = parseFileName(text(bytes.subarray(0, -1)));
  return name?.kind === 'manifest' ? name.number : undefined;
}
