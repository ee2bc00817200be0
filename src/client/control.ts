/**
 * ClientControl: families, tables, rows and writers, over the calls that the SDK has anyway. Writes are commands of the
 * log; rows and schemas are read by the keys at which they lie, and decoded here.
 *
 * A row lies under its table's id and epoch, which a drop or a clear changes; what it leaves behind is swept away later.
 * So a row counts only if the schema by which it was looked up was still in force when it was read: the schema is asked for
 * again, behind the row, in the same frame; when it has changed, or its answer came first, all is done once more. That
 * lets a schema be remembered for ever without ever being trusted.
 */
import { ByteWriter } from '../core/base/bytes.ts';
import { StoreError } from '../core/base/errors.ts';
import {
  type ControlCommand,
  encodeControl,
  type TableLimit,
  type WriterLimit,
} from '../core/model/control/commands.ts';
import { parseFamilyName, parseTableName } from '../core/model/control/names.ts';
import { decodeRow, type Row } from '../core/model/control/row.ts';
import { rowKey, rowKeyPrefix } from '../core/model/control/row-key.ts';
import {
  decodeSchema,
  FAMILIES_PREFIX,
  familyOfKey,
  tableKey,
  type TableSchema,
  TABLES_PREFIX,
  tablesPrefix,
} from '../core/model/control/schema.ts';
import type { GivenValue } from '../core/model/control/value.ts';
import * as wire from '../core/wire/client.ts';
import { type ControlReadRequest, encodeControlRead, type PrivateView } from '../core/wire/control.ts';
import type { Answered } from './calls.ts';
import type * as api from './control-types.ts';
import { toBytes } from './entry.ts';
import { checkWanted, type ClientFleet } from './fleet.ts';
import { batchOf } from './mutations.ts';
import type { Stages } from './stage-types.ts';
import { ClientStages } from './stages.ts';
import type { Timing } from './timing.ts';
import { checkCounter } from './txn.ts';
import type { Bytes, CallOptions, Client, Entry, GetOptions, WriteOptions, WriteResult } from './types.ts';
import type { Revision } from '../core/base/position.ts';

export interface ControlWorld {
  readonly call: (
    kind: wire.RequestKind,
    isWrite: boolean,
    body: Uint8Array,
    options: CallOptions,
  ) => Promise<Answered>;
  readonly client: Pick<Client, 'get' | 'range'>;
  readonly timing: Timing;
  readonly fleet: Pick<ClientFleet, 'afterWrite'>;
}

interface Known {
  readonly schema: TableSchema;
  /** The write that made it. */
  readonly revision: Revision;
}

/** Of schemas that are remembered. */
const KNOWN_MAX = 10_000;

export class ClientControl implements api.Control {
  readonly #world: ControlWorld;
  readonly #known = new Map<string, Known>();
  readonly stages: Stages;

  constructor(world: ControlWorld) {
    this.#world = world;
    this.stages = new ClientStages({
      write: (command, options) => this.#write(command, options),
      range: (options) => world.client.range(options),
      timing: world.timing,
    });
  }

  // ── writes ────────────────────────────────────────────────────────────────────────────────────────────────

  createFamily(family: string, options?: CallOptions): Promise<WriteResult> {
    return this.#write({ kind: 'createFamily', family }, options);
  }

  createTable(family: string, table: string, spec: api.TableSpec, options?: CallOptions): Promise<WriteResult> {
    return this.createTables([{ family, table, ...spec }], options);
  }

  createTables(
    specs: readonly ({ readonly family: string; readonly table: string } & api.TableSpec)[],
    options?: CallOptions,
  ): Promise<WriteResult> {
    const tables = specs.map(({ family, table, fields, key }) => ({ family, table, fields: pairsOf(fields), key }));
    return this.#write({ kind: 'createTables', tables }, options);
  }

  addFields(family: string, table: string, fields: api.Fields, options?: CallOptions): Promise<WriteResult> {
    return this.#write({ kind: 'addFields', family, table, fields: pairsOf(fields) }, options);
  }

  dropTable(family: string, table: string, options?: CallOptions): Promise<WriteResult> {
    return this.#write({ kind: 'dropTable', family, table }, options);
  }

  clearTable(family: string, table: string, options?: CallOptions): Promise<WriteResult> {
    return this.#write({ kind: 'clearTable', family, table }, options);
  }

  clearFamily(family: string, options?: CallOptions): Promise<WriteResult> {
    return this.#write({ kind: 'clearFamily', family }, options);
  }

  async mutate(request: api.MutateRequest, { visible, ...call }: WriteOptions = {}): Promise<WriteResult> {
    if (visible !== undefined) checkWanted(visible);
    const result = await this.#write({ kind: 'mutate', batch: batchOf(request) }, call, request.secret);
    return visible === undefined ? result : this.#world.fleet.afterWrite(result, visible, call.signal);
  }

  registerWriter(writer: string, secret: string, options?: CallOptions): Promise<WriteResult> {
    return this.#write({ kind: 'registerWriter', writer }, options, secret);
  }

  rotateWriter(writer: string, secret: string, options?: CallOptions): Promise<WriteResult> {
    return this.#write({ kind: 'rotateWriter', writer }, options, secret);
  }

  deleteWriter(writer: string, options?: CallOptions): Promise<WriteResult> {
    return this.#write({ kind: 'deleteWriter', writer }, options);
  }

  async setCookie(writer: string, secret: string, cookie: Bytes, options?: CallOptions): Promise<WriteResult> {
    return await this.#write({ kind: 'setCookie', writer, cookie: toBytes(cookie) }, options, secret);
  }

  async limitWriter(
    writer: string | undefined,
    limit: WriterLimit | undefined,
    options?: CallOptions,
  ): Promise<WriteResult> {
    checkCounter('rows', limit?.rows);
    checkCounter('periodMs', limit?.periodMs);
    return this.#write({ kind: 'limitWriter', writer: writer ?? '', limit }, options);
  }

  async limitTable(
    table: { readonly family: string; readonly table: string } | undefined,
    limit: TableLimit | undefined,
    options?: CallOptions,
  ): Promise<WriteResult> {
    checkCounter('warnBytes', limit?.warnBytes);
    checkCounter('maxBytes', limit?.maxBytes);
    return this.#write({ kind: 'limitTable', ...(table ?? { family: '', table: '' }), limit }, options);
  }

  async #write(command: ControlCommand, options: CallOptions = {}, secret?: string): Promise<WriteResult> {
    const body = new ByteWriter(256);
    encodeControl(body, command, secret);
    const { revision } = await this.#world.call(wire.REQUEST.control, true, body.view(), options);
    return { revision: revision as Revision };
  }

  // ── rows and schemas ──────────────────────────────────────────────────────────────────────────────────────

  async getRow(
    family: string,
    table: string,
    key: readonly GivenValue[],
    options: GetOptions = {},
  ): Promise<Row | undefined> {
    const deadline = until(options);
    for (let known = await this.#schema(family, table, options); ; ) {
      let isRowHere = false;
      const row = this.#world.client.get(rowKey(known.schema, key), deadline()).then((entry) => {
        isRowHere = true;
        return entry;
      });
      const after = this.#ask(family, table, deadline()).then((found) => ({ found, isBehind: isRowHere }));
      const [entry, { found, isBehind }] = await Promise.all([row, after]);
      if (found === undefined) throw noTable(family, table);
      if (isBehind && found.revision === known.revision) {
        return entry && decodeRow(known.schema, entry.value);
      }
      known = found;
    }
  }

  async *rows(
    family: string,
    table: string,
    keyPrefix: readonly GivenValue[] = [],
    options: GetOptions & { readonly limit?: number } = {},
  ): AsyncGenerator<Row> {
    const deadline = until(options);
    for (let known = await this.#schema(family, table, options); ; ) {
      const prefix = rowKeyPrefix(known.schema, keyPrefix);
      const range = this.#world.client.range({ ...options, prefix })[Symbol.asyncIterator]();
      try {
        // Its state is fixed once the first row is here.
        let next = await range.next();
        const found = await this.#ask(family, table, deadline());
        if (found === undefined) throw noTable(family, table);
        const isInForce = found.revision === known.revision;
        known = found;
        if (!isInForce) continue;
        for (; next.done !== true; next = await range.next()) yield decodeRow(known.schema, next.value.value);
        return;
      } finally {
        await range.return?.();
      }
    }
  }

  async schema(family: string, table: string, options: GetOptions = {}): Promise<api.TableView | undefined> {
    const found = await this.#ask(family, table, options);
    return found && viewOf(found.schema);
  }

  async families(options: GetOptions = {}): Promise<string[]> {
    const families: string[] = [];
    for await (const { key } of this.#world.client.range({ ...options, prefix: FAMILIES_PREFIX })) {
      families.push(familyOfKey(key));
    }
    return families;
  }

  async tables(family?: string, options: GetOptions = {}): Promise<api.TableView[]> {
    const prefix = family === undefined ? TABLES_PREFIX : tablesPrefix(parseFamilyName(family));
    const tables: api.TableView[] = [];
    for await (const { key, value } of this.#world.client.range({ ...options, prefix })) {
      tables.push(viewOf(decodeSchema(key, value)));
    }
    return tables;
  }

  /** As it was last seen; throws NOT_FOUND. */
  async #schema(family: string, table: string, options: GetOptions): Promise<Known> {
    const known = this.#known.get(nameOf(family, table)) ?? (await this.#ask(family, table, options));
    if (known === undefined) throw noTable(family, table);
    return known;
  }

  async #ask(family: string, table: string, options: GetOptions): Promise<Known | undefined> {
    const key = tableKey(parseFamilyName(family), parseTableName(table));
    const name = nameOf(family, table);
    const entry: Entry | undefined = await this.#world.client.get(key, options);
    const known = this.#known.get(name);
    if (entry === undefined) this.#known.delete(name);
    else if (known?.revision === entry.revision) return known;
    else {
      if (this.#known.size >= KNOWN_MAX) this.#known.clear();
      const found = { schema: decodeSchema(key, entry.value), revision: entry.revision };
      this.#known.set(name, found);
      return found;
    }
    return undefined;
  }

  // ── writers and limits ────────────────────────────────────────────────────────────────────────────────────

  async writers(options: api.ControlReadOptions = {}): Promise<api.WriterView[]> {
    return [...(await this.#list(options)).writers];
  }

  async limits(options: api.ControlReadOptions = {}): Promise<api.LimitsView> {
    const { defaults, writers, tables } = await this.#list(options);
    const limited = writers.flatMap(({ name, limit }) => (limit === null ? [] : [{ name, limit }]));
    return { defaults, tables, writers: limited };
  }

  async tableSizes(options: api.ControlReadOptions = {}): Promise<api.TableSizeView[]> {
    const answer = await this.#read({ what: 'sizes' }, options);
    return JSON.parse(new TextDecoder().decode(answer)) as api.TableSizeView[];
  }

  async cookie(writer: string, secret: string, options: api.ControlReadOptions = {}): Promise<Uint8Array> {
    return (await this.#read({ what: 'cookie', writer, secret }, options)).slice();
  }

  async #list(options: api.ControlReadOptions): Promise<PrivateView> {
    return JSON.parse(new TextDecoder().decode(await this.#read({ what: 'list' }, options))) as PrivateView;
  }

  async #read(
    what:
      | { readonly what: 'list' | 'sizes' }
      | { readonly what: 'cookie'; readonly writer: string; readonly secret: string },
    options: api.ControlReadOptions,
  ): Promise<Uint8Array> {
    const isLocal = options.consistency === 'local';
    const request: ControlReadRequest = { isLocal, atLeast: checkCounter('atLeast', options.atLeast), ...what };
    const body = new ByteWriter(64);
    encodeControlRead(body, request);
    return (await this.#world.call(wire.REQUEST.controlRead, false, body.view(), options)).extra;
  }
}

function pairsOf(fields: api.Fields): readonly (readonly [name: string, type: string])[] {
  return Array.isArray(fields) ? (fields as readonly (readonly [string, string])[]) : Object.entries(fields);
}

function viewOf({ family, table, version, fields, key }: TableSchema): api.TableView {
  return { family, table, version, fields, key: key.map((place) => fields[place]?.name ?? '') };
}

const nameOf = (family: string, table: string): string => `${family.toLowerCase()}.${table.toLowerCase()}`;

function noTable(family: string, table: string): StoreError {
  const name = nameOf(family, table);
  return new StoreError('NOT_FOUND', `Table not found: ${name}`, { data: { family, table } });
}

/** The same options with what is left of their deadline. */
function until<O extends CallOptions>(options: O): () => O {
  const { deadlineMs } = options;
  if (deadlineMs === undefined) return () => options;
  const untilMs = performance.now() + deadlineMs;
  return () => ({ ...options, deadlineMs: Math.max(0, untilMs - performance.now()) });
}
