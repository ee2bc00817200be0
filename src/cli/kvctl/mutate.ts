/**
 * mutate: rows of tables from NDJSON, in batches, in order. A batch is all or nothing; the command stops at the first that
 * is refused and says which line it was, and what was written before it stays.
 */
import { createReadStream } from 'node:fs';
import { SingleBar } from 'cli-progress';
import type { Command } from 'commander';
import type { Mutation, MutateRequest } from '../../client/control-types.ts';
import type { Client } from '../../client/types.ts';
import { isStoreError, StoreError } from '../../core/base/errors.ts';
import { wholeNumber } from './arguments.ts';
import { asValues, parseExact } from './control-values.ts';
import type { Context, Run } from './context.ts';
import { UsageError } from './errors.ts';
import { secretOf, type SecretFlags, withSecret } from './writers.ts';
import { type VisibleFlags, visibleOf, visibleOptions } from './visible.ts';

interface MutateFlags extends SecretFlags, VisibleFlags {
  readonly family: string;
  readonly writer: string;
  readonly batch: number;
}

interface Line {
  readonly mutation: Mutation;
  readonly number: number;
}

const BATCH_DEFAULT = 100;
/** A batch ends early at this much of its input: a line is at most a row. */
const BATCH_CHARS_MAX = 2 * 1024 * 1024;
const LINE_CHARS_MAX = 4 * 1024 * 1024;

export function registerMutate(program: Command, run: Run): void {
  const mutate = program
    .command('mutate')
    .summary('write rows of tables from NDJSON')
    .description("Writes, changes and deletes rows of a family's tables, from a file or from stdin ('-').")
    .argument('<file>', "'-' is stdin")
    .requiredOption('--family <name>', 'the family of the tables')
    .requiredOption('--writer <name>', 'who writes')
    .option('--batch <n>', 'rows that change together, at most 1000', wholeNumber(1), BATCH_DEFAULT)
    .addHelpText(
      'after',
      `
A line is one of
  {"table": "plans", "upsert": {"id": "pro", "seats": 5}}      the whole row
  {"table": "plans", "patch": {"id": "pro", "seats": 6}}       the key and what changes
  {"table": "plans", "delete": {"id": "old"}}                  the key
  {"table": "plans", "values": {...}, "delete": false}         as ctlstore has it
Bytes are base64. Whole numbers are exact, all 64 bits of them, with quotes or without.`,
    );
  visibleOptions(withSecret(mutate)).action((file: string, flags: MutateFlags) =>
    run((context) => mutateFrom(context, file, flags)),
  );
}

async function mutateFrom(context: Context, file: string, flags: MutateFlags): Promise<number> {
  const secret = await secretOf(context, flags);
  const bar = context.deps.stderr.isTTY === true ? progressBar(context) : undefined;
  const beganMs = performance.now();
  const { visible } = visibleOf(flags);
  let rows = 0;
  let newest = 0;
  bar?.start(0, 0);
  try {
    await context.withClient(async (client) => {
      for await (const lines of batches(context, file, flags.batch)) {
        const { family, writer } = flags;
        newest = await send(context, client, lines, {
          family,
          writer,
          secret,
          base64: true,
          mutations: lines.map(({ mutation }) => mutation),
        });
        rows += lines.length;
        bar?.update(rows);
      }
      if (visible !== undefined) await client.fleet.visible(newest, visible, { signal: context.deps.signal });
    });
  } finally {
    bar?.stop();
    const seconds = (performance.now() - beganMs) / 1000;
    if (!context.json) context.note(`${rows} ${rows === 1 ? 'mutation' : 'mutations'} in ${seconds.toFixed(2)} s`);
  }
  if (context.json) await context.out.json({ mutations: rows });
  return 0;
}

function progressBar(context: Context): SingleBar {
  return new SingleBar({
    stream: context.deps.stderr,
    format: '{value} mutations | {duration_formatted}',
    fps: 10,
    hideCursor: true,
  });
}

/** The revision of the batch. */
async function send(context: Context, client: Client, lines: readonly Line[], request: MutateRequest): Promise<number> {
  try {
    const { revision } = await client.control.mutate(request, context.call);
    return revision;
  } catch (error) {
    if (!isStoreError(error)) throw error;
    const { mutation } = error.data;
    const line = typeof mutation === 'number' ? lines[mutation]?.number : undefined;
    const [first, last] = [lines[0]?.number, lines.at(-1)?.number];
    const where = line === undefined && first !== last ? `lines ${first} to ${last}` : `line ${line ?? first}`;
    throw new StoreError(error.code, `${where}: ${error.message}`, { cause: error, data: error.data });
  }
}

async function* batches(context: Context, file: string, size: number): AsyncGenerator<Line[]> {
  let lines: Line[] = [];
  let chars = 0;
  for await (const { text, number } of readLines(context, file)) {
    if (text.trim() === '') continue;
    if (lines.length > 0 && (lines.length >= size || chars + text.length > BATCH_CHARS_MAX)) {
      yield lines;
      lines = [];
      chars = 0;
    }
    lines.push({ mutation: parseLine(text, number), number });
    chars += text.length;
  }
  if (lines.length > 0) yield lines;
}

async function* readLines(
  context: Context,
  file: string,
): AsyncGenerator<{ readonly text: string; readonly number: number }> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  const parts: AsyncIterable<Uint8Array | string> = file === '-' ? context.stdin() : openFile(file);
  let rest = '';
  let number = 0;
  for await (const part of parts) {
    const lines = (rest + (typeof part === 'string' ? part : decoder.decode(part, { stream: true }))).split('\n');
    rest = lines.pop() ?? '';
    for (const text of lines) yield { text, number: ++number };
    if (rest.length > LINE_CHARS_MAX)
      throw new UsageError(`line ${number + 1} has more than ${LINE_CHARS_MAX} characters`);
  }
  rest += decoder.decode();
  if (rest !== '') yield { text: rest, number: number + 1 };
}

async function* openFile(file: string): AsyncGenerator<Uint8Array> {
  try {
    yield* createReadStream(file) as AsyncIterable<Uint8Array>;
  } catch (cause) {
    throw new UsageError(`cannot read ${file}: ${(cause as Error).message}`);
  }
}

function parseLine(text: string, number: number): Mutation {
  const given = lineOf(text, number);
  const { table } = given;
  if (typeof table !== 'string') throw new UsageError(`line ${number}: "table" is missing`);
  const isOld = given['values'] !== undefined;
  const op = isOld ? (given['delete'] === true ? 'delete' : 'upsert') : OPS.find((name) => given[name] !== undefined);
  const values = op === undefined ? undefined : asValues(given[isOld ? 'values' : op]);
  if (op === 'upsert' && values !== undefined) return { table, upsert: values };
  if (op === 'patch' && values !== undefined) return { table, patch: values };
  if (op === 'delete' && values !== undefined) return { table, delete: values };
  throw new UsageError(`line ${number}: "upsert", "patch" or "delete" is an object of plain values`);
}

const OPS = ['upsert', 'patch', 'delete'] as const;

function lineOf(text: string, number: number): Readonly<Record<string, unknown>> {
  try {
    const given = parseExact(text);
    if (typeof given === 'object' && given !== null) return given as Readonly<Record<string, unknown>>;
  } catch (cause) {
    throw new UsageError(`line ${number} is no JSON: ${(cause as Error).message}`);
  }
  throw new UsageError(`line ${number} is no object`);
}
