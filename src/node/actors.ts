/**
 * The application's actors of a node, and what they have of its store: transactions and leases through the node's own
 * client, and a look at what this node has now.
 */
import { ClusterActors } from '../actors/runtime/cluster/cluster-actors.ts';
import type { ActorStore } from '../actors/runtime/cluster/store.ts';
import type { ActorReport } from '../actors/runtime/core/target.ts';
import { Threads } from '../actors/runtime/threads/threads.ts';
import type { LogFunction } from '../actors/runtime/thread.ts';
import { NODE_PATH } from '../actors/supervisor.ts';
import type { Client, Entry } from '../client/types.ts';

export interface NodeActorsOptions {
  readonly node: string;
  readonly log: LogFunction;
  readonly client: Pick<Client, 'txn' | 'lock'>;
  readonly glance: (key: string) => Entry | undefined;
  /** The node's own actors, to be shown with the application's. */
  readonly own: () => Promise<readonly ActorReport[]>;
}

/** How long actors of a node that is gone stay where they are, at least: its leases end by the log's time. */
const LEASE_MS = 4_000;

export function actorsOf({ node, log, client, glance, own }: NodeActorsOptions): ClusterActors {
  const store: ActorStore = {
    glance,
    commit: async ({ conditions, puts = [], deletes = [], read, readElse }, options) => {
      const { succeeded, revision, results } = await client.txn((t) => {
        for (const condition of conditions) t.if(condition);
        for (const [key, value] of puts) t.put(key, value);
        for (const key of deletes) t.delete(key);
        if (read !== undefined) t.get(read);
        return readElse === undefined ? t : t.else().get(readElse);
      }, options);
      const found = results.find((result) => result.kind === 'get');
      return { succeeded, revision, read: found?.entry };
    },
    lease: async (name, signal) => {
      const lock = await client.lock(name, { ttlMs: LEASE_MS, signal, deadlineMs: Number.POSITIVE_INFINITY });
      return {
        token: lock.token,
        key: lock.key,
        lost: lock.lost,
        get isHeld() {
          return lock.isHeld;
        },
        // What its own condition says.
        condition: () => ({ kind: 'exists', key: lock.key }),
        release: () => lock.release(),
      };
    },
  };
  const options = { log };
  const beside = { name: NODE_PATH.slice(1), report: own };
  return new ClusterActors(options, { elsewhere: new Threads(options), beside }, { node, store });
}
