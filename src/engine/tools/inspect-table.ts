/**
 * inspectTable: what is in a table's file, for people: its parts, what it says of itself, and its entries.
 */
import { Buffer } from 'node:buffer';
import { basename, dirname } from 'node:path';
import type { Disk } from '../../core/base/env.ts';
import { isStoreError, type StoreError } from '../../core/base/errors.ts';
import { envelopeExpiryMs, envelopeValueStart } from '../lsm/sstable/envelope.ts';
import type { Footer } from '../lsm/sstable/format.ts';
import { revisionOf, TYPE_PUT, typeOf, userKeyLength } from '../lsm/sstable/keys.ts';
import type { TableProperties } from '../lsm/sstable/properties.ts';
import { type BlockCacheLike, Table } from '../lsm/sstable/table.ts';
import { TableBlocks } from '../lsm/sstable/table-blocks.ts';
import { type TableCheck, verifyTable } from '../lsm/sstable/verify.ts';
import { EXPIRY_HEAD_BYTES, KEYSPACE, LEDGER_KEY_BYTES, loadU64 } from '../state/keyspaces.ts';
import { metaOf } from './table-tools.ts';

const NO_CACHE: BlockCacheLike = { get: () => undefined, put: () => {} };

export interface TableFacts {
  readonly fileBytes: number;
  readonly footer: Footer;
  /** What it says of itself; undefined in a table of LevelDB's. */
  readonly properties: TableProperties | undefined;
  /** What was found in it; undefined when it is damaged. */
  readonly check: TableCheck | undefined;
  readonly damage: StoreError | undefined;
}

/** Reads all of it. Throws TABLE_CORRUPT when not even its footer can be read. */
export function inspectTable(disk: Disk, path: string): TableFacts {
  const file = disk.open(path, 'read');
  try {
    const meta = metaOf(file, path);
    const blocks = new TableBlocks(file, meta, NO_CACHE);
    const { footer } = blocks;
    let damage: StoreError | undefined;
    const attempt = <T>(act: () => T): T | undefined => {
      try {
        return act();
      } catch (error) {
        if (!isStoreError(error)) throw error;
        damage ??= error;
        return undefined;
      }
    };
    const check = attempt(() => verifyTable(file, meta));
    const properties = attempt(() => blocks.properties());
    return { fileBytes: meta.fileBytes, footer, properties, check, damage };
  } finally {
    file.close();
  }
}

export interface TableEntry {
  /** Of a node's tree: which part of its state. */
  readonly keyspace: string | undefined;
  /** Without the keyspace's byte; of the user's, in the keyspaces that have one. */
  readonly key: Uint8Array;
  /** Of the ledger: the first revision in the chunk; of an expiry: the revision that it is about. */
  readonly about: number | undefined;
  readonly revision: number;
  readonly type: 'put' | 'tombstone';
  /** 0: never. In the keyspace of expiries: the one that is noted. */
  readonly expiryMs: number;
  readonly valueBytes: number;
}

/** The entries in order. `isNode`: keys begin with their keyspace. Throws TABLE_CORRUPT where it is damaged. */
export function* tableEntries(disk: Disk, path: string, isNode: boolean): Generator<TableEntry> {
  const file = disk.open(path, 'read');
  try {
    const table = Table.open(file, metaOf(file, path), NO_CACHE);
    const cursor = table.cursor({ fillCache: false });
    for (cursor.first(); cursor.valid; cursor.next()) {
      const { key, keyLength, block, valueStart, valueEnd } = cursor;
      const isPut = typeOf(key, keyLength) === TYPE_PUT;
      const start = envelopeValueStart(block, valueStart, valueEnd);
      const entry = {
        keyspace: undefined,
        key: key.slice(0, userKeyLength(keyLength)),
        about: undefined,
        revision: revisionOf(key, keyLength),
        type: isPut ? ('put' as const) : ('tombstone' as const),
        expiryMs: isPut ? envelopeExpiryMs(block, valueStart, valueEnd) : 0,
        // What has no envelope is not ours: all of it is value.
        valueBytes: isPut ? valueEnd - (start < 0 ? valueStart : start) : 0,
      };
      yield isNode ? inKeyspace(entry) : entry;
    }
  } finally {
    file.close();
  }
}

/** A table in the tree of a node's data directory. */
export function isNodeTable(disk: Disk, path: string): boolean {
  const tree = dirname(path);
  return basename(tree) === 'tree' && (disk.exists(`${dirname(tree)}/IDENTITY`) || disk.exists(`${dirname(tree)}/wal`));
}

function inKeyspace(entry: TableEntry): TableEntry {
  const { key } = entry;
  const name = Object.entries(KEYSPACE).find(([, first]) => first === key[0])?.[0];
  if (name === undefined) return entry;
  if (name === 'ledger' && key.length === LEDGER_KEY_BYTES) {
    return { ...entry, keyspace: name, key: Buffer.alloc(0), about: loadU64(key, 1) };
  }
  if (name === 'expiry' && key.length >= EXPIRY_HEAD_BYTES) {
    const user = key.subarray(EXPIRY_HEAD_BYTES);
    return { ...entry, keyspace: name, key: user, about: loadU64(key, 9), expiryMs: loadU64(key, 1) };
  }
  return { ...entry, keyspace: name, key: key.subarray(1) };
}
