/**
 * The sidecar's routes: a replica over HTTP, for programs of the host in other languages. Paths, bodies and answers are
 * those of ctlstore's sidecar, so that its clients go on working.
 *
 * Where ctlstore says 500 to everything, a question that is wrong is 400 here, with its code in `ctlmesh-code`; a table that
 * is not there is 404 without the header that a missing row has.
 */
import { z } from 'zod';
import { StoreError } from '../core/base/errors.ts';
import type { GivenValue } from '../core/model/control/value.ts';
import type { LdbReader } from '../engine/ldb/reader.ts';
import { bytesOfBase64, jsonRow, parseJson, stringifyJson } from '../net/http/json.ts';
import type { Answer, Call, Route } from '../net/http/route.ts';

export interface SidecarWorld {
  /** Throws UNAVAILABLE while there is no replica. */
  readonly ldb: () => LdbReader;
  /** Rows of one answer; 0: all. */
  readonly rowsMax: number;
}

const JSON_TYPE = 'application/json; charset=utf-8';
/** Rows are sent in pieces of about this many characters. */
const PIECE_CHARS = 64 * 1024;

const keyValue = z.union([
  z.strictObject({ value: z.union([z.string(), z.number(), z.bigint(), z.boolean(), z.null()]) }),
  z.strictObject({ binary: z.string() }),
]);
const question = z.strictObject({ key: z.array(keyValue).default([]) });

const row = z.record(z.string(), z.unknown());

export function sidecarRoutes(world: SidecarWorld): Route[] {
  const body = { kind: 'json', schema: question } as const;
  const ask = { method: 'POST', group: 'Rows', body } as const;
  return [
    {
      ...ask,
      path: '/get-row-by-key/{family}/{table}',
      summary:
        'The row with this primary key, all of its fields in order; 404 with X-Ctlstore: Not Found when there is none',
      answer: { kind: 'json', schema: row },
      errors: ['BAD_REQUEST', 'NOT_FOUND', 'UNAVAILABLE'],
      handle: (call) => rowByKey(world, call),
    },
    {
      ...ask,
      path: '/get-rows-by-key-prefix/{family}/{table}',
      summary: 'The rows whose first key fields are these; 416 when they are more than this sidecar gives at once',
      answer: { kind: 'json', schema: z.array(row) },
      errors: ['BAD_REQUEST', 'NOT_FOUND', 'UNAVAILABLE'],
      handle: (call) => rowsByKeyPrefix(world, call),
    },
    {
      method: 'GET',
      path: '/get-ledger-latency',
      group: 'Health',
      summary: 'The age of the replica; 500 when it was never filled',
      answer: { kind: 'json', schema: z.object({ value: z.number(), unit: z.literal('seconds') }) },
      errors: [],
      handle: () => latency(world, (ms) => json({ value: ms / 1000, unit: 'seconds' })),
    },
    ...(['/healthcheck', '/ping'] as const).map(
      (path): Route => ({
        method: 'GET',
        path,
        group: 'Health',
        summary: '200 once the replica was filled, else 500',
        answer: { kind: 'empty' },
        errors: [],
        isProbe: true,
        handle: () => latency(world, () => ({})),
      }),
    ),
  ];
}

function rowByKey({ ldb }: SidecarWorld, call: Call): Answer {
  const { family, table, key } = questionOf(call);
  const found = ldb().getRowByKey(family, table, key);
  return found === undefined ? { status: 404, headers: { 'x-ctlstore': 'Not Found' } } : json(jsonRow(found));
}

function rowsByKeyPrefix({ ldb, rowsMax }: SidecarWorld, call: Call): Answer {
  const { family, table, key } = questionOf(call);
  const rows = ldb().getRowsByKeyPrefix(family, table, key);
  if (rowsMax === 0) return { contentType: JSON_TYPE, body: pieces(rows) };
  const taken: Record<string, unknown>[] = [];
  for (const one of rows) {
    // Not the first part of them as if it were all.
    if (taken.length === rowsMax) return { status: 416 };
    taken.push(jsonRow(one));
  }
  return json(taken);
}

/** A JSON array as long as it likes; the reader's state is let go of when its client stands still (`LdbReader.range`). */
async function* pieces(rows: Iterable<Readonly<Record<string, unknown>>>): AsyncGenerator<string> {
  let piece = '[';
  let separator = '';
  for (const one of rows) {
    piece += separator + stringifyJson(jsonRow(one));
    separator = ',';
    if (piece.length < PIECE_CHARS) continue;
    yield piece;
    piece = '';
  }
  yield `${piece}]`;
}

function latency({ ldb }: SidecarWorld, answer: (lagMs: number) => Answer): Answer {
  const lagMs = ldb().lagMs();
  if (Number.isFinite(lagMs)) return answer(lagMs);
  const message = 'no ledger updates have been received yet';
  return { status: 500, contentType: 'text/plain; charset=utf-8', body: message };
}

const json = (value: unknown): Answer => ({ contentType: JSON_TYPE, body: stringifyJson(value) });

interface Question {
  readonly family: string;
  readonly table: string;
  readonly key: readonly GivenValue[];
}

function questionOf({ params, body }: Call): Question {
  const { family = '', table = '' } = params;
  const parsed = question.safeParse(lowerNames(body.length === 0 ? {} : parseJson(body)));
  if (!parsed.success) {
    throw new StoreError('BAD_REQUEST', 'a question is {"Key":[{"Value":…} or {"Binary":"base64"}, …]}');
  }
  const key = parsed.data.key.map((one) =>
    'binary' in one ? bytesOfBase64(one.binary, 'a Binary of the key') : one.value,
  );
  return { family, table, key };
}

/** `Key`, `key` and `KEY` are one name, down to the values. */
function lowerNames(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(lowerNames);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name.toLowerCase(), lowerNames(one)]));
}
