/** When a node gives up its damaged files, when it does not, and what a start that finds half of it does. */
import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type ClusterConfig, foundingMembers, type NodeConfig, parseConfig } from '../../src/config/index.ts';
import { StoreError } from '../../src/core/base/errors.ts';
import { claimDir, readIdentity } from '../../src/engine/disk/identity.ts';
import { nodeDisk } from '../../src/engine/disk/node-disk.ts';
import { readRecord, type Repair, writeRecord } from '../../src/engine/repair/record.ts';
import { askForRepair, mayRepair, type RepairWorld } from '../../src/node/repair.ts';
import { finishRepair, inPlaceOf } from '../../src/node/repair-steps.ts';
import { type Opened, startIn } from '../../src/node/start.ts';

const DAMAGE = new StoreError('WAL_CORRUPT', 'the WAL is damaged', { data: { file: 'wal/1', offset: 7 } });
const NOW_MS = Date.parse('2026-11-20T18:42:17.000Z');
let dataDir: string;
let logged: string[];

beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), 'ctlmesh-repair-'));
  logged = [];
});
afterEach(() => rmSync(dataDir, { recursive: true }));

function configOf(ids: readonly string[], repair: 'peers' | 'never' = 'peers'): ClusterConfig {
  // Ports on which nobody answers.
  const node = (i: number) => ({
    ...{ client: `ws://127.0.0.1:${10 + i}`, peer: `ws://127.0.0.1:${30 + i}`, http: `http://127.0.0.1:${50 + i}` },
    dataDir: join(dataDir, `of-${i}`),
  });
  const nodes = Object.fromEntries(ids.map((id, i) => [id, node(i)]));
  return parseConfig({ nodes, repair, raft: { electionTimeoutMs: 50, heartbeatMs: 10 } }, { baseDir: dataDir });
}

const worldOf = (config: ClusterConfig): RepairWorld => ({
  ...{ config, cluster: config.cluster, dataDir, id: 'n1', disk: nodeDisk, nowMs: () => NOW_MS, askMs: 300 },
  uuid: () => randomUUID(),
  removeTree: (path) => rmSync(path, { recursive: true, force: true }),
  log: (level, event) => logged.push(`${level} ${event}`),
});

const three = (): RepairWorld => worldOf(configOf(['n1', 'n2', 'n3']));

function claimed(world: RepairWorld): string {
  const { dirId } = claimDir(dataDir, { cluster: world.config.cluster, node: 'n1' });
  mkdirSync(join(dataDir, 'wal'));
  writeFileSync(join(dataDir, 'wal', '000001.wal'), 'damaged');
  return dirId;
}

const repairOf = (replaces: string, fields: Partial<Repair> = {}): Repair => ({
  ...{ when: new Date(NOW_MS).toISOString(), code: 'WAL_CORRUPT', reason: 'x', replaces },
  ...{ dir: 'repaired-1', aside: 'damaged-1', ...fields },
});

test('only damage is repaired, only where that is allowed, and only where there is somebody to ask', () => {
  const config = configOf(['n1', 'n2', 'n3']);
  const may = (of: ClusterConfig, error: unknown): boolean => mayRepair({ config: of, id: 'n1' }, error);
  expect(may(config, DAMAGE)).toBe(true);
  for (const code of ['TABLE_CORRUPT', 'DIVERGED'] as const) expect(may(config, new StoreError(code, ''))).toBe(true);
  for (const code of ['DISK_FAILED', 'DIR_FOREIGN'] as const) expect(may(config, new StoreError(code, ''))).toBe(false);
  expect(may(config, new Error('WAL_CORRUPT'))).toBe(false);
  expect(may(configOf(['n1', 'n2', 'n3'], 'never'), DAMAGE)).toBe(false);
  expect(may(configOf(['n1']), DAMAGE)).toBe(false);
});

test('when nobody answers, everything is as it was, and the same identity is asked for the next time', async () => {
  const world = three();
  const dirId = claimed(world);
  await expect(askForRepair(world, DAMAGE)).rejects.toMatchObject({
    code: 'WAL_CORRUPT',
    message: expect.stringContaining('could not be repaired from the other nodes'),
    data: { offset: 7 },
  });
  expect(finishRepair(world)).toBe(false);
  expect(readIdentity(dataDir)?.dirId).toBe(dirId);
  expect(readFileSync(join(dataDir, 'wal', '000001.wal'), 'utf8')).toBe('damaged');
  const { pending } = readRecord(nodeDisk, dataDir);
  expect(pending).toMatchObject({ replaces: dirId, isAccepted: false, aside: 'damaged-20261120T184217Z' });
  await expect(askForRepair(world, DAMAGE)).rejects.toThrow();
  expect(readRecord(nodeDisk, dataDir).pending?.dir).toBe(pending?.dir);
});

test('only a directory that has forgotten takes the place of another than its own', () => {
  const asked = { dir: 'repaired-1', replaces: 'mine' };
  const forgotten = { ...asked, code: 'DIR_ROLLED_BACK' };
  expect(inPlaceOf('theirs', forgotten)).toEqual({ dir: 'repaired-1', replaces: 'theirs' });
  expect(inPlaceOf('theirs', { ...asked, code: DAMAGE.code }), 'that one was given up: it is refused').toEqual(asked);
  expect(inPlaceOf(undefined, forgotten)).toEqual(asked);
  expect(inPlaceOf('repaired-1', forgotten), 'asked before').toEqual(asked);
});

test('three times within a day are enough', async () => {
  const world = three();
  const dirId = claimed(world);
  const done = [1, 2, 3].map((hours) => repairOf('x', { when: new Date(NOW_MS - hours * 3_600_000).toISOString() }));
  writeRecord(nodeDisk, dataDir, { done, count: 3 });
  await expect(askForRepair(world, DAMAGE)).rejects.toThrow('3 times within a day');
  expect(readRecord(nodeDisk, dataDir).pending).toBeUndefined();
  expect(readIdentity(dataDir)?.dirId).toBe(dirId);
});

test.each(['before a file was moved', 'when all were', 'when the new name was there'])(
  'what was accepted is finished by the next start: it ended %s',
  (moment) => {
    const world = three();
    const dirId = claimed(world);
    mkdirSync(join(dataDir, 'damaged-0'));
    const old = repairOf('older', { aside: 'damaged-0' });
    const record = { done: [old], count: 1, pending: { ...repairOf(dirId), isAccepted: true } };
    writeRecord(nodeDisk, dataDir, record);
    if (moment !== 'before a file was moved') {
      expect(finishRepair(world)).toBe(true);
      if (moment === 'when all were') rmSync(join(dataDir, 'IDENTITY'));
      writeRecord(nodeDisk, dataDir, record);
    }
    expect(finishRepair(world)).toBe(true);
    expect(finishRepair(world)).toBe(false);
    expect(readIdentity(dataDir)?.dirId).toBe('repaired-1');
    expect(readIdentity(join(dataDir, 'damaged-1'))?.dirId).toBe(dirId);
    expect(readFileSync(join(dataDir, 'damaged-1', 'wal', '000001.wal'), 'utf8')).toBe('damaged');
    expect(readdirSync(join(dataDir, 'wal'))).toEqual([]);
    expect(readRecord(nodeDisk, dataDir)).toMatchObject({ count: 2, done: [old, repairOf(dirId)] });
    expect(existsSync(join(dataDir, 'damaged-0')), 'one is kept').toBe(false);
    expect(logged).toContain('warn repair.set-aside');
  },
);

test('a node with such a directory founds nothing; any other one starts as it always did', async () => {
  const world = three();
  const opened = (): Promise<Opened> =>
    startIn(world, async (one) => {
      await one.lock.release();
      return one;
    });
  const dirId = claimed(world);
  expect(await opened()).toMatchObject({ dirId, isRepaired: false, repairs: 0, config: world.config });
  writeRecord(nodeDisk, dataDir, { done: [], count: 0, pending: { ...repairOf(dirId), isAccepted: true } });
  const after = await opened();
  expect(after).toMatchObject({ dirId: 'repaired-1', isRepaired: true, repairs: 1 });
  expect(after.config.nodes['n1']?.join).toBe(true);
  expect(after.config.nodes['n2']).toEqual(world.config.nodes['n2']);
});

test('where the damaged node was the only founder, the others are taken for the founders', async () => {
  const { config, ...rest } = worldOf(configOf(['n1', 'n2', 'n3']));
  const joined = Object.entries(config.nodes).map(([id, node]): [string, NodeConfig] => [
    id,
    id === 'n1' ? node : { ...node, join: true },
  ]);
  const world = { ...rest, config: { ...config, nodes: Object.fromEntries(joined) } };
  const dirId = claimed(world);
  writeRecord(nodeDisk, dataDir, { done: [], count: 0, pending: { ...repairOf(dirId), isAccepted: true } });
  const after = await startIn(world, async (one) => {
    await one.lock.release();
    return one.config;
  });
  expect(foundingMembers(after).map(({ id }) => id)).toEqual(['n2', 'n3']);
});

test('what a run has met keeps the next one from starting, unless nothing is to be repaired', async () => {
  const world = three();
  claimed(world);
  writeFileSync(join(dataDir, 'DAMAGED'), JSON.stringify({ code: 'TABLE_CORRUPT', message: 'a bad block' }));
  const start = (of: RepairWorld): Promise<string> =>
    startIn(of, async ({ lock }) => {
      await lock.release();
      return 'started';
    });
  await expect(start(world)).rejects.toMatchObject({ code: 'TABLE_CORRUPT' });
  expect(await start(worldOf(configOf(['n1', 'n2', 'n3'], 'never')))).toBe('started');
});
