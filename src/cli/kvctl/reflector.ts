/**
 * reflector: the one process of a host that keeps its replica up to date, with doors for whoever looks after it.
 */
import { type Command, Option } from 'commander';
import type { FilterInput } from '../../reflector/index.ts';
import { parseEndpoints } from './arguments.ts';
import type { Context, Run } from './context.ts';
import { parseDuration, showMs } from './duration.ts';
import { UsageError } from './errors.ts';
import { noteConnection, onReflectorEvent } from './reflector-events.ts';

const MAX_LAG_MS = 60_000;

interface Flags {
  readonly from?: string[];
  readonly ldb?: string;
  readonly http?: string;
  readonly maxLag: number;
  readonly family?: string[];
  readonly table?: string[];
  readonly prefix?: string[];
  readonly rebuild?: boolean;
  readonly sidecar?: string;
}

export function registerReflector(program: Command, run: Run): void {
  program
    .command('reflector')
    .summary('keep a replica up to date, as a service')
    .description(
      'Applies the ledger to the replica until SIGTERM or Ctrl-C, and says over HTTP how it is: /healthz, /readyz, /metrics.',
    )
    .addOption(new Option('--from <urls>', 'the nodes to follow; default: --endpoints').argParser(parseEndpoints))
    .addOption(new Option('--ldb <dir>', "the replica's directory; made when missing").env('CTLMESH_LDB'))
    .addOption(new Option('--http <url>', 'where to listen, like http://127.0.0.1:7440').env('CTLMESH_REFLECTOR_HTTP'))
    .addOption(
      new Option('--max-lag <duration>', '/readyz says no when the replica is older')
        .env('CTLMESH_MAX_LAG')
        .argParser(parseDuration)
        .default(MAX_LAG_MS, showMs(MAX_LAG_MS)),
    )
    .addOption(
      new Option('--sidecar <url>', 'serve its rows too, like http://127.0.0.1:1331').env('CTLMESH_SIDECAR_HTTP'),
    )
    .option('--family <name>', 'only this family, and what else is named; may be given again', several)
    .option('--table <family/table>', 'only this table, and what else is named; may be given again', several)
    .option('--prefix <text>', 'only keys that begin so, and what else is named; may be given again', several)
    .option('--rebuild', 'a replica that holds another part is filled anew')
    .addHelpText('after', '\nA token for clusters whose config names its readers: CTLMESH_TOKEN.')
    .action((flags: Flags) => run((context) => reflect(context, flags)));
}

const several = (value: string, before: string[] = []): string[] => [...before, value];

function filterOf({ family, table, prefix }: Flags): FilterInput | undefined {
  if (family === undefined && table === undefined && prefix === undefined) return undefined;
  return { families: family ?? [], tables: table ?? [], prefixes: prefix ?? [] };
}

async function reflect(context: Context, flags: Flags): Promise<number> {
  const { ldb, http, maxLag: maxLagMs } = flags;
  if (ldb === undefined) throw new UsageError('say where the replica is: --ldb <dir>, or CTLMESH_LDB');
  const endpoints = flags.from ?? context.endpoints;
  const { signal, env } = context.deps;
  // Not a flag: the command lines of a host's processes are everybody's to read.
  const token = env['CTLMESH_TOKEN'];
  const filter = filterOf(flags);
  const reflector = await context.deps.startReflector({
    endpoints,
    dir: ldb,
    maxLagMs,
    connectDeadlineMs: context.deadlineMs,
    onEvent: onReflectorEvent(context),
    onConnection: noteConnection(context),
    rebuild: flags.rebuild ?? false,
    ...(http === undefined ? {} : { http }),
    ...(flags.sidecar === undefined ? {} : { sidecar: flags.sidecar }),
    ...(token === undefined || token === '' ? {} : { token }),
    ...(filter === undefined ? {} : { filter }),
  });
  context.note(`following ${endpoints.join(',')} into ${ldb}${http === undefined ? '' : `; ${http}`}`);
  const { promise: asked, resolve } = Promise.withResolvers<undefined>();
  if (signal.aborted) resolve(undefined);
  else signal.addEventListener('abort', () => resolve(undefined), { once: true });
  const failure = await Promise.race([asked, reflector.failed]);
  await reflector.stop();
  if (failure !== undefined) throw failure;
  return 0;
}
