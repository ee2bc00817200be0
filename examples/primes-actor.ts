/**
 * Two actors for examples/workers.ts: one that counts primes in a thread of its own, and one that looks after several.
 * The first is in a module of its own, which its thread imports.
 */
import { type ActorRef, ask, defineActor, refTo, tell } from 'ctlmesh/actors';
import { z } from 'zod';

const primesProtocol = {
  count: ask({ from: z.int(), to: z.int() }, z.int()),
  crash: tell(),
};

export const primes = defineActor({
  name: 'primes',
  module: import.meta.url,
  protocol: primesProtocol,
  start: () => ({}),
  on: {
    count: (_state, { from, to }) => {
      let count = 0;
      for (let n = Math.max(2, from); n < to; n++) if (isPrime(n)) count++;
      return count;
    },
    // The worst that a library may do to its thread.
    crash: () => process.exit(1),
  },
});

export const pool = defineActor({
  name: 'pool',
  protocol: { pick: ask({}, refTo<typeof primesProtocol>()) },
  supervise: { strategy: 'one-for-one', restartsMax: 10 },
  start: async (ctx, { size }: { readonly size: number }) => {
    const workers: ActorRef<typeof primesProtocol>[] = [];
    for (let n = 1; n <= size; n++) {
      const worker = await ctx.spawn(primes, { name: `primes-${n}`, thread: 'own' });
      // A worker that comes back is still a worker.
      workers.push(worker.stable());
    }
    return { workers, next: 0 };
  },
  on: {
    pick: (state) => state.workers[state.next++ % state.workers.length] as ActorRef<typeof primesProtocol>,
  },
});

function isPrime(n: number): boolean {
  for (let divisor = 2; divisor * divisor <= n; divisor++) if (n % divisor === 0) return false;
  return true;
}
