/** put, get, del, scan: one key, or keys in order. */
import type { Command } from 'commander';
import type { Entry, GetOptions, RangeOptions } from '../../client/types.ts';
import { wholeNumber } from './arguments.ts';
import { type Context, type Run, readStdin } from './context.ts';
import { parseDuration } from './duration.ts';
import { UsageError } from './errors.ts';
import { entryJson, entryLine } from './output.ts';
import { type VisibleFlags, visibleOf, visibleOptions } from './visible.ts';

export interface ScanFlags {
  readonly from?: string;
  readonly to?: string;
  readonly limit?: number;
  readonly reverse?: boolean;
  readonly keysOnly?: boolean;
}

interface PutFlags extends VisibleFlags {
  readonly ttl?: number;
}

interface ReadFlags {
  readonly local?: boolean;
}

export function registerData(program: Command, run: Run): void {
  visibleOptions(program.command('put'))
    .summary('write a value')
    .description("Writes a value; '-' reads it from stdin. A value that begins with '-': kvctl put -- KEY -5")
    .argument('<key>')
    .argument('<value>')
    .option('--ttl <duration>', 'let it expire after this long, like 60s or 2h', parseDuration)
    .action((key: string, value: string, flags: PutFlags) => run((context) => put(context, key, value, flags)));
  program
    .command('get')
    .summary('read a value')
    .description('Prints the value and a line end. Exit code 1 when there is no such key.')
    .argument('<key>')
    .option('--local', 'what the connected node has now; also answers without a quorum')
    .option('--raw', "exactly the value's bytes, without the line end")
    .action((key: string, flags: ReadFlags & { raw?: boolean }) => run((context) => get(context, key, flags)));
  program
    .command('del')
    .summary('delete a key')
    .description('Deletes a key. Exit code 1 when there was no such key.')
    .argument('<key>')
    .action((key: string) => run((context) => del(context, key)));
  scanOptions(program.command('scan'))
    .summary('list keys and values in key order')
    .description('Lists key, tab, value in key order, as of one revision. With --json: a JSON object a line.')
    .option('--local', 'what the connected node has now; also answers without a quorum')
    .action((prefix: string | undefined, flags: ScanFlags & ReadFlags) =>
      run((context) => scan(context, prefix, flags)),
    );
}

/** What every listing takes, from a node or from an LDB. */
export function scanOptions(command: Command): Command {
  return command
    .argument('[prefix]', 'only keys that begin with this')
    .option('--from <key>', 'first key, inclusive')
    .option('--to <key>', 'end, exclusive')
    .option('--limit <n>', 'at most this many', wholeNumber(1))
    .option('--reverse', 'from the last key to the first')
    .option('--keys-only', 'without the values');
}

export function rangeOptions(
  prefix: string | undefined,
  flags: ScanFlags,
): RangeOptions & { prefix?: string; from?: string; to?: string } {
  if (prefix !== undefined && (flags.from !== undefined || flags.to !== undefined)) {
    throw new UsageError('a prefix and --from/--to exclude each other');
  }
  return {
    ...(prefix === undefined ? {} : { prefix }),
    ...(flags.from === undefined ? {} : { from: flags.from }),
    ...(flags.to === undefined ? {} : { to: flags.to }),
    ...(flags.limit === undefined ? {} : { limit: flags.limit }),
    ...(flags.reverse === undefined ? {} : { reverse: flags.reverse }),
  };
}

export async function printEntry(
  context: Context,
  key: string,
  entry: Entry | undefined,
  raw = false,
): Promise<number> {
  if (entry === undefined) {
    context.note(`kvctl: no such key: ${key}`);
    return 1;
  }
  if (context.json) await context.out.json(entryJson(entry));
  else {
    await context.out.bytes(entry.value);
    if (!raw) await context.out.bytes('\n');
  }
  return 0;
}

export async function printEntries(
  context: Context,
  entries: AsyncIterable<Entry> | Iterable<Entry>,
  keysOnly = false,
): Promise<number> {
  for await (const entry of entries) {
    if (context.json) await context.out.json(entryJson(entry, keysOnly));
    else await context.out.line(entryLine(entry, keysOnly));
  }
  return 0;
}

async function put(context: Context, key: string, given: string, flags: PutFlags): Promise<number> {
  const value = given === '-' ? await readStdin(context) : given;
  const { ttl: ttlMs } = flags;
  const options = { ...context.call, ...visibleOf(flags), ...(ttlMs === undefined ? {} : { ttlMs }) };
  const { revision, visibility } = await context.withClient((client) => client.put(key, value, options));
  if (context.json) await context.out.json({ key, revision, ...visibility });
  else {
    const shown = visibility === undefined ? '' : `, shown by ${visibility.showing} of ${visibility.replicas}`;
    await context.out.line(`revision ${revision}${shown}`);
  }
  return 0;
}

async function get(context: Context, key: string, flags: ReadFlags & { readonly raw?: boolean }): Promise<number> {
  const entry = await context.withClient((client) => client.get(key, readOptions(context, flags)));
  return printEntry(context, key, entry, flags.raw);
}

async function del(context: Context, key: string): Promise<number> {
  const { revision, found } = await context.withClient((client) => client.delete(key, context.call));
  if (context.json) await context.out.json({ key, found, revision });
  else if (found) await context.out.line(`revision ${revision}`);
  if (!found) context.note(`kvctl: no such key: ${key}`);
  return found ? 0 : 1;
}

async function scan(context: Context, prefix: string | undefined, flags: ScanFlags & ReadFlags): Promise<number> {
  const options = { ...rangeOptions(prefix, flags), ...readOptions(context, flags) };
  return context.withClient((client) => printEntries(context, client.range(options), flags.keysOnly));
}

function readOptions(context: Context, flags: ReadFlags): GetOptions {
  return { ...context.call, consistency: flags.local === true ? 'local' : 'linearizable' };
}
