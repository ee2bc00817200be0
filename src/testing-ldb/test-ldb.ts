/**
 * TestLdb: a local replica for the unit tests of programs that read one, without a cluster.
 *
 * Everything but the cluster is the real thing: the machine that nodes have judges tables and rows, its ledger records go
 * through the production writer into an LMDB file in a directory of its own, and the production reader reads them. So a
 * test meets the types, errors and orders that the program will meet.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Mutation, TableSpec, Values } from '../client/control-types.ts';
import { batchOf } from '../client/mutations.ts';
import { EMPTY, utf8 } from '../core/base/bytes.ts';
import { StoreError } from '../core/base/errors.ts';
import type { Revision } from '../core/base/position.ts';
import { encodeTxn } from '../core/model/commands.ts';
import { type LdbReader, openLdb } from '../engine/ldb/reader.ts';
import { LdbWriter } from '../engine/ldb/writer.ts';
import { type Entry, TestCluster } from './test-cluster.ts';

/** A table, and the rows that it has from the beginning. */
export interface TestTable extends TableSpec {
  readonly rows?: readonly Values[];
}

export interface TestLdbOptions {
  /** Tables by family and name. */
  readonly families?: Readonly<Record<string, Readonly<Record<string, TestTable>>>>;
  /** Values by key. */
  readonly entries?: Readonly<Record<string, string | Uint8Array>>;
  /** Log time of what is written, ms since the epoch; default: the clock's, so that the replica is fresh. */
  readonly timeMs?: number;
  /** The replica's cluster; default 'test'. */
  readonly cluster?: string;
}

/** What one revision changes: values by key (null: the key goes), or rows of one family, all or none. */
export type TestUpdate =
  | { readonly entries: Readonly<Record<string, string | Uint8Array | null>> }
  | { readonly family: string; readonly mutations: readonly Mutation[] };

const WRITER = 'test-ldb';
const SECRET = 'of no use here';

export class TestLdb {
  /** Where it is: for the program's own `openLdb(dir, { besideWriter: true })`, or another process. */
  readonly dir: string;
  /** The production reader. Commits are visible in the next turn of the event loop: when `update` has resolved. */
  readonly reader: LdbReader;
  readonly #writer: LdbWriter;
  readonly #source: TestCluster;
  readonly #cluster: string;
  #closed: Promise<void> | undefined;

  private constructor(writer: LdbWriter, source: TestCluster, cluster: string) {
    this.dir = writer.dir;
    this.reader = openLdb(writer.dir, { besideWriter: true });
    this.#writer = writer;
    this.#source = source;
    this.#cluster = cluster;
  }

  /** On the main thread only. Throws what a cluster would: SCHEMA_MISMATCH, BAD_REQUEST, KEY_INVALID, …; then nothing is left. */
  static async create(options: TestLdbOptions = {}): Promise<TestLdb> {
    const { families = {}, entries = {}, timeMs = Date.now(), cluster = 'test' } = options;
    const dir = mkdtempSync(join(tmpdir(), 'ctlmesh-test-ldb-'));
    let writer: LdbWriter | undefined;
    let ldb: TestLdb | undefined;
    try {
      writer = await LdbWriter.open(dir);
      ldb = new TestLdb(writer, new TestCluster(timeMs), cluster);
      await ldb.#begin();
      for (const [family, tables] of Object.entries(families)) await ldb.#fill(family, tables);
      if (Object.keys(entries).length > 0) await ldb.update({ entries });
      return ldb;
    } catch (error) {
      if (ldb !== undefined) await ldb.close();
      else await writer?.close();
      rmSync(dir, { recursive: true, force: true });
      throw error;
    }
  }

  async #begin(): Promise<void> {
    await this.#apply(this.#source.begin());
    await this.#apply(this.#source.control({ kind: 'registerWriter', writer: WRITER }, true));
  }

  async #fill(family: string, tables: Readonly<Record<string, TestTable>>): Promise<void> {
    await this.#apply(this.#source.control({ kind: 'createFamily', family }));
    for (const [table, { rows = [], ...spec }] of Object.entries(tables)) {
      await this.createTable(family, table, spec);
      if (rows.length > 0) await this.update({ family, mutations: rows.map((upsert) => ({ table, upsert })) });
    }
  }

  /** Adds one revision; resolves once readers see it. One that is refused rejects with the cluster's error, and is an empty one. */
  async update(change: TestUpdate): Promise<Revision> {
    return await this.#apply('entries' in change ? this.#entries(change.entries) : this.#rows(change));
  }

  async createTable(family: string, table: string, { fields, key }: TableSpec): Promise<Revision> {
    const pairs = pairsOf(fields);
    return await this.#apply(
      this.#source.control({ kind: 'createTables', tables: [{ family, table, fields: pairs, key }] }),
    );
  }

  /** Rows that are there have null in them. */
  async addFields(family: string, table: string, fields: TableSpec['fields']): Promise<Revision> {
    return await this.#apply(this.#source.control({ kind: 'addFields', family, table, fields: pairsOf(fields) }));
  }

  /** Its rows are gone. */
  async clearTable(family: string, table: string): Promise<Revision> {
    return await this.#apply(this.#source.control({ kind: 'clearTable', family, table }));
  }

  async dropTable(family: string, table: string): Promise<Revision> {
    return await this.#apply(this.#source.control({ kind: 'dropTable', family, table }));
  }

  /** Log time goes on, in a revision that changes nothing but what is due by then: values with a time to live. */
  async pass(ms: number): Promise<Revision> {
    return await this.#apply(this.#source.pass(ms));
  }

  /** Closes reader and writer, and removes the directory. Readers that others opened are theirs to close, before. */
  close(): Promise<void> {
    this.#closed ??= (async () => {
      this.reader.close();
      await this.#writer.close();
      rmSync(this.dir, { recursive: true, force: true });
    })();
    return this.#closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #entries(entries: Readonly<Record<string, string | Uint8Array | null>>): Entry {
    const then = Object.entries(entries).map(([name, value]) => {
      const key = utf8(name);
      if (value === null) return { kind: 'delete', key, value: EMPTY, ttlMs: 0 } as const;
      return { kind: 'put', key, value: typeof value === 'string' ? utf8(value) : value, ttlMs: 0 } as const;
    });
    return this.#source.run('txn', (writer) => encodeTxn(writer, { conditions: [], then, otherwise: [] }));
  }

  #rows({ family, mutations }: Extract<TestUpdate, { readonly family: string }>): Entry {
    const batch = batchOf({ family, writer: WRITER, secret: SECRET, mutations });
    return this.#source.control({ kind: 'mutate', batch }, true);
  }

  async #apply({ record, refusal }: Entry): Promise<Revision> {
    if (this.#closed !== undefined) throw new StoreError('CLOSED', 'this test replica was closed');
    const { revision } = await this.#writer.apply(record, this.#cluster);
    this.reader.refresh();
    if (refusal !== undefined) throw refusal;
    return revision;
  }
}

function pairsOf(fields: TableSpec['fields']): readonly (readonly [name: string, type: string])[] {
  return Array.isArray(fields) ? (fields as readonly (readonly [string, string])[]) : Object.entries(fields);
}
