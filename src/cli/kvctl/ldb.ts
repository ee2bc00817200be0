/**
 * ldb: the local replica. `follow` keeps one up to date; get, scan and status read it, cluster up or down.
 */
import type { Command } from 'commander';
import type { ReflectorEvent } from '../../actors/reflector.ts';
import type { LedgerFrame, LedgerOptions } from '../../client/types.ts';
import { unreachable } from '../../core/base/assert.ts';
import { parseEndpoints } from './arguments.ts';
import type { Context, Run } from './context.ts';
import { printEntries, printEntry, rangeOptions, type ScanFlags, scanOptions } from './data.ts';
import type { LdbView } from './deps.ts';
import { showMs } from './duration.ts';

/** Progress lines of `follow`, at most. */
const PROGRESS_EVERY_MS = 5_000;

interface DirFlags {
  readonly ldb: string;
}

export function registerLdb(program: Command, run: Run): void {
  const ldb = program
    .command('ldb')
    .description('The local replica: an LMDB copy of the store in a directory of this host.');
  ldb
    .command('follow')
    .summary('keep a replica up to date')
    .description(
      'Applies the ledger to the replica until Ctrl-C. Waits for the cluster when it is away; resumes without a gap.',
    )
    .option('--from <urls>', 'the nodes to follow; default: --endpoints', parseEndpoints)
    .requiredOption('--ldb <dir>', "the replica's directory; made when missing")
    .action((flags: DirFlags & { from?: string[] }) => run((context) => follow(context, flags.ldb, flags.from)));
  ldb
    .command('get')
    .summary('read a value from the replica')
    .argument('<key>')
    .requiredOption('--ldb <dir>', "the replica's directory")
    .option('--raw', "exactly the value's bytes, without the line end")
    .action((key: string, flags: DirFlags & { raw?: boolean }) =>
      run((context) => withLdb(context, flags.ldb, (view) => printEntry(context, key, view.get(key), flags.raw))),
    );
  scanOptions(ldb.command('scan'))
    .summary('list keys and values of the replica')
    .requiredOption('--ldb <dir>', "the replica's directory")
    .action((prefix: string | undefined, flags: DirFlags & ScanFlags) =>
      run((context) =>
        withLdb(context, flags.ldb, (view) =>
          printEntries(context, view.range(rangeOptions(prefix, flags)), flags.keysOnly),
        ),
      ),
    );
  ldb
    .command('status')
    .summary('revision, lag and rows of the replica')
    .requiredOption('--ldb <dir>', "the replica's directory")
    .action((flags: DirFlags) => run((context) => withLdb(context, flags.ldb, (view) => status(context, view))));
}

async function withLdb(context: Context, dir: string, use: (view: LdbView) => Promise<number>): Promise<number> {
  const view = await context.deps.openLdb(dir);
  try {
    return await use(view);
  } finally {
    view.close();
  }
}

async function status(context: Context, view: LdbView): Promise<number> {
  const { revision, cluster, timeMs } = view;
  const facts = { cluster, revision, timeMs, lagMs: view.lagMs(), rows: view.count() };
  if (context.json) await context.out.json(facts);
  else {
    await context.out.line(`cluster   ${facts.cluster}`);
    await context.out.line(`revision  ${facts.revision}`);
    await context.out.line(`lag       ${Number.isFinite(facts.lagMs) ? showMs(facts.lagMs) : 'nothing received yet'}`);
    await context.out.line(`rows      ${facts.rows}`);
  }
  return 0;
}

async function follow(context: Context, dir: string, from: readonly string[] | undefined): Promise<number> {
  const { signal } = context.deps;
  const urls = from ?? context.endpoints;
  context.note(`following ${urls.join(',')} into ${dir}; Ctrl-C stops`);
  const onEvent = context.json ? printJson(context) : printProgress(context);
  await context.deps.runReflector({ source: (at) => ledgerOf(context, urls, at), dir, signal, onEvent });
  return 0;
}

/**
 * One connection's worth of the ledger; the reflector comes back for another when it ends. Any node will do, and
 * the leader has enough to do.
 */
async function* ledgerOf(context: Context, urls: readonly string[], at: LedgerOptions): AsyncGenerator<LedgerFrame> {
  const { deadlineMs } = context;
  const { signal } = context.deps;
  const client = await context.deps.connect(urls, {
    deadlineMs,
    connectDeadlineMs: deadlineMs,
    followLeader: false,
    signal,
    onEvent: (event) => {
      if (event.kind === 'connected') context.note(`connected to ${event.node} (${event.url})`);
      else if (event.kind === 'disconnected') context.note(`lost ${event.url}: ${event.reason}; connecting again`);
    },
  });
  try {
    yield* client.ledger(at);
  } finally {
    await client.close().catch(() => {});
  }
}

type OnEvent = (event: ReflectorEvent) => void;

/** Every event. A reader that has left must not end the replica. */
function printJson(context: Context): OnEvent {
  return (event) => void context.out.json(event).catch(() => {});
}

/** What a person wants to see: beginnings, trouble, and now and then how far it is (the log's clock never rests). */
function printProgress(context: Context): OnEvent {
  let records = 0;
  let saidAtMs = Number.NEGATIVE_INFINITY;
  const say = (line: string): void => {
    context.out.line(`${new Date().toISOString()} ${line}`).catch(() => {});
  };
  return (event) => {
    switch (event.kind) {
      case 'following':
        saidAtMs = Number.NEGATIVE_INFINITY;
        return say(`following after revision ${event.revision}`);
      case 'snapshot':
        if (event.state === 'begin') return say(`too far behind: taking a snapshot at revision ${event.revision}`);
        return say(`snapshot taken: revision ${event.revision}, ${event.entries} rows`);
      case 'retry':
        return say(`${event.reason}; trying again in ${showMs(event.delayMs)}`);
      case 'applied': {
        records += event.records;
        const nowMs = performance.now();
        if (nowMs - saidAtMs < PROGRESS_EVERY_MS) return;
        // The very first entries are an election's, and bear no time.
        const lag = event.timeMs === 0 ? '' : `, lag ${showMs(Math.max(0, Date.now() - event.timeMs))}`;
        say(`at revision ${event.revision} (+${records})${lag}`);
        saidAtMs = nowMs;
        records = 0;
        return;
      }
      default:
        unreachable(event);
    }
  };
}
