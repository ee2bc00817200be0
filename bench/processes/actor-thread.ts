/**
 * What the actors are measured against: a worker thread that counts and answers, by bare messages and by comlink.
 */
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { expose } from 'comlink';
import nodeEndpoint from 'comlink/dist/esm/node-adapter.mjs';

export type ToThread = { readonly kind: 'add'; readonly by: number } | { readonly kind: 'total' };

const { comlink } = workerData as { readonly comlink: MessagePort };
let total = 0;

parentPort?.on('message', (message: ToThread) => {
  if (message.kind === 'add') total += message.by;
  else parentPort?.postMessage(total);
});

export interface Remote {
  add(by: number): void;
  total(): number;
}

const remote: Remote = {
  add: (by) => {
    total += by;
  },
  total: () => total,
};
expose(remote, nodeEndpoint(comlink));
