/**
 * Table: a protocol as the runtime uses it: kinds by number, the fields of each in order, which of them hold refs, and
 * what a message weighs.
 *
 * A mailbox is bounded by bytes as well, so each message is weighed when it is sent. Fields that are numbers or flags
 * weigh the same always and are added up here, once; only text, bytes and what has parts are looked at, and of those no
 * more than NODES_MAX parts. So a weight is an estimate: right for the long things, which are what fills a memory.
 */
import type { z } from 'zod';
import type { AnyMessage, Protocol } from './protocol.ts';

export interface KindTable {
  readonly kind: string;
  /** Its place in the protocol. */
  readonly number: number;
  readonly how: 'tell' | 'ask' | 'stream';
  readonly fields: readonly string[];
  /** Fields that hold a ref, or nothing. */
  readonly refs: readonly string[];
  /** Fields that must be looked at to be weighed. */
  readonly heavy: readonly string[];
  readonly fixedBytes: number;
}

export interface Table {
  readonly byKind: Readonly<Record<string, KindTable>>;
  readonly byNumber: readonly KindTable[];
}

/** What a message costs beside its fields: its record, its envelope and a place in a queue. */
const MESSAGE_BYTES = 96;
const FIELD_BYTES = 8;
const NODES_MAX = 256;
const LIGHT = new Set(['number', 'int', 'boolean', 'bigint', 'literal', 'enum', 'undefined', 'null', 'date', 'nan']);

/** Schemas that stand for a ref, and the protocol of who it speaks to where that was given; see ref-schema.ts. */
const refSchemas = new WeakMap<z.ZodType, Protocol | undefined>();
const tables = new WeakMap<Protocol, Table>();
const protocols = new WeakMap<Table, Protocol>();

export function markAsRef(schema: z.ZodType, protocol: Protocol | undefined): void {
  refSchemas.set(schema, protocol);
}

/** The protocol of the ref in a field, where its schema names it. */
export function refProtocolOf(protocol: Protocol, kind: string, field: string): Protocol | undefined {
  const shape = Object.hasOwn(protocol, kind) ? protocol[kind]?.shape : undefined;
  return shape?.[field] === undefined ? undefined : refSchemas.get(bare(shape[field]));
}

export function tableOf(protocol: Protocol): Table {
  const known = tables.get(protocol);
  if (known !== undefined) return known;
  const byNumber = Object.entries(protocol).map(([kind, { how, shape }], number): KindTable => {
    const fields = Object.keys(shape);
    const heavy = fields.filter((field) => !LIGHT.has(bare(shape[field]).def.type));
    const refs = fields.filter((field) => refSchemas.has(bare(shape[field])));
    return { kind, number, how, fields, refs, heavy, fixedBytes: MESSAGE_BYTES + FIELD_BYTES * fields.length };
  });
  const byKind = Object.assign(
    Object.create(null) as Record<string, KindTable>,
    Object.fromEntries(byNumber.map((entry) => [entry.kind, entry])),
  );
  const table = { byKind, byNumber };
  tables.set(protocol, table);
  protocols.set(table, protocol);
  return table;
}

/** The protocol that a table was made from; undefined: its schemas are elsewhere. */
export function protocolOf(table: Table): Protocol | undefined {
  return protocols.get(table);
}

/** A schema without what makes it optional. */
function bare(schema: z.ZodType | undefined): z.ZodType {
  let at = schema as z.ZodType;
  for (;;) {
    const inner = (at.def as { readonly innerType?: z.ZodType }).innerType;
    if (inner === undefined || refSchemas.has(at)) return at;
    at = inner;
  }
}

export function bytesOf(table: KindTable, message: AnyMessage): number {
  if (table.heavy.length === 0) return table.fixedBytes;
  let bytes = table.fixedBytes;
  for (const field of table.heavy) bytes += weigh((message as unknown as Readonly<Record<string, unknown>>)[field]);
  return bytes;
}

/** About how many bytes a value takes; shared memory is nobody's. */
export function weigh(value: unknown): number {
  let bytes = 0;
  let nodes = 0;
  const left: unknown[] = [value];
  while (left.length > 0 && nodes < NODES_MAX) {
    const at = left.pop();
    nodes++;
    if (typeof at === 'string') bytes += FIELD_BYTES + at.length;
    else if (typeof at !== 'object' || at === null) bytes += FIELD_BYTES;
    else if (ArrayBuffer.isView(at)) bytes += MESSAGE_BYTES + (at.buffer instanceof ArrayBuffer ? at.byteLength : 0);
    else if (at instanceof ArrayBuffer) bytes += MESSAGE_BYTES + at.byteLength;
    else {
      bytes += FIELD_BYTES * 4;
      // What is not looked at any more weighs as much as a number does.
      const parts: readonly unknown[] = Array.isArray(at) ? at : Object.values(at);
      const looked = Math.min(parts.length, NODES_MAX - nodes);
      for (let i = 0; i < looked; i++) left.push(parts[i]);
      bytes += FIELD_BYTES * (parts.length - looked);
    }
  }
  return bytes + FIELD_BYTES * left.length;
}
