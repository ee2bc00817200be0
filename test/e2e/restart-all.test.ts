/** All processes gone at once, and logs that were damaged meanwhile. */
import { randomBytes } from 'node:crypto';
import { appendFileSync, closeSync, openSync, readdirSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { Run, TestCluster, until } from '../support/cluster-process.ts';
import { localState, readLedger, sameState, stateOf, Workload } from '../support/cluster-workload.ts';

let cluster: TestCluster | undefined;
afterEach(async () => {
  await cluster?.close();
  cluster = undefined;
});

/** The newest segment of a node's log, and where the data in it ends (what follows is zeros). */
function newestSegment(nodes: TestCluster, id: string): { readonly file: string; readonly end: number } {
  const dir = join(nodes.dataDir(id), 'wal');
  const names = readdirSync(dir).sort();
  const segments = names
    .map((name) => ({ file: join(dir, name), bytes: readFileSync(join(dir, name)) }))
    .map(({ file, bytes }) => ({ file, end: bytes.findLastIndex((byte) => byte !== 0) + 1 }))
    .filter(({ end }) => end > 0);
  const newest = segments.at(-1);
  if (newest === undefined) throw new Error(`no segment with data in ${dir}: ${names.join(', ')}`);
  return newest;
}

function overwrite(file: string, at: number, bytes: Uint8Array): void {
  const fd = openSync(file, 'r+');
  writeSync(fd, bytes, 0, bytes.length, at);
  closeSync(fd);
}

test('all killed at once, under load, again and again: all that was acknowledged is there, on every node', async () => {
  cluster = await TestCluster.start();
  const nodes = cluster;
  const work = new Workload(nodes);
  await work.start(2);
  for (let round = 0; round < 3; round++) {
    const before = work.acked;
    await until('200 more writes', () => {
      work.throwIfFailed();
      return work.acked >= before + 200;
    });
    await nodes.kill(...nodes.ids);
    const startedMs = performance.now();
    await nodes.startAll();
    console.log(`all back ${Math.round(performance.now() - startedMs)} ms after they were started`);
  }
  await work.stop();
  const { revision } = await (await nodes.client()).put('end', 'end');
  const pinned = await Promise.all(nodes.ids.map((id) => nodes.pinned(id)));
  await until(
    'no time to live is left',
    async () => {
      const [first] = pinned;
      if (first === undefined) return false;
      for await (const entry of first.range({ prefix: 'd/' })) if (entry.expiryMs !== undefined) return false;
      return true;
    },
    { everyMs: 100 },
  );
  const { applied } = (await pinned[0]?.status()) ?? { applied: 0 };
  for (const [i, client] of pinned.entries()) {
    const records = await readLedger(client, { to: applied, cluster: `e2e-${process.pid}` });
    work.check(records.filter((record) => record.revision < revision));
    sameState(await localState(client), stateOf(records), `n${i + 1} and its ledger`);
  }
});

test('garbage behind the last record of a log, and behind its file: trimmed, and the node goes on', async () => {
  cluster = await TestCluster.start();
  const nodes = cluster;
  const client = await nodes.client();
  for (let i = 0; i < 50; i++) await client.put(`k/${i}`, `v${i}`);
  await nodes.kill(...nodes.ids);
  const [n1, n2, n3] = nodes.ids.map((id) => newestSegment(nodes, id));
  if (n1 === undefined || n2 === undefined || n3 === undefined) throw new Error('three nodes');
  overwrite(n1.file, n1.end, randomBytes(5));
  overwrite(n2.file, n2.end, randomBytes(3_000));
  appendFileSync(n3.file, randomBytes(1_000));
  await nodes.startAll();
  for (const id of nodes.ids) {
    const pinned = await nodes.pinned(id);
    for (let i = 0; i < 50; i++) expect((await pinned.get(`k/${i}`))?.text()).toBe(`v${i}`);
  }
  // And what is written from here on survives the next start.
  const { revision } = await client.put('after', 'it');
  await nodes.kill(...nodes.ids);
  await nodes.startAll();
  expect((await client.get('after'))?.revision).toBe(revision);
});

test('a byte changed inside the log, and no repair: the node refuses, with file and offset in one line; the others serve', async () => {
  cluster = await TestCluster.start({ config: { repair: 'never' } });
  const nodes = cluster;
  const client = await nodes.client();
  for (let i = 0; i < 200; i++) await client.put(`k/${i}`, `v${i}`);
  const [victim = ''] = await nodes.followers();
  await nodes.kill(victim);
  const { file, end } = newestSegment(nodes, victim);
  const at = Math.floor(end / 2);
  const byte = readFileSync(file)[at] ?? 0;
  overwrite(file, at, Buffer.of(byte ^ 0x40));
  const refusing = nodes.spawn(victim);
  expect((await refusing.ended).code).toBe(1);
  const line = refusing.output.split('\n').find((one) => one.startsWith(`${victim}: `));
  expect(line).toContain('(WAL_CORRUPT)');
  expect(line).toContain(file);
  expect(line).toMatch(/\d+/);
  expect(readFileSync(file)[at], 'the damage is left as it is').toBe(byte ^ 0x40);
  expect((await client.put('still', 'served')).revision).toBeGreaterThan(0);

  // Under the launcher: the same line, once, and no stack.
  await nodes.kill(...nodes.running);
  const launcher = new Run(['cluster.js', '--config', nodes.configFile]);
  expect((await launcher.ended).code).toBe(1);
  const lines = launcher.output.split('\n').filter((one) => one.includes('WAL_CORRUPT'));
  expect(lines.filter((one) => one.startsWith(`${victim} cannot start: `)).length).toBe(1);
  expect(lines[0]).toContain(file);
  expect(launcher.output).not.toMatch(/^\s+at /m);
});
