/**
 * cluster: `node cluster.js --config cluster.config.ts` starts every node of the config, a process each.
 *
 * Exit codes: 0 stopped as asked; 1 a node could not start, or had to be killed; 2 the command line or the config
 * is wrong, and nothing was started; 70 (with --node) an actor could not come back: start it again; 130 a second Ctrl-C.
 */
import { relative, resolve } from 'node:path';
import { Command, CommanderError, Option } from 'commander';
import { destination, type Logger, pino } from 'pino';
import pretty from 'pino-pretty';
import { type ClusterConfig, configFaults, loadConfig } from '../config/index.ts';
import { isStoreError } from '../core/base/errors.ts';
import { Console, LINE_OPTIONS, wantsColour } from './cluster/console.ts';
import { Launcher } from './cluster/launcher.ts';
import { runNode, type StartNode } from './cluster/run-node.ts';
import { onStopSignals } from './cluster/signals.ts';

const CONFIG_FILE_DEFAULT = 'cluster.config.ts';
/** Log lines that may wait when the launcher does not read them; past this they are dropped. */
const LOG_BYTES_MAX = 4 * 1024 * 1024;

interface Flags {
  readonly config: string;
  readonly node?: string;
  readonly restart: boolean;
  readonly check?: boolean;
  readonly launched?: boolean;
}

export interface ClusterDeps {
  readonly startNode: StartNode;
}

/** Loaded late: the launcher itself has no use for the engine. */
const DEPS: ClusterDeps = {
  startNode: async (config, id, options) => (await import('../node.ts')).startNode(config, id, options),
};

/** Runs the command and ends the process with its exit code. */
export async function main(argv: readonly string[], deps: ClusterDeps = DEPS): Promise<void> {
  const exitCode = await run(argv, deps);
  process.exit(exitCode);
}

async function run(argv: readonly string[], deps: ClusterDeps): Promise<number> {
  const command = program();
  try {
    command.parse(argv);
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    throw error;
  }
  const flags: Flags = command.opts();
  const config = await readConfig(flags);
  if (config === undefined) return 2;
  if (flags.check === true) {
    process.stdout.write(`${JSON.stringify(config, null, 2)}\n`);
    return 0;
  }
  return flags.node === undefined ? launchAll(flags, config, argv[1] ?? '') : runOne(flags, config, flags.node, deps);
}

function program(): Command {
  return new Command('cluster.js')
    .usage('[--config FILE] [--node ID]')
    .description(
      'Starts every node of a cluster config, each in its own process, and keeps them running.\nCtrl-C (or SIGTERM) stops them in order: followers first, the leader last.',
    )
    .option('-c, --config <file>', 'the cluster config: .ts, .js, .mjs or .json', CONFIG_FILE_DEFAULT)
    .option('-n, --node <id>', 'run only this node, in the foreground, in this process')
    .option('--no-restart', 'leave a node that died down, instead of starting it again')
    .option('--check', 'print the config with all its defaults, and start nothing')
    .addOption(new Option('--launched', 'this process was started by the launcher').hideHelp())
    .allowExcessArguments(false)
    .showHelpAfterError('(see node cluster.js --help)')
    .addHelpText(
      'after',
      `
Examples:
  node cluster.js --config cluster.config.ts             all nodes; prints "ready: …" when a leader serves
  node cluster.js --config cluster.config.ts --node n1   one node of it: a machine each, under systemd, in a container

With --node, logs are readable lines on a terminal and NDJSON otherwise.

Exit codes: 0 stopped as asked; 1 a node could not start or had to be killed;
            2 bad command line or config, nothing was started;
            70 (with --node) a part of the node broke for good: start it again.`,
    )
    .exitOverride();
}

/** The config, or undefined after saying everything that is wrong with it. */
async function readConfig(flags: Flags): Promise<ClusterConfig | undefined> {
  const complain = (line: string): void => void process.stderr.write(`${line}\n`);
  try {
    const config = await loadConfig(flags.config);
    const ids = Object.keys(config.nodes);
    if (flags.node === undefined || Object.hasOwn(config.nodes, flags.node)) return config;
    complain(`cluster: ${flags.config} has no node '${flags.node}'; it has ${ids.join(', ')}`);
    return undefined;
  } catch (error) {
    if (!isStoreError(error, 'CONFIG_INVALID')) throw error;
    const faults = configFaults(error);
    // A file that does not load is named by its own message already.
    for (const { path, message } of faults) {
      const at = path === '' ? '' : `${path}: `;
      complain(message.startsWith(resolve(flags.config)) ? message : `${flags.config}: ${at}${message}`);
    }
    complain(
      `cluster: ${faults.length === 1 ? '1 fault' : `${faults.length} faults`} in the config; nothing was started`,
    );
    return undefined;
  }
}

async function launchAll(flags: Flags, config: ClusterConfig, entry: string): Promise<number> {
  const ids = Object.keys(config.nodes);
  const console = new Console({ stdout: process.stdout, stderr: process.stderr, env: process.env, nodes: ids });
  const launcher = new Launcher({
    config,
    entry,
    argsFor: (id) => ['--config', flags.config, '--node', id, '--launched'],
    restart: flags.restart,
    console,
  });
  onStopSignals({
    first: (signal) => {
      console.say(`${signal}: stopping${signal === 'SIGINT' ? ' (once more kills)' : ''}`);
      void launcher.stop();
    },
    again: () => {
      console.complain('killed');
      launcher.kill();
      process.exit(130);
    },
  });
  const from = relative(process.cwd(), flags.config) || flags.config;
  console.say(
    `cluster '${config.cluster}': ${ids.length} ${ids.length === 1 ? 'node' : 'nodes'} from ${from}; Ctrl-C stops`,
  );
  return launcher.run();
}

async function runOne(flags: Flags, config: ClusterConfig, id: string, deps: ClusterDeps): Promise<number> {
  const launched = flags.launched === true;
  const { logger, flush } = openLog(config, id, launched);
  const outcome = await runNode({ config, id, logger, startNode: deps.startNode, launched });
  flush();
  if (!launched && outcome.fault !== undefined) {
    process.stderr.write(`${id}: ${outcome.fault.message} (${outcome.fault.code})\n`);
  }
  return outcome.exitCode;
}

/** Lines for people on a terminal, NDJSON for programs (the launcher is one). */
function openLog(config: ClusterConfig, id: string, launched: boolean): { logger: Logger; flush: () => void } {
  const options = { level: config.logLevel, base: { node: id } };
  if (!launched && process.stdout.isTTY) {
    const colorize = wantsColour(process.stdout, process.env);
    return { logger: pino(options, pretty({ ...LINE_OPTIONS, colorize, sync: true })), flush: () => {} };
  }
  const stream = destination({ fd: 1, sync: false, maxLength: LOG_BYTES_MAX });
  // The reader may be gone before us (the launcher was killed): then nobody reads the log, and we stop anyway.
  stream.on('error', () => {});
  const flush = (): void => {
    try {
      stream.flushSync();
    } catch {
      // Nobody reads it any more.
    }
  };
  return { logger: pino(options, stream), flush };
}
