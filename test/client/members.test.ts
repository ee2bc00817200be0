/** The SDK's calls about members, against a cluster of a few words that may refuse, lose answers and do things twice. */
import { afterEach, describe, expect, test, vi } from 'vitest';
import type { StoreClient } from '../../src/client/client.ts';
import type { MembersView } from '../../src/client/types.ts';
import { ByteReader, ByteWriter, utf8 } from '../../src/core/base/bytes.ts';
import { type ErrorCode, isStoreError, StoreError } from '../../src/core/base/errors.ts';
import * as wire from '../../src/core/wire/client.ts';
import { decodeMemberRequest, type MemberRequest } from '../../src/core/wire/members.ts';
import { type Asked, type Connection, FakeServer } from './fake-server.ts';

const member = (id: string): MembersView['members'][number] => ({
  id,
  mesh: `${id}:1`,
  client: `ws://${id}:2`,
  http: '',
});
const progressOf = (...ids: readonly string[]): MembersView['progress'] =>
  Object.fromEntries(ids.map((id, i) => [id, { match: 10 - i, isActive: true, state: 'replicate' }]));
const three: MembersView = {
  index: 4,
  voters: ['n1', 'n2', 'n3'],
  outgoing: [],
  learners: ['n4'],
  members: ['n1', 'n2', 'n3', 'n4'].map(member),
  leader: 'n1',
  term: 2,
  progress: progressOf('n1', 'n2', 'n3', 'n4'),
};

type Answer = MembersView | StoreError | 'nothing';

/** What each connection does with requests about members. */
class Cluster {
  readonly asked: MemberRequest[] = [];
  view: MembersView = three;
  /** Answers changes, in turn; the last one again and again. */
  readonly answers: ((connection: Connection, asked: Asked) => Answer)[] = [];
  /** Called before each list. */
  onList: (count: number) => void = () => {};
  #lists = 0;
  #timer: NodeJS.Timeout | undefined;
  readonly #seen = new Set<Asked>();
  readonly client: StoreClient;
  readonly #server: FakeServer;

  private constructor(server: FakeServer, client: StoreClient) {
    this.#server = server;
    this.client = client;
    this.#timer = setInterval(() => this.#serve(), 1);
  }

  static async start(...answers: readonly Answer[]): Promise<Cluster> {
    const { server, client } = await FakeServer.connected({ deadlineMs: 3_000 });
    const cluster = new Cluster(server, client);
    cluster.answers.push(...answers.map((answer) => () => answer));
    return cluster;
  }

  get changes(): MemberRequest[] {
    return this.asked.filter(({ op }) => op !== 'list');
  }

  #serve(): void {
    for (const connection of this.#server.dials) {
      for (const asked of connection.asked) {
        if (this.#seen.has(asked) || connection.isClosed) continue;
        this.#seen.add(asked);
        if (asked.kind === wire.REQUEST.get) {
          expect(wire.decodeGet(new ByteReader(asked.body))).toMatchObject({ isLocal: true });
          connection.ok(asked.id, 0);
          continue;
        }
        if (asked.kind !== wire.REQUEST.members) continue;
        const request = decodeMemberRequest(asked.body);
        this.asked.push(request);
        if (request.op === 'list') this.onList(++this.#lists);
        const isLast = this.answers.length === 1;
        const next = request.op === 'list' ? undefined : isLast ? this.answers[0] : this.answers.shift();
        const answer = next === undefined ? this.view : next(connection, asked);
        if (answer === 'nothing' || connection.isClosed) continue;
        if (answer instanceof StoreError) this.#fail(connection, asked.id, answer);
        else connection.ok(asked.id, answer.index, utf8(JSON.stringify(answer)));
      }
    }
  }

  #fail(connection: Connection, id: number, error: StoreError): void {
    const writer = new ByteWriter(64).u8(wire.FRAME.replies);
    wire.encodeFailure(writer, id, error);
    connection.events.onFrame(writer.take());
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    this.#server.onDial = () => {};
    this.#server.last.lose();
    await this.client.close();
  }
}

const refused = (message: string): StoreError => new StoreError('MEMBER_REFUSED', message);
let clusters: Cluster[] = [];
afterEach(async () => {
  for (const cluster of clusters) await cluster.close();
  clusters = [];
});

async function start(...answers: readonly Answer[]): Promise<Cluster> {
  const cluster = await Cluster.start(...answers);
  clusters.push(cluster);
  return cluster;
}

async function errorOf(promise: Promise<unknown>): Promise<StoreError> {
  try {
    await promise;
  } catch (error) {
    if (isStoreError(error)) return error;
    throw error;
  }
  throw new Error('it was expected to fail');
}

const promoted: MembersView = { ...three, index: 9, voters: ['n1', 'n2', 'n3', 'n4'], learners: [] };

test('each call asks for what it is called, and gives the members as they are then', async () => {
  const cluster = await start(promoted);
  const { members } = cluster.client;
  expect(await members.list()).toEqual(three);
  expect(await members.promote('n4')).toEqual(promoted);
  await members.add(member('n5'));
  await members.remove('n1');
  await members.replace('n2', 'n4');
  await members.transferLeader('n3');
  expect(cluster.changes).toEqual([
    { op: 'promote', id: 'n4' },
    { op: 'add', member: member('n5') },
    { op: 'remove', id: 'n1' },
    { op: 'replace', id: 'n2', with: 'n4' },
    { op: 'transfer', to: 'n3' },
  ]);
});

test('what cannot be is told before anything is asked', async () => {
  const cluster = await start(promoted);
  const { members } = cluster.client;
  expect((await errorOf(members.add({ ...member('n5'), mesh: 'ws://n5:1' }))).code).toBe('BAD_REQUEST');
  expect((await errorOf(members.promote('N5'))).message).toContain('1 to 32 characters');
  expect(cluster.asked).toEqual([]);
});

describe('a hand-over without a name', () => {
  test('goes to the voter that has the most of the log and is heard', async () => {
    const cluster = await start({ ...three, leader: 'n3' });
    cluster.view = { ...three, progress: { ...three.progress, n2: { match: 99, isActive: false, state: 'probe' } } };
    await cluster.client.members.transferLeader();
    expect(cluster.changes).toEqual([{ op: 'transfer', to: 'n3' }]);
  });

  test('is left to the leader where nobody is able', async () => {
    const cluster = await start(refused('there is no other voter that follows'));
    cluster.view = { ...three, voters: ['n1'] };
    expect((await errorOf(cluster.client.members.transferLeader())).message).toContain('no other voter');
    expect(cluster.changes).toEqual([{ op: 'transfer' }]);
  });
});

describe('a refusal', () => {
  test('is told as it is when nothing is as it was wanted', async () => {
    const cluster = await start(refused('n4 is 12000 entries behind'));
    const error = await errorOf(cluster.client.members.promote('n4'));
    expect([error.code, error.message]).toEqual(['MEMBER_REFUSED', 'n4 is 12000 entries behind']);
    expect(cluster.changes).toHaveLength(1);
  });

  test('is told when what was wanted had been there before', async () => {
    const cluster = await start(refused('n1 votes already'));
    expect((await errorOf(cluster.client.members.promote('n1'))).message).toBe('n1 votes already');
    expect((await errorOf(cluster.client.members.remove('n9'))).code).toBe('MEMBER_REFUSED');
  });

  test('of a second try, because the first one worked, is a success', async () => {
    const cluster = await start();
    // The answer is lost with the connection.
    cluster.answers.push((connection) => {
      cluster.view = promoted;
      connection.lose();
      return 'nothing';
    });
    cluster.answers.push(() => refused('n4 votes already'));
    expect(await cluster.client.members.promote('n4')).toEqual(promoted);
    expect(cluster.changes).toHaveLength(2);
  });

  test('of a second try, while the first one is under way, waits for that', async () => {
    const cluster = await start(refused('a change of members is under way'));
    const joint = { ...promoted, index: 8, outgoing: ['n1', 'n2', 'n3'] };
    cluster.onList = (count) => {
      if (count === 2) cluster.view = joint;
      if (count === 5) cluster.view = promoted;
    };
    expect(await cluster.client.members.promote('n4')).toEqual(promoted);
  });

  test('of a hand-over that a second try finds done is a success', async () => {
    const cluster = await start(refused('n2 leads already'));
    cluster.onList = (count) => {
      if (count === 4) cluster.view = { ...three, leader: 'n2', term: 3 };
    };
    expect((await cluster.client.members.transferLeader('n2')).leader).toBe('n2');
  });

  test('of a hand-over to nobody who votes is told at once', async () => {
    const cluster = await start(refused('n4 is not a voter'));
    expect((await errorOf(cluster.client.members.transferLeader('n4'))).message).toBe('n4 is not a voter');
    expect(cluster.asked.length).toBeLessThanOrEqual(4);
  });

  test.each<[string, (c: Cluster) => Promise<unknown>, Partial<MembersView>, Partial<MembersView>]>([
    [
      'an added one that is there',
      (c) => c.client.members.add(member('n5')),
      {},
      { learners: ['n4', 'n5'], members: [...three.members, member('n5')] },
    ],
    ['a removed one that is gone', (c) => c.client.members.remove('n3'), {}, { voters: ['n1', 'n2'] }],
    [
      'one that has taken the place of another',
      (c) => c.client.members.replace('n3', 'n4'),
      {},
      { voters: ['n1', 'n2', 'n4'], learners: [] },
    ],
  ])('is looked into: %s', async (_what, call, before, after) => {
    const cluster = await start(refused('again'));
    cluster.view = { ...three, ...before };
    cluster.onList = (count) => {
      if (count === 2) cluster.view = { ...three, ...after, index: 12 };
    };
    expect(await call(cluster)).toMatchObject({ ...after, index: 12 });
  });
});

test('what is there but not committed is not told as done', async () => {
  const cluster = await start(refused('n5 is a member already'));
  const added = { ...three, index: 12, learners: ['n4', 'n5'], members: [...three.members, member('n5')] };
  cluster.onList = (count) => {
    if (count === 2) cluster.view = added;
    // The leader that had it in its log is gone, and its entry with it.
    if (count === 3) cluster.view = { ...three, index: 13 };
  };
  expect((await errorOf(cluster.client.members.add(member('n5')))).code).toBe('MEMBER_REFUSED');
});

describe('without an answer', () => {
  test.each<ErrorCode>(['UNAVAILABLE', 'OVERLOADED', 'OUTCOME_UNKNOWN', 'NOT_LEADER'])(
    '%s is tried again until the deadline, and then the change is in doubt',
    async (code) => {
      const cluster = await start(new StoreError(code, 'for now'));
      const error = await errorOf(cluster.client.members.remove('n3', { deadlineMs: 300 }));
      expect(error.code).toBe('OUTCOME_UNKNOWN');
      expect(cluster.changes.length).toBeGreaterThan(2);
    },
  );

  test('a deadline that passes leaves it in doubt; so does a signal, which says so', async () => {
    const cluster = await start('nothing');
    expect((await errorOf(cluster.client.members.remove('n3', { deadlineMs: 100 }))).code).toBe('OUTCOME_UNKNOWN');
    const stop = new AbortController();
    const removing = errorOf(cluster.client.members.remove('n3', { signal: stop.signal }));
    await vi.waitFor(() => expect(cluster.changes).toHaveLength(2));
    stop.abort();
    expect(await removing).toMatchObject({ code: 'CANCELLED', data: { mayHappen: true } });
  });

  test('a list that nobody answers is not in doubt', async () => {
    const cluster = await start();
    await cluster.close();
    clusters = [];
    expect((await errorOf(cluster.client.members.list())).code).toBe('CLOSED');
  });
});
