/** One node of three left: what still works, how the rest fails, and that all of it comes back by itself. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Client, isStoreError, type StoreError } from '../../src/client/index.ts';
import { TestCluster, until } from '../support/cluster-process.ts';

let cluster: TestCluster;
let left = '';
let client: Client;
let revision = 0;

beforeAll(async () => {
  cluster = await TestCluster.start();
});
afterAll(() => cluster?.close());

/** The error of `call` and how long it took. */
async function failure(call: () => Promise<unknown>): Promise<{ readonly error: StoreError; readonly ms: number }> {
  const startedMs = performance.now();
  try {
    const value = await call();
    throw new Error(`it did not fail: ${String(value)}`);
  } catch (error) {
    if (!isStoreError(error)) throw error;
    return { error, ms: performance.now() - startedMs };
  }
}

const DEADLINE_MS = 700;
/** Sweeps, timers and a busy machine. */
const LATE_MS_MAX = 500;

for (const survivor of ['leader', 'follower'] as const) {
  describe(`only the ${survivor} is left`, () => {
    beforeAll(async () => {
      const leader = await cluster.leader();
      left = survivor === 'leader' ? leader : (cluster.ids.find((id) => id !== leader) as string);
      client = await cluster.client();
      ({ revision } = await client.put('known', survivor));
      const pinned = await cluster.pinned(left);
      await until('it has the write', async () => (await pinned.status()).applied >= revision);
      await cluster.kill(...cluster.ids.filter((id) => id !== left));
    });

    test.each([
      ['put', (deadlineMs: number) => client.put('lost', 'x', { deadlineMs })],
      ['delete', (deadlineMs: number) => client.delete('known2', { deadlineMs })],
      ['txn', (deadlineMs: number) => client.txn((t) => t.ifAbsent('lost2').put('lost2', 'x'), { deadlineMs })],
    ])('%s fails by its deadline with a typed error', async (_, call) => {
      const { error, ms } = await failure(() => call(DEADLINE_MS));
      expect(['UNAVAILABLE', 'OUTCOME_UNKNOWN']).toContain(error.code);
      expect(ms).toBeLessThan(DEADLINE_MS + LATE_MS_MAX);
    });

    test('linearizable reads fail by their deadline: get, range, also those of a client of that node alone', async () => {
      const pinned = await cluster.pinned(left, { deadlineMs: DEADLINE_MS });
      const drain = async (from: Client): Promise<void> => {
        for await (const entry of from.range({ prefix: 'k', deadlineMs: DEADLINE_MS })) expect(entry).toBeUndefined();
      };
      const drainDefault = async (): Promise<void> => {
        for await (const entry of pinned.range({ prefix: 'k' })) expect(entry).toBeUndefined();
      };
      for (const call of [
        () => client.get('known', { deadlineMs: DEADLINE_MS }),
        () => pinned.get('known', { deadlineMs: DEADLINE_MS }),
        () => drain(client),
        () => drain(pinned),
        drainDefault,
      ]) {
        const { error, ms } = await failure(call);
        expect(['UNAVAILABLE', 'DEADLINE_EXCEEDED']).toContain(error.code);
        expect(ms).toBeLessThan(DEADLINE_MS + LATE_MS_MAX);
      }
    });

    test('local reads go on, and the status and health of the node', async () => {
      expect((await client.get('known', { consistency: 'local' }))?.text()).toBe(survivor);
      const keys: string[] = [];
      for await (const entry of client.range({ prefix: 'known', consistency: 'local' })) keys.push(entry.keyText());
      expect(keys).toContain('known');
      const watch = client.watch({ key: 'known', fromRevision: revision as never })[Symbol.asyncIterator]();
      const event = (await watch.next()).value as { revision: number } | undefined;
      expect(event?.revision).toBe(revision);
      await watch.return?.();
      expect((await cluster.status(left)).node).toBe(left);
      expect((await fetch(`${cluster.http(left)}/healthz`)).status).toBe(200);
      await until('not ready', async () => (await fetch(`${cluster.http(left)}/readyz`)).status === 503);
    });

    test('a write that waits is done when one node returns, once', async () => {
      const waiting = client.put('waited', survivor, { deadlineMs: 30_000 });
      const reading = client.get('known', { deadlineMs: 30_000 });
      const back = cluster.ids.find((id) => id !== left) as string;
      const startedMs = performance.now();
      cluster.spawn(back);
      const [{ revision: written }, read] = await Promise.all([waiting, reading]);
      console.log(`service back ${Math.round(performance.now() - startedMs)} ms after the process was started`);
      expect(read?.text()).toBe(survivor);
      const entry = await client.get('waited');
      expect([entry?.text(), entry?.revision]).toEqual([survivor, written]);
      await cluster.startAll();
    });
  });
}

test('nobody is left: every call fails by its deadline, a range too; and all comes back', async () => {
  await cluster.leader();
  await cluster.kill(...cluster.ids);
  const drain = async (): Promise<void> => {
    for await (const entry of client.range({ deadlineMs: DEADLINE_MS })) expect(entry).toBeUndefined();
  };
  for (const call of [
    () => client.put('nobody', 'x', { deadlineMs: DEADLINE_MS }),
    () => client.get('known', { deadlineMs: DEADLINE_MS }),
    () => client.get('known', { deadlineMs: DEADLINE_MS, consistency: 'local' }),
    drain,
  ]) {
    const { error, ms } = await failure(call);
    expect(['UNAVAILABLE', 'DEADLINE_EXCEEDED', 'OUTCOME_UNKNOWN']).toContain(error.code);
    expect(ms).toBeLessThan(DEADLINE_MS + LATE_MS_MAX);
  }
  const patient = client.get('known', { deadlineMs: 30_000 });
  await cluster.startAll();
  expect((await patient)?.text()).toBe('follower');
});

test("a range has the client's deadline when it names none, also while nobody answers", async () => {
  const hasty = await cluster.client({ deadlineMs: DEADLINE_MS });
  await cluster.kill(...cluster.ids);
  const { error, ms } = await failure(async () => {
    for await (const entry of hasty.range()) expect(entry).toBeUndefined();
  });
  expect(['UNAVAILABLE', 'DEADLINE_EXCEEDED']).toContain(error.code);
  expect(ms).toBeLessThan(DEADLINE_MS + LATE_MS_MAX);
  await cluster.startAll();
});
