/**
 * Schema: the shape of a config, field by field, made from the option table. What concerns two fields at once
 * (ports, directories, timeouts) is in cross-checks.ts.
 */
import { z } from 'zod';
import { CALLER_ROLES, type CallerRole } from '../core/wire/access.ts';
import {
  CALLER_FIELDS,
  CLUSTER_NAME_DEFAULT,
  LOG_LEVEL_DEFAULT,
  LOG_LEVELS,
  NODE_FIELDS,
  type NumberOption,
  RAFT_OPTIONS,
  READER_FIELDS,
  REPAIR_DEFAULT,
  REPAIR_MODES,
  TOP_KEYS,
  TUNING_OPTIONS,
} from './options.ts';
import { nearest } from './suggest.ts';
import type { ConfigFault, LogLevel, NodeConfig, RepairMode } from './types.ts';
import { addressFault } from './url.ts';

const NODE_ID = /^[a-z0-9-]{1,32}$/;

const number = (option: NumberOption): z.ZodDefault<z.ZodNumber> =>
  z.number().int().min(option.min).max(option.max).default(option.default);

const numbers = (options: readonly NumberOption[]): Record<string, z.ZodDefault<z.ZodNumber>> =>
  Object.fromEntries(options.map((option) => [option.name, number(option)]));

const address = (protocol: 'ws:' | 'http:'): z.ZodString =>
  z.string().superRefine((value, context) => {
    const fault = addressFault(value, protocol);
    if (fault !== undefined) context.addIssue({ code: 'custom', message: fault });
  });

/** Scheme, host and perhaps a port, nothing behind: what a browser's Origin header holds. */
function isOrigin(text: string): boolean {
  return URL.canParse(text) && new URL(text).origin === text;
}

const node = z.strictObject({
  client: address('ws:'),
  peer: address('ws:'),
  http: address('http:'),
  dataDir: z.string().min(1),
  join: z.boolean().optional(),
});

const names = z.array(z.string()).optional();

const token = {
  tokenSha256: z
    .string()
    .refine((value) => /^[0-9a-f]{64}$/i.test(value), {
      error: 'must be the SHA-256 of a token, 64 hexadecimal digits',
    })
    .optional(),
  tokenEnv: z.string().min(1).optional(),
};

const caller = z.strictObject({ ...token, role: z.enum(CALLER_ROLES as [CallerRole, ...CallerRole[]]) });

const reader = z.strictObject({
  ...token,
  all: z.boolean().optional(),
  families: names,
  tables: names,
  prefixes: names,
});

const HOST_NAME = /^[a-zA-Z0-9-]+(\.[a-zA-Z0-9-]+)*$/;

const schema = z.strictObject({
  cluster: z
    .string()
    .regex(/^[a-zA-Z0-9._-]{1,64}$/)
    .default(CLUSTER_NAME_DEFAULT),
  nodes: z.record(z.string().regex(NODE_ID), node),
  raft: z.strictObject(numbers(RAFT_OPTIONS)).prefault({}),
  ...numbers(TUNING_OPTIONS),
  callers: z.record(z.string().min(1), caller).default({}),
  readers: z.record(z.string().min(1), reader).default({}),
  destructiveSchemaChanges: z.boolean().default(false),
  originsAllowed: z
    .array(
      z.string().refine(isOrigin, { error: "must be an origin as a browser sends it, like 'https://ops.example'" }),
    )
    .default([]),
  hostsAllowed: z
    .array(z.string().regex(HOST_NAME, { error: "must be a host's name without port, like 'n1.example'" }))
    .default([]),
  repair: z.enum(REPAIR_MODES as [RepairMode, ...RepairMode[]]).default(REPAIR_DEFAULT),
  logLevel: z.enum(LOG_LEVELS as [LogLevel, ...LogLevel[]]).default(LOG_LEVEL_DEFAULT),
});

/** A config of the right shape, defaults filled in; numbers are looked up by the names in the option table. */
export interface Shaped {
  readonly cluster: string;
  readonly nodes: Readonly<Record<string, NodeConfig>>;
  readonly raft: Readonly<Record<string, number>>;
  readonly destructiveSchemaChanges: boolean;
  readonly originsAllowed: readonly string[];
  readonly hostsAllowed: readonly string[];
  readonly logLevel: LogLevel;
  readonly [tuning: string]: unknown;
}

export function checkShape(value: unknown): { readonly shaped: Shaped | undefined; readonly faults: ConfigFault[] } {
  const result = schema.safeParse(value, { reportInput: true });
  if (result.success) return { shaped: result.data, faults: [] };
  return { shaped: undefined, faults: result.error.issues.flatMap(toFaults) };
}

/** What zod found, in the words of somebody who has the file open. */
function toFaults(issue: z.core.$ZodIssue): ConfigFault[] {
  const path = issue.path.map(String);
  const at = path.join('.');
  switch (issue.code) {
    case 'unrecognized_keys':
      return issue.keys.map((key) => ({ path: [...path, key].join('.'), message: unknownKey(key, keysAt(path)) }));
    case 'invalid_type':
      return [
        { path: at, message: issue.input === undefined ? missing(path) : wrongType(path, issue.expected, issue.input) },
      ];
    case 'invalid_key':
      return [{ path: at, message: "a node's id has 1 to 32 characters from a-z, 0-9 and '-'" }];
    case 'invalid_format':
      return [{ path: at, message: `must be 1 to 64 letters, digits, '.', '_' or '-'; this is ${show(issue.input)}` }];
    case 'invalid_value':
      return [{ path: at, message: `must be one of ${issue.values.join(', ')}; this is ${show(issue.input)}` }];
    case 'too_small':
      if (issue.origin === 'string') return [{ path: at, message: 'is empty' }];
      return [{ path: at, message: `must be at least ${issue.minimum}${unitOf(path)}; this is ${show(issue.input)}` }];
    case 'too_big':
      return [{ path: at, message: `must be at most ${issue.maximum}${unitOf(path)}; this is ${show(issue.input)}` }];
    default:
      return [{ path: at, message: issue.message }];
  }
}

function keysAt(path: readonly string[]): readonly string[] {
  if (path.length === 0) return TOP_KEYS;
  if (path[0] === 'readers') return READER_FIELDS;
  if (path[0] === 'callers') return CALLER_FIELDS;
  return path[0] === 'raft' ? RAFT_OPTIONS.map((option) => option.name) : Object.keys(NODE_FIELDS);
}

function unknownKey(key: string, known: readonly string[]): string {
  const meant = nearest(key, known);
  return meant === undefined ? `unknown key; known here: ${known.join(', ')}` : `unknown key; did you mean '${meant}'?`;
}

function missing(path: readonly string[]): string {
  if (path.length === 0) return 'the config is empty: it must be an object with nodes';
  const last = path.at(-1) ?? '';
  if (path.length === 1) return 'is missing: one entry per node, like { n1: { client, peer, http, dataDir } }';
  if (!Object.hasOwn(NODE_FIELDS, last)) return 'is missing';
  return `is missing: ${NODE_FIELDS[last as keyof typeof NODE_FIELDS]}`;
}

function wrongType(path: readonly string[], expected: string, input: unknown): string {
  const kind = expected === 'record' ? 'object' : expected;
  const noun = kind === 'int' ? 'a whole number' : kind === 'object' || kind === 'array' ? `an ${kind}` : `a ${kind}`;
  return `must be ${noun}${path.length === 0 ? '' : unitOf(path)}; this is ${show(input)}`;
}

function unitOf(path: readonly string[]): string {
  const option = [...RAFT_OPTIONS, ...TUNING_OPTIONS].find((one) => one.name === path.at(-1));
  return option === undefined ? '' : ` (${option.unit})`;
}

function show(input: unknown): string {
  if (typeof input === 'function') return 'a function';
  const text = JSON.stringify(input) ?? String(input);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}
