/**
 * Nodes whose files are damaged while they are down: they get everything from the others, under their names, and vote
 * again. Real processes; the damage is a byte that changes inside what was synced.
 */
import { cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import type { MembersView } from '../../src/client/index.ts';
import { nodeDisk } from '../../src/engine/disk/node-disk.ts';
import { segmentNumber } from '../../src/engine/wal/format.ts';
import { SegmentScanner } from '../../src/engine/wal/scanner.ts';
import { TestCluster, until } from '../support/cluster-process.ts';
import { long } from '../support/long.ts';
import { localState, readLedger, sameState, stateOf, Workload } from '../support/cluster-workload.ts';

/** Long: the machine may be busy. */
const WITHIN_MS = 60_000;

let cluster: TestCluster | undefined;
afterEach(async () => {
  await cluster?.close();
  cluster = undefined;
});

/** Changes a byte in the middle of the log's first records; what comes behind it proves that it was synced. */
function damageLog(at: TestCluster, id: string): void {
  const dir = join(at.dataDir(id), 'wal');
  const name = readdirSync(dir).find((one) => segmentNumber(one) !== undefined) as string;
  const path = join(dir, name);
  const file = nodeDisk.open(path, 'read');
  const scanner = new SegmentScanner(file, segmentNumber(name) as number);
  for (let i = 0; i < 20; i++) scanner.next();
  file.close();
  const bytes = readFileSync(path);
  bytes[scanner.offset - 1] = (bytes[scanner.offset - 1] as number) ^ 0x10;
  writeFileSync(path, bytes);
}

async function start(config: Readonly<Record<string, unknown>> = {}): Promise<TestCluster> {
  const at = await TestCluster.prepare({ config: { raft: { electionTimeoutMs: 1_000 }, ...config } });
  cluster = at;
  for (const id of at.ids) at.spawn(id);
  await at.leader(WITHIN_MS);
  return at;
}

async function remembered(at: TestCluster): Promise<MembersView> {
  const client = await at.client({ deadlineMs: WITHIN_MS });
  return until('everybody is remembered', async () => {
    const view = await client.members.list();
    return view.members.every(({ dir }) => dir !== undefined) && view.outgoing.length === 0 ? view : undefined;
  });
}

const metric = async (at: TestCluster, id: string, name: string): Promise<number> => {
  const body = await (await fetch(`${at.http(id)}/metrics`)).text();
  return Number(new RegExp(`^ctlmesh_${name}\\{.*\\} (\\S+)$`, 'm').exec(body)?.[1]);
};

test('a follower and then a leader with a damaged log are given everything by the others, and vote again', {
  timeout: 6 * WITHIN_MS,
}, async () => {
  const at = await start();
  await remembered(at);
  const work = new Workload(at);
  await work.start(1);
  const client = await at.client({ deadlineMs: WITHIN_MS });
  const more = (count: number, what: string): Promise<unknown> => {
    const before = work.acked;
    return until(`${count} more writes ${what}`, () => (work.throwIfFailed(), work.acked >= before + count), {
      withinMs: WITHIN_MS,
      explain: () => at.logs(),
    });
  };
  await more(60, 'at first');

  const [follower = ''] = await at.followers();
  for (const [round, victim] of [follower, 'the leader'].entries()) {
    const id = round === 0 ? victim : await at.leader(WITHIN_MS);
    await at.kill(id);
    damageLog(at, id);
    await more(30, `without ${id}`);
    at.spawn(id);
    await until(
      `${id} votes again`,
      async () => {
        if (at.run(id).isOver) throw new Error(at.run(id).output);
        const { voters, outgoing, members } = await client.members.list();
        const { dir = '' } = members.find((member) => member.id === id) ?? {};
        return voters.length === 3 && outgoing.length === 0 && dir.startsWith('repaired-');
      },
      { withinMs: WITHIN_MS, explain: () => at.logs() },
    );
    const { output } = at.run(id);
    for (const event of ['repair.damage', 'repair.asking', 'repair.set-aside']) expect(output).toContain(event);
    const kept = readdirSync(at.dataDir(id)).filter((name) => name.startsWith('damaged-'));
    expect(kept).toHaveLength(1);
    expect(readdirSync(join(at.dataDir(id), kept[0] as string))).toEqual(expect.arrayContaining(['IDENTITY', 'wal']));
    await until(`${id} is ready`, async () => (await at.readiness(id)).ok, { withinMs: WITHIN_MS });
    expect(await metric(at, id, 'repairs_total')).toBe(1);
    expect(await metric(at, id, 'repair_state')).toBe(0);
  }

  // It counts: with another one gone there is a majority only by its vote, and by its disk.
  const leader = await at.leader(WITHIN_MS);
  const whole = at.ids.find((id) => id !== follower && id !== leader) ?? '';
  await at.kill(whole);
  await more(30, `without ${whole}`);
  at.spawn(whole);
  await until(`${whole} is ready`, async () => (await at.readiness(whole)).ok, { withinMs: WITHIN_MS });
  await work.stop();
  const sentinel = await client.put('end', 'end');
  await until('no time to live is left', async () => {
    for await (const entry of client.range({ prefix: 'd/' })) if (entry.expiryMs !== undefined) return false;
    return true;
  });
  const { applied } = await client.status();
  for (const id of at.ids) {
    const pinned = await at.pinned(id, { deadlineMs: WITHIN_MS });
    await pinned.get('end', { consistency: 'local', atLeast: applied });
    const records = await readLedger(pinned, { to: applied, cluster: `e2e-${process.pid}` });
    work.check(records.filter((record) => record.revision < sentinel.revision));
    sameState(await localState(pinned), stateOf(records), `${id} and its ledger`);
  }
});

long(
  'a directory that was put back to an older state is found by the others, and repaired',
  {
    timeout: 4 * WITHIN_MS,
  },
  async () => {
    const at = await start();
    await remembered(at);
    const client = await at.client({ deadlineMs: WITHIN_MS });
    for (let i = 0; i < 20; i++) await client.put(`before/${i}`, `${i}`);
    const [victim = ''] = await at.followers();
    await at.kill(victim);
    const copy = join(at.dir, 'copy');
    cpSync(at.dataDir(victim), copy, { recursive: true });
    at.spawn(victim);
    const { revision } = await client.put('acknowledged', victim);
    await until(
      `${victim} has it`,
      async () => ((await at.status(victim).catch(() => undefined))?.applied ?? 0) >= revision,
      {
        withinMs: WITHIN_MS,
      },
    );
    await at.leader(WITHIN_MS);
    await at.kill(victim);
    rmSync(at.dataDir(victim), { recursive: true });
    cpSync(copy, at.dataDir(victim), { recursive: true });
    const old = at.spawn(victim);
    expect((await old.ended).code).toBe(1);
    expect(old.output).toContain('DIR_ROLLED_BACK');
    const run = at.spawn(victim);
    await until(
      `${victim} votes again`,
      async () => {
        if (run.isOver) throw new Error(run.output);
        const { members, voters } = await client.members.list();
        return voters.includes(victim) && members.find(({ id }) => id === victim)?.dir?.startsWith('repaired-');
      },
      { withinMs: WITHIN_MS, explain: () => at.logs() },
    );
    await until(`${victim} is ready`, async () => (await at.readiness(victim)).ok, { withinMs: WITHIN_MS });
    const pinned = await at.pinned(victim, { deadlineMs: WITHIN_MS });
    expect((await pinned.get('acknowledged', { consistency: 'local', atLeast: revision }))?.text()).toBe(victim);
  },
);

long('a wiped disk is found by the leader that has its acks, and repaired', { timeout: 4 * WITHIN_MS }, async () => {
  const at = await start();
  await remembered(at);
  const client = await at.client({ deadlineMs: WITHIN_MS });
  for (let i = 0; i < 20; i++) await client.put(`k${i}`, `${i}`);
  const [victim = ''] = await at.followers();
  await at.kill(victim);
  rmSync(at.dataDir(victim), { recursive: true });
  const wiped = at.spawn(victim);
  expect((await wiped.ended).code).toBe(1);
  expect(wiped.output).toContain('DIR_ROLLED_BACK');
  at.spawn(victim);
  await until(
    `${victim} votes again`,
    async () => {
      const { members, voters } = await client.members.list();
      return voters.includes(victim) && members.find(({ id }) => id === victim)?.dir?.startsWith('repaired-');
    },
    { withinMs: WITHIN_MS, explain: () => at.logs() },
  );
  const pinned = await at.pinned(victim, { deadlineMs: WITHIN_MS });
  const { revision } = await client.put('after', victim);
  expect((await pinned.get('k7', { consistency: 'local', atLeast: revision }))?.text()).toBe('7');
});

test('without a majority of others a damaged node keeps its files and does not start; nor does one that may not', {
  timeout: 4 * WITHIN_MS,
}, async () => {
  const at = await start({ raft: { electionTimeoutMs: 250, heartbeatMs: 50 } });
  const client = await at.client({ deadlineMs: WITHIN_MS });
  for (let i = 0; i < 50; i++) await client.put(`k${i}`, `${i}`);
  const [victim = '', other = ''] = await at.followers();
  await at.kill(victim, other);
  damageLog(at, victim);
  const before = readdirSync(join(at.dataDir(victim), 'wal'));
  const run = at.spawn(victim);
  expect((await run.ended).code).toBe(1);
  expect(run.output).toContain('WAL_CORRUPT');
  expect(run.output).toContain('could not be repaired from the other nodes');
  expect(run.output).toContain('docs/operations.md');
  expect(readdirSync(join(at.dataDir(victim), 'wal'))).toEqual(before);
  expect(readdirSync(at.dataDir(victim)).filter((name) => name.startsWith('damaged-'))).toEqual([]);

  const config = JSON.parse(readFileSync(at.configFile, 'utf8')) as object;
  writeFileSync(at.configFile, JSON.stringify({ ...config, repair: 'never' }));
  at.spawn(other);
  const again = at.spawn(victim);
  expect((await again.ended).code).toBe(1);
  expect(again.output).toContain('WAL_CORRUPT');
  expect(again.output).not.toContain('repair.asking');

  // And with a majority it is what it always was: nothing was decided meanwhile.
  writeFileSync(at.configFile, JSON.stringify(config));
  at.spawn(victim);
  await until(
    'it votes again',
    async () => (await client.members.list()).members.find(({ id }) => id === victim)?.dir?.startsWith('repaired-'),
    { withinMs: WITHIN_MS, explain: () => at.logs() },
  );
  await until(`${victim} is ready`, async () => (await at.readiness(victim)).ok, { withinMs: WITHIN_MS });
});
