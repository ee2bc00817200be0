import { join } from 'node:path';
import { expect, test } from 'vitest';
import { connect } from '../../src/client/index.ts';
import { openLdb } from '../../src/engine/ldb/index.ts';
import { LdbWriter } from '../../src/engine/ldb/writer.ts';
import type { ReflectorNews, RunningReflector } from '../../src/reflector/index.ts';
import type { StartReflectorOptions } from '../../src/reflector/options.ts';
import { Cluster, freeUrl } from './cluster.ts';
import { Reflectors, until } from './reflectors.ts';
import { dump, put, records, StreamModel, timeOf } from '../engine/ldb/ledger.ts';

const reflectors = new Reflectors();
const { start } = reflectors;

const isAt =
  (reflector: RunningReflector, revision: number): (() => boolean) =>
  () =>
    reflector.status.revision === revision;

/** Of a stopped reflector's LDB. */
async function contentOf(
  name: string,
): Promise<{ rows: Record<string, string>; hash: number | undefined; timeMs: number }> {
  const path = join(reflectors.path, name);
  const ldb = openLdb(path);
  const rows = dump(ldb);
  ldb.close();
  const writer = await LdbWriter.open(path);
  const { hash, timeMs } = writer;
  await writer.close();
  return { rows, hash, timeMs };
}

test('two hops away a replica is the same: rows, revision, log time, state hash', async () => {
  const cluster = new Cluster();
  cluster.hashes = true;
  cluster.grow(64);
  const [first, second] = [await freeUrl(), await freeUrl()];
  const upper = await start({ dir: 'upper', endpoints: ['ws://node'], connect: cluster.connect, listen: first });
  const lower = await start({ dir: 'lower', endpoints: [first], listen: second });
  const leaf = await start({ dir: 'leaf', endpoints: [second] });
  await until('the leaf is filled', isAt(leaf, 64));
  for (let i = 0; i < 10; i++) cluster.grow(64);
  await until('the leaf has followed', isAt(leaf, 704));
  expect(upper.status).toMatchObject({ followers: 1, upstream: 'ws://node', path: [expect.any(String)] });
  expect(lower.status.path).toEqual([expect.any(String), ...upper.status.path]);
  expect(leaf.status).toMatchObject({ path: [], upstream: second, divergences: 0 });
  await reflectors.stop();
  const contents = [await contentOf('upper'), await contentOf('lower'), await contentOf('leaf')];
  for (const { rows, timeMs } of contents) {
    expect(rows).toEqual(new StreamModel().advanceTo(704).dump());
    expect(timeMs).toBe(timeOf(704));
  }
  expect(contents.map(({ hash }) => hash)).toEqual(Array.from({ length: 3 }, () => cluster.hash.ledger));
});

test('who was away goes on with the records that a relay keeps, also when that one was killed; else a snapshot', async () => {
  const cluster = new Cluster();
  cluster.grow(100);
  const url = await freeUrl();
  const relayOptions = { dir: 'relay', endpoints: ['ws://node'], connect: cluster.connect, listen: url } as const;
  const relay = await start(relayOptions);
  let news: ReflectorNews[] = [];
  const leafOptions = { dir: 'leaf', endpoints: [url], onEvent: (event: ReflectorNews) => news.push(event) } as const;
  const leaf = await start(leafOptions);
  await until('the leaf is filled', isAt(leaf, 100));
  await leaf.stop();
  cluster.grow(50);
  await until('the relay goes on', isAt(relay, 150));
  await relay.stop();
  cluster.grow(50);
  news = [];
  const again = await start(relayOptions);
  const leafAgain = await start(leafOptions);
  await until('the leaf goes on', isAt(leafAgain, 200));
  expect(news.filter(({ kind }) => kind === 'snapshot')).toEqual([]);
  await leafAgain.stop();
  await again.stop();
  // Hardly anything is kept now: who was away for long gets the rows.
  const small = await start({ ...relayOptions, ledgerBytes: 1 });
  cluster.grow(100);
  cluster.grow(100);
  await until('the relay goes on', isAt(small, 400));
  const late = await start(leafOptions);
  await until('the leaf has all', isAt(late, 400));
  expect(news.filter((event) => event.kind === 'snapshot' && event.state === 'end')).toHaveLength(1);
  cluster.grow(1);
  await until('and goes on behind it', isAt(late, 401));
  await late.stop();
  expect((await contentOf('leaf')).rows).toEqual(new StreamModel().advanceTo(401).dump());
});

test('a relay gives what it has and no more, to those who may have it', async () => {
  const cluster = new Cluster();
  cluster.append(records(1, [put('a/1', 'x'), put('b/1', 'y')], [put('a/2', 'x')], [put('b/2', 'y')]));
  const url = await freeUrl();
  const token = 'a-token-of-some-length';
  await start({
    dir: 'relay',
    endpoints: ['ws://node'],
    connect: cluster.connect,
    listen: url,
    token,
    filter: { prefixes: ['a/', 'b/'] },
  });
  const leaf = await start({ dir: 'leaf', endpoints: [url], token, filter: { prefixes: ['a/'] } });
  await until('the leaf is filled', isAt(leaf, 3));
  expect(cluster.asked[0]?.token).toBe(token);
  await leaf.stop();
  expect(Object.keys((await contentOf('leaf')).rows)).toEqual(['a/1', 'a/2']);
  const refused = async (name: string, more: Partial<StartReflectorOptions>): Promise<Error> =>
    (await start({ dir: name, endpoints: [url], ...more })).failed;
  expect(await refused('all', { token })).toMatchObject({ code: 'FORBIDDEN' });
  expect(await refused('more', { token, filter: { prefixes: ['a/', 'c/'] } })).toMatchObject({ code: 'FORBIDDEN' });
  expect(await refused('stranger', { filter: { prefixes: ['a/'] } })).toMatchObject({ code: 'FORBIDDEN' });
});

test('a relay takes no writes, and says how it is', async () => {
  const cluster = new Cluster();
  cluster.grow(3);
  const url = await freeUrl();
  const relay = await start({ dir: 'relay', endpoints: ['ws://node'], connect: cluster.connect, listen: url });
  await until('it is filled', isAt(relay, 3));
  const client = await connect(url);
  await expect(client.put('k', 'v')).rejects.toMatchObject({ code: 'READ_ONLY' });
  expect(await client.status()).toMatchObject({ role: 'relay', cluster: 'c1', applied: 3, path: relay.status.path });
  await client.close();
});

test('three relays in a ring: no loop stands, and each gets its data past it', async () => {
  const cluster = new Cluster();
  cluster.grow(10);
  const urls = [await freeUrl(), await freeUrl(), await freeUrl()];
  // Each prefers the next one of the ring, and has the cluster behind it.
  const through: StartReflectorOptions['connect'] = (addresses, options) =>
    addresses[0] === 'ws://node' ? cluster.connect(addresses, options) : connect(addresses, options);
  const options = (i: number): Partial<StartReflectorOptions> & { readonly dir: string } => ({
    dir: `ring-${i}`,
    upstreams: [[urls[(i + 1) % 3] as string], ['ws://node']],
    connect: through,
    listen: urls[i] as string,
    comeBackMs: 50,
  });
  const ring = [await start(options(0)), await start(options(1)), await start(options(2))];
  const isLooped = ({ status }: RunningReflector): boolean => new Set(status.path).size !== status.path.length;
  for (let revision = 60; revision <= 260; revision += 50) {
    cluster.grow(50);
    await until(`all have ${revision}`, () => {
      expect(ring.some(isLooped)).toBe(false);
      return ring.every((relay) => isAt(relay, revision)());
    });
  }
  // At least one of them was kept out of the ring, and follows the cluster itself; but for when it asks in the ring again.
  await until('one follows the cluster', () => ring.some(({ status }) => status.upstream === 'ws://node'));
  for (const relay of ring) await relay.stop();
  const expected = new StreamModel().advanceTo(260).dump();
  for (const i of [0, 1, 2]) expect((await contentOf(`ring-${i}`)).rows).toEqual(expected);
});
