/**
 * The transaction script: one line a condition or an operation, or the same as JSON. Parsed whole before anything
 * is sent; a mistake names its line.
 */
import { z } from 'zod';
import { DURATION_HINT, durationMs } from './duration.ts';
import { UsageError } from './errors.ts';

export type Condition =
  | { readonly kind: 'revision'; readonly key: string; readonly revision: number }
  | { readonly kind: 'exists'; readonly key: string }
  | { readonly kind: 'absent'; readonly key: string }
  | { readonly kind: 'value'; readonly key: string; readonly value: string };

export type Operation =
  | { readonly kind: 'put'; readonly key: string; readonly value: string; readonly ttlMs?: number }
  | { readonly kind: 'delete'; readonly key: string }
  | { readonly kind: 'get'; readonly key: string };

export interface TxnScript {
  readonly conditions: Condition[];
  readonly main: Operation[];
  readonly otherwise: Operation[];
}

export const TXN_HELP = `
A script has one condition or operation a line; # begins a comment, "…" holds blanks and JSON escapes:

  if revision flags/new-ui 12        written by exactly this revision (0: absent)
  if exists   flags/beta
  if absent   flags/old-ui
  if value    flags/owner "team a"
  put flags/new-ui on ttl 60s        ttl is optional
  del flags/beta
  get flags/owner
  else                               what follows runs when a condition does not hold
  get flags/new-ui

All conditions come first. The same as JSON:

  { "if":   [{ "key": "flags/new-ui", "revision": 12 }, { "key": "flags/beta", "exists": true },
             { "key": "flags/owner", "value": "team a" }],
    "then": [{ "put": "flags/new-ui", "value": "on", "ttlMs": 60000 }, { "delete": "flags/beta" }],
    "else": [{ "get": "flags/new-ui" }] }

Exit code 0 when the conditions held, 1 when they did not (the else branch ran).`;

export function parseTxn(text: string): TxnScript {
  const script = text.trimStart().startsWith('{') ? parseJson(text) : parseLines(text);
  if (script.main.length + script.otherwise.length === 0) throw new UsageError('the transaction has no operation');
  return script;
}

function parseLines(text: string): TxnScript {
  const script: TxnScript = { conditions: [], main: [], otherwise: [] };
  let branch = script.main;
  for (const [i, line] of text.split('\n').entries()) {
    const bad = (what: string): UsageError => new UsageError(`transaction, line ${i + 1}: ${what}`);
    const [verb, ...rest] = words(line, bad);
    if (verb === undefined) continue;
    if (verb === 'if') {
      if (branch === script.otherwise || script.main.length > 0) throw bad("an 'if' stands before every operation");
      script.conditions.push(condition(rest, bad));
    } else if (verb === 'else') {
      if (branch === script.otherwise) throw bad("a second 'else'");
      if (rest.length > 0) throw bad("'else' stands alone on its line");
      branch = script.otherwise;
    } else branch.push(operation(verb, rest, bad));
  }
  return script;
}

type Bad = (what: string) => UsageError;

function condition(words: readonly string[], bad: Bad): Condition {
  const [kind, key, argument, ...more] = words;
  const needs = (form: string): UsageError => bad(`write 'if ${form}'`);
  switch (kind) {
    case 'revision': {
      const revision = Number(argument);
      if (key === undefined || argument === undefined || more.length > 0) throw needs('revision KEY NUMBER');
      if (!/^\d+$/.test(argument) || !Number.isSafeInteger(revision)) throw bad(`'${argument}' is not a revision`);
      return { kind, key, revision };
    }
    case 'exists':
    case 'absent':
      if (key === undefined || argument !== undefined) throw needs(`${kind} KEY`);
      return { kind, key };
    case 'value':
      if (key === undefined || argument === undefined || more.length > 0) throw needs('value KEY VALUE');
      return { kind, key, value: argument };
    default:
      throw bad(`'if ${kind ?? ''}' is not a condition; known: revision, exists, absent, value`);
  }
}

function operation(verb: string, words: readonly string[], bad: Bad): Operation {
  const [key, value, ...more] = words;
  if (verb === 'put') {
    if (key === undefined || value === undefined) throw bad("write 'put KEY VALUE' or 'put KEY VALUE ttl 60s'");
    if (more.length === 0) return { kind: 'put', key, value };
    const ttlMs = more.length === 2 && more[0] === 'ttl' ? durationMs(more[1] ?? '') : undefined;
    if (ttlMs === undefined) throw bad(`after the value only 'ttl 60s' may follow (${DURATION_HINT})`);
    return { kind: 'put', key, value, ttlMs };
  }
  if (verb === 'del' || verb === 'delete' || verb === 'get') {
    if (key === undefined || value !== undefined) throw bad(`write '${verb} KEY'`);
    return { kind: verb === 'get' ? 'get' : 'delete', key };
  }
  throw bad(`'${verb}' is not known here; known: if, put, del, get, else`);
}

/** Blanks part words; "…" is one word, with JSON's escapes; # begins a comment. */
function words(line: string, bad: Bad): string[] {
  const found: string[] = [];
  const token = /\s*(?:(#.*)|("(?:[^"\\]|\\.)*")(?=\s|$)|([^\s"#]\S*))/y;
  let rest = line.trimEnd();
  while (rest.trim() !== '') {
    token.lastIndex = 0;
    const match = token.exec(rest);
    if (match === null) throw bad(`cannot read ${rest.trim()}: a quote that does not close?`);
    const [all, comment, quoted, plain] = match;
    if (comment !== undefined) break;
    if (quoted !== undefined) found.push(unquote(quoted, bad));
    if (plain !== undefined) found.push(plain);
    rest = rest.slice(all.length);
  }
  return found;
}

function unquote(quoted: string, bad: Bad): string {
  try {
    return JSON.parse(quoted) as string;
  } catch {
    throw bad(`${quoted} has an escape that JSON does not know`);
  }
}

const key = z.string();
const jsonCondition = z.union([
  z.strictObject({ key, revision: z.number().int().min(0) }),
  z.strictObject({ key, exists: z.boolean() }),
  z.strictObject({ key, value: z.string() }),
]);
const jsonOperation = z.union([
  z.strictObject({ put: key, value: z.string(), ttlMs: z.number().int().min(1).optional() }),
  z.strictObject({ delete: key }),
  z.strictObject({ get: key }),
]);
const jsonScript = z.strictObject({
  if: z.array(jsonCondition).default([]),
  then: z.array(jsonOperation).default([]),
  else: z.array(jsonOperation).default([]),
});

function parseJson(text: string): TxnScript {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new UsageError(`the transaction is not JSON: ${(cause as Error).message}`);
  }
  const parsed = jsonScript.safeParse(value);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    const at = issue?.path.join('.') ?? '';
    const what =
      issue?.code === 'invalid_union' ? 'not a form that kvctl txn --help shows' : (issue?.message ?? 'wrong');
    throw new UsageError(`the transaction, at ${at === '' ? 'its top' : at}: ${what}`);
  }
  return {
    conditions: parsed.data.if.map(fromJsonCondition),
    main: parsed.data.then.map(fromJsonOperation),
    otherwise: parsed.data.else.map(fromJsonOperation),
  };
}

function fromJsonCondition(one: z.infer<typeof jsonCondition>): Condition {
  if ('revision' in one) return { kind: 'revision', key: one.key, revision: one.revision };
  if ('exists' in one) return { kind: one.exists ? 'exists' : 'absent', key: one.key };
  return { kind: 'value', key: one.key, value: one.value };
}

function fromJsonOperation(one: z.infer<typeof jsonOperation>): Operation {
  if ('put' in one)
    return { kind: 'put', key: one.put, value: one.value, ...(one.ttlMs === undefined ? {} : { ttlMs: one.ttlMs }) };
  return 'delete' in one ? { kind: 'delete', key: one.delete } : { kind: 'get', key: one.get };
}
