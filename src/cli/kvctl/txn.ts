/** txn: conditions and operations from a script, all or nothing. */
import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import type { TxnBuilder, TxnOpResult, TxnResult } from '../../client/types.ts';
import { unreachable } from '../../core/base/assert.ts';
import { type Context, type Run, readStdin } from './context.ts';
import { UsageError } from './errors.ts';
import { entryJson, visible } from './output.ts';
import { type Condition, type Operation, parseTxn, TXN_HELP, type TxnScript } from './txn-script.ts';

export function registerTxn(program: Command, run: Run): void {
  program
    .command('txn')
    .summary('run a transaction from a script')
    .description('Runs one atomic transaction, read from a file or from stdin.')
    .argument('[file]', "the script; '-' is stdin", '-')
    .addHelpText('after', TXN_HELP)
    .action((file: string) => run((context) => txn(context, file)));
}

async function txn(context: Context, file: string): Promise<number> {
  const script = parseTxn(await readScript(context, file));
  const result = await context.withClient((client) => client.txn((t) => build(t, script), context.call));
  await print(context, script, result);
  return result.succeeded ? 0 : 1;
}

async function readScript(context: Context, file: string): Promise<string> {
  if (file === '-') {
    if (context.deps.stdin.isTTY === true) context.note('reading the transaction from the terminal; Ctrl-D ends it');
    return new TextDecoder().decode(await readStdin(context));
  }
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    throw new UsageError(`cannot read ${file}: ${(cause as Error).message}`);
  }
}

function build(t: TxnBuilder, script: TxnScript): void {
  for (const condition of script.conditions) addCondition(t, condition);
  for (const operation of script.main) addOperation(t, operation);
  if (script.otherwise.length === 0) return;
  t.else();
  for (const operation of script.otherwise) addOperation(t, operation);
}

function addCondition(t: TxnBuilder, condition: Condition): void {
  switch (condition.kind) {
    case 'revision':
      t.ifRevision(condition.key, condition.revision);
      return;
    case 'exists':
      t.ifExists(condition.key);
      return;
    case 'absent':
      t.ifAbsent(condition.key);
      return;
    case 'value':
      t.ifValue(condition.key, condition.value);
      return;
    default:
      unreachable(condition);
  }
}

function addOperation(t: TxnBuilder, operation: Operation): void {
  switch (operation.kind) {
    case 'put':
      t.put(operation.key, operation.value, operation.ttlMs === undefined ? {} : { ttlMs: operation.ttlMs });
      return;
    case 'delete':
      t.delete(operation.key);
      return;
    case 'get':
      t.get(operation.key);
      return;
    default:
      unreachable(operation);
  }
}

async function print(context: Context, script: TxnScript, result: TxnResult): Promise<void> {
  const branch = result.succeeded ? script.main : script.otherwise;
  if (context.json) {
    const results = result.results.map((one, i) => resultJson(branch[i], one));
    await context.out.json({ succeeded: result.succeeded, revision: result.revision, results });
    return;
  }
  const verdict = result.succeeded ? 'succeeded' : 'conditions did not hold';
  await context.out.line(`${verdict} (revision ${result.revision})`);
  for (const [i, one] of result.results.entries())
    await context.out.line(`${one.kind} ${branch[i]?.key ?? ''}${outcome(one)}`);
}

function outcome(result: TxnOpResult): string {
  if (result.kind === 'put') return '';
  if (result.kind === 'delete') return result.found ? '' : ': no such key';
  return result.entry === undefined ? ': no such key' : `\t${visible(result.entry.value)}`;
}

function resultJson(operation: Operation | undefined, result: TxnOpResult): Record<string, unknown> {
  const key = operation?.key;
  if (result.kind !== 'get') return { key, ...result };
  return { key, kind: result.kind, entry: result.entry === undefined ? null : entryJson(result.entry) };
}
