/**
 * A node with durable counters, in a process of its own, which also asks them: a closed loop, for one variant after the other.
 */
import { pino } from 'pino';
import { z } from 'zod';
import { ask, commit, durable } from '../../src/actors/runtime/index.ts';
import type { ClusterConfigInput } from '../../src/config/types.ts';
import { type RunningNode, startNode } from '../../src/index.ts';
import { type Say, serve } from '../support/child.ts';
import { type LoadResult, runLoad } from '../support/load.ts';

export type DurableNodeTo =
  | { readonly kind: 'start'; readonly config: ClusterConfigInput; readonly id: string }
  | {
      readonly kind: 'run';
      /** What one operation is: `put` is one of the node's own client, for comparison. */
      readonly what: 'add' | 'total' | 'put';
      /** The counters are called so, and by a number. */
      readonly prefix: string;
      readonly counters: number;
      readonly inFlight: number;
      readonly warmupMs: number;
      readonly measureMs: number;
    };

export type DurableNodeFrom = { readonly kind: 'up' } | { readonly kind: 'result'; readonly result: LoadResult };

const counter = durable({
  name: 'counter',
  protocol: { add: ask({ by: z.int() }, z.int()), total: ask({}, z.int()) },
  state: z.object({ total: z.int() }),
  initial: () => ({ total: 0 }),
  on: {
    add: ({ total }, { by }) => commit({ total: total + by }, total + by),
    total: ({ total }) => total,
  },
});

const ASK = { deadlineMs: 30_000 };
const VALUE = Buffer.alloc(100, 'v');

let node: RunningNode | undefined;

serve(async (message: DurableNodeTo, say: Say<DurableNodeFrom>) => {
  if (message.kind === 'start') {
    node = await startNode(message.config, message.id, { logger: pino({ level: 'warn' }, pino.destination(2)) });
    node.actors.host(counter);
    say({ kind: 'up' });
    return;
  }
  if (node === undefined) throw new Error('it was not started');
  const here = node;
  const { what, prefix, counters, inFlight, warmupMs, measureMs } = message;
  const refs = Array.from({ length: counters }, (_, i) => here.actors.lookup(counter, `${prefix}${i}`));
  const operation = (n: number): Promise<unknown> => {
    if (what === 'put') return here.put(`bench/${prefix}${n % counters}`, VALUE);
    const ref = refs[n % counters];
    return ref === undefined ? Promise.reject(new Error('no counter')) : askOf(ref);
  };
  const askOf = (ref: (typeof refs)[number]): Promise<number> =>
    what === 'add' ? ref.ask({ kind: 'add', by: 1 }, ASK) : ref.ask({ kind: 'total' }, ASK);
  say({ kind: 'result', result: await runLoad({ inFlight, warmupMs, measureMs, operation }) });
});
