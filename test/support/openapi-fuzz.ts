/**
 * Fuzzed requests out of an OpenAPI document: bodies that a route's schema allows, with something wrong in them now and then,
 * and bodies that are none. So a route that is new is fuzzed without a word here.
 */
import * as fc from 'fast-check';
import { ERROR_CODE_LIST } from '../../src/core/base/errors.ts';
import type { Ask } from './http-client.ts';

type Json = Readonly<Record<string, unknown>>;

export interface Operation {
  /** As in 'POST /families/{family}'. */
  readonly request: string;
  /** The schema of its body; undefined: none is said. */
  readonly schema: Json | undefined;
}

/** All operations of the document that is served at /openapi.json, but those in `spared`. */
export async function operationsOf(ask: Ask, spared: ReadonlySet<string> = new Set()): Promise<Operation[]> {
  return operationsIn(JSON.parse((await ask('GET /openapi.json')).body) as Json).filter(
    ({ request }) => !spared.has(request),
  );
}

export function operationsIn(document: Json): Operation[] {
  return Object.entries(document['paths'] as Record<string, Record<string, Json>>).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => {
      const content = (operation['requestBody'] as { readonly content?: Json } | undefined)?.content;
      const { schema } = (content?.['application/json'] ?? {}) as { readonly schema?: Json };
      return { request: `${method.toUpperCase()} ${path}`, schema };
    }),
  );
}

const scalar: fc.Arbitrary<unknown> = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.double(),
  fc.boolean(),
  fc.constant(null),
  fc.bigInt(),
  fc.base64String(),
);
/** Whatever JSON can say. */
const odd: fc.Arbitrary<unknown> = fc.oneof(scalar, fc.anything({ maxDepth: 1 }));

/** What the schema allows, and in one of twelve places something else. `known` are names that are there. */
export function nearly(schema: Json, known: readonly string[]): fc.Arbitrary<unknown> {
  return fc.oneof({ weight: 11, arbitrary: allowed(schema, known) }, { weight: 1, arbitrary: odd });
}

function allowed(schema: Json, known: readonly string[]): fc.Arbitrary<unknown> {
  const some = (schema['anyOf'] ?? schema['oneOf']) as readonly Json[] | undefined;
  if (some !== undefined) return fc.oneof(...some.map((one) => nearly(one, known)));
  if ('const' in schema) return fc.constant(schema['const']);
  const { type } = schema;
  if (type === 'object') return objectOf(schema, known);
  if (type === 'array') {
    const parts = schema['prefixItems'] as readonly Json[] | undefined;
    if (parts !== undefined) return fc.tuple(...parts.map((part) => nearly(part, known)));
    return fc.array(nearly((schema['items'] ?? {}) as Json, known), { maxLength: 4 });
  }
  if (type === 'integer') return fc.oneof(fc.nat(1_000), fc.maxSafeInteger(), fc.bigInt());
  if (type === 'number') return fc.oneof(fc.integer(), fc.double());
  if (type === 'boolean') return fc.boolean();
  if (type === 'null') return fc.constant(null);
  if (type === 'string') {
    return fc.oneof(
      { weight: 3, arbitrary: fc.constantFrom(...known) },
      fc.string({ unit: 'binary' }),
      fc.base64String(),
    );
  }
  return odd;
}

function objectOf(schema: Json, known: readonly string[]): fc.Arbitrary<unknown> {
  const properties = (schema['properties'] ?? {}) as Readonly<Record<string, Json>>;
  const named = fc.record(
    Object.fromEntries(Object.entries(properties).map(([name, one]) => [name, nearly(one, known)])),
    { requiredKeys: (schema['required'] ?? []) as string[] },
  );
  const more = schema['additionalProperties'];
  if (typeof more !== 'object' || more === null) return named;
  const others = fc.dictionary(fc.constantFrom(...known), nearly(more as Json, known), { maxKeys: 8 });
  return fc.tuple(named, others).map(([one, other]) => ({ ...other, ...(one as object) }));
}

/** JSON with numbers of any length in it. */
export const stringify = (value: unknown): string =>
  JSON.stringify(value, (_key, one: unknown) =>
    typeof one === 'bigint' ? (JSON as unknown as { rawJSON(text: string): unknown }).rawJSON(`${one}`) : one,
  ) ?? '';

/** A body for it: nearly right, where a schema says what is; or anything. */
export function bodyFor({ schema }: Operation, known: readonly string[]): fc.Arbitrary<string | Uint8Array> {
  const any = fc.oneof(fc.json(), fc.string(), fc.uint8Array(), fc.json({ maxDepth: 4, stringUnit: 'binary' }));
  return schema === undefined ? any : fc.oneof({ weight: 5, arbitrary: nearly(schema, known).map(stringify) }, any);
}

const CODES: ReadonlySet<string> = new Set(ERROR_CODE_LIST);

/** Is it one of the API's own answers: done, or refused with a code, and never a failure of the server's? */
export function isAnswer({ status, code }: { readonly status: number; readonly code: string }): boolean {
  if (status === 200) return code === '';
  // 507, after a limit that was made up before.
  return CODES.has(code) && ((status >= 400 && status < 500) || code === 'TABLE_FULL');
}
