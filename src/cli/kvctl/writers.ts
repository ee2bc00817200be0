/**
 * writer, cookie, limit: who may change rows, what a writer remembers, and how much it may write. A secret comes from a file
 * or the environment: what stands on a command line is seen by everybody on the machine.
 */
import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import type { Control, TableSizeView } from '../../client/control-types.ts';
import type { CallOptions, WriteResult } from '../../client/types.ts';
import { wholeNumber } from './arguments.ts';
import { parseBytes, showBytes } from './bytes.ts';
import { type Context, readStdin, type Run } from './context.ts';
import { parseDuration, showMs } from './duration.ts';
import { UsageError } from './errors.ts';
import { sizeText, standingText } from './sizes.ts';

export interface SecretFlags {
  readonly secretFile?: string;
}

const SECRET_ENV = 'CTLMESH_SECRET';

export const withSecret = (command: Command): Command =>
  command.option('--secret-file <file>', `the writer's secret, without its last line end (else env ${SECRET_ENV})`);

export async function secretOf(context: Context, { secretFile }: SecretFlags): Promise<string> {
  if (secretFile === '-')
    return Buffer.from(await readStdin(context))
      .toString()
      .replace(/\r?\n$/, '');
  if (secretFile !== undefined) {
    try {
      return readFileSync(secretFile, 'utf8').replace(/\r?\n$/, '');
    } catch (cause) {
      throw new UsageError(`cannot read ${secretFile}: ${(cause as Error).message}`);
    }
  }
  const secret = context.deps.env[SECRET_ENV];
  if (secret !== undefined) return secret;
  throw new UsageError(`the secret is wanted: --secret-file FILE, or ${SECRET_ENV}`);
}

/** Makes a change, and prints its revision. */
export async function write(
  context: Context,
  make: (control: Control, call: CallOptions) => Promise<WriteResult>,
): Promise<number> {
  const { revision } = await context.withClient((client) => make(client.control, context.call));
  if (context.json) await context.out.json({ revision });
  else await context.out.line(`revision ${revision}`);
  return 0;
}

export function registerWriters(program: Command, run: Run): void {
  const writer = program.command('writer').description('Who may change rows: list, register, rotate, delete.');
  writer.command('list').action(() => run(listWriters));
  withSecret(writer.command('register').argument('<name>')).action((name: string, flags: SecretFlags) =>
    run(async (context) => {
      const secret = await secretOf(context, flags);
      return write(context, (control, call) => control.registerWriter(name, secret, call));
    }),
  );
  withSecret(writer.command('rotate').description('Gives a writer another secret.').argument('<name>')).action(
    (name: string, flags: SecretFlags) =>
      run(async (context) => {
        const secret = await secretOf(context, flags);
        return write(context, (control, call) => control.rotateWriter(name, secret, call));
      }),
  );
  writer
    .command('delete')
    .argument('<name>')
    .action((name: string) => run((context) => write(context, (control, call) => control.deleteWriter(name, call))));
  registerCookie(program, run);
  registerLimit(program, run);
}

async function listWriters(context: Context): Promise<number> {
  const writers = await context.withClient((client) => client.control.writers(context.call));
  for (const { name, created, limit } of writers) {
    if (context.json) await context.out.json({ name, created, limit });
    else await context.out.line(limit === null ? name : `${name}\t${limit.rows} rows in ${showMs(limit.periodMs)}`);
  }
  return 0;
}

function registerCookie(program: Command, run: Run): void {
  const cookie = program.command('cookie').description('What a writer remembered with its rows: get, set.');
  withSecret(cookie.command('get').argument('<writer>')).action((name: string, flags: SecretFlags) =>
    run(async (context) => {
      const secret = await secretOf(context, flags);
      const bytes = await context.withClient((client) => client.control.cookie(name, secret, context.call));
      if (context.json) await context.out.json({ writer: name, cookieBase64: Buffer.from(bytes).toString('base64') });
      else await context.out.bytes(bytes);
      return 0;
    }),
  );
  withSecret(cookie.command('set').argument('<writer>').argument('<value>')).action(
    (name: string, value: string, flags: SecretFlags) =>
      run(async (context) => {
        const secret = await secretOf(context, flags);
        return write(context, (control, call) => control.setCookie(name, secret, value, call));
      }),
  );
}

function registerLimit(program: Command, run: Run): void {
  const limit = program.command('limit').description('How much writers and tables may hold: list, writer, table.');
  limit.command('list').action(() => run(listLimits));
  limit
    .command('writer')
    .description('So many rows in each period; without --rows, no limit of its own.')
    .argument('[name]', 'default: all writers that have none of their own')
    .option('--rows <n>', 'rows in each period', wholeNumber(0))
    .option('--per <duration>', 'the period', parseDuration, 60_000)
    .action((name: string | undefined, { rows, per }: { readonly rows?: number; readonly per: number }) =>
      run((context) => {
        const wanted = rows === undefined ? undefined : { rows, periodMs: per };
        return write(context, (control, call) => control.limitWriter(name, wanted, call));
      }),
    );
  limit
    .command('table')
    .description('So many bytes of live keys and values; without --max, no limit of its own.')
    .argument('[family]', 'default: all tables that have none of their own')
    .argument('[table]')
    .option('--max <bytes>', 'past it, nothing is added: 100MiB', parseBytes)
    .option('--warn <bytes>', 'for watchers; default: half of --max', parseBytes)
    .action((family: string | undefined, table: string | undefined, flags: { max?: number; warn?: number }) =>
      run((context) => limitTable(context, family, table, flags)),
    );
}

function limitTable(
  context: Context,
  family: string | undefined,
  table: string | undefined,
  { max, warn }: { readonly max?: number; readonly warn?: number },
): Promise<number> {
  if (family !== undefined && table === undefined) throw new UsageError('name the family and the table, or neither');
  const named = family === undefined || table === undefined ? undefined : { family, table };
  const limit = max === undefined ? undefined : { maxBytes: max, warnBytes: warn ?? Math.max(1, Math.floor(max / 2)) };
  return write(context, (control, call) => control.limitTable(named, limit, call));
}

async function listLimits(context: Context): Promise<number> {
  const [limits, sizes] = await context.withClient(({ control }) =>
    Promise.all([control.limits(context.call), control.tableSizes(context.call)]),
  );
  if (context.json) {
    await context.out.json({ ...limits, sizes });
    return 0;
  }
  const { defaults, writers, tables } = limits;
  const rate = (limit: { readonly rows: number; readonly periodMs: number } | null): string =>
    limit === null ? 'no limit' : `${limit.rows} rows in ${showMs(limit.periodMs)}`;
  const size = (limit: { readonly warnBytes: number; readonly maxBytes: number } | null): string =>
    limit === null ? 'no limit' : `${showBytes(limit.maxBytes)} (warn ${showBytes(limit.warnBytes)})`;
  await context.out.line(`writers\t${rate(defaults.writers)}`);
  await context.out.line(`tables\t${size(defaults.tables)}`);
  for (const { name, limit } of writers) await context.out.line(`writer ${name}\t${rate(limit)}`);
  for (const { family, table, limit } of tables) {
    const held = sizes.find((one) => one.family === family && one.table === table);
    await context.out.line(
      `table ${family}.${table}\t${size(limit)}${held === undefined ? '' : `\t${sizeText(held)}`}`,
    );
  }
  const isShown = (held: TableSizeView): boolean =>
    tables.some(({ family, table }) => family === held.family && table === held.table);
  for (const held of sizes.filter((one) => standingText(one) !== '' && !isShown(one))) {
    await context.out.line(`table ${held.family}.${held.table}\t${size(held.limit)}\t${sizeText(held)}`);
  }
  return 0;
}
