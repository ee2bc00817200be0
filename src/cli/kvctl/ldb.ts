/**
 * ldb: the local replica. `follow` keeps one up to date; get, scan and status read it, cluster up or down.
 */
import type { Command } from 'commander';
import { showBytes } from './bytes.ts';
import { parseEndpoints } from './arguments.ts';
import type { Context, Run } from './context.ts';
import { printEntries, printEntry, rangeOptions, type ScanFlags, scanOptions } from './data.ts';
import type { LdbView } from './deps.ts';
import { showMs } from './duration.ts';
import { listLdbs } from './ldb-list.ts';
import { labels, untilAsked } from './reflector.ts';
import { noteConnection, onReflectorEvent } from './reflector-events.ts';

interface DirFlags {
  readonly ldb: string;
}

interface FollowFlags extends DirFlags {
  readonly from?: readonly string[];
  readonly id?: string;
  readonly label?: Readonly<Record<string, string>>;
}

export function registerLdb(program: Command, run: Run): void {
  const ldb = program
    .command('ldb')
    .description('Local replicas: LMDB copies of the store, each in a directory of a host.');
  ldb
    .command('follow')
    .summary('keep a replica up to date')
    .description(
      'Applies the ledger to the replica until Ctrl-C. Waits for the cluster when it is away; resumes without a gap. (kvctl reflector does the same as a service.)',
    )
    .option('--from <urls>', 'the nodes to follow; default: --endpoints', parseEndpoints)
    .requiredOption('--ldb <dir>', "the replica's directory; made when missing")
    .option('--id <name>', 'what the cluster knows it by (kvctl ldb list); default: host and directory')
    .option('--label <name=value>', 'shown with it, and chosen by; may be given again', labels)
    .action((flags: FollowFlags) => run((context) => follow(context, flags)));
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
    .command('list')
    .summary('the replicas that follow the cluster, and how far each is')
    .description(
      'Asks the cluster who follows it, wherever: those that are connected, and those that left less than 30 s ago. Exit code 1 when a node was not heard.',
    )
    .option('--watch', 'again each second, until Ctrl-C')
    .action((flags: { watch?: boolean }) => run((context) => listLdbs(context, { watch: flags.watch === true })));
  ldb
    .command('status')
    .summary('revision, lag and rows of the replica, its ring, and what it shows of staged data')
    .requiredOption('--ldb <dir>', "the replica's directory")
    .action((flags: DirFlags) =>
      run((context) => withLdb(context, flags.ldb, (view) => status(context, flags.ldb, view))),
    );
}

async function withLdb(context: Context, dir: string, use: (view: LdbView) => Promise<number>): Promise<number> {
  const view = await context.deps.openLdb(dir);
  try {
    return await use(view);
  } finally {
    view.close();
  }
}

async function status(context: Context, dir: string, view: LdbView): Promise<number> {
  const { revision, cluster, timeMs } = view;
  const { ring, stages } = await context.deps.stagedIn(dir);
  const arriving = (await context.deps.arrivingIn(dir)) ?? null;
  const facts = { cluster, revision, timeMs, lagMs: view.lagMs(), rows: view.count(), ring, stages, arriving };
  if (context.json) await context.out.json(facts);
  else {
    await context.out.line(`cluster   ${facts.cluster}`);
    await context.out.line(`revision  ${facts.revision}`);
    await context.out.line(`lag       ${Number.isFinite(facts.lagMs) ? showMs(facts.lagMs) : 'nothing received yet'}`);
    await context.out.line(`rows      ${facts.rows}`);
    if (arriving !== null) {
      const came = `${arriving.rows} rows, ${showBytes(arriving.bytes)}`;
      await context.out.line(`arriving  ${came} of a snapshot, at revision ${arriving.revision}`);
    }
    if (ring !== null) await context.out.line(`ring      ${ring}`);
    for (const { name, shown, halted } of stages) {
      const what = shown === null ? 'shown as it is now' : `shown as of revision ${shown}`;
      await context.out.line(`stage     ${name}: ${what}${halted === null ? '' : ` (halted: ${halted})`}`);
    }
  }
  return 0;
}

async function follow(context: Context, { ldb: dir, from, id, label }: FollowFlags): Promise<number> {
  const urls = from ?? context.endpoints;
  context.note(`following ${urls.join(',')} into ${dir}; Ctrl-C stops`);
  const { token } = context;
  const reflector = await context.deps.startReflector({
    ...{ endpoints: urls, dir, connectDeadlineMs: context.deadlineMs },
    onEvent: onReflectorEvent(context),
    onConnection: noteConnection(context),
    ...(token === undefined ? {} : { token }),
    ...(id === undefined ? {} : { id }),
    ...(label === undefined ? {} : { labels: label }),
  });
  return await untilAsked(context, reflector);
}
