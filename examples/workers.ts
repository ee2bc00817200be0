/**
 * A supervised pool of workers: actors in threads of their own. One is killed in the middle of the work; its supervisor
 * starts it again, and nobody waits for an answer that does not come.
 *
 *   node examples/workers.ts
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { createSystem, isStoreError } from 'ctlmesh/actors';
import { pool } from './primes-actor.ts';

const LIMIT = 400_000;
const PART = 20_000;

const system = createSystem({
  log: (_level, event, fields) => {
    if (event === 'actor.restarted')
      console.log(`back: ${String(fields?.['path'])}#${String(fields?.['incarnation'])}`);
  },
});
const ref = await system.spawn(pool, { name: 'pool', args: { size: 2 } });

/** One part of the work, by whoever is there. */
async function countPrimes(from: number): Promise<number> {
  for (;;) {
    const worker = await ref.ask({ kind: 'pick' });
    try {
      return await worker.ask({ kind: 'count', from, to: from + PART }, { deadlineMs: 30_000 });
    } catch (error) {
      // Its thread died, or is not back yet. Counting primes twice does no harm, so it is safe to ask again.
      if (!isStoreError(error, 'ACTOR_STOPPED')) throw error;
      console.log(`again: ${from} (${worker.path})`);
      await sleep(20);
    }
  }
}

const parts = Array.from({ length: LIMIT / PART }, (_, n) => countPrimes(n * PART));
(await ref.ask({ kind: 'pick' })).tell({ kind: 'crash' });
const counts = await Promise.all(parts);
console.log(`primes below ${LIMIT}: ${counts.reduce((sum, count) => sum + count, 0)}`);
for (const { path, children } of await system.inspect()) {
  console.log(
    `${path}: ${children.map((child) => `${child.path} in ${child.thread}, life ${child.incarnation}`).join('; ')}`,
  );
}
await system.stop();
