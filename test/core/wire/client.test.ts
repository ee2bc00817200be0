import { describe, expect, test } from 'vitest';
import { ByteReader, ByteWriter } from '../../../src/core/base/bytes.ts';
import { crc32c } from '../../../src/core/base/crc32c.ts';
import { ERROR_CODE_LIST, isStoreError, StoreError } from '../../../src/core/base/errors.ts';
import { commandCode } from '../../../src/core/model/commands.ts';
import * as client from '../../../src/core/wire/client.ts';
import { decodeReport, encodeReport, type LdbRow } from '../../../src/core/wire/fleet.ts';
import { below, forSeeds, pick, randomBytes } from '../base/seeded.ts';

const MAX = Number.MAX_SAFE_INTEGER;
const utf = (value: string): Uint8Array => Buffer.from(value);
const counter = (random: () => number): number => pick(random, [0, 1, 127, 128, 2 ** 32, MAX, below(random, MAX)]);
const blob = (random: () => number): Uint8Array => randomBytes(random, below(random, 40));
const word = (random: () => number): string => pick(random, ['', 'n1', 'ws://host:1/', 'grüße', '\ufeffx', '🙂']);

/** Reads a frame whose first byte is its type. */
function frame(bytes: Uint8Array, type: number): ByteReader {
  const reader = new ByteReader(bytes);
  expect(reader.u8()).toBe(type);
  return reader;
}

/** Encoded by `write`, decoded by `read`: the same, and nothing left over. */
function roundTrip<T>(value: T, write: (writer: ByteWriter, value: T) => void, read: (reader: ByteReader) => T): void {
  const writer = new ByteWriter(1);
  write(writer, value);
  const reader = new ByteReader(writer.take());
  expect(read(reader)).toEqual(value);
  reader.end();
}

test('numbers of the protocol stay what they are', () => {
  expect(client.FRAME).toEqual({
    ...{
      hello: 1,
      welcome: 2,
      requests: 3,
      replies: 4,
      stream: 5,
      end: 6,
      credit: 7,
      cancel: 8,
      notice: 9,
      goodbye: 10,
      report: 11,
    },
  });
  expect(client.REQUEST).toEqual({
    ...{ put: 1, delete: 2, txn: 3, openSession: 4, keepAlive: 5, closeSession: 6 },
    ...{ get: 16, range: 17, watch: 18, ledger: 19, status: 20, members: 21 },
    ...{ control: 8, controlRead: 22, actors: 23, fleet: 24 },
  });
  expect(client.PART).toEqual({
    progress: 0,
    records: 1,
    hello: 2,
    snapshotBegin: 3,
    snapshotEntries: 4,
    snapshotEnd: 5,
    behind: 6,
    hash: 7,
    path: 8,
    asked: 9,
    checked: 10,
  });
  for (const kind of ['put', 'delete', 'txn', 'openSession', 'keepAlive', 'closeSession', 'control'] as const) {
    expect(client.REQUEST[kind], 'a command has one number').toBe(commandCode(kind));
    expect(client.isCommand(client.REQUEST[kind])).toBe(true);
  }
  for (const kind of [0, 7, 16, 17, 18, 19, 20, 255]) expect(client.isCommand(kind)).toBe(false);
});

describe('what is written is read', () => {
  test('hello and welcome', () => {
    forSeeds(100, (random) => {
      const hello = { versionMin: below(random, 256), versionMax: below(random, 256), client: word(random) };
      const reader = frame(client.encodeHello(hello), client.FRAME.hello);
      expect(client.decodeHello(reader)).toEqual(hello);
      reader.end();
      const welcome = {
        version: below(random, 256),
        ...{ node: word(random), cluster: word(random), leader: word(random), leaderUrl: word(random) },
        inFlightMax: counter(random),
      };
      const welcomed = frame(client.encodeWelcome(welcome), client.FRAME.welcome);
      expect(client.decodeWelcome(welcomed)).toEqual(welcome);
      welcomed.end();
    });
  });

  test('reads, watches, ledgers and entries', () => {
    forSeeds(300, (random) => {
      const isLocal = random() < 0.5;
      const reverse = random() < 0.5;
      const n = (): number => counter(random);
      const b = (): Uint8Array => blob(random);
      roundTrip({ isLocal, atLeast: n(), key: b() }, client.encodeGet, client.decodeGet);
      const maxStalenessMs = random() < 0.5 ? undefined : n();
      const revision = random() < 0.5 ? undefined : 1 + below(random, 1_000);
      roundTrip({ isLocal, atLeast: n(), key: b(), maxStalenessMs, revision }, client.encodeGet, client.decodeGet);
      roundTrip(
        {
          isLocal,
          reverse,
          atLeast: n(),
          revision: n(),
          from: b(),
          to: b(),
          limit: n(),
          creditBytes: n(),
          maxStalenessMs,
        },
        client.encodeRange,
        client.decodeRange,
      );
      const watch = { fromRevision: n(), from: b(), to: b(), creditBytes: n() };
      roundTrip(watch, client.encodeWatch, client.decodeWatch);
      const wishes = { bookmarks: random() < 0.5, tellSlow: true };
      roundTrip({ ...watch, ...wishes }, client.encodeWatch, client.decodeWatch);
      roundTrip(
        { fromRevision: n(), cluster: word(random), creditBytes: n() },
        client.encodeLedger,
        client.decodeLedger,
      );
      roundTrip(
        { key: b(), value: b(), revision: n(), expiryMs: random() * 2 ** 41 },
        client.encodeEntry,
        client.decodeEntry,
      );
    });
  });

  test('what a ledger request may ask for, and a path of relays', () => {
    const said = {
      token: 't',
      filter: undefined,
      wantsSnapshot: true,
      wantsHashes: true,
      wantsChecks: true,
      relay: 'host-1',
    };
    roundTrip({ fromRevision: 7, cluster: 'c', creditBytes: 9, ...said }, client.encodeLedger, client.decodeLedger);
    const goOn = { revision: 6, after: new Uint8Array(2_000).fill(7) };
    const rest = { fromRevision: 1, cluster: '', creditBytes: 9, ...said, goOn };
    roundTrip(rest, client.encodeLedger, client.decodeLedger);
    const tooLong = new ByteWriter(8);
    client.encodeLedger(tooLong, { ...rest, goOn: { revision: 6, after: new Uint8Array(5_000) } });
    expect(() => client.decodeLedger(new ByteReader(tooLong.take()))).toThrow('behind a key of 5000 bytes');
    const path = Array.from({ length: client.RELAY_PATH_MAX }, (_, i) => `relay-${i}`);
    const reader = new ByteReader(client.encodePath(new ByteWriter(8), path).take());
    expect(reader.u8()).toBe(client.PART.path);
    expect(client.decodePath(reader)).toEqual(path);
    const long = new ByteReader(new ByteWriter(8).varint(1_000_000).take());
    expect(() => client.decodePath(long)).toThrow('a path of 1000000 relays');
  });

  test('a checked part is found out when any bit of it, or the part before it, is another', () => {
    const checked = (before: number, ...bytes: number[]): { check: number; payload: Uint8Array } => {
      const writer = new ByteWriter(8);
      const at = client.beginChecked(writer);
      writer.raw(Uint8Array.from(bytes));
      const check = crc32c(Uint8Array.from(bytes), 0, bytes.length, before);
      client.endChecked(writer, at, check);
      return { check, payload: writer.take() };
    };
    const first = checked(0, client.PART.snapshotEntries, 1, 2);
    const second = checked(first.check, client.PART.snapshotEnd, 7);
    expect(client.openChecked(first.payload, 0)).toEqual({ check: first.check, part: Uint8Array.of(4, 1, 2) });
    expect(client.openChecked(second.payload, first.check).part).toEqual(Uint8Array.of(5, 7));
    expect(() => client.openChecked(second.payload, 0)).toThrow('was changed, or one is missing');
    for (let bit = 8; bit < first.payload.length * 8; bit++) {
      const changed = first.payload.slice();
      changed[bit >>> 3] = (changed[bit >>> 3] as number) ^ (1 << (bit & 7));
      expect(() => client.openChecked(changed, 0)).toThrow('of the ledger has CRC');
    }
  });

  test("an LDB's words, and its relay's", () => {
    const identity = { id: 'a', instance: 'i', host: 'h', labels: { ring: '1' }, pid: 7, version: '0' };
    const asks = { wantsSnapshot: false, wantsHashes: true, wantsChecks: false };
    const ledger = { fromRevision: 7, cluster: 'c', creditBytes: 9, ...asks, ldb: { identity, streamMs: 12.5 } };
    roundTrip(ledger, client.encodeLedger, client.decodeLedger);
    const report = { revision: 7, timeMs: 12.5, isInSnapshot: true };
    roundTrip(report, encodeReport, decodeReport);
    const row: LdbRow = {
      ...identity,
      ...{ via: 'a', filter: null, revision: 3, timeMs: 1, state: 'following', silentMs: 4, streamMs: 5 },
    };
    roundTrip({ ...report, below: [row], belowLeft: 2 }, encodeReport, decodeReport);
    const many = new ByteWriter(8);
    encodeReport(many, { ...report, below: Array.from({ length: 1_003 }, () => row), belowLeft: 2 });
    expect(decodeReport(new ByteReader(many.take())).belowLeft).toBe(5);
  });

  test('a frame of requests, each with its own body', () => {
    forSeeds(100, (random) => {
      const requests = Array.from({ length: below(random, 20) }, () => ({
        ...{ id: counter(random), kind: below(random, 256), deadlineMs: counter(random), body: blob(random) },
      }));
      const writer = new ByteWriter(1);
      for (const { body, ...request } of requests) {
        const at = client.beginRequest(writer, request);
        writer.raw(body);
        client.endRequest(writer, at);
      }
      const reader = new ByteReader(writer.take());
      const read = [];
      while (reader.left > 0) {
        read.push({
          id: reader.varint(),
          kind: reader.u8(),
          deadlineMs: reader.varint(),
          body: reader.raw(reader.u32()),
        });
      }
      expect(read).toEqual(requests);
    });
  });

  test('replies of both kinds, several in a frame', () => {
    const writer = new ByteWriter(1);
    client.encodeOk(writer, 1, MAX, utf('extra'));
    for (const [i, code] of ERROR_CODE_LIST.entries()) {
      client.encodeFailure(
        writer,
        i + 2,
        new StoreError(code, `text of ${code}`, { data: { limit: i, leader: 'n1' } }),
      );
    }
    client.encodeOk(writer, MAX, 0, new Uint8Array(0));
    const reader = new ByteReader(writer.take());
    expect(client.decodeReply(reader)).toEqual({
      id: 1,
      revision: MAX,
      extra: new Uint8Array(utf('extra')),
      error: undefined,
    });
    for (const [i, code] of ERROR_CODE_LIST.entries()) {
      const reply = client.decodeReply(reader);
      expect(reply.id).toBe(i + 2);
      expect(reply.error).toMatchObject({ code, message: `text of ${code}`, data: { limit: i, leader: 'n1' } });
    }
    expect(client.decodeReply(reader)).toMatchObject({ id: MAX, revision: 0 });
    reader.end();
  });

  test('goodbye', () => {
    const error = new StoreError('PROTOCOL_VERSION', 'too old');
    expect(client.decodeGoodbye(frame(client.encodeGoodbye(error), client.FRAME.goodbye))).toMatchObject({
      ...{ code: 'PROTOCOL_VERSION', message: 'too old' },
    });
  });
});

test('a code that only a newer peer knows is an error of the general kind', () => {
  const bytes = new ByteWriter().varint(5).u8(250).string('new trouble').string('{"a":1}').take();
  const reply = client.decodeReply(new ByteReader(bytes));
  expect(reply.error).toMatchObject({ code: 'INTERNAL', message: 'new trouble', data: { a: 1 } });
  expect(client.decodeGoodbye(new ByteReader(new ByteWriter().u8(0).string('x').take())).code).toBe('INTERNAL');
});

test('the data of an error is an object or nothing, and JSON or refused', () => {
  const failure = (json: string): Uint8Array => new ByteWriter().varint(1).u8(1).string('m').string(json).take();
  const data = (json: string): unknown => (client.decodeReply(new ByteReader(failure(json))).error as StoreError).data;
  expect(data('null')).toEqual({});
  expect(data('3')).toEqual({});
  expect(Object.getPrototypeOf(data('{"__proto__":{"polluted":1}}'))).toBe(Object.prototype);
  expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
  expect(() => data('{')).toThrow('not JSON');
  expect(() => data('['.repeat(1_000_000))).toThrow('not JSON');
});

describe('bytes that are made up, changed or cut', () => {
  const decoders: Readonly<Record<string, (reader: ByteReader) => unknown>> = {
    hello: client.decodeHello,
    welcome: client.decodeWelcome,
    reply: client.decodeReply,
    goodbye: client.decodeGoodbye,
    get: client.decodeGet,
    range: client.decodeRange,
    watch: client.decodeWatch,
    ledger: client.decodeLedger,
    entry: client.decodeEntry,
    report: decodeReport,
  };
  const samples = [
    ((writer) => {
      encodeReport(writer, { revision: 3, timeMs: 4, isInSnapshot: false, below: [], belowLeft: 1 });
      return writer.take();
    })(new ByteWriter()),
    client.encodeHello({ versionMin: 1, versionMax: 1, client: 'sdk' }).subarray(1),
    client
      .encodeWelcome({ version: 1, node: 'n1', cluster: 'c', leader: 'n2', leaderUrl: 'ws://x', inFlightMax: 64 })
      .subarray(1),
    client.encodeGoodbye(new StoreError('CLOSED', 'bye')).subarray(1),
    ((writer) => {
      client.encodeFailure(writer, 3, new StoreError('OVERLOADED', 'much', { data: { limit: 1 } }));
      return writer.take();
    })(new ByteWriter()),
    ((writer) => {
      client.encodeRange(writer, {
        isLocal: true,
        reverse: true,
        atLeast: 4,
        revision: 7,
        from: utf('a'),
        to: utf('b'),
        limit: 5,
        creditBytes: 6,
      });
      return writer.take();
    })(new ByteWriter()),
  ];

  test.each(Object.entries(decoders))('are read as a %s or refused as PROTOCOL_ERROR, at once', (_name, decode) => {
    forSeeds(3000, (random) => {
      const bytes = random() < 0.5 ? randomBytes(random, below(random, 80)) : pick(random, samples).slice();
      for (let flips = below(random, 3); flips > 0 && bytes.length > 0; flips--)
        bytes[below(random, bytes.length)] = below(random, 256);
      try {
        decode(new ByteReader(bytes.subarray(0, below(random, bytes.length + 1))));
      } catch (error) {
        if (!isStoreError(error, 'PROTOCOL_ERROR')) throw error;
      }
    });
  });

  test('of another protocol are no hello', () => {
    expect(() => client.decodeHello(new ByteReader(utf('GET / HTTP/1.1\r\n')))).toThrow('not a ctlmesh hello');
  });
});
