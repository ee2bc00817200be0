import { expect, test } from 'vitest';
import { Connection } from '../../../src/actors/gateway/connection.ts';
import { Inspections } from '../../../src/actors/gateway/inspections.ts';
import { ByteReader } from '../../../src/core/base/bytes.ts';
import { StoreError } from '../../../src/core/base/errors.ts';
import { type ActorsView, decodeActorsView } from '../../../src/core/wire/actors.ts';
import * as wire from '../../../src/core/wire/client.ts';

const view: ActorsView = { node: 'n1', rows: [], leftOff: 0, deadLetters: {} };

function world(): {
  readonly inspections: Inspections;
  readonly looks: { resolve(view: ActorsView): void; reject(error: Error): void }[];
  readonly open: () => { readonly connection: Connection; readonly heard: wire.Reply[] };
} {
  const looks: { resolve(view: ActorsView): void; reject(error: Error): void }[] = [];
  const inspections = new Inspections(() => new Promise((resolve, reject) => void looks.push({ resolve, reject })));
  const open = (): { readonly connection: Connection; readonly heard: wire.Reply[] } => {
    const heard: wire.Reply[] = [];
    const send = (frame: Uint8Array): void => {
      const reader = new ByteReader(frame);
      expect(reader.u8()).toBe(wire.FRAME.replies);
      while (reader.left > 0) heard.push(wire.decodeReply(reader));
    };
    return { connection: new Connection({ send, close: () => {}, bufferedBytes: 0 }, 0, new Set()), heard };
  };
  return { inspections, looks, open };
}

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('everybody who asks meanwhile gets the same answer; who asks later gets another', async () => {
  const { inspections, looks, open } = world();
  const [a, b] = [open(), open()];
  inspections.submit(a.connection, 1);
  inspections.submit(b.connection, 7);
  inspections.submit(b.connection, 8);
  expect([looks.length, inspections.underWay]).toEqual([1, 3]);
  looks[0]?.resolve(view);
  await settled();
  expect([a.heard.map(({ id }) => id), b.heard.map(({ id }) => id)]).toEqual([[1], [7, 8]]);
  const [reply] = a.heard;
  expect(reply?.error === undefined && reply !== undefined && decodeActorsView(reply.extra)).toEqual(view);
  inspections.submit(a.connection, 2);
  expect([looks.length, inspections.underWay]).toEqual([2, 1]);
});

test('they are bounded; one who has gone is not answered; what goes wrong is told', async () => {
  const { inspections, looks, open } = world();
  const [a, gone] = [open(), open()];
  inspections.submit(gone.connection, 1);
  for (let i = 1; i < 64; i++) inspections.submit(a.connection, i);
  expect(() => inspections.submit(a.connection, 64)).toThrow(expect.objectContaining({ code: 'OVERLOADED' }));
  gone.connection.isClosed = true;
  looks[0]?.reject(new StoreError('UNAVAILABLE', 'not now'));
  await settled();
  expect([gone.heard.length, a.heard.length]).toEqual([0, 63]);
  expect(a.heard[0]?.error).toMatchObject({ code: 'UNAVAILABLE' });
});

test.each(['null', '{}', '{"node":"n1"}', '[]'])('%s is no view of actors', (json) => {
  expect(() => decodeActorsView(new TextEncoder().encode(json))).toThrow(
    expect.objectContaining({ code: 'PROTOCOL_ERROR' }),
  );
});
