/**
 * Properties: what a table knows about itself, so that nobody has to walk it to ask.
 *
 * A block of names and varints, in byte order of the names. A reader passes over names that it does not know, and
 * takes a missing one for zero, so that there can be more of them some day. LevelDB's own tables have none.
 */
import { ByteReader, utf8 } from '../../../core/base/bytes.ts';
import { BlockBuilder } from './block-builder.ts';
import { BlockCursor } from './block-cursor.ts';
import { envelopeExpiryMs } from './envelope.ts';
import { storeVarint, tableCorrupt } from './format.ts';
import { revisionOf, TYPE_TOMBSTONE, typeOf } from './keys.ts';

export interface TableProperties {
  /** When the first of its puts expires, in ms; 0: none does. */
  earliestExpiryMs: number;
  entries: number;
  largestRevision: number;
  /** Internal keys and stored values, as they were given. */
  rawKeyBytes: number;
  rawValueBytes: number;
  smallestRevision: number;
  tombstones: number;
}

const NAMES = [
  'earliestExpiryMs',
  'entries',
  'largestRevision',
  'rawKeyBytes',
  'rawValueBytes',
  'smallestRevision',
  'tombstones',
] as const satisfies readonly (keyof TableProperties)[];

export function noProperties(): TableProperties {
  return {
    earliestExpiryMs: 0,
    entries: 0,
    largestRevision: 0,
    rawKeyBytes: 0,
    rawValueBytes: 0,
    smallestRevision: 0,
    tombstones: 0,
  };
}

/** Counts an entry: `key[0, keyLength)`, and the stored value `bytes[start, end)`. */
export function countEntry(
  properties: TableProperties,
  key: Uint8Array,
  keyLength: number,
  bytes: Uint8Array,
  start: number,
  end: number,
): void {
  const revision = revisionOf(key, keyLength);
  if (properties.entries === 0 || revision < properties.smallestRevision) properties.smallestRevision = revision;
  if (revision > properties.largestRevision) properties.largestRevision = revision;
  properties.entries++;
  properties.rawKeyBytes += keyLength;
  properties.rawValueBytes += end - start;
  if (typeOf(key, keyLength) === TYPE_TOMBSTONE) {
    properties.tombstones++;
    return;
  }
  const expiryMs = envelopeExpiryMs(bytes, start, end);
  if (expiryMs !== 0 && (properties.earliestExpiryMs === 0 || expiryMs < properties.earliestExpiryMs)) {
    properties.earliestExpiryMs = expiryMs;
  }
}

/** The block's bytes. */
export function encodeProperties(properties: TableProperties): Uint8Array {
  const block = new BlockBuilder(1);
  const scratch = new Uint8Array(8);
  for (const name of NAMES) {
    const key = utf8(name);
    block.add(key, key.length, scratch, 0, storeVarint(scratch, 0, properties[name]));
  }
  return block.finish().slice();
}

export function decodeProperties(block: Uint8Array, file: string, offset: number): TableProperties {
  const properties = noProperties();
  for (const { name, bytes } of namedValues(block, file, offset)) {
    const known = NAMES.find((other) => other === name);
    if (known === undefined) continue;
    properties[known] = counter(bytes, name, file, offset);
  }
  return properties;
}

function counter(bytes: Uint8Array, name: string, file: string, offset: number): number {
  try {
    const reader = new ByteReader(bytes);
    const value = reader.varint();
    reader.end();
    return value;
  } catch (cause) {
    throw tableCorrupt(file, offset, `the property ${name} is no counter`, cause);
  }
}

/** Names and values of a block that is not sorted by internal keys. */
export function namedValues(block: Uint8Array, file: string, offset: number): { name: string; bytes: Uint8Array }[] {
  const cursor = new BlockCursor('names');
  cursor.reset(block, file, offset);
  const values: { name: string; bytes: Uint8Array }[] = [];
  for (cursor.first(); cursor.valid; cursor.next()) {
    const name = Buffer.from(cursor.key.subarray(0, cursor.keyLength)).toString('latin1');
    values.push({ name, bytes: block.subarray(cursor.valueStart, cursor.valueEnd) });
  }
  return values;
}
