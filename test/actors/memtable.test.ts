import { expect, test } from 'vitest';
import { url } from '../../src/actors/memtable.thread.ts';
import { RING_BYTES } from '../../src/actors/topology.ts';
import { createRing, RingReader, RingWriter } from '../../src/actors/runtime/ring.ts';
import { Shared } from '../../src/actors/shared.ts';
import { ByteReader, ByteWriter, utf8 } from '../../src/core/base/bytes.ts';
import { encodeTxn } from '../../src/core/model/commands.ts';
import { decodeRecords } from '../../src/core/model/ledger.ts';
import { Memtable } from '../../src/engine/lsm/memtable.ts';
import { command, putCommand, spawnActor, until } from './support.ts';

const MIB = 1024 * 1024;
const ORIGIN = 7;

async function startMemtable(memtableBytes: number) {
  const shared = new Shared();
  const buffers = {
    memtable: new SharedArrayBuffer(memtableBytes),
    committed: createRing(RING_BYTES.committed),
    answers: createRing(RING_BYTES.answers),
    ledger: createRing(RING_BYTES.ledger),
  };
  const { thread } = spawnActor(shared, 'memtable', url, { shared: shared.buffer, ...buffers, origin: ORIGIN });
  await thread.start();
  const committed = new RingWriter(buffers.committed);
  const answers = new RingReader(buffers.answers);
  const ledger = new RingReader(buffers.ledger);
  let index = 0;
  /** One frame of committed entries. */
  const commit = (commands: readonly Uint8Array[]): void => {
    const frame = new ByteWriter(1024);
    for (const data of commands) frame.u64(++index).u32(data.length).raw(data);
    expect(committed.write(frame.view())).toBe(true);
    shared.bell('memtable').ring();
  };
  const tokens: number[] = [];
  const revisions: number[] = [];
  /** Takes what came out, as the gateway and the shipper do. */
  const drain = (): void => {
    for (let frame = answers.peek(); frame !== undefined; frame = answers.peek()) {
      const reader = new ByteReader(frame);
      while (reader.left > 0) {
        tokens.push(reader.u32());
        reader.u8();
        reader.u64();
        reader.blob();
      }
      answers.pop();
    }
    for (let frame = ledger.peek(); frame !== undefined; frame = ledger.peek()) {
      for (const { revision } of decodeRecords(frame.slice())) revisions.push(revision);
      ledger.pop();
    }
  };
  return { shared, thread, table: new Memtable(buffers.memtable), commit, drain, tokens, revisions };
}

test('entries of a frame are applied in order; each makes one record, and an answer where it was asked for', async () => {
  const { shared, table, commit, drain, tokens, revisions } = await startMemtable(MIB);
  commit([
    putCommand('a', '1', { origin: ORIGIN, token: 11 }),
    putCommand('a', '2', { origin: ORIGIN + 1, token: 12 }),
    new Uint8Array(0),
    putCommand('b', '3', { origin: ORIGIN, token: 13 }),
  ]);
  await until('all is applied', () => shared.get('applied') === 4);
  await until('the records are there', () => {
    drain();
    return revisions.length === 4;
  });
  expect(tokens).toEqual([11, 13]);
  expect(revisions).toEqual([1, 2, 3, 4]);
  expect(table.get(utf8('a'), 4 as never)?.value).toEqual(utf8('2'));
  expect(shared.get('keys')).toBe(2);
});

test('transactions that each read four mebibytes, in one frame, are answered and do not end the thread', async () => {
  const { shared, thread, commit, drain, tokens } = await startMemtable(32 * MIB);
  const keys = ['k1', 'k2', 'k3', 'k4'].map(utf8);
  const value = new Uint8Array(MIB - 64).fill(9);
  for (const key of ['k1', 'k2', 'k3', 'k4']) commit([putCommand(key, value)]);
  const readAll = (token: number): Uint8Array =>
    command(
      'txn',
      (writer) =>
        encodeTxn(writer, {
          conditions: [],
          then: keys.map((key) => ({ kind: 'get', key, value: new Uint8Array(0), ttlMs: 0 })),
          otherwise: [],
        }),
      { origin: ORIGIN, token },
    );
  const asked = Array.from({ length: 12 }, (_, i) => 100 + i);
  commit(asked.map(readAll));
  let reason: unknown;
  void thread.ended.then((error) => (reason = error));
  await until('all are answered', () => {
    drain();
    return tokens.length === asked.length || reason !== undefined;
  });
  expect(reason).toBeUndefined();
  expect(tokens).toEqual(asked);
  expect(shared.get('applied')).toBe(4 + asked.length);
});
