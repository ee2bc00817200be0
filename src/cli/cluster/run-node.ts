/**
 * One node in this process: in the foreground (`--node n1`), or as a child of the launcher (`--launched`).
 *
 * Alone, signals stop it. Under the launcher a Ctrl-C at the terminal reaches every process of the group, so SIGINT
 * and SIGHUP are ignored here and the stop comes as a message, in the launcher's order; if the launcher itself is
 * gone (the channel closes), the node stops by itself.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { NodeStatus } from '../../client/types.ts';
import { type ClusterConfig, openAddresses } from '../../config/index.ts';
import { toFault, toFaultInService } from './fault.ts';
import type { Fault, FromNode, ToNode } from './messages.ts';
import { watchServing } from './serving.ts';
import { onStopSignals } from './signals.ts';

/** The part of a node that is needed here. */
export interface NodeHandle {
  status(): NodeStatus;
  stop(): Promise<void>;
  readonly failed: Promise<Error>;
}

export type StartNode = (
  config: ClusterConfig,
  id: string,
  options: { readonly logger: Logger },
) => Promise<NodeHandle>;

const STOP_MS = 5_000;
/** An actor could not come back, and nothing is wrong with the disk: a new process goes on where this one was. */
const EXIT_ACTOR = 70;

export interface RunNodeOptions {
  readonly config: ClusterConfig;
  readonly id: string;
  readonly logger: Logger;
  readonly startNode: StartNode;
  readonly launched: boolean;
}

export interface Outcome {
  readonly exitCode: number;
  readonly fault: Fault | undefined;
}

/** Runs until told to stop or until the node fails. Never throws. */
export async function runNode(options: RunNodeOptions): Promise<Outcome> {
  const stop = options.launched ? onLauncher() : onSignals();
  try {
    const node = await options.startNode(options.config, options.id, { logger: options.logger });
    void tell(options, { kind: 'up' });
    warnIfOpen(options);
    const unwatch = watchServing(
      () => node.status(),
      (term) => void tell(options, { kind: 'serving', term }),
    );
    const failure = await Promise.race([stop, node.failed]);
    unwatch();
    if (failure !== undefined) {
      return await failed(options, failure, (error) => toFaultInService(error, options.config.repair));
    }
    const late = await Promise.race([node.stop().then(() => false), sleep(STOP_MS, true, { ref: false })]);
    if (!late) return { exitCode: 0, fault: undefined };
    return await failed(options, new Error(`the node did not stop within ${STOP_MS / 1000} s`));
  } catch (error) {
    return failed(options, error);
  }
}

async function failed(
  options: RunNodeOptions,
  error: unknown,
  faultOf: (error: unknown) => Fault = toFault,
): Promise<Outcome> {
  const fault = faultOf(error);
  if (fault.code === 'INTERNAL') options.logger.error({ err: error }, 'the node failed');
  await tell(options, { kind: 'fault', fault });
  return { exitCode: fault.code === 'ACTOR_STOPPED' ? EXIT_ACTOR : 1, fault };
}

/** Said at each start: a port that is not on loopback is safe behind somebody's firewall, and we cannot see one. */
function warnIfOpen({ config, id, logger }: RunNodeOptions): void {
  const addresses = openAddresses(config, id);
  if (addresses.length === 0) return;
  logger.warn({ addresses }, 'whoever reaches these may do everything: the config names no callers');
}

/** To the launcher, or into the log when there is none. Resolves when the message has left. */
async function tell(options: RunNodeOptions, message: FromNode): Promise<void> {
  if (options.launched) {
    if (!process.connected) return;
    await new Promise<void>((resolve) => process.send?.(message, undefined, undefined, () => resolve()));
  } else if (message.kind === 'up') {
    const { client, peer, http } = options.config.nodes[options.id] ?? {};
    options.logger.info({ client, peer, http }, `${options.id} is up; Ctrl-C stops it`);
  } else if (message.kind === 'serving') {
    options.logger.info({ term: message.term }, `${options.id} leads`);
  }
}

/** Under the launcher: its word, its end, or a SIGTERM meant for this process alone. */
function onLauncher(): Promise<undefined> {
  process.on('SIGINT', () => {});
  process.on('SIGHUP', () => {});
  return new Promise((resolve) => {
    const stop = (): void => resolve(undefined);
    process.on('message', (message) => {
      if ((message as ToNode).kind === 'stop') stop();
    });
    process.on('disconnect', stop);
    process.on('SIGTERM', stop);
    if (!process.connected) stop();
  });
}

function onSignals(): Promise<undefined> {
  return new Promise((resolve) => {
    onStopSignals({ first: () => resolve(undefined), again: () => process.exit(130) });
  });
}
