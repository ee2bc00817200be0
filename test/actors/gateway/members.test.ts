import { describe, expect, test } from 'vitest';
import type { Door } from '../../../src/actors/gateway/connection.ts';
import { Gateway } from '../../../src/actors/gateway/gateway.ts';
import { TO_GATEWAY, TO_REPLICATION } from '../../../src/actors/messages.ts';
import { createRing, RingReader, RingWriter } from '../../../src/actors/runtime/ring.ts';
import { ROLES, Shared } from '../../../src/actors/shared.ts';
import { ByteReader, ByteWriter, utf8 } from '../../../src/core/base/bytes.ts';
import type { ErrorCode, StoreError } from '../../../src/core/base/errors.ts';
import { resultCode } from '../../../src/core/model/machine.ts';
import type { Member } from '../../../src/core/raft/membership.ts';
import * as wire from '../../../src/core/wire/client.ts';
import { type MemberRequest, encodeMemberRequest } from '../../../src/core/wire/members.ts';

const ORIGIN = 2 ** 40 + 7;
const n4: Member = { id: 'n4', mesh: 'h:4', client: 'ws://h:14', http: '' };
const view = {
  index: 9,
  voters: ['n1'],
  outgoing: [],
  learners: [],
  members: [n4],
  leader: 'n1',
  term: 2,
  progress: {},
};

interface Reply {
  readonly id: number;
  readonly revision?: number;
  readonly json?: unknown;
  readonly error?: StoreError;
}

/** A gateway with one client; replication is played by the test. */
class World {
  readonly gateway: Gateway;
  readonly shared: Shared = new Shared();
  goodbye: StoreError | undefined;
  readonly replies: Reply[] = [];
  known: readonly Member[] = [];
  nowMs = 1_000;
  readonly #inbox: RingReader;
  readonly #toGateway: RingWriter;
  readonly connection: ReturnType<Gateway['open']>;

  constructor(inboxBytes = 64 * 1024) {
    const rings = { inbox: createRing(inboxBytes), toGateway: createRing(64 * 1024), answers: createRing(64 * 1024) };
    this.#inbox = new RingReader(rings.inbox);
    this.#toGateway = new RingWriter(rings.toGateway);
    const unused = (): never => {
      throw new Error('not read in this test');
    };
    this.gateway = new Gateway({
      shared: this.shared,
      state: { get: unused, scan: unused, getPrivate: unused, privateRows: unused },
      isFull: () => false,
      destructiveSchemaChanges: true,
      outbox: new RingWriter(rings.inbox),
      fromReplication: new RingReader(rings.toGateway),
      answers: new RingReader(rings.answers),
      toShipper: unused,
      node: 'n1',
      cluster: 'c',
      origin: ORIGIN,
      monotonicMs: () => this.nowMs,
      leader: () => ({ name: 'n1', url: 'ws://n1' }),
      status: () => ({}),
      onMembers: (known) => {
        this.known = known;
      },
      inFlightMax: 1_000,
    });
    const door: Door = { send: (frame) => this.#hear(frame), close: () => {}, bufferedBytes: 0 };
    this.connection = this.gateway.open(door);
    this.gateway.receive(this.connection, wire.encodeHello({ versionMin: 1, versionMax: 1, client: 'test' }));
  }

  ask(id: number, body: MemberRequest | Uint8Array, deadlineMs = 10_000): void {
    const writer = new ByteWriter(64).u8(wire.FRAME.requests);
    const at = wire.beginRequest(writer, { id, kind: wire.REQUEST.members, deadlineMs });
    writer.raw(body instanceof Uint8Array ? body : encodeMemberRequest(body));
    wire.endRequest(writer, at);
    this.gateway.receive(this.connection, writer.take());
  }

  /** What replication gets: token and request. */
  taken(): { readonly token: number; readonly asked: unknown }[] {
    const taken: { token: number; asked: unknown }[] = [];
    for (let frame = this.#inbox.peek(); frame !== undefined; frame = this.#inbox.peek()) {
      const reader = new ByteReader(frame.slice());
      this.#inbox.pop();
      expect(reader.u8()).toBe(TO_REPLICATION.member);
      taken.push({ token: reader.u32(), asked: JSON.parse(Buffer.from(reader.raw(reader.left)).toString()) });
    }
    return taken;
  }

  answer(token: number, said: object, code?: ErrorCode): void {
    const frame = new ByteWriter(64).u8(TO_GATEWAY.member).u32(token);
    frame.u8(code === undefined ? 0 : resultCode(code)).raw(utf8(JSON.stringify(said)));
    this.tell(frame);
  }

  tell(frame: ByteWriter): void {
    this.#toGateway.write(frame.view());
    this.gateway.turn();
  }

  pass(ms: number): void {
    this.nowMs += ms;
    this.gateway.sweep();
  }

  codes(): (string | undefined)[] {
    return this.replies.map(({ id, error }) => `${id} ${error?.code ?? 'ok'}`);
  }

  #hear(frame: Uint8Array): void {
    const reader = new ByteReader(frame);
    const type = reader.u8();
    if (type === wire.FRAME.goodbye) this.goodbye = wire.decodeGoodbye(reader);
    if (type !== wire.FRAME.replies) return;
    while (reader.left > 0) {
      const reply = wire.decodeReply(reader);
      if (reply.error === undefined) {
        const json: unknown = JSON.parse(Buffer.from(reply.extra).toString());
        this.replies.push({ id: reply.id, revision: reply.revision, json });
      } else this.replies.push({ id: reply.id, error: reply.error });
    }
  }
}

test('a request goes to replication, checked, and its answer to who asked', () => {
  const world = new World();
  world.ask(5, { op: 'add', member: n4 });
  world.ask(6, utf8(JSON.stringify({ op: 'promote', id: 'n4', force: true })));
  const [add, promote] = world.taken();
  expect(add?.asked).toEqual({ op: 'add', member: n4 });
  expect(promote?.asked, 'what is not known does not go on').toEqual({ op: 'promote', id: 'n4' });
  expect(add?.token).toBe(ORIGIN >>> 0);
  expect([world.gateway.inFlight, world.connection.inFlight]).toEqual([2, 2]);
  world.answer(promote?.token ?? 0, { message: 'n4 has not caught up: 12 entries behind' }, 'MEMBER_REFUSED');
  world.answer(add?.token ?? 0, view);
  expect(world.replies).toEqual([
    {
      id: 6,
      error: expect.objectContaining({ code: 'MEMBER_REFUSED', message: 'n4 has not caught up: 12 entries behind' }),
    },
    { id: 5, revision: 9, json: view },
  ]);
  expect([world.gateway.inFlight, world.connection.inFlight]).toEqual([0, 0]);
  world.answer(add?.token ?? 0, view);
  expect(world.replies, 'an answer is given once').toHaveLength(2);
});

test('what is no request is refused here', () => {
  const world = new World();
  world.ask(1, utf8('{"op":"remove","id":"N1"}'));
  world.ask(2, utf8('{'));
  world.ask(3, new Uint8Array(0));
  expect(world.codes()).toEqual(['1 BAD_REQUEST', '2 BAD_REQUEST', '3 BAD_REQUEST']);
  expect([world.taken(), world.gateway.inFlight]).toEqual([[], 0]);
});

test('who the members are is handed on', () => {
  const world = new World();
  world.tell(new ByteWriter(64).u8(TO_GATEWAY.members).raw(utf8(JSON.stringify({ known: [n4] }))));
  expect(world.known).toEqual([n4]);
});

describe('a node that loses its leader', () => {
  const leads = (term: number, number: number): ByteWriter =>
    new ByteWriter(16).u8(TO_GATEWAY.leader).u64(term).u32(number);

  test('sends its clients elsewhere when it has no vote; what was answered is said before', () => {
    const world = new World();
    world.tell(leads(3, 1));
    world.ask(1, { op: 'remove', id: 'n1' });
    const [{ token } = { token: 0 }] = world.taken();
    world.shared.set('role', ROLES.indexOf('learner'));
    world.answer(token, view);
    world.tell(leads(3, 0));
    expect(world.codes()).toEqual(['1 ok']);
    expect(world.goodbye).toMatchObject({ code: 'UNAVAILABLE', message: 'n1 has no vote and hears of no leader' });
    expect(world.gateway.connections).toBe(0);
  });

  test('keeps them when it votes: there will be another', () => {
    const world = new World();
    world.tell(leads(3, 1));
    world.tell(leads(4, 0));
    expect([world.goodbye, world.gateway.connections]).toEqual([undefined, 1]);
  });

  test('keeps them when it never had one: who comes to a node that waits wants just that', () => {
    const world = new World();
    world.shared.set('role', ROLES.indexOf('learner'));
    world.tell(leads(0, 0));
    expect([world.goodbye, world.gateway.connections]).toEqual([undefined, 1]);
  });
});

describe('without an answer', () => {
  test('a change is in doubt after its deadline, a list is not', () => {
    const world = new World();
    world.ask(1, { op: 'remove', id: 'n2' }, 500);
    world.ask(2, { op: 'list' }, 500);
    world.pass(499);
    expect(world.codes()).toEqual([]);
    world.pass(1);
    expect(world.codes()).toEqual(['1 OUTCOME_UNKNOWN', '2 UNAVAILABLE']);
    expect([world.gateway.inFlight, world.connection.inFlight]).toEqual([0, 0]);
  });

  test.each([
    ['the leader changes', new ByteWriter(16).u8(TO_GATEWAY.leader).u64(3).u32(2)],
    ['the way to the leader breaks', new ByteWriter(16).u8(TO_GATEWAY.doubt)],
  ])('when %s it has a second more to come', (_what, news) => {
    const world = new World();
    world.ask(1, { op: 'remove', id: 'n1' });
    world.ask(2, { op: 'remove', id: 'n2' }, 300);
    world.ask(3, { op: 'transfer' });
    const [, , transfer] = world.taken();
    world.tell(news);
    world.answer(transfer?.token ?? 0, view);
    world.pass(999);
    expect(world.codes()).toEqual(['3 ok', '2 OUTCOME_UNKNOWN']);
    world.pass(1);
    expect(world.codes()).toEqual(['3 ok', '2 OUTCOME_UNKNOWN', '1 OUTCOME_UNKNOWN']);
    world.ask(4, { op: 'list' });
    world.pass(2_000);
    expect(world.codes(), 'what comes later has its own time').toHaveLength(3);
  });

  test('a client that is gone is forgotten', () => {
    const world = new World();
    world.ask(1, { op: 'remove', id: 'n2' });
    world.gateway.closed(world.connection);
    expect([world.gateway.inFlight, world.connection.inFlight]).toEqual([0, 0]);
    world.answer(world.taken()[0]?.token ?? 0, view);
    expect(world.replies).toEqual([]);
  });
});

describe('bounds', () => {
  test('64 at once', () => {
    const world = new World();
    for (let id = 1; id <= 65; id++) world.ask(id, { op: 'list' });
    expect(world.codes()).toEqual(['65 OVERLOADED']);
    expect(world.taken()).toHaveLength(64);
  });

  test('no room in the ring: nothing is kept', () => {
    const world = new World(256);
    for (let id = 1; id <= 20; id++) world.ask(id, { op: 'list' });
    const refused = world.replies.length;
    expect(refused).toBeGreaterThan(5);
    expect(new Set(world.replies.map(({ error }) => error?.code))).toEqual(new Set(['OVERLOADED']));
    expect(world.gateway.inFlight).toBe(20 - refused);
  });
});
