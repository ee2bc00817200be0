/**
 * A machine with families and tables, spoken to in the words of a test: commands as gateways seal them, rows as readers
 * decode them.
 */
import { createHash } from 'node:crypto';
import { ByteReader, ByteWriter, prefixEnd } from '../../../../src/core/base/bytes.ts';
import type { ErrorCode } from '../../../../src/core/base/errors.ts';
import { checkBody } from '../../../../src/core/model/commands.ts';
import type { Batch, RowOp } from '../../../../src/core/model/control/batch.ts';
import {
  type ControlCommand,
  decodeRefusal,
  encodeControl,
  seal,
  type TableDeclaration,
} from '../../../../src/core/model/control/commands.ts';
import { decodeRow, type Row } from '../../../../src/core/model/control/row.ts';
import { decodeSchema, rowsPrefix, tableKey, type TableSchema } from '../../../../src/core/model/control/schema.ts';
import { encodeValue, type GivenValue } from '../../../../src/core/model/control/value.ts';
import type { LedgerRecord } from '../../../../src/core/model/ledger.ts';
import { errorOfResult } from '../../../../src/core/model/machine.ts';
import { Bench, type Call, command } from '../model.ts';

export const SECRET = 'geheim';

const sha256 = (bytes: Uint8Array): Uint8Array => createHash('sha256').update(bytes).digest();

/** An entry of the log, as a gateway makes it of what a client sends: checked, then sealed. */
export function control(what: ControlCommand, options: Call & { readonly secret?: string } = {}): Uint8Array {
  const body = new ByteWriter();
  encodeControl(body, what, options.secret);
  checkBody('control', new ByteReader(body.take()));
  const sealed = seal(body.take(), 0, sha256);
  return command('control', options, (writer) => writer.raw(sealed));
}

export interface Mutation {
  readonly op: RowOp;
  readonly table: string;
  readonly values: Readonly<Record<string, GivenValue>>;
}

export const upsert = (table: string, values: Mutation['values']): Mutation => ({ op: 'upsert', table, values });
export const patch = (table: string, values: Mutation['values']): Mutation => ({ op: 'patch', table, values });
export const remove = (table: string, values: Mutation['values']): Mutation => ({ op: 'delete', table, values });

/** A batch with a shape for each mutation: what a client need not do, and may. */
export function batchOf(mutations: readonly Mutation[], more: Partial<Batch> = {}): Batch {
  return {
    writer: 'loader',
    family: 'billing',
    cookie: undefined,
    check: undefined,
    isBase64: false,
    shapes: mutations.map(({ op, table, values }) => ({ op, table, fields: Object.keys(values) })),
    rows: mutations.map(({ values }, shape) => ({
      shape,
      values: Object.values(values).map((value) => {
        const writer = new ByteWriter();
        encodeValue(writer, value);
        return writer.take();
      }),
    })),
    ...more,
  };
}

/** Of an answer: what was refused, or that nothing was. */
export interface Outcome {
  readonly code: ErrorCode | 'OK';
  readonly message: string;
  readonly data: Readonly<Record<string, unknown>>;
  readonly record: LedgerRecord;
}

export class ControlBench extends Bench {
  /** All entries so far. */
  readonly log: Uint8Array[] = [];

  entry(data: Uint8Array): Outcome {
    this.log.push(data);
    const { answer, record } = this.apply(data);
    const code = errorOfResult(answer?.code ?? 0) ?? 'OK';
    const extra = answer?.extra ?? new Uint8Array(0);
    const said = extra.length === 0 ? { message: '', data: {} } : decodeRefusal(extra);
    return { code, ...said, record };
  }

  run(what: ControlCommand, options: Call & { readonly secret?: string } = {}): Outcome {
    return this.entry(control(what, options));
  }

  mutate(
    mutations: readonly Mutation[],
    more: Partial<Batch> & { readonly secret?: string; timeMs?: number } = {},
  ): Outcome {
    const { secret = SECRET, timeMs = 0, ...rest } = more;
    return this.run({ kind: 'mutate', batch: batchOf(mutations, rest) }, { secret, timeMs });
  }

  createTable(table: string, fields: TableDeclaration['fields'], key: readonly string[], family = 'billing'): Outcome {
    return this.run({ kind: 'createTables', tables: [{ family, table, fields, key }] });
  }

  schema(family: string, table: string): TableSchema | undefined {
    const key = tableKey(family, table);
    const stored = this.table.newest(key);
    return stored && decodeSchema(key, stored.value);
  }

  saved(): Uint8Array {
    const saved = new ByteWriter();
    this.machine.save(saved);
    return saved.take();
  }

  /** Rows and bytes that the machine counts, by table id. */
  sizes(): Map<number, { rows: number; bytes: number }> {
    const reader = new ByteReader(this.saved());
    // Version, applied, two hashes; three times; the sessions' sweep, and that there are none.
    reader.u8();
    reader.varint();
    reader.raw(2 * 4 + 3 * 8 + 8);
    if (reader.varint() !== 0) throw new Error('sizes are read where there are no sessions');
    // Families, and the next id.
    reader.varint();
    reader.varint();
    const sizes = new Map<number, { rows: number; bytes: number }>();
    for (let left = reader.varint(); left > 0; left--) {
      sizes.set(reader.varint(), { rows: reader.varint(), bytes: reader.varint() });
    }
    return sizes;
  }

  /** Rows and bytes that are there. */
  measure(schema: TableSchema): { rows: number; bytes: number } {
    const prefix = rowsPrefix(schema);
    const keys = this.table.keys(prefix, prefixEnd(prefix) as Uint8Array, 10_000);
    return {
      rows: keys.length,
      bytes: keys.reduce((sum, key) => sum + key.length + (this.table.newest(key)?.value.length ?? 0), 0),
    };
  }

  /** Rows that a reader sees, in the order of their keys. */
  rows(table: string, family = 'billing'): Row[] {
    const schema = this.schema(family, table);
    if (schema === undefined) throw new Error(`no table ${table}`);
    const prefix = rowsPrefix(schema);
    const keys = this.table.keys(prefix, prefixEnd(prefix) as Uint8Array, 10_000);
    return keys.map((key) => decodeRow(schema, this.table.newest(key)?.value ?? new Uint8Array(0)));
  }
}

/** A family, a table of plans, and a writer. */
export function billing(): ControlBench {
  const bench = new ControlBench();
  bench.run({ kind: 'createFamily', family: 'billing' });
  bench.createTable('plans', PLANS, ['id']);
  bench.run({ kind: 'registerWriter', writer: 'loader' }, { secret: SECRET });
  return bench;
}

export const PLANS: TableDeclaration['fields'] = [
  ['id', 'string'],
  ['seats', 'integer'],
  ['price', 'decimal'],
];
