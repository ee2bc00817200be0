/**
 * Host: what runs first in every actor's thread. Imports the actor's module, answers the supervisor, and makes
 * sure that a failed turn is told before the thread ends.
 */
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { expose } from 'comlink';
import nodeEndpoint from 'comlink/dist/esm/node-adapter.mjs';
import { must } from '../../core/base/assert.ts';
import { StoreError } from '../../core/base/errors.ts';
import {
  type ActorInThread,
  type Answer,
  type BreakDown,
  type ControlApi,
  type FromThread,
  type LogFunction,
  type StartActor,
  toPlain,
} from './thread.ts';

const { module, control, ports } = workerData as {
  module: string;
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

/** While others start. What it throws is the answer to the start. */
const loading = import(module) as Promise<{ start: StartActor<unknown, unknown> }>;
loading.catch(() => {});

const api: ControlApi = {
  start: (args) =>
    answer(async () => {
      const { start } = await loading;
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
  breakDown: (how) =>
    answer(() => {
      if (process.env['CTLMESH_TEST_HOOKS'] !== '1') {
        throw new StoreError('BAD_REQUEST', 'only a thread of a test breaks down when it is told to');
      }
      // After the answer has left.
      setImmediate(BREAK[how]);
      return Promise.resolve(undefined);
    }),
};

const BREAK: Readonly<Record<BreakDown, () => void>> = {
  exit: () => process.exit(9),
  throw: () => {
    throw new Error('a test has it throw');
  },
  loop: () => {
    for (;;);
  },
};

process.on('uncaughtException', failed);
process.on('unhandledRejection', failed);

expose(api, nodeEndpoint(control));
// The control port keeps the thread alive between bells: a pending waitAsync alone would not.
control.ref();
