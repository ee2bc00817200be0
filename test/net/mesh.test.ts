import { COMMAND_HEADER_BYTES } from '../../src/core/model/commands.ts';
import { createHash } from 'node:crypto';
import { createServer, type Socket } from 'node:net';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { WebSocket } from 'ws';
import { toIndex, toTerm } from '../../src/core/base/position.ts';
import { Witness } from '../../src/core/raft/witness.ts';
import { Mesh } from '../../src/net/mesh/mesh.ts';
import { ByteWriter } from '../../src/core/base/bytes.ts';
import { crc32c } from '../../src/core/base/crc32c.ts';
import { COMMAND_LEVEL } from '../../src/core/model/command-levels.ts';
import { type Channel, encodeMesh, encodeMeshHello, MESH_VERSION, type MeshMessage } from '../../src/core/wire/mesh.ts';

const FIRST_LIFE = { life: 1, lineage: [], began: { term: toTerm(0), lastTerm: toTerm(0), lastIndex: toIndex(0) } };

interface Node {
  readonly mesh: Mesh;
  readonly heard: { readonly from: string; readonly message: MeshMessage }[];
  /** What was told of peers' data directories. */
  readonly dirs: string[];
  /** Which commands each peer said that it knows. */
  readonly levels: ReadonlyMap<string, number>;
  readonly events: string[];
  readonly refusals: string[];
  /** Level and event of each line that was logged. */
  readonly logged: string[];
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

const asPeers = (peers: Readonly<Record<string, string>>): { id: string; mesh: string }[] =>
  Object.entries(peers).map(([id, url]) => ({ id, mesh: new URL(url).host }));

async function open(
  name: string,
  peers: Record<string, string>,
  options: {
    readonly cluster?: string;
    readonly guests?: Record<string, string>;
    readonly listen?: string;
    readonly index?: number;
    readonly boot?: number;
    /** Data directories that are known of peers. */
    readonly dirs?: Record<string, string>;
  } = {},
): Promise<Node> {
  const heard: Node['heard'] = [];
  const events: string[] = [];
  const refusals: string[] = [];
  const logged: string[] = [];
  const dirs: string[] = [];
  const levels = new Map<string, number>();
  const witness = new Witness();
  const mesh = new Mesh({
    cluster: options.cluster ?? 'c',
    node: name,
    life: { ...FIRST_LIFE, boot: options.boot ?? 1, dir: `dir of ${name}` },
    meet: (peer, life) => witness.meet(peer, life),
    onRolledBack: (peer, reason) => events.push(`rolled back: ${peer} says ${reason}`),
    onMet: (peer, dir, commands) => {
      dirs.push(`${peer}: ${dir}`);
      levels.set(peer, commands);
    },
    listen: new URL(options.listen ?? peers[name] ?? '').host,
    guests: asPeers(options.guests ?? {}),
    log: (level, event, fields) => {
      logged.push(`${level} ${event}`);
      if (event === 'mesh.refused') refusals.push(String(fields?.['message']));
    },
    onMessages: (from, messages) => heard.push(...messages.map((message) => ({ from, message }))),
    onConnected: (peer) => events.push(`connected ${peer}`),
    onDisconnected: (peer) => events.push(`disconnected ${peer}`),
    onPeerLeft: (peer) => events.push(`left ${peer}`),
  });
  const node = { mesh, heard, events, refusals, logged, dirs, levels };
  nodes.push(node);
  const known = asPeers(peers).map((peer) => ({ ...peer, dir: options.dirs?.[peer.id] ?? '' }));
  mesh.setPeers(known, options.index ?? 0);
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
  const known = { version: MESH_VERSION, channel, cluster: 'c', from: 'n2', to: 'n1', boot: 7 };
  encodeMeshHello(writer, {
    ...known,
    ...FIRST_LIFE,
    mesh: '127.0.0.1:9',
    membersIndex: 0,
    dir: 'dir of n2',
    commands: 1,
    ...fields,
  });
  return writer.take();
};

const sealed = (bytes: Uint8Array): Buffer => {
  const frame = Buffer.alloc(4 + bytes.length);
  frame.writeUInt32LE(crc32c(bytes), 0);
  frame.set(bytes, 4);
  return frame;
};

test('a peer with another data directory than is known of it is not let in; one that was restored is', async () => {
  const peers = await peersOf('n1', 'n2', 'n3');
  const n1 = await open('n1', peers, { dirs: { n2: 'dir of n2', n3: 'dir of n3' } });
  await open('n2', peers);
  await until('n2 is let in', () => n1.dirs.length > 0);
  expect(n1.dirs[0]).toBe('n2: dir of n2');
  expect(n1.levels.get('n2')).toBe(COMMAND_LEVEL);
  const wiped = await dial(peers['n1'] ?? '');
  wiped.socket.send(hello({ from: 'n3', dir: 'a new one' }));
  expect(await wiped.closed).toMatchObject({ reason: expect.stringContaining('another data directory') });
  expect(n1.refusals.join()).toContain('remove the member n3, and add it again');
  const restored = await dial(peers['n1'] ?? '');
  restored.socket.send(hello({ from: 'n3', dir: 'restored-7', commands: 300 }));
  await until('n3 is let in', () => n1.dirs.includes('n3: restored-7'));
  expect(n1.levels.get('n3')).toBe(300);
});

test('a directory that was replaced is heard no more, and the one in its place only once it is named', async () => {
  const peers = await peersOf('n1', 'n3');
  const n1 = await open('n1', peers, { dirs: { n3: 'old' } });
  const name = (dir: string, votes: boolean): void =>
    n1.mesh.setPeers(
      asPeers(peers).map((peer) => ({ ...peer, votes, dir: peer.id === 'n3' ? dir : '' })),
      1,
    );
  const dialled = async (dir: string): Promise<Awaited<ReturnType<typeof dial>>> => {
    const one = await dial(peers['n1'] ?? '');
    one.socket.send(hello({ from: 'n3', dir }));
    return one;
  };
  const old = await dialled('old');
  await until('the old one is let in', () => n1.dirs.includes('n3: old'));
  expect(await (await dialled('repaired-1')).closed).toMatchObject({
    reason: expect.stringContaining('another data directory'),
  });
  name('repaired-1', false);
  expect(await old.closed).toMatchObject({ reason: expect.stringContaining('another data directory') });
  await dialled('repaired-1');
  await until('the new one is let in', () => n1.dirs.includes('n3: repaired-1'));
  // Where nobody knows whose the vote is, it is not a new directory's.
  name('', true);
  expect(await (await dialled('repaired-2')).closed).toMatchObject({
    reason: expect.stringContaining('another data directory'),
  });
  // Who has a newer entry of members may be named by it, until our log has come as far.
  const ahead = await dial(peers['n1'] ?? '');
  ahead.socket.send(hello({ from: 'n3', dir: 'repaired-3', membersIndex: 2 }));
  await until('it is let in meanwhile', () => n1.dirs.includes('n3: repaired-3'));
  n1.mesh.setPeers(
    asPeers(peers).map((peer) => ({ ...peer, votes: true, dir: 'another' })),
    2,
  );
  expect(await ahead.closed).toMatchObject({ reason: expect.stringContaining('another data directory') });
  name('', false);
  await dialled('repaired-2');
  await until('a learner has no vote that could be lost', () => n1.dirs.includes('n3: repaired-2'));
});

test('a directory that was put back is refused by who saw more of it, and its node is told', async () => {
  const peers = await peersOf('n1', 'n2');
  const n1 = await open('n1', peers);
  const n2 = await open('n2', peers);
  await until('n2 is let in', () => n1.dirs.length > 0);
  n2.mesh.close();
  await until('n2 is gone', () => n1.events.includes('left n2'));
  const came = n1.dirs.length;
  // A second life that says it is the first.
  const again = await open('n2', peers, { boot: 2 });
  await until('it is told', () => again.events.some((event) => event.startsWith('rolled back: n1 says')));
  expect(again.events.join()).toContain('its directory remembers nothing of its life 1');
  expect(n1.refusals.join()).toContain('from "n2", put back to an older state');
  expect(n1.dirs).toHaveLength(came);
});

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
  await open('n1', peers, { cluster: 'another cluster' });
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  // Two channels; doubling waits from 20 ms on: some ten attempts each, not fifty.
  expect(n2.refusals.length).toBeGreaterThan(2);
  expect(n2.refusals.length).toBeLessThan(40);
});

describe('peers that come and go', () => {
  test('a new peer is dialled and let in; before that it is refused', async () => {
    const all = await peersOf('n1', 'n2', 'n3');
    const { n3: url3 = '', ...two } = all;
    const [n1, n2] = [await open('n1', two), await open('n2', two)];
    const n3 = await open('n3', all);
    await until('n3 was refused by both', () => n1.refusals.length > 0 && n2.refusals.length > 0);
    expect(n1.refusals[0]).toMatch(/from "n3", which is no peer/);
    expect(isLinked(n1, 'n3')).toBe(false);
    for (const node of [n1, n2]) node.mesh.setPeers([...asPeers(two), { id: 'n3', mesh: new URL(url3).host }], 5);
    await until('all are linked', () => [n1, n2].every((node) => isLinked(node, 'n3') && isLinked(n3, nameOf(node))));
    n3.mesh.send('n1', 'control', batch(read(3)));
    n1.mesh.send('n3', 'bulk', batch(forward('to n3')));
    await until('both are heard', () => n1.heard.length === 1 && n3.heard.length === 1);
    function nameOf(node: Node): string {
      return node === n1 ? 'n1' : 'n2';
    }
  });

  test('who knocks again and again is warned of once', async () => {
    const peers = await peersOf('n1', 'n2');
    const { n1: url1 = '' } = peers;
    const n1 = await open('n1', { n1: url1 });
    const n2 = await open('n2', peers);
    await until('it was refused some times', () => n1.refusals.length >= 6);
    expect(n1.logged.filter((line) => line === 'warn mesh.refused')).toHaveLength(1);
    expect(n1.logged.filter((line) => line === 'debug mesh.refused').length).toBeGreaterThanOrEqual(5);
    await until('n2 saw it', () => n2.logged.filter((line) => line === 'debug mesh.disconnected').length >= 2);
    expect(n2.logged.filter((line) => line === 'info mesh.disconnected')).toHaveLength(2);
  });

  test('a peer that is let go gets what was sent to it, and is not heard any more, nor dialled, nor told of', async () => {
    const peers = await peersOf('n1', 'n2', 'n3');
    const nodes3 = [await open('n1', peers), await open('n2', peers), await open('n3', peers)];
    const [n1, n2, n3] = nodes3 as [Node, Node, Node];
    await until('all are linked', () => ['n2', 'n3'].every((peer) => isLinked(n1, peer)) && isLinked(n3, 'n1'));
    // More than the system's own buffers hold.
    for (let i = 1; i <= 3; i++) n1.mesh.send('n3', 'bulk', batch(forward('x'.repeat(6_000_000) + i)));
    n1.mesh.setPeers(
      asPeers(peers).filter(({ id }) => id !== 'n3'),
      5,
    );
    expect(n1.mesh.send('n3', 'bulk', batch(read(1)))).toBe(false);
    expect(n1.mesh.isOpen('n3', 'control')).toBe(false);
    n3.mesh.send('n1', 'control', batch(read(7)));
    await until('n3 has all that was sent to it', () => n3.heard.length === 3);
    await until('n3 is refused when it comes again', () =>
      n1.refusals.some((text) => /"n3", which is no peer/.test(text)),
    );
    expect(n1.heard).toEqual([]);
    expect(n1.events.filter((event) => event.endsWith(' n3') && !event.startsWith('connected'))).toEqual([]);
    // The others are as they were.
    n2.mesh.send('n1', 'control', batch(read(2)));
    await until('n2 is heard', () => n1.heard.length === 1);
    // And it may come back.
    n1.mesh.setPeers(asPeers(peers), 6);
    await until('n3 is linked again', () => isLinked(n1, 'n3') && isLinked(n3, 'n1'));
    n3.mesh.send('n1', 'control', batch(read(8)));
    await until('n3 is heard again', () => n1.heard.some(({ from }) => from === 'n3'));
  });

  test('a peer that takes nothing is let go all the same, within a second', async () => {
    const peers = await peersOf('n1', 'n2');
    const { n2: url2 = '' } = peers;
    const server = createServer((socket) => {
      sockets2.push(socket);
      socket.once('data', (head: Buffer) => {
        const key = /sec-websocket-key: (.*)\r/i.exec(head.toString())?.[1] ?? '';
        const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
        socket.write(
          `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
        );
        // It reads no more.
        socket.pause();
      });
    });
    const sockets2: Socket[] = [];
    await new Promise<void>((resolve) => server.listen(Number(new URL(url2).port), '127.0.0.1', resolve));
    try {
      const n1 = await open('n1', peers);
      await until('n1 is linked', () => isLinked(n1, 'n2'));
      n1.mesh.send('n2', 'bulk', batch(forward('x'.repeat(16_000_000))));
      n1.mesh.setPeers([], 5);
      const closed = Promise.all(sockets2.map((socket) => new Promise((resolve) => socket.once('close', resolve))));
      const startedAt = performance.now();
      for (const socket of sockets2) socket.on('error', () => {});
      await new Promise((resolve) => setTimeout(resolve, 1_100));
      for (const socket of sockets2) socket.resume();
      await closed;
      expect(performance.now() - startedAt).toBeLessThan(5_000);
    } finally {
      for (const socket of sockets2) socket.destroy();
      server.close();
    }
  });

  test('a peer that moved is dialled at its new address', async () => {
    const peers = await peersOf('n1', 'n2');
    const n1 = await open('n1', peers);
    const elsewhere = await peersOf('n2');
    const n2 = await open('n2', { ...peers, ...elsewhere });
    await until('n2 is heard of', () => isLinked(n2, 'n1'));
    expect(isLinked(n1, 'n2')).toBe(false);
    n1.mesh.setPeers(asPeers({ ...peers, ...elsewhere }), 5);
    await until('n1 is linked', () => isLinked(n1, 'n2'));
  });

  test('peers that are said before it opens are dialled when it does', async () => {
    const peers = await peersOf('n1', 'n2');
    const n2 = await open('n2', peers);
    const { n1: url1 = '' } = peers;
    const n1 = await open('n1', { n1: url1, ...peers });
    await until('both are linked', () => isLinked(n1, 'n2') && isLinked(n2, 'n1'));
  });

  test('a guest is let in and answered while it is there, and is no peer', async () => {
    const peers = await peersOf('n1', 'n2', 'n4');
    const { n1: url1 = '', n2: url2 = '', n4: url4 = '' } = peers;
    // n4 joins: it goes by n1 alone, and its config has n2 as well, who has become a member meanwhile.
    const n4 = await open('n4', { n1: url1 }, { guests: peers, listen: url4 });
    const n2 = await open('n2', { n4: url4 }, { listen: url2 });
    await until('they are linked', () => isLinked(n2, 'n4') && isLinked(n4, 'n2'));
    n2.mesh.send('n4', 'control', batch(read(1)));
    n4.mesh.send('n2', 'control', batch(read(2)));
    await until('both are heard', () => n2.heard.length === 1 && n4.heard.length === 1);
    n2.mesh.close();
    await until('it is gone', () => n4.events.includes('left n2') && !n4.mesh.isOpen('n2', 'control'));
    const { socket, closed } = await dial(url4);
    socket.send(hello({ from: 'n9', to: 'n4' }));
    expect((await closed).reason).toMatch(/no peer/);
  });

  describe('who knows a newer entry of members', () => {
    /** n1 goes by itself and n2 as of entry 5; n3 has come since, says entry 9 at n3. */
    async function behindAndAhead(): Promise<{ n1: Node; n3: Node; urls: Record<string, string> }> {
      const urls = await peersOf('n1', 'n2', 'n3');
      const { n1: url1 = '', n2: url2 = '', n3: url3 = '' } = urls;
      const n1 = await open('n1', { n1: url1, n2: url2 }, { index: 5 });
      const n3 = await open('n3', { n1: url1, n3: url3 }, { index: 9 });
      await until('they are linked', () => isLinked(n1, 'n3') && isLinked(n3, 'n1'));
      return { n1, n3, urls };
    }

    test('is let in by one that is behind, and answered', async () => {
      const { n1, n3 } = await behindAndAhead();
      n3.mesh.send('n1', 'bulk', batch(forward('the entries that n1 lacks')));
      n1.mesh.send('n3', 'control', batch(read(2)));
      await until('both are heard', () => n1.heard.length === 1 && n3.heard.length === 1);
      expect(n1.refusals).toEqual([]);
    });

    test('stays when the log names it, and while it is still ahead', async () => {
      const { n1, n3, urls } = await behindAndAhead();
      n1.mesh.setPeers([], 8);
      n3.mesh.send('n1', 'control', batch(read(1)));
      await until('it is heard', () => n1.heard.length === 1);
      n1.mesh.setPeers(asPeers(urls), 9);
      n3.mesh.send('n1', 'control', batch(read(2)));
      n1.mesh.send('n3', 'control', batch(read(3)));
      await until('both are heard', () => n1.heard.length === 2 && n3.heard.length === 1);
      expect(n1.events.filter((event) => event !== 'connected n3')).toEqual([]);
    });

    test('is let go when the log has caught up and does not name it', async () => {
      const { n1, n3 } = await behindAndAhead();
      n1.mesh.setPeers([], 9);
      expect(n1.mesh.isOpen('n3', 'control')).toBe(false);
      n3.mesh.send('n1', 'control', batch(read(1)));
      await until('it is refused', () => n1.refusals.some((text) => /"n3", which is no peer/.test(text)));
      expect(n1.heard).toEqual([]);
    });

    test('is forgotten when it leaves, with our links to it', async () => {
      const { n1, n3, urls } = await behindAndAhead();
      n3.mesh.close();
      await until('it is gone', () => n1.events.includes('left n3') && !n1.mesh.isOpen('n3', 'bulk'));
      const { n3: url3 = '' } = urls;
      await open('n3', { n3: url3 });
      // Longer than any pause between two tries.
      await new Promise((resolve) => setTimeout(resolve, 1_200));
      expect(n1.mesh.isOpen('n3', 'bulk')).toBe(false);
      expect(n1.events.filter((event) => event === 'connected n3')).toHaveLength(2);
    });

    test.each([
      ['the same entry', { membersIndex: 5 }],
      ['an older one', { membersIndex: 4 }],
      ['a newer one and no address', { membersIndex: 6, mesh: '' }],
      ['a newer one and an address that is none', { membersIndex: 6, mesh: 'h:99999' }],
      ['a newer one and our own name', { membersIndex: 6, from: 'n1' }],
    ])('who names %s is not let in', async (_what, fields) => {
      const urls = await peersOf('n1', 'n2');
      const n1 = await open('n1', urls, { index: 5 });
      const { socket, closed } = await dial(urls['n1'] ?? '');
      socket.send(hello({ from: 'n9', ...fields }));
      expect((await closed).reason).toMatch(/no peer/);
      expect(n1.mesh.isOpen('n9', 'control')).toBe(false);
    });

    test('64 of them, not more', async () => {
      const urls = await peersOf('n1');
      const n1 = await open('n1', urls);
      const ids = Array.from({ length: 65 }, (_, i) => `g${i}`);
      const dials = await Promise.all(ids.map(async (from) => ({ from, ...(await dial(urls['n1'] ?? '')) })));
      for (const { from, socket } of dials) socket.send(hello({ from, membersIndex: 1 }));
      await until('one is refused', () => n1.refusals.length > 0);
      expect(n1.refusals).toHaveLength(1);
    });
  });
});
