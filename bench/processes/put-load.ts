/**
 * Clients of a cluster, in a process of their own: puts in a closed loop, for one variant after the other.
 */
import { type Say, serve } from '../support/child.ts';
import { draws, keys, values } from '../support/data.ts';
import { type Driver, type DriverName, openDriver } from '../support/drivers.ts';
import { type LoadResult, runLoad } from '../support/load.ts';

export type PutLoadTo = {
  readonly kind: 'run';
  readonly system: DriverName;
  readonly endpoints: readonly string[];
  readonly connections: number;
  readonly inFlight: number;
  readonly warmupMs: number;
  readonly measureMs: number;
};

export type PutLoadFrom =
  /** The measured window opens, and closes: time to read counters. */
  { readonly kind: 'begin' } | { readonly kind: 'end' } | { readonly kind: 'result'; readonly result: LoadResult };

const KEYS = 100_000;
const names = keys(KEYS);
const contents = values();
const draw = draws(KEYS);

serve(async (message: PutLoadTo, say: Say<PutLoadFrom>) => {
  const { system, endpoints, connections, inFlight, warmupMs, measureMs } = message;
  const driver: Driver = await openDriver(system, endpoints, connections);
  try {
    const result = await runLoad({
      inFlight,
      warmupMs,
      measureMs,
      operation: (n, caller) =>
        driver.put(caller % connections, names[draw(n)] as string, contents[n % contents.length] as Buffer),
      onBegin: () => say({ kind: 'begin' }),
      onEnd: () => say({ kind: 'end' }),
    });
    say({ kind: 'result', result });
  } finally {
    await driver.close();
  }
});
