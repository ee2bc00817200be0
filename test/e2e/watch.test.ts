/** Watches over leader changes, behind the ledger, and with a consumer that sleeps. */
import { afterEach, expect, test } from 'vitest';
import { type Client, isStoreError, type Revision, type WatchEvent } from '../../src/client/index.ts';
import { TestCluster, until } from '../support/cluster-process.ts';

const MIB = 1024 * 1024;
let cluster: TestCluster | undefined;
afterEach(async () => {
  await cluster?.close();
  cluster = undefined;
});

const at = (revision: number): Revision => revision as Revision;

async function take(
  client: Client,
  count: number,
  options: { key?: string; prefix?: string; from: number },
): Promise<WatchEvent[]> {
  const events: WatchEvent[] = [];
  const { from, ...what } = options;
  for await (const event of client.watch({ ...what, fromRevision: at(from), signal: AbortSignal.timeout(60_000) })) {
    events.push(event);
    if (events.length === count) break;
  }
  return events;
}

/** Overwrites a few keys with big values; gives the last revision. */
async function flood(client: Client, bytes: number): Promise<number> {
  const value = new Uint8Array(64 * 1024);
  let revision = 0;
  for (let written = 0; written < bytes; written += 8 * value.length) {
    const results = await Promise.all(Array.from({ length: 8 }, (_, i) => client.put(`flood/${i}`, value)));
    revision = Math.max(...results.map((result) => result.revision));
  }
  return revision;
}

test('on a key and on a prefix, while leaders are killed: each write once, in order; and any of them can be resumed at', async () => {
  cluster = await TestCluster.start();
  const nodes = cluster;
  const client = await nodes.client();
  const watcher = await nodes.client();
  const { revision: first } = await client.put('a/begin', 'x');
  const WRITES = 60;
  const keyEvents = take(watcher, WRITES, { key: 'a/k', from: first });
  const prefixEvents = take(watcher, 2 * WRITES + 1, { prefix: 'a/', from: first });
  // "From now on": nothing from before, everything after the watch stands.
  const live: WatchEvent[] = [];
  const stop = new AbortController();
  const following = (async () => {
    for await (const event of watcher.watch({ prefix: 'a/', signal: stop.signal })) live.push(event);
  })().catch((error: unknown) => {
    if (!isStoreError(error, 'CANCELLED')) throw error;
  });
  const acked: string[] = [`a/begin ${first}`];
  for (let i = 0; i < WRITES; i++) {
    if (i % 20 === 10) {
      const leader = await nodes.leader();
      await nodes.kill(leader);
      acked.push(`a/k ${(await client.put('a/k', `${i}`, { deadlineMs: 20_000 })).revision}`);
      nodes.spawn(leader);
    } else acked.push(`a/k ${(await client.put('a/k', `${i}`, { deadlineMs: 20_000 })).revision}`);
    await client.put('b/other', 'x', { deadlineMs: 20_000 });
    acked.push(`a/l ${(await client.put('a/l', `${i}`, { deadlineMs: 20_000 })).revision}`);
  }
  const told = (events: readonly WatchEvent[]): string[] =>
    events.map((event) => `${event.keyText()} ${event.revision}`);
  expect(told(await prefixEvents)).toEqual(acked);
  expect(told(await keyEvents)).toEqual(acked.filter((line) => line.startsWith('a/k ')));
  await until('the live watch is at the end', () => live.at(-1)?.revision === Number(acked.at(-1)?.split(' ')[1]));
  stop.abort();
  await following;
  expect(told(live)).toEqual(acked.slice(-live.length));
  for (const from of [1, 40, WRITES]) {
    const rest = acked.slice(from);
    const revision = Number(acked[from]?.split(' ')[1]);
    for (const id of nodes.ids) {
      if (!nodes.isRunning(id)) continue;
      const pinned = await nodes.pinned(id);
      expect(told(await take(pinned, rest.length, { prefix: 'a/', from: revision }))).toEqual(rest);
    }
  }
});

test('a watch that asks for what is no longer kept: COMPACTED with the oldest revision, at which it can begin', async () => {
  cluster = await TestCluster.start({ nodes: 1, config: { ledgerBytes: MIB } });
  const client = await cluster.client({ deadlineMs: 60_000 });
  await client.put('k', 'v');
  const last = await flood(client, 3 * MIB);
  const error = await take(client, 1, { from: 1, prefix: '' }).catch((reason: unknown) => reason);
  if (!isStoreError(error, 'COMPACTED')) throw error;
  const oldest = error.data['oldestRevision'] as number;
  expect(oldest).toBeGreaterThan(1);
  expect(oldest).toBeLessThanOrEqual(last);
  const [event] = await take(client, 1, { from: oldest, prefix: '' });
  expect(event?.revision).toBeGreaterThanOrEqual(oldest);
  // After a restart the ledger is made again from the log, within the same bound.
  await cluster.kill('n1');
  await cluster.startAll();
  const again = await take(client, 1, { from: 1, prefix: '' }).catch((reason: unknown) => reason);
  expect(isStoreError(again, 'COMPACTED')).toBe(true);
});

test('watchers that sleep cost the nodes a bounded sum and nobody else anything; awake, they are told what they missed', async () => {
  cluster = await TestCluster.start({ config: { ledgerBytes: 2 * MIB } });
  const run = cluster.run(await cluster.leader());
  const client = await cluster.client({ deadlineMs: 60_000 });
  const sleeper = await cluster.client();
  const { revision } = await client.put('flood/first', 'x');
  const iterators = Array.from({ length: 20 }, () =>
    sleeper.watch({ prefix: 'flood/', fromRevision: at(revision) })[Symbol.asyncIterator](),
  );
  for (const iterator of iterators) expect((await iterator.next()).value?.revision).toBe(revision);
  await flood(client, 8 * MIB);
  const before = await run.memoryBytes();
  const WRITTEN = 64 * MIB;
  const last = await flood(client, WRITTEN);
  const grown = (await run.memoryBytes()) - before;
  console.log(`20 sleeping watchers, ${WRITTEN / MIB} MiB written: the leader grew by ${Math.round(grown / MIB)} MiB`);
  // What was written is in its memory; twenty copies of it are not.
  expect(grown).toBeLessThan(WRITTEN + 200 * MIB);
  for (const iterator of iterators) {
    let seen: number = revision;
    try {
      for (let next = await iterator.next(); seen < last && next.done !== true; next = await iterator.next()) {
        expect(next.value.revision).toBeGreaterThan(seen);
        seen = next.value.revision;
      }
      expect(seen).toBe(last);
    } catch (error) {
      // It was too far behind: told so, after whatever it had been sent in order.
      if (!isStoreError(error, 'COMPACTED')) throw error;
      expect(error.data['oldestRevision']).toBeGreaterThan(seen);
    }
    await iterator.return?.();
  }
});
