/**
 * VersionEdit: one change of the set of files, as LevelDB writes it into its manifest.
 *
 *   edit := field*            field := tag varint, then
 *     1 comparator      blob name
 *     2 log number      varint
 *     3 next file       varint
 *     4 last sequence   varint
 *     5 compact pointer varint level, blob internal key
 *     6 deleted file    varint level, varint number
 *     7 new file        varint level, varint number, varint bytes, blob smallest, blob largest
 *     9 prev log number varint
 *
 * Encoded in LevelDB's own order (9 comes after 2), so equal edits are equal bytes. Counters are 64-bit there and
 * below 2^53 here. Keys are internal keys: never shorter than their 8-byte trailer.
 *
 * A tag that we do not know is damage and not "a newer version": an edit half understood is a wrong set of files.
 */
import { ByteReader, ByteWriter, text } from '../../../core/base/bytes.ts';
import { StoreError } from '../../../core/base/errors.ts';
import { TRAILER_BYTES } from '../sstable/keys.ts';

/** LevelDB's, and so ours: a table in level 0 may overlap others, one in a deeper level may not. */
export const LEVELS = 7;
export const COMPARATOR = 'leveldb.BytewiseComparator';

/** A table, as a version knows it. */
export interface FileMeta {
  readonly number: number;
  readonly fileBytes: number;
  /** Internal keys, both inside the table. */
  readonly smallest: Uint8Array;
  readonly largest: Uint8Array;
}

export interface VersionEdit {
  readonly comparator?: string;
  readonly logNumber?: number;
  readonly prevLogNumber?: number;
  readonly nextFile?: number;
  readonly lastSequence?: number;
  readonly compactPointers?: readonly { readonly level: number; readonly key: Uint8Array }[];
  readonly deletedFiles?: readonly { readonly level: number; readonly number: number }[];
  readonly newFiles?: readonly { readonly level: number; readonly file: FileMeta }[];
}

const TAG = {
  comparator: 1,
  logNumber: 2,
  nextFile: 3,
  lastSequence: 4,
  compactPointer: 5,
  deletedFile: 6,
  newFile: 7,
  prevLogNumber: 9,
} as const;

export function encodeEdit(edit: VersionEdit): Uint8Array {
  const out = new ByteWriter();
  if (edit.comparator !== undefined) out.varint(TAG.comparator).string(edit.comparator);
  if (edit.logNumber !== undefined) out.varint(TAG.logNumber).varint(edit.logNumber);
  if (edit.prevLogNumber !== undefined) out.varint(TAG.prevLogNumber).varint(edit.prevLogNumber);
  if (edit.nextFile !== undefined) out.varint(TAG.nextFile).varint(edit.nextFile);
  if (edit.lastSequence !== undefined) out.varint(TAG.lastSequence).varint(edit.lastSequence);
  for (const { level, key } of edit.compactPointers ?? []) out.varint(TAG.compactPointer).varint(level).blob(key);
  for (const { level, number } of edit.deletedFiles ?? []) out.varint(TAG.deletedFile).varint(level).varint(number);
  for (const { level, file } of edit.newFiles ?? []) {
    out.varint(TAG.newFile).varint(level).varint(file.number).varint(file.fileBytes);
    out.blob(file.smallest).blob(file.largest);
  }
  return out.take();
}

/** The edit in `bytes`; its keys are copies. `file` and `offset` say where it is from, for the error. */
export function decodeEdit(bytes: Uint8Array, from: { readonly file: string; readonly offset: number }): VersionEdit {
  try {
    return decode(new ByteReader(bytes));
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new StoreError('TABLE_CORRUPT', `${from.file}: the version edit at offset ${from.offset}: ${reason}`, {
      cause,
      data: { file: from.file, offset: from.offset },
    });
  }
}

type Mutable<T> = { -readonly [Key in keyof T]: T[Key] };

function decode(reader: ByteReader): VersionEdit {
  const edit: Mutable<VersionEdit> = {};
  const compactPointers: { level: number; key: Uint8Array }[] = [];
  const deletedFiles: { level: number; number: number }[] = [];
  const newFiles: { level: number; file: FileMeta }[] = [];
  while (reader.left > 0) {
    const tag = reader.varint();
    switch (tag) {
      case TAG.comparator:
        edit.comparator = text(reader.blob());
        break;
      case TAG.logNumber:
        edit.logNumber = reader.varint();
        break;
      case TAG.prevLogNumber:
        edit.prevLogNumber = reader.varint();
        break;
      case TAG.nextFile:
        edit.nextFile = reader.varint();
        break;
      case TAG.lastSequence:
        edit.lastSequence = reader.varint();
        break;
      case TAG.compactPointer:
        compactPointers.push({ level: readLevel(reader), key: readKey(reader) });
        break;
      case TAG.deletedFile:
        deletedFiles.push({ level: readLevel(reader), number: reader.varint() });
        break;
      case TAG.newFile: {
        const level = readLevel(reader);
        const number = reader.varint();
        const fileBytes = reader.varint();
        newFiles.push({ level, file: { number, fileBytes, smallest: readKey(reader), largest: readKey(reader) } });
        break;
      }
      default:
        throw new StoreError('PROTOCOL_ERROR', `unknown tag ${tag}`);
    }
  }
  if (compactPointers.length > 0) edit.compactPointers = compactPointers;
  if (deletedFiles.length > 0) edit.deletedFiles = deletedFiles;
  if (newFiles.length > 0) edit.newFiles = newFiles;
  return edit;
}

function readLevel(reader: ByteReader): number {
  const level = reader.varint();
  if (level >= LEVELS) throw new StoreError('PROTOCOL_ERROR', `there is no level ${level}`);
  return level;
}

function readKey(reader: ByteReader): Uint8Array {
  const key = reader.blob();
  if (key.length < TRAILER_BYTES) throw new StoreError('PROTOCOL_ERROR', `an internal key of ${key.length} bytes`);
  // A copy: a version outlives the manifest's bytes by far.
  return key.slice();
}
