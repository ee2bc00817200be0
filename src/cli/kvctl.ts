/**
 * kvctl: the store from a terminal or a script.
 *
 * stdout carries data only, stderr what is said about it. Exit codes: 0 done; 1 not found or refused; 2 the
 * command line, a script or an input file is wrong; 70 a reflector's part breaks again and again.
 */
import { Command, CommanderError, Option } from 'commander';
import { isStoreError } from '../core/base/errors.ts';
import { registerActors } from './kvctl/actors.ts';
import { ENDPOINTS_DEFAULT, parseEndpoints } from './kvctl/arguments.ts';
import { registerBackup } from './kvctl/backup.ts';
import { Context, type GlobalFlags, type Work } from './kvctl/context.ts';
import { registerData } from './kvctl/data.ts';
import type { KvctlDeps } from './kvctl/deps.ts';
import { parseDuration } from './kvctl/duration.ts';
import { describe, OutputClosed, UsageError } from './kvctl/errors.ts';
import { registerHistory } from './kvctl/history.ts';
import { registerImport } from './kvctl/import.ts';
import { registerInspect } from './kvctl/inspect.ts';
import { registerLdb } from './kvctl/ldb.ts';
import { registerMember } from './kvctl/member.ts';
import { registerMutate } from './kvctl/mutate.ts';
import { registerReflector } from './kvctl/reflector.ts';
import { registerRepair } from './kvctl/repair.ts';
import { registerRestore } from './kvctl/restore.ts';
import { registerScrub } from './kvctl/scrub.ts';
import { registerSidecar } from './kvctl/sidecar.ts';
import { registerStage } from './kvctl/stage.ts';
import { registerStatus } from './kvctl/status.ts';
import { registerTables } from './kvctl/tables.ts';
import { registerTxn } from './kvctl/txn.ts';
import { registerWatch } from './kvctl/watch.ts';
import { registerWriters } from './kvctl/writers.ts';

const DEADLINE_DEFAULT_MS = 10_000;

/** Runs the command and ends the process with its exit code. */
export async function main(argv: readonly string[]): Promise<void> {
  const stop = new AbortController();
  const asked = (): void => {
    if (stop.signal.aborted) process.exit(130);
    stop.abort();
  };
  process.on('SIGINT', asked);
  process.on('SIGTERM', asked);
  process.exit(await run(argv, systemDeps(stop.signal)));
}

/** Parts are loaded when a command needs them: a put has no use for LMDB. */
function systemDeps(signal: AbortSignal): KvctlDeps {
  return {
    connect: async (urls, options) => (await import('../client/index.ts')).connect(urls, options),
    openLdb: async (dir) => (await import('../engine/ldb/index.ts')).openLdb(dir),
    arrivingIn: async (dir) => (await import('../engine/ldb/arriving-view.ts')).arrivingIn(dir),
    stagedIn: async (dir) => (await import('../engine/ldb/index.ts')).stagedIn(dir),
    startSidecar: async (options) => (await import('../sidecar/sidecar.ts')).startSidecar(options),
    startReflector: async (options) => (await import('../reflector/index.ts')).startReflector(options),
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    env: process.env,
    signal,
  };
}

/** One command from its arguments to its exit code. Never throws. */
export async function run(argv: readonly string[], deps: KvctlDeps): Promise<number> {
  let exitCode = 0;
  deps.stderr.on('error', () => {});
  try {
    const program = build(deps, async (work) => {
      const context = new Context(deps, program.opts<GlobalFlags>());
      exitCode = await work(context);
      await context.out.flush();
    });
    await program.parseAsync(argv);
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2; // Commander has said it.
    if (error instanceof OutputClosed) return 0;
    const message = deps.signal.aborted && !isStoreError(error) ? 'kvctl: stopped as asked' : describe(error);
    deps.stderr.write(`${message}\n`);
    return error instanceof UsageError ? 2 : 1;
  }
}

function build(deps: KvctlDeps, execute: (work: Work) => Promise<void>): Command {
  const program = new Command('kvctl')
    .description('Reads and writes a ctlmesh store.')
    .option('--endpoints <urls>', 'client addresses of the nodes, with commas (env CTLMESH_ENDPOINTS)', parseEndpoints)
    .addOption(
      new Option('--deadline <duration>', 'how long a call may take')
        .argParser(parseDuration)
        .default(DEADLINE_DEFAULT_MS, '10s'),
    )
    .option('--token-file <file>', "the caller's token, where the cluster wants one (else env CTLMESH_TOKEN)")
    .option('--json', 'JSON output: an object a line')
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({
      writeOut: (text) => void deps.stdout.write(text),
      writeErr: (text) => void deps.stderr.write(text),
    })
    .exitOverride()
    .showHelpAfterError('(see kvctl --help, or kvctl COMMAND --help)')
    .addHelpText(
      'after',
      `
Examples:
  kvctl put flags/new-ui on --ttl 60s
  kvctl get flags/new-ui
  kvctl scan flags/ --json | head
  kvctl watch flags/
  kvctl ldb follow --from ws://127.0.0.1:7411 --ldb data/ldb
  kvctl backup data/n1 /backup/prod

Without --endpoints: CTLMESH_ENDPOINTS, or ${ENDPOINTS_DEFAULT}.
Exit codes: 0 done; 1 not found or refused; 2 the command line, a script or an input file is wrong.`,
    );
  registerData(program, execute);
  registerWatch(program, execute);
  registerTxn(program, execute);
  registerStatus(program, execute);
  registerActors(program, execute);
  registerMember(program, execute);
  registerTables(program, execute);
  registerWriters(program, execute);
  registerStage(program, execute);
  registerMutate(program, execute);
  registerImport(program, execute);
  registerLdb(program, execute);
  registerReflector(program, execute);
  registerSidecar(program, execute);
  registerBackup(program, execute);
  registerRestore(program, execute);
  registerInspect(program, execute);
  registerScrub(program, execute);
  registerRepair(program, execute);
  registerHistory(program, execute);
  return program;
}
