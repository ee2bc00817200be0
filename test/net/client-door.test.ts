/** Frames that several sockets get, as real clients hear them. */
import { expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { Connection, type Door } from '../../src/actors/gateway/connection.ts';
import { SharedFrame } from '../../src/actors/shipment.ts';
import { ClientDoor } from '../../src/net/client-door.ts';
import { freePorts } from '../support/cluster-process.ts';

function open(port: number, doors: Door[]): Promise<ClientDoor> {
  return ClientDoor.open({
    url: `ws://127.0.0.1:${port}`,
    connectionsMax: 100,
    originsAllowed: [],
    gateway: {
      open: (opened) => {
        doors.push(opened);
        return new Connection(opened, 0, new Set());
      },
      receive: () => {},
      refuse: () => {},
      closed: () => {},
    },
    guard: (work) => work(),
    log: () => {},
  });
}

test('who still waits to be let in when the door closes is told, at once', async () => {
  const [port] = await freePorts(1);
  const door = await open(port as number, []);
  const answers: Promise<string>[] = [];
  for (let i = 0; i < 60; i++) {
    const socket = new WebSocket(`ws://127.0.0.1:${port}`);
    answers.push(
      new Promise((resolve) => {
        socket.once('open', () => resolve('open'));
        socket.once('error', ({ message }) => resolve(message));
      }),
    );
  }
  expect(await Promise.race(answers)).toBe('open');
  await door.close();
  const heard = new Set(await Promise.all(answers));
  for (const answer of heard) expect(answer).toMatch(/^open$|503|426|ECONNRESET|ECONNREFUSED|hang up/);
});

test('a shared frame is what ws would have sent, of every size, in order with the others', async () => {
  const [port] = await freePorts(1);
  const doors: Door[] = [];
  const door = await open(port as number, doors);
  const sizes = [0, 1, 125, 126, 127, 65_535, 65_536, 200_000];
  const clients = [1, 2].map(() => {
    const heard: Buffer[] = [];
    const socket = new WebSocket(`ws://127.0.0.1:${port}`);
    socket.on('message', (data: Buffer, isBinary) => {
      expect(isBinary).toBe(true);
      heard.push(data);
    });
    const isOver = new Promise((resolve) => socket.once('close', resolve));
    return { heard, isOver, isOpen: new Promise((resolve) => socket.once('open', resolve)) };
  });
  for (const { isOpen } of clients) await isOpen;
  const payloads = sizes.map((size, i) => new Uint8Array(size).fill(i + 1));
  for (const payload of payloads) {
    const shared = new SharedFrame(payload);
    for (const each of doors) {
      each.sendShared?.(shared);
      each.send(payload.slice());
    }
  }
  for (const each of doors) {
    each.close();
    // Not behind the goodbye.
    each.sendShared?.(new SharedFrame(new Uint8Array(5)));
  }
  for (const { heard, isOver } of clients) {
    await isOver;
    expect(heard.map((data) => data.length)).toEqual(sizes.flatMap((size) => [size, size]));
    for (const [i, data] of heard.entries()) expect(data.equals(payloads[i >> 1] as Uint8Array)).toBe(true);
  }
  await door.close();
});
