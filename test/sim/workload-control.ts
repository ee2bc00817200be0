/**
 * Control commands of the workload: few families, tables and rows, made, written, cleared and dropped by all clients at
 * once. Most of what is asked before somebody has made the table is refused, as it should be. Each row that is written holds
 * the call's tag, so that no row is ever put twice with the same bytes.
 */
import { ByteWriter } from '../../src/core/base/bytes.ts';
import type { Batch } from '../../src/core/model/control/batch.ts';
import { type ControlCommand, encodeControl } from '../../src/core/model/control/commands.ts';
import type { TableName } from '../../src/core/model/ledger-filter.ts';
import { encodeValue, type GivenValue } from '../../src/core/model/control/value.ts';
import type { Chance } from './chance.ts';

/** Of the last one no reader with a part may have anything (readers.ts). */
const FAMILIES = ['fam', 'odd', 'own'];
const WRITER = 'writer';
const SECRET = 'secret';
const TABLES = ['tab_a', 'tab_b'];
const ROWS = 40;

const KINDS = [
  [15, 'family'],
  [20, 'table'],
  [6, 'writer'],
  [2, 'clear'],
  [1, 'drop'],
  [4, 'cookie'],
  [80, 'mutate'],
] as const;

export function encodeControlCall(writer: ByteWriter, chance: Chance, tag: string): void {
  const kind = chance.weighted(KINDS);
  const isSecret = kind === 'writer' || kind === 'mutate' || kind === 'cookie';
  encodeControl(writer, commandOf(kind, chance, tag), isSecret ? SECRET : undefined);
}

function commandOf(kind: (typeof KINDS)[number][1], chance: Chance, tag: string): ControlCommand {
  const table = chance.of(TABLES);
  const family = chance.of(FAMILIES);
  switch (kind) {
    case 'family':
      return { kind: 'createFamily', family };
    case 'table': {
      const fields = [['k', 'integer'] as const, ['v', 'text'] as const];
      return { kind: 'createTables', tables: [{ family, table, fields, key: ['k'] }] };
    }
    case 'writer':
      return { kind: 'registerWriter', writer: WRITER };
    case 'clear':
      return { kind: 'clearTable', family, table };
    case 'drop':
      return { kind: 'dropTable', family, table };
    case 'cookie':
      return { kind: 'setCookie', writer: WRITER, cookie: new TextEncoder().encode(tag) };
    default:
      return { kind: 'mutate', batch: batchOf(chance, { family, table }, tag) };
  }
}

function batchOf(chance: Chance, { family, table }: TableName, tag: string): Batch {
  const upsert = { op: 'upsert', table, fields: ['k', 'v'] } as const;
  const remove = { op: 'delete', table, fields: ['k'] } as const;
  const rows = Array.from({ length: 1 + chance.below(6) }, () => {
    const key = tagged(chance.below(ROWS));
    const value = tagged(chance.is(0.2) ? tag.padEnd(chance.below(400), '.') : tag);
    return chance.is(0.75) ? { shape: 0, values: [key, value] } : { shape: 1, values: [key] };
  });
  const cookie = chance.is(0.3) ? new TextEncoder().encode(tag) : undefined;
  const names = { writer: WRITER, family, check: undefined, isBase64: false };
  return { ...names, cookie, shapes: [upsert, remove], rows };
}

function tagged(value: GivenValue): Uint8Array {
  const writer = new ByteWriter(32);
  encodeValue(writer, value);
  return writer.take();
}
