/**
 * Readers of a cluster, in a process of their own: linearizable gets in a closed loop, for one variant after the other.
 */
import { type Say, serve } from '../support/child.ts';
import { draws, keys, values } from '../support/data.ts';
import { type DriverName, openDriver } from '../support/drivers.ts';
import { type LoadResult, runLoad } from '../support/load.ts';

export type GetLoadTo =
  | { readonly kind: 'fill'; readonly system: DriverName; readonly endpoints: readonly string[] }
  | {
      readonly kind: 'run';
      readonly system: DriverName;
      /** Connection i stays on endpoint i, modulo their number. */
      readonly endpoints: readonly string[];
      readonly connections: number;
      readonly inFlight: number;
      readonly warmupMs: number;
      readonly measureMs: number;
    };

export type GetLoadFrom =
  | { readonly kind: 'filled' }
  /** The measured window opens, and closes: time to read counters. */
  | { readonly kind: 'begin' }
  | { readonly kind: 'end' }
  | { readonly kind: 'result'; readonly result: LoadResult };

const KEYS = 10_000;
const FILL_IN_FLIGHT = 256;
const names = keys(KEYS);
const contents = values();
const draw = draws(KEYS);

serve((message: GetLoadTo, say: Say<GetLoadFrom>) =>
  message.kind === 'fill' ? fill(message, say) : run(message, say),
);

async function fill({ system, endpoints }: Extract<GetLoadTo, { kind: 'fill' }>, say: Say<GetLoadFrom>): Promise<void> {
  const driver = await openDriver(system, endpoints, 1);
  try {
    let next = 0;
    const put = async (): Promise<void> => {
      for (let n = next++; n < KEYS; n = next++) {
        await driver.put(0, names[n] as string, contents[n % contents.length] as Buffer);
      }
    };
    await Promise.all(Array.from({ length: FILL_IN_FLIGHT }, put));
  } finally {
    await driver.close();
  }
  say({ kind: 'filled' });
}

async function run(message: Extract<GetLoadTo, { kind: 'run' }>, say: Say<GetLoadFrom>): Promise<void> {
  const { system, endpoints, connections, inFlight, warmupMs, measureMs } = message;
  const driver = await openDriver(system, endpoints, connections, { isSpread: true });
  try {
    const result = await runLoad({
      inFlight,
      warmupMs,
      measureMs,
      operation: async (n, caller) => {
        const place = draw(n);
        const value = await driver.get(caller % connections, names[place] as string);
        // A read that is fast because it finds nothing would be no figure.
        if (value?.length !== contents[place % contents.length]?.length)
          throw new Error(`${names[place]} is not there`);
      },
      onBegin: () => say({ kind: 'begin' }),
      onEnd: () => say({ kind: 'end' }),
    });
    say({ kind: 'result', result });
  } finally {
    await driver.close();
  }
}
