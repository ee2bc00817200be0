/**
 * Watched: what of the ledger a watch is sent: changes of the keys that it asked for, and no record that has none of them.
 */
import { type ByteWriter, compareBytes } from '../core/base/bytes.ts';
import { type Change, decodeRecords, encodeRecord } from '../core/model/ledger.ts';

/** Keys in [from, to); empty `to`: to the end. */
interface Range {
  readonly from: Uint8Array;
  readonly to: Uint8Array;
}

/** Writes what is wanted of whole records. False: nothing is. */
export function writeWatched(writer: ByteWriter, range: Range, records: Uint8Array): boolean {
  const empty = writer.length;
  for (const record of decodeRecords(records)) {
    const changes = record.changes.filter((change) => isWanted(range, change));
    if (changes.length > 0) encodeRecord(writer, { ...record, changes });
  }
  return writer.length > empty;
}

function isWanted({ from, to }: Range, { key }: Change): boolean {
  if (compareBytes(key, from) < 0) return false;
  return to.length === 0 || compareBytes(key, to) < 0;
}
