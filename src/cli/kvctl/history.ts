/** history check: can what clients of a store saw be? The checkers of ctlmesh/testing, on a file. */
import { createReadStream, statSync } from 'node:fs';
import type { Command } from 'commander';
import { Option } from 'commander';
import { isStoreError } from '../../core/base/errors.ts';
import type {
  History,
  Isolation,
  LinearizabilityResult,
  LinearizabilityViolation,
  ListAppendResult,
  Operation,
} from '../../testing/index.ts';
import { wholeNumber } from './arguments.ts';
import type { Context, Run } from './context.ts';
import { UsageError } from './errors.ts';
import { progress } from './progress.ts';

interface CheckFlags {
  readonly model: 'register' | 'list-append';
  readonly isolation: Isolation;
  readonly configurations?: number;
}

const ANOMALIES_SHOWN_MAX = 10;

export function registerHistory(program: Command, run: Run): void {
  program
    .command('history')
    .description('Judges histories: what clients asked of a store, and what they were told.')
    .command('check')
    .summary('whether a history can be explained')
    .description('Looks for an order of the operations that explains what was seen. Exit code 1 if there is none.')
    .argument('<file>', 'a history: one JSON event a line (docs/testing.md)')
    .addOption(
      new Option('--model <model>', 'register: linearizability; list-append: cycles of transactions')
        .choices(['register', 'list-append'])
        .default('register'),
    )
    .addOption(
      new Option('--isolation <level>', 'of list-append: what is promised')
        .choices(['serializable', 'session-serializable', 'strict-serializable'])
        .default('strict-serializable'),
    )
    .option('--configurations <count>', 'of register: give up a group of keys after this many', wholeNumber(1))
    .addHelpText(
      'after',
      `
Exit codes: 0 it can; 1 it cannot, or the search was given up (the verdict is then "unknown"); 2 it is no history.

Examples:
  kvctl history check history.jsonl
  kvctl history check txns.jsonl --model list-append --json`,
    )
    .action((file: string, flags: CheckFlags) => run((context) => runCheck(context, file, flags)));
}

async function runCheck(context: Context, file: string, flags: CheckFlags): Promise<number> {
  const startedMs = performance.now();
  const history = await readHistory(context, file);
  const readMs = performance.now() - startedMs;
  const result = await check(context, file, history, flags);
  const ms = Math.round(performance.now() - startedMs);
  if (context.json) {
    await context.out.json({ ...json(result), events: history.events, ms, readMs: Math.round(readMs) });
  } else {
    await tell(context, result, ms);
  }
  return result.verdict === 'ok' ? 0 : 1;
}

async function readHistory(context: Context, file: string): Promise<History> {
  const { HistoryParser } = await import('../../testing/index.ts');
  const parser = new HistoryParser();
  const bar = progress(context, 'reading');
  try {
    const { size } = statSync(file);
    let done = 0;
    const stream = createReadStream(file, { encoding: 'utf8' });
    for await (const text of stream as AsyncIterable<string>) {
      parser.push(text);
      done += Buffer.byteLength(text);
      await bar.step(done, Math.max(size, done));
    }
    return parser.end();
  } catch (error) {
    throw badFile(file, error);
  } finally {
    bar.stop();
  }
}

/** What is wrong with the file is the user's to mend: exit 2. */
function badFile(file: string, error: unknown): unknown {
  if (isStoreError(error, 'BAD_REQUEST')) return new UsageError(`${file}: ${error.message}`);
  if (isStoreError(error)) return error;
  if (error instanceof Error && 'syscall' in error) return new UsageError(`cannot read ${file}: ${error.message}`);
  return error;
}

async function check(
  context: Context,
  file: string,
  history: History,
  flags: CheckFlags,
): Promise<LinearizabilityResult | ListAppendResult> {
  const { checkListAppend, linearizabilitySteps } = await import('../../testing/index.ts');
  if (flags.model === 'list-append') {
    try {
      return checkListAppend(history, { isolation: flags.isolation });
    } catch (error) {
      throw badFile(file, error);
    }
  }
  const { configurations } = flags;
  const steps = linearizabilitySteps(history, configurations === undefined ? {} : { budget: { configurations } });
  // The bar counts bytes, so what is checked is shown as its share of the file.
  const { size } = statSync(file);
  const bar = progress(context, 'checking');
  try {
    for (;;) {
      const step = steps.next();
      if (step.done === true) return step.value;
      const { done, total } = step.value;
      await bar.step(Math.round((size * done) / Math.max(1, total)), size);
    }
  } finally {
    bar.stop();
  }
}

async function tell(context: Context, result: LinearizabilityResult | ListAppendResult, ms: number): Promise<void> {
  const { out } = context;
  const why = result.reason === undefined ? '' : `: ${result.reason}`;
  await out.line(`${result.verdict}${why} (${result.checkedOps} operations on ${result.keys} keys, ${ms} ms)`);
  if (!('anomalies' in result)) {
    if (result.violation !== undefined) await out.line(`\n${result.violation.text}`);
    return;
  }
  for (const { kind, text, operations } of result.anomalies.slice(0, ANOMALIES_SHOWN_MAX)) {
    await out.line(`\n${kind}: ${text}`);
    for (const { index, process, call, end } of operations) {
      const lines = end === undefined ? `line ${call.line}, open` : `lines ${call.line} to ${end.line}`;
      await out.line(`    T${index}: process ${process}, ${lines}`);
    }
  }
  const more = result.anomalies.length - ANOMALIES_SHOWN_MAX;
  if (more > 0) await out.line(`\n… and ${more} more`);
}

function json(result: LinearizabilityResult | ListAppendResult): Record<string, unknown> {
  if ('anomalies' in result) {
    const anomalies = result.anomalies.map((one) => ({ ...one, operations: one.operations.map(operationJson) }));
    return { ...result, anomalies };
  }
  const { violation, ...rest } = result;
  return violation === undefined ? rest : { ...rest, violation: windowJson(violation) };
}

function windowJson(violation: LinearizabilityViolation): Record<string, unknown> {
  const { operations, background, origins, ...rest } = violation;
  return {
    ...rest,
    operations: operations.map(operationJson),
    background: background.map(operationJson),
    origins: origins.map(operationJson),
  };
}

function operationJson({ index, process, f, parts, outcome, call, end }: Operation): Record<string, unknown> {
  const lines = { fromLine: call.line, toLine: end?.line ?? null };
  return { index, process, f, parts, outcome, ...lines, time: [call.time ?? null, end?.time ?? null] };
}
