/**
 * import: a file of rows into the store, pipelined, and resumed where it stopped.
 *
 * A file is read twice: once to check every row and to know it again (size and hash), once to send it. So a mistake
 * in its last line is told before the first write. Stdin is read once and cannot be resumed.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { SingleBar } from 'cli-progress';
import type { Command } from 'commander';
import type { Client } from '../../client/types.ts';
import { StoreError } from '../../core/base/errors.ts';
import { wholeNumber } from './arguments.ts';
import type { Context, Run } from './context.ts';
import { UsageError } from './errors.ts';
import { pumpRows } from './import-pump.ts';
import { type Row, readRows } from './import-rows.ts';
import { type ImportIdentity, readState, removeState, stateFileOf, writeState } from './import-state.ts';

interface ImportFlags {
  readonly prefix: string;
  readonly inFlight: number;
  readonly restart?: boolean;
}

/** How often the state file is written while rows flow. */
const STATE_EVERY_MS = 500;
const IN_FLIGHT_DEFAULT = 256;

export function registerImport(program: Command, run: Run): void {
  program
    .command('import')
    .summary('load rows from NDJSON or a JSON object')
    .description("Loads rows from a file, or from stdin ('-'), many at a time.")
    .argument('<file>', "'-' is stdin, which cannot be resumed")
    .option('--prefix <text>', 'put this before every key', '')
    .option('--in-flight <n>', 'rows under way at once', wholeNumber(1), IN_FLIGHT_DEFAULT)
    .option('--restart', 'begin with the first row, whatever an earlier run has done')
    .addHelpText(
      'after',
      `
The input is one of
  {"key": "flags/a", "value": "on"}        NDJSON, a row a line: a text is stored as it is, other JSON as JSON;
  {"key": "flags/b", "value": {"x": 1}}    also keyBase64, valueBase64, ttlMs: what kvctl scan --json prints
  {"flags/a": {"x": 1}, "flags/b": 2}      one JSON object: each entry's value is stored as JSON

A file is checked whole before the first row is written. An import that was interrupted keeps its place in
FILE.kvctl-import; the same command goes on from there.`,
    )
    .action((file: string, flags: ImportFlags) => run((context) => importFile(context, file, flags)));
}

async function importFile(context: Context, file: string, flags: ImportFlags): Promise<number> {
  const known = file === '-' ? undefined : await inspect(file);
  return context.withClient(
    async (client) => {
      if (known === undefined) return importStdin(context, client, flags);
      const { cluster } = await client.status(context.call);
      const identity = { bytes: known.bytes, sha256: known.sha256, cluster, prefix: flags.prefix };
      if (flags.restart === true) await removeState(file);
      return importKnown(context, client, flags, { file, total: known.rows, identity });
    },
    { inFlightMax: flags.inFlight },
  );
}

/** Reads the file once: every row is one, and this is how to know the file again. */
async function inspect(
  file: string,
): Promise<{ readonly rows: number; readonly bytes: number; readonly sha256: string }> {
  const hash = createHash('sha256');
  let bytes = 0;
  async function* hashed(): AsyncGenerator<Uint8Array> {
    for await (const part of openFile(file)) {
      hash.update(part);
      bytes += part.length;
      yield part;
    }
  }
  let rows = 0;
  for await (const _ of readRows(hashed(), file)) rows++;
  return { rows, bytes, sha256: hash.digest('hex') };
}

async function* openFile(file: string): AsyncGenerator<Uint8Array> {
  try {
    for await (const part of createReadStream(file)) yield part as Uint8Array;
  } catch (cause) {
    throw new UsageError(`cannot read ${file}: ${(cause as Error).message}`);
  }
}

interface KnownInput {
  readonly file: string;
  readonly total: number;
  readonly identity: ImportIdentity;
}

async function importKnown(context: Context, client: Client, flags: ImportFlags, input: KnownInput): Promise<number> {
  const { file, total, identity } = input;
  const skip = Math.min(await readState(file, identity), total);
  if (skip > 0) context.note(`going on after row ${skip}: an earlier run has stored them (--restart begins anew)`);
  const bar = context.deps.stderr.isTTY === true ? progressBar(context) : undefined;
  bar?.start(total, skip, { rate: 0 });
  const startedMs = performance.now();
  let leading = skip;
  let savedAtMs = startedMs;
  let saving: Promise<void> = Promise.resolve();
  let isUnsaved = false;
  /** The import goes on without its place; who may have to begin anew is told so, once. */
  const save = async (rows: number): Promise<void> => {
    try {
      await writeState(file, identity, rows);
    } catch (error) {
      if (!isUnsaved) context.note(`kvctl: cannot keep the place in ${stateFileOf(file)}: ${String(error)}`);
      isUnsaved = true;
    }
  };
  const onProgress = (sent: number, now: number): void => {
    leading = now;
    const nowMs = performance.now();
    bar?.update(skip + sent, { rate: rate(sent, nowMs - startedMs) });
    if (nowMs - savedAtMs < STATE_EVERY_MS) return;
    savedAtMs = nowMs;
    saving = saving.then(() => save(now));
  };
  try {
    const rows = readRows(openFile(file), file);
    const sent = await pumpRows({ ...pumpOptions(context, client, flags), rows, skip, onProgress });
    await saving;
    await removeState(file);
    bar?.stop();
    await report(context, { rows: sent, skipped: skip, ms: performance.now() - startedMs });
    return 0;
  } catch (error) {
    bar?.stop();
    await saving;
    isUnsaved = false;
    await save(leading);
    const next = isUnsaved
      ? 'the same command begins anew'
      : `the same command goes on from there (${stateFileOf(file)})`;
    context.note(`kvctl: ${leading} of ${total} rows are stored; ${next}`);
    throw stopped(context, error);
  }
}

async function importStdin(context: Context, client: Client, flags: ImportFlags): Promise<number> {
  const startedMs = performance.now();
  let leading = 0;
  try {
    const rows = readRows(context.stdin(), 'stdin');
    const onProgress = (_: number, now: number): void => {
      leading = now;
    };
    const sent = await pumpRows({ ...pumpOptions(context, client, flags), rows, skip: 0, onProgress });
    await report(context, { rows: sent, skipped: 0, ms: performance.now() - startedMs });
    return 0;
  } catch (error) {
    context.note(`kvctl: the first ${leading} rows of stdin are stored`);
    throw stopped(context, error);
  }
}

function pumpOptions(context: Context, client: Client, flags: ImportFlags) {
  const prefix = Buffer.from(flags.prefix);
  const { deadlineMs, signal } = context.call;
  return {
    inFlightMax: flags.inFlight,
    signal,
    // No signal on the put: what is under way at a Ctrl-C is waited for, so that its outcome is known.
    put: (row: Row): Promise<unknown> =>
      client.put(Buffer.concat([prefix, row.key]), row.value, {
        deadlineMs,
        ...(row.ttlMs === undefined ? {} : { ttlMs: row.ttlMs }),
      }),
  };
}

const stopped = (context: Context, error: unknown): unknown =>
  context.deps.signal.aborted ? new StoreError('CANCELLED', 'the import was interrupted', { cause: error }) : error;

function progressBar(context: Context): SingleBar {
  return new SingleBar({
    stream: context.deps.stderr,
    format: 'importing {bar} {percentage}% | {value}/{total} rows | {rate} rows/s',
    barCompleteChar: '#',
    barIncompleteChar: '.',
    hideCursor: true,
    fps: 10,
  });
}

const rate = (rows: number, ms: number): number => (ms <= 0 ? 0 : Math.round((rows * 1_000) / ms));

async function report(
  context: Context,
  done: { readonly rows: number; readonly skipped: number; readonly ms: number },
): Promise<void> {
  const seconds = Number((done.ms / 1_000).toFixed(3));
  const rowsPerSecond = rate(done.rows, done.ms);
  if (context.json) await context.out.json({ rows: done.rows, skipped: done.skipped, seconds, rowsPerSecond });
  else {
    const earlier = done.skipped === 0 ? '' : `; ${done.skipped} were stored by an earlier run`;
    await context.out.line(`${done.rows} rows imported in ${seconds.toFixed(2)} s (${rowsPerSecond} rows/s)${earlier}`);
  }
}
