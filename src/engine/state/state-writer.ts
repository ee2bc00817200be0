/**
 * StateWriter: a node's state as the memtable actor writes it: the model's `Store` over the tree, and the rows that
 * let a node begin where its tables end.
 */
import type { Revision } from '../../core/base/position.ts';
import { toIndex } from '../../core/base/position.ts';
import type { Store, StoredValue } from '../../core/model/store.ts';
import { firstRevisionIn } from '../../core/model/ledger.ts';
import { TreeWriter } from '../lsm/tree/writer.ts';
import type { TreeMemory } from '../lsm/tree/memory.ts';
import type { TreeReader } from '../lsm/tree/reader.ts';
import {
  EXPIRY_HEAD_BYTES,
  expiryKey,
  KEYSPACE,
  keyspaceEnd,
  KeyTagger,
  ledgerKey,
  loadU64,
  MACHINE_KEY,
  MEMBERS_KEY,
  privateKey,
} from './keyspaces.ts';

const NO_VALUE = new Uint8Array(0);

export class StateWriter implements Store {
  readonly tree: TreeWriter;
  readonly #reader: TreeReader;
  readonly #tagger = new KeyTagger();
  /**
   * Users' keys put into the memtable in hand, less those removed: a key that a table has too counts twice until the
   * two are merged, because asking the tables would cost each put a search.
   */
  keysAdded = 0;

  constructor(memory: TreeMemory, memtableBytes: number, reader: TreeReader) {
    this.tree = new TreeWriter(memory, memtableBytes);
    this.#reader = reader;
  }

  put(key: Uint8Array, value: Uint8Array, revision: Revision, expiryMs: number): void {
    if (!this.tree.put(this.#tagger.user(key), value, revision, expiryMs)) this.keysAdded++;
  }

  remove(key: Uint8Array, revision: Revision): void {
    this.tree.remove(this.#tagger.user(key), revision);
    this.keysAdded--;
  }

  expect(key: Uint8Array, expiryMs: number, revision: Revision): void {
    this.tree.put(expiryKey(expiryMs, revision, key), NO_VALUE, revision, 0);
  }

  expected(key: Uint8Array, expiryMs: number, written: Revision, revision: Revision): void {
    this.tree.remove(expiryKey(expiryMs, written, key), revision);
  }

  keepForeign(entry: Uint8Array, revision: Revision): void {
    this.tree.put(MEMBERS_KEY, entry, revision, 0);
  }

  newest(key: Uint8Array): StoredValue | undefined {
    return this.#reader.newest(this.#tagger.user(key));
  }

  newestRevision(key: Uint8Array): Revision {
    return this.#reader.newestRevision(this.#tagger.user(key)) as Revision;
  }

  keys(from: Uint8Array, to: Uint8Array, limit: number): Uint8Array[] {
    const bounds = { from: this.#tagger.user(from).slice(), to: this.#tagger.user(to).slice() };
    const cursor = this.#reader.cursorNewest(bounds);
    const keys: Uint8Array[] = [];
    try {
      while (keys.length < limit) {
        const row = cursor.next();
        if (row === undefined) break;
        keys.push(row.key.subarray(1));
      }
    } finally {
      cursor.close();
    }
    return keys;
  }

  newestPrivate(key: Uint8Array): Uint8Array | undefined {
    return this.#reader.newest(privateKey(key))?.value;
  }

  putPrivate(key: Uint8Array, value: Uint8Array, revision: Revision): void {
    this.tree.put(privateKey(key), value, revision, 0);
  }

  removePrivate(key: Uint8Array, revision: Revision): void {
    this.tree.remove(privateKey(key), revision);
  }

  /** Keeps a chunk of whole records, the last of them of `revision`. */
  putLedger(chunk: Uint8Array, revision: Revision): void {
    this.tree.put(ledgerKey(firstRevisionIn(chunk)), chunk, revision, 0);
  }

  /** What `Machine.save` wrote when the newest table was made; undefined when there is none. */
  savedMachine(): Uint8Array | undefined {
    return this.#reader.newest(MACHINE_KEY)?.value;
  }

  /** Every expiry that is still to come. */
  *expiries(): Generator<{ readonly key: Uint8Array; readonly expiryMs: number; readonly revision: Revision }> {
    const first = KEYSPACE.expiry;
    const cursor = this.#reader.cursorNewest({ from: new Uint8Array([first]), to: keyspaceEnd(first) });
    try {
      for (let row = cursor.next(); row !== undefined; row = cursor.next()) {
        const { key } = row;
        const revision = toIndex(loadU64(key, 9));
        yield { key: key.slice(EXPIRY_HEAD_BYTES), expiryMs: loadU64(key, 1), revision };
      }
    } finally {
      cursor.close();
    }
  }
}
