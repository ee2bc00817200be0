/** What a caller says of how fresh a read is to be, as it reaches the wire. */
import { afterEach, expect, test } from 'vitest';
import type { StoreClient } from '../../src/client/client.ts';
import type { GetOptions } from '../../src/client/types.ts';
import { ByteReader } from '../../src/core/base/bytes.ts';
import * as wire from '../../src/core/wire/client.ts';
import { codeOf, FakeServer, turns } from './fake-server.ts';

const clients: StoreClient[] = [];

afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.close()));
});

async function connected(): Promise<{ server: FakeServer; client: StoreClient }> {
  const made = await FakeServer.connected();
  clients.push(made.client);
  return made;
}

const fresh = { isLocal: false, atLeast: 0, maxStalenessMs: undefined, revision: 0 };

test.each<[GetOptions, Partial<wire.RangeRequest>]>([
  [{}, fresh],
  [{ consistency: 'local' }, { ...fresh, isLocal: true }],
  [{ maxStalenessMs: 0 }, { ...fresh, maxStalenessMs: 0 }],
  [
    { maxStalenessMs: 500, atLeast: 7 },
    { ...fresh, maxStalenessMs: 500, atLeast: 7 },
  ],
  [
    { maxStalenessMs: 500, consistency: 'local' },
    { ...fresh, isLocal: true, maxStalenessMs: 500 },
  ],
  // It asks for more than any bound.
  [{ maxStalenessMs: 500, consistency: 'linearizable' }, fresh],
  [{ revision: 12 }, { ...fresh, revision: 12 }],
])('%o', async (options, asked) => {
  const { server, client } = await connected();
  const get = client.get('k', options);
  const range = client.range(options)[Symbol.asyncIterator]();
  const first = range.next();
  await turns();
  const [getCall, rangeCall] = server.last.calls.toSorted((a, b) => a.kind - b.kind);
  const { revision = 0, ...rest } = wire.decodeGet(new ByteReader(getCall?.body ?? new Uint8Array(0)));
  expect({ ...rest, revision }).toMatchObject(asked);
  expect(wire.decodeRange(new ByteReader(rangeCall?.body ?? new Uint8Array(0)))).toMatchObject(asked);
  server.last.ok(getCall?.id ?? 0, 0);
  server.last.end(rangeCall?.id ?? 0);
  await Promise.all([get, first]);
});

test.each([-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY])('%d milliseconds are no bound', async (maxStalenessMs) => {
  const { client } = await connected();
  expect(await codeOf(client.get('k', { maxStalenessMs }))).toBe('BAD_REQUEST');
  expect(() => client.range({ maxStalenessMs })).toThrow(expect.objectContaining({ code: 'BAD_REQUEST' }));
});

test('a range’s deadline is told to the node, which knows best why it passed', async () => {
  const { server, client } = await connected();
  const first = client.range({ deadlineMs: 700 })[Symbol.asyncIterator]().next();
  const other = client.range()[Symbol.asyncIterator]().next();
  await turns();
  const [asked, usual] = server.last.streams;
  expect(asked?.deadlineMs).toBeLessThanOrEqual(700);
  expect(asked?.deadlineMs).toBeGreaterThan(0);
  expect(usual?.deadlineMs).toBe(10_000);
  for (const stream of [asked, usual]) server.last.end(stream?.id ?? 0);
  await Promise.all([first, other]);
});

test('TOO_STALE and COMPACTED are the caller’s: they are not tried again, and bring what the node said', async () => {
  const { server, client } = await connected();
  const get = client.get('k', { maxStalenessMs: 5 });
  await turns();
  server.last.fail(server.last.calls[0]?.id ?? 0, 'TOO_STALE', { maxStalenessMs: 5, stalenessMs: 80 });
  await expect(get).rejects.toMatchObject({ code: 'TOO_STALE', data: { maxStalenessMs: 5, stalenessMs: 80 } });
  const range = client.range({ revision: 3 })[Symbol.asyncIterator]();
  const first = range.next();
  await turns();
  server.last.end(server.last.streams[0]?.id ?? 0, 'COMPACTED', { oldestRevision: 90 });
  await expect(first).rejects.toMatchObject({ code: 'COMPACTED', data: { oldestRevision: 90 } });
  expect(server.last.calls).toHaveLength(2);
});
