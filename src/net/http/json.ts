/**
 * JSON, with all digits of its whole numbers: one beyond 2 ** 53 is a bigint here, and its digits in the text. Bytes are
 * base64. (`JSON.parse` alone would round such a number before anybody sees it; since Node 22 it shows its reviver the
 * source text of each number, and `JSON.rawJSON` writes one.)
 */
import { StoreError } from '../../core/base/errors.ts';

/** What the library's types do not know yet. */
interface SourceJson {
  parse(
    text: string,
    reviver: (key: string, value: unknown, context: { readonly source?: string }) => unknown,
  ): unknown;
  rawJSON(text: string): unknown;
}
const sourceJson = JSON as unknown as SourceJson;

/** A text without that many digits in a row has no number that loses any. */
const MANY_DIGITS = /[0-9]{16}/;
const WHOLE = /^-?[0-9]{16,19}$/;
const INTEGER_MIN = -(2n ** 63n);
const INTEGER_MAX = 2n ** 63n - 1n;
const decoder = new TextDecoder('utf-8', { fatal: true });

/** Throws BAD_REQUEST. Whole numbers of more than 64 bits stay floating point numbers. */
export function parseJson(bytes: Uint8Array): unknown {
  try {
    const text = decoder.decode(bytes);
    return MANY_DIGITS.test(text) ? sourceJson.parse(text, exact) : JSON.parse(text);
  } catch (error) {
    // SyntaxError; TypeError of what is no UTF-8; RangeError of thousands of brackets, which the reviver's walk meets.
    throw new StoreError('BAD_REQUEST', `JSON Error: ${reasonOf(error)}`, { cause: error });
  }
}

function exact(_key: string, value: unknown, { source }: { readonly source?: string }): unknown {
  if (typeof value !== 'number' || Number.isSafeInteger(value) || source === undefined || !WHOLE.test(source))
    return value;
  const whole = BigInt(source);
  return whole >= INTEGER_MIN && whole <= INTEGER_MAX ? whole : value;
}

/** The engine quotes from the text, which may hold a secret: that is cut off. */
function reasonOf(error: unknown): string {
  if (error instanceof TypeError) return 'the body is not UTF-8';
  if (error instanceof RangeError) return 'the body is nested too deeply';
  const { message } = error as Error;
  return message.startsWith('"') ? 'this is no JSON' : message.replace(/^(Unexpected token '.{1,2}?'),.*$/su, '$1');
}

/** JSON of a value with bigints in it. */
export function stringifyJson(value: unknown): string {
  return JSON.stringify(value, (_key, one: unknown) => {
    if (typeof one === 'bigint') return sourceJson.rawJSON(String(one));
    return Object.is(one, -0) ? sourceJson.rawJSON('-0') : one;
  });
}

/** A row as JSON has it. */
export function jsonRow(row: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(row).map(([name, value]) => [name, value instanceof Uint8Array ? base64Of(value) : value]),
  );
}

export function base64Of({ buffer, byteOffset, byteLength }: Uint8Array): string {
  return Buffer.from(buffer, byteOffset, byteLength).toString('base64');
}

const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/;

/** Standard base64, padded. Throws BAD_REQUEST; `what` says of what. */
export function bytesOfBase64(text: string, what: string): Uint8Array {
  if (text.length % 4 === 0 && BASE64.test(text)) return new Uint8Array(Buffer.from(text, 'base64'));
  throw new StoreError('BAD_REQUEST', `${what} is not base64`);
}
