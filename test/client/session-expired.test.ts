/** A write in doubt whose session is gone is told so: under a new number it could happen twice. */
import { expect, test } from 'vitest';
import { CallSet } from '../../src/client/call-set.ts';
import { PLATFORM } from '../../src/client/timing.ts';
import { ByteReader, ByteWriter } from '../../src/core/base/bytes.ts';
import { isStoreError, StoreError } from '../../src/core/base/errors.ts';
import * as wire from '../../src/core/wire/client.ts';

interface Sent {
  readonly id: number;
  readonly kind: number;
  readonly session: number;
}

function requestsIn(frame: Uint8Array): Sent[] {
  const reader = new ByteReader(frame);
  reader.u8();
  const sent: Sent[] = [];
  while (reader.left > 0) {
    const id = reader.varint();
    const kind = reader.u8();
    reader.varint();
    sent.push({ id, kind, session: new ByteReader(reader.raw(reader.u32())).varint() });
  }
  return sent;
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('another write finds the session expired while this one waits to be sent again', async () => {
  const sent: Sent[] = [];
  let nextId = 1;
  const calls = new CallSet({
    isReady: () => true,
    send: (frame) => sent.push(...requestsIn(frame)),
    nextId: () => nextId++,
    lastReason: () => '',
    inFlightMax: 10,
    deadlineMs: 10_000,
    timing: PLATFORM,
  });
  const answer = (id: number, revision: number): void =>
    calls.answered({ id, revision, extra: new Uint8Array(0), error: undefined });
  const body = new ByteWriter(8).u8(0).take();
  const first = calls.call(wire.REQUEST.put, true, body, {});
  await turn();
  await turn();
  answer(sent[0]?.id ?? 0, 77);
  await turn();
  await turn();
  expect(sent.map(({ kind, session }) => [kind, session])).toEqual([
    [wire.REQUEST.openSession, 0],
    [wire.REQUEST.put, 77],
  ]);
  // It may have happened; a node without a leader then asks for patience.
  const { id } = sent[1] as Sent;
  calls.answered({ id, error: new StoreError('UNAVAILABLE', 'no leader', { data: { mayHappen: true } }) });
  const second = calls.call(wire.REQUEST.put, true, body, {});
  await turn();
  await turn();
  calls.answered({ id: sent[2]?.id ?? 0, error: new StoreError('SESSION_EXPIRED', 'expired') });
  await expect(first).rejects.toSatisfy((error) => isStoreError(error, 'SESSION_EXPIRED'));
  await turn();
  await turn();
  const opened = sent.findLast(({ kind }) => kind === wire.REQUEST.openSession) as Sent;
  answer(opened.id, 99);
  await turn();
  await turn();
  const again = sent.filter(({ session }) => session === 99);
  expect(again.map((request) => request.id)).toEqual([sent[2]?.id]);
  answer(sent[2]?.id ?? 0, 100);
  expect((await second).revision).toBe(100);
  calls.close(new StoreError('CLOSED', 'closed'));
});
