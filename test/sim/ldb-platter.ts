/**
 * LdbPlatter: where a replica's rows lie, over all lives of its reflector. Mostly in memory: a transaction is there or not, as
 * LMDB has it (a commit is on disk when it is visible, src/engine/ldb/environment.ts: so a death loses nothing of what was
 * shown). Or in LMDB itself, in a directory of its own, through the production store.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { equalBytes } from '../../src/core/base/bytes.ts';
import { openToRead } from '../../src/engine/ldb/environment.ts';
import { FIRST_KEY } from '../../src/engine/ldb/format.ts';
import { openLmdbStore } from '../../src/engine/ldb/lmdb-store.ts';
import type { LdbStore, MetaWrite, RowView, RowWrite, SnapshotCounts } from '../../src/engine/ldb/store.ts';
import { textOf } from './reference.ts';

/** What a reader sees at one moment. */
export interface LdbView {
  readonly meta: (key: Uint8Array) => Uint8Array | undefined;
  /** Rows as they are stored (src/engine/ldb/format.ts), by the text of their keys. */
  readonly rows: ReadonlyMap<string, Uint8Array>;
}

export interface LdbPlatter {
  readonly open: () => Promise<LdbStore>;
  /** Undefined: nobody has made it yet. */
  readonly view: () => LdbView | undefined;
  /** Everything is removed: the operator's last resort. */
  readonly wipe: () => void;
  /** The run is over. */
  readonly remove: () => void;
}

export function memoryPlatter(): LdbPlatter {
  let tables: MemoryTables | undefined;
  return {
    open: () => Promise.resolve((tables ??= new MemoryTables())),
    view: () => tables,
    wipe: () => {
      tables = undefined;
    },
    remove: () => {
      tables = undefined;
    },
  };
}

class MemoryTables implements LdbStore {
  rows = new Map<string, Uint8Array>();
  readonly #meta = new Map<string, Uint8Array>();
  #incoming = new Map<string, Uint8Array>();

  readonly meta = (key: Uint8Array): Uint8Array | undefined => this.#meta.get(textOf(key));

  view(of: 'rows' | 'incoming'): RowView {
    const table = of === 'rows' ? this.rows : this.#incoming;
    return {
      get: (key) => table.get(textOf(key)),
      *range(from, to) {
        const found = [...table.keys()].filter((key) => key >= textOf(from) && (to === undefined || key < textOf(to)));
        for (const key of found.sort())
          yield { key: new Uint8Array(Buffer.from(key, 'latin1')), row: table.get(key) as Uint8Array };
      },
    };
  }

  commit(rows: readonly RowWrite[], meta: readonly MetaWrite[]): Promise<void> {
    put(this.rows, rows);
    this.#putMeta(meta);
    return Promise.resolve();
  }

  addIncoming(rows: readonly RowWrite[]): Promise<void> {
    put(this.#incoming, rows);
    return Promise.resolve();
  }

  dropIncoming(): Promise<void> {
    this.#incoming = new Map();
    return Promise.resolve();
  }

  adoptIncoming(meta: readonly MetaWrite[]): Promise<SnapshotCounts> {
    const before = this.rows;
    this.rows = this.#incoming;
    this.#incoming = new Map();
    this.#putMeta(meta);
    const isNew = ([key, row]: [string, Uint8Array]): boolean => {
      const old = before.get(key);
      return old === undefined || !equalBytes(old, row);
    };
    const removed = [...before.keys()].filter((key) => !this.rows.has(key)).length;
    return Promise.resolve({ rows: this.rows.size, put: [...this.rows].filter(isNew).length, removed });
  }

  flushed(): Promise<void> {
    return Promise.resolve();
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  #putMeta(meta: readonly MetaWrite[]): void {
    for (const { key, value } of meta) {
      if (value === undefined) this.#meta.delete(textOf(key));
      else this.#meta.set(textOf(key), value.slice());
    }
  }
}

/** The writer's bytes are its own again once a transaction is over. */
function put(into: Map<string, Uint8Array>, rows: readonly RowWrite[]): void {
  for (const { key, row } of rows) {
    if (row === undefined) into.delete(textOf(key));
    else into.set(textOf(key), row.slice());
  }
}

export function lmdbPlatter(): LdbPlatter {
  const root = mkdtempSync(join(tmpdir(), 'ctlmesh-sim-ldb-'));
  let made = 0;
  let isMade = false;
  const dir = (): string => join(root, String(made));
  return {
    open: async () => {
      const store = await openLmdbStore(dir());
      isMade = true;
      return store;
    },
    view: () => (isMade ? viewOf(dir()) : undefined),
    // Another directory, as the last life may still be on its way out of the old one.
    wipe: () => {
      made++;
      isMade = false;
    },
    remove: () => rmSync(root, { recursive: true, force: true }),
  };
}

function viewOf(dir: string): LdbView {
  const env = openToRead(dir, true);
  try {
    env.root.resetReadTxn();
    const rows = new Map<string, Uint8Array>();
    for (const { key, value } of env.kv.getRange({ start: FIRST_KEY }))
      rows.set(textOf(Buffer.from(key)), value.slice());
    const meta = new Map<string, Uint8Array>();
    for (const { key, value } of env.meta.getRange({ start: FIRST_KEY }))
      meta.set(textOf(Buffer.from(key)), value.slice());
    return { rows, meta: (key) => meta.get(textOf(key)) };
  } finally {
    void env.close();
  }
}
