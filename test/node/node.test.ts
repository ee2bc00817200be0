import { closeSync, mkdtempSync, openSync, readdirSync, readFileSync, readlinkSync, rmSync, writeSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { ClusterConfigInput } from '../../src/config/index.ts';
import { StoreError } from '../../src/core/base/errors.ts';
import { type RunningNode, startNode } from '../../src/node.ts';

async function listening(port = 0): Promise<Server & { port: number }> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  return Object.assign(server, { port: (server.address() as { port: number }).port });
}

/** A cluster of one on free ports, in a directory that goes with the test. */
async function config(tuning: Partial<ClusterConfigInput> = {}): Promise<ClusterConfigInput> {
  const dataDir = mkdtempSync(join(tmpdir(), 'ctlmesh-node-'));
  onTestFinished(() => rmSync(dataDir, { recursive: true, force: true }));
  const servers = await Promise.all([listening(), listening(), listening()]);
  const [client, peer, http] = servers.map(({ port }) => port);
  for (const server of servers) await new Promise((resolve) => server.close(resolve));
  return {
    cluster: 'test',
    memtableBytes: 64 * 1024 * 1024,
    ...tuning,
    nodes: {
      n1: {
        client: `ws://127.0.0.1:${client}`,
        peer: `ws://127.0.0.1:${peer}`,
        http: `http://127.0.0.1:${http}`,
        dataDir,
      },
    },
  };
}

async function start(input: ClusterConfigInput): Promise<RunningNode> {
  const node = await startNode(input, 'n1', { logger: pino({ level: 'silent' }) });
  onTestFinished(() => node.stop());
  return node;
}

/** File descriptors of this process that are segments of `dir`. */
function walFds(dir: string): number[] {
  return readdirSync('/proc/self/fd').flatMap((name) => {
    try {
      const path = readlinkSync(`/proc/self/fd/${name}`);
      return path.startsWith(dir) && path.includes('/wal/') ? [Number(name)] : [];
    } catch {
      return [];
    }
  });
}

const dirOf = (input: ClusterConfigInput): string => input.nodes['n1']?.dataDir ?? '';

test('what was acknowledged is read at once in this process, and after a restart', async () => {
  const input = await config();
  const node = await start(input);
  const puts = await Promise.all(Array.from({ length: 200 }, (_, i) => node.put(`k${i}`, `v${i}`)));
  expect(new Set(puts.map(({ revision }) => revision)).size).toBe(200);
  for (let i = 0; i < 200; i++) expect(node.getSync(`k${i}`)?.text()).toBe(`v${i}`);
  expect(node.rangeSync({ prefix: 'k1', limit: 3 }).map((entry) => entry.keyText())).toEqual(['k1', 'k10', 'k100']);
  await node.stop();
  await node.stop();
  await expect(node.put('late', '1')).rejects.toMatchObject({ code: 'CLOSED' });
  const again = await start(input);
  expect(await again.get('k199')).toMatchObject({ revision: puts[199]?.revision });
  for (let i = 0; i < 200; i++) expect(again.getSync(`k${i}`)?.text()).toBe(`v${i}`);
});

test('many segments, written and left while many write at once, hold everything that was acknowledged', async () => {
  const input = await config({ walSegmentBytes: 256 * 1024 });
  const node = await start(input);
  const value = 'x'.repeat(20_000);
  for (let round = 0; round < 8; round++) {
    await Promise.all(Array.from({ length: 50 }, (_, i) => node.put(`k${round}-${i}`, value)));
  }
  expect(readdirSync(join(dirOf(input), 'wal')).length).toBeGreaterThan(4);
  // A lone write after a segment was left is acknowledged at once, too.
  for (let i = 0; i < 60; i++) await node.put(`lone${i}`, value);
  await node.stop();
  const again = await start(input);
  expect(await again.get('lone59')).toBeDefined();
  expect(again.rangeSync().length).toBe(460);
});

describe('a disk that fails', () => {
  test.each([
    ['its file is gone', () => {}],
    // Writes vanish without a word, and only the sync fails.
    ['its syncs fail', (fd: number) => expect(openSync('/dev/null', 'w')).toBe(fd)],
  ])('%s: nothing is acknowledged any more, the node stops and says why, and loses nothing', async (_how, replace) => {
    const input = await config();
    const node = await start(input);
    const acked = await Promise.all(Array.from({ length: 20 }, (_, i) => node.put(`before${i}`, 'v')));
    const before = node.status().applied;
    const fds = walFds(dirOf(input));
    expect(fds.length).toBeGreaterThan(0);
    for (const fd of fds) {
      closeSync(fd);
      replace(fd);
    }
    const outcomes = await Promise.allSettled(
      Array.from({ length: 10 }, (_, i) => node.put(`after${i}`, 'v', { deadlineMs: 8_000 })),
    );
    expect(outcomes.map(({ status }) => status)).toEqual(outcomes.map(() => 'rejected'));
    for (const outcome of outcomes) {
      const { code } = (outcome as PromiseRejectedResult).reason as StoreError;
      // Never that it was not done: who knows what the disk holds.
      expect(['OUTCOME_UNKNOWN', 'CLOSED']).toContain(code);
    }
    const reason = await node.failed;
    expect(reason).toBeInstanceOf(StoreError);
    expect(reason).toMatchObject({ code: 'DISK_FAILED' });
    // What was not synced was never shown.
    expect(() => node.getSync('after0')).toThrow('the store is closed');
    expect(node.status().applied).toBeLessThanOrEqual(before + 1);
    await node.stop();

    const again = await start(input);
    for (const [i, { revision }] of acked.entries()) {
      expect(await again.get(`before${i}`)).toMatchObject({ revision });
    }
    expect((await again.put('new', '1')).revision).toBeGreaterThan(before);
  });
});

describe('a start that fails leaves nothing behind', () => {
  test.each(['client', 'peer', 'http'] as const)('when the %s address is taken', async (address) => {
    const input = await config();
    const taken = await listening(Number(new URL(input.nodes['n1']?.[address] ?? '').port));
    const failure = await start(input).then(
      () => undefined,
      (error: unknown) => error,
    );
    expect(JSON.stringify(failure, Object.getOwnPropertyNames(failure)) + String((failure as Error).cause)).toMatch(
      /EADDRINUSE/,
    );
    await new Promise((resolve) => taken.close(resolve));
    // The lock and every other address are free again.
    const node = await start(input);
    expect((await node.put('k', 'v')).revision).toBeGreaterThan(0);
  });

  test('when the directory is in use', async () => {
    const input = await config();
    const node = await start(input);
    await expect(start(input)).rejects.toMatchObject({ code: 'DIR_LOCKED' });
    await node.put('k', 'v');
  });

  test('when there is no such node', async () => {
    await expect(startNode(await config(), 'n9')).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
  });
});

test('a log that is gone while its tables are there is damage, and said so', async () => {
  const input = await config({ memtableBytes: 1024 * 1024 });
  const node = await startNode(input, 'n1', { logger: pino({ level: 'silent' }) });
  for (let i = 0; node.status().flushed === 0; i++) await node.put(`k${i}`, 'v'.repeat(100_000));
  await node.stop();
  rmSync(join(dirOf(input), 'wal'), { recursive: true });
  await expect(start(input)).rejects.toMatchObject({
    code: 'WAL_CORRUPT',
    message: expect.stringContaining('ends at 0, before the tables'),
  });
});

test('a node that meets a damaged table while it runs ends, and leaves word for its next start', async () => {
  const input = await config({ memtableBytes: 1024 * 1024, cacheBytes: 0 });
  const n1 = input.nodes['n1'] as ClusterConfigInput['nodes'][string];
  // Somebody who could repair it, and need not run for this.
  const others = { client: 'ws://127.0.0.1:9', peer: 'ws://127.0.0.1:19', http: 'http://127.0.0.1:29' };
  const n2 = { ...others, dataDir: `${n1.dataDir}-2`, join: true };
  const node = await start({ ...input, nodes: { n1, n2 } });
  for (let i = 0; node.status().flushed === 0; i++) await node.put(`k${i}`, 'v'.repeat(100_000));
  const tree = join(n1.dataDir, 'tree');
  for (const name of readdirSync(tree).filter((one) => one.endsWith('.ldb'))) {
    const fd = openSync(join(tree, name), 'r+');
    writeSync(fd, Buffer.alloc(4_000, 0xaa), 0, 4_000, 100);
    closeSync(fd);
  }
  await expect(node.get('k0')).rejects.toThrow();
  expect(await node.failed).toMatchObject({ code: 'TABLE_CORRUPT' });
  const said = JSON.parse(readFileSync(join(n1.dataDir, 'DAMAGED'), 'utf8')) as object;
  expect(said).toMatchObject({ code: 'TABLE_CORRUPT', data: { file: expect.stringContaining('.ldb') } });
});

test('calls of every kind go through the node’s own gateway', async () => {
  const node = await start(await config());
  const watch = node.watch({ prefix: 'w' })[Symbol.asyncIterator]();
  const first = watch.next();
  // The watch stands once the node has answered a read behind it.
  await node.get('w');
  await node.put('w1', '1', { ttlMs: 60_000 });
  expect((await first).value).toMatchObject({ kind: 'put', lastOfRevision: true });
  const done = await node.txn((t) => t.ifAbsent('w2').put('w2', '2').get('w1'));
  expect([done.succeeded, done.results.map(({ kind }) => kind)]).toEqual([true, ['put', 'get']]);
  expect((await watch.next()).value?.keyText()).toBe('w2');
  expect(await node.delete('w1')).toMatchObject({ found: true });
  const keys: string[] = [];
  for await (const entry of node.range({ prefix: 'w' })) keys.push(entry.keyText());
  expect(keys).toEqual(['w2']);
  expect(Object.keys(await node.inspect()).sort()).toEqual([
    'compactor',
    'memtable',
    'replication',
    'shipper',
    'syncer',
    'wal-committer',
  ]);
  await node.stop();
  await expect(watch.next().then(() => watch.next())).rejects.toMatchObject({ code: 'CLOSED' });
});

test('what the state does on its way to disk is in the metrics', async () => {
  const input = await config();
  const node = await start({ ...input, memtableBytes: 1024 * 1024 });
  const value = 'x'.repeat(10_000);
  for (let i = 0; i < 400; i += 50) {
    await Promise.all(Array.from({ length: 50 }, (_, j) => node.put(`key-${i + j}`, value)));
  }
  const metric = async (name: string): Promise<number> => {
    const response = await fetch(`${input.nodes['n1']?.http ?? ''}/metrics`);
    const line = (await response.text()).split('\n').find((one) => one.startsWith(`ctlmesh_${name}{`));
    return Number(line?.split(' ').at(-1));
  };
  await expect.poll(() => metric('flushes_total'), { timeout: 10_000 }).toBeGreaterThan(0);
  expect(await metric('flushed_revision')).toBeGreaterThan(0);
  expect(await metric('table_bytes')).toBeGreaterThan(0);
  expect(await metric('write_stalled')).toBe(0);
  expect(await metric('block_cache_misses_total')).toBeGreaterThanOrEqual(0);
  expect(node.status().flushed).toBeGreaterThan(0);
  // Both from tables and from the memtable.
  for (const i of [0, 1, 200, 399]) expect(node.getSync(`key-${i}`)?.text()).toBe(value);
  expect(node.rangeSync({ prefix: 'key-' })).toHaveLength(400);
});
