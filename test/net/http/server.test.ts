import { createConnection } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { StoreError } from '../../../src/core/base/errors.ts';
import { type Answer, type Call, type Route, text } from '../../../src/net/http/route.ts';
import { REQUESTS_MAX, Room } from '../../../src/net/http/room.ts';
import { HttpServer } from '../../../src/net/http/server.ts';

const KIB = 1024;
const MIB = 1024 * KIB;

interface Logged {
  readonly event: string;
  readonly fields: Record<string, unknown>;
}

interface Served {
  readonly url: string;
  readonly server: HttpServer;
  readonly logged: Logged[];
}

const route = (method: Route['method'], path: string, handle: (call: Call) => Promise<Answer> | Answer): Route => ({
  ...{ method, path, handle, group: 'Test', summary: 'a test', errors: [] },
  answer: { kind: 'text', what: 'text' },
});

/** A server whose routes say what came in. */
async function serve(...routes: readonly Route[]): Promise<Served> {
  const logged: Logged[] = [];
  const server = await HttpServer.open({
    url: 'http://127.0.0.1:0',
    routes: [
      route('GET', '/things/{name}', ({ params }) => text(`get ${params['name']}`)),
      route('PUT', '/things/{name}', ({ body }) => text(`put ${body.length}`)),
      { ...route('GET', '/alive', () => text('yes')), isProbe: true },
      ...routes,
    ],
    connectionsMax: 256,
    originsAllowed: ['https://ops.example'],
    hostsAllowed: ['n1.Example'],
    log: (_level, event, fields = {}) => logged.push({ event, fields }),
  });
  onTestFinished(() => server.close());
  return { url: server.url, server, logged };
}

/** What comes back for these bytes, until the server has no more to say. */
async function raw(url: string, bytes: string): Promise<string> {
  const { port, hostname } = new URL(url);
  const socket = createConnection(Number(port), hostname);
  let answer = '';
  socket.setEncoding('latin1');
  socket.on('data', (data: string) => (answer += data));
  socket.on('error', () => {
    // A reset after the answer: what matters is what came before it.
  });
  socket.end(bytes, 'latin1');
  await new Promise((resolve) => socket.on('close', resolve));
  return answer;
}

test('paths, methods and what is between them', async () => {
  const { url } = await serve();
  expect(await (await fetch(`${url}/things/a%2Fb%20c`)).text()).toBe('get a/b c');
  const head = await fetch(`${url}/things/a`, { method: 'HEAD' });
  expect([head.status, await head.text()]).toEqual([200, '']);
  const options = await fetch(`${url}/things/a`, { method: 'OPTIONS' });
  expect([options.status, options.headers.get('allow')]).toEqual([204, 'GET, HEAD, PUT, OPTIONS']);
  const wrong = await fetch(`${url}/things/a`, { method: 'DELETE' });
  expect([wrong.status, wrong.headers.get('allow')]).toEqual([405, 'GET, HEAD, PUT, OPTIONS']);
  expect(wrong.headers.get('ctlmesh-code')).toBe('BAD_REQUEST');
  for (const path of ['/things', '/things/', '/things/a/', '/Things/a', '/nowhere', '/things/a/b']) {
    expect([path, (await fetch(`${url}${path}`)).status]).toEqual([path, 404]);
  }
});

test.each(['PROPFIND /things/a', 'TRACE /things/a', 'OPTIONS *', 'GET /%zz', 'GET /things/%ff', 'POST //', 'BREW /'])(
  '%s is refused, and the next request served',
  async (line) => {
    const { url } = await serve();
    expect(await raw(url, `${line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n`)).toMatch(/^HTTP\/1\.1 4\d\d /);
    expect((await fetch(`${url}/alive`)).status).toBe(200);
  },
);

test('a body of a mebibyte is taken and one byte more is not, with and without a length', async () => {
  const { url } = await serve();
  const put = (body: string): Promise<Response> => fetch(`${url}/things/a`, { method: 'PUT', body });
  expect(await (await put('x'.repeat(MIB))).text()).toBe(`put ${MIB}`);
  const large = await put('x'.repeat(MIB + 1));
  expect([large.status, large.headers.get('ctlmesh-code')]).toEqual([413, 'TXN_TOO_LARGE']);
  expect(await large.text()).toContain('Request too large');
  const chunk = `${(64 * KIB).toString(16)}\r\n${'y'.repeat(64 * KIB)}\r\n`;
  const chunked = `PUT /things/a HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n${chunk.repeat(17)}0\r\n\r\n`;
  expect(await raw(url, chunked)).toMatch(/^HTTP\/1\.1 413 /);
});

test('a body is bytes, whatever its content type', async () => {
  const { url } = await serve();
  for (const type of ['application/json', 'text/plain', 'application/x-www-form-urlencoded', 'x/y']) {
    const answer = await fetch(`${url}/things/a`, { method: 'PUT', body: '{"', headers: { 'content-type': type } });
    expect(await answer.text()).toBe('put 2');
  }
  const bare = 'PUT /things/a HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\nconnection: close\r\n\r\nabc';
  expect(await raw(url, bare)).toContain('put 3');
});

test('a failure is its message, or a problem for who asks for JSON; the code is in a header', async () => {
  const refusing = route('GET', '/refused', () => {
    throw new StoreError('RATE_LIMITED', 'too many rows', { data: { limit: 9n, retryMs: 1500 } });
  });
  const { url } = await serve(refusing);
  const plain = await fetch(`${url}/refused`);
  expect([plain.status, plain.headers.get('ctlmesh-code'), plain.headers.get('retry-after')]).toEqual([
    429,
    'RATE_LIMITED',
    '2',
  ]);
  expect(await plain.text()).toBe('too many rows');
  const json = await fetch(`${url}/refused`, {
    headers: { accept: 'application/problem+json', 'x-request-id': 'r-7' },
  });
  expect(json.headers.get('content-type')).toMatch('application/problem+json');
  expect(json.headers.get('x-request-id')).toBe('r-7');
  expect(await json.json()).toEqual({
    ...{ type: 'about:blank', title: 'rate limited', status: 429, detail: 'too many rows', code: 'RATE_LIMITED' },
    ...{ retry: 'later', data: { limit: 9, retryMs: 1500 }, requestId: 'r-7' },
  });
});

test('what nobody expected is a 500 whose reason stays in the log', async () => {
  const { url, logged } = await serve(
    route('GET', '/broken', () => {
      throw new TypeError('planted');
    }),
  );
  const answer = await fetch(`${url}/broken`);
  expect([answer.status, await answer.text()]).toEqual([500, 'this node failed; its log says how']);
  expect(logged.find(({ event }) => event === 'http.failed')?.fields).toMatchObject({
    message: 'planted',
    route: '/broken',
  });
});

test('a request has an id: its own, or a new one', async () => {
  const { url, logged } = await serve();
  const idOf = async (headers: Record<string, string>): Promise<string> =>
    (await fetch(`${url}/alive`, { headers })).headers.get('x-request-id') ?? '';
  expect(await idOf({ 'x-request-id': 'a.b:1' })).toBe('a.b:1');
  expect(await idOf({})).toMatch(/^[0-9a-f-]{36}$/);
  expect(await idOf({ 'x-request-id': 'two words' })).toMatch(/^[0-9a-f-]{36}$/);
  await expect.poll(() => logged.filter(({ event }) => event === 'http.request').length).toBe(3);
  expect(logged[0]?.fields).toMatchObject({ id: 'a.b:1', method: 'GET', route: '/alive', status: 200 });
});

test('a page of an unknown origin is turned away; one that is allowed may ask, after a preflight too', async () => {
  const { url } = await serve();
  const ask = (origin: string, init: RequestInit = {}): Promise<Response> =>
    fetch(`${url}/things/a`, { ...init, headers: { origin, 'access-control-request-headers': 'ctlmesh-writer' } });
  const evil = await ask('https://evil.example', { method: 'PUT', body: 'x' });
  expect([evil.status, evil.headers.get('access-control-allow-origin')]).toEqual([403, null]);
  expect((await ask('https://evil.example', { method: 'OPTIONS' })).status).toBe(403);
  const preflight = await ask('https://ops.example', { method: 'OPTIONS' });
  expect([preflight.status, preflight.headers.get('access-control-allow-headers')]).toEqual([204, 'ctlmesh-writer']);
  expect((await ask('https://ops.example')).headers.get('access-control-allow-origin')).toBe('https://ops.example');
});

test('a name that a stranger can give it is refused; addresses, its own names and probes are answered', async () => {
  const { url } = await serve();
  const statusOf = async (host: string, path = '/things/a'): Promise<string | undefined> => {
    const answer = await raw(url, `GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
    return /^HTTP\/1.1 (\d+)/.exec(answer)?.[1];
  };
  for (const host of [
    '127.0.0.1',
    '127.0.0.1:80',
    '[::1]:7431',
    '[fe80::1]',
    'LOCALHOST:1',
    'n1',
    'n1.example:7431',
    'N1.example.',
  ]) {
    expect([host, await statusOf(host)]).toEqual([host, '200']);
  }
  for (const host of [
    'evil.example',
    'evil.example:7431',
    '127.0.0.1.evil.example',
    'localhost.evil.example',
    'n1.example.evil.io',
    'a.n1.example',
  ]) {
    expect([host, await statusOf(host)]).toEqual([host, '403']);
  }
  expect(await statusOf('probes.example', '/alive')).toBe('200');
});

test('a writer comes in headers, as UTF-8, under either name', async () => {
  const { url } = await serve(
    route('GET', '/who', (call) => text(`${call.credentials().writer} ${call.credentials().secret.length}`)),
  );
  const who = async (headers: Record<string, string>): Promise<string> =>
    (await fetch(`${url}/who`, { headers })).text();
  expect(await who({ 'ctlstore-writer': 'loader', 'ctlstore-secret': 'abc' })).toBe('loader 3');
  expect(await who({ 'ctlmesh-writer': 'mesh', 'ctlmesh-secret': 'abcd', 'ctlstore-writer': 'x' })).toBe('mesh 4');
  expect(await who({ 'ctlstore-writer': Buffer.from('é').toString('latin1'), 'ctlmesh-secret': 'abc' })).toBe('é 3');
  expect(await who({ 'ctlstore-writer': '\xff\xfe', 'ctlmesh-secret': 'abc' })).toContain('not UTF-8');
  expect(await who({ 'ctlstore-writer': 'loader' })).toContain('ctlstore-secret');
});

test('too many bytes are refused at once; who brings none, and who watches, is still answered', async () => {
  const go = Promise.withResolvers<void>();
  let arrived = 0;
  const { url } = await serve(
    route('PUT', '/wait', async () => {
      arrived++;
      await go.promise;
      return text('done');
    }),
  );
  const put = (): Promise<Response> => fetch(`${url}/wait`, { method: 'PUT', body: 'x'.repeat(MIB) });
  const held = Array.from({ length: 64 }, put);
  await expect.poll(() => arrived, { timeout: 20_000 }).toBe(64);
  const refused = await put();
  expect([refused.status, refused.headers.get('ctlmesh-code')]).toEqual([429, 'OVERLOADED']);
  expect((await fetch(`${url}/things/a`)).status).toBe(200);
  go.resolve();
  expect((await Promise.all(held)).map(({ status }) => status)).toEqual(Array.from({ length: 64 }, () => 200));
  expect((await put()).status).toBe(200);
});

test('requests are counted, those of machines that watch are not', () => {
  const room = new Room();
  const leaves = Array.from({ length: REQUESTS_MAX }, () => room.enter(0));
  expect(() => room.enter(0)).toThrow('under way');
  leaves[0]?.();
  leaves[0]?.();
  room.enter(0);
  expect(() => room.enter(0)).toThrow('under way');
});

test('a stream that fails before its first part is a proper failure; a reader that leaves ends it', async () => {
  let ended = false;
  const failing = {
    [Symbol.asyncIterator]: () => ({ next: () => Promise.reject(new StoreError('NOT_FOUND', 'no such table')) }),
  };
  const { url, logged } = await serve(
    route('GET', '/late', () => ({ body: failing })),
    route('GET', '/torn', () => ({
      body: (async function* (): AsyncGenerator<string> {
        yield 'a part';
        throw new StoreError('COMPACTED', 'too slow');
      })(),
    })),
    route('GET', '/endless', () => ({
      contentType: 'application/x-ndjson',
      body: (async function* (): AsyncGenerator<string> {
        try {
          for (let n = 0; ; n++) yield `${n}${' '.repeat(KIB)}\n`;
        } finally {
          ended = true;
        }
      })(),
    })),
  );
  expect((await fetch(`${url}/late`)).status).toBe(404);
  expect((await fetch(`${url}/endless`, { method: 'HEAD' })).headers.get('content-type')).toBe('application/x-ndjson');
  await expect((await fetch(`${url}/torn`)).text()).rejects.toThrow();
  expect(logged.find(({ event }) => event === 'http.broken')?.fields).toMatchObject({
    route: '/torn',
    code: 'COMPACTED',
  });
  const reader = (await fetch(`${url}/endless`)).body?.getReader();
  expect(Buffer.from((await reader?.read())?.value ?? '').toString()).toMatch(/^0 /);
  await reader?.cancel();
  await expect.poll(() => ended).toBe(true);
});

test('a server that closes lets go of idle connections, and ends in time also when somebody never reads', async () => {
  const { url, server } = await serve(route('GET', '/never', () => new Promise<Answer>(() => {})));
  await (await fetch(`${url}/alive`)).text();
  const stuck = fetch(`${url}/never`).catch((error: Error) => error.name);
  await expect.poll(() => fetch(`${url}/alive`).then(({ status }) => status)).toBe(200);
  await server.close();
  await server.close();
  expect(await stuck).toBe('TypeError');
  await expect(fetch(`${url}/alive`)).rejects.toThrow();
});
