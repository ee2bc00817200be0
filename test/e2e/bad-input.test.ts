/** What nobody should send, at every door: a typed error or a closed socket, and everybody else goes on. */
import { randomBytes } from 'node:crypto';
import { connect as connectTcp, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { type Client, isStoreError } from '../../src/client/index.ts';
import { ByteWriter } from '../../src/core/base/bytes.ts';
import { crc32c } from '../../src/core/base/crc32c.ts';
import { encodeHello, FRAME, MAGIC, REQUEST } from '../../src/core/wire/client.ts';
import { toIndex, toTerm } from '../../src/core/base/position.ts';
import { encodeMeshHello, MESH_VERSION } from '../../src/core/wire/mesh.ts';
import { TestCluster, until } from '../support/cluster-process.ts';
import { RawClient } from '../support/cluster-raw.ts';

const MIB = 1024 * 1024;
const CLUSTER = `e2e-${process.pid}`;
let cluster: TestCluster;
let db: Client;
/** The node that is maltreated: the leader, so that nobody can hide behind it. */
let target = '';
let pids: number[] = [];
let term = 0;

beforeAll(async () => {
  cluster = await TestCluster.start();
  target = await cluster.leader();
  db = await cluster.client();
  pids = cluster.ids.map((id) => cluster.run(id).pid);
  ({ term } = await cluster.status(target));
});
afterAll(() => cluster?.close());

/** After each maltreatment: the same processes, the same leader, and they serve. */
afterEach(async () => {
  const over = cluster.ids.filter((id) => !cluster.isRunning(id));
  expect(over, over.map((id) => cluster.run(id).output.slice(-3000)).join('\n')).toEqual([]);
  expect(cluster.ids.map((id) => cluster.run(id).pid)).toEqual(pids);
  const { revision } = await db.put('alive', 'yes', { deadlineMs: 5_000 });
  expect((await db.get('alive'))?.revision).toBe(revision);
  expect((await cluster.status(target)).term, 'nobody had to be elected').toBe(term);
});

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

describe('client port: frames', () => {
  test('random bytes before a hello, and after one', async () => {
    for (let round = 0; round < 50; round++) {
      const client = await RawClient.dial(cluster.url(target));
      client.socket.send(randomBytes(1 + Math.floor(Math.random() * 64)));
      expect(await client.end()).toBe(1000);
      expect(client.goodbye?.code).toMatch(/^PROTOCOL_/);
    }
  });

  test('10 000 frames of garbage, many of them half right', { timeout: 100_000 }, async () => {
    let sent = 0;
    let client: RawClient | undefined;
    const random = (below: number): number => Math.floor(Math.random() * below);
    const body = (): Uint8Array => {
      const writer = new ByteWriter(64);
      for (let i = random(5); i >= 0; i--) {
        if (random(3) === 0) writer.varint(random(2) === 0 ? random(300) : Math.floor(Math.random() * 2 ** 53));
        else if (random(2) === 0) writer.raw(randomBytes(random(20)));
        else writer.blob(randomBytes(random(40)));
      }
      return writer.take();
    };
    const frame = (): Uint8Array => {
      const writer = new ByteWriter(64).u8(random(4) === 0 ? random(256) : random(12));
      if (random(3) === 0) return writer.raw(randomBytes(random(100))).take();
      const kinds = Object.values(REQUEST);
      for (let i = random(4); i >= 0; i--) {
        const bytes = body();
        writer
          .varint(random(2) === 0 ? random(100) : Math.floor(Math.random() * 2 ** 53))
          .u8(random(5) === 0 ? random(256) : (kinds[random(kinds.length)] ?? 0))
          .varint(random(3) === 0 ? Math.floor(Math.random() * 2 ** 53) : random(1000))
          .u32(random(10) === 0 ? random(2 ** 31) : bytes.length)
          .raw(bytes);
      }
      return writer.take();
    };
    while (sent < 10_000) {
      if (client === undefined || client.closed !== undefined) client = await RawClient.open(cluster.url(target));
      for (let i = 0; i < 20 && client.closed === undefined; i++, sent++) client.socket.send(frame());
      const current = client;
      // Its pong says that what was sent before it was read.
      await new Promise<void>((resolve) => {
        const over = (): void => resolve();
        current.socket.once('pong', over);
        current.socket.once('close', over);
        if (current.closed !== undefined) resolve();
        else current.socket.ping();
      });
    }
    client?.close();
  });

  test('text frames, empty frames, frames only a server sends, another hello', async () => {
    for (const frame of [
      'hello',
      '',
      Buffer.alloc(0),
      Buffer.of(FRAME.replies, 1, 2, 3),
      Buffer.of(0),
      Buffer.of(255),
    ]) {
      const client = await RawClient.open(cluster.url(target));
      client.socket.send(frame);
      await client.end();
      expect(client.goodbye?.code).toBe('PROTOCOL_ERROR');
    }
    const twice = await RawClient.open(cluster.url(target));
    twice.socket.send(encodeHello({ versionMin: 1, versionMax: 1, client: 'raw' }));
    await twice.end();
    expect(twice.goodbye?.code).toBe('PROTOCOL_ERROR');
  });

  test('a frame above the limit ends its socket (1009); one just below does not', async () => {
    const client = await RawClient.open(cluster.url(target));
    client.socket.send(Buffer.alloc(8 * MIB + 1));
    expect(await client.end()).toBe(1009);
    const fine = await RawClient.open(cluster.url(target));
    const reply = await fine.ask(1, REQUEST.put, (w) => w.raw(new Uint8Array(7 * MIB)));
    expect(reply.error?.code).toBeDefined();
    fine.close();
  });

  test('wrong version: PROTOCOL_VERSION; wrong magic: PROTOCOL_ERROR; a web page: 403', async () => {
    const future = await RawClient.dial(cluster.url(target));
    future.socket.send(encodeHello({ versionMin: 2, versionMax: 9, client: 'future' }));
    await future.end();
    expect(future.goodbye?.code).toBe('PROTOCOL_VERSION');
    const newer = await RawClient.dial(cluster.url(target));
    newer.socket.send(encodeHello({ versionMin: 1, versionMax: 9, client: 'newer' }));
    expect((await until('a welcome', () => newer.welcome)).version).toBe(1);
    newer.close();
    const wrong = await RawClient.dial(cluster.url(target));
    wrong.socket.send(
      new ByteWriter(16)
        .u8(FRAME.hello)
        .u32(MAGIC + 1)
        .u8(1)
        .u8(1)
        .string('x')
        .take(),
    );
    await wrong.end();
    expect(wrong.goodbye?.code).toBe('PROTOCOL_ERROR');
    await expect(RawClient.dial(cluster.url(target), { origin: 'https://example.org' })).rejects.toThrow('403');
  });
});

describe('client port: who says nothing', () => {
  test('no hello within 5 s ends the connection; so does a TCP connection that says nothing, or a header that drips', async () => {
    const startedMs = performance.now();
    const silent = await RawClient.dial(cluster.url(target));
    const tcp = (first: string): { socket: Socket; closed: Promise<number> } => {
      const socket = connectTcp(cluster.clientPort(target), '127.0.0.1');
      socket.on('error', () => {});
      socket.on('data', () => {});
      if (first !== '') socket.write(first);
      const closed = new Promise<number>((resolve) => socket.on('close', () => resolve(performance.now() - startedMs)));
      return { socket, closed };
    };
    const mute = tcp('');
    const dripping = tcp('GET / HTTP/1.1\r\n');
    const drip = setInterval(() => dripping.socket.write('x: y\r\n'), 500);
    expect(await silent.end(8_000)).toBe(1000);
    expect(silent.goodbye?.code).toBe('DEADLINE_EXCEEDED');
    expect(performance.now() - startedMs).toBeGreaterThan(4_500);
    const [muteMs, dripMs] = await Promise.all([mute.closed, dripping.closed]);
    clearInterval(drip);
    expect(muteMs).toBeLessThan(15_000);
    expect(dripMs).toBeLessThan(15_000);
  });
});

/** The first metric of the maltreated node whose name begins so. */
async function metric(name: string): Promise<number> {
  const text = await (await fetch(`${cluster.http(target)}/metrics`)).text();
  const line = text.split('\n').find((one) => one.startsWith(name));
  if (line === undefined) throw new Error(`no metric ${name} in\n${text.replaceAll(/^#.*\n/gm, '').slice(0, 2000)}`);
  return Number(line.split(' ').at(-1));
}

describe('limits', () => {
  const refusal = async (
    call: Promise<unknown>,
  ): Promise<{ code: string; data: Readonly<Record<string, unknown>> }> => {
    try {
      await call;
    } catch (error) {
      if (isStoreError(error)) return { code: error.code, data: error.data };
      throw error;
    }
    throw new Error('it was taken');
  };

  test('the SDK refuses keys, values and txns with a typed error that names limit and size', async () => {
    expect(await refusal(db.put('', 'v'))).toEqual({ code: 'KEY_INVALID', data: { size: 0 } });
    const long = { code: 'KEY_INVALID', data: { limit: 1024, size: 1025 } };
    expect(await refusal(db.put('k'.repeat(1025), 'v'))).toEqual(long);
    expect(await refusal(db.get('k'.repeat(1025)))).toEqual(long);
    expect(await refusal(db.delete('k'.repeat(1025)))).toEqual(long);
    expect(await refusal(db.txn((t) => t.put('k'.repeat(1025), 'v')))).toEqual(long);
    expect(await refusal(db.put('k', new Uint8Array(MIB + 1)))).toEqual({
      code: 'VALUE_TOO_LARGE',
      data: { limit: MIB, size: MIB + 1 },
    });
    expect((await refusal(db.txn((t) => t.put('k', new Uint8Array(MIB + 1))))).code).toBe('VALUE_TOO_LARGE');
    const many = db.txn((t) => {
      for (let i = 0; i < 129; i++) t.put(`k${i}`, 'v');
    });
    expect(await refusal(many)).toEqual({ code: 'TXN_TOO_LARGE', data: { limit: 128, size: 129 } });
    for (const values of [5, 9, 20]) {
      const startedMs = performance.now();
      const big = db.txn((t) => {
        for (let i = 0; i < values; i++) t.put(`k${i}`, new Uint8Array(MIB));
      });
      const { code, data } = await refusal(big);
      expect([code, data['limit']]).toEqual(['TXN_TOO_LARGE', 4 * MIB]);
      expect(data['size']).toBeGreaterThan(values * MIB);
      expect(performance.now() - startedMs).toBeLessThan(3_000);
    }
    expect((await refusal(db.txn((t) => t.put('twice', 'a').put('twice', 'b')))).code).toBe('BAD_REQUEST');
    expect((await refusal(db.txn((t) => t.put('twice', 'a').delete('twice')))).code).toBe('BAD_REQUEST');
    expect(await db.get('twice')).toBeUndefined();
  });

  test('what is just inside the limits is taken', async () => {
    const key = 'k'.repeat(1024);
    const value = new Uint8Array(MIB).fill(7);
    const { revision } = await db.put(key, value);
    const entry = await db.get(key);
    expect([entry?.revision, entry?.value.length]).toEqual([revision, MIB]);
    const { results } = await db.txn((t) => {
      for (let i = 0; i < 128; i++) t.put(`in/${i}`, new Uint8Array(31 * 1024));
    });
    expect(results.length).toBe(128);
    await db.delete(key);
  });

  test('on the wire, past the SDK: the same codes, and the connection stands', async () => {
    const client = await RawClient.open(cluster.url(target));
    const write = (w: ByteWriter): ByteWriter => w.varint(0).varint(0).varint(0);
    const put = (key: Uint8Array, value: Uint8Array) => (w: ByteWriter) => write(w).varint(0).blob(key).blob(value);
    const code = async (kind: number, fill: (w: ByteWriter) => unknown): Promise<string | undefined> =>
      (await client.ask(7, kind, fill)).error?.code;
    expect(await code(REQUEST.put, put(utf8(''), utf8('v')))).toBe('KEY_INVALID');
    expect(await code(REQUEST.put, put(new Uint8Array(1025), utf8('v')))).toBe('KEY_INVALID');
    expect(await code(REQUEST.put, put(utf8('k'), new Uint8Array(MIB + 1)))).toBe('VALUE_TOO_LARGE');
    expect(await code(REQUEST.get, (w) => w.u8(0).varint(0).blob(new Uint8Array(0)))).toBe('KEY_INVALID');
    expect(await code(REQUEST.put, (w) => write(w).varint(0))).toBe('PROTOCOL_ERROR');
    expect(await code(99, () => {})).toBe('BAD_REQUEST');
    expect(await code(7, write)).toBe('BAD_REQUEST');
    expect(await code(REQUEST.watch, (w) => w.varint(1).raw(utf8('xy')))).toBe('PROTOCOL_ERROR');
    const many = (w: ByteWriter): ByteWriter => {
      write(w).varint(0).varint(200);
      for (let i = 0; i < 200; i++) w.u8(1).blob(utf8(`${i}`));
      return w.varint(0);
    };
    expect(await code(REQUEST.txn, many)).toBe('TXN_TOO_LARGE');
    expect(await code(REQUEST.openSession, (w) => write(w).varint(1))).toBe('BAD_REQUEST');
    expect((await client.ask(8, REQUEST.status, () => {})).error).toBeUndefined();
    client.close();
  });
});

describe('a client that never reads', () => {
  const VALUES = 64;
  /** Per maltreatment: what may wait for a few clients, on its way between threads too. */
  const MEMORY_BYTES_MAX = 300 * MIB;
  let first = 0;
  beforeAll(async () => {
    const value = randomBytes(MIB);
    for (let i = 0; i < VALUES; i++) {
      const { revision } = await db.put(`big/${i}`, value, { deadlineMs: 30_000 });
      if (i === VALUES / 2) first = revision;
    }
  });

  /** Sends what each of `sends` says, on a socket each that is not read any more; all of them must be cut off. */
  const never = async (sends: readonly ((client: RawClient) => void)[]): Promise<void> => {
    const run = cluster.run(target);
    const clients = await Promise.all(sends.map(() => RawClient.open(cluster.url(target))));
    const connections = await metric('ctlmesh_client_connections');
    const before = await run.memoryBytes();
    let most = before;
    let slowest = 0;
    let isOver = false;
    const others = (async () => {
      while (!isOver) {
        const startedMs = performance.now();
        await db.put('other', 'x');
        slowest = Math.max(slowest, performance.now() - startedMs);
        most = Math.max(most, await run.memoryBytes());
        await sleep(5);
      }
    })();
    try {
      for (const [i, client] of clients.entries()) {
        (client.socket as unknown as { _socket: Socket })._socket.pause();
        sends[i]?.(client);
      }
      const isCut = async (): Promise<boolean> =>
        (await metric('ctlmesh_client_connections')) <= connections - clients.length;
      await until('all are cut off', isCut, { withinMs: 40_000, everyMs: 100 });
    } finally {
      isOver = true;
      await others;
      for (const client of clients) client.close();
    }
    console.log(
      `memory ${Math.round((most - before) / MIB)} MiB more, slowest put of others ${Math.round(slowest)} ms`,
    );
    expect(most - before).toBeLessThan(MEMORY_BYTES_MAX);
    expect(slowest).toBeLessThan(2_000);
  };

  const requests = (count: number, kind: number, fill: (w: ByteWriter, i: number) => unknown): Uint8Array =>
    RawClient.requests(
      ...Array.from({ length: count }, (_, i) => ({ id: i + 1, kind, fill: (w: ByteWriter) => fill(w, i) })),
    );
  const EVERYTHING = Number.MAX_SAFE_INTEGER;
  const all = (w: ByteWriter): ByteWriter => w.blob(utf8('')).blob(utf8(''));

  test('half open; thousands of gets of a megabyte; ranges with more credit than anybody has memory', async () => {
    const get = (isLocal: boolean) => (w: ByteWriter, i: number) =>
      w
        .u8(isLocal ? 1 : 0)
        .varint(0)
        .blob(utf8(`big/${i % VALUES}`));
    const range = (w: ByteWriter): unknown => all(w.u8(1).varint(0).varint(0)).varint(0).varint(EVERYTHING);
    await never([
      () => {},
      (client) => client.socket.send(requests(4_000, REQUEST.get, get(true))),
      (client) => client.socket.send(requests(3_000, REQUEST.get, get(false))),
      (client) => client.socket.send(requests(200, REQUEST.range, range)),
    ]);
  });

  test('watches and ledgers with more credit than anybody has memory', async () => {
    const watch = (w: ByteWriter): unknown => all(w.varint(first)).varint(EVERYTHING);
    const ledger = (w: ByteWriter): unknown => w.varint(1).string('').varint(EVERYTHING);
    await never([
      (client) => client.socket.send(requests(200, REQUEST.watch, watch)),
      (client) => client.socket.send(requests(200, REQUEST.ledger, ledger)),
    ]);
  });

  test('a client that does read gets all of 200 gets of a megabyte at once', async () => {
    const reader = await cluster.client({ deadlineMs: 60_000 });
    const entries = await Promise.all(Array.from({ length: 200 }, (_, i) => reader.get(`big/${i % VALUES}`)));
    expect(entries.every((entry) => entry?.value.length === MIB)).toBe(true);
  });
});

describe('mesh port', () => {
  const mesh = (...frames: readonly (Uint8Array | string)[]): Promise<number> =>
    new Promise((resolve, reject) => {
      const socket = new WebSocket(`ws://127.0.0.1:${cluster.peerPort(target)}`, { perMessageDeflate: false });
      socket.on('error', reject);
      socket.on('close', (code) => resolve(code));
      socket.on('open', () => {
        for (const frame of frames) socket.send(frame);
      });
    });
  const hello = (over: Partial<Parameters<typeof encodeMeshHello>[1]> = {}): Uint8Array => {
    const from = cluster.ids.find((id) => id !== target) as string;
    const writer = new ByteWriter(64);
    encodeMeshHello(writer, {
      version: MESH_VERSION,
      channel: 'control',
      cluster: CLUSTER,
      from,
      to: target,
      boot: 1,
      mesh: '127.0.0.1:1',
      membersIndex: 0,
      life: 1,
      lineage: [],
      began: { term: toTerm(0), lastTerm: toTerm(0), lastIndex: toIndex(0) },
      dir: '',
      commands: 1,
      ...over,
    });
    return writer.take();
  };
  const batch = (bytes: Uint8Array): Uint8Array => {
    const writer = new ByteWriter(bytes.length + 4).u32(crc32c(bytes)).raw(bytes);
    return writer.take();
  };

  test('garbage, text, and another magic are refused', async () => {
    expect(await mesh(randomBytes(40))).toBe(1002);
    expect(await mesh('hello')).toBe(1002);
    expect(await mesh(Buffer.alloc(0))).toBe(1002);
    expect(await mesh(encodeHello({ versionMin: 1, versionMax: 1, client: 'lost' }))).toBe(1002);
    expect(await mesh(Buffer.alloc(17 * MIB))).toBe(1009);
  });

  test('another cluster, another version, another node, oneself, nobody: refused', async () => {
    expect(await mesh(hello({ cluster: 'other' }))).toBe(1002);
    expect(await mesh(hello({ version: 9 }))).toBe(1002);
    expect(await mesh(hello({ to: 'n9' }))).toBe(1002);
    expect(await mesh(hello({ from: target }))).toBe(1002);
    expect(await mesh(hello({ from: 'n9' }))).toBe(1002);
    expect(await mesh(hello({ from: 'constructor' }))).toBe(1002);
    expect(await mesh(hello({ from: '__proto__' }))).toBe(1002);
  });

  test('a peer whose batches are broken is cut off before any of it is believed', async () => {
    expect(await mesh(hello(), randomBytes(60))).toBe(1002);
    expect(await mesh(hello(), Buffer.alloc(3))).toBe(1002);
    for (let round = 0; round < 200; round++) {
      // The checksum is right and what it covers is no message of ours.
      const bytes = randomBytes(1 + Math.floor(Math.random() * 40));
      bytes[0] = 100 + Math.floor(Math.random() * 100);
      expect(await mesh(hello(), batch(bytes))).toBe(1002);
    }
  });

  test('a message cut short, or with numbers beyond reason, with a right checksum', async () => {
    for (const kind of [1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 17, 18, 19]) {
      expect(await mesh(hello(), batch(Buffer.of(kind)))).toBe(1002);
      expect(await mesh(hello(), batch(Buffer.concat([Buffer.of(kind), Buffer.alloc(60, 0xff)])))).toBe(1002);
    }
  });

  test('a peer that says no hello is cut off after 5 s', async () => {
    const startedMs = performance.now();
    expect(await mesh()).toBe(1002);
    expect(performance.now() - startedMs).toBeLessThan(8_000);
  });
});

describe('operators port', () => {
  const http = (text: string | Uint8Array): Promise<string> =>
    new Promise((resolve) => {
      let answer = '';
      const socket = connectTcp(cluster.httpPort(target), '127.0.0.1', () => socket.write(text));
      socket.on('data', (part) => (answer += part.toString()));
      socket.on('error', () => {});
      socket.on('close', () => resolve(answer));
    });

  test.each([
    ['GET // HTTP/1.1', '404'],
    ['GET http:// HTTP/1.1', '400'],
    ['GET //[ HTTP/1.1', '404'],
    ['GET /%ff%00 HTTP/1.1', '400'],
    ['GET * HTTP/1.1', '400'],
    ['GET /metrics?x=1 HTTP/1.1', '200'],
    ['POST /metrics HTTP/1.1', '405'],
    ['OPTIONS * HTTP/1.1', '400'],
    ['GET /../../etc/passwd HTTP/1.1', '404'],
  ])('%s: %s', async (line, status) => {
    expect(await http(`${line}\r\nhost: x\r\nconnection: close\r\n\r\n`)).toMatch(new RegExp(`^HTTP/1.1 ${status}`));
  });

  test('no HTTP at all, and a header without end', async () => {
    expect(await http(randomBytes(200))).toMatch(/^HTTP\/1.1 400|^$/);
    expect(await http(`GET / HTTP/1.1\r\nx: ${'y'.repeat(100_000)}`)).toMatch(/^HTTP\/1.1 431|^$/);
  });
});
