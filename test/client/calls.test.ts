import { afterEach, describe, expect, test, vi } from 'vitest';
import type { StoreClient } from '../../src/client/client.ts';
import type { Revision } from '../../src/core/base/position.ts';
import type { ConnectOptions } from '../../src/client/types.ts';
import type { StoreError } from '../../src/core/base/errors.ts';
import * as wire from '../../src/core/wire/client.ts';
import { codeOf, type Connection, FakeServer, stateOf, turns } from './fake-server.ts';

let clients: { readonly client: StoreClient; readonly server: FakeServer }[] = [];

afterEach(async () => {
  for (const { client, server } of clients) {
    // A client that is connected would wait for its answers.
    server.onDial = () => {};
    server.last.lose();
    await client.close();
  }
  clients = [];
});

async function connected(options: ConnectOptions = {}): Promise<{ server: FakeServer; client: StoreClient }> {
  const made = await FakeServer.connected(options);
  clients.push(made);
  return made;
}

/** The promise without an unhandled rejection while nobody looks at it. */
function quiet<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {});
  return promise;
}

const until = (what: string, condition: () => boolean): Promise<void> =>
  vi.waitFor(() => {
    if (!condition()) throw new Error(`not yet: ${what}`);
  });

describe('what leaves', () => {
  test('calls of one turn leave in one frame; those of the next in another', async () => {
    const { server, client } = await connected();
    void quiet(client.get('a'));
    void quiet(client.get('b'));
    void quiet(client.status());
    await turns();
    void quiet(client.get('c'));
    await turns();
    expect(server.last.frames.map((frame) => frame.length)).toEqual([3, 1]);
  });

  test('the first write opens a session; every write has its own number in it, in order', async () => {
    const { server, client } = await connected();
    for (const key of ['a', 'b', 'c']) void quiet(client.put(key, '1'));
    await until('the writes are sent', () => server.last.writes.length === 3);
    expect(server.last.asked.filter(({ kind }) => kind === wire.REQUEST.openSession)).toHaveLength(1);
    expect(server.last.writes.map(({ session, seq, acked }) => [session, seq, acked])).toEqual([
      [50, 1, 0],
      [50, 2, 0],
      [50, 3, 0],
    ]);
  });

  test('a write says which answers have arrived, and never passes one that is still open', async () => {
    const { server, client } = await connected();
    const first = quiet(client.put('a', '1'));
    const second = client.put('b', '1');
    await until('both are sent', () => server.last.writes.length === 2);
    server.last.ok(server.last.writes[1]?.id ?? 0, 12);
    expect((await second).revision).toBe(12);
    void quiet(client.put('c', '1'));
    await until('the third is sent', () => server.last.writes.length === 3);
    // The first is open, so nothing is acknowledged, though the second is settled.
    expect(server.last.writes[2]).toMatchObject({ seq: 3, acked: 0 });
    server.last.ok(server.last.writes[0]?.id ?? 0, 11);
    await first;
    void quiet(client.put('d', '1'));
    await until('the fourth is sent', () => server.last.writes.length === 4);
    expect(server.last.writes[3]).toMatchObject({ seq: 4, acked: 2 });
  });

  test('more calls than may be under way wait in order, and each settled one makes room for one', async () => {
    const { server, client } = await connected({ inFlightMax: 2 });
    const gets = ['a', 'b', 'c', 'd', 'e'].map((key) => quiet(client.get(key)));
    await turns();
    expect(server.last.calls).toHaveLength(2);
    server.last.ok(server.last.calls[0]?.id ?? 0, 0);
    await turns();
    expect(server.last.calls).toHaveLength(3);
    expect(await stateOf(gets[0] as Promise<unknown>)).toBe('resolved');
    expect(await stateOf(gets[4] as Promise<unknown>)).toBe('pending');
  });

  test('a call that is cancelled or late while it waits makes no room', async () => {
    const { server, client } = await connected({ inFlightMax: 1 });
    const stop = new AbortController();
    void quiet(client.get('a'));
    const aborted = quiet(client.get('b', { signal: stop.signal }));
    const late = quiet(client.get('c', { deadlineMs: 30 }));
    void quiet(client.get('d'));
    await turns();
    stop.abort();
    expect(await codeOf(aborted)).toBe('CANCELLED');
    expect(await codeOf(late)).toBe('DEADLINE_EXCEEDED');
    await turns();
    expect(server.last.calls).toHaveLength(1);
    // Its signal is not listened to any more, either.
    stop.abort();
    await turns();
    expect(server.last.calls).toHaveLength(1);
  });

  test('the call that opens the session takes nobody’s place, and leaves none', async () => {
    const { server, client } = await connected({ inFlightMax: 1 });
    for (const key of ['a', 'b', 'c']) void quiet(client.put(key, '1'));
    await until('the first write is sent', () => server.last.writes.length === 1);
    await turns();
    expect(server.last.writes).toHaveLength(1);
    server.last.ok(server.last.writes[0]?.id ?? 0, 1);
    await turns();
    expect(server.last.writes).toHaveLength(2);
  });

  test('a call that was late while it waited is not sent in the place of another', async () => {
    const { server, client } = await connected({ inFlightMax: 1 });
    const first = quiet(client.put('a', '1', { deadlineMs: 60 }));
    const second = quiet(client.put('b', '1', { deadlineMs: 40 }));
    expect(await codeOf(second)).toBe('DEADLINE_EXCEEDED');
    expect(await codeOf(first)).toBe('OUTCOME_UNKNOWN');
    await turns();
    expect(server.last.writes).toHaveLength(1);
  });

  test.each([
    ['an empty key', (client: StoreClient) => client.put('', 'v'), 'KEY_INVALID'],
    ['a long key', (client: StoreClient) => client.get('x'.repeat(1025)), 'KEY_INVALID'],
    ['a large value', (client: StoreClient) => client.put('k', new Uint8Array(1024 * 1024 + 1)), 'VALUE_TOO_LARGE'],
    ['a ttl that is none', (client: StoreClient) => client.put('k', 'v', { ttlMs: -1 }), 'BAD_REQUEST'],
    ['a deadline that is none', (client: StoreClient) => client.get('k', { deadlineMs: Number.NaN }), 'BAD_REQUEST'],
    ['a deadline in the past', (client: StoreClient) => client.put('k', 'v', { deadlineMs: -1 }), 'BAD_REQUEST'],
    ['half a revision', (client: StoreClient) => client.get('k', { atLeast: 1.5 as Revision }), 'BAD_REQUEST'],
    ['a revision below 0', (client: StoreClient) => client.txn((t) => t.ifRevision('k', -1)), 'BAD_REQUEST'],
    ['half a limit', async (client: StoreClient) => client.range({ limit: 1.5 }), 'BAD_REQUEST'],
    [
      'a watch from nowhere',
      async (client: StoreClient) => client.watch({ fromRevision: -1 as Revision }),
      'BAD_REQUEST',
    ],
    [
      'a range that ends before it began',
      async (client: StoreClient) => client.range({ deadlineMs: -1 }),
      'BAD_REQUEST',
    ],
  ] as const)('%s is refused here, and nothing is sent', async (_what, call, code) => {
    const { server, client } = await connected();
    expect(await codeOf(call(client))).toBe(code);
    await turns();
    expect(server.last.frames).toEqual([]);
  });
});

test('a deadline of for ever is as long as there is, for calls and streams alike', async () => {
  const { server, client } = await connected({ deadlineMs: Number.POSITIVE_INFINITY });
  const get = quiet(client.get('a'));
  const range = client.range({});
  const bounded = client.range({ deadlineMs: 2 ** 40 });
  const firsts = [range, bounded].map((stream) => quiet(stream[Symbol.asyncIterator]().next()));
  await new Promise((resolve) => setTimeout(resolve, 40));
  expect(await Promise.all([get, ...firsts].map(stateOf))).toEqual(['pending', 'pending', 'pending']);
  expect(server.last.asked.every(({ deadlineMs }) => deadlineMs > 10 ** 9)).toBe(true);
});

describe('what is tried again', () => {
  test.each(['NOT_LEADER', 'UNAVAILABLE', 'OVERLOADED'] as const)(
    '%s: the same write goes again, under the same number, after a pause',
    async (code) => {
      const { server, client } = await connected();
      const put = client.put('a', '1');
      await until('it is sent', () => server.last.writes.length === 1);
      const [sent] = server.last.writes;
      const refusedAt = performance.now();
      server.last.fail(sent?.id ?? 0, code);
      await until('it is sent again', () => server.last.writes.length === 2);
      expect(performance.now() - refusedAt).toBeGreaterThanOrEqual(4);
      expect(server.last.writes[1]).toMatchObject({ session: sent?.session, seq: sent?.seq, rest: sent?.rest });
      server.last.ok(server.last.writes[1]?.id ?? 0, 7);
      expect((await put).revision).toBe(7);
    },
  );

  test('refusals end at the deadline, with the last reason: nothing was done', async () => {
    const { server, client } = await connected();
    const put = quiet(client.put('a', '1', { deadlineMs: 120 }));
    const refuse = setInterval(() => {
      for (const { id } of server.last.writes.splice(0)) server.last.fail(id, 'NOT_LEADER');
    }, 1);
    const code = await codeOf(put);
    clearInterval(refuse);
    expect(code).toBe('NOT_LEADER');
  });

  test('OUTCOME_UNKNOWN: it goes again under the same number, at once', async () => {
    const { server, client } = await connected();
    const put = client.put('a', '1');
    await until('it is sent', () => server.last.writes.length === 1);
    server.last.fail(server.last.writes[0]?.id ?? 0, 'OUTCOME_UNKNOWN');
    await until('it is sent again', () => server.last.writes.length === 2);
    expect(server.last.writes.map(({ seq }) => seq)).toEqual([1, 1]);
    server.last.ok(server.last.writes[1]?.id ?? 0, 7);
    await put;
  });

  test('a write in doubt that a full store refuses stays in doubt', async () => {
    const { server, client } = await connected();
    const put = quiet(client.put('a', '1', { deadlineMs: 200 }));
    await until('it is sent', () => server.last.writes.length === 1);
    server.last.lose();
    await until('it is sent again', () => server.dials.length === 2 && server.last.writes.length === 1);
    // The first time may have gone through: the refusal of the second says nothing about it.
    server.last.fail(server.last.writes[0]?.id ?? 0, 'STORE_FULL');
    expect(await codeOf(put)).toBe('OUTCOME_UNKNOWN');
  });

  test('a write that was only ever refused by a full store is told so at once', async () => {
    const { server, client } = await connected();
    const put = quiet(client.put('a', '1'));
    await until('it is sent', () => server.last.writes.length === 1);
    server.last.fail(server.last.writes[0]?.id ?? 0, 'STORE_FULL');
    expect(await codeOf(put)).toBe('STORE_FULL');
  });

  test('after a lost connection everything unanswered goes again, in order, under its numbers', async () => {
    const { server, client } = await connected();
    const puts = ['a', 'b', 'c', 'd'].map((key) => quiet(client.put(key, '1')));
    await until('all are sent', () => server.last.writes.length === 4);
    server.last.ok(server.last.writes[1]?.id ?? 0, 10);
    await puts[1];
    server.last.lose();
    await until('they are sent again', () => server.dials.length === 2 && server.last.writes.length === 3);
    expect(server.last.writes.map(({ session, seq }) => [session, seq])).toEqual([
      [50, 1],
      [50, 3],
      [50, 4],
    ]);
    // The session is still the one: no other was opened.
    expect(server.last.asked.some(({ kind }) => kind === wire.REQUEST.openSession)).toBe(false);
    for (const { id, seq } of server.last.writes) server.last.ok(id, 100 + seq);
    expect((await Promise.all(puts)).map(({ revision }) => revision)).toEqual([101, 10, 103, 104]);
  });

  test('what a connection says after it was lost is not heard', async () => {
    const { server, client } = await connected();
    const get = quiet(client.get('a'));
    await turns();
    const old = server.last;
    old.lose();
    old.ok(old.calls[0]?.id ?? 0, 5, new Uint8Array(8));
    expect(await stateOf(get)).toBe('pending');
    await until('it is asked again', () => server.dials.length === 2 && server.last.calls.length === 1);
    server.last.ok(server.last.calls[0]?.id ?? 0, 0);
    expect(await get).toBeUndefined();
  });
});

describe('the session', () => {
  test('a write that was sent once, into a session that had expired, goes again in a new one', async () => {
    const { server, client } = await connected();
    const put = client.put('a', '1');
    await until('it is sent', () => server.last.writes.length === 1);
    server.last.autoSession = 60;
    server.last.fail(server.last.writes[0]?.id ?? 0, 'SESSION_EXPIRED');
    await until('it is sent again', () => server.last.writes.length === 2);
    expect(server.last.writes[1]).toMatchObject({ session: 60, seq: 1 });
    server.last.ok(server.last.writes[1]?.id ?? 0, 9);
    await put;
  });

  test('several writes that find the session expired share one new session', async () => {
    const { server, client } = await connected();
    const puts = ['a', 'b', 'c'].map((key) => quiet(client.put(key, '1')));
    await until('all are sent', () => server.last.writes.length === 3);
    server.last.autoSession = 60;
    for (const { id } of server.last.writes) server.last.fail(id, 'SESSION_EXPIRED');
    await until('all are sent again', () => server.last.writes.length === 6);
    expect(server.last.asked.filter(({ kind }) => kind === wire.REQUEST.openSession)).toHaveLength(2);
    const again = server.last.writes.slice(3);
    expect(again.map(({ session, seq }) => [session, seq])).toEqual([
      [60, 1],
      [60, 2],
      [60, 3],
    ]);
    for (const { id } of again) server.last.ok(id, 5);
    await Promise.all(puts);
  });

  test('a write in doubt whose session expired is told so, and not sent in another', async () => {
    const { server, client } = await connected();
    const put = quiet(client.put('a', '1'));
    await until('it is sent', () => server.last.writes.length === 1);
    server.last.lose();
    await until('it is sent again', () => server.dials.length === 2 && server.last.writes.length === 1);
    server.last.fail(server.last.writes[0]?.id ?? 0, 'SESSION_EXPIRED');
    expect(await codeOf(put)).toBe('SESSION_EXPIRED');
    await turns();
    expect(server.last.writes).toHaveLength(1);
  });

  test('a session that cannot be opened for good fails the writes that wait for it', async () => {
    const server = new FakeServer();
    server.onDial = (connection) => connection.greet();
    const { StoreClient: Client } = await import('../../src/client/client.ts');
    const client = new Client(['ws://a'], {}, server.dial);
    clients.push({ client, server });
    await client.ready(1_000);
    const puts = [quiet(client.put('a', '1')), quiet(client.put('b', '1'))];
    await until('the session is asked for', () => server.last.asked.length === 1);
    server.last.fail(server.last.asked[0]?.id ?? 0, 'BAD_REQUEST');
    expect(await Promise.all(puts.map(codeOf))).toEqual(['BAD_REQUEST', 'BAD_REQUEST']);
  });

  test('closing gives the session back, once its writes are answered', async () => {
    const { server, client } = await connected();
    const put = client.put('a', '1');
    await until('it is sent', () => server.last.writes.length === 1);
    const closed = client.close();
    await turns();
    server.last.ok(server.last.writes[0]?.id ?? 0, 3);
    expect((await put).revision).toBe(3);
    await closed;
    expect(server.last.asked.at(-1)?.kind).toBe(wire.REQUEST.closeSession);
  });
});

describe('deadlines and signals', () => {
  test('never sent: DEADLINE_EXCEEDED; nothing was done', async () => {
    const { server, client } = await connected();
    server.onDial = () => {};
    server.last.lose();
    expect(await codeOf(quiet(client.put('a', '1', { deadlineMs: 50 })))).toBe('DEADLINE_EXCEEDED');
    expect(await codeOf(quiet(client.get('a', { deadlineMs: 50 })))).toBe('DEADLINE_EXCEEDED');
  });

  test('sent and not answered: OUTCOME_UNKNOWN for a write, DEADLINE_EXCEEDED for a read', async () => {
    const { server, client } = await connected();
    const put = quiet(client.put('a', '1', { deadlineMs: 60 }));
    const get = quiet(client.get('a', { deadlineMs: 60 }));
    await until('they are sent', () => server.last.writes.length === 1);
    expect(await codeOf(put)).toBe('OUTCOME_UNKNOWN');
    expect(await codeOf(get)).toBe('DEADLINE_EXCEEDED');
    // The answer that comes late is nobody’s.
    server.last.ok(server.last.writes[0]?.id ?? 0, 3);
  });

  test('sent once, the connection lost, and not sent again in time: OUTCOME_UNKNOWN', async () => {
    const { server, client } = await connected();
    const put = quiet(client.put('a', '1', { deadlineMs: 100 }));
    await until('it is sent', () => server.last.writes.length === 1);
    server.onDial = () => {};
    server.last.lose();
    expect(await codeOf(put)).toBe('OUTCOME_UNKNOWN');
  });

  test('the server is told how much time is left', async () => {
    const { server, client } = await connected();
    void quiet(client.get('a', { deadlineMs: 5_000 }));
    void quiet(client.get('b'));
    await turns();
    const [a, b] = server.last.calls;
    expect(a?.deadlineMs).toBeGreaterThan(4_000);
    expect(a?.deadlineMs).toBeLessThanOrEqual(5_000);
    expect(b?.deadlineMs).toBeLessThanOrEqual(10_000);
    expect(b?.deadlineMs).toBeGreaterThan(9_000);
  });

  test('a signal before the call: nothing is sent', async () => {
    const { server, client } = await connected();
    expect(await codeOf(client.put('a', '1', { signal: AbortSignal.abort() }))).toBe('CANCELLED');
    await turns();
    expect(server.last.frames).toEqual([]);
  });

  test('a signal during the call says whether the write may still happen', async () => {
    const { server, client } = await connected();
    const stop = new AbortController();
    const sent = quiet(client.put('a', '1', { signal: stop.signal }));
    await until('it is sent', () => server.last.writes.length === 1);
    const unsent = quiet(client.put('b', '1', { signal: stop.signal }));
    const read = quiet(client.get('c', { signal: stop.signal }));
    stop.abort(new Error('enough'));
    const errors = await Promise.all(
      [sent, unsent, read].map((call) =>
        call.then(
          () => undefined,
          (error) => error,
        ),
      ),
    );
    expect(errors.map((error: StoreError) => [error.code, error.data['mayHappen']])).toEqual([
      ['CANCELLED', true],
      ['CANCELLED', false],
      ['CANCELLED', false],
    ]);
    expect((errors[0] as StoreError).cause).toEqual(new Error('enough'));
  });

  test('a signal that outlives its calls keeps none of their listeners', async () => {
    const { server, client } = await connected();
    const stop = new AbortController();
    let listeners = 0;
    const add = stop.signal.addEventListener.bind(stop.signal);
    const remove = stop.signal.removeEventListener.bind(stop.signal);
    vi.spyOn(stop.signal, 'addEventListener').mockImplementation((...args: Parameters<typeof add>) => {
      listeners++;
      add(...args);
    });
    vi.spyOn(stop.signal, 'removeEventListener').mockImplementation((...args: Parameters<typeof remove>) => {
      listeners--;
      remove(...args);
    });
    const { signal } = stop;
    const answered = client.get('a', { signal });
    const late = quiet(client.get('b', { signal, deadlineMs: 30 }));
    await turns();
    server.last.ok(server.last.calls[0]?.id ?? 0, 0);
    await answered;
    await codeOf(late);
    const range = client.range({ prefix: 'r', signal });
    const done = (async () => {
      for await (const _ of range);
    })();
    await turns();
    server.last.end(server.last.streams[0]?.id ?? 0);
    await done;
    expect(listeners).toBe(0);
  });
});

describe('the end', () => {
  test('close settles everything: sent writes are in doubt, the rest was not done', async () => {
    const { server, client } = await connected({ inFlightMax: 2 });
    const sent = quiet(client.put('a', '1'));
    await until('it is sent', () => server.last.writes.length === 1);
    server.onDial = () => {};
    server.last.lose();
    const unsent = quiet(client.put('b', '1'));
    const waiting = quiet(client.get('c'));
    await client.close();
    expect(await Promise.all([sent, unsent, waiting].map(codeOf))).toEqual(['OUTCOME_UNKNOWN', 'CLOSED', 'CLOSED']);
    expect(client.state).toBe('closed');
    expect(await codeOf(client.get('d'))).toBe('CLOSED');
    await client.close();
  });

  test('a URL that is none is a typed error', async () => {
    const { dialWs } = await import('../../src/client/transport-ws.ts');
    const { connectWith } = await import('../../src/client/connect.ts');
    expect(await codeOf(connectWith(dialWs, 'no url at all'))).toBe('BAD_REQUEST');
    expect(await codeOf(connectWith(dialWs, []))).toBe('BAD_REQUEST');
  });

  test('connecting where nobody answers ends at its deadline, with a reason', async () => {
    const server = new FakeServer();
    server.onDial = (connection: Connection) => connection.lose('refused');
    const { connectWith } = await import('../../src/client/connect.ts');
    const attempt = connectWith(server.dial, 'ws://a', { connectDeadlineMs: 100 });
    await expect(attempt).rejects.toMatchObject({ code: 'UNAVAILABLE', data: { reason: 'ws://a: refused' } });
  });
});
