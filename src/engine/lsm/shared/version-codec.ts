/**
 * Version codec: a version of the tree as bytes, for the board.
 *
 *   version   number varint | flushed generation varint | floor varint | levels varint | level*
 *   level     tables varint | table*
 *   table     number varint | rest blob
 *   rest      file bytes, entries, tombstones varint | smallest, largest blob | smallest, largest revision varint |
 *             earliest expiry ms varint
 *
 * It lives in the memory of one process and is written and read by the same code: no checksum, no format number. A
 * table never changes once it is written, so a reader that knows its number skips the rest and keeps its own object,
 * with the open file that hangs on it.
 */
import { ByteReader, ByteWriter } from '../../../core/base/bytes.ts';
import type { TableRef } from '../tree/version.ts';

export interface PublishedVersion {
  readonly number: number;
  /** Memtables up to this generation are in the tables. */
  readonly flushedGeneration: number;
  /** The floor as it was when the version was made. */
  readonly floor: number;
  readonly levels: readonly (readonly TableRef[])[];
}

export function encodeVersion(version: PublishedVersion): Uint8Array {
  const writer = new ByteWriter(4096);
  const rest = new ByteWriter(256);
  writer.varint(version.number).varint(version.flushedGeneration).varint(version.floor);
  writer.varint(version.levels.length);
  for (const tables of version.levels) {
    writer.varint(tables.length);
    for (const table of tables) {
      rest.reset();
      rest.varint(table.fileBytes).varint(table.entries).varint(table.tombstones);
      rest.blob(table.smallest).blob(table.largest);
      rest.varint(table.smallestRevision).varint(table.largestRevision).varint(table.earliestExpiryMs);
      writer.varint(table.number).blob(rest.view());
    }
  }
  return writer.view();
}

/** Tables whose numbers are in `known` are those very objects. The bytes are not held on to. */
export function decodeVersion(bytes: Uint8Array, known: ReadonlyMap<number, TableRef>): PublishedVersion {
  const reader = new ByteReader(bytes);
  const number = reader.varint();
  const flushedGeneration = reader.varint();
  const floor = reader.varint();
  const levels: TableRef[][] = [];
  for (let left = reader.varint(); left > 0; left--) {
    const tables: TableRef[] = [];
    for (let count = reader.varint(); count > 0; count--) {
      const table = reader.varint();
      const rest = reader.blob();
      tables.push(known.get(table) ?? decodeTable(table, rest));
    }
    levels.push(tables);
  }
  reader.end();
  return { number, flushedGeneration, floor, levels };
}

function decodeTable(number: number, rest: Uint8Array): TableRef {
  const reader = new ByteReader(rest);
  const table: TableRef = {
    number,
    fileBytes: reader.varint(),
    entries: reader.varint(),
    tombstones: reader.varint(),
    smallest: reader.blob().slice(),
    largest: reader.blob().slice(),
    smallestRevision: reader.varint(),
    largestRevision: reader.varint(),
    earliestExpiryMs: reader.varint(),
  };
  reader.end();
  return table;
}
