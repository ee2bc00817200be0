/**
 * Host: what runs first in every actor's thread. Imports the actor's module, answers the supervisor, and makes
 * sure that a failed turn is told before the thread ends.
 */
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { expose } from 'comlink';
import nodeEndpoint from 'comlink/dist/esm/node-adapter.mjs';
import { must } from '../../core/base/assert.ts';
import {
  type ActorInThread,
  type Answer,
  type ControlApi,
  type FromThread,
  type LogFunction,
  type StartActor,
  toPlain,
} from './thread.ts';

const { module, args, control, ports } = workerData as {
  module: string;
  args: unknown;
  control: MessagePort;
  ports: Record<string, MessagePort>;
};

const supervisor = must(parentPort, 'a host runs in a worker');
const tell = (message: FromThread): void => supervisor.postMessage(message);
const log: LogFunction = (level, event, fields = {}) => tell({ kind: 'log', level, event, fields });

let actor: ActorInThread<unknown> | undefined;

/** Failures are answers, not throws: comlink would lose their code. */
async function answer<T>(work: () => Promise<T>): Promise<Answer<T>> {
  try {
    return { ok: true, value: await work() };
  } catch (error) {
    return { ok: false, failure: toPlain(error) };
  }
}

function failed(error: unknown): void {
  tell({ kind: 'failed', failure: toPlain(error) });
  // The port delivers what was posted before the exit.
  process.exit(1);
}

const api: ControlApi = {
  start: () =>
    answer(async () => {
      const { start } = (await import(module)) as { start: StartActor<unknown, unknown> };
      actor = await start(args, { log, ports });
      actor.ended.catch(failed);
      return actor.started;
    }),
  stop: () =>
    answer(async () => {
      await actor?.stop();
      return undefined;
    }),
  inspect: () => answer(() => Promise.resolve(actor?.inspect() ?? {})),
};

process.on('uncaughtException', failed);
process.on('unhandledRejection', failed);

expose(api, nodeEndpoint(control));
// The control port keeps the thread alive between bells: a pending waitAsync alone would not.
control.ref();
