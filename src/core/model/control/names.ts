/**
 * Names of control data, by ctlstore's rules: what comes in is lower-cased once, here, and is not looked at again.
 *
 *   family   3 to 30   letters, digits and single underscores, a letter first
 *   table    3 to 50   the same
 *   field    1 to 64   the same, and two underscores may stand together
 *   writer   3 to 50   any characters but control ones; not lower-cased
 *
 * No name holds a NUL, so a NUL may end one in a key (catalog.ts).
 */
import { StoreError } from '../../base/errors.ts';

interface Rule {
  readonly what: 'Family' | 'Table' | 'Field';
  readonly charsMin: number;
  readonly charsMax: number;
  readonly singleUnderscores: boolean;
}

const FAMILY: Rule = { what: 'Family', charsMin: 3, charsMax: 30, singleUnderscores: true };
const TABLE: Rule = { what: 'Table', charsMin: 3, charsMax: 50, singleUnderscores: true };
const FIELD: Rule = { what: 'Field', charsMin: 1, charsMax: 64, singleUnderscores: false };

const WRITER_CHARS_MIN = 3;
const WRITER_CHARS_MAX = 50;

/** As it is kept; throws BAD_REQUEST. */
export const parseFamilyName = (name: string): string => parse(name, FAMILY);
/** As it is kept; throws BAD_REQUEST. */
export const parseTableName = (name: string): string => parse(name, TABLE);
/** As it is kept; throws BAD_REQUEST. */
export const parseFieldName = (name: string): string => parse(name, FIELD);

/** As it was given; throws BAD_REQUEST. */
export function parseWriterName(name: string): string {
  const { length } = Array.from(name);
  if (length < WRITER_CHARS_MIN) throw bad(`Writer names must be at least ${WRITER_CHARS_MIN} characters`, name);
  if (length > WRITER_CHARS_MAX) throw bad(`Writer names can only be up to ${WRITER_CHARS_MAX} characters`, name);
  if (/[\p{Cc}\p{Surrogate}]/u.test(name)) throw bad('Writer names must not hold control characters', name);
  return name;
}

/** In the order of ctlstore's checks, so that a name with two faults is told of the same one. */
function parse(name: string, { what, charsMin, charsMax, singleUnderscores }: Rule): string {
  const lower = name.toLowerCase();
  const chars = `${what} names must be only letters, numbers, and ${singleUnderscores ? 'single underscore' : 'underscores'}`;
  if (singleUnderscores && lower.includes('__')) throw bad(chars, name);
  if (lower !== '' && !/^[a-z][a-z0-9_]*$/.test(lower)) throw bad(chars, name);
  if (lower.length > charsMax) throw bad(`${what} names can only be up to ${charsMax} characters`, name);
  if (lower.length < charsMin) throw bad(`${what} names must be at least ${charsMin} characters`, name);
  return lower;
}

/** What is said of a name is said with it, but not all of a megabyte. */
const SHOWN_CHARS_MAX = 100;

function bad(message: string, name: string): StoreError {
  const shown = Array.from(name).slice(0, SHOWN_CHARS_MAX).join('');
  return new StoreError('BAD_REQUEST', `${message} (${JSON.stringify(shown)})`, { data: { name: shown } });
}
