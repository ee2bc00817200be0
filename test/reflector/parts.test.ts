import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { ReflectorEvent } from '../../src/actors/reflector.ts';
import { openLdb } from '../../src/engine/ldb/index.ts';
import { LdbWriter } from '../../src/engine/ldb/writer.ts';
import { type LdbChange, type ReflectorNews, type RunningReflector } from '../../src/reflector/index.ts';
import type { PartName } from '../../src/reflector/parts/part.ts';
import { type LdbReader, ServedLdb } from '../../src/reflector/parts/served-ldb.ts';
import { BREAK_PART, type BreakableParts } from '../../src/reflector/parts/test-hooks.ts';
import { decodeRecords } from '../../src/core/model/ledger.ts';
import { dump, StreamModel, streamRecords } from '../engine/ldb/ledger.ts';
import { Cluster, freeUrl } from './cluster.ts';
import { Reflectors, until } from './reflectors.ts';

/** As many as may break in half a minute. */
const BROKEN: readonly PartName[] = ['follower', 'relay', 'copies', 'changes', 'sidecar'];

const reflectors = new Reflectors();
const { start } = reflectors;
let news: ReflectorNews[];

beforeEach(() => {
  vi.stubEnv('CTLMESH_TEST_HOOKS', '1');
  news = [];
});

afterEach(() => {
  vi.unstubAllEnvs();
});

const strike = (reflector: RunningReflector, part: PartName): void =>
  (reflector as unknown as BreakableParts)[BREAK_PART](part);

const has = (part: string, state: 'failed' | 'back'): boolean =>
  news.some((one) => one.kind === 'part' && one.part === part && one.state === state);

/** Of a stopped reflector's LDB. */
async function contentOf(name: string): Promise<{ rows: Record<string, string>; hash: number | undefined }> {
  const path = join(reflectors.path, name);
  const ldb = openLdb(path);
  const rows = dump(ldb);
  ldb.close();
  const writer = await LdbWriter.open(path);
  const { hash } = writer;
  await writer.close();
  return { rows, hash };
}

test('a part that breaks comes back by itself, the others go on, and the replicas are what the cluster has', async () => {
  const cluster = new Cluster();
  cluster.hashes = true;
  cluster.grow(64);
  const [url, http, sidecar] = [await freeUrl(), await freeUrl('http'), await freeUrl('http')];
  const changelog = join(reflectors.path, 'log', 'changes');
  mkdirSync(join(reflectors.path, 'log'));
  const reflector = await start({
    dir: 'relay',
    endpoints: ['ws://node'],
    connect: cluster.connect,
    listen: url,
    http,
    sidecar,
    changelog: { path: changelog },
    snapshotTo: pathToFileURL(join(reflectors.path, 'copies')).href,
    onEvent: (event) => news.push(event),
  });
  const leaf = await start({ dir: 'leaf', endpoints: [url] });
  const seen: LdbChange[] = [];
  const loop = (async () => {
    for await (const change of reflector.changes()) seen.push(change);
  })();
  let revision = 64;
  const isEverywhere = (): boolean => [reflector, leaf].every(({ status }) => status.revision === revision);
  await until('both are filled', isEverywhere);

  for (const part of BROKEN) {
    const before = reflector.status.revision;
    strike(reflector, part);
    // Some break with a commit, all others with their next tick.
    cluster.grow(1);
    await until(`${part} breaks`, () => has(part, 'failed'));
    cluster.grow(63);
    revision += 64;
    if (part !== 'follower')
      await until(`the follower goes on without ${part}`, () => reflector.status.revision > before);
    await until(`${part} is back`, () => has(part, 'back'));
    await until(`both have gone on behind the death of ${part}`, isEverywhere);
  }
  // One restart each, and no other.
  const { rows } = await reflector.listActors();
  expect(rows.map(({ name, restarts, state }) => [name, restarts, state])).toEqual(
    ['http', 'changes', 'follower', 'relay', 'copies', 'sidecar', 'freshness'].map((name) => [
      name,
      Number(BROKEN.includes(name as PartName)),
      'running',
    ]),
  );
  expect(await (await fetch(`${http}/debug/actors`)).json()).toMatchObject({
    rows: rows.map(({ path }) => ({ path })),
  });
  const metrics = await (await fetch(`${http}/metrics`)).text();
  expect(metrics).toContain('ctlmesh_actor_restarts_total{actor="relay",thread="main"} 1');
  expect(reflector.status.divergences + leaf.status.divergences).toBe(0);

  await reflectors.stop();
  await loop;
  const contents = [await contentOf('relay'), await contentOf('leaf')];
  for (const { rows: kept } of contents) expect(kept).toEqual(new StreamModel().advanceTo(revision).dump());
  expect(contents.map(({ hash }) => hash)).toEqual([cluster.hash.ledger, cluster.hash.ledger]);

  // What was told by nobody while the changes were broken is told as out of sync; nothing is missing else.
  const lines = readFileSync(changelog, 'utf8').trimEnd().split('\n');
  // The first of them says where the changelog begins.
  expect(lines.filter((line) => line.includes('outOfSync'))).toHaveLength(2);
  expect(seen.filter(({ kind }) => kind === 'out-of-sync')).toHaveLength(1);
});

test('what the follower had not told when it broke is told by its next life: nothing is missing for who listens', async () => {
  const cluster = new Cluster();
  cluster.grow(10);
  const told = new Set<string>();
  const http = await freeUrl('http');
  const reflector = await start({
    dir: 'ldb',
    endpoints: ['ws://node'],
    connect: cluster.connect,
    http,
    onEvent: (event) => news.push(event),
    onChanges: ({ keys = [] }) => {
      for (const key of keys) told.add(Buffer.from(key).toString('latin1'));
    },
  });
  await until('it is filled', () => reflector.status.revision === 10);
  told.clear();
  strike(reflector, 'follower');
  for (let i = 0; i < 20; i++) cluster.grow(1);
  await until('it is back', () => has('follower', 'back') && reflector.status.revision === 30);
  const changed = decodeRecords(streamRecords(11, 20)).flatMap(({ changes }) => changes.map(({ key }) => key));
  expect(changed.filter((key) => !told.has(Buffer.from(key).toString('latin1')))).toEqual([]);
  strike(reflector, 'http');
  strike(reflector, 'freshness');
  await until('the others come back too', () => has('http', 'back') && has('freshness', 'back'));
  expect((await fetch(`${http}/readyz`)).status).toBe(200);
});

test('a relay that comes back between a commit and the news of it begins with that news, and what nobody takes is let go', async () => {
  const served = new ServedLdb(1_000_000);
  const writer = await served.openWriter(reflectors.path, {});
  const told: string[] = [];
  const reader: LdbReader = {
    opened: ({ position }) => told.push(`opened at ${position.revision}`),
    gone: () => told.push('gone'),
    committed: ({ revision }) => told.push(`committed ${revision}`),
    replaced: () => told.push('replaced'),
  };
  const commit = async (revision: number): Promise<ReflectorEvent> => {
    const done = await writer.apply(streamRecords(revision, 1), 'c1');
    return { kind: 'applied', ...done };
  };
  served.note(await commit(1));
  const news2 = await commit(2);
  const detach = served.attach(reader);
  served.note(news2);
  served.note(await commit(3));
  detach();
  // Nobody was told of this one: the next reader begins at once.
  served.note(await commit(4));
  served.attach(reader);
  await writer.close();
  expect(told).toEqual(['opened at 2', 'committed 3', 'opened at 4', 'gone']);
});

test('a part that cannot come back is the end of the reflector, after five times; it answers until it is stopped', async () => {
  const cluster = new Cluster();
  cluster.grow(1);
  const http = await freeUrl('http');
  mkdirSync(join(reflectors.path, 'log'));
  const reflector = await start({
    dir: 'ldb',
    endpoints: ['ws://node'],
    connect: cluster.connect,
    http,
    changelog: { path: join(reflectors.path, 'log', 'changes') },
    onEvent: (event) => news.push(event),
  });
  await until('it is filled', () => reflector.status.revision === 1);
  rmSync(join(reflectors.path, 'log'), { recursive: true });
  strike(reflector, 'changes');
  cluster.grow(1);
  expect(await reflector.failed).toMatchObject({
    code: 'ACTOR_STOPPED',
    message: expect.stringContaining('/reflector/changes') as string,
    cause: { code: 'ENOENT' },
  });
  expect(news.filter((one) => one.kind === 'part' && one.part === 'changes' && one.state === 'failed')).toHaveLength(6);
  expect((await fetch(`${http}/healthz`)).status).toBe(503);
  await reflector.stop();
  await expect(fetch(`${http}/healthz`)).rejects.toThrow();
});

test('a listener that throws has missed a change, and is the end of it at once, in whatever life', async () => {
  const cluster = new Cluster();
  cluster.grow(1);
  let isEnough = false;
  const reflector = await start({
    dir: 'ldb',
    endpoints: ['ws://node'],
    connect: cluster.connect,
    onEvent: (event) => news.push(event),
    onChanges: () => {
      if (isEnough) throw new Error('no more');
    },
  });
  await until('it is filled', () => reflector.status.revision === 1);
  strike(reflector, 'follower');
  cluster.grow(1);
  await until('the follower is in its second life', () => has('follower', 'back') && reflector.status.revision === 2);
  isEnough = true;
  cluster.grow(1);
  expect((await reflector.failed).message).toBe('onChanges threw: Error: no more');
  const isFree = async (): Promise<boolean> => {
    try {
      await (await LdbWriter.open(join(reflectors.path, 'ldb'))).close();
      return true;
    } catch (error) {
      expect(error).toMatchObject({ code: 'DIR_LOCKED' });
      return false;
    }
  };
  while (!(await isFree())) await sleep(5);
  // There is no third: somebody else may write the replica now.
  expect(news.filter((one) => one.kind === 'part' && one.part === 'follower')).toHaveLength(2);
});

test('nobody breaks a reflector that is not one of a test', async () => {
  vi.unstubAllEnvs();
  const reflector = await start({ dir: 'ldb', endpoints: ['ws://node'], connect: new Cluster().connect });
  expect(() => strike(reflector, 'follower')).toThrow('only a reflector of a test');
});
