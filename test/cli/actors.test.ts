import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, test } from 'vitest';
import type { ActorRow, ActorsView } from '../../src/client/types.ts';
import { StoreError } from '../../src/core/base/errors.ts';
import { FakeStore, kvctl, Printed } from './fixtures/fake-kvctl.ts';

function row(path: string, given: Partial<ActorRow> = {}): ActorRow {
  return {
    part: 'application',
    path,
    name: 'worker',
    thread: 'main',
    state: 'running',
    waits: 0,
    fullness: 0,
    handled: 0,
    p99Ms: null,
    kinds: [],
    restarts: 0,
    ...given,
  };
}

const view: ActorsView = {
  node: 'n1',
  rows: [
    row('/node/memtable', { part: 'node', name: 'memtable', thread: 'memtable', handled: 1_234_567, p99Ms: 2.048 }),
    row('/pool', { name: 'pool', thread: '/pool', waits: 1_024, fullness: 1, handled: 999, p99Ms: 0.008 }),
    row('/pool/worker-1', { state: 'stuck', busyWith: { kind: 'spin', forMs: 12_000 } }),
    row('/pool/worker-2', { state: 'coming back', restarts: 3, kinds: [{ kind: 'spin', p99Ms: 67_108.864 }] }),
  ],
  leftOff: 12,
  deadLetters: { full: 0, stopped: 2 },
};

function given(change: Partial<ActorsView> = {}): FakeStore {
  const store = new FakeStore();
  store.actors = { ...view, ...change };
  return store;
}

const ONE = ['--endpoints', 'ws://fake:1'];

test('a tree with a line for each, for a terminal of 80 columns', async () => {
  expect(await kvctl([...ONE, 'actors'], { store: given() })).toEqual({
    code: 0,
    out: `n1            thread  state         waits   full  handled      p99  restarts
  memtable    own     running           0    0 %   1.23 M  2.05 ms         0
  /pool       own     running      1.02 k  100 %      999     8 µs         0
    worker-1  main    stuck: spin       0    0 %        0        -         0
    worker-2  main    coming back       0    0 %        0        -         3
12 more are not shown
dead letters: 2 stopped
`,
    err: '',
  });
});

test('long names are cut where the line would be too long', async () => {
  const store = given({ rows: [row(`/${'x'.repeat(100)}`)], leftOff: 0, deadLetters: {} });
  const lines = (await kvctl([...ONE, 'actors'], { store })).out.split('\n');
  expect(Math.max(...lines.map((line) => line.length))).toBe(80);
  expect(lines[1]).toContain('xx…');
});

test('--kinds tells the kinds of messages apart', async () => {
  const { out } = await kvctl([...ONE, 'actors', '--kinds'], { store: given() });
  expect(out.split('\n').filter((line) => /^ +spin +67\.1 s$/.test(line))).toHaveLength(1);
});

test('--json gives all that the node says', async () => {
  const { out } = await kvctl([...ONE, 'actors', '--json'], { store: given() });
  expect(JSON.parse(out)).toEqual({ nodes: [{ endpoint: 'ws://fake:1', reachable: true, ...view }] });
});

test('--node takes one of them; a name that nobody has is said', async () => {
  expect((await kvctl([...ONE, 'actors', '--node', 'n1'], { store: given() })).code).toBe(0);
  expect(await kvctl([...ONE, 'actors', '--node', 'n9'], { store: given() })).toEqual({
    code: 1,
    out: '',
    err: 'kvctl: no node that answers is called n9; see kvctl status\n',
  });
});

test('a node that does not answer is said; when none does, the exit code is 1', async () => {
  const connect = async (urls: readonly string[]): Promise<never> => {
    throw new StoreError('UNAVAILABLE', `nobody at ${urls[0]}`);
  };
  expect(await kvctl([...ONE, 'actors'], { connect })).toEqual({
    code: 1,
    out: 'ws://fake:1: unreachable (UNAVAILABLE)\n',
    err: 'kvctl: no node answers; is the cluster up? see --endpoints\n',
  });
});

class TerminalOfATest extends Printed {
  override readonly isTTY = true as never;
  readonly columns: number = 100;
}

test('a terminal that does not know its width has 80 columns', async () => {
  const stdout = Object.assign(new TerminalOfATest(), { columns: 0 });
  await kvctl([...ONE, 'actors'], { store: given(), stdout, env: { NO_COLOR: '1' } });
  expect(stdout.text).toContain('    worker-1  main ');
});

test.each([
  ['colours show what is not well', {}, true],
  ['NO_COLOR', { NO_COLOR: '1' }, false],
])('on a terminal: %s', async (_what, env, isColoured) => {
  const stdout = new TerminalOfATest();
  await kvctl([...ONE, 'actors'], { store: given(), stdout, env });
  expect(stdout.text.includes('\u001b[31mstuck: spin')).toBe(isColoured);
  expect(stdout.text.includes('\u001b')).toBe(isColoured);
});

test('--watch draws again and again, each time from the corner, until Ctrl-C', async () => {
  const stop = new AbortController();
  const stdout = new TerminalOfATest();
  const store = given();
  let looks = 0;
  const connect = async (): Promise<ReturnType<FakeStore['client']>> => {
    if (++looks === 3) stop.abort();
    return store.client();
  };
  const { code } = await kvctl([...ONE, 'actors', '--watch', '--every', '1ms'], {
    ...{ store, connect, stdout, env: { NO_COLOR: '1' }, signal: stop.signal },
  });
  expect([code, stdout.text.split('\u001b[H\u001b[J').length - 1]).toEqual([0, 2]);
});

test('the parts of a reflector are asked for over HTTP', async () => {
  const part = row('/reflector/relay', { part: 'node', name: 'relay', restarts: 2 });
  const server = createServer(({ url }, response) => {
    response.writeHead(url === '/debug/actors' ? 200 : 404);
    response.end(JSON.stringify({ node: 'h:/ldb', rows: [part], leftOff: 0, deadLetters: {} }));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const { code, out } = await kvctl(['actors', '--url', url]);
  expect([code, out.split('\n')[1]]).toEqual([0, expect.stringMatching(/^ {2}relay +main +running .* 2$/)]);
  server.close();
  server.closeAllConnections();
  await once(server, 'close');
  expect(await kvctl(['actors', '--url', url])).toMatchObject({
    code: 1,
    out: expect.stringContaining(`${url}: unreachable (UNAVAILABLE)`) as string,
    err: expect.stringContaining(`no reflector answers at ${url}`) as string,
  });
});
