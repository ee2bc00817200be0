/**
 * Staged delivery as its users have it: a node, kvctl's words, and the replicas of hosts in rings.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { connect, type StageView } from '../../src/client/index.ts';
import { type LdbReader, openLdb, stagedIn, type StagedView } from '../../src/engine/ldb/index.ts';
import {
  type LdbChanges,
  type RunningReflector,
  startReflector,
  type StartReflectorOptions,
} from '../../src/reflector/index.ts';
import { kvctl, type Ran } from '../cli/fixtures/fake-kvctl.ts';
import { freePorts, until } from '../support/cluster-process.ts';
import { HttpFixture, type HttpNode, startHttpNode } from '../support/http-node.ts';

vi.setConfig({ testTimeout: 180_000, hookTimeout: 180_000 });

const SECRET = 'a-secret';
let node: HttpNode;
let fixture: HttpFixture;
let dir: string;
/** The canary feeds others, too. */
let relay: string;

interface Host {
  readonly reflector: RunningReflector;
  readonly ldb: LdbReader;
  readonly changes: LdbChanges[];
}
const hosts = new Map<string, Host>();

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'ctlmesh-staged-'));
  node = await startHttpNode({ destructiveSchemaChanges: true });
  fixture = await HttpFixture.create(node.ask, SECRET);
  const [port] = await freePorts(1);
  relay = `ws://127.0.0.1:${port}`;
  await host('canary', 'canary', { listen: relay });
  await host('', '');
});
afterAll(async () => {
  for (const { ldb, reflector } of hosts.values()) {
    ldb.close();
    await reflector.stop();
  }
  await node.stop();
  rmSync(dir, { recursive: true, force: true });
});

async function host(name: string, ring: string, more: Partial<StartReflectorOptions> = {}): Promise<Host> {
  const at = join(dir, `ldb-${name}`);
  const changes: LdbChanges[] = [];
  const reflector = await startReflector({
    ...{ endpoints: [node.client], dir: at, onChanges: (change: LdbChanges) => changes.push(change) },
    ...(ring === '' ? {} : { labels: { ring } }),
    ...more,
  });
  await until('the replica is filled', () => reflector.status.revision > 0, { withinMs: 60_000 });
  const made = { reflector, changes, ldb: openLdb(at, { besideWriter: true }) };
  hosts.set(name, made);
  return made;
}

const ctl = (...words: readonly string[]): Promise<Ran> => kvctl(words, { connect: () => connect(node.client) });
async function out(...words: readonly string[]): Promise<string> {
  const ran = await ctl(...words);
  expect(ran, words.join(' ')).toMatchObject({ code: 0 });
  return ran.out.trimEnd();
}
const revisionIn = (said: string): number => Number(/revision (\d+)/.exec(said)?.[1]);

/** What each host sees of a key, once it is at the revision that `said` names. */
async function seen(said: string, read: (ldb: LdbReader) => unknown): Promise<unknown[]> {
  const values: unknown[] = [];
  for (const { reflector, ldb } of hosts.values()) {
    await until('every host is there', () => reflector.status.revision >= revisionIn(said), { withinMs: 60_000 });
    ldb.refresh();
    values.push(read(ldb));
  }
  return values;
}

const all = <T>(value: T): T[] => Array.from(hosts, () => value);
const flag = (ldb: LdbReader): string | undefined => ldb.get('flags/new-ui')?.text();
/** The only one. */
const stage = async (): Promise<StageView> => JSON.parse(await out('--json', 'stage', 'list')) as StageView;

test('the canary is shown a change at once, everybody else when it is released; what is not staged flows', async () => {
  await out('put', 'flags/new-ui', 'off');
  await out('stage', 'create', 'flags', '--prefix', 'flags/', '--ring', 'canary');
  await out('put', 'flags/new-ui', 'on');
  const other = await out('put', 'limits/eu', '5');
  expect(await seen(other, flag)).toEqual(['on', 'off']);
  expect(await seen(other, (ldb) => ldb.get('limits/eu')?.text())).toEqual(['5', '5']);
  // At the cluster everybody reads what there is.
  expect(await out('get', 'flags/new-ui')).toBe('on');
  const created = (await stage()).rings.at(-1)?.shown;
  const staged = (name: string): Promise<StagedView> => stagedIn(join(dir, `ldb-${name}`), { besideWriter: true });
  expect(await staged('canary')).toEqual({ ring: 'canary', stages: [{ name: 'flags', shown: null, halted: null }] });
  expect(await staged('')).toEqual({ ring: null, stages: [{ name: 'flags', shown: created, halted: null }] });
  const { changes } = hosts.get('') as Host;
  changes.length = 0;
  const released = await out('stage', 'release', 'flags');
  expect(await seen(released, flag)).toEqual(['on', 'on']);
  const told = changes.filter(({ revision }) => revision >= revisionIn(released)).flatMap(({ keys }) => keys ?? []);
  expect(told.map((key) => Buffer.from(key).toString())).toContain('flags/new-ui');
});

test('kvctl ldb follow is in the list of the fleet, with its ring', async () => {
  const stop = new AbortController();
  const words = ['ldb', 'follow', '--from', node.client, '--ldb', join(dir, 'ldb-followed'), '--id', 'followed'];
  const run = kvctl([...words, '--label', 'ring=canary'], { startReflector, signal: stop.signal });
  await until(
    'it is listed',
    async () => {
      const { out: listed } = await ctl('--json', 'ldb', 'list');
      const rows = listed.split('\n').filter(Boolean);
      return rows.some((row) => {
        const { id, labels } = JSON.parse(row) as { readonly id: string; readonly labels: Record<string, string> };
        return id === 'followed' && labels['ring'] === 'canary';
      });
    },
    { withinMs: 60_000 },
  );
  stop.abort();
  expect(await run).toMatchObject({ code: 0 });
});

test('rolled back, every host is where everybody was, and nothing is released until it is resumed', async () => {
  const bad = await out('put', 'flags/new-ui', 'broken');
  expect(await seen(bad, flag)).toEqual(['broken', 'on']);
  expect(await seen(await out('stage', 'rollback', 'flags'), flag)).toEqual(['on', 'on']);
  expect(await ctl('stage', 'release', 'flags', 'canary')).toMatchObject({
    code: 1,
    err: expect.stringContaining('DISABLED') as string,
  });
  expect((await stage()).halted).toBe('rolled back');
  await out('put', 'flags/new-ui', 'fixed');
  await out('stage', 'resume', 'flags');
  expect(await seen(await out('stage', 'release', 'flags', 'canary', '--follow'), flag)).toEqual(['fixed', 'on']);
  expect(await seen(await out('stage', 'release', 'flags'), flag)).toEqual(['fixed', 'fixed']);
  // Also what everybody has had can be taken back, once.
  expect(await seen(await out('stage', 'rollback', 'flags'), flag)).toEqual(['on', 'on']);
  expect(await ctl('stage', 'rollback', 'flags')).toMatchObject({ code: 1 });
});

test('a new host, and one of a part of the data, are shown what their ring is; a bypass shows everything to all', async () => {
  await host('late', '');
  await host('part', 'nobody-named-this', { filter: { prefixes: ['flags/'] } });
  await host('behind', '', { endpoints: [relay] });
  const now = await out('put', 'limits/eu', '6');
  expect(await seen(now, flag)).toEqual(all('on'));
  expect(await seen(await out('stage', 'bypass', 'flags'), flag)).toEqual(all('fixed'));
  expect(await seen(await out('put', 'flags/new-ui', 'urgent'), flag)).toEqual(all('urgent'));
  await out('stage', 'hold', 'flags');
  expect(await seen(await out('del', 'flags/new-ui'), flag)).toEqual([undefined, ...all('urgent').slice(1)]);
  expect(await seen(await out('stage', 'drop', 'flags'), flag)).toEqual(all(undefined));
  expect(await out('stage', 'list')).toBe('');
});

test('a host that is ill halts the stage, and takes back what is not released; no more than that', async () => {
  const client = await connect(node.client);
  try {
    const { stages } = client.control;
    await out('put', 'guarded/x', '1');
    await out('stage', 'create', 'guarded', '--prefix', 'guarded/', '--ring', 'canary');
    await out('put', 'guarded/x', '2');
    await out('stage', 'release', 'guarded');
    const ill = (): string => 'out of order';
    const reason = await stages.guard('guarded', { check: ill, act: 'rollback' });
    // Nothing had changed since: what everybody has stays.
    expect([reason, (await stages.list()).map(({ halted }) => halted)]).toEqual(['out of order', ['out of order']]);
    const x = (ldb: LdbReader): unknown => ldb.get('guarded/x')?.text();
    const bad = await out('put', 'guarded/x', 'bad');
    expect((await seen(bad, x)).slice(0, 2)).toEqual(['bad', '2']);
    await out('stage', 'resume', 'guarded');
    const asked: string[] = [];
    const check = ({ name }: StageView): Promise<undefined> => {
      asked.push(name);
      return Promise.reject(new Error('down'));
    };
    expect(await stages.guard('guarded', { check, act: 'rollback' })).toBe('the check failed: down');
    expect(asked).toEqual(['guarded']);
    const now = await out('put', 'limits/eu', '7');
    expect((await seen(now, x)).slice(0, 2)).toEqual(['2', '2']);
    // One that has no answer is bad, one that is asked to stop says nothing, and there is no guard of nothing.
    await out('stage', 'resume', 'guarded');
    await out('stage', 'release', 'guarded', 'canary', '--follow');
    const silent = new Promise<undefined>(() => {});
    expect(await stages.guard('guarded', { check: () => silent, checkDeadlineMs: 1 })).toContain(
      'no answer within 1 ms',
    );
    await expect(stages.guard('none', { check: ill })).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(stages.guard('guarded', { check: ill, signal: AbortSignal.abort() })).resolves.toBeUndefined();
  } finally {
    await client.close();
  }
});

test('of tables: rows and their schema are held back together; they are not dropped or cleared meanwhile', async () => {
  const family = await fixture.family(['plans', [['id', 'string']]]);
  await fixture.mutate(family, [{ table: 'plans', values: { id: 'pro' } }]);
  await out('stage', 'create', 'plans', '--table', `${family}/plans`, '--ring', 'canary');
  expect(
    (await node.ask(`PUT /families/${family}/tables/plans`, { body: { fields: [['n', 'integer']] } })).status,
  ).toBe(200);
  const got = await fixture.mutate(
    family,
    ['pro', 'team'].map((id) => ({ table: 'plans', values: { id, n: 7 } })),
  );
  const rows = (ldb: LdbReader): unknown =>
    ldb.filter === undefined && Array.from(ldb.getRowsByKeyPrefix(family, 'plans'));
  const [canary, everybody] = await seen(`revision ${got.headers.get('ctlmesh-revision')}`, rows);
  expect(canary).toEqual([
    { id: 'pro', n: 7 },
    { id: 'team', n: 7 },
  ]);
  expect(everybody).toEqual([{ id: 'pro' }]);
  for (const path of [`/families/${family}/tables/plans`, `/clear-rows/families/${family}`]) {
    expect(await node.ask(`DELETE ${path}`)).toMatchObject({ status: 403, code: 'DISABLED' });
  }
  const [, released] = await seen(await out('stage', 'release', 'plans'), rows);
  expect(released).toEqual(canary);
});

test('what makes no sense is refused', async () => {
  const refused = async (code: string, ...words: readonly string[]): Promise<void> => {
    const ran = await ctl('stage', ...words);
    expect({ words, ...ran }).toMatchObject({ code: 1, err: expect.stringContaining(code) as string });
  };
  await out('stage', 'create', 'one', '--prefix', 'x/');
  await refused('ALREADY_EXISTS', 'create', 'one', '--prefix', 'y/');
  await refused('ALREADY_EXISTS', 'create', 'two', '--prefix', 'x/y/');
  await refused('BAD_REQUEST', 'create', 'three');
  await refused('BAD_REQUEST', 'create', 'Three', '--prefix', 'z/');
  await refused('BAD_REQUEST', 'create', 'three', '--prefix', 'z/', '--ring', 'a', '--ring', 'a');
  await refused('NOT_FOUND', 'release', 'none');
  await refused('NOT_FOUND', 'release', 'one', 'canary');
  await refused('BAD_REQUEST', 'rollback', 'one');
});
