import { COMMAND_HEADER_BYTES } from '../../src/core/model/commands.ts';
import { createServer } from 'node:net';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { WebSocket } from 'ws';
import { Mesh } from '../../src/net/mesh/mesh.ts';
import { ByteWriter } from '../../src/core/base/bytes.ts';
import { crc32c } from '../../src/core/base/crc32c.ts';
import { type Channel, encodeMesh, encodeMeshHello, MESH_VERSION, type MeshMessage } from '../../src/core/wire/mesh.ts';

interface Node {
  readonly mesh: Mesh;
  readonly heard: { readonly from: string; readonly message: MeshMessage }[];
  readonly events: string[];
  readonly refusals: string[];
}

let nodes: Node[] = [];
let sockets: WebSocket[] = [];

afterEach(() => {
  for (const socket of sockets) socket.terminate();
  for (const { mesh } of nodes) mesh.close();
  nodes = [];
  sockets = [];
});

async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer();
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      return server;
    }),
  );
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  for (const server of servers) await new Promise((resolve) => server.close(resolve));
  return ports;
}

async function peersOf(...names: readonly string[]): Promise<Record<string, string>> {
  const ports = await freePorts(names.length);
  return Object.fromEntries(names.map((name, i) => [name, `ws://127.0.0.1:${ports[i]}`]));
}

async function open(name: string, peers: Record<string, string>, cluster = 'c'): Promise<Node> {
  const heard: Node['heard'] = [];
  const events: string[] = [];
  const refusals: string[] = [];
  const mesh = new Mesh({
    cluster,
    node: name,
    boot: 1,
    peers,
    log: (_level, event, fields) => {
      if (event === 'mesh.refused') refusals.push(String(fields?.['message']));
    },
    onMessages: (from, messages) => heard.push(...messages.map((message) => ({ from, message }))),
    onConnected: (peer) => events.push(`connected ${peer}`),
    onDisconnected: (peer) => events.push(`disconnected ${peer}`),
    onPeerLeft: (peer) => events.push(`left ${peer}`),
  });
  const node = { mesh, heard, events, refusals };
  nodes.push(node);
  await mesh.open();
  return node;
}

const until = (what: string, condition: () => boolean, timeout = 8_000): Promise<void> =>
  vi.waitFor(
    () => {
      if (!condition()) throw new Error(`not yet: ${what}`);
    },
    { timeout, interval: 5 },
  );

const batch = (...messages: readonly MeshMessage[]): Uint8Array => {
  const writer = new ByteWriter(64);
  for (const message of messages) encodeMesh(writer, message);
  return writer.take();
};

const read = (id: number): MeshMessage => ({ kind: 'readIndex', id });
const forward = (text: string): MeshMessage => ({
  kind: 'forward',
  commands: [new TextEncoder().encode(text.padEnd(COMMAND_HEADER_BYTES))],
});
const isLinked = (node: Node, peer: string): boolean =>
  node.mesh.isOpen(peer, 'control') && node.mesh.isOpen(peer, 'bulk');

/** A socket of the test's own, to a node's peer address. */
async function dial(url: string): Promise<{ socket: WebSocket; closed: Promise<{ code: number; reason: string }> }> {
  const socket = new WebSocket(url);
  sockets.push(socket);
  const closed = new Promise<{ code: number; reason: string }>((resolve) => {
    socket.on('close', (code, reason) => resolve({ code, reason: reason.toString() }));
  });
  socket.on('error', () => {});
  await new Promise((resolve) => socket.once('open', resolve));
  return { socket, closed };
}

const hello = (fields: Partial<Parameters<typeof encodeMeshHello>[1]> = {}): Uint8Array => {
  const writer = new ByteWriter(64);
  const channel: Channel = 'control';
  encodeMeshHello(writer, { version: MESH_VERSION, channel, cluster: 'c', from: 'n2', to: 'n1', boot: 7, ...fields });
  return writer.take();
};

const sealed = (bytes: Uint8Array): Buffer => {
  const frame = Buffer.alloc(4 + bytes.length);
  frame.writeUInt32LE(crc32c(bytes), 0);
  frame.set(bytes, 4);
  return frame;
};

test('messages arrive, whole and in the order of their channel, from whoever sent them', async () => {
  const peers = await peersOf('n1', 'n2');
  const [n1, n2] = [await open('n1', peers), await open('n2', peers)];
  await until('both are linked', () => isLinked(n1, 'n2') && isLinked(n2, 'n1'));
  for (let i = 1; i <= 500; i++) {
    expect(n1.mesh.send('n2', 'control', batch(read(i), read(i + 10_000)))).toBe(true);
    expect(n1.mesh.send('n2', 'bulk', batch(forward(`command ${i}`)))).toBe(true);
  }
  expect(n2.mesh.send('n1', 'control', batch(read(9)))).toBe(true);
  await until('all are there', () => n2.heard.length === 1_500 && n1.heard.length === 1);
  const reads = n2.heard.flatMap(({ message }) => (message.kind === 'readIndex' ? [message.id] : []));
  expect(reads).toEqual(Array.from({ length: 500 }, (_, i) => [i + 1, i + 10_001]).flat());
  const commands = n2.heard.flatMap(({ message }) =>
    message.kind === 'forward' ? message.commands.map((command) => Buffer.from(command).toString().trimEnd()) : [],
  );
  expect(commands).toEqual(Array.from({ length: 500 }, (_, i) => `command ${i + 1}`));
  expect(new Set(n2.heard.map(({ from }) => from))).toEqual(new Set(['n1']));
});

test('bytes are the caller’s again once send has returned', async () => {
  const peers = await peersOf('n1', 'n2');
  const [n1, n2] = [await open('n1', peers), await open('n2', peers)];
  await until('n1 is linked', () => isLinked(n1, 'n2'));
  const bytes = batch(forward('x'.repeat(200_000)));
  n1.mesh.send('n2', 'bulk', bytes);
  bytes.fill(0);
  await until('it is there', () => n2.heard.length === 1);
  const [{ message } = { message: undefined }] = n2.heard;
  expect(message?.kind === 'forward' && message.commands[0]?.every((byte) => byte === 0x78)).toBe(true);
});

test('to nobody, and to a peer that is not there, nothing is sent', async () => {
  const peers = await peersOf('n1', 'n2');
  const n1 = await open('n1', peers);
  expect(n1.mesh.send('n2', 'bulk', batch(read(1)))).toBe(false);
  expect(n1.mesh.send('n9', 'bulk', batch(read(1)))).toBe(false);
  expect([n1.mesh.isOpen('n2', 'bulk'), n1.mesh.isOpen('n9', 'bulk')]).toEqual([false, false]);
});

test('a peer that comes back is linked again; that it left is told once, and what it says then is heard', async () => {
  const peers = await peersOf('n1', 'n2');
  const n1 = await open('n1', peers);
  const n2 = await open('n2', peers);
  await until('both are linked', () => isLinked(n1, 'n2') && isLinked(n2, 'n1'));
  n2.mesh.close();
  await until('it is gone', () => n1.events.includes('left n2') && n1.events.includes('disconnected n2'));
  expect(n1.mesh.send('n2', 'bulk', batch(read(1)))).toBe(false);
  const again = await open('n2', peers);
  await until('both are linked again', () => isLinked(n1, 'n2') && isLinked(again, 'n1'));
  again.mesh.send('n1', 'control', batch(read(5)));
  await until('it is heard', () => n1.heard.length === 1);
  expect(n1.events.filter((event) => event === 'left n2')).toHaveLength(1);
  expect(n1.events.filter((event) => event === 'disconnected n2')).toHaveLength(1);
  expect(n1.events.filter((event) => event === 'connected n2')).toHaveLength(4);
});

test('an address that is taken is told by the system’s error', async () => {
  const peers = await peersOf('n1');
  await open('n1', peers);
  await expect(open('n1', peers)).rejects.toMatchObject({ code: 'EADDRINUSE' });
});

describe('who is let in', () => {
  async function node(): Promise<{ n1: Node; url: string }> {
    const peers = await peersOf('n1', 'n2', 'n3');
    return { n1: await open('n1', peers), url: peers['n1'] ?? '' };
  }

  test.each([
    ['another cluster', hello({ cluster: 'other' }), /cluster/],
    [
      'another cluster, with a name as long as names may be and no letter of ASCII',
      hello({ cluster: 'é'.repeat(200) }),
      /cluster/,
    ],
    ['words for another node', hello({ to: 'n3' }), /for node/],
    ['a stranger’s name', hello({ from: 'n9' }), /no peer/],
    ['our own name', hello({ from: 'n1' }), /no peer/],
    ['a name that every object has', hello({ from: 'constructor' }), /no peer/],
    ['another version', hello({ version: MESH_VERSION + 1 }), /version/],
    ['no hello', new TextEncoder().encode('GET / HTTP/1.1'), /hello|read/],
    ['half a hello', hello().slice(0, 9), /read/],
  ])('not one with %s', async (_what, first, reason) => {
    const { n1, url } = await node();
    const { socket, closed } = await dial(url);
    socket.send(first);
    // Said before the refusal can have arrived: not heard any more.
    socket.send(hello());
    socket.send(sealed(batch(read(1))));
    expect((await closed).code).toBe(1002);
    expect(n1.refusals[0]).toMatch(reason);
    expect(n1.heard).toEqual([]);
    expect(n1.refusals).toHaveLength(1);
    // The node goes on.
    const good = await dial(url);
    good.socket.send(hello());
    good.socket.send(sealed(batch(read(2))));
    await until('a peer is heard', () => n1.heard.length === 1);
  });

  test.each([
    ['a bad checksum', Buffer.from(sealed(batch(read(1)))).fill(0, 0, 1)],
    [
      'a changed byte',
      (() => {
        const frame = sealed(batch(forward('abc')));
        frame[frame.length - 1] = 1;
        return frame;
      })(),
    ],
    ['too few bytes', Buffer.from([1, 2])],
    ['an unknown message', sealed(Uint8Array.of(250))],
    ['a forwarded command without its header', sealed(batch({ kind: 'forward', commands: [new Uint8Array(20)] }))],
    ['a message cut short', sealed(batch(forward('abc')).slice(0, -1))],
    ['text', 'hello'],
  ])('a peer that sends %s is closed on, and nothing of that is heard', async (_what, frame) => {
    const { n1, url } = await node();
    const { socket, closed } = await dial(url);
    socket.send(hello());
    socket.send(sealed(batch(read(1))));
    await until('it is heard', () => n1.heard.length === 1);
    socket.send(frame);
    socket.send(sealed(batch(read(2))));
    expect((await closed).code).toBe(1002);
    expect(n1.heard).toHaveLength(1);
    await until('that it left is told', () => n1.events.includes('left n2'));
  });

  test('one that does not take the refusal is cut off', async () => {
    const { url } = await node();
    const { socket, closed } = await dial(url);
    socket.pause();
    socket.send(hello({ from: 'n9' }));
    const startedAt = performance.now();
    await new Promise((resolve) => setTimeout(resolve, 1_200));
    socket.resume();
    // Cut off, or told: but not held for half a minute.
    await closed;
    expect(performance.now() - startedAt).toBeLessThan(5_000);
  });

  test('more sockets of one peer than are in order are refused', async () => {
    const { n1, url } = await node();
    const dials = await Promise.all(Array.from({ length: 9 }, () => dial(url)));
    for (const { socket } of dials) socket.send(hello());
    const { reason } = await Promise.race(dials.map(({ closed }) => closed));
    expect(reason).toMatch(/too many/);
    expect(n1.events).toEqual([]);
    for (const { socket } of dials) socket.close();
    await until('that it left is told', () => n1.events.includes('left n2'));
    expect(n1.events.filter((event) => event === 'left n2')).toHaveLength(1);
  });
});

test('a peer that refuses us is not dialled as fast as it refuses', async () => {
  const peers = await peersOf('n1', 'n2');
  const n2 = await open('n2', peers);
  await open('n1', peers, 'another cluster');
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  // Two channels; doubling waits from 20 ms on: some ten attempts each, not fifty.
  expect(n2.refusals.length).toBeGreaterThan(2);
  expect(n2.refusals.length).toBeLessThan(40);
});
