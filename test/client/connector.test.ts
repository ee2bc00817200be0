import { fork } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { type WebSocket, WebSocketServer } from 'ws';
import { StoreClient } from '../../src/client/client.ts';
import type { ClientEvent, ConnectOptions } from '../../src/client/types.ts';
import { ByteWriter } from '../../src/core/base/bytes.ts';
import { StoreError } from '../../src/core/base/errors.ts';
import * as wire from '../../src/core/wire/client.ts';
import { codeOf, type Connection, FakeServer, stateOf, turns } from './fake-server.ts';

let clients: { readonly client: StoreClient; readonly server: FakeServer }[] = [];

afterEach(async () => {
  for (const { client, server } of clients) {
    server.onDial = () => {};
    server.last.lose();
    await client.close();
  }
  clients = [];
});

function connecting(
  urls: readonly string[],
  onDial: (connection: Connection) => void,
  options: ConnectOptions = {},
): { server: FakeServer; client: StoreClient } {
  const server = new FakeServer();
  server.onDial = onDial;
  const client = new StoreClient(urls, options, server.dial);
  clients.push({ client, server });
  return { server, client };
}

const until = (what: string, condition: () => boolean): Promise<void> =>
  vi.waitFor(
    () => {
      if (!condition()) throw new Error(`not yet: ${what}`);
    },
    { timeout: 5_000, interval: 2 },
  );

describe('finding a node', () => {
  test('an endpoint that refuses is passed over for the next, at once', async () => {
    const { server, client } = connecting(['ws://a', 'ws://b', 'ws://c'], (connection) => {
      if (connection.url === 'ws://c') connection.greet({ node: 'c', leader: 'c' });
      else connection.lose('refused');
    });
    await client.ready(2_000);
    expect(client.endpoint).toBe('ws://c');
    expect(client.state).toBe('connected');
    expect(server.dials.length).toBeLessThanOrEqual(3);
  });

  test('a node that does not lead names the one that does: the client goes there', async () => {
    const { client } = connecting(['ws://a'], (connection) =>
      connection.greet(
        connection.url === 'ws://l' ? { node: 'l', leader: 'l' } : { node: 'a', leader: 'l', leaderUrl: 'ws://l' },
      ),
    );
    await client.ready(2_000);
    expect(client.endpoint).toBe('ws://l');
  });

  test('a leader whose address leads nowhere does not keep the client from the others', async () => {
    const { server, client } = connecting(['ws://a'], (connection) => {
      if (connection.url === 'ws://l') connection.lose('no such host');
      else connection.greet({ node: 'a', leader: 'l', leaderUrl: 'ws://l' });
    });
    await client.ready(2_000);
    expect(client.endpoint).toBe('ws://a');
    expect(server.dials.map(({ url }) => url)).toEqual(['ws://a', 'ws://l', 'ws://a']);
  });

  test('a leader whose address is none at all does not end the client', async () => {
    const server = new FakeServer();
    server.onDial = (connection) => connection.greet({ node: 'a', leader: 'l', leaderUrl: 'nonsense' });
    const client = new StoreClient(['ws://a'], {}, (url, events) => {
      if (url === 'nonsense') throw new StoreError('BAD_REQUEST', 'not a WebSocket URL: nonsense');
      return server.dial(url, events);
    });
    clients.push({ client, server });
    await client.ready(2_000);
    expect(client.endpoint).toBe('ws://a');
  });

  test('nodes that each name another are not followed for ever', async () => {
    const { server, client } = connecting(['ws://a'], (connection) => {
      const other = connection.url === 'ws://a' ? 'ws://b' : 'ws://a';
      connection.greet({ node: connection.url, leader: other, leaderUrl: other });
    });
    await client.ready(2_000);
    await turns(20);
    expect(server.dials.length).toBeLessThan(6);
  });

  test('one that is pinned stays, whoever leads', async () => {
    const { server, client } = connecting(
      ['ws://a', 'ws://b'],
      (connection) => connection.greet({ node: 'a', leader: 'l', leaderUrl: 'ws://l' }),
      { pinned: true },
    );
    await client.ready(2_000);
    server.last.notice('m', 'ws://m');
    server.last.lose();
    await until('it is connected again', () => server.dials.length === 2 && client.state === 'connected');
    expect(server.dials.map(({ url }) => url)).toEqual(['ws://a', 'ws://a']);
  });

  test('a node that knows no leader is passed over for one that does', async () => {
    const { server, client } = connecting(['ws://a', 'ws://b', 'ws://c'], (connection) =>
      connection.greet(
        connection.url === 'ws://b' ? { node: 'b', leader: 'b' } : { node: 'x', leader: '', leaderUrl: '' },
      ),
    );
    await client.ready(2_000);
    expect(client.endpoint).toBe('ws://b');
    expect(server.dials.length).toBeLessThanOrEqual(3);
  });

  test('where nobody knows a leader, one of them is made do with, after one round', async () => {
    const { server, client } = connecting(['ws://a', 'ws://b', 'ws://c'], (connection) =>
      connection.greet({ leader: '', leaderUrl: '' }),
    );
    await client.ready(2_000);
    expect(new Set(server.dials.map(({ url }) => url))).toEqual(new Set(['ws://a', 'ws://b', 'ws://c']));
    expect(server.dials).toHaveLength(3);
    expect(client.state).toBe('connected');
  });

  test.each<[string, readonly string[], ConnectOptions]>([
    ['the only one there is', ['ws://a'], {}],
    ['the one that was asked for', ['ws://a', 'ws://b'], { pinned: true }],
  ])('%s is not passed over', async (_what, urls, options) => {
    const greet = (connection: Connection): unknown => connection.greet({ leader: '', leaderUrl: '' });
    const { server, client } = connecting(urls, greet, options);
    await client.ready(2_000);
    expect(server.dials.map(({ url }) => url)).toEqual(['ws://a']);
  });

  test('a node that speaks before it greets is left', async () => {
    const { server, client } = connecting(['ws://a'], (connection) => {
      if (server.dials.length > 1) connection.greet();
      else {
        connection.events.onOpen();
        // Would pass for a welcome of empty strings.
        connection.events.onFrame(new ByteWriter(16).u8(wire.FRAME.replies).raw(new Uint8Array(8)).take());
      }
    });
    await client.ready(2_000);
    expect(server.dials).toHaveLength(2);
  });

  test.each([
    ['nothing', (connection: Connection) => connection.events.onFrame(new Uint8Array(0))],
    ['garbage', (connection: Connection) => connection.events.onFrame(Uint8Array.of(wire.FRAME.replies, 0xff, 0xff))],
    [
      'what only clients send',
      (connection: Connection) => connection.events.onFrame(Uint8Array.of(wire.FRAME.credit, 1, 1)),
    ],
  ])('a node that says %s is left, and what was under way goes on elsewhere', async (_what, say) => {
    const { server, client } = connecting(['ws://a'], (connection) => connection.greet());
    await client.ready(2_000);
    const get = client.get('a');
    await turns();
    say(server.last);
    await until('it is asked again', () => server.dials.length === 2 && server.last.calls.length === 1);
    server.last.ok(server.last.calls[0]?.id ?? 0, 0);
    expect(await get).toBeUndefined();
  });
});

describe('who leads changes', () => {
  test('the client moves, and what was under way happens there under its number', async () => {
    const { server, client } = connecting(['ws://a'], (connection) => {
      connection.autoSession = 50;
      const node = connection.url.slice(-1);
      connection.greet({ node, leader: node });
    });
    await client.ready(2_000);
    const put = client.put('k', 'v');
    await until('it is sent', () => server.last.writes.length === 1);
    const [first] = server.last.writes;
    server.last.notice('b', 'ws://b');
    await until('it is sent to b', () => server.last.url === 'ws://b' && server.last.writes.length === 1);
    expect(server.dials[0]?.isClosed).toBe(true);
    expect(server.last.writes[0]).toMatchObject({ session: first?.session, seq: first?.seq });
    server.last.ok(server.last.writes[0]?.id ?? 0, 4);
    expect((await put).revision).toBe(4);
  });

  test('a node that goes on to know no leader is left; one that finds one in time is not', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    onTestFinished(() => void vi.useRealTimers());
    const { server, client } = connecting(['ws://a', 'ws://b'], (connection) =>
      connection.greet({ node: connection.url.slice(-1), leader: connection.url.slice(-1) }),
    );
    await turns();
    const first = server.last;
    expect(client.endpoint).toBe(first.url);
    first.notice('', '');
    await vi.advanceTimersByTimeAsync(2_900);
    first.notice('it', first.url);
    await vi.advanceTimersByTimeAsync(10_000);
    expect([client.endpoint, server.dials.length]).toEqual([first.url, 1]);
    first.notice('', '');
    await vi.advanceTimersByTimeAsync(6_100);
    await turns();
    expect(server.last.url).not.toBe(first.url);
    expect(client.endpoint).toBe(server.last.url);
  });

  test('who only reads has more patience with it', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    onTestFinished(() => void vi.useRealTimers());
    const { server, client } = connecting(['ws://a', 'ws://b'], (connection) => connection.greet(), {
      followLeader: false,
    });
    await turns();
    server.last.notice('', '');
    await vi.advanceTimersByTimeAsync(29_000);
    expect([server.dials.length, client.state]).toEqual([1, 'connected']);
    await vi.advanceTimersByTimeAsync(32_000);
    await turns();
    expect(server.dials.length).toBe(2);
  });

  test('news of nobody, or of the node it is on, moves nobody', async () => {
    const { server, client } = connecting(['ws://a'], (connection) => connection.greet());
    await client.ready(2_000);
    server.last.notice('', '');
    server.last.notice('n1', 'ws://a');
    await turns();
    expect(server.dials).toHaveLength(1);
  });
});

describe('goodbyes', () => {
  test('a version that the only node does not speak ends the client, with the reason, also for what waits', async () => {
    const { client, server } = connecting(['ws://a'], () => {}, {});
    const ready = client.ready(2_000);
    const put = client.put('k', 'v');
    server.last.goodbye('PROTOCOL_VERSION');
    expect(await codeOf(ready)).toBe('PROTOCOL_VERSION');
    expect(await codeOf(put)).toBe('PROTOCOL_VERSION');
    expect(await codeOf(client.get('k'))).toBe('PROTOCOL_VERSION');
    expect(await codeOf(client.ready(100))).toBe('PROTOCOL_VERSION');
    expect(client.state).toBe('closed');
  });

  test('one of several nodes that speaks another version is passed over', async () => {
    const { client } = connecting(['ws://old', 'ws://new'], (connection) => {
      if (connection.url === 'ws://old') connection.goodbye('PROTOCOL_VERSION');
      else connection.greet({ node: 'new', leader: 'new' });
    });
    await client.ready(2_000);
    expect(client.endpoint).toBe('ws://new');
  });

  test('a leader that speaks another version does not end a client of a node that speaks ours', async () => {
    const { client } = connecting(['ws://a'], (connection) => {
      if (connection.url === 'ws://l') connection.goodbye('PROTOCOL_VERSION');
      else connection.greet({ node: 'a', leader: 'l', leaderUrl: 'ws://l' });
    });
    await client.ready(2_000);
    expect(client.endpoint).toBe('ws://a');
  });

  test('a node that is full, or stopping, is tried again later', async () => {
    const { server, client } = connecting(['ws://a'], (connection) => {
      if (server.dials.length < 4) connection.goodbye(server.dials.length % 2 === 0 ? 'OVERLOADED' : 'UNAVAILABLE');
      else connection.greet();
    });
    await client.ready(2_000);
    expect(server.dials).toHaveLength(4);
  });
});

test('between rounds of attempts it waits, at most about a second, and not at all within one', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
  onTestFinished(() => {
    vi.useRealTimers();
  });
  const events: Extract<ClientEvent, { kind: 'retrying' }>[] = [];
  const { client, server } = connecting(['ws://a', 'ws://b', 'ws://c'], (connection) => connection.lose('refused'), {
    onEvent: (event) => {
      if (event.kind === 'retrying') events.push(event);
    },
  });
  void client.ready(60_000).catch(() => {});
  for (let i = 0; i < 600; i++) await vi.advanceTimersByTimeAsync(50);
  const waits = events.filter(({ delayMs }) => delayMs > 0).map(({ delayMs }) => delayMs);
  expect(events.filter((_, i) => i % 3 !== 2).every(({ delayMs }) => delayMs === 0)).toBe(true);
  expect(Math.max(...waits)).toBeLessThanOrEqual(1_010);
  expect(Math.min(...waits)).toBeGreaterThanOrEqual(10);
  // Thirty seconds of a cluster that is down: a few rounds a second, not a storm.
  expect(server.dials.length).toBeLessThan(30 * 3 * 4);
  expect(server.dials.length).toBeGreaterThan(30);
});

describe('a process', () => {
  async function serverOf(onSocket: (socket: WebSocket) => void): Promise<string> {
    const http = createServer();
    const server = new WebSocketServer({ server: http });
    server.on('connection', onSocket);
    http.listen(0, '127.0.0.1');
    await once(http, 'listening');
    onTestFinished(() => {
      for (const socket of server.clients) socket.terminate();
      server.close();
      http.close();
    });
    return `ws://127.0.0.1:${(http.address() as AddressInfo).port}`;
  }

  test.each(['answers closes', 'never answers anything again'] as const)(
    'ends by itself once its client is closed, with a server that %s',
    async (kind) => {
      const url = await serverOf((socket) => {
        socket.on('message', () => {
          const welcome = { version: 1, node: 'n', cluster: 'c', leader: '', leaderUrl: '', inFlightMax: 1 };
          socket.send(wire.encodeWelcome(welcome));
          if (kind !== 'answers closes') setImmediate(() => socket.pause());
        });
      });
      const child = fork(fileURLToPath(new URL('fixtures/connect-and-close.ts', import.meta.url)), [url], {
        stdio: 'pipe',
      });
      onTestFinished(() => {
        child.kill('SIGKILL');
      });
      let closedAt = Number.NaN;
      child.on('message', () => (closedAt = performance.now()));
      let errors = '';
      child.stderr?.on('data', (data: Buffer) => (errors += data.toString()));
      const [code] = (await once(child, 'exit')) as [number | null];
      expect(errors).toBe('');
      expect(code).toBe(0);
      expect(performance.now() - closedAt).toBeLessThan(5_000);
    },
  );
});

test('a promise of readiness is settled by close', async () => {
  const { client } = connecting(['ws://a'], () => {});
  const ready = client.ready(60_000);
  expect(await stateOf(ready)).toBe('pending');
  await client.close();
  expect(await codeOf(ready)).toBe('CLOSED');
});
