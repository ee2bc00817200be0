/**
 * What the executive's routes have in common: how a body is read, and how an answer is made.
 */
import type { z } from 'zod';
import { isStoreError, StoreError } from '../../core/base/errors.ts';
import { parseJson, stringifyJson } from '../http/json.ts';
import { type Answer, type Call, text } from '../http/route.ts';

export const JSON_TYPE = 'application/json; charset=utf-8';

/** The body as its schema has it. Throws BAD_REQUEST, with ctlstore's words where it has some. */
export function bodyOf<S extends z.ZodType>(schema: S, { body }: Call): z.output<S> {
  const result = schema.safeParse(parseJson(body), { reportInput: true });
  if (result.success) return result.data;
  const issue = result.error.issues[0] as z.core.$ZodIssue;
  throw new StoreError('BAD_REQUEST', faultOf(issue), { data: { path: issue.path.join('.') } });
}

function faultOf({ path, message, input }: z.core.$ZodIssue): string {
  const [list, place] = path.slice(-2);
  if (list === 'fields' && typeof place === 'number' && Array.isArray(input)) {
    return `Field #${place} is malformed: expected 2 elements, got ${input.length}`;
  }
  return path.length === 0 ? `JSON Error: ${message}` : `JSON Error: ${path.join('.')}: ${message}`;
}

/** A body that is text as it stands: a secret. What it was is not said. */
export function textOf({ body }: Call, what: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(body);
  } catch {
    throw new StoreError('BAD_REQUEST', `${what} is not UTF-8`);
  }
}

export const json = (value: unknown): Answer => text(`${stringifyJson(value)}\n`, JSON_TYPE);

/** Nothing but the revision of the write: carry it to a replica, and read your own write there. */
export async function done(write: Promise<{ readonly revision: number }>): Promise<Answer> {
  const { revision } = await write;
  return { headers: { 'ctlmesh-revision': String(revision) } };
}

/** A name out of the path. */
export function param({ params }: Call, name: string): string {
  const value = params[name];
  if (value === undefined) throw new StoreError('BAD_REQUEST', `the path has no ${name}`);
  return value;
}

/** ctlstore tells nobody whether there is a writer of whom only the name is known. */
export function hideWriter(error: unknown): never {
  if (isStoreError(error, 'FORBIDDEN')) throw new StoreError('NOT_FOUND', 'Writer not found', { cause: error });
  throw error;
}
