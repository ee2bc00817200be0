/**
 * MapStore: an LdbStore in maps, for tests of what stands above it.
 */
import {
  type LdbStore,
  MARK_KEY,
  type MetaWrite,
  type RowView,
  type RowWrite,
  type SnapshotCounts,
} from '../../../src/engine/ldb/store.ts';

const nameOf = (key: Uint8Array): string => Buffer.from(key).toString('latin1');
const bytesOf = (name: string): Uint8Array => new Uint8Array(Buffer.from(name, 'latin1'));

export class MapStore implements LdbStore {
  rows: Map<string, Uint8Array> = new Map();
  #incoming = new Map<string, Uint8Array>();
  readonly #meta = new Map<string, Uint8Array>();

  meta(key: Uint8Array): Uint8Array | undefined {
    return this.#meta.get(nameOf(key));
  }

  view(of: 'rows' | 'incoming'): RowView {
    const table = of === 'rows' ? this.rows : this.#incoming;
    return {
      get: (key) => table.get(nameOf(key)),
      *range(from, to) {
        const names = [...table.keys()]
          .filter((name) => name >= nameOf(from) && (to === undefined || name < nameOf(to)))
          .sort();
        for (const name of names) yield { key: bytesOf(name), row: table.get(name) as Uint8Array };
      },
    };
  }

  commit(rows: readonly RowWrite[], meta: readonly MetaWrite[]): Promise<void> {
    write(this.rows, rows);
    this.#keep(meta);
    return Promise.resolve();
  }

  addIncoming(rows: readonly RowWrite[]): Promise<void> {
    write(this.#incoming, rows);
    return Promise.resolve();
  }

  dropIncoming(): Promise<void> {
    this.#incoming.clear();
    return Promise.resolve();
  }

  adoptIncoming(meta: readonly MetaWrite[]): Promise<SnapshotCounts> {
    this.#incoming.delete(nameOf(MARK_KEY));
    this.rows = this.#incoming;
    this.#incoming = new Map();
    this.#keep(meta);
    return Promise.resolve({ rows: this.rows.size, put: 0, removed: 0 });
  }

  flushed(): Promise<void> {
    return Promise.resolve();
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  #keep(meta: readonly MetaWrite[]): void {
    write(
      this.#meta,
      meta.map(({ key, value }) => ({ key, row: value })),
    );
  }
}

function write(table: Map<string, Uint8Array>, rows: readonly RowWrite[]): void {
  for (const { key, row } of rows) {
    if (row === undefined) table.delete(nameOf(key));
    else table.set(nameOf(key), row.slice());
  }
}
