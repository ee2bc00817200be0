/** What each role may ask of a node: every kind of request there is stands in this table. */
import { expect, test } from 'vitest';
import { ByteWriter } from '../../../src/core/base/bytes.ts';
import { controlKind, encodeControl } from '../../../src/core/model/control/commands.ts';
import { mayAsk, needOf, PROBE_KEY, type Role, roleFor } from '../../../src/core/wire/access.ts';
import { encodeGet, REQUEST } from '../../../src/core/wire/client.ts';

const NONE = new Uint8Array(0);
const json = (value: object): Uint8Array => Buffer.from(JSON.stringify(value));
const ROLES: readonly Role[] = ['read', 'write', 'admin', 'node'];
const whoMay = (kind: number, body: Uint8Array = NONE): string => {
  const need = needOf(kind, body);
  return need === undefined ? 'anybody' : ROLES.filter((role) => mayAsk(role, need)).join(' ');
};

test('requests about keys and streams', () => {
  const { control, members, get, ...plain } = REQUEST;
  const said = Object.fromEntries(Object.entries(plain).map(([name, kind]) => [name, whoMay(kind)]));
  const reads = 'read write admin';
  const writes = 'write admin';
  expect(said).toEqual({
    ...{ status: 'anybody', range: reads, watch: reads, ledger: reads },
    ...{ controlRead: reads, actors: reads, fleet: reads },
    ...{ put: writes, delete: writes, txn: writes, openSession: writes, keepAlive: writes, closeSession: writes },
  });
  expect(whoMay(99)).toBe(writes);
  const got = (key: Uint8Array): Uint8Array => {
    const writer = new ByteWriter(32);
    encodeGet(writer, { key, isLocal: true, atLeast: 7 });
    return writer.take();
  };
  expect(whoMay(get, got(Buffer.from('k')))).toBe(reads);
  // How far a node has applied: with requests about members.
  expect(whoMay(get, got(PROBE_KEY))).toBe('read write admin node');
  expect([control, members]).toEqual([8, 21]);
});

test('control commands: rows and cookies are a writer’s, the rest is an admin’s', () => {
  const forWriters: string[] = [];
  for (let code = 1; controlKind(code) !== undefined; code++) {
    const body = new ByteWriter(16)
      .varint(300)
      .varint(0)
      .varint(2 ** 40)
      .u8(code)
      .take();
    if (whoMay(REQUEST.control, body) === 'write admin') forWriters.push(controlKind(code) ?? '');
    else expect(whoMay(REQUEST.control, body)).toBe('admin');
  }
  expect(forWriters).toEqual(['mutate', 'setCookie']);
  const family = new ByteWriter(32).varint(0).varint(0).varint(0);
  encodeControl(family, { kind: 'createFamily', family: 'billing' });
  expect(whoMay(REQUEST.control, family.take())).toBe('admin');
  expect(() => needOf(REQUEST.control, NONE)).toThrow(expect.objectContaining({ code: 'PROTOCOL_ERROR' }));
});

test('members: a node may look, and ask to be let in again', () => {
  const dirs = { dir: 'repaired-0123456789abcdef', replaces: '0123456789abcdef' };
  expect(whoMay(REQUEST.members, json({ op: 'list' }))).toBe('read write admin node');
  for (const request of [{ op: 'promote', id: 'n1' }, { op: 'remove', id: 'n1' }, { op: 'transfer' }]) {
    expect(whoMay(REQUEST.members, json(request))).toBe('admin');
  }
  expect(mayAsk('node', 'readmit')).toBe(true);
  expect(['read', 'write', 'admin'].map((role) => mayAsk(role as Role, 'readmit'))).toEqual([false, false, true]);
  expect(() => needOf(REQUEST.members, json({ op: 'none', ...dirs }))).toThrow(
    expect.objectContaining({ code: 'BAD_REQUEST' }),
  );
  expect(roleFor('readmit')).toBe('admin');
});
