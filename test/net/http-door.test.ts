import { createConnection, createServer } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { HttpDoor } from '../../src/net/http-door.ts';

async function door(state: { health: boolean; ready: boolean }): Promise<{ port: number; url: string }> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, '127.0.0.1', resolve));
  const { port } = probe.address() as { port: number };
  await new Promise((resolve) => probe.close(resolve));
  const url = `http://127.0.0.1:${port}`;
  const opened = await HttpDoor.open({
    url,
    metrics: () =>
      state.health
        ? Promise.resolve({ contentType: 'text/plain', body: 'ctlmesh_keys 3\n' })
        : Promise.reject(new Error('no metrics now')),
    health: () => ({ ok: state.health, checks: { wal: 'ok' } }),
    readiness: () => ({ ok: state.ready, checks: { leader: 'none known' } }),
  });
  onTestFinished(() => opened.close());
  return { port, url };
}

/** What comes back for exactly this request line. */
async function raw(port: number, line: string): Promise<string> {
  const socket = createConnection(port, '127.0.0.1');
  let answer = '';
  socket.setEncoding('utf8');
  socket.on('data', (text: string) => (answer += text));
  socket.write(`${line}\r\nhost: x\r\nconnection: close\r\n\r\n`);
  await new Promise((resolve) => socket.on('close', resolve));
  return answer;
}

test('each path says what it is for, with the status that a probe reads', async () => {
  const state = { health: true, ready: false };
  const { url } = await door(state);
  const metrics = await fetch(`${url}/metrics?x=1`);
  expect([metrics.status, (await metrics.text()).split('\n')[0]]).toEqual([200, 'ctlmesh_keys 3']);
  const health = await fetch(`${url}/healthz`);
  expect([health.status, await health.json()]).toEqual([200, { ok: true, checks: { wal: 'ok' } }]);
  const ready = await fetch(`${url}/readyz`);
  expect([ready.status, await ready.json()]).toEqual([503, { ok: false, checks: { leader: 'none known' } }]);
  state.health = false;
  expect((await fetch(`${url}/healthz`)).status).toBe(503);
  expect((await fetch(`${url}/metrics`)).status).toBe(500);
});

test('what is here is said at /, and to programs', async () => {
  const { url } = await door({ health: true, ready: true });
  expect(await (await fetch(`${url}/`)).text()).toMatch(/GET +\/readyz +Can it serve/);
  const { openapi, paths } = (await (await fetch(`${url}/openapi.json`)).json()) as Record<string, object>;
  expect([openapi, Object.keys(paths ?? {})]).toEqual([
    '3.1.0',
    ['/metrics', '/healthz', '/readyz', '/', '/openapi.json'],
  ]);
});

test('nothing is changed here, and nothing else is here', async () => {
  const { url } = await door({ health: true, ready: true });
  const post = await fetch(`${url}/metrics`, { method: 'POST' });
  expect([post.status, post.headers.get('allow')]).toEqual([405, 'GET, HEAD, OPTIONS']);
  expect((await fetch(`${url}/data`)).status).toBe(404);
  const head = await fetch(`${url}/healthz`, { method: 'HEAD' });
  expect([head.status, await head.text()]).toEqual([200, '']);
});

test.each(['//', '///healthz', '*', 'http://[', '/%zz', 'https://evil.example//', '/..//'])(
  'a request for %s is answered, and the door stands',
  async (target) => {
    const { port, url } = await door({ health: true, ready: true });
    expect(await raw(port, `GET ${target} HTTP/1.1`)).toMatch(/^HTTP\/1\.1 4\d\d /);
    expect((await fetch(`${url}/healthz`)).status).toBe(200);
  },
);

test('requests are counted by route, and what a stranger sends makes no series', { timeout: 90_000 }, async () => {
  const { url } = await door({ health: true, ready: false });
  for (const path of ['/healthz', '/healthz', '/readyz', '/nothing/planted-7461', '/healthz?planted-7461'])
    await fetch(`${url}${path}`);
  await fetch(`${url}/planted-7461`, { method: 'PUT', body: 'planted-7461' });
  const counted = async (): Promise<string[]> => {
    const body = await (await fetch(`${url}/metrics`)).text();
    expect(body).not.toContain('planted');
    return body
      .split('\n')
      .filter((line) => line.startsWith('ctlmesh_http_requests_total') && !line.includes('/metrics'));
  };
  // An answer is counted when it has left, which its reader may see a moment before.
  await expect
    .poll(counted, { timeout: 60_000 })
    .toEqual([
      'ctlmesh_http_requests_total{method="GET",route="/healthz",status="2xx"} 3',
      'ctlmesh_http_requests_total{method="GET",route="/readyz",status="5xx"} 1',
      'ctlmesh_http_requests_total{method="",route="",status="4xx"} 2',
    ]);
});
