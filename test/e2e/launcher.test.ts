/** `node cluster.js --config …` with real nodes: what it refuses, what it restarts, how it ends. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Run, TestCluster, until } from '../support/cluster-process.ts';

let nodes: TestCluster;
let runs: Run[] = [];
beforeEach(async () => {
  nodes = await TestCluster.prepare();
});
afterEach(async () => {
  for (const run of runs) {
    if (run.isOver) continue;
    run.child.kill('SIGTERM');
    await run.ended;
  }
  runs = [];
  await nodes.close();
});

function launch(...args: readonly string[]): Run {
  const run = new Run(['cluster.js', '--config', nodes.configFile, ...args]);
  runs.push(run);
  return run;
}

interface Config {
  cluster: string;
  nodes: Record<string, Record<string, string>>;
}
function edited(name: string, edit: (config: Config) => void): string {
  const config = JSON.parse(readFileSync(nodes.configFile, 'utf8')) as Config;
  edit(config);
  const file = join(nodes.dir, name);
  writeFileSync(file, JSON.stringify(config));
  return file;
}

const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};
const pidsIn = (run: Run): number[] =>
  [...run.output.matchAll(/is up: .*\(pid (\d+)\)/g)].map((match) => Number(match[1]));

test.each([
  ['an unknown key', (c: Config) => Object.assign(c, { ledgerByte: 1 }), 'ledgerByte'],
  [
    'a port twice',
    (c: Config) => Object.assign(c.nodes['n2'] ?? {}, { client: c.nodes['n1']?.['client'] }),
    'nodes.n2.client',
  ],
  ['no dataDir', (c: Config) => void delete c.nodes['n3']?.['dataDir'], 'nodes.n3.dataDir'],
  ['a directory twice', (c: Config) => Object.assign(c.nodes['n2'] ?? {}, { dataDir: 'n1' }), 'nodes.n2.dataDir'],
])('%s: exit 2, the path in the config, nothing started', async (_, edit, path) => {
  const run = new Run(['cluster.js', '--config', edited('bad.json', edit)]);
  expect((await run.ended).code).toBe(2);
  expect(run.output).toContain(path);
  expect(run.output).toContain('nothing was started');
  for (const id of nodes.ids) expect(existsSync(nodes.dataDir(id))).toBe(false);
});

test('a config that does not load, or is not there: exit 2, one line', async () => {
  for (const file of [join(nodes.dir, 'none.ts'), join(nodes.dir, 'broken.ts')]) {
    if (file.endsWith('broken.ts')) writeFileSync(file, 'export default {{{');
    const run = new Run(['cluster.js', '--config', file]);
    expect((await run.ended).code).toBe(2);
    expect(run.output).toContain(file);
    expect(run.output).not.toMatch(/^\s+at /m);
  }
});

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  test(`all nodes, a line each and one when a leader serves; ${signal} stops everything within 5 s: exit 0`, async () => {
    const run = launch();
    await run.sees(/ready: n\d leads/);
    await until('a line per node', () => pidsIn(run).length === 3);
    const client = await nodes.client();
    await client.put('k', 'v');
    // In the middle of work.
    const busy = Promise.allSettled(
      Array.from({ length: 200 }, (_, i) => client.put(`k/${i}`, 'v', { deadlineMs: 1_000 })),
    );
    const startedMs = performance.now();
    run.child.kill(signal);
    const { code } = await run.ended;
    expect(performance.now() - startedMs).toBeLessThan(5_000);
    expect([code, run.output]).toEqual([0, expect.stringContaining('all nodes stopped')]);
    expect(pidsIn(run).filter(isAlive)).toEqual([]);
    await busy;
  });
}

test('a child that is killed is told and started again, with what it had; the launcher killed: the nodes stop by themselves', async () => {
  const run = launch();
  await run.sees(/ready: n\d leads/);
  await until('a line per node', () => pidsIn(run).length === 3);
  const client = await nodes.client();
  await client.put('kept', 'v');
  const leader = /ready: (n\d) leads/.exec(run.output)?.[1] ?? '';
  const pid = Number(new RegExp(`${leader} is up: .*\\(pid (\\d+)\\)`).exec(run.output)?.[1]);
  process.kill(pid, 'SIGKILL');
  await run.sees(new RegExp(`${leader} died \\(SIGKILL\\); starting it again in \\d\\.\\d s`));
  await until('four lines of nodes that are up', () => pidsIn(run).length === 4, { explain: () => run.output });
  expect((await client.get('kept'))?.text()).toBe('v');
  expect((await (await nodes.pinned(leader)).get('kept'))?.text()).toBe('v');
  const pids = pidsIn(run).filter(isAlive);
  expect(pids.length).toBe(3);
  await run.kill('SIGKILL');
  await until('no node is left', () => pids.filter(isAlive).length === 0, { withinMs: 8_000 });
});

test('--no-restart leaves it down', async () => {
  const run = launch('--no-restart');
  await run.sees(/ready: n\d leads/);
  await until('a line per node', () => pidsIn(run).length === 3);
  process.kill(pidsIn(run)[1] ?? 0, 'SIGKILL');
  await run.sees('it is not started again');
  await (await nodes.client()).put('k', 'v');
  expect(pidsIn(run).length).toBe(3);
});

test('a second launcher of the same config ends with one readable line and exit 1; the first does not notice', async () => {
  const first = launch();
  await first.sees(/ready: n\d leads/);
  await until('a line per node', () => pidsIn(first).length === 3);
  const pids = pidsIn(first);
  const second = launch();
  expect((await second.ended).code).toBe(1);
  expect(second.output).toMatch(/n\d cannot start: .*\((DIR_LOCKED|EADDRINUSE)\)/);
  expect(second.output).not.toMatch(/^\s+at /m);
  expect(pids.every(isAlive)).toBe(true);
  await (await nodes.client()).put('k', 'v');
});

test('--node runs one in the foreground; its directory is refused to others: in use, another node, another cluster', async () => {
  const all = nodes.ids.map((id) => launch('--node', id));
  await nodes.client();
  for (const [i, run] of all.entries()) await run.sees(`n${i + 1} is up`);
  const ports = await TestCluster.prepare();
  const other = JSON.parse(readFileSync(ports.configFile, 'utf8')) as Config;
  try {
    const refused = async (edit: (config: Config) => void, code: string): Promise<void> => {
      const file = edited('other.json', (config) => {
        for (const id of nodes.ids)
          Object.assign(config.nodes[id] ?? {}, other.nodes[id], { dataDir: nodes.dataDir(id) });
        edit(config);
      });
      const dataDir = (JSON.parse(readFileSync(file, 'utf8')) as Config).nodes['n1']?.['dataDir'] ?? '';
      const run = new Run(['cluster.js', '--config', file, '--node', 'n1']);
      expect((await run.ended).code).toBe(1);
      const line = run.output.split('\n').find((one) => one.startsWith('n1: '));
      expect(line).toContain(`(${code})`);
      expect(line).toContain(dataDir);
    };
    await refused(() => {}, 'DIR_LOCKED');
    const [first, second] = all as [Run, Run];
    const startedMs = performance.now();
    first.child.kill('SIGTERM');
    expect((await first.ended).code).toBe(0);
    expect(performance.now() - startedMs).toBeLessThan(5_000);
    await refused((config) => (config.cluster = 'another'), 'DIR_FOREIGN');
    await second.kill('SIGKILL');
    const swap = (config: Config): void => {
      Object.assign(config.nodes['n1'] ?? {}, { dataDir: nodes.dataDir('n2') });
      Object.assign(config.nodes['n2'] ?? {}, { dataDir: nodes.dataDir('n1') });
    };
    await refused(swap, 'DIR_FOREIGN');
    // A lock survives kill -9 as a lock that nobody holds.
    const again = launch('--node', 'n2');
    await again.sees('n2 is up');
  } finally {
    await ports.close();
  }
});
