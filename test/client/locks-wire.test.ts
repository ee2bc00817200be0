/** A lock as the server sees it, and what a client that closes does with it. */
import { afterEach, expect, test, vi } from 'vitest';
import type { StoreClient } from '../../src/client/client.ts';
import { ByteReader, text } from '../../src/core/base/bytes.ts';
import { decodeTxn, type Txn } from '../../src/core/model/commands.ts';
import * as wire from '../../src/core/wire/client.ts';
import { type Asked, type AskedWrite, FakeServer } from './fake-server.ts';

let made: { readonly server: FakeServer; readonly client: StoreClient } | undefined;

afterEach(async () => {
  if (made === undefined) return;
  made.server.onDial = () => {};
  made.server.last.lose();
  await made.client.close();
  made = undefined;
});

const asked = <T>(find: () => T | undefined): Promise<T> =>
  vi.waitFor(() => {
    const found = find();
    if (found === undefined) throw new Error('not asked yet');
    return found;
  });

const txnOf = (write: AskedWrite): Txn => decodeTxn(new ByteReader(write.rest));

test('one transaction that makes a key, one range; a client that closes removes the key before it goes', async () => {
  made = await FakeServer.connected();
  const { server, client } = made;
  const taking = client.lock('a/b', { ttlMs: 60_000 });
  const write = await asked(() => server.last.writes[0]);
  const { conditions, then } = txnOf(write);
  const key = text(then[0]?.key ?? new Uint8Array(0));
  expect(key).toMatch(/^ctlmesh\/locks\/a%2Fb\/[0-9a-f]{32}$/);
  expect(conditions).toMatchObject([{ kind: 'revision', revision: 0 }]);
  expect(then).toMatchObject([{ kind: 'put', ttlMs: 60_000 }]);
  expect(text(then[0]?.value ?? new Uint8Array(0))).toBe('0 ');
  server.last.ok(write.id, 70, Uint8Array.of(1, 0));
  const range: Asked = await asked(() => server.last.streams[0]);
  expect(wire.decodeRange(new ByteReader(range.body))).toMatchObject({ isLocal: false, revision: 0 });
  server.last.entries(range.id, 71, [key], '0 ');
  server.last.end(range.id);
  const lock = await taking;
  expect([lock.token, lock.key, lock.isHeld]).toEqual([70, key, true]);

  void client.txn((t) => t.if(lock.condition()).put('x', '1')).catch(() => {});
  const fenced = await asked(() => server.last.writes[1]);
  expect(txnOf(fenced).conditions.map((condition) => [condition.kind, text(condition.key)])).toEqual([['exists', key]]);
  server.last.ok(fenced.id, 72, Uint8Array.of(1, 0));

  const closing = client.close();
  expect(lock.isHeld).toBe(false);
  const removal = await asked(() => server.last.writes.find(({ kind }) => kind === wire.REQUEST.delete));
  expect(text(new ByteReader(removal.rest).blob())).toBe(key);
  server.last.ok(removal.id, 73, Uint8Array.of(1));
  await closing;
  expect(server.last.isClosed).toBe(true);
});
