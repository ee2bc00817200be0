/**
 * ManifestState: what a manifest says after its edits, and how an edit changes it. Pure, and never changed in place:
 * an edit that cannot be written leaves the state that was there.
 *
 * Invariants, of every state that `applyEdit` gives:
 *  - A file number stands in one level, once.
 *  - Level 0 is in order of file numbers. Deeper levels are in key order, and their tables are disjoint as internal
 *    keys: the versions of one user key may go on in the next table, as LevelDB allows.
 *  - `lastSequence` and `nextFile` never go back.
 */
import { compareInternal } from '../sstable/keys.ts';
import { COMPARATOR, type FileMeta, LEVELS, type VersionEdit } from './version-edit.ts';

export interface ManifestState {
  readonly comparator: string;
  /** Of LevelDB's own logs: those below hold nothing that tables do not. */
  readonly logNumber: number;
  /** No file has this number or a higher one. */
  readonly nextFile: number;
  /** The flushed revision: everything up to here is in the tables. */
  readonly lastSequence: number;
  /** By level: where the next compaction begins; undefined at the level's start. */
  readonly compactPointers: readonly (Uint8Array | undefined)[];
  readonly levels: readonly (readonly FileMeta[])[];
}

export const EMPTY_STATE: ManifestState = {
  comparator: COMPARATOR,
  logNumber: 0,
  nextFile: 1,
  lastSequence: 0,
  compactPointers: Array.from({ length: LEVELS }, () => undefined),
  levels: Array.from({ length: LEVELS }, () => []),
};

/** Says what is wrong with an edit: damage when it was read, a bug when we made it. Does not return. */
export type Refuse = (what: string) => never;

export function applyEdit(state: ManifestState, edit: VersionEdit, refuse: Refuse): ManifestState {
  if (edit.comparator !== undefined && edit.comparator !== COMPARATOR) {
    refuse(`its comparator is "${edit.comparator}", and ours is "${COMPARATOR}"`);
  }
  const { lastSequence = state.lastSequence, nextFile = state.nextFile, logNumber = state.logNumber } = edit;
  if (lastSequence < state.lastSequence) refuse(`the sequence goes back from ${state.lastSequence} to ${lastSequence}`);
  if (nextFile < state.nextFile) refuse(`the next file goes back from ${state.nextFile} to ${nextFile}`);
  const compactPointers = [...state.compactPointers];
  for (const { level, key } of edit.compactPointers ?? []) compactPointers[level] = key;
  const levels = [...state.levels];
  // First what goes: a table may come where another was.
  for (const { level, number } of edit.deletedFiles ?? []) {
    const left = (levels[level] ?? []).filter((file) => file.number !== number);
    if (left.length === levels[level]?.length)
      refuse(`table ${number} is removed from level ${level}, where it is not`);
    levels[level] = left;
  }
  for (const { level, file } of edit.newFiles ?? []) {
    if (levels.some((files) => files.some((other) => other.number === file.number))) {
      refuse(`table ${file.number} is added and is there already`);
    }
    levels[level] = level === 0 ? withUnordered(levels[0] ?? [], file) : withOrdered(levels, level, file, refuse);
  }
  return { comparator: state.comparator, logNumber, nextFile, lastSequence, compactPointers, levels };
}

/** The one edit that makes an empty state this one. */
export function snapshotEdit(state: ManifestState): VersionEdit {
  return {
    comparator: state.comparator,
    logNumber: state.logNumber,
    prevLogNumber: 0,
    nextFile: state.nextFile,
    lastSequence: state.lastSequence,
    compactPointers: state.compactPointers.flatMap((key, level) => (key === undefined ? [] : [{ level, key }])),
    newFiles: state.levels.flatMap((files, level) => files.map((file) => ({ level, file }))),
  };
}

/** Every table that the state names. */
export function* liveFiles(state: ManifestState): Generator<FileMeta> {
  for (const files of state.levels) yield* files;
}

function withUnordered(files: readonly FileMeta[], file: FileMeta): FileMeta[] {
  const at = files.findLastIndex((other) => other.number < file.number) + 1;
  return files.toSpliced(at, 0, file);
}

function withOrdered(
  levels: readonly (readonly FileMeta[])[],
  level: number,
  file: FileMeta,
  refuse: Refuse,
): FileMeta[] {
  const files = levels[level] ?? [];
  if (compareKeys(file.smallest, file.largest) > 0) refuse(`table ${file.number} ends before it begins`);
  // The first that ends at or behind the new one's beginning: the only one it can overlap first.
  let low = 0;
  let high = files.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compareKeys((files[middle] as FileMeta).largest, file.smallest) < 0) low = middle + 1;
    else high = middle;
  }
  const next = files[low];
  if (next !== undefined && compareKeys(file.largest, next.smallest) >= 0) {
    refuse(`tables ${next.number} and ${file.number} overlap in level ${level}`);
  }
  return files.toSpliced(low, 0, file);
}

function compareKeys(a: Uint8Array, b: Uint8Array): number {
  return compareInternal(a, a.length, b, b.length);
}
