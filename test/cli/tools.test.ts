/** kvctl on files: backup, restore, inspect, scrub, repair: what is printed, and with which exit code. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { run } from '../../src/cli/kvctl.ts';
import { claimDir } from '../../src/engine/disk/identity.ts';
import { lockDir } from '../../src/engine/disk/lock.ts';
import { nodeDisk } from '../../src/engine/disk/node-disk.ts';
import { openEngine } from '../../src/engine/store/index.ts';
import { kvctl, Printed } from './fixtures/fake-kvctl.ts';

let dir: string;
let store: string;
let backup: string;
beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'ctlmesh-tools-'));
  store = join(dir, 'store');
  backup = join(dir, 'backup');
  const engine = await openEngine(store, { jobs: 'inline', reserveBytes: 0 });
  for (let i = 0; i < 20; i++) await engine.put(Buffer.from(`key-${i}`), Buffer.from(`value ${i}`));
  await engine.put(Buffer.from('late'), Buffer.from('x'), { expiryMs: 2_000_000_000_000 });
  await engine.delete(Buffer.from('key-3'));
  await engine.flush();
  await engine.put(Buffer.from('in-the-log'), Buffer.from('only'));
  await engine.close();
});
afterEach(() => rmSync(dir, { recursive: true }));

async function valueOf(at: string, key: string): Promise<string | undefined> {
  const engine = await openEngine(at, { jobs: 'inline', reserveBytes: 0, createIfMissing: false });
  try {
    const value = engine.getSync(Buffer.from(key));
    return value === undefined ? undefined : Buffer.from(value).toString();
  } finally {
    await engine.close();
  }
}

const table = (): string => join(store, readdirSync(store).find((name) => name.endsWith('.ldb')) ?? '');
const segment = (): string => join(store, 'wal', '000001.wal');

function flip(path: string, at: number): void {
  const content = readFileSync(path);
  content[at] = (content[at] ?? 0) ^ 4;
  writeFileSync(path, content);
}

/** Makes the store's files a node's, as far as a backup looks. */
async function asNode(): Promise<string> {
  const node = join(dir, 'n1');
  nodeDisk.mkdir(join(node, 'tree'));
  claimDir(node, { cluster: 'prod', node: 'n1' });
  for (const name of readdirSync(store)) {
    const to = name === 'wal' ? join(node, 'wal') : join(node, 'tree', name);
    if (!name.startsWith('LOCK')) nodeDisk.rename(join(store, name), to);
  }
  return node;
}

describe('backup and restore', () => {
  test('of a store: sets, what is new in each, and the way back', async () => {
    const first = await kvctl(['backup', store, backup]);
    expect(first).toMatchObject({ code: 0, err: '' });
    expect(first.out).toContain('set 1 of a store (stopped): everything up to revision 23');
    const second = await kvctl(['backup', store, backup, '--json', '--verify']);
    expect(JSON.parse(second.out)).toMatchObject({ set: 2, kind: 'store', lastIndex: 23, newFiles: 0, isLive: false });
    expect((await kvctl(['inspect', 'backup', backup, '--verify'])).out.split('\n')).toMatchObject([
      expect.stringMatching(/^1\t.*revision 23\t.*whole$/),
      expect.stringMatching(/^2\t/),
      '',
    ]);
    const again = join(dir, 'again');
    expect((await kvctl(['restore', backup, again])).code).toBe(0);
    expect(await valueOf(again, 'key-7')).toBe('value 7');
    expect(await valueOf(again, 'key-3')).toBeUndefined();
    expect(await valueOf(again, 'in-the-log')).toBe('only');
    const over = await kvctl(['restore', backup, again]);
    expect(over).toMatchObject({ code: 1, out: '' });
    expect(over.err).toContain('is not empty');
  });

  test('beside whoever has the store open', async () => {
    const lock = await lockDir(store);
    const { out } = await kvctl(['backup', store, backup, '--json']);
    await lock.release();
    expect(JSON.parse(out)).toMatchObject({ isLive: true, lastIndex: 23 });
  });

  test('a damaged table stops a backup; a damaged backup is said', async () => {
    flip(table(), 30);
    const refused = await kvctl(['backup', store, backup]);
    expect(refused.code).toBe(1);
    expect(refused.err).toContain('TABLE_CORRUPT; kvctl scrub');
    expect((await kvctl(['inspect', 'backup', backup])).code).toBe(1);
    flip(table(), 30);
    await kvctl(['backup', store, backup]);
    const [file = ''] = readdirSync(join(backup, 'files'));
    flip(join(backup, 'files', file), 3);
    const inspected = await kvctl(['inspect', 'backup', backup, '--verify', '--json']);
    expect(inspected.code).toBe(1);
    expect(inspected.out).toContain('checksum does not match');
  });

  test('a node comes back only with a word on its peers, and as the node that it shall be', async () => {
    const node = await asNode();
    await kvctl(['backup', node, backup]);
    const to = join(dir, 'n2');
    const silent = await kvctl(['restore', backup, to, '--node', 'n2']);
    expect(silent).toMatchObject({ code: 2, out: '' });
    expect(silent.err).toContain('can lose acknowledged writes');
    expect(existsSync(to)).toBe(false);
    for (const flags of [
      ['--whole-cluster', '--replace-member'],
      ['--cluster', 'other', '--whole-cluster'],
      ['--set', '9', '--whole-cluster'],
      // Of the node itself; of one that was stopped, and so led nobody.
      ['--node', 'n1', '--replace-member'],
      ['--node', 'n2', '--replace-member'],
    ]) {
      expect((await kvctl(['restore', backup, to, ...flags])).code).not.toBe(0);
      expect(existsSync(to)).toBe(false);
    }
    const lock = await lockDir(node);
    await kvctl(['backup', node, backup]);
    await lock.release();
    const member = await kvctl(['restore', backup, join(dir, 'member'), '--node', 'n2', '--replace-member']);
    expect(member.err).toMatch(/right only if n1 led when the set was made \(.*\), all others followed it, and n2 had/);
    const restored = await kvctl(['restore', backup, to, '--node', 'n2', '--whole-cluster', '--set', '1']);
    expect(restored.code).toBe(0);
    expect(restored.err).toContain('restore every other node of the cluster from set 1 too');
    const identity = JSON.parse(readFileSync(join(to, 'IDENTITY'), 'utf8')) as Record<string, string>;
    const before = JSON.parse(readFileSync(join(node, 'IDENTITY'), 'utf8')) as Record<string, string>;
    expect(identity).toMatchObject({ cluster: 'prod', node: 'n2' });
    expect(identity['dirId']).not.toBe(before['dirId']);
    await kvctl(['restore', backup, join(dir, 'n3'), '--cluster', 'other']);
    expect(readFileSync(join(dir, 'n3', 'IDENTITY'), 'utf8')).toContain('"other"');
  });

  test('what makes no sense is a usage error, and what is not there is said', async () => {
    expect((await kvctl(['backup', store, join(store, 'backup')])).code).toBe(2);
    expect((await kvctl(['backup', join(dir, 'nowhere'), backup])).err).toContain('there is no directory');
    expect((await kvctl(['backup', dir, backup])).err).toContain('is neither a node');
    await kvctl(['backup', store, backup]);
    expect((await kvctl(['restore', backup, join(dir, 'x'), '--node', 'n1'])).err).toContain('is of a store');
    expect((await kvctl(['restore', join(dir, 'nowhere'), join(dir, 'x')])).err).toContain('holds no backup');
  });

  test('Ctrl-C leaves nothing that passes for a set', async () => {
    const stop = new AbortController();
    stop.abort();
    const stopped = await kvctl(['backup', store, backup], { signal: stop.signal });
    expect(stopped.code).toBe(1);
    expect((await kvctl(['inspect', 'backup', backup])).code).toBe(1);
  });
});

describe('inspect', () => {
  test('wal: a line a record, by LSN, and how it ends', async () => {
    const all = await kvctl(['inspect', 'wal', store]);
    expect(all.code).toBe(0);
    const lines = all.out.trimEnd().split('\n');
    expect(lines[0]).toContain('000001.wal @0  lsn 1  base');
    expect(lines.at(-1)).toMatch(/^end: .*closed cleanly$/);
    const some = await kvctl(['inspect', 'wal', segment(), '--from', '3', '--limit', '2', '--json']);
    expect(
      some.out
        .trimEnd()
        .split('\n')
        .map((line) => (JSON.parse(line) as { lsn: number }).lsn),
    ).toEqual([3, 4]);
    expect(some.err).toContain('there are more');
    const one = await kvctl(['inspect', 'wal', segment()]);
    expect(one.out).toBe(all.out);
  });

  test('wal: damage is its end, with the place and exit code 1', async () => {
    flip(segment(), 300);
    for (const path of [store, join(store, 'wal'), segment()]) {
      const { code, out } = await kvctl(['inspect', 'wal', path]);
      expect(code).toBe(1);
      expect(out.trimEnd().split('\n').at(-1)).toMatch(/^damage: .*offset \d+/);
    }
  });

  test('sst: parts, properties, entries', async () => {
    const { code, out } = await kvctl(['inspect', 'sst', table(), '--keys']);
    expect(code).toBe(0);
    expect(out).toMatch(/entries +21\n/);
    expect(out).toContain('key-3\t@22\ttombstone\t0 bytes');
    expect(out).toContain('late\t@21\tput\t1 bytes\texpires 2033-05-18T03:33:20.000Z');
    const [facts = '', first = ''] = (await kvctl(['inspect', 'sst', table(), '--keys', '--json'])).out.split('\n');
    expect(JSON.parse(facts)).toMatchObject({ damage: null, properties: { entries: 21, tombstones: 1 } });
    expect(JSON.parse(first)).toEqual({ key: 'key-0', revision: 1, type: 'put', valueBytes: 7 });
    flip(table(), 30);
    const damaged = await kvctl(['inspect', 'sst', table()]);
    expect(damaged.code).toBe(1);
    expect(damaged.out).toContain('damage');
  });

  test('manifest: the levels, and the edits that made them', async () => {
    const { out } = await kvctl(['inspect', 'manifest', store, '--edits']);
    expect(out).toMatch(/level 0: 1 tables/);
    expect(out).toContain('flushed 22');
    expect(out).toContain('flushed revision 22');
    const lines = (await kvctl(['inspect', 'manifest', store, '--json'])).out.trimEnd().split('\n');
    expect(JSON.parse(lines.at(-1) ?? '')).toMatchObject({ lastSequence: 22, tornBytes: 0 });
  });

  test('writes nothing and needs no lock', async () => {
    const lock = await lockDir(store);
    const names = (): string[] => [...readdirSync(store), ...readdirSync(join(store, 'wal'))];
    const before = names();
    for (const what of ['wal', 'manifest']) expect((await kvctl(['inspect', what, store])).code).toBe(0);
    expect(names()).toEqual(before);
    await lock.release();
  });

  test('what is not there', async () => {
    expect(await kvctl(['inspect', 'sst', join(dir, 'x.ldb')])).toMatchObject({ code: 2, out: '' });
  });
});

test('scrub: exit code 0 without damage, 1 with it, a line each', async () => {
  expect(await kvctl(['scrub', store])).toMatchObject({
    code: 0,
    out: expect.stringMatching(/^no damage: 1 whole tables/) as string,
  });
  flip(table(), 30);
  flip(segment(), 300);
  const { code, out } = await kvctl(['scrub', store, '--json', '--rate', '1GiB']);
  expect(code).toBe(1);
  const lines = out
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(lines).toMatchObject([
    { damage: 'TABLE_CORRUPT', file: table() },
    { damage: 'WAL_CORRUPT', file: segment() },
    { damages: 2, tables: 0 },
  ]);
});

describe('repair', () => {
  test('asks, and does nothing on a no or where nobody can be asked', async () => {
    rmSync(join(store, 'CURRENT'));
    const dry = await kvctl(['repair', store, '--dry-run']);
    expect(dry).toMatchObject({ code: 0, out: expect.stringContaining('nothing was changed') as string });
    expect((await kvctl(['repair', store])).code).toBe(2);
    expect(await asked('no\n')).toMatchObject({ code: 1 });
    expect(existsSync(join(store, 'CURRENT'))).toBe(false);
    expect(await asked('yes\n')).toMatchObject({ code: 0 });
    expect(await valueOf(store, 'key-7')).toBe('value 7');
    expect(await valueOf(store, 'in-the-log')).toBe('only');
    expect((await kvctl(['repair', store])).out).toContain('nothing to repair');
  });

  test('needs the store for itself', async () => {
    const lock = await lockDir(store);
    expect((await kvctl(['repair', store, '--yes'])).err).toContain('DIR_LOCKED');
    await lock.release();
  });

  test('a node that would lack something is not repaired, unless only to look at it', async () => {
    const node = await asNode();
    const tree = join(node, 'tree');
    const damaged = join(tree, readdirSync(tree).find((name) => name.endsWith('.ldb')) ?? '');
    flip(damaged, 30);
    const before = readdirSync(tree).sort();
    const refused = await kvctl(['repair', node, '--yes']);
    expect(refused.code).toBe(1);
    expect(refused.out).toContain('must be wiped and filled from its peers');
    expect(refused.out).toContain('nothing was changed');
    expect(readdirSync(tree).sort()).toEqual(before);
    const salvaged = await kvctl(['repair', node, '--yes', '--salvage', '--json']);
    expect(salvaged.code).toBe(1);
    expect(JSON.parse(salvaged.out)).toMatchObject({ verdict: 'lost', done: true });
    expect(readdirSync(tree)).toContain('lost');
  });

  test('what a node noted of damage stays where something is lost', async () => {
    const node = await asNode();
    writeFileSync(join(node, 'DAMAGED'), JSON.stringify({ code: 'TABLE_CORRUPT', message: '000009.ldb: a block' }));
    expect((await kvctl(['repair', node, '--yes', '--salvage'])).out).toContain(
      'stays    what the node noted: 000009.ldb: a block',
    );
    expect(existsSync(join(node, 'DAMAGED'))).toBe(true);
  });

  async function asked(answer: string): Promise<{ code: number; err: string }> {
    const stdin = Object.assign(new PassThrough(), { isTTY: true });
    stdin.end(answer);
    const stderr = new Printed();
    const nothing = (): never => {
      throw new Error('not expected in this test');
    };
    const code = await run(['node', 'kvctl', 'repair', store], {
      connect: nothing,
      openLdb: nothing,
      arrivingIn: nothing,
      stagedIn: nothing,
      startReflector: nothing,
      startSidecar: nothing,
      stdin,
      stdout: new Printed(),
      stderr,
      env: {},
      signal: new AbortController().signal,
    });
    expect(stderr.text).toContain('[yes/no]');
    return { code, err: stderr.text };
  }
});
