/**
 * family, table, schema, row: families of tables with typed rows, made, shown and read.
 */
import type { Command } from 'commander';
import type { Row, TableView } from '../../client/control-types.ts';
import { StoreError } from '../../core/base/errors.ts';
import { wholeNumber } from './arguments.ts';
import { keyOf, plainRow, rowJson } from './control-values.ts';
import type { Context, Run } from './context.ts';
import { UsageError } from './errors.ts';
import { sizeText } from './sizes.ts';
import { write } from './writers.ts';

interface FieldFlags {
  readonly field: readonly string[];
  readonly key?: readonly string[];
}

export function registerTables(program: Command, run: Run): void {
  const family = program.command('family').description('Families of tables: list, create, clear.');
  family.command('list').action(() => run(listFamilies));
  family
    .command('create')
    .argument('<family>')
    .action((name: string) => run((context) => write(context, (control, call) => control.createFamily(name, call))));
  family
    .command('clear')
    .description('Removes all rows of all its tables (where destructiveSchemaChanges is on).')
    .argument('<family>')
    .action((name: string) => run((context) => write(context, (control, call) => control.clearFamily(name, call))));

  const table = program.command('table').description('Tables: list, create, add-fields, clear, drop.');
  table
    .command('list')
    .argument('[family]')
    .action((name?: string) => run((context) => listTables(context, name)));
  table
    .command('create')
    .argument('<family>')
    .argument('<table>')
    .requiredOption('--field <name:type...>', 'string, integer, decimal, text, binary or bytestring')
    .requiredOption('--key <field...>', 'the primary key, in its order')
    .action((of: string, name: string, { field, key = [] }: FieldFlags) =>
      run((context) =>
        write(context, (control, call) => control.createTable(of, name, { fields: fieldsOf(field), key }, call)),
      ),
    );
  table
    .command('add-fields')
    .argument('<family>')
    .argument('<table>')
    .requiredOption('--field <name:type...>', 'null in the rows that are there')
    .action((of: string, name: string, { field }: FieldFlags) =>
      run((context) => write(context, (control, call) => control.addFields(of, name, fieldsOf(field), call))),
    );
  for (const verb of ['clear', 'drop'] as const) {
    table
      .command(verb)
      .description(
        `${verb === 'clear' ? 'Removes all rows' : 'Removes the table'} (where destructiveSchemaChanges is on).`,
      )
      .argument('<family>')
      .argument('<table>')
      .action((of: string, name: string) =>
        run((context) =>
          write(context, (control, call) =>
            verb === 'clear' ? control.clearTable(of, name, call) : control.dropTable(of, name, call),
          ),
        ),
      );
  }
  program
    .command('schema')
    .description('The fields of a table, and its primary key.')
    .argument('<family>')
    .argument('<table>')
    .action((of: string, name: string) => run((context) => showSchema(context, of, name)));
  registerRow(program, run);
}

function registerRow(program: Command, run: Run): void {
  const row = program
    .command('row')
    .description('Rows, as JSON: get, list. Key values in the order of the primary key; 0x… for bytes.');
  row
    .command('get')
    .argument('<family>')
    .argument('<table>')
    .argument('<key...>')
    .action((of: string, name: string, key: string[]) => run((context) => getRow(context, of, name, key)));
  row
    .command('list')
    .argument('<family>')
    .argument('<table>')
    .argument('[key...]', 'values of the leading key fields')
    .option('--limit <n>', 'so many rows at the most', wholeNumber(1))
    .action((of: string, name: string, key: string[], { limit }: { readonly limit?: number }) =>
      run((context) => listRows(context, of, name, { key, limit })),
    );
}

function fieldsOf(words: readonly string[]): [name: string, type: string][] {
  return words.map((word) => {
    const [name, type, more] = word.split(':');
    if (name === undefined || type === undefined || more !== undefined)
      throw new UsageError(`--field is name:type, not '${word}'`);
    return [name, type];
  });
}

async function listFamilies(context: Context): Promise<number> {
  for (const family of await context.withClient((client) => client.control.families(context.call))) {
    if (context.json) await context.out.json({ family });
    else await context.out.line(family);
  }
  return 0;
}

async function listTables(context: Context, family: string | undefined): Promise<number> {
  const [tables, sizes] = await context.withClient(({ control }) =>
    Promise.all([control.tables(family, context.call), control.tableSizes(context.call)]),
  );
  for (const view of tables) {
    const size = sizes.find((one) => one.family === view.family && one.table === view.table);
    if (context.json) await context.out.json({ ...view, ...size });
    else await context.out.line(`${view.family} ${view.table}${size === undefined ? '' : `\t${sizeText(size)}`}`);
  }
  return 0;
}

async function showSchema(context: Context, family: string, table: string): Promise<number> {
  const view = await context.withClient((client) => client.control.schema(family, table, context.call));
  if (view === undefined) throw noTable(family, table);
  if (context.json) await context.out.json(view);
  else await context.out.line(schemaText(view));
  return 0;
}

const schemaText = ({ fields, key }: TableView): string =>
  [...fields.map(({ name, type }) => `${name}\t${type}`), `primary key\t${key.join(', ')}`].join('\n');

async function getRow(context: Context, family: string, table: string, words: readonly string[]): Promise<number> {
  const row = await context.withClient(async ({ control }) => {
    const view = await control.schema(family, table, context.call);
    if (view === undefined) throw noTable(family, table);
    return control.getRow(family, table, keyOf(words, view), context.call);
  });
  if (row === undefined) {
    context.note(`kvctl: no such row: ${words.join(' ')}`);
    return 1;
  }
  await printRow(context, row);
  return 0;
}

async function listRows(
  context: Context,
  family: string,
  table: string,
  { key, limit }: { readonly key: readonly string[]; readonly limit: number | undefined },
): Promise<number> {
  await context.withClient(async ({ control }) => {
    const view = await control.schema(family, table, context.call);
    if (view === undefined) throw noTable(family, table);
    const options = limit === undefined ? {} : { limit };
    const { signal } = context.call;
    for await (const row of control.rows(family, table, keyOf(key, view), { signal, ...options }))
      await printRow(context, row);
  });
  return 0;
}

const printRow = (context: Context, row: Row): Promise<void> => context.out.line(rowJson(plainRow(row)));

const noTable = (family: string, table: string): StoreError =>
  new StoreError('NOT_FOUND', `no such table: ${family} ${table}`, { data: { family, table } });
