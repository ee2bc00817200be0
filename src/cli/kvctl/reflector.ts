/**
 * reflector: the one process of a host that keeps its replica up to date, with doors for whoever looks after it.
 */
import { type Command, InvalidArgumentError, Option } from 'commander';
import { isStoreError } from '../../core/base/errors.ts';
import { loadConfig, readerGrants } from '../../config/index.ts';
import type { FilterInput } from '../../reflector/index.ts';
import type { RunningReflector, StartReflectorOptions } from '../../reflector/options.ts';
import { listenAddress, parseEndpoints, wholeNumber } from './arguments.ts';
import type { Context, Run } from './context.ts';
import { parseDuration, showMs } from './duration.ts';
import { describe, UsageError } from './errors.ts';
import { noteConnection, onReflectorEvent } from './reflector-events.ts';

const MAX_LAG_MS = 60_000;
const STALE_AFTER_MS = 30_000;
const SNAPSHOT_EVERY_MS = 3_600_000;
const SNAPSHOT_KEEP = 5;
/** As a node that cannot go on because of one of its actors. */
const EXIT_GAVE_UP = 70;

interface Flags {
  readonly from?: string[][];
  readonly staleAfter: number;
  readonly listen?: string;
  readonly readers?: string;
  readonly bootstrap?: string;
  readonly snapshotTo?: string;
  readonly snapshotEvery: number;
  readonly snapshotKeep: number;
  readonly ldb?: string;
  readonly http?: string;
  readonly maxLag: number;
  readonly family?: string[];
  readonly table?: string[];
  readonly prefix?: string[];
  readonly rebuild?: boolean;
  readonly sidecar?: string;
  readonly id?: string;
  readonly changelog?: string;
  readonly changelogMaxBytes?: number;
  readonly changelogKeep?: number;
  readonly label?: Readonly<Record<string, string>>;
}

export function registerReflector(program: Command, run: Run): void {
  program
    .command('reflector')
    .summary('keep a replica up to date, as a service')
    .description(
      'Applies the ledger to the replica until SIGTERM or Ctrl-C, and says over HTTP how it is: /healthz, /readyz, /metrics. With --listen it feeds other reflectors. Exit code 70: one of its parts breaks again and again.',
    )
    .addOption(
      new Option(
        '--from <urls>',
        'nodes or relays to follow, any of them; given again: others, for when those before are of no use. Default: --endpoints',
      ).argParser((urls: string, before: string[][] | undefined): string[][] | undefined => [
        ...(before ?? []),
        parseEndpoints(urls),
      ]),
    )
    .addOption(new Option('--ldb <dir>', "the replica's directory; made when missing").env('CTLMESH_LDB'))
    .addOption(
      new Option('--http <url>', 'where to listen, like http://127.0.0.1:7440')
        .env('CTLMESH_REFLECTOR_HTTP')
        .argParser(listenAddress('http:')),
    )
    .addOption(
      new Option('--max-lag <duration>', '/readyz says no when the replica is older')
        .env('CTLMESH_MAX_LAG')
        .argParser(parseDuration)
        .default(MAX_LAG_MS, showMs(MAX_LAG_MS)),
    )
    .addOption(
      new Option('--sidecar <url>', 'serve its rows too, like http://127.0.0.1:1331')
        .env('CTLMESH_SIDECAR_HTTP')
        .argParser(listenAddress('http:')),
    )
    .addOption(
      new Option('--stale-after <duration>', 'with several --from: one that stays older than this is left')
        .argParser(parseDuration)
        .default(STALE_AFTER_MS, showMs(STALE_AFTER_MS)),
    )
    .addOption(
      new Option('--listen <url>', 'feed other reflectors from here, like ws://0.0.0.0:7450')
        .env('CTLMESH_RELAY')
        .argParser(listenAddress('ws:')),
    )
    .option('--readers <file>', 'with --listen: a cluster config; its readers may follow, each with their token')
    .option('--changelog <file>', 'write what changes there, a line of JSON each (docs/ldb.md)')
    .option('--changelog-max-bytes <n>', 'begin another file at this size; default 1048576', wholeNumber(1))
    .option('--changelog-keep <n>', 'older files that are kept; default 3', wholeNumber(0))
    .option('--id <name>', 'what the cluster knows it by; default: host and directory')
    .option('--label <name=value>', 'shown with it, and chosen by; may be given again', labels)
    .addOption(
      new Option(
        '--bootstrap <url>',
        'a new replica is filled from a copy there first: file:, s3:, or http: of a reflector',
      ).env('CTLMESH_BOOTSTRAP'),
    )
    .addOption(
      new Option('--snapshot-to <url>', 'put copies of the replica there: file: or s3:').env('CTLMESH_SNAPSHOT_TO'),
    )
    .addOption(
      new Option('--snapshot-every <duration>', 'from one copy to the next')
        .argParser(parseDuration)
        .default(SNAPSHOT_EVERY_MS, '1h'),
    )
    .addOption(
      new Option('--snapshot-keep <count>', 'copies that stay').argParser(wholeNumber(1)).default(SNAPSHOT_KEEP),
    )
    .option('--family <name>', 'only this family, and what else is named; may be given again', several)
    .option('--table <family/table>', 'only this table, and what else is named; may be given again', several)
    .option('--prefix <text>', 'only keys that begin so, and what else is named; may be given again', several)
    .option('--rebuild', 'a replica that holds another part is filled anew')
    .addHelpText('after', HELP)
    .action((flags: Flags) => run((context) => reflect(context, flags)));
}

const HELP = `
Examples:
  kvctl reflector --ldb data/ldb --http http://127.0.0.1:7440
  kvctl reflector --ldb data/relay --listen ws://0.0.0.0:7450 --snapshot-to s3://bucket/ldb
  kvctl reflector --ldb data/ldb --bootstrap s3://bucket/ldb
  kvctl reflector --ldb data/ldb --from ws://relay-1:7450,ws://relay-2:7450 --from ws://n1:7411,ws://n2:7411

A token for clusters whose config names its readers: CTLMESH_TOKEN. What a relay got with a token it gives to those who
show the same one, or, with --readers, one of theirs.
For s3: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION, AWS_ENDPOINT_URL_S3. They are read at the
start; roles of instances and containers are not asked for, nor is ~/.aws.`;

function changelogOf({ changelog: path, changelogMaxBytes: maxBytes, changelogKeep: keep }: Flags): {
  readonly changelog?: NonNullable<StartReflectorOptions['changelog']>;
} {
  if (path === undefined) {
    if (maxBytes === undefined && keep === undefined) return {};
    throw new UsageError('--changelog-max-bytes and --changelog-keep are of a --changelog');
  }
  const bounds = { ...(maxBytes === undefined ? {} : { maxBytes }), ...(keep === undefined ? {} : { keep }) };
  return { changelog: { path, ...bounds } };
}

export function labels(value: string, before: Readonly<Record<string, string>> = {}): Readonly<Record<string, string>> {
  const at = value.indexOf('=');
  if (at < 1) throw new InvalidArgumentError('a label is name=value');
  return { ...before, [value.slice(0, at)]: value.slice(at + 1) };
}

const several = (value: string, before: string[] = []): string[] => [...before, value];

function filterOf({ family, table, prefix }: Flags): FilterInput | undefined {
  if (family === undefined && table === undefined && prefix === undefined) return undefined;
  return { families: family ?? [], tables: table ?? [], prefixes: prefix ?? [] };
}

async function reflect(context: Context, flags: Flags): Promise<number> {
  const { ldb, http, maxLag: maxLagMs } = flags;
  if (ldb === undefined) throw new UsageError('say where the replica is: --ldb <dir>, or CTLMESH_LDB');
  const upstreams = flags.from ?? [context.endpoints];
  const { env } = context.deps;
  const { listen } = flags;
  const readers = flags.readers === undefined ? undefined : readerGrants(await loadConfig(flags.readers), env);
  if (readers !== undefined && listen === undefined) throw new UsageError('--readers are those of --listen');
  const { token } = context;
  const filter = filterOf(flags);
  const reflector = await context.deps.startReflector({
    upstreams,
    staleAfterMs: flags.staleAfter,
    dir: ldb,
    maxLagMs,
    connectDeadlineMs: context.deadlineMs,
    onEvent: onReflectorEvent(context),
    onConnection: noteConnection(context),
    rebuild: flags.rebuild ?? false,
    env,
    snapshotEveryMs: flags.snapshotEvery,
    snapshotKeep: flags.snapshotKeep,
    ...(flags.bootstrap === undefined ? {} : { bootstrap: flags.bootstrap }),
    ...(flags.snapshotTo === undefined ? {} : { snapshotTo: flags.snapshotTo }),
    ...(listen === undefined ? {} : { listen }),
    ...(readers === undefined ? {} : { readers }),
    ...(http === undefined ? {} : { http }),
    ...(flags.sidecar === undefined ? {} : { sidecar: flags.sidecar }),
    ...(token === undefined ? {} : { token }),
    ...(filter === undefined ? {} : { filter }),
    ...changelogOf(flags),
    ...(flags.id === undefined ? {} : { id: flags.id }),
    ...(flags.label === undefined ? {} : { labels: flags.label }),
  });
  const doors = [listen, http].filter((url) => url !== undefined).map((url) => `; ${url}`);
  context.note(`following ${upstreams.map((urls) => urls.join(',')).join(', or ')} into ${ldb}${doors.join('')}`);
  return await untilAsked(context, reflector);
}

/** Until Ctrl-C, or until it has to give up. */
export async function untilAsked(context: Context, reflector: RunningReflector): Promise<number> {
  const { signal } = context.deps;
  const { promise: asked, resolve } = Promise.withResolvers<undefined>();
  if (signal.aborted) resolve(undefined);
  else signal.addEventListener('abort', () => resolve(undefined), { once: true });
  const failure = await Promise.race([asked, reflector.failed]);
  await reflector.stop();
  if (failure === undefined) return 0;
  if (!isStoreError(failure, 'ACTOR_STOPPED')) throw failure;
  // A part of it cannot come back: another process may.
  context.note(describe(failure));
  return EXIT_GAVE_UP;
}
