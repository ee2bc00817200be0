/**
 * Install: a received snapshot takes the place of a node's tree and log, as one act.
 *
 *   INSTALL   crc u32 | version u8 | term u64 | vote string | index u64 | indexTerm u64
 *             | count u32 | (name string, bytes u64)*
 *
 * The act is the appearance of the file INSTALL, which is written under another name, synced, and renamed. Before it
 * the node is what it was; from then on it is the snapshot, and what is left to do is done over again from `incoming`
 * until nothing is left: by whoever wrote it, or by the next start.
 *
 *   tree   emptied → every file linked → synced          links, so it costs no room and no time
 *   wal    emptied → synced → a log that begins behind `index`, with the node's term and vote
 *   INSTALL removed → synced → incoming emptied
 *
 * Each step can be done twice, and none needs to know what an earlier try has done. Nothing else may look at the
 * directory meanwhile: it is done with the lock held, before any actor runs.
 *
 * The hard state stands in INSTALL, not in the old log, which goes: whoever writes it promises nothing from before
 * the write until the next start. So it is the newest that was ever promised, and no vote is forgotten.
 */
import { assert } from '../../core/base/assert.ts';
import { ByteReader, ByteWriter } from '../../core/base/bytes.ts';
import type { Disk } from '../../core/base/env.ts';
import { StoreError } from '../../core/base/errors.ts';
import { type Index, type Term, toIndex, toTerm } from '../../core/base/position.ts';
import { NOBODY, type NodeId } from '../../core/raft/types.ts';
import type { SnapshotMeta } from '../../core/wire/snapshot.ts';
import { checksum } from '../disk/checksum.ts';
import { parseFileName } from '../lsm/manifest/file-names.ts';
import { linkOrCopy } from '../lsm/manifest/links.ts';
import { beginLog } from '../wal/begin.ts';
import { emptyDir, INCOMING, isTreeFile } from './directory.ts';

const INSTALL = 'INSTALL';
const VERSION = 1;

/** What a node has promised, beside its log. */
export interface Promised {
  readonly term: Term;
  readonly vote: NodeId;
}

export interface Installed extends Promised {
  readonly index: Index;
  readonly indexTerm: Term;
}

interface Marker extends Installed {
  readonly files: readonly { readonly name: string; readonly bytes: number }[];
}

/**
 * Decides that the whole, checked snapshot in `incoming` is this node's state. From the call on the node promises
 * nothing more until `finishInstall` is through. STORE_FULL: nothing was decided. Any other throw: nobody knows.
 */
export function decideInstall(disk: Disk, dataDir: string, meta: SnapshotMeta, promised: Promised): void {
  const { index, indexTerm, files } = meta;
  // A term that an entry is of has been entered, and nobody was voted for in it here, or the vote would be known.
  const { term, vote } = promised.term >= indexTerm ? promised : { term: indexTerm, vote: NOBODY };
  const bytes = encodeMarker({ term, vote, index, indexTerm, files });
  const making = `${dataDir}/${INSTALL}.tmp`;
  try {
    if (disk.exists(making)) disk.remove(making);
    const file = disk.open(making, 'create');
    try {
      file.write(bytes, 0);
      file.fdatasync();
    } finally {
      file.close();
    }
  } catch (cause) {
    // It has not got its name: a start does not see it.
    throw new StoreError('STORE_FULL', `${making} could not be written: ${reasonOf(cause)}`, { cause });
  }
  try {
    disk.rename(making, `${dataDir}/${INSTALL}`);
    disk.syncDir(dataDir);
  } catch (cause) {
    throw new StoreError('DISK_FAILED', `${dataDir}/${INSTALL} could not be written: ${reasonOf(cause)}`, { cause });
  }
}

/** True when a snapshot was decided on and is not in its place yet. */
export function isInstalling(disk: Disk, dataDir: string): boolean {
  return disk.exists(`${dataDir}/${INSTALL}`);
}

/** Finishes what was decided, if anything was. TABLE_CORRUPT when `incoming` is not what INSTALL says. */
export function finishInstall(disk: Disk, dataDir: string, salt: () => number): Installed | undefined {
  if (!isInstalling(disk, dataDir)) return undefined;
  const marker = readMarker(disk, `${dataDir}/${INSTALL}`);
  const incoming = `${dataDir}/${INCOMING}`;
  for (const { name, bytes } of marker.files) checkFile(disk, `${incoming}/${name}`, bytes);
  replaceTree(disk, incoming, `${dataDir}/tree`, marker);
  const { term, vote, index: commit, indexTerm: baseTerm } = marker;
  beginLog(disk, `${dataDir}/wal`, { hardState: { term, vote, commit }, baseTerm, salt });
  disk.remove(`${dataDir}/${INSTALL}`);
  disk.syncDir(dataDir);
  emptyDir(disk, incoming);
  return marker;
}

function replaceTree(disk: Disk, incoming: string, tree: string, { files }: Marker): void {
  disk.mkdir(tree);
  for (const name of disk.list(tree)) {
    const kind = parseFileName(name)?.kind;
    if (isTreeFile(name) || kind === 'tmp') disk.remove(`${tree}/${name}`);
  }
  // Removed for good, before other files get these names.
  disk.syncDir(tree);
  for (const { name } of files) linkOrCopy(disk, `${incoming}/${name}`, `${tree}/${name}`);
  disk.syncDir(tree);
}

function checkFile(disk: Disk, path: string, bytes: number): void {
  if (!disk.exists(path)) throw damaged(path, 'it is missing');
  const file = disk.open(path, 'read');
  try {
    if (file.size() !== bytes) throw damaged(path, `it has ${file.size()} bytes, not ${bytes}`);
  } finally {
    file.close();
  }
}

function encodeMarker(marker: Marker): Uint8Array {
  const { term, vote, index, indexTerm, files } = marker;
  const body = new ByteWriter(1024).u8(VERSION).u64(term).string(vote).u64(index).u64(indexTerm);
  body.u32(files.length);
  for (const { name, bytes } of files) body.string(name).u64(bytes);
  const bytes = body.view();
  return new ByteWriter(4 + bytes.length)
    .u32(checksum(bytes, 0, bytes.length))
    .raw(bytes)
    .take();
}

function readMarker(disk: Disk, path: string): Marker {
  const file = disk.open(path, 'read');
  try {
    const bytes = new Uint8Array(file.size());
    const length = file.read(bytes, 0, bytes.length, 0);
    const reader = new ByteReader(bytes.subarray(0, length));
    if (length < 5 || reader.u32() !== checksum(bytes, 4, length)) throw damaged(path, 'its checksum is wrong');
    const version = reader.u8();
    if (version !== VERSION) throw damaged(path, `its version is ${version}, and this one knows ${VERSION}`);
    const term = toTerm(reader.u64());
    const vote = reader.string();
    const index = toIndex(reader.u64());
    const indexTerm = toTerm(reader.u64());
    const files: { name: string; bytes: number }[] = [];
    for (let left = reader.u32(); left > 0; left--) files.push({ name: reader.string(), bytes: reader.u64() });
    assert(term >= indexTerm, 'no entry is of a later term than the node has seen');
    return { term, vote, index, indexTerm, files };
  } finally {
    file.close();
  }
}

const reasonOf = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause));

function damaged(path: string, what: string): StoreError {
  return new StoreError('TABLE_CORRUPT', `the node was to continue from a snapshot, and ${path} is damaged: ${what}`, {
    data: { file: path, offset: 0 },
  });
}
