/**
 * Control: families, tables and writers, as part of what the log means. A command in, changes and an answer out.
 *
 * A command is decided before it changes anything: whatever refuses it leaves the state as it was. The reason goes into
 * the answer as a text and data, because only here it is known which row of a thousand was at fault.
 *
 * Pure and deterministic like the machine (machine.ts) that it is a part of.
 */
import type { ByteReader, ByteWriter } from '../../base/bytes.ts';
import { equalBytes } from '../../base/bytes.ts';
import { isStoreError, StoreError } from '../../base/errors.ts';
import type { Batch } from './batch.ts';
import { Catalog, type OnTableSize } from './catalog.ts';
import { type ControlCommand, decodeControl, HASH_BYTES, type TableLimit } from './commands.ts';
import { planBatch, type PlannedRow } from './plan.ts';
import {
  decodeDefaults,
  decodeTableLimit,
  type Defaults,
  DEFAULTS_KEY,
  encodeDefaults,
  encodeTableLimit,
  tableLimitKey,
} from './private.ts';
import type { TableSchema } from './schema.ts';
import type { ControlState } from './state.ts';
import { Staging } from './staging.ts';
import { Sweep } from './sweep.ts';
import { Writers } from './writers.ts';

/** The entry that a command came in. */
export interface Moment {
  readonly index: number;
  /** Age of the log (log-time.ts). */
  readonly ageMs: number;
}

export class Control {
  readonly #state: ControlState;
  readonly #catalog: Catalog;
  readonly #writers: Writers;
  readonly #sweep: Sweep;
  /** Asked and told by the machine, too, of users' keys. */
  readonly staging: Staging;
  /** Of the command in hand. */
  #index = 0;

  constructor(state: ControlState, onTableSize: OnTableSize) {
    this.#state = state;
    this.staging = new Staging(state);
    const put: ControlState['put'] = (key, value) => {
      this.staging.before(key, this.#index);
      this.staging.learn(key, value);
      state.put(key, value);
    };
    this.#catalog = new Catalog({ ...state, put }, onTableSize);
    this.#writers = new Writers(state);
    this.#sweep = new Sweep(state);
  }

  /** Rows wait to be deleted. */
  get sweeps(): boolean {
    return !this.#sweep.isDone || this.staging.sweeps;
  }

  /** Deletes rows of dropped and cleared tables, and what stages need no more. */
  sweep(keysMax: number): void {
    this.#sweep.turn(keysMax - this.staging.sweep(keysMax));
  }

  /** Undefined: done; otherwise why not, and nothing has changed. Throws PROTOCOL_ERROR, before it changes anything. */
  run(reader: ByteReader, moment: Moment): StoreError | undefined {
    const { command, secret } = decodeControl(reader);
    reader.end();
    try {
      this.#run(command, secret, moment);
      return undefined;
    } catch (error) {
      if (!isStoreError(error) || error.code === 'PROTOCOL_ERROR') throw error;
      return error;
    }
  }

  #run(command: ControlCommand, hash: Uint8Array, moment: Moment): void {
    this.#index = moment.index;
    switch (command.kind) {
      case 'createFamily':
        this.#catalog.createFamily(command.family);
        break;
      case 'createTables':
        this.#catalog.createTables(command.tables, moment.index);
        break;
      case 'addFields':
        this.#catalog.addFields(this.#catalog.table(command.family, command.table), command.fields, moment.index);
        break;
      case 'dropTable':
        this.#drop(this.#catalog.table(command.family, command.table));
        break;
      case 'clearTable':
        this.#clearAll([this.#catalog.table(command.family, command.table)]);
        break;
      case 'clearFamily':
        this.#clearAll(this.#catalog.tablesOf(command.family));
        break;
      case 'mutate':
        this.#mutate(command.batch, hash, moment);
        break;
      case 'registerWriter':
        this.#writers.register(command.writer, checkHash(hash), moment.index);
        break;
      case 'rotateWriter':
        this.#writers.keep(command.writer, { ...this.#writers.get(command.writer), hash: checkHash(hash) });
        break;
      case 'deleteWriter':
        this.#writers.delete(command.writer);
        break;
      case 'setCookie':
        this.#writers.keep(command.writer, { ...this.#writers.admit(command.writer, hash), cookie: command.cookie });
        break;
      case 'limitWriter':
        this.#limitWriter(command);
        break;
      case 'limitTable':
        this.#limitTable(command);
        break;
      case 'createStage':
        this.staging.create(command.stage, command.scope, command.rings, moment.index);
        break;
      case 'moveStage':
        this.staging.move(command.stage, command.move, command.ring, command.reason, moment.index);
        break;
      case 'dropStage':
        this.staging.drop(command.stage);
    }
  }

  #clearAll(schemas: readonly TableSchema[]): void {
    for (const schema of schemas) this.staging.checkDrop(schema);
    for (const schema of schemas) this.#clear(schema);
  }

  #drop(schema: TableSchema): void {
    this.staging.checkDrop(schema);
    this.#litter(schema);
    this.#catalog.drop(schema);
    const key = tableLimitKey(schema.family, schema.table);
    if (this.#state.getPrivate(key) !== undefined) this.#state.removePrivate(key);
  }

  #clear(schema: TableSchema): void {
    this.#litter(schema);
    this.#catalog.clear(schema);
  }

  /** One that has no rows leaves none behind: so what waits to be swept is bounded by what was written. */
  #litter(schema: TableSchema): void {
    if (this.#catalog.size(schema).rows > 0) this.#sweep.add(schema);
  }

  #mutate(batch: Batch, hash: Uint8Array, { ageMs, index }: Moment): void {
    const { writer: name } = batch;
    const writer = this.#writers.admit(name, hash);
    if (batch.check !== undefined && !equalBytes(batch.check, writer.cookie)) {
      throw new StoreError('COOKIE_CONFLICT', `the cookie of writer ${name} is another one`, {
        data: { writer: name },
      });
    }
    this.#catalog.family(batch.family);
    const rows = planBatch(batch, {
      table: (family, table) => this.#catalog.table(family, table),
      get: (key) => this.#state.get(key),
    });
    const grown = growth(rows);
    for (const [schema, { bytes }] of grown) this.#checkSize(schema, bytes);
    if (!this.staging.isEmpty) this.staging.check(rows.map(({ key, value }) => ({ key, adds: value !== undefined })));
    this.#writers.checkRate(name, writer, batch.rows.length, ageMs);

    // Decided: nothing throws from here on.
    this.#writers.count(name, writer, batch.rows.length, ageMs);
    for (const { key, value, bytesBefore } of rows) {
      if (value !== undefined || bytesBefore > 0) this.staging.before(key, index);
      if (value !== undefined) this.#state.put(key, value);
      else if (bytesBefore > 0) this.#state.remove(key);
    }
    for (const [schema, more] of grown) this.#catalog.grow(schema, more);
    const { cookie } = batch;
    if (cookie !== undefined && !equalBytes(cookie, writer.cookie)) this.#writers.keep(name, { ...writer, cookie });
  }

  /** What makes no table larger is always allowed. */
  #checkSize(schema: TableSchema, moreBytes: number): void {
    if (moreBytes <= 0) return;
    const limit = this.#limitOf(schema)?.maxBytes;
    const size = this.#catalog.size(schema).bytes + moreBytes;
    if (limit === undefined || size <= limit) return;
    const { family, table } = schema;
    throw new StoreError('TABLE_FULL', `table ${family}.${table} may have ${limit} bytes; it would have ${size}`, {
      data: { family, table, limit, size },
    });
  }

  #limitOf({ family, table }: TableSchema): TableLimit | undefined {
    const own = this.#state.getPrivate(tableLimitKey(family, table));
    return own === undefined ? decodeDefaults(this.#state.getPrivate(DEFAULTS_KEY)).tables : decodeTableLimit(own);
  }

  #limitWriter({ writer: name, limit }: Extract<ControlCommand, { kind: 'limitWriter' }>): void {
    if (name === '') {
      this.#putDefaults({ writers: limit });
      return;
    }
    const writer = this.#writers.get(name);
    if (limit === undefined && writer.limit === undefined) {
      throw new StoreError('NOT_FOUND', `writer ${name} has no limit of its own`, { data: { writer: name } });
    }
    this.#writers.keep(name, { ...writer, limit });
  }

  #limitTable({ limit, ...named }: Extract<ControlCommand, { kind: 'limitTable' }>): void {
    if (named.family === '' && named.table === '') {
      this.#putDefaults({ tables: limit });
      return;
    }
    const { family, table } = this.#catalog.table(named.family, named.table);
    const key = tableLimitKey(family, table);
    if (limit !== undefined) this.#state.putPrivate(key, encodeTableLimit(limit));
    else if (this.#state.getPrivate(key) !== undefined) this.#state.removePrivate(key);
    else
      throw new StoreError('NOT_FOUND', `table ${family}.${table} has no limit of its own`, {
        data: { family, table },
      });
  }

  #putDefaults(change: Partial<Defaults>): void {
    const defaults = decodeDefaults(this.#state.getPrivate(DEFAULTS_KEY));
    this.#state.putPrivate(DEFAULTS_KEY, encodeDefaults({ ...defaults, ...change }));
  }

  save(writer: ByteWriter): void {
    this.#catalog.save(writer);
    this.#writers.save(writer);
    this.#sweep.save(writer);
  }

  restore(reader: ByteReader): void {
    this.#catalog.restore(reader);
    this.#writers.restore(reader);
    this.#sweep.restore(reader);
  }
}

/** By how much each table grows, or (below zero) shrinks. */
function growth(rows: readonly PlannedRow[]): Map<TableSchema, { rows: number; bytes: number }> {
  const grown = new Map<TableSchema, { rows: number; bytes: number }>();
  for (const { schema, key, value, bytesBefore } of rows) {
    const more = grown.get(schema) ?? { rows: 0, bytes: 0 };
    more.rows += (value === undefined ? 0 : 1) - (bytesBefore === 0 ? 0 : 1);
    more.bytes += (value === undefined ? 0 : key.length + value.length) - bytesBefore;
    grown.set(schema, more);
  }
  return grown;
}

function checkHash(hash: Uint8Array): Uint8Array {
  if (hash.length === HASH_BYTES) return hash;
  throw new StoreError('BAD_REQUEST', 'the secret was not sealed');
}
