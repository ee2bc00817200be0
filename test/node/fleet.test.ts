/**
 * The fleet of a cluster of three nodes in this process: LDBs at different nodes, asked for at any of them.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { LdbReport, LedgerReplica } from '../../src/client/fleet-types.ts';
import { connect } from '../../src/client/index.ts';
import type { Client } from '../../src/client/types.ts';
import { isStoreError, type StoreError } from '../../src/core/base/errors.ts';
import { toIndex } from '../../src/core/base/position.ts';
import { type RunningNode, startNode } from '../../src/index.ts';
import { type RunningReflector, startReflector } from '../../src/reflector/index.ts';
import { freePorts } from '../support/cluster-process.ts';

const WAIT = { timeout: 60_000, interval: 20 };
const PATIENT_MS = 60_000;

let dir: string;
let nodes: RunningNode[] = [];
let urls: string[] = [];
let reflectors: RunningReflector[] = [];

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'ctlmesh-fleet-'));
  const ports = await freePorts(9);
  const ids = ['n1', 'n2', 'n3'];
  const at = ids.map((id, i) => ({
    client: `ws://127.0.0.1:${ports[3 * i]}`,
    peer: `ws://127.0.0.1:${ports[3 * i + 1]}`,
    http: `http://127.0.0.1:${ports[3 * i + 2]}`,
    dataDir: join(dir, id),
  }));
  urls = at.map(({ client }) => client);
  const config = { cluster: 'test', nodes: Object.fromEntries(ids.map((id, i) => [id, at[i]])) };
  const logger = pino({ level: 'silent' });
  nodes = await Promise.all(ids.map((id) => startNode(config as never, id, { logger })));
  // Each has heard of the others, and of a leader.
  for (const node of nodes) await node.put('began', node.id, { deadlineMs: PATIENT_MS });
  reflectors = await Promise.all(
    ['a', 'b'].map((id, i) =>
      startReflector({ endpoints: [urls[i] as string], dir: join(dir, id), id, labels: { ring: `${i}` } }),
    ),
  );
}, 90_000);

afterAll(async () => {
  for (const reflector of reflectors) await reflector.stop();
  await Promise.all(nodes.map((node) => node.stop()));
  rmSync(dir, { recursive: true, force: true });
}, 90_000);

/** An LDB that says what the test has it say. */
async function puppet(
  url: string,
  id: string,
): Promise<{ client: Client; report: (report: LdbReport) => void; asked: number[] }> {
  const client = await connect([url], { pinned: true });
  const asked: number[] = [];
  const { promise, resolve } = Promise.withResolvers<(report: LdbReport) => void>();
  const replica: LedgerReplica = {
    identity: { id, instance: 'i', host: 'h', labels: {}, pid: 1, version: '0' },
    attached: resolve,
    asked: (revision) => asked.push(revision),
  };
  const stream = client.ledger({ fromRevision: toIndex(1), cluster: '', replica })[Symbol.asyncIterator]();
  await stream.next();
  return { client, report: await promise, asked };
}

const node = (i: number): RunningNode => nodes[i] as RunningNode;

test('any node knows every LDB, whichever node feeds it, and how far it is', async () => {
  const { revision } = await node(2).put('k', 'v');
  await expect
    .poll(async () => (await node(2).fleet.list()).ldbs.filter((row) => row.revision >= revision).length, WAIT)
    .toBe(2);
  const view = await node(0).fleet.list();
  expect(view).toMatchObject({ unheard: [], left: 0 });
  const [a, b] = view.ldbs.toSorted((x, y) => (x.id < y.id ? -1 : 1));
  expect(a).toMatchObject({ id: 'a', via: 'n1', state: 'following', labels: { ring: '0' }, filter: null });
  expect(b).toMatchObject({ id: 'b', via: 'n2', pid: process.pid });
});

test('a put that is to be visible resolves once the replicas show it, and says how many', async () => {
  const { revision, visibility } = await node(2).put('seen', 'x', { visible: { replicas: 1, withinMs: PATIENT_MS } });
  expect(visibility).toMatchObject({ replicas: 2, showing: 2, missing: [] });
  for (const { status } of reflectors) expect(status.revision).toBeGreaterThanOrEqual(revision);
});

test('a replica that does not show it is named, at another node too; the write is committed all the same', async () => {
  const slow = await puppet(urls[2] as string, 'slow');
  const failure = await node(0)
    .put('slow', 'x', { visible: { replicas: 1, withinMs: 0 } })
    .catch((error: unknown) => error);
  expect(isStoreError(failure, 'NOT_VISIBLE')).toBe(true);
  const { data, message } = failure as StoreError;
  expect(message).toContain('the write is committed');
  const { revision } = (await node(0).get('slow')) ?? { revision: 0 };
  expect(data).toMatchObject({
    revision,
    missing: expect.arrayContaining([expect.objectContaining({ id: 'slow', via: 'n3' })]) as unknown,
  });
  await expect.poll(() => slow.asked, WAIT).toContain(revision);

  // Two of three is enough for whoever asked for less; and what it says itself counts.
  const { showing } = await node(0).fleet.visible(revision, { replicas: 0.6, withinMs: PATIENT_MS });
  expect(showing).toBe(2);
  const waiting = node(1).fleet.visible(revision, { replicas: 1, withinMs: PATIENT_MS });
  slow.report({ revision, timeMs: 1, isInSnapshot: false });
  expect(await waiting).toMatchObject({ replicas: 3, showing: 3 });
  await slow.client.close();
});

test('what a relay feeds is known to every node, and waited for through it', async () => {
  const [port] = await freePorts(1);
  const listen = `ws://127.0.0.1:${port}`;
  const relay = await startReflector({ endpoints: [urls[1] as string], dir: join(dir, 'relay'), id: 'relay', listen });
  reflectors.push(relay);
  await expect.poll(() => relay.status.revision, WAIT).toBeGreaterThan(0);
  const leaf = await startReflector({ endpoints: [listen], dir: join(dir, 'leaf'), id: 'leaf' });
  reflectors.push(leaf);
  const viaOf = async (): Promise<string | undefined> =>
    (await node(2).fleet.list()).ldbs.find(({ id, revision }) => id === 'leaf' && revision > 0)?.via;
  await expect.poll(viaOf, WAIT).toBe('relay');
  // Four are here; one of an earlier test has left, and counts for a while.
  const wanted = { replicas: 0.8, withinMs: PATIENT_MS, replicasMin: 4 };
  const { revision, visibility } = await node(0).put('deep', 'x', { visible: wanted });
  expect(visibility?.showing).toBe(4);
  expect(leaf.status.revision).toBeGreaterThanOrEqual(revision);
});

test('what cannot be waited for is refused before anything is written', async () => {
  await expect(node(0).put('never', 'x', { visible: { replicas: 2 } })).rejects.toMatchObject({ code: 'BAD_REQUEST' });
  expect(await node(0).get('never')).toBeUndefined();
});

test('a fleet smaller than was asked for is never enough', async () => {
  const { revision } = await node(0).put('few', 'x');
  await expect(node(0).fleet.visible(revision, { replicas: 0.5, withinMs: 0, replicasMin: 100 })).rejects.toMatchObject(
    { code: 'NOT_VISIBLE', data: { revision } },
  );
});
