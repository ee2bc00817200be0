/**
 * Values of rows as JSON and as words of a command line, without a number on the way that is not exact: whole numbers
 * beyond 2^53 are bigints here, and digits in quotes in what is printed; bytes are base64.
 */
import type { GivenValue, Row, TableView, Value, Values } from '../../client/control-types.ts';
import { UsageError } from './errors.ts';

/** What a reviver is told of a number (TypeScript does not know it yet). */
interface Source {
  readonly source?: string;
}

/** JSON in which whole numbers that a double cannot hold are bigints. */
export function parseExact(json: string): unknown {
  const revive = (_key: string, value: unknown, context?: Source): unknown => {
    const source = context?.source;
    const isInexact = typeof value === 'number' && !Number.isSafeInteger(value);
    return isInexact && source !== undefined && /^-?\d+$/.test(source) ? BigInt(source) : value;
  };
  return JSON.parse(json, revive);
}

/** Undefined: no object of plain values. */
export function asValues(given: unknown): Values | undefined {
  if (typeof given !== 'object' || given === null || Array.isArray(given)) return undefined;
  const isPlain = Object.values(given).every((value) => value === null || typeof value !== 'object');
  return isPlain ? (given as Values) : undefined;
}

export function rowJson(row: Row): string {
  return JSON.stringify(row, (_key, value: unknown) => (typeof value === 'bigint' ? value.toString() : value));
}

/** What `rowJson` and a person can be shown. */
export function plainRow(row: Row): Row {
  return Object.fromEntries(Object.entries(row).map(([name, value]) => [name, plain(value)]));
}

const plain = (value: Value): Value => (value instanceof Uint8Array ? Buffer.from(value).toString('base64') : value);

/** Key values from a command line: digits for an integer, 0x… or a text for a bytestring. */
export function keyOf(words: readonly string[], { key, fields }: TableView): GivenValue[] {
  if (words.length > key.length)
    throw new UsageError(`the primary key is ${key.join(', ')}: ${key.length} values at most`);
  return words.map((word, i) => {
    const field = fields.find(({ name }) => name === key[i]);
    if (field?.type === 'integer' && !/^-?\d+$/.test(word))
      throw new UsageError(`${field.name} is an integer, not '${word}'`);
    if (field?.type === 'bytestring' && /^0x([0-9a-f]{2})*$/i.test(word)) return Buffer.from(word.slice(2), 'hex');
    return word;
  });
}
