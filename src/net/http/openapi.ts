/**
 * The OpenAPI 3.1 document of a table of routes, with the very schemas that check the bodies.
 */
import { z } from 'zod';
import { ERROR_CODES, type ErrorCode } from '../../core/base/errors.ts';
import { VERSION } from '../../core/base/version.ts';
import { PROBLEM_TYPE } from './problem.ts';
import { type AnswerKind, type BodyKind, namesOf, type Route } from './route.ts';

type Json = Readonly<Record<string, unknown>>;

/** What any request may be answered. */
const ALWAYS: readonly ErrorCode[] = ['BAD_REQUEST', 'TXN_TOO_LARGE', 'OVERLOADED', 'UNAVAILABLE', 'DEADLINE_EXCEEDED'];

export function openApiOf(routes: readonly Route[], title: string): Json {
  const paths: Record<string, Record<string, Json>> = {};
  for (const route of routes) {
    const methods = paths[route.path] ?? {};
    methods[route.method.toLowerCase()] = operationOf(route);
    paths[route.path] = methods;
  }
  const tags = Array.from(new Set(routes.map(({ group }) => group)), (name) => ({ name }));
  const components = { schemas: { Problem }, securitySchemes: { token: SCHEME } };
  return { openapi: '3.1.0', info: { title, version: VERSION }, tags, paths, components };
}

const SCHEME: Json = {
  type: 'http',
  scheme: 'bearer',
  description:
    "A caller's token, where the cluster's config names callers; a route's x-role is what it must be at least.",
};

const Problem: Json = {
  type: 'object',
  properties: {
    status: { type: 'integer' },
    code: { type: 'string', enum: Object.keys(ERROR_CODES) },
    detail: { type: 'string' },
    retry: { type: 'string', enum: ['elsewhere', 'later', 'same-id', 'never'] },
    data: { type: 'object' },
    requestId: { type: 'string' },
  },
};

function operationOf(route: Route): Json {
  const { method, path, group, summary, body, answer, needs } = route;
  return {
    operationId: operationId(method, path),
    tags: [group],
    summary,
    ...(needs === undefined ? {} : { security: [{ token: [] }, {}], 'x-role': needs }),
    parameters: parametersOf(route),
    ...(body === undefined ? {} : { requestBody: { required: true, content: contentOfBody(body) } }),
    responses: { '200': { description: 'done', ...contentOfAnswer(answer) }, ...refusals(route) },
  };
}

/** GET /families/{family} → getFamiliesFamily */
function operationId(method: string, path: string): string {
  const words = path.split(/[^a-zA-Z0-9]+/).filter((word) => word !== '');
  return method.toLowerCase() + words.map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join('');
}

function parametersOf({ path, query = {}, needsWriter }: Route): Json[] {
  const schema = { type: 'string' };
  const writer = needsWriter === true ? ['ctlstore-writer', 'ctlstore-secret'] : [];
  return [
    ...namesOf(path).map((name) => ({ name, in: 'path', required: true, schema })),
    ...Object.entries(query).map(([name, description]) => ({ name, in: 'query', description, schema })),
    ...writer.map((name) => ({ name, in: 'header', required: true, schema })),
  ];
}

function contentOfBody(body: BodyKind): Json {
  if (body.kind === 'json') return { 'application/json': { schema: schemaOf(body.schema, 'input') } };
  return { 'application/octet-stream': { schema: { type: 'string', format: 'binary', description: body.what } } };
}

function contentOfAnswer(answer: AnswerKind): Json {
  if (answer.kind === 'empty') return {};
  if (answer.kind === 'json') return { content: { 'application/json': { schema: schemaOf(answer.schema, 'output') } } };
  const type = answer.kind === 'text' ? 'text/plain' : 'application/octet-stream';
  return { content: { [type]: { schema: { type: 'string', description: answer.what } } } };
}

/** A bigint is a whole number like any other in JSON. */
function schemaOf(schema: z.ZodType, io: 'input' | 'output'): Json {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, {
    io,
    unrepresentable: 'any',
    override: ({ zodSchema, jsonSchema }) => {
      if (zodSchema._zod.def.type === 'bigint') jsonSchema.type = 'integer';
    },
  });
  return rest;
}

/** By status, as OpenAPI has them, each with its codes. */
function refusals({ errors, needs }: Route): Json {
  const codesOf = new Map<number, ErrorCode[]>();
  const asked: readonly ErrorCode[] = needs === undefined ? [] : ['TOKEN_INVALID', 'FORBIDDEN'];
  for (const code of new Set([...errors, ...ALWAYS, ...asked])) {
    const { http } = ERROR_CODES[code];
    codesOf.set(http, [...(codesOf.get(http) ?? []), code]);
  }
  const content = {
    'text/plain': { schema: { type: 'string' } },
    [PROBLEM_TYPE]: { schema: { $ref: '#/components/schemas/Problem' } },
  };
  return Object.fromEntries(
    Array.from(codesOf, ([status, codes]) => [String(status), { description: codes.join(', '), content }]),
  );
}
