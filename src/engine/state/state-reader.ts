/**
 * StateReader: a node's state as any of its threads reads it: users' keys at a revision, and the ledger that is kept.
 */
import type { Disk } from '../../core/base/env.ts';
import type { Revision } from '../../core/base/position.ts';
import { toIndex } from '../../core/base/position.ts';
import type { StoredValue } from '../../core/model/store.ts';
import { firstRecordFrom, firstRevisionIn, lastRevisionIn } from '../../core/model/ledger.ts';
import { prefixEnd } from '../../core/base/bytes.ts';
import type { TreeCursor } from '../lsm/tree/cursor.ts';
import { TreeReader } from '../lsm/tree/reader.ts';
import type { TreeMemory } from '../lsm/tree/memory.ts';
import type { TreeOptions } from '../lsm/tree/options.ts';
import { nodeDisk } from '../disk/node-disk.ts';
import { KEYSPACE, keyspaceEnd, KeyTagger, ledgerKey, MEMBERS_KEY, privateKey } from './keyspaces.ts';

export interface StateEntry {
  /** Copies, in memory of their own. */
  readonly key: Uint8Array;
  readonly value: Uint8Array;
  readonly revision: Revision;
  /** 0: never. */
  readonly expiryMs: number;
}

export interface ScanBounds {
  readonly from: Uint8Array;
  /** Exclusive; undefined: to the end. */
  readonly to: Uint8Array | undefined;
  readonly reverse: boolean;
}

/** Goes on at the turn of the caller, for as long as it likes; keeps its revision readable until it is closed. */
export interface StateCursor {
  readonly revision: Revision;
  next(): StateEntry | undefined;
  close(): void;
}

export interface StateWorld {
  readonly memory: TreeMemory;
  readonly dir: string;
  readonly options: TreeOptions;
  /** Where the tables are; default: the real disk. */
  readonly disk?: Disk;
  /** Whose reads these are (tree/dead-reader.ts). */
  readonly owner?: number;
  /** Runs once at the end of this thread's turn. */
  readonly defer?: (work: () => void) => void;
}

export class StateReader {
  readonly tree: TreeReader;
  readonly #tagger = new KeyTagger();

  constructor({ memory, dir, options, owner, disk = nodeDisk, defer = setImmediate }: StateWorld) {
    this.tree = new TreeReader(memory, {
      disk,
      dir,
      options,
      ...(owner === undefined ? {} : { owner }),
      defer: (work) => {
        defer(work);
      },
      nowMs: () => 0,
    });
  }

  /** The newest value of `key`. */
  get(key: Uint8Array): StoredValue | undefined {
    return this.tree.get(this.#tagger.user(key));
  }

  /** The newest entry that says who belongs to the cluster, and which it is; undefined: none has. */
  members(): { readonly entry: Uint8Array; readonly index: Revision } | undefined {
    const stored = this.tree.get(MEMBERS_KEY);
    return stored && { entry: stored.value, index: stored.revision };
  }

  /** The newest private row at `key` (core/model/control/private.ts). */
  getPrivate(key: Uint8Array): Uint8Array | undefined {
    return this.tree.get(privateKey(key))?.value;
  }

  /** All private rows whose keys begin with `prefix`: they are bounded, and few. */
  privateRows(prefix: Uint8Array): { readonly key: Uint8Array; readonly value: Uint8Array }[] {
    const from = privateKey(prefix);
    const cursor = this.tree.cursor({ from, to: prefixEnd(from) });
    const rows: { readonly key: Uint8Array; readonly value: Uint8Array }[] = [];
    try {
      for (let row = cursor.next(); row !== undefined; row = cursor.next()) {
        rows.push({ key: row.key.subarray(1), value: row.value });
      }
    } finally {
      cursor.close();
    }
    return rows;
  }

  /** Entries as of now, or of `revision`: COMPACTED when that is no longer kept. Close the cursor. */
  scan(bounds: ScanBounds, revision?: Revision): StateCursor {
    const wanted = {
      from: this.#tagger.user(bounds.from).slice(),
      to: bounds.to === undefined ? keyspaceEnd(KEYSPACE.user) : this.#tagger.user(bounds.to).slice(),
      reverse: bounds.reverse,
    };
    return new UserCursor(revision === undefined ? this.tree.cursor(wanted) : this.tree.cursorAt(wanted, revision));
  }

  /**
   * Whole ledger records from revision `from` on, at least one, as they lie in one chunk; undefined when `from` is not
   * kept (any more, or yet).
   */
  readLedger(from: Revision): { readonly bytes: Uint8Array; readonly last: Revision } | undefined {
    // The chunk that begins at or before it.
    const cursor = this.tree.cursor({ from: ledgerKey(0), to: ledgerKey(from + 1), reverse: true });
    try {
      const chunk = cursor.next();
      if (chunk === undefined) return undefined;
      const last = lastRevisionIn(chunk.value);
      if (last < from) return undefined;
      return { bytes: chunk.value.subarray(firstRecordFrom(chunk.value, from)), last: toIndex(last) };
    } finally {
      cursor.close();
    }
  }

  /** The oldest revision of the ledger that is kept in the tree; undefined when none is. */
  oldestLedger(): Revision | undefined {
    const cursor = this.tree.cursor({ from: ledgerKey(0), to: keyspaceEnd(KEYSPACE.ledger) });
    try {
      const chunk = cursor.next();
      return chunk === undefined ? undefined : toIndex(firstRevisionIn(chunk.value));
    } finally {
      cursor.close();
    }
  }

  close(): void {
    this.tree.close();
  }
}

/** Users' keys without the keyspace's byte. */
class UserCursor implements StateCursor {
  readonly #cursor: TreeCursor;

  constructor(cursor: TreeCursor) {
    this.#cursor = cursor;
  }

  get revision(): Revision {
    return toIndex(this.#cursor.revision);
  }

  next(): StateEntry | undefined {
    const entry = this.#cursor.next();
    if (entry === undefined) return undefined;
    const { key, value, revision, expiryMs } = entry;
    return { key: key.subarray(1), value, revision: revision as Revision, expiryMs };
  }

  close(): void {
    this.#cursor.close();
  }
}
