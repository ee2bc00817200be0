/**
 * Nodes killed with SIGKILL in a loop, under load: the leader, a follower, two at once. `KILLS=200` for a long run:
 *
 *   KILLS=200 npm run test:e2e -- kill-loop
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { TestCluster, until } from '../support/cluster-process.ts';
import { localState, readLedger, sameState, stateOf, Workload } from '../support/cluster-workload.ts';
import type { Client, WatchEvent } from '../../src/client/index.ts';

const KILLS = Number(process.env['KILLS'] ?? 12);
const SECOND_MS = 1000;
const MIB = 1024 * 1024;
/** Quorum lost for this long when two die: well past an election. */
const QUORUM_LOST_MS = 800;

let cluster: TestCluster | undefined;
afterEach(async () => {
  await cluster?.close();
  cluster = undefined;
});

/** Follows everything from the first revision, over every reconnect. */
class Watcher {
  readonly events: WatchEvent[] = [];
  readonly #stop = new AbortController();
  readonly #done: Promise<void>;

  constructor(client: Client) {
    this.#done = this.#follow(client);
  }

  async #follow(client: Client): Promise<void> {
    for await (const event of client.watch({ fromRevision: 1 as never, signal: this.#stop.signal }))
      this.events.push(event);
  }

  get revision(): number {
    return this.events.at(-1)?.revision ?? 0;
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#done.catch(() => {});
  }
}

/** Whom to kill, by turns. */
async function victims(turn: number, at: TestCluster): Promise<string[]> {
  const leader = await at.leader();
  const followers = at.ids.filter((id) => id !== leader);
  const follower = followers[turn % 2] as string;
  switch (turn % 4) {
    case 1:
      return [follower];
    case 3:
      return turn % 8 === 3 ? [leader, follower] : followers;
    default:
      return [leader];
  }
}

test('kill -9 in a loop under load: nothing acknowledged is lost, nothing happens twice, every revision is seen once', {
  timeout: (60 + KILLS * 8) * SECOND_MS,
}, async () => {
  // Memtables and log segments so small that all of them come and go while nodes are killed.
  const config = { ledgerBytes: 1024 * MIB, memtableBytes: MIB, walSegmentBytes: MIB / 4 };
  cluster = await TestCluster.start({ config });
  const at = cluster;
  const watcher = new Watcher(await at.client());
  const work = new Workload(at);
  await work.start(4);
  const progress = async (count: number, what: string): Promise<void> => {
    const before = work.acked;
    await until(
      `${count} more writes acknowledged ${what}`,
      () => {
        work.throwIfFailed();
        return work.acked >= before + count;
      },
      { withinMs: 30 * SECOND_MS, explain: () => at.logs() },
    );
  };

  const outagesMs: number[] = [];
  for (let turn = 0; turn < KILLS; turn++) {
    await progress(150, `before kill ${turn}`);
    const ids = await victims(turn, at);
    const leaderDies = ids.includes(await at.leader());
    await at.kill(...ids);
    const killedAtMs = performance.now();
    if (ids.length === 2) {
      // Not for a condition: the point is that nothing happens.
      await new Promise((resolve) => setTimeout(resolve, QUORUM_LOST_MS));
      expect(work.ackedAtMs, 'a write was acknowledged without a quorum').toBeLessThan(killedAtMs + 50);
    } else {
      await until('a write acknowledged after the kill', () => work.ackedAtMs > killedAtMs, {
        withinMs: 20 * SECOND_MS,
        explain: () => at.logs(),
      });
      if (leaderDies) outagesMs.push(work.ackedAtMs - killedAtMs);
    }
    for (const id of ids) at.spawn(id);
    await progress(50, `after ${ids.join(' and ')} came back`);
  }
  await work.stop();
  await at.leader();

  // What has a time to live is gone a moment later; from then on the state stands still.
  const sentinel = await (await at.client()).put('end', 'end', { deadlineMs: 10 * SECOND_MS });
  const nodes = await Promise.all(at.ids.map((id) => at.pinned(id)));
  const ttlsOver = async (): Promise<boolean> => {
    for await (const entry of (nodes[0] as Client).range({ prefix: 'd/' }))
      if (entry.expiryMs !== undefined) return false;
    return true;
  };
  await until('the last time to live is over', ttlsOver, { everyMs: 100 });
  const { applied } = await (nodes[0] as Client).status();
  const ledgers = await Promise.all(
    nodes.map((client) => readLedger(client, { to: applied, cluster: `e2e-${process.pid}` })),
  );
  const records = ledgers[0] ?? [];
  work.check(records.filter((record) => record.revision < sentinel.revision));
  for (const [i, ledger] of ledgers.entries()) {
    expect(JSON.stringify(ledger.slice(0, applied)), `the ledger of n${i + 1}`).toBe(
      JSON.stringify(records.slice(0, applied)),
    );
    sameState(await localState(nodes[i] as Client), stateOf(ledger), `n${i + 1} and its ledger`);
  }

  await until('the watcher is there', () => watcher.revision >= sentinel.revision, {
    explain: () => `at ${watcher.revision}`,
  });
  await watcher.stop();
  const seen = watcher.events.filter((event) => event.revision <= applied);
  const expected = records
    .slice(0, applied)
    .flatMap(({ revision, changes }) =>
      changes.map(
        (change, i) => `${revision} ${change.kind} ${Buffer.from(change.key).toString()} ${i === changes.length - 1}`,
      ),
    );
  const told = seen.map((event) => `${event.revision} ${event.kind} ${event.keyText()} ${event.lastOfRevision}`);
  expect(told).toEqual(expected.slice(0, told.length));
  expect(told.length).toBeGreaterThanOrEqual(
    expected.filter((line) => Number(line.split(' ')[0]) <= sentinel.revision).length,
  );

  // All are up: what is in tables everywhere, nobody's log keeps.
  for (const id of at.ids) {
    const segments = (): string[] => readdirSync(join(at.dataDir(id), 'wal')).filter((name) => /^\d+\.wal$/.test(name));
    await until(`the log of ${id} begins later`, () => !segments().includes('000001.wal'), {
      explain: () => segments().join(' '),
    });
  }

  outagesMs.sort((a, b) => a - b);
  const ms = (value: number | undefined): number => Math.round(value ?? 0);
  console.log('kill-loop', {
    kills: KILLS,
    ...work.summary,
    revisions: applied,
    leaderlessMs: { median: ms(outagesMs[outagesMs.length >> 1]), max: ms(outagesMs.at(-1)) },
  });
});
