/**
 * Actors of a running node die, one by one, in every way that a thread can: what comes back, what stops, and what the
 * callers see of it.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { pino } from 'pino';
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import type { ActorName } from '../../src/actors/shared.ts';
import { RESTARTS } from '../../src/actors/topology.ts';
import type { Entry } from '../../src/client/index.ts';
import { isStoreError, type StoreError } from '../../src/core/base/errors.ts';
import type { Revision } from '../../src/core/base/position.ts';
import type { ClusterConfigInput } from '../../src/config/index.ts';
import { type RunningNode, startNode } from '../../src/node.ts';
import { BREAK, type Breakable, type Breaking, WATCHDOG_BOUNDS } from '../../src/node/test-hooks.ts';
import { freePorts, Run, until } from '../support/cluster-process.ts';

beforeAll(() => {
  process.env['CTLMESH_TEST_HOOKS'] = '1';
});

interface Line {
  readonly msg: string;
  readonly actor?: string;
  readonly ms?: number;
}

type Node = RunningNode & Breakable;

interface Started {
  readonly node: Node;
  readonly input: ClusterConfigInput;
  readonly lines: Line[];
  readonly http: string;
}

async function prepare(): Promise<{
  readonly input: ClusterConfigInput;
  readonly dataDir: string;
  readonly http: string;
}> {
  const dataDir = mkdtempSync(join(tmpdir(), 'ctlmesh-back-'));
  onTestFinished(() => rmSync(dataDir, { recursive: true, force: true }));
  const [client, peer, http] = await freePorts(3);
  const input: ClusterConfigInput = {
    cluster: 'test',
    memtableBytes: 1024 * 1024,
    nodes: {
      n1: {
        client: `ws://127.0.0.1:${client}`,
        peer: `ws://127.0.0.1:${peer}`,
        http: `http://127.0.0.1:${http}`,
        dataDir,
      },
    },
  };
  return { input, dataDir, http: `http://127.0.0.1:${http}` };
}

async function start(options: object = {}): Promise<Started> {
  const { input, http } = await prepare();
  const lines: Line[] = [];
  const logger = pino({ level: 'info' }, { write: (line: string) => void lines.push(JSON.parse(line) as Line) });
  const node = (await startNode(input, 'n1', { logger, ...options })) as Node;
  onTestFinished(() => node.stop());
  return { node, input, lines, http };
}

const isBack = (lines: readonly Line[], actor: ActorName, times = 1): boolean =>
  lines.filter(({ msg, actor: of }) => msg === 'actor.back' && of === actor).length >= times;

const metric = async (http: string, actor: ActorName): Promise<number> => {
  const text = await (await fetch(`${http}/metrics`)).text();
  const line = text
    .split('\n')
    .find((one) => one.startsWith('ctlmesh_actor_restarts_total') && one.includes(`"${actor}"`));
  return Number(line?.split(' ').at(-1));
};

/** Reads what is here, again and again: never less than was there before, whatever breaks meanwhile. */
function reader(node: Node, acked: ReadonlyMap<string, number>): { stop(): Promise<number> } {
  let isOver = false;
  let reads = 0;
  const check = (key: string, revision: number, entry: Entry | undefined): void => {
    if (entry?.revision !== revision)
      throw new Error(`${key} is at ${entry?.revision ?? 'no'} revision, not ${revision}`);
    reads++;
  };
  const unless = (error: unknown): void => {
    if (!isStoreError(error, 'UNAVAILABLE')) throw error;
  };
  const done = (async () => {
    while (!isOver) {
      const last = [...acked].at(-1);
      if (last !== undefined) {
        const [key, revision] = last;
        try {
          check(key, revision, node.getSync(key));
        } catch (error) {
          unless(error);
        }
        check(key, revision, await node.get(key, { consistency: 'local', deadlineMs: WITHIN_MS }));
      }
      await sleep(1);
    }
  })();
  done.catch(() => {});
  return {
    stop: async () => {
      isOver = true;
      await done;
      return reads;
    },
  };
}

/** Writes until it is told to stop; what was acknowledged, by key. */
interface Writer {
  readonly acked: ReadonlyMap<string, number>;
  stop(): Promise<Map<string, number>>;
  stopped(): Promise<Map<string, number>>;
}

function writer(node: Node): Writer {
  const acked = new Map<string, number>();
  let isOver = false;
  const done = (async () => {
    for (let i = 0; !isOver; i++) {
      await Promise.all(
        Array.from({ length: 8 }, async (_, j) => {
          const key = `w/${i}/${j}`;
          acked.set(key, (await node.put(key, 'x'.repeat(500), { deadlineMs: WITHIN_MS })).revision);
        }),
      );
    }
  })();
  done.catch(() => {});
  return {
    acked,
    /** Of a node that has stopped by itself. */
    stopped: async () => {
      isOver = true;
      await expect(done).rejects.toMatchObject({ code: expect.stringMatching(/CLOSED|OUTCOME_UNKNOWN/) });
      return acked;
    },
    stop: async () => {
      isOver = true;
      await done;
      return acked;
    },
  };
}

/** What is to come comes in its own time: the machine may be busy. */
const WITHIN_MS = 90_000;
const TEST_MS = 150_000;

const back = (lines: readonly Line[], actor: ActorName, times = 1): Promise<boolean> =>
  until(`${actor} is back`, () => isBack(lines, actor, times), {
    withinMs: WITHIN_MS,
    explain: () => lines.map((line) => JSON.stringify(line)).join('\n'),
  });

test('each comes back by itself, under load, with everything that was acknowledged', { timeout: TEST_MS }, async () => {
  const { node, lines, http } = await start();
  const seen: number[] = [];
  const watching = (async () => {
    for await (const change of node.watch({ prefix: 'w/', fromRevision: 1 as Revision })) seen.push(change.revision);
  })();
  watching.catch(() => {});
  const load = writer(node);
  const reading = reader(node, load.acked);
  await until('there is a load', () => node.status().applied > 200, { withinMs: WITHIN_MS });
  const ways: readonly (readonly [ActorName, Breaking])[] = [
    ['memtable', 'vanish'],
    ['compactor', 'exit'],
    ['shipper', 'vanish'],
    ['replication', 'throw'],
    ['gateway', 'throw'],
    ['shipper', 'throw'],
  ];
  const times = new Map<ActorName, number>();
  for (const [actor, how] of ways) {
    times.set(actor, (times.get(actor) ?? 0) + 1);
    await node[BREAK](actor, how);
    await back(lines, actor, times.get(actor));
    const before = node.status().applied;
    await until('writes go on', () => node.status().applied > before + 20, { withinMs: WITHIN_MS });
  }
  const acked = await load.stop();
  expect(await reading.stop()).toBeGreaterThan(10);
  for (const [key, revision] of acked) expect(node.getSync(key)?.revision).toBe(revision);
  const last = Math.max(...acked.values());
  await until('the watch has all of it', () => seen.at(-1) === last, { withinMs: WITHIN_MS });
  // In order, each once, none left out.
  expect(seen).toEqual([...acked.values()].sort((a, b) => a - b));
  for (const [actor, restarts] of times) expect([actor, await metric(http, actor)]).toEqual([actor, restarts]);
  expect((await fetch(`${http}/healthz`)).status).toBe(200);
  expect((await fetch(`${http}/readyz`)).status).toBe(200);
  await node.stop();
  await expect(watching).rejects.toMatchObject({ code: 'CLOSED' });
});

describe.each<ActorName>(['wal-committer', 'syncer'])('%s', (actor) => {
  test('comes back when nothing of the log is in doubt', { timeout: TEST_MS }, async () => {
    // A leader writes by itself, too (its clock, its directory): dying in the middle of that is the next test's matter.
    for (let tries = 1; ; tries++) {
      const { node, lines } = await start();
      const { revision } = await node.put('k', 'v');
      let failure: Error | undefined;
      void (async () => {
        failure = await node.failed;
      })();
      await node[BREAK](actor, 'exit');
      const told = (): string => lines.map((line) => JSON.stringify(line)).join('\n');
      await until(`${actor} is back, or in doubt`, () => failure !== undefined || isBack(lines, actor), {
        withinMs: WITHIN_MS,
        explain: told,
      });
      if (failure !== undefined && tries < 5) {
        expect(failure.message).toMatch(/the log was under way|written and not synced/);
        continue;
      }
      expect(failure, told()).toBeUndefined();
      expect(await node.get('k')).toMatchObject({ revision });
      expect((await node.put('k', 'w')).revision).toBeGreaterThan(revision);
      return;
    }
  });

  test('stops the node when something is, and nothing is lost', { timeout: TEST_MS }, async () => {
    const { node, input, lines } = await start();
    const load = writer(node);
    await until('there is a load', () => node.status().applied > 100, { withinMs: WITHIN_MS });
    // In the middle of what it does, sooner or later; it may come back a few times before.
    let failure: Error | undefined;
    const failing = (async () => {
      failure = await node.failed;
    })();
    for (let times = 1; failure === undefined; times++) {
      await node[BREAK](actor, 'vanish').catch(() => {});
      await until('it is back, or the node has stopped', () => failure !== undefined || isBack(lines, actor, times), {
        withinMs: WITHIN_MS,
      });
    }
    await failing;
    expect(failure).toMatchObject({ code: 'ACTOR_STOPPED' });
    const acked = await load.stopped();
    const again = await startNode(input, 'n1', { logger: pino({ level: 'silent' }) });
    onTestFinished(() => again.stop());
    for (const [key, revision] of acked) expect(await again.get(key)).toMatchObject({ revision });
  });
});

test('what dies too often stops the node', { timeout: TEST_MS }, async () => {
  const { node, lines } = await start();
  for (let times = 1; times <= RESTARTS.restartsMax; times++) {
    await node[BREAK]('shipper', 'exit');
    await back(lines, 'shipper', times);
  }
  await node[BREAK]('shipper', 'exit');
  expect(await node.failed).toMatchObject({ code: 'ACTOR_STOPPED' });
  expect((await node.failed).message).toContain('shipper died 6 times within 30 s');
});

test('a turn that never ends is told of by name, and its thread is ended', { timeout: TEST_MS }, async () => {
  const { node, lines, http } = await start({ [WATCHDOG_BOUNDS]: { tickMs: 250, reportTicks: 4, killTicks: 12 } });
  await node[BREAK]('memtable', 'loop');
  const told = (): Line | undefined => lines.find(({ msg, actor }) => msg === 'actor.stuck' && actor === 'memtable');
  await until('it is told of', told, { withinMs: WITHIN_MS });
  const health = (await (await fetch(`${http}/healthz`)).json()) as { ok: boolean; checks: Record<string, string> };
  expect([health.ok, health.checks['memtable']]).toEqual([false, expect.stringMatching(/stuck|coming back/)]);
  await back(lines, 'memtable');
  expect((await node.put('k', 'v')).revision).toBeGreaterThan(0);
});

test('a node that is stopped while it comes back stops, and is whole', { timeout: TEST_MS }, async () => {
  const { node, input } = await start();
  const { revision } = await node.put('k', 'v');
  const waiting = node.put('k2', 'v', { deadlineMs: WITHIN_MS }).then(
    () => 'done',
    (error: StoreError) => error.code,
  );
  await node[BREAK]('memtable', 'vanish');
  // Sooner or later on its way back.
  await sleep(Math.random() * 300);
  await node.stop();
  // Nobody is left waiting.
  expect(['done', 'CLOSED', 'OUTCOME_UNKNOWN']).toContain(await waiting);
  expect(() => node.getSync('k')).toThrow(/closed|starts again/);
  const again = await startNode(input, 'n1', { logger: pino({ level: 'silent' }) });
  onTestFinished(() => again.stop());
  expect(await again.get('k')).toMatchObject({ revision });
});

test('nobody breaks a node that is not a test’s', async () => {
  const { node } = await start();
  process.env['CTLMESH_TEST_HOOKS'] = '0';
  onTestFinished(() => {
    process.env['CTLMESH_TEST_HOOKS'] = '1';
  });
  await expect(node[BREAK]('memtable', 'vanish')).rejects.toMatchObject({ code: 'BAD_REQUEST' });
});

test('closing under load leaves no thread, port, timer, socket, file or lock behind', {
  timeout: TEST_MS,
}, async () => {
  const { input, dataDir } = await prepare();
  const program = fileURLToPath(new URL('./fixtures/close-under-load.ts', import.meta.url));
  const run = new Run([program, JSON.stringify(input), dataDir]);
  onTestFinished(() => run.kill());
  // By itself: nothing in it calls process.exit.
  expect(await run.ended, run.output).toEqual({ code: 0, signal: null });
  expect(JSON.parse(run.output.trim())).toEqual({ hadAny: true, left: [], files: [], isThere: true });
});
