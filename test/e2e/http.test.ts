/**
 * The HTTP API on three nodes: any of them takes any request, and a loader that keeps its position in its cookie loses
 * nothing and does nothing twice, whoever is killed meanwhile: it sends again when it does not know, and elsewhere.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { TestCluster } from '../support/cluster-process.ts';
import { asking, type Got, writerHeaders } from '../support/http-client.ts';

let cluster: TestCluster;

beforeAll(async () => {
  cluster = await TestCluster.start();
});
afterAll(() => cluster?.close());

const headers = writerHeaders({ writer: 'loader', secret: 'sesame' });

const at = (id: string, ...asked: Parameters<ReturnType<typeof asking>>): Promise<Got> =>
  asking(cluster.http(id))(...asked);

test('what one node makes, the others know at once', async () => {
  const [first = '', second = '', third = ''] = cluster.ids;
  expect((await at(first, 'POST /families/orders')).status).toBe(200);
  const fields = [
    ['n', 'integer'],
    ['sum', 'integer'],
  ];
  const table = { fields, keyFields: ['n'] };
  expect((await at(second, 'POST /families/orders/tables/items', { body: table })).status).toBe(200);
  expect((await at(third, 'POST /writers/loader', { body: 'sesame' })).status).toBe(200);
  for (const id of cluster.ids) {
    const body = { mutations: [{ table: 'items', values: { n: -1, sum: 0 } }] };
    expect((await at(id, 'POST /families/orders/mutations', { headers, body })).status).toBe(200);
    expect((await at(id, 'GET /row/orders/items?key=-1')).body).toBe('{"n":-1,"sum":0}\n');
    expect((await at(id, 'POST /families/orders')).code).toBe('ALREADY_EXISTS');
    expect((await at(id, 'DELETE /families/orders/tables/items')).code).toBe('DISABLED');
  }
});

const BATCHES = 120;
const base64 = (text: string): string => Buffer.from(text).toString('base64');

/** A loader's loop: position n is in the cookie with the rows of batch n. */
class Loader {
  readonly revisions: number[] = [];
  unknown = 0;
  #node = 0;

  get #id(): string {
    return cluster.ids[this.#node % cluster.ids.length] as string;
  }

  /** Batch n, once, whatever it takes. */
  async load(n: number): Promise<void> {
    const body = {
      cookie: base64(String(n + 1)),
      check_cookie: base64(n === 0 ? '' : String(n)),
      mutations: [
        { table: 'items', values: { n, sum: (n * (n + 1)) / 2 } },
        { table: 'items', values: { n: 1_000_000 + n, sum: n } },
      ],
    };
    for (let tries = 0; ; tries++) {
      if (tries > 400) throw new Error(`batch ${n} was never taken\n${cluster.logs()}`);
      this.#node++;
      const got = await at(this.#id, 'POST /families/orders/mutations', { headers, body }).catch(() => undefined);
      if (got?.status === 200) {
        this.revisions.push(Number(got.headers.get('ctlmesh-revision')));
        return;
      }
      if (got?.code === 'COOKIE_CONFLICT') {
        // Its own batch, of which it was told nothing, or nothing it knows of.
        expect(await this.#cookie()).toBe(String(n + 1));
        return;
      }
      this.unknown++;
      expect([undefined, 'OUTCOME_UNKNOWN', 'UNAVAILABLE', 'CLOSED', 'DEADLINE_EXCEEDED']).toContain(got?.code);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  async #cookie(): Promise<string> {
    for (;;) {
      const got = await at(this.#id, 'GET /cookie', { headers }).catch(() => undefined);
      if (got?.status === 200) return got.body;
      this.#node++;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

test('the leader is killed in the middle: every batch is there once, on every node', async () => {
  const loader = new Loader();
  let leader = '';
  for (let n = 0; n < BATCHES; n++) {
    if (n === 40) {
      leader = await cluster.leader();
      // Not awaited: the loader goes on while it dies.
      void cluster.kill(leader);
    }
    if (n === 80) cluster.spawn(leader);
    await loader.load(n);
  }
  expect(loader.revisions).toEqual([...loader.revisions].sort((a, b) => a - b));
  expect(loader.unknown).toBeGreaterThan(0);
  await cluster.leader();
  for (const id of cluster.ids) {
    const lines = (await at(id, 'GET /rows/orders/items', { headers: { accept: 'application/x-ndjson' } })).body;
    const rows = lines
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { n: number; sum: number });
    expect(rows.filter(({ n }) => n >= 0 && n < 1_000_000)).toEqual(
      Array.from({ length: BATCHES }, (_, n) => ({ n, sum: (n * (n + 1)) / 2 })),
    );
    expect(rows).toHaveLength(2 * BATCHES + 1);
  }
});

test('without a quorum a node gives what it has to who asks for that, and refuses the rest by the deadline', async () => {
  const [left = '', ...others] = cluster.ids;
  await cluster.kill(...others);
  const row = 'GET /row/orders/items?key=-1';
  expect((await at(left, `${row}&consistency=local`)).body).toBe('{"n":-1,"sum":0}\n');
  const short = { ...headers, 'ctlmesh-deadline-ms': '700' };
  const read = await at(left, row, { headers: short });
  expect([503, 504]).toContain(read.status);
  const body = { mutations: [{ table: 'items', values: { n: -2, sum: 0 } }] };
  const write = await at(left, 'POST /families/orders/mutations', { headers: short, body });
  expect([503, 504]).toContain(write.status);
  expect(['UNAVAILABLE', 'OUTCOME_UNKNOWN', 'DEADLINE_EXCEEDED']).toContain(write.code);
  // `/status` follows /readyz: a follower that is alone knows no leader, a leader that is alone steps down.
  await expect.poll(async () => (await at(left, 'GET /status')).status, { timeout: 20_000 }).toBe(503);
});
