import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Client, LedgerFrame, LedgerOptions } from '../../src/client/types.ts';
import { StoreError } from '../../src/core/base/errors.ts';
import { rowKey } from '../../src/core/model/control/row-key.ts';
import { encodeSchema, tableKey, type TableSchema } from '../../src/core/model/control/schema.ts';
import { type Change, decodeRecords } from '../../src/core/model/ledger.ts';
import { MemoryDisk } from '../../src/engine/disk/memory-disk.ts';
import { ChangeFeed } from '../../src/reflector/change-feed.ts';
import { changeOfLine, type LdbChange, lineOf } from '../../src/engine/ldb/changes.ts';
import { ChangeNames } from '../../src/reflector/change-names.ts';
import { Changelog } from '../../src/reflector/changelog.ts';
import { startReflector } from '../../src/reflector/index.ts';
import { seeded } from '../core/base/seeded.ts';
import { del, put, records, temporaryDir } from '../engine/ldb/ledger.ts';

const PLANS: TableSchema = {
  ...{ family: 'billing', table: 'plans', id: 7, epoch: 1, version: 1, created: 1 },
  fields: [
    { name: 'seats', type: 'integer', added: 1 },
    { name: 'id', type: 'string', added: 1 },
  ],
  key: [1, 0],
};
const schemaPut = (schema: TableSchema): Change => put(tableKey(schema.family, schema.table), encodeSchema(schema));
const rowPut = (id: string, seats: number | bigint, schema = PLANS): Change => put(rowKey(schema, [id, seats]), 'row');

const keyAt = (revision: number, key: string): LdbChange => ({ kind: 'key', revision, key: Buffer.from(key) });
const outOfSync = (revision: number): LdbChange => ({ kind: 'out-of-sync', revision });

function told(...revisions: readonly (readonly Change[])[]): Parameters<ChangeNames['named']>[0] {
  const changes = decodeRecords(records(1, ...revisions)).flatMap(({ revision, changes: of }) =>
    of.map((change) => ({ ...change, revision })),
  );
  return { revision: revisions.length, upTo: revisions.length, keys: [], changes } as never;
}

describe('names', () => {
  test('of rows, in the order of the primary key; of tables whose rows may all be others; of keys', () => {
    const names = new ChangeNames(() => [PLANS]);
    const lines = names
      .named(
        told([rowPut('pro', 2n ** 60n)], [schemaPut(PLANS), put('flags/x', '1')], [del(new Uint8Array([0xf0, 1]))]),
      )
      .map(lineOf);
    expect(lines.map(changeOfLine).map(lineOf)).toEqual(lines);
    expect(lines).toEqual([
      '{"revision":1,"family":"billing","table":"plans","key":[{"name":"id","type":"string","value":"pro"},{"name":"seats","type":"integer","value":"1152921504606846976"}]}',
      '{"revision":2,"family":"billing","table":"plans"}',
      '{"revision":2,"key":"flags/x"}',
      '{"revision":3,"keyBase64":"8AE="}',
    ]);
  });

  test('what is swept up behind a clear or a drop is no news', () => {
    const names = new ChangeNames(() => [PLANS]);
    names.named(told([put('a', '1')]));
    const cleared = { ...PLANS, epoch: 2 };
    const kinds = names.named(
      told([schemaPut(cleared)], [del(rowKey(PLANS, ['old', 1]))], [rowPut('new', 1, cleared)]),
    );
    expect(kinds.map(({ kind, revision }) => [kind, revision])).toEqual([
      ['table', 1],
      ['row', 3],
    ]);
    const dropped = names.named(told([del(tableKey('billing', 'plans')), del(rowKey(cleared, ['new', 1]))]));
    expect(dropped.map(({ kind }) => kind)).toEqual(['table']);
  });
});

describe('loops', () => {
  test('get what they want, in order; one that is too slow is told once, and goes on', async () => {
    const feed = new ChangeFeed();
    const slow = feed.open({ prefix: 'a/', bufferMax: 2 });
    const rows = feed.open({ family: 'Billing', table: 'PLANS' });
    feed.push([keyAt(1, 'a/1'), keyAt(1, 'b/1'), keyAt(2, 'a/2')]);
    expect([(await slow.next()).value, (await slow.next()).value]).toEqual([keyAt(1, 'a/1'), keyAt(2, 'a/2')]);
    feed.push([keyAt(3, 'a/3'), keyAt(3, 'a/4'), keyAt(4, 'a/5'), keyAt(5, 'a/6')]);
    expect([(await slow.next()).value, (await slow.next()).value]).toEqual([outOfSync(4), keyAt(5, 'a/6')]);
    feed.push([{ kind: 'row', revision: 6, family: 'billing', table: 'plans', key: [] }, outOfSync(7)]);
    feed.close();
    const seen: LdbChange['kind'][] = [];
    for await (const { kind } of rows) seen.push(kind);
    // Being out of sync stands for all that came before it.
    expect(seen).toEqual(['out-of-sync']);
    expect(() => feed.open({ table: 'plans' })).toThrow('a table has a family');
  });
});

describe('the file', () => {
  const PATH = '/log/changes';
  let disk: MemoryDisk;
  let failures: string[];

  beforeEach(() => {
    disk = new MemoryDisk();
    disk.mkdir('/log');
    failures = [];
  });

  const open = (bounds: { maxBytes?: number; keep?: number } = {}): Changelog =>
    new Changelog({ disk, path: PATH, ...bounds, onFailure: ({ message }) => failures.push(message) });

  function read(path = PATH): string {
    const file = disk.open(path, 'read');
    const bytes = new Uint8Array(file.size());
    file.read(bytes, 0, bytes.length, 0);
    file.close();
    return Buffer.from(bytes).toString();
  }

  const revisionsIn = (path = PATH): number[] =>
    read(path)
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => (JSON.parse(line) as { revision: number }).revision);

  test('rotates between commits and keeps so many', () => {
    const log = open({ maxBytes: 100, keep: 2 });
    log.begin(0);
    for (let revision = 1; revision <= 20; revision++) {
      log.append([keyAt(revision, 'first'), keyAt(revision, 'second')], revision);
    }
    log.close();
    const kept = ['.2', '.1', ''].map((suffix) => revisionsIn(PATH + suffix));
    for (const of of kept) expect(of.length % 2, 'a commit is not parted').toBe(0);
    expect(kept.flat()).toEqual([18, 18, 19, 19, 20, 20]);
    expect(disk.exists(`${PATH}.3`)).toBe(false);
  });

  test('a torn line is cut off, and its commit is told again', () => {
    const log = open();
    log.begin(4);
    log.append([keyAt(5, 'a')], 5);
    log.append([keyAt(6, 'b'), keyAt(6, 'c')], 6);
    const whole = read();
    const file = disk.open(PATH, 'write');
    file.truncate(whole.length - 3);
    file.close();
    const again = open();
    expect(again.after).toBe(5);
    again.append([keyAt(6, 'b'), keyAt(6, 'c')], 6);
    expect(revisionsIn()).toEqual([4, 5, 6, 6, 6]);
  });

  test('a new one begins where the LDB is; one that went on without changes knows how far it is', () => {
    const log = open();
    expect(log.after).toBeUndefined();
    log.begin(40);
    log.append([], 90);
    log.close();
    expect(open().after).toBe(90);
  });

  test('after a power cut everything that it says is written is there, or is told again', () => {
    for (let crash = 0; crash < 60; crash++) {
      const crashAt = 1 + (crash % 12);
      disk = new MemoryDisk({ random: seeded(crash) });
      disk.mkdir('/log');
      const log = open({ maxBytes: 150, keep: 9 });
      log.begin(0);
      for (let revision = 1; revision <= crashAt; revision++) {
        log.append([keyAt(revision, 'key')], revision);
        if (revision % 3 === 0) log.sync();
      }
      disk.crash({ keep: crash < 12 ? 'none' : 'random' });
      disk.mkdir('/log');
      const again = open({ maxBytes: 150, keep: 9 });
      const { after = -1 } = again;
      expect(after, 'it is no new one').not.toBe(-1);
      const files = disk.list('/log').filter((name) => !name.endsWith('position'));
      const there = new Set(files.flatMap((name) => revisionsIn(`/log/${name}`)));
      for (let revision = 1; revision <= after; revision++) expect(there, `crash at ${crashAt}`).toContain(revision);
    }
  });

  test('a full disk is told once; when there is room again the next line says out of sync', () => {
    const log = open();
    log.begin(0);
    log.append([keyAt(1, 'a')], 1);
    disk.capacityBytes = disk.usedBytes + 5;
    log.append([keyAt(2, 'b')], 2);
    log.append([keyAt(3, 'c')], 3);
    expect(failures).toHaveLength(1);
    expect(open().after, 'what was not written is not said to be').toBeLessThan(2);
    disk.capacityBytes = Number.POSITIVE_INFINITY;
    log.append([keyAt(4, 'd')], 4);
    log.append([keyAt(5, 'e')], 5);
    expect(read().split('\n').slice(2)).toEqual(['{"revision":4,"outOfSync":true}', '{"revision":5,"key":"e"}', '']);
  });
});

describe('a reflector', () => {
  let dir: ReturnType<typeof temporaryDir>;

  beforeEach(() => {
    dir = temporaryDir();
  });
  afterEach(() => dir.remove());

  /** A cluster that has these revisions, from 1 on. */
  function cluster(all: readonly (readonly Change[])[], asked: number[] = []): () => Promise<Client> {
    async function* ledger({ fromRevision, signal }: LedgerOptions): AsyncGenerator<LedgerFrame> {
      asked.push(fromRevision);
      yield { kind: 'hello', cluster: 'c1', node: 'n1' };
      const rest = all.slice(fromRevision - 1);
      if (rest.length > 0) yield { kind: 'records', bytes: records(fromRevision, ...rest) };
      await new Promise((_, reject) => {
        const end = (): void => reject(new StoreError('CANCELLED', 'stopped'));
        if (signal?.aborted === true) end();
        signal?.addEventListener('abort', end, { once: true });
      });
    }
    return async () => ({ ledger, close: async () => {} }) as unknown as Client;
  }

  test('tells what it was killed before it told, of what the LDB has already, and nothing of before', async () => {
    const first = await startReflector({
      endpoints: ['ws://h:1'],
      dir: `${dir.path}/ldb`,
      connect: cluster([[schemaPut(PLANS)], [rowPut('a', 1)], [rowPut('b', 1)]]),
    });
    await expect.poll(() => first.status.revision, { timeout: 60_000 }).toBe(3);
    await first.stop();
    // Everything up to 1 was told; the LDB is at 3.
    const disk = await import('../../src/engine/disk/node-disk.ts');
    const path = `${dir.path}/changes`;
    const log = new Changelog({ disk: disk.nodeDisk, path, onFailure: () => {} });
    log.begin(1);
    log.close();

    const asked: number[] = [];
    const second = await startReflector({
      endpoints: ['ws://h:1'],
      dir: `${dir.path}/ldb`,
      changelog: { path },
      connect: cluster([[schemaPut(PLANS)], [rowPut('a', 1)], [rowPut('b', 1)], [rowPut('c', 1)]], asked),
    });
    const changes = second.changes({ family: 'billing' });
    const keys: unknown[] = [];
    for await (const change of changes) {
      keys.push(change.kind === 'row' ? [change.revision, change.key[0]?.value] : change.kind);
      if (keys.length === 3) break;
    }
    expect(keys).toEqual([
      [2, 'a'],
      [3, 'b'],
      [4, 'c'],
    ]);
    expect(asked).toEqual([2]);
    await second.stop();
    const { readFileSync } = await import('node:fs');
    expect(readFileSync(path, 'utf8').split('\n')).toHaveLength(5);
    expect(new Changelog({ disk: disk.nodeDisk, path, onFailure: () => {} }).after).toBe(4);
  });
});
