/** Members come and go while real processes serve writes: added, promoted, replaced, removed, and killed on the way. */
import { rmSync } from 'node:fs';
import { afterEach, expect, test } from 'vitest';
import { type Client, isStoreError, type Member, type MembersView } from '../../src/client/index.ts';
import { long } from '../support/long.ts';
import { Run, TestCluster, until } from '../support/cluster-process.ts';
import { localState, readLedger, sameState, stateOf, Workload } from '../support/cluster-workload.ts';

const SECOND_MS = 1000;

let cluster: TestCluster | undefined;
afterEach(async () => {
  await cluster?.close();
  cluster = undefined;
});

/** All founders serve; on a busy machine that takes its time. */
async function begin(at: TestCluster): Promise<void> {
  for (const id of at.founders) at.spawn(id);
  await at.leader(60 * SECOND_MS);
}

/** Three nodes that serve, and one that is started and waits. */
async function threeAndOne(config: Readonly<Record<string, unknown>> = {}): Promise<TestCluster> {
  const at = await TestCluster.prepare({ nodes: 4, joining: 1, config });
  cluster = at;
  await begin(at);
  at.spawn('n4');
  await until('n4 waits', async () => (await learnerText(at, 'n4'))?.includes('kvctl member add n4 --mesh') ?? false);
  return at;
}

async function learnerText(at: TestCluster, id: string): Promise<string | undefined> {
  try {
    const response = await fetch(`${at.http(id)}/readyz`, { signal: AbortSignal.timeout(1_000) });
    return ((await response.json()) as { checks: Record<string, string> }).checks['learner'];
  } catch {
    return undefined;
  }
}

const memberOf = (at: TestCluster, id: string): Member => ({
  id,
  mesh: `127.0.0.1:${at.peerPort(id)}`,
  client: at.url(id),
  http: `127.0.0.1:${at.httpPort(id)}`,
});

/** kvctl, as a user runs it. */
async function kvctl(at: TestCluster, ...words: readonly string[]): Promise<{ code: number | null; output: string }> {
  const run = new Run(['bin/kvctl.js', ...words, '--endpoints', at.urls.join(',')]);
  const { code } = await run.ended;
  return { code, output: run.output };
}

async function progress(at: TestCluster, work: Workload, count: number, what: string): Promise<void> {
  const before = work.acked;
  await until(
    `${count} more writes acknowledged ${what}`,
    () => {
      work.throwIfFailed();
      return work.acked >= before + count;
    },
    { withinMs: 30 * SECOND_MS, explain: () => at.logs() },
  );
}

const isReady = (at: TestCluster, id: string): Promise<boolean> =>
  until(`${id} is ready`, async () => (await at.readiness(id)).ok, {
    withinMs: 60 * SECOND_MS,
    explain: () => at.logs(),
  });

/** Who votes, when no change is under way. */
const settled = (client: Client): Promise<MembersView> =>
  until('no change of members is under way', async () => {
    const view = await client.members.list();
    return view.outgoing.length === 0 ? view : undefined;
  });

/** Everything acknowledged is there once, on each of `ids`, and all of them have the same. */
async function check(at: TestCluster, work: Workload, ids: readonly string[]): Promise<void> {
  const sentinel = await (await at.client()).put('end', 'end');
  const clients = await Promise.all(ids.map((id) => at.pinned(id)));
  await until('no time to live is left', async () => {
    for await (const entry of (clients[0] as Client).range({ prefix: 'd/' })) {
      if (entry.expiryMs !== undefined) return false;
    }
    return true;
  });
  const { applied } = await (clients[0] as Client).status();
  for (const [i, client] of clients.entries()) {
    await client.get('end', { consistency: 'local', atLeast: applied });
    const records = await readLedger(client, { to: applied, cluster: `e2e-${process.pid}` });
    work.check(records.filter((record) => record.revision < sentinel.revision));
    sameState(await localState(client), stateOf(records), `${ids[i]} and its ledger`);
  }
}

test('a node is added, promoted, and the leader removed, under writes: nothing acknowledged is lost', {
  timeout: 300 * SECOND_MS,
}, async () => {
  // Nobody is to be elected here but by a change: a busy machine must not look like a dead leader.
  const at = await threeAndOne({ raft: { electionTimeoutMs: 2_000 } });
  const work = new Workload(at);
  await work.start(2);
  await progress(at, work, 200, 'by three');
  const client = await at.client({ deadlineMs: 60 * SECOND_MS });

  const member = memberOf(at, 'n4');
  const added = await kvctl(at, 'member', 'add', 'n4', '--mesh', member.mesh, '--client', member.client);
  expect(added).toMatchObject({ code: 0, output: expect.stringContaining('learners n4') as string });
  await isReady(at, 'n4');
  expect((await at.status('n4')).role).toBe('learner');
  expect(await client.members.list()).toMatchObject({ voters: ['n1', 'n2', 'n3'], learners: ['n4'] });
  const again = await kvctl(at, 'member', 'add', 'n4', '--mesh', member.mesh, '--client', member.client);
  expect(again).toMatchObject({ code: 1, output: expect.stringContaining('MEMBER_REFUSED') as string });

  const promoted = await client.members.promote('n4');
  expect([promoted.voters, promoted.learners, promoted.outgoing]).toEqual([['n1', 'n2', 'n3', 'n4'], [], []]);
  await until('n4 has a vote', async () => (await at.status('n4')).role === 'follower');
  await progress(at, work, 200, 'by four');

  const leader = await at.leader();
  const removed = await client.members.remove(leader);
  const left = at.ids.filter((id) => id !== leader);
  expect(removed.voters).toEqual(left);
  await progress(at, work, 200, 'without the first leader');
  const { leader: next, term } = await settled(client);
  expect(left).toContain(next);

  // The removed one still runs, and disturbs nobody.
  await until('the removed leader is not ready', async () => !(await at.readiness(leader)).ok);
  await progress(at, work, 300, 'beside the removed leader');
  expect(await client.members.list()).toMatchObject({ leader: next, term });
  await at.kill(leader);

  // Nor does one that is not told that it was removed.
  const follower = left.find((id) => id !== next) as string;
  const two = left.filter((id) => id !== follower);
  expect((await client.members.remove(follower)).voters).toEqual(two);
  await progress(at, work, 300, 'beside a removed follower');
  expect(await client.members.list()).toMatchObject({ leader: next, term, voters: two });
  await until('the removed one is not ready', async () => !(await at.readiness(follower)).ok);
  await at.kill(follower);

  // The log says who the members are, whatever the config says.
  await at.kill(...two);
  for (const id of two) at.spawn(id);
  await progress(at, work, 100, 'after all were killed');
  expect((await settled(client)).voters).toEqual(two);
  await work.stop();
  await check(at, work, two);
});

long(
  'a node is replaced while leaders are killed: done or not done, and never by halves',
  {
    timeout: 300 * SECOND_MS,
  },
  async () => {
    const at = await threeAndOne();
    const work = new Workload(at);
    await work.start(2);
    await progress(at, work, 100, 'by three');
    const client = await at.client({ deadlineMs: 60 * SECOND_MS });
    await client.members.add(memberOf(at, 'n4'));
    await isReady(at, 'n4');

    let inside = ['n1', 'n2', 'n3'];
    let outside = 'n4';
    for (let round = 0; round < 4; round++) {
      const leader = await until('somebody leads', async () => (await settled(client)).leader || undefined);
      // In turns a follower, and the leader itself, is to leave.
      const old = round % 2 === 0 ? (inside.find((id) => id !== leader) as string) : leader;
      const wanted = [...inside.filter((id) => id !== old), outside].sort();
      let isAnswered = false;
      const replacing = client.members
        .replace(old, outside)
        .catch((error: unknown) => {
          // Refused in the first moment of a leader, say: then it is done by the second try, below.
          if (!isStoreError(error)) throw error;
        })
        .finally(() => {
          isAnswered = true;
        });
      // The leader dies at one or another step of the change.
      await until('the change has begun, or is over', async () => {
        const { voters } = await client.members.list();
        return round < 2 || isAnswered || [...voters].sort().join() === wanted.join();
      });
      await at.kill(leader);
      await replacing;
      at.spawn(leader);
      await progress(at, work, 50, `after ${leader} was killed`);
      const view = await settled(client);
      const voters = [...view.voters].sort();
      expect([wanted, [...inside].sort()]).toContainEqual(voters);
      if (voters.join() !== wanted.join())
        await until('it is done by a second try', async () => {
          try {
            return (await client.members.replace(old, outside)).voters.length === 3;
          } catch (error) {
            if (isStoreError(error, 'MEMBER_REFUSED') || isStoreError(error, 'UNAVAILABLE')) return undefined;
            throw error;
          }
        });
      expect([...(await settled(client)).voters].sort()).toEqual(wanted);
      inside = wanted;
      await progress(at, work, 50, `with ${inside.join(', ')}`);
      // Who left comes back with the disk that it left with, as a learner.
      await client.members.add(memberOf(at, old));
      await isReady(at, old);
      outside = old;
    }
    await work.stop();
    await check(at, work, inside);
  },
);

test('the leader hands over when it is asked to: writes go on, and nobody had to notice a death', {
  timeout: 300 * SECOND_MS,
}, async () => {
  const at = await threeAndOne();
  const work = new Workload(at);
  await work.start(2);
  const client = await at.client({ deadlineMs: 60 * SECOND_MS });
  for (let round = 0; round < 5; round++) {
    const { leader } = await until('somebody leads', async () => {
      const view = await client.members.list();
      return view.leader === '' ? undefined : view;
    });
    const after = round % 2 === 0 ? await client.members.transferLeader() : await handOver(client, leader);
    expect(after.leader).not.toBe(leader);
    await progress(at, work, 50, `under ${after.leader}`);
  }
  const refused = await kvctl(at, 'member', 'transfer', 'n4');
  expect(refused).toMatchObject({ code: 1, output: expect.stringContaining('MEMBER_REFUSED') as string });
  await work.stop();
  await check(at, work, at.founders);

  async function handOver(by: Client, leader: string): Promise<MembersView> {
    const to = at.founders.find((id) => id !== leader) as string;
    const view = await by.members.transferLeader(to);
    expect(view.leader).toBe(to);
    return view;
  }
});

long(
  'a node that was away while all whom it knew were replaced is found by those who came',
  {
    timeout: 300 * SECOND_MS,
  },
  async () => {
    const at = await TestCluster.prepare({ nodes: 5, joining: 2 });
    cluster = at;
    await begin(at);
    const work = new Workload(at);
    await work.start(2);
    await progress(at, work, 100, 'by the founders');
    const client = await at.client({ deadlineMs: 60 * SECOND_MS });
    await at.kill('n3');
    for (const [old, by] of [
      ['n1', 'n4'],
      ['n2', 'n5'],
    ] as const) {
      at.spawn(by);
      await client.members.add(memberOf(at, by));
      await isReady(at, by);
      await client.members.replace(old, by);
      await progress(at, work, 50, `with ${by} in the place of ${old}`);
      await at.kill(old);
    }
    expect([...(await settled(client)).voters].sort()).toEqual(['n3', 'n4', 'n5']);

    at.spawn('n3');
    await isReady(at, 'n3');
    // It counts: with one of the two others gone there is a quorum.
    const { leader } = await settled(client);
    await at.kill(leader === 'n4' ? 'n5' : 'n4');
    await progress(at, work, 50, 'by n3 and one other');
    at.spawn(leader === 'n4' ? 'n5' : 'n4');
    await work.stop();
    await isReady(at, leader === 'n4' ? 'n5' : 'n4');
    await check(at, work, ['n3', 'n4', 'n5']);
  },
);

/** Undefined while it does not answer. */
async function appliedAt(at: TestCluster, id: string): Promise<number | undefined> {
  try {
    return (await at.status(id)).applied;
  } catch (error) {
    if (isStoreError(error)) return undefined;
    throw error;
  }
}

test('a wiped disk that may not be repaired is told so, and is not let in; removed and added again, it has everything', async () => {
  const at = await TestCluster.start({ nodes: 3, config: { repair: 'never' } });
  cluster = at;
  const client = await at.client({ deadlineMs: 60 * SECOND_MS });
  for (let i = 0; i < 50; i++) await client.put(`k${i}`, `${i}`);
  await until('everybody is remembered', async () => (await client.members.list()).members.every(({ dir }) => dir));
  const [victim = ''] = await at.followers();
  await at.kill(victim);
  rmSync(at.dataDir(victim), { recursive: true });
  const wiped = at.spawn(victim);
  expect((await wiped.ended).code).toBe(1);
  expect(wiped.output, 'the leader has its word for what it lacks').toContain('DIR_ROLLED_BACK');
  // The others serve, and it is not heard.
  await client.put('without', victim);
  await until('it is not heard', async () => (await client.members.list()).progress[victim]?.isActive === false);
  await client.members.remove(victim);
  at.spawn(victim);
  await client.members.add(memberOf(at, victim));
  const { revision } = await client.put('again', victim);
  await until('it has everything', async () => ((await appliedAt(at, victim)) ?? 0) >= revision);
  await client.members.promote(victim);
  expect((await client.members.list()).voters).toContain(victim);
});
