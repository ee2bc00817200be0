/**
 * Rows of an import: NDJSON, a line each, or one JSON object. Which of the two is seen from the first line.
 *
 *   NDJSON   {"key": "a", "value": "text"}     a text is stored as it is, any other JSON as its JSON
 *            {"keyBase64": …, "valueBase64": …, "ttlMs": 60000}     what `kvctl scan --json` prints is read back
 *   object   {"a": …, "b": …}                  each entry's value is stored as JSON
 *
 * A row that is not one is a usage error that names its line.
 */
import { UsageError } from './errors.ts';

export interface Row {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
  readonly ttlMs: number | undefined;
}

/** No row is larger: a value of 1 MiB in base64, and room. */
const LINE_CHARS_MAX = 8 * 1024 * 1024;
const FIELDS: readonly string[] = ['key', 'keyBase64', 'value', 'valueBase64', 'ttlMs', 'expiryMs', 'revision'];

/** `name` is what messages call the source: a file's name, or 'stdin'. */
export async function* readRows(source: AsyncIterable<Uint8Array | string>, name: string): AsyncGenerator<Row> {
  const lines = splitLines(source, name);
  let first: IteratorResult<string, undefined>;
  let number = 0;
  do {
    first = await lines.next();
    number++;
  } while (!first.done && first.value.trim() === '');
  if (first.done) return;
  const row = parseLine(first.value);
  if (!isRow(row)) {
    yield* objectRows(first.value, lines, name);
    return;
  }
  yield toRow(row, `${name}:${number}`);
  for await (const line of lines) {
    number++;
    if (line.trim() === '') continue;
    const at = `${name}:${number}`;
    const value = parseLine(line);
    if (value === undefined) throw new UsageError(`${at}: not a JSON object: ${line.slice(0, 60)}`);
    yield toRow(value, at);
  }
}

/** The whole source as one JSON object. */
async function* objectRows(start: string, rest: AsyncIterable<string>, name: string): AsyncGenerator<Row> {
  const lines = [start];
  for await (const line of rest) lines.push(line);
  let whole: unknown;
  try {
    whole = JSON.parse(lines.join('\n'));
  } catch (cause) {
    throw new UsageError(
      `${name}: neither NDJSON rows ({"key":…,"value":…}) nor one JSON object: ${(cause as Error).message}`,
    );
  }
  if (typeof whole !== 'object' || whole === null || Array.isArray(whole)) {
    throw new UsageError(
      `${name}: must be NDJSON rows or one JSON object; this is ${Array.isArray(whole) ? 'an array' : 'one value'}`,
    );
  }
  for (const [key, value] of Object.entries(whole))
    yield { key: Buffer.from(key), value: jsonBytes(value), ttlMs: undefined };
}

async function* splitLines(
  source: AsyncIterable<Uint8Array | string>,
  name: string,
): AsyncGenerator<string, undefined> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  // The line under way, in pieces: only what is new is searched, however long the line.
  let pieces: string[] = [];
  let length = 0;
  for await (const part of source) {
    const [more, ...lines] = (typeof part === 'string' ? part : decode(decoder, part, name)).split('\n');
    pieces.push(more ?? '');
    length += more?.length ?? 0;
    if (length > LINE_CHARS_MAX && looksLikeRow(pieces[0] ?? '')) {
      throw new UsageError(`${name}: a row of more than ${LINE_CHARS_MAX} characters`);
    }
    const last = lines.pop();
    if (last === undefined) continue;
    yield pieces.join('');
    yield* lines;
    pieces = [last];
    length = last.length;
  }
  pieces.push(decode(decoder, undefined, name));
  const rest = pieces.join('');
  if (rest !== '') yield rest;
  return undefined;
}

/** One big object may well be one line; a row never is that long. */
const looksLikeRow = (line: string): boolean => /^\s*\{\s*"key(Base64)?"\s*:/.test(line.slice(0, 64));

function decode(decoder: InstanceType<typeof TextDecoder>, bytes: Uint8Array | undefined, name: string): string {
  try {
    return bytes === undefined ? decoder.decode() : decoder.decode(bytes, { stream: true });
  } catch {
    throw new UsageError(`${name}: is not UTF-8 text`);
  }
}

type Fields = Readonly<Record<string, unknown>>;

function parseLine(line: string): Fields | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : undefined;
  } catch {
    return undefined;
  }
}

function isRow(value: Fields | undefined): value is Fields {
  if (value === undefined) return false;
  const has = (name: string): boolean => Object.hasOwn(value, name) || Object.hasOwn(value, `${name}Base64`);
  return has('key') && has('value');
}

function toRow(value: Fields, at: string): Row {
  if (!isRow(value)) throw new UsageError(`${at}: a row needs "key" and "value" (or keyBase64, valueBase64)`);
  const unknown = Object.keys(value).find((name) => !FIELDS.includes(name));
  if (unknown !== undefined) throw new UsageError(`${at}: unknown field "${unknown}"; known: ${FIELDS.join(', ')}`);
  if (value['key'] !== undefined && typeof value['key'] !== 'string')
    throw new UsageError(`${at}: "key" must be a text`);
  return { key: bytesOf(value, 'key', at), value: bytesOf(value, 'value', at), ttlMs: ttlOf(value, at) };
}

function bytesOf(value: Fields, name: 'key' | 'value', at: string): Uint8Array {
  const plain = value[name];
  if (plain !== undefined) return typeof plain === 'string' ? Buffer.from(plain) : jsonBytes(plain);
  const base64 = value[`${name}Base64`];
  if (typeof base64 !== 'string') throw new UsageError(`${at}: "${name}Base64" must be a text`);
  return Buffer.from(base64, 'base64');
}

function ttlOf(value: Fields, at: string): number | undefined {
  const { ttlMs, expiryMs } = value;
  if (ttlMs === undefined && typeof expiryMs === 'number') return Math.max(1, Math.ceil(expiryMs - Date.now()));
  if (ttlMs === undefined) return undefined;
  if (typeof ttlMs !== 'number' || !Number.isSafeInteger(ttlMs) || ttlMs < 1) {
    throw new UsageError(`${at}: "ttlMs" must be a whole number of milliseconds above 0`);
  }
  return ttlMs;
}

const jsonBytes = (value: unknown): Uint8Array => Buffer.from(JSON.stringify(value));
