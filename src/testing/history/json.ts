/**
 * JSON values, compared by what they say: two objects are equal when their members are, in whatever order they stand.
 */

export type Json = null | boolean | number | string | readonly Json[] | { readonly [member: string]: Json };

/** One text for all spellings of a value; it is JSON itself. */
export function canonical(value: Json): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  if (isList(value)) return `[${value.map(canonical).join(',')}]`;
  const members = Object.keys(value).sort();
  return `{${members.map((name) => `${JSON.stringify(name)}:${canonical(value[name] ?? null)}`).join(',')}}`;
}

/** `Array.isArray` does not narrow readonly arrays. */
export function isList(value: Json): value is readonly Json[] {
  return Array.isArray(value);
}

const SHOWN_MAX = 60;

/** For a sentence: long values keep both ends, because what differs is mostly at the end. */
export function show(value: Json): string {
  const text = canonical(value);
  return text.length <= SHOWN_MAX ? text : `${text.slice(0, SHOWN_MAX / 2)}…${text.slice(-SHOWN_MAX / 2)}`;
}
