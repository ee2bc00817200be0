/**
 * sidecar: a replica over HTTP, for programs of the host in other languages.
 */
import { type Command, Option } from 'commander';
import { listenAddress, wholeNumber } from './arguments.ts';
import type { Context, Run } from './context.ts';
import { UsageError } from './errors.ts';

const URL_DEFAULT = 'http://127.0.0.1:1331';

interface Flags {
  readonly ldb?: string;
  readonly http: string;
  readonly maxRows: number;
}

export function registerSidecar(program: Command, run: Run): void {
  program
    .command('sidecar')
    .summary("read a replica's rows over HTTP")
    .description(
      'Serves the rows of a replica, as ctlstore’s sidecar does: POST /get-row-by-key/F/T, POST /get-rows-by-key-prefix/F/T, GET /get-ledger-latency, /healthcheck and /ping.',
    )
    .addOption(new Option('--ldb <dir>', "the replica's directory").env('CTLMESH_LDB'))
    .addOption(
      new Option('--http <url>', 'where to listen')
        .env('CTLMESH_SIDECAR_HTTP')
        .argParser(listenAddress('http:'))
        .default(URL_DEFAULT),
    )
    .addOption(
      new Option('--max-rows <n>', 'rows of one answer, past which it is 416; 0: all')
        .env('CTLMESH_SIDECAR_MAX_ROWS')
        .argParser(wholeNumber(0))
        .default(0),
    )
    .action((flags: Flags) => run((context) => serve(context, flags)));
}

async function serve(context: Context, { ldb, http, maxRows }: Flags): Promise<number> {
  if (ldb === undefined) throw new UsageError('say where the replica is: --ldb <dir>, or CTLMESH_LDB');
  const { signal } = context.deps;
  const sidecar = await context.deps.startSidecar({ dir: ldb, url: http, rowsMax: maxRows });
  context.note(`rows of ${ldb} at ${sidecar.url}; Ctrl-C stops`);
  if (!signal.aborted) await new Promise((asked) => signal.addEventListener('abort', asked, { once: true }));
  await sidecar.close();
  return 0;
}
