import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { toIndex } from '../../src/core/base/position.ts';
import { parseFilter } from '../../src/core/model/ledger-filter.ts';
import { hasLdb } from '../../src/engine/ldb/copy.ts';
import { openLdb } from '../../src/engine/ldb/index.ts';
import { LdbWriter } from '../../src/engine/ldb/writer.ts';
import { HttpDoor } from '../../src/net/http-door.ts';
import { bootstrap, type Bootstrapped, type BootstrapOptions } from '../../src/reflector/copies/bootstrap.ts';
import { Copies, type CopyNews } from '../../src/reflector/copies/copies.ts';
import { chunkName, decodeManifest, encodeManifest, manifestName } from '../../src/reflector/copies/manifest.ts';
import type { Objects } from '../../src/reflector/copies/objects.ts';
import { openObjects } from '../../src/reflector/copies/open-objects.ts';
import { copyRoutes } from '../../src/reflector/copies/routes.ts';
import { CopySender, type CopySenderOptions } from '../../src/reflector/copies/sender.ts';
import { CLUSTER, dump, fillRecords, nextTurn, put, records, temporaryDir } from '../engine/ldb/ledger.ts';
import { S3Server } from '../support/s3-server.ts';

const CHUNK_BYTES = 32 * 1024;
const ROWS = 300;

// Its waits are for conditions, however slow the machine.
vi.setConfig({ testTimeout: 120_000 });

let dir: ReturnType<typeof temporaryDir>;
let s3: S3Server;
let writer: LdbWriter;
let nowMs: number;
const cleanups: (() => Promise<unknown>)[] = [];

beforeEach(async () => {
  dir = temporaryDir();
  s3 = await S3Server.start();
  nowMs = 1_800_000_000_000;
  writer = await LdbWriter.open(at('origin'));
  await writer.apply(fillRecords(1, ROWS), CLUSTER);
});

afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean();
  await writer.close();
  await s3.stop();
  dir.remove();
});

const at = (name: string): string => join(dir.path, name);
const file = (name: string): Objects => openObjects(pathToFileURL(at(name)).href, { env: {} });
const bucket = (env: Record<string, string> = {}): Objects =>
  openObjects('s3://bucket/a prefix/ldb', { env: { ...s3.env, ...env } });

function sender(objects: Objects, more: Partial<CopySenderOptions> = {}): CopySender {
  const made = new CopySender({
    dir: at('origin'),
    objects,
    everyMs: 3_600_000,
    keep: 2,
    revision: () => 0,
    nowMs: () => nowMs,
    onSent: () => {},
    onFailed: () => {},
    guard: (work) => work(),
    broke: (error) => expect.unreachable(String(error)),
    chunkBytes: CHUNK_BYTES,
    retryDelayMs: 1,
    ...more,
  });
  cleanups.push(() => made.stop());
  return made;
}

function fill(objects: Objects, more: Partial<BootstrapOptions> = {}): Promise<Bootstrapped | undefined> {
  return bootstrap({ dir: at('new'), objects, signal: new AbortController().signal, retryDelayMs: 1, ...more });
}

function rowsIn(name: string): Record<string, string> {
  const ldb = openLdb(at(name), { besideWriter: true });
  const rows = dump(ldb);
  ldb.close();
  return rows;
}

/** Chunks of the newest copy. */
const chunksOf = (bytes: number): number => Math.ceil(bytes / CHUNK_BYTES);

describe.each(['a directory', 'a bucket', 'another reflector'])('a copy from %s', (kind) => {
  const places = async (): Promise<{ to: Objects; from: Objects }> => {
    if (kind === 'a bucket') return { to: bucket(), from: bucket() };
    const to = file('copies');
    if (kind === 'a directory') return { to, from: to };
    const door = await HttpDoor.open({
      url: 'http://127.0.0.1:0',
      metrics: async () => ({ contentType: 'text/plain', body: '' }),
      health: () => ({ ok: true, checks: {} }),
      readiness: () => ({ ok: true, checks: {} }),
      routes: copyRoutes({ objects: to, grant: () => undefined, held: () => undefined }),
    });
    cleanups.push(() => door.close());
    return { to, from: openObjects(door.url, { env: {} }) };
  };

  test('fills a new replica with what was there, while writes go on; and it goes on behind it', async () => {
    const { to, from } = await places();
    const sending = sender(to).send();
    for (let revision = ROWS + 1; revision <= ROWS + 20; revision++)
      await writer.apply(fillRecords(revision, 1), CLUSTER);
    const sent = await sending;
    expect(sent.revision).toBeGreaterThanOrEqual(ROWS);
    expect(sent.storedBytes).toBeLessThan(sent.bytes);
    const filled = await fill(from);
    expect(filled).toMatchObject({ name: sent.name, revision: sent.revision, fetched: chunksOf(sent.bytes) });
    const copy = await LdbWriter.open(at('new'));
    expect([copy.revision, copy.cluster, copy.hash === undefined]).toEqual([sent.revision, CLUSTER, false]);
    await copy.apply(fillRecords(copy.revision + 1, ROWS + 20 - copy.revision), CLUSTER);
    expect(copy.hash).toBe(writer.hash);
    await copy.close();
    expect(rowsIn('new')).toEqual(rowsIn('origin'));
    expect(existsSync(join(at('origin'), 'copy', 'data.mdb'))).toBe(false);
    // It is filled: nothing is done again.
    expect(await fill(from)).toBeUndefined();
  });

  test('is gone on with where it was broken off, and nothing half is ever shown', async () => {
    const { to, from } = await places();
    const sent = await sender(to).send();
    const count = chunksOf(sent.bytes);
    const stop = new AbortController();
    let done = 0;
    const broken = fill(from, { signal: stop.signal, onChunk: () => void (++done === 7 && stop.abort()) });
    await expect(broken).rejects.toMatchObject({ code: 'CANCELLED' });
    expect(hasLdb(at('new'))).toBe(false);
    // A newer copy is there by now; and a chunk that had arrived was damaged since.
    nowMs += 1_000;
    await writer.apply(fillRecords(ROWS + 1, 1), CLUSTER);
    await sender(to).send();
    const part = join(at('new'), 'bootstrap', 'data.mdb');
    const bytes = readFileSync(part);
    bytes.writeUInt8((bytes[100] as number) ^ 1, 100);
    writeFileSync(part, bytes);
    const filled = await fill(from);
    expect(filled).toMatchObject({ name: sent.name, revision: sent.revision });
    expect(filled?.fetched).toBeGreaterThanOrEqual(count - done + 1 - 3);
    expect(filled?.fetched).toBeLessThanOrEqual(count - done + 1);
    expect(Object.keys(rowsIn('new'))).toHaveLength(ROWS);
    expect(readdirSync(join(at('new'), 'bootstrap'))).toEqual([]);
  });
});

test('programs that have an empty replica open see what a copy brings', async () => {
  const objects = file('copies');
  await sender(objects).send();
  await (await LdbWriter.open(at('new'))).close();
  const reader = openLdb(at('new'), { besideWriter: true });
  expect([reader.revision, reader.count()]).toEqual([0, 0]);
  await fill(objects);
  await nextTurn();
  expect([reader.revision, reader.count()]).toEqual([ROWS, ROWS]);
  expect(dump(reader)).toEqual(rowsIn('origin'));
  reader.close();
});

test('a chunk that is damaged where it is kept fails, after some tries, and the replica stays away', async () => {
  const objects = bucket();
  const { name } = await sender(objects).send();
  const key = `bucket/a prefix/ldb/${chunkName(name, 3)}`;
  const chunk = s3.objects.get(key) as Buffer;
  // gzip finds nothing wrong with it.
  s3.objects.set(key, gzipSync(Buffer.alloc(CHUNK_BYTES, 1)));
  await expect(fill(objects)).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  expect(hasLdb(at('new'))).toBe(false);
  expect(s3.requests.filter((request) => request === `GET /${key}`)).toHaveLength(5);
  s3.objects.set(key, chunk);
  expect((await fill(objects))?.revision).toBe(ROWS);
});

test('a copy of another part, a manifest that was changed, and no copy at all, are told apart', async () => {
  const objects = file('copies');
  await expect(fill(objects)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  const { name } = await sender(objects).send();
  const filter = parseFilter({ prefixes: ['a/'] });
  await expect(fill(objects, { filter })).rejects.toMatchObject({ code: 'LDB_FOREIGN' });
  const path = join(at('copies'), manifestName(name));
  const whole = readFileSync(path);
  writeFileSync(path, whole.toString().replace('"revision":300', '"revision":301'));
  await expect(fill(objects)).rejects.toMatchObject({ code: 'LDB_CORRUPT' });
  // A manifest that is right by itself, of another file.
  const manifest = decodeManifest(whole, path);
  writeFileSync(path, encodeManifest({ ...manifest, revision: 299 }));
  await expect(fill(objects)).rejects.toMatchObject({ code: 'LDB_CORRUPT' });
  expect(hasLdb(at('new'))).toBe(false);
  expect(() => encodeManifest({ ...manifest, bytes: manifest.bytes + CHUNK_BYTES })).not.toThrow();
  expect(() => decodeManifest(encodeManifest({ ...manifest, bytes: manifest.bytes + CHUNK_BYTES }), 'x')).toThrow(
    'too few',
  );
});

test('copies are sent when they are due, also over restarts; the newest stay, and what was never finished goes', async () => {
  const objects = bucket();
  const names = async (): Promise<string[]> => (await objects.list()).filter((name) => name.endsWith('.json'));
  const abandoned = 'ldb-1700000000000-r5.000000.gz';
  await objects.put(abandoned, Buffer.from('x'));
  await objects.put('somebody-elses', Buffer.from('x'));
  const sent: string[] = [];
  const due = async (): Promise<void> => {
    const { promise, resolve, reject } = Promise.withResolvers<undefined>();
    const everyMs = 10;
    const onSent = ({ name }: { readonly name: string }): void => {
      sent.push(name);
      resolve(undefined);
    };
    const made = sender(objects, { revision: () => ROWS, everyMs, onSent, onFailed: reject });
    await promise;
    await made.stop();
  };
  for (let i = 0; i < 4; i++) {
    await due();
    nowMs += 10;
  }
  expect(new Set(sent).size).toBe(4);
  // Not due: a start looks, and sends nothing.
  nowMs -= 5;
  const before = s3.requests.length;
  const idle = sender(objects, { revision: () => ROWS, everyMs: 10, onSent: () => expect.unreachable() });
  while (s3.requests.length < before + 1) await nextTurn();
  await idle.stop();
  expect(await names()).toEqual(sent.slice(-2).map(manifestName));
  const left = await objects.list();
  expect(left).not.toContain(abandoned);
  expect(left).toContain('somebody-elses');
  expect((await fill(objects))?.name).toBe(sent.at(-1));
});

test('a server that is busy is asked again, a few times; one that refuses is not', async () => {
  const objects = bucket();
  let refusals = 3;
  s3.intercept = (request) => (request.startsWith('PUT') && refusals-- > 0 ? 503 : undefined);
  await sender(objects).send();
  s3.intercept = () => 500;
  await expect(fill(objects)).rejects.toMatchObject({
    code: 'UNAVAILABLE',
    message: expect.stringContaining('SlowDown'),
  });
  s3.intercept = () => undefined;
  const wrong = bucket({ AWS_SECRET_ACCESS_KEY: 'another' });
  s3.requests.length = 0;
  await expect(fill(wrong)).rejects.toMatchObject({
    code: 'FORBIDDEN',
    message: expect.stringContaining('SignatureDoesNotMatch'),
  });
  expect(s3.requests).toHaveLength(1);
  expect(() => openObjects('s3://bucket/x', { env: {} })).toThrow('AWS_ACCESS_KEY_ID');
  expect(() => openObjects('ftp://x', { env: {} })).toThrow('no place for copies');
  const away = bucket();
  await s3.stop();
  await expect(fill(away)).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  s3 = await S3Server.start();
});

test('a disk that cannot take a copy is told, and does not end the reflector', async () => {
  await sender(file('copies')).send();
  mkdirSync(at('new'));
  // Where its directory is to be.
  writeFileSync(join(at('new'), 'bootstrap'), '');
  const news: CopyNews[] = [];
  const copies = new Copies({
    dir: at('new'),
    bootstrap: pathToFileURL(at('copies')).href,
    filter: undefined,
    readers: [],
    revision: () => 0,
    onNews: (one) => news.push(one),
  });
  await copies.bootstrap(new AbortController().signal);
  expect(news).toEqual([{ kind: 'bootstrap', state: 'failed', reason: expect.stringContaining('EEXIST') }]);
});

test('what was deleted is not in a copy', async () => {
  await writer.apply(
    records(ROWS + 1, [put('secret', 'planted-secret')], [{ ...put('secret', ''), kind: 'delete' }]),
    CLUSTER,
  );
  const objects = file('copies');
  const sent = await sender(objects).send();
  await fill(objects);
  expect(sent.revision).toBe(toIndex(ROWS + 2));
  expect(readFileSync(join(at('new'), 'data.mdb')).includes('planted-secret')).toBe(false);
});
