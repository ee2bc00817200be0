/**
 * LdbPlatter: where a replica's rows lie, over all lives of its reflector. Mostly in memory: a transaction is there or not, as
 * LMDB has it (a commit is on disk when it is visible, src/engine/ldb/environment.ts: so a death loses nothing of what was
 * shown). Or in LMDB itself, in a directory of its own, through the production store.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openToRead } from '../../src/engine/ldb/environment.ts';
import { FIRST_KEY } from '../../src/engine/ldb/format.ts';
import type { LdbState } from '../../src/engine/ldb/ldb-state.ts';
import { openLmdbStore, openServedStore, type ServedOptions } from '../../src/engine/ldb/lmdb-store.ts';
import type { LdbStore } from '../../src/engine/ldb/store.ts';
import { MemoryTables, openServedTables } from './memory-tables.ts';
import { textOf } from './reference.ts';

/** What a reader sees at one moment. */
export interface LdbView {
  readonly meta: (key: Uint8Array) => Uint8Array | undefined;
  /** Rows as they are stored (src/engine/ldb/format.ts), by the text of their keys. */
  readonly rows: ReadonlyMap<string, Uint8Array>;
}

/** What is read of it for others, beside what is written. */
export interface ServedLdb {
  readonly store: LdbStore;
  readonly state: LdbState;
  /** Records whose transaction begins: noted, as LMDB's thread does with them what `commit` says. */
  readonly prepare: (records: readonly Uint8Array[]) => void;
}

export interface LdbPlatter {
  readonly open: () => Promise<LdbStore>;
  /** The same for a replica that feeds others. */
  readonly openServed: (options: ServedOptions) => Promise<ServedLdb>;
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
    openServed: (options) => openServedTables((tables ??= new MemoryTables()), options),
    view: () => tables,
    wipe: () => {
      tables = undefined;
    },
    remove: () => {
      tables = undefined;
    },
  };
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
    openServed: async (options) => {
      const served = await openServedStore(dir(), options);
      isMade = true;
      return { ...served, prepare: () => {} };
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
