/**
 * A node inside an application that gets its state from a snapshot: the node object, its watch and its calls go on.
 */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Logger, pino } from 'pino';
import { afterEach, expect, test } from 'vitest';
import { type RunningNode, startNode } from '../../src/node.ts';
import { until } from '../support/cluster-process.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
const IDS = ['n1', 'n2', 'n3'] as const;

const running = new Set<RunningNode>();
let dir = '';
afterEach(async () => {
  await Promise.all([...running].map((node) => node.stop()));
  running.clear();
  rmSync(dir, { recursive: true, force: true });
});

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

test('its object, its watch and its calls go on while its state is replaced under them', {
  timeout: 240_000,
}, async () => {
  dir = mkdtempSync(join(tmpdir(), 'ctlmesh-embedded-'));
  const nodes: Record<string, { client: string; peer: string; http: string; dataDir: string }> = {};
  for (const id of IDS) {
    const [client, peer, http] = [await freePort(), await freePort(), await freePort()];
    nodes[id] = {
      client: `ws://127.0.0.1:${client}`,
      peer: `ws://127.0.0.1:${peer}`,
      http: `http://127.0.0.1:${http}`,
      dataDir: join(dir, id),
    };
  }
  const config = {
    ...{ cluster: 'embedded', nodes, memtableBytes: MIB, walSegmentBytes: 128 * KIB, walKeepBytes: 256 * KIB },
    raft: { electionTimeoutMs: 3_000, heartbeatMs: 300 },
  };
  const told: string[] = [];
  const logger: Logger = pino({ level: 'info' }, { write: (line: string) => told.push(line) });
  const start = async (id: string): Promise<RunningNode> => {
    const node = await startNode(config, id, { logger: logger.child({ node: id }) });
    running.add(node);
    return node;
  };
  const [n1, n2, n3] = await Promise.all(IDS.map((id) => start(id)));
  if (n1 === undefined || n2 === undefined || n3 === undefined) throw new Error('three nodes');
  const put = (n: number): ReturnType<RunningNode['put']> =>
    n1.put(`k/${n}`, randomBytes(15_000).toString('base64'), { deadlineMs: 30_000 });
  await put(0);
  await n3.stop();
  running.delete(n3);
  for (let i = 1; i < 300; i += 20) await Promise.all(Array.from({ length: 20 }, (_, j) => put(i + j)));
  // What it lacks is truncated some time after it was flushed; till then the log would do.
  for (const node of [n1, n2]) {
    await until('its log begins later', async () => ((await node.inspect())['wal-committer']?.firstIndex ?? 0) > 10);
  }
  const away = await start('n3');
  let failure: Error | undefined;
  void (async () => {
    failure = await away.failed;
  })();
  // Before, during and after: one iterator.
  const seen: number[] = [];
  const stop = new AbortController();
  const watching = (async () => {
    for await (const batch of away.watch({ prefix: 'w/', fromRevision: 1, signal: stop.signal }))
      seen.push(batch.revision);
  })().catch((error: unknown) => told.push(`the watch ended: ${String(error)}\n`));
  await until('n3 has installed a snapshot', () => told.some((line) => line.includes('snapshot.installed')), {
    withinMs: 90_000,
    explain: () => told.slice(-20).join(''),
  });
  const { revision } = await n1.put('w/1', 'x', { deadlineMs: 30_000 });
  await until('the watch goes on', () => seen.includes(revision), {
    withinMs: 60_000,
    explain: () => `${String(failure)} ${JSON.stringify(away.status())} ${seen.join()}\n${told.slice(-20).join('')}`,
  });
  // Its own calls, linearizable and local.
  expect((await away.get('k/7', { deadlineMs: 30_000 }))?.value).toEqual((await n1.get('k/7'))?.value);
  expect(away.getSync('w/1')?.text()).toBe('x');
  expect(away.getSync('k/250')?.value).toEqual(n1.getSync('k/250')?.value);
  expect((await away.put('by/n3', 'y', { deadlineMs: 30_000 })).revision).toBeGreaterThan(revision);
  expect(failure).toBeUndefined();
  stop.abort();
  await watching;
});
