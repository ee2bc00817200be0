/**
 * A writer at a steady rate: each put leaves when its time has come, whether or not earlier ones were answered.
 */
import { type Client, connect } from '../../src/client/index.ts';
import { type Say, serve } from '../support/child.ts';
import { draws, keys, values } from '../support/data.ts';

export type PacedPutTo =
  | { readonly kind: 'connect'; readonly endpoints: readonly string[] }
  | { readonly kind: 'run'; readonly perSecond: number; readonly ms: number };

export interface PacedWrite {
  readonly revision: number;
  /** CLOCK_MONOTONIC, as the other processes have it. */
  readonly sentNs: number;
  readonly resolvedNs: number;
}

export type PacedPutFrom =
  | { readonly kind: 'connected' }
  | { readonly kind: 'done'; readonly writes: readonly PacedWrite[]; readonly failures: number };

const KEYS = 1_000;
const names = keys(KEYS);
const contents = values();
const draw = draws(KEYS);
const nowNs = (): number => Number(process.hrtime.bigint());

let client: Client | undefined;

serve(async (message: PacedPutTo, say: Say<PacedPutFrom>) => {
  if (message.kind === 'connect') {
    client = await connect(message.endpoints);
    await client.put(names[0] as string, contents[0] as Buffer);
    say({ kind: 'connected' });
    return;
  }
  say({ kind: 'done', ...(await run(client as Client, message.perSecond, message.ms)) });
});

async function run(store: Client, perSecond: number, ms: number): Promise<{ writes: PacedWrite[]; failures: number }> {
  const writes: PacedWrite[] = [];
  const underWay = new Set<Promise<void>>();
  let failures = 0;
  let sent = 0;
  const put = async (): Promise<void> => {
    const n = sent++;
    const sentNs = nowNs();
    try {
      const { revision } = await store.put(names[draw(n)] as string, contents[n % contents.length] as Buffer);
      writes.push({ revision, sentNs, resolvedNs: nowNs() });
    } catch {
      failures++;
    }
  };
  const beganMs = performance.now();
  await new Promise<void>((resolve) => {
    const timer = setInterval(() => {
      const elapsedMs = performance.now() - beganMs;
      const due = Math.floor((Math.min(elapsedMs, ms) / 1000) * perSecond);
      while (sent < due) {
        const one = put();
        underWay.add(one);
        void one.then(() => underWay.delete(one));
      }
      if (elapsedMs < ms) return;
      clearInterval(timer);
      resolve();
    }, 1);
  });
  await Promise.all(underWay);
  return { writes, failures };
}
