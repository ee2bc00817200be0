/** The application's actors on an embedded node: they use its store, end before it, and their failure is its own. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { expect, onTestFinished, test } from 'vitest';
import { z } from 'zod';
import { ask, defineActor, tell } from '../../src/actors/runtime/index.ts';
import { ACTORS } from '../../src/actors/shared.ts';
import { type RunningNode, startNode } from '../../src/node.ts';
import { freePorts } from '../support/cluster-process.ts';

async function started(): Promise<RunningNode> {
  const dataDir = mkdtempSync(join(tmpdir(), 'ctlmesh-node-actors-'));
  onTestFinished(() => rmSync(dataDir, { recursive: true, force: true }));
  const [client, peer, http] = await freePorts(3);
  const own = {
    client: `ws://127.0.0.1:${client}`,
    peer: `ws://127.0.0.1:${peer}`,
    http: `http://127.0.0.1:${http}`,
    dataDir,
  };
  const node = await startNode({ cluster: 'test', nodes: { n1: own } }, 'n1', { logger: pino({ level: 'silent' }) });
  onTestFinished(() => node.stop());
  return node;
}

test('an actor writes to the store until it has ended, also when the node stops', async () => {
  const node = await started();
  const log: string[] = [];
  const writer = defineActor({
    name: 'writer',
    protocol: { write: ask({ value: z.string() }, z.string().optional()) },
    start: () => ({}),
    on: {
      write: async (_state, { value }) => {
        await node.put('k', value);
        return node.getSync('k')?.text();
      },
    },
    stop: async () => {
      await node.put('k', 'last');
      log.push(`stopped: ${node.getSync('k')?.text()}`);
    },
  });
  const ref = await node.actors.spawn(writer);
  expect(await ref.ask({ kind: 'write', value: 'one' })).toBe('one');
  const { node: name, rows } = await node.listActors();
  expect([name, rows.find(({ path }) => path === ref.path)]).toMatchObject(['n1', { handled: 1, state: 'running' }]);
  const own = rows.filter(({ part }) => part === 'node');
  expect(own.map((row) => [row.path, row.state])).toEqual(ACTORS.map((actor) => [`/node/${actor}`, 'running']));
  for (const { path, handled } of own) expect(handled, path).toBeGreaterThan(0);
  // One tree, of one kind of rows.
  const tree = new Map((await node.actors.inspect()).map((row) => [row.path, row]));
  expect([...tree.keys()].sort()).toEqual([...ACTORS.map((actor) => `/node/${actor}`), ref.path].sort());
  expect(tree.get('/node/memtable')).toMatchObject({ thread: 'memtable', phase: 'running', incarnation: 1 });
  expect(tree.get('/node/gateway')).toMatchObject({ thread: 'main', phase: 'running' });
  await expect(node.actors.spawn(writer, { name: 'node' })).rejects.toMatchObject({ code: 'BAD_REQUEST' });
  const under = ref.ask({ kind: 'write', value: 'two' });
  await node.stop();
  expect(await under).toBe('two');
  expect(log).toEqual(['stopped: last']);
  expect(node.actors.actors).toBe(0);
});

test('when the root of the actors gives up, the node stops and says why', async () => {
  const node = await started();
  const fragile = defineActor({
    name: 'fragile',
    protocol: { crash: tell() },
    start: () => ({}),
    on: {
      crash() {
        throw new Error('crashed');
      },
    },
  });
  const ref = (await node.actors.spawn(fragile, { name: 'fragile' })).stable();
  // Each crash is of another life; the last of them is the root's end.
  while (node.actors.actors > 0) {
    ref.tell({ kind: 'crash' });
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  expect(await node.failed).toMatchObject({ code: 'ACTOR_STOPPED', message: expect.stringContaining('/fragile') });
});
