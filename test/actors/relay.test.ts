import { beforeEach, expect, test } from 'vitest';
import type { Connection, Door } from '../../src/actors/gateway/connection.ts';
import { Readers } from '../../src/actors/gateway/readers.ts';
import { Relay, type RelayState } from '../../src/actors/relay.ts';
import { ByteReader, ByteWriter } from '../../src/core/base/bytes.ts';
import type { Revision } from '../../src/core/base/position.ts';
import { decodeRecords } from '../../src/core/model/ledger.ts';
import { LedgerWindow } from '../../src/core/model/window.ts';
import * as wire from '../../src/core/wire/client.ts';
import { streamRecords, timeOf } from '../engine/ldb/ledger.ts';

const CLUSTER = 'c1';

/** An LDB of records only: who needs rows is not here. */
class Ldb implements RelayState {
  readonly window = new LedgerWindow(1 << 20);
  #fresh: Uint8Array[] = [];
  cluster = '';
  readonly filter = undefined;

  get position(): RelayState['position'] {
    return { cluster: this.cluster, revision: this.window.last, timeMs: timeOf(this.window.last) };
  }

  get ledgerFrom(): Revision | undefined {
    return this.window.last === 0 ? undefined : this.window.first;
  }

  commit(count: number): { revision: Revision; timeMs: number } {
    const records = streamRecords(this.window.last + 1, count);
    this.cluster = CLUSTER;
    this.window.append(records);
    this.#fresh.push(records);
    return this.position;
  }

  readLedger(from: Revision): ReturnType<LedgerWindow['read']> {
    return this.window.read(from, 1 << 20);
  }

  takeFresh(): readonly Uint8Array[] {
    return this.#fresh.splice(0);
  }

  scan(): never {
    throw new Error('no rows here');
  }

  endIdle(): void {}
}

let ldb: Ldb;
let relay: Relay;
let isFresh: boolean;

beforeEach(() => {
  ldb = new Ldb();
  isFresh = true;
  relay = new Relay({
    id: 'relay-1',
    readers: new Readers([]),
    hashAt: () => undefined,
    isFresh: () => isFresh,
    status: () => ({ role: 'relay' }),
    monotonicMs: () => 0,
    ldb: 'ldb-1',
    onFleet: () => {},
  });
});

/** Its records are committed here. */
const commit = (count: number): void => relay.committed(ldb.commit(count));

class Follower implements Door {
  readonly #connection: Connection;
  readonly frames: Uint8Array[] = [];
  isClosed = false;
  readonly bufferedBytes = 0;

  constructor() {
    this.#connection = relay.open(this);
  }

  send(frame: Uint8Array): void {
    this.frames.push(frame);
  }

  close(): void {
    this.isClosed = true;
  }

  say(frame: Uint8Array): this {
    relay.receive(this.#connection, frame);
    return this;
  }

  hello(): this {
    return this.say(wire.encodeHello({ versionMin: 1, versionMax: wire.PROTOCOL_VERSION, client: 't' }));
  }

  follow(more: Partial<wire.LedgerRequest> = {}, id = 7): this {
    const writer = new ByteWriter(64).u8(wire.FRAME.requests);
    const at = wire.beginRequest(writer, { id, kind: wire.REQUEST.ledger, deadlineMs: 1_000 });
    wire.encodeLedger(writer, { fromRevision: 1, cluster: '', creditBytes: 1 << 20, ...more });
    wire.endRequest(writer, at);
    return this.say(writer.take());
  }

  leave(): void {
    relay.closed(this.#connection);
  }

  /** What it was sent, as words. */
  get heard(): string[] {
    return this.frames.map(wordOf);
  }
}

function wordOf(frame: Uint8Array): string {
  const reader = new ByteReader(frame);
  const type = reader.u8();
  if (type === wire.FRAME.welcome) return `welcome ${wire.decodeWelcome(reader).leader || 'nobody'}`;
  if (type === wire.FRAME.notice) return `notice ${reader.string() || 'nobody'}`;
  if (type === wire.FRAME.goodbye) return `goodbye ${wire.decodeGoodbye(reader).code}`;
  if (type === wire.FRAME.end) return `end ${wire.decodeReply(reader).error?.code ?? 'ok'}`;
  if (type !== wire.FRAME.stream) return `frame ${type}`;
  reader.varint();
  const part = reader.u8();
  if (part === wire.PART.hello) return 'hello';
  if (part === wire.PART.path) return `path ${wire.decodePath(reader).join(' ')}`;
  if (part !== wire.PART.records) return `part ${part}`;
  const revisions = decodeRecords(reader.raw(reader.left)).map(({ revision }) => revision);
  return `records ${revisions[0]} to ${revisions.at(-1)}`;
}

test('who follows gets what is kept and what comes; garbage ends its own connection, and nobody else notices', () => {
  relay.opened(ldb);
  commit(10);
  const good = new Follower().hello().follow({ fromRevision: 4 });
  const bad = new Follower().hello().follow();
  for (const garbage of [Uint8Array.of(), Uint8Array.of(99), Uint8Array.of(wire.FRAME.requests, 1, 2)]) {
    const other = new Follower().hello().say(garbage);
    expect(other.heard.at(-1)).toMatch(/^goodbye PROTOCOL_/);
    expect(other.isClosed).toBe(true);
  }
  bad.say(Uint8Array.of(wire.FRAME.credit));
  expect(bad.isClosed).toBe(true);
  commit(5);
  expect(good.heard).toEqual(['welcome relay-1', 'hello', 'records 4 to 10', 'records 11 to 15']);
  expect(bad.heard).not.toContain('records 11 to 15');
  expect([relay.followers, relay.connections]).toEqual([1, 1]);
  good.leave();
  expect([relay.followers, relay.connections]).toEqual([0, 0]);
});

test('the first word is a hello, of a version that both know', () => {
  expect(new Follower().follow().heard).toEqual(['goodbye PROTOCOL_ERROR']);
  const newer = wire.encodeHello({ versionMin: 200, versionMax: 201, client: 't' });
  expect(new Follower().say(newer).heard).toEqual(['goodbye PROTOCOL_VERSION']);
});

test('before it has anything it says so, in words that send those with other upstreams there', () => {
  expect(new Follower().hello().follow().heard.at(-1)).toBe('end UNAVAILABLE');
  relay.opened(ldb);
  expect(new Follower().hello().follow().heard.at(-1)).toBe('end LDB_MISSING');
  commit(3);
  expect(new Follower().hello().follow().heard.at(-1)).toBe('records 1 to 3');
  expect(new Follower().hello().follow({ cluster: 'another' }).heard.at(-1)).toBe('end LDB_FOREIGN');
  isFresh = false;
  const follower = new Follower().hello();
  expect(follower.heard).toEqual(['welcome nobody']);
  isFresh = true;
  relay.sweep();
  expect(follower.heard.at(-1)).toBe('notice relay-1');
});

test('relays are told the path, and refused when they are on it, or it is too long', () => {
  relay.opened(ldb);
  commit(1);
  const below = new Follower().hello().follow({ relay: 'below', fromRevision: 2 });
  const leaf = new Follower().hello().follow({ fromRevision: 2 });
  relay.follows(['above', 'top']);
  relay.follows(['above', 'top']);
  expect(below.heard.slice(1)).toEqual(['hello', 'path relay-1', 'path relay-1 above top']);
  expect(leaf.heard.slice(1)).toEqual(['hello']);
  for (const relayId of ['top', 'relay-1']) {
    expect(new Follower().hello().follow({ relay: relayId }).heard.at(-1)).toBe('end RELAY_LOOP');
  }
  relay.follows(Array.from({ length: wire.RELAY_PATH_MAX }, (_, i) => `hop-${i}`));
  expect(new Follower().hello().follow({ relay: 'deep' }).heard.at(-1)).toBe('end RELAY_LOOP');
  expect(below.heard.at(-1)).toMatch(/^path relay-1 hop-0 .* hop-15$/);
});

test('who gives no credit gets nothing and holds nobody up; when the LDB goes, all streams end and can begin again', () => {
  relay.opened(ldb);
  commit(3);
  const slow = new Follower().hello().follow({ creditBytes: 0 });
  const quick = new Follower().hello().follow();
  commit(3);
  expect(slow.heard.slice(1)).toEqual(['hello']);
  expect(quick.heard.at(-1)).toBe('records 4 to 6');
  slow.say(new ByteWriter(8).u8(wire.FRAME.credit).varint(7).varint(10_000).take());
  expect(slow.heard.slice(2)).toEqual(['records 1 to 6']);
  relay.gone();
  expect([slow.heard.at(-1), quick.heard.at(-1)]).toEqual(['end UNAVAILABLE', 'end UNAVAILABLE']);
  relay.opened(ldb);
  quick.follow({ fromRevision: 7 }, 8);
  commit(1);
  expect(quick.heard.at(-1)).toBe('records 7 to 7');
  relay.close();
  expect(quick.heard.at(-1)).toBe('goodbye UNAVAILABLE');
});
