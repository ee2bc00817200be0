/** Exactly-once writes on the wire: the same session and number, sent again and again. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { TestCluster } from '../support/cluster-process.ts';
import { RawClient, type RawRequest } from '../support/cluster-raw.ts';
import { readLedger } from '../support/cluster-workload.ts';
import { type Reply, type ReplyOk, REQUEST } from '../../src/core/wire/client.ts';

let cluster: TestCluster;
beforeAll(async () => {
  cluster = await TestCluster.start();
});
afterAll(() => cluster?.close());

const ok = (reply: Reply): ReplyOk => {
  if (reply.error !== undefined) throw reply.error;
  return reply;
};

async function openSession(client: RawClient, ttlMs = 60_000): Promise<number> {
  const opened = await client.ask(900, REQUEST.openSession, (w) => w.varint(0).varint(0).varint(0).varint(ttlMs));
  return ok(opened).revision;
}

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);
const put = (session: number, seq: number, key: string, id = seq): RawRequest => ({
  id,
  kind: REQUEST.put,
  fill: (w) =>
    w
      .varint(session)
      .varint(seq)
      .varint(0)
      .varint(0)
      .blob(utf8(key))
      .blob(utf8(`${seq}`)),
});
/** Revisions that wrote `key`, as the ledger has them. */
const putsOf = async (key: string): Promise<number[]> => {
  const client = await cluster.client();
  const { revision } = await client.put('mark', 'mark');
  const records = await readLedger(client, { to: revision, cluster: `e2e-${process.pid}` });
  return records.flatMap(({ revision: at, changes }) =>
    changes.filter((change) => Buffer.from(change.key).toString() === key).map(() => at),
  );
};

test('a frame sent five times on one connection is done once, and answered alike each time', async () => {
  const client = await RawClient.open(cluster.url(await cluster.leader()));
  const session = await openSession(client);
  const answers: number[] = [];
  for (let copy = 0; copy < 5; copy++) {
    client.socket.send(RawClient.requests(put(session, 1, 'same', 1), put(session, 2, 'same2', 2)));
    answers.push(ok(await client.reply(1)).revision, ok(await client.reply(2)).revision);
  }
  client.close();
  expect(new Set(answers).size).toBe(2);
  expect(await putsOf('same')).toEqual([answers[0]]);
  expect(await putsOf('same2')).toEqual([answers[1]]);
});

test('the same frame on every node at once is done once', async () => {
  const clients = await Promise.all(cluster.urls.map((url) => RawClient.open(url)));
  const session = await openSession(clients[0] as RawClient);
  const frame = RawClient.requests(...Array.from({ length: 50 }, (_, i) => put(session, i + 1, `all/${i}`)));
  for (const client of clients) client.socket.send(frame);
  for (let seq = 1; seq <= 50; seq++) {
    const revisions = await Promise.all(clients.map(async (client) => ok(await client.reply(seq)).revision));
    expect(new Set(revisions).size).toBe(1);
  }
  for (const client of clients) client.close();
  expect((await putsOf('all/0')).length).toBe(1);
  expect((await putsOf('all/49')).length).toBe(1);
});

test('a frame sent again after the leader was killed gets the first answer', async () => {
  const leader = await cluster.leader();
  const followers = cluster.ids.filter((id) => id !== leader);
  const [follower, other] = await Promise.all(followers.map((id) => RawClient.open(cluster.url(id))));
  if (follower === undefined || other === undefined) throw new Error('two followers');
  const session = await openSession(follower);
  const txn = (id: number): RawRequest => ({
    id,
    kind: REQUEST.txn,
    // If `moved` is absent, put it; else get it: done twice, the second time would answer otherwise.
    fill: (w) => {
      w.varint(session).varint(1).varint(0);
      w.varint(1).u8(0).blob(utf8('moved')).varint(0);
      w.varint(1).u8(0).varint(0).blob(utf8('moved')).blob(utf8('first'));
      return w.varint(1).u8(2).blob(utf8('moved'));
    },
  });
  follower.socket.send(RawClient.requests(txn(1)));
  const first = ok(await follower.reply(1));
  expect(first.extra[0]).toBe(1);
  await cluster.kill(leader);
  await cluster.leader();
  for (const client of [follower, other]) {
    client.socket.send(RawClient.requests(txn(2)));
    const again = ok(await client.reply(2));
    expect({ revision: again.revision, extra: [...again.extra] }).toEqual({
      revision: first.revision,
      extra: [...first.extra],
    });
  }
  cluster.spawn(leader);
  await cluster.leader();
  const restarted = await RawClient.open(cluster.url(leader));
  restarted.socket.send(RawClient.requests(txn(3)));
  expect(ok(await restarted.reply(3)).revision).toBe(first.revision);
  for (const client of [follower, other, restarted]) client.close();
  expect(await putsOf('moved')).toEqual([first.revision]);
});

test('an acknowledged number is not done again; an expired or closed or unknown session is SESSION_EXPIRED', async () => {
  const client = await RawClient.open(cluster.url(await cluster.leader()));
  const session = await openSession(client, 1_000);
  ok(await client.ask(1, REQUEST.put, put(session, 1, 'once').fill));
  const acked = await client.ask(2, REQUEST.put, (w) =>
    w.varint(session).varint(2).varint(1).varint(0).blob(utf8('two')).blob(utf8('2')),
  );
  ok(acked);
  expect((await client.ask(3, REQUEST.put, put(session, 1, 'once').fill)).error?.code).toBe('BAD_REQUEST');
  // Log time goes on while nobody writes, so the session ends by itself.
  await sleep(3_500);
  expect((await client.ask(4, REQUEST.put, put(session, 3, 'late').fill)).error?.code).toBe('SESSION_EXPIRED');
  expect((await client.ask(5, REQUEST.put, put(123_456_789, 1, 'late').fill)).error?.code).toBe('SESSION_EXPIRED');
  const closing = await openSession(client);
  ok(await client.ask(6, REQUEST.closeSession, (w) => w.varint(closing).varint(1).varint(0)));
  expect((await client.ask(7, REQUEST.put, put(closing, 2, 'late').fill)).error?.code).toBe('SESSION_EXPIRED');
  client.close();
  expect(await putsOf('late')).toEqual([]);
  expect((await putsOf('once')).length).toBe(1);
});
