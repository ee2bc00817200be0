/**
 * Every actor of a running cluster dies under load, one after another: its thread vanishes at whatever instruction it
 * is, ends, or throws. Either it is back by itself, or (the log's two, in doubt) its process ends with 70 and is started
 * again. Each actor once in the ordinary run; each of each node twice in the long one.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { ACTORS, type ActorName } from '../../src/actors/shared.ts';
import type { Client } from '../../src/client/index.ts';
import type { Breaking } from '../../src/node/test-hooks.ts';
import { TestCluster, until } from '../support/cluster-process.ts';
import { localState, readLedger, sameState, stateOf, Workload } from '../support/cluster-workload.ts';
import { long } from '../support/long.ts';

const SECOND_MS = 1000;
const MIB = 1024 * 1024;
const WITHIN_MS = 60 * SECOND_MS;

let cluster: TestCluster | undefined;
afterEach(async () => {
  await cluster?.close();
  cluster = undefined;
});

interface Back {
  readonly actor: ActorName;
  readonly node: string;
  /** It came back inside its process; otherwise that was started again. */
  readonly isInside: boolean;
  readonly ms: number;
}

interface Line {
  readonly time?: number;
  readonly msg?: string;
  readonly actor?: string;
  readonly ms?: number;
}

/** Breaks `actor` of `node`, and waits until all is well again. */
async function breakOne(at: TestCluster, node: string, actor: ActorName, how: Breaking): Promise<Back> {
  const run = at.run(node);
  const brokenMs = Date.now();
  writeFileSync(join(at.dataDir(node), 'BREAK'), `${actor} ${how}`);
  run.child.kill('SIGUSR2');
  const line = (): Line | undefined =>
    run.output
      .split('\n')
      .filter((text) => text.includes('actor.back'))
      .map((text) => JSON.parse(text) as Line)
      .find(({ time = 0, actor: of }) => time >= brokenMs && of === actor);
  await until(`${actor} of ${node} is back, or its process has ended`, () => line() !== undefined || run.isOver, {
    withinMs: WITHIN_MS,
    explain: () => at.logs(),
  });
  const back = line();
  if (back === undefined) {
    expect([actor, (await run.ended).code]).toEqual([expect.stringMatching(/wal-committer|syncer/), 70]);
    at.spawn(node);
  }
  await until(`${node} is ready`, async () => (await at.readiness(node)).ok, {
    withinMs: WITHIN_MS,
    everyMs: 25,
    explain: () => at.logs(),
  });
  return { actor, node, isInside: back !== undefined, ms: back?.ms ?? Date.now() - brokenMs };
}

const HOW: readonly Breaking[] = ['vanish', 'exit', 'vanish', 'throw'];

async function breakAll(plan: readonly (readonly [node: string, actor: ActorName])[]): Promise<void> {
  const at = await TestCluster.prepare({
    program: 'test/e2e/fixtures/breaking-node.ts',
    env: { CTLMESH_TEST_HOOKS: '1' },
    config: { ledgerBytes: 1024 * MIB, memtableBytes: MIB, walSegmentBytes: MIB / 4 },
  });
  cluster = at;
  for (const id of at.ids) at.spawn(id);
  await at.leader(2 * WITHIN_MS);
  const work = new Workload(at);
  await work.start(2);
  const progress = async (count: number, what: string): Promise<void> => {
    const before = work.acked;
    const isThere = (): boolean => {
      work.throwIfFailed();
      return work.acked >= before + count;
    };
    await until(`${count} more writes ${what}`, isThere, { withinMs: WITHIN_MS, explain: () => at.logs() });
  };

  const backs: Back[] = [];
  for (const [i, [node, actor]] of plan.entries()) {
    await progress(40, `before ${actor} of ${node} breaks`);
    backs.push(await breakOne(at, node, actor, HOW[i % HOW.length] as Breaking));
  }
  await progress(40, 'at the end');
  await work.stop();
  await at.leader(WITHIN_MS);

  const sentinel = await (await at.client()).put('end', 'end', { deadlineMs: WITHIN_MS });
  const nodes = await Promise.all(at.ids.map((id) => at.pinned(id)));
  const ttlsOver = async (): Promise<boolean> => {
    for await (const entry of (nodes[0] as Client).range({ prefix: 'd/' }))
      if (entry.expiryMs !== undefined) return false;
    return true;
  };
  await until('the last time to live is over', ttlsOver, { everyMs: 100, withinMs: WITHIN_MS });
  const { applied } = await (nodes[0] as Client).status();
  const ledgers = await Promise.all(
    nodes.map((client) => readLedger(client, { to: applied, cluster: `e2e-${process.pid}` })),
  );
  work.check((ledgers[0] ?? []).filter((record) => record.revision < sentinel.revision));
  for (const [i, ledger] of ledgers.entries()) {
    expect(JSON.stringify(ledger.slice(0, applied))).toBe(JSON.stringify(ledgers[0]?.slice(0, applied)));
    sameState(await localState(nodes[i] as Client), stateOf(ledger), `n${i + 1} and its ledger`);
  }
  // Whoever can come back has.
  for (const { actor, isInside } of backs) {
    if (actor !== 'wal-committer' && actor !== 'syncer') expect([actor, isInside]).toEqual([actor, true]);
  }
  console.log('actors-die', { ...work.summary, revisions: applied });
  for (const actor of ACTORS) {
    const of = backs.filter((back) => back.actor === actor);
    const inside = of.filter(({ isInside }) => isInside).map(({ ms }) => ms);
    const outside = of.filter(({ isInside }) => !isInside).map(({ ms }) => ms);
    console.log('actors-die', actor, { backMs: inside, processStartedAgainMs: outside });
  }
}

test('each actor dies once, under load: nothing acknowledged is lost, nothing happens twice', {
  timeout: 240 * SECOND_MS,
}, async () => {
  await breakAll(ACTORS.map((actor, i) => [`n${(i % 3) + 1}`, actor] as const));
});

long('each actor of each node dies twice, under load: the same', { timeout: 900 * SECOND_MS }, async () => {
  const once = ACTORS.flatMap((actor) => ['n1', 'n2', 'n3'].map((node) => [node, actor] as const));
  await breakAll([...once, ...once]);
});
