import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Client, LedgerFrame, LedgerOptions } from '../../src/client/types.ts';
import { StoreError } from '../../src/core/base/errors.ts';
import { openLdb } from '../../src/engine/ldb/index.ts';
import { LdbWriter } from '../../src/engine/ldb/writer.ts';
import { type ReflectorNews, type RunningReflector, startReflector } from '../../src/reflector/index.ts';
import type { StartReflectorOptions } from '../../src/reflector/options.ts';
import { dump, put, records, StreamModel, streamRecords, temporaryDir, timeOf } from '../engine/ldb/ledger.ts';

const HELLO: LedgerFrame = { kind: 'hello', cluster: 'c1', node: 'n1' };
const of = (bytes: Uint8Array): LedgerFrame => ({ kind: 'records', bytes });

let dir: ReturnType<typeof temporaryDir>;
let running: RunningReflector[];
let news: ReflectorNews[];
let nowMs: number;

beforeEach(() => {
  dir = temporaryDir();
  running = [];
  news = [];
  nowMs = timeOf(0);
});

afterEach(async () => {
  for (const reflector of running) await reflector.stop();
  dir.remove();
});

/** A cluster that streams these frames and then stays silent; an Error is thrown where it stands. */
function cluster(frames: readonly (LedgerFrame | Error)[]): NonNullable<StartReflectorOptions['connect']> {
  async function* ledger({ signal }: LedgerOptions): AsyncGenerator<LedgerFrame> {
    for (const frame of frames) {
      if (frame instanceof Error) throw frame;
      yield frame;
    }
    await new Promise((_, reject) => {
      const end = (): void => reject(new StoreError('CANCELLED', 'stopped'));
      if (signal?.aborted === true) end();
      signal?.addEventListener('abort', end, { once: true });
    });
  }
  return async () => ({ ledger, close: async () => {} }) as unknown as Client;
}

async function start(options: Partial<StartReflectorOptions>): Promise<RunningReflector> {
  const reflector = await startReflector({
    endpoints: ['ws://h:1'],
    dir: dir.path,
    nowMs: () => nowMs,
    retryDelayMs: 1,
    retryDelayMsMax: 4,
    onEvent: (event) => news.push(event),
    ...options,
  });
  running.push(reflector);
  return reflector;
}

async function until(what: string, holds: () => boolean): Promise<void> {
  for (let i = 0; !holds(); i++) {
    if (i > 1_000) throw new Error(`${what} never came true`);
    await sleep(5);
  }
}

/** A port that was free a moment ago. */
async function freeUrl(): Promise<string> {
  const { createServer } = await import('node:net');
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((done) => server.once('listening', done));
  const { port } = server.address() as { port: number };
  await new Promise((done) => server.close(done));
  return `http://127.0.0.1:${port}`;
}

async function ask(url: string): Promise<{ status: number; text: string }> {
  const response = await fetch(url);
  return { status: response.status, text: await response.text() };
}

test('it fills a replica in a directory that it makes, parents and all, and closes it when it stops', async () => {
  const deep = join(dir.path, 'a', 'b', 'ldb');
  const reflector = await start({ dir: deep, connect: cluster([HELLO, of(streamRecords(1, 20))]) });
  await until('the replica is filled', () => reflector.status.revision === 20);
  expect(reflector.status).toMatchObject({ isFollowing: true, records: 20, retries: 0 });
  await reflector.stop();
  await reflector.stop();
  const ldb = openLdb(deep);
  expect(dump(ldb)).toEqual(new StreamModel().advanceTo(20).dump());
  ldb.close();
  const writer = await LdbWriter.open(deep);
  await writer.close();
});

test('/readyz follows the lag, and each change of it is told once', async () => {
  const http = await freeUrl();
  const reflector = await start({ http, maxLagMs: 1_000, connect: cluster([HELLO, of(records(1, [put('a', 'x')]))]) });
  nowMs = timeOf(1) + 400;
  await until('it is filled', () => reflector.status.revision === 1);
  expect(await ask(`${http}/readyz`)).toMatchObject({
    status: 200,
    text: expect.stringContaining('400 ms (at most 1000 ms)') as string,
  });
  expect((await ask(`${http}/healthz`)).status).toBe(200);
  nowMs = timeOf(1) + 1_001;
  expect(await ask(`${http}/readyz`)).toMatchObject({ status: 503 });
  const freshness = (): ReflectorNews[] => news.filter((event) => event.kind === 'freshness');
  await until('the change is told', () => freshness().length === 2);
  nowMs = timeOf(1);
  await until('and the change back', () => freshness().length === 3);
  await sleep(20);
  expect(freshness().map((event) => event.kind === 'freshness' && event.isFresh)).toEqual([true, false, true]);
});

test('/metrics counts what it does', async () => {
  const http = await freeUrl();
  const reflector = await start({ http, connect: cluster([HELLO, of(streamRecords(1, 3)), of(streamRecords(9, 1))]) });
  await until('the gap is met twice', () => reflector.status.retries >= 2);
  const { text } = await ask(`${http}/metrics`);
  expect(text).toMatch(/^ctlmesh_ldb_revision 3$/m);
  expect(text).toMatch(/^ctlmesh_ldb_records_total 3$/m);
  expect(text).toMatch(/^ctlmesh_ldb_retries_total [1-9]/m);
  expect((await ask(`${http}/nothing`)).status).toBe(404);
});

test('before its cluster is there it is alive, not ready, and says what it waits for', async () => {
  const http = await freeUrl();
  const connect = async (): Promise<never> => {
    throw new StoreError('UNAVAILABLE', 'nobody answers');
  };
  const reflector = await start({ http, connect });
  await until('it has tried', () => reflector.status.retries > 1);
  expect((await ask(`${http}/healthz`)).status).toBe(200);
  const ready = await ask(`${http}/readyz`);
  expect(ready.status).toBe(503);
  expect(JSON.parse(ready.text)).toMatchObject({ checks: { stream: 'waiting: nobody answers', revision: '0' } });
});

test('what it cannot get over is told, answered as unhealthy, and leaves nothing open', async () => {
  const writer = await LdbWriter.open(dir.path);
  await writer.apply(streamRecords(1, 2), 'another');
  await writer.close();
  const http = await freeUrl();
  const reflector = await start({ http, connect: cluster([HELLO]) });
  expect(await reflector.failed).toMatchObject({ code: 'LDB_FOREIGN' });
  expect((await ask(`${http}/healthz`)).status).toBe(503);
  expect((await ask(`${http}/readyz`)).status).toBe(503);
  await reflector.stop();
  await expect(fetch(`${http}/healthz`)).rejects.toThrow();
});

test('an address that is taken is said at the start, and nothing runs', async () => {
  const http = await freeUrl();
  await start({ http, connect: cluster([HELLO]) });
  const other = join(dir.path, 'other');
  await expect(start({ http, dir: other, connect: cluster([HELLO]) })).rejects.toMatchObject({ code: 'EADDRINUSE' });
  expect(existsSync(other)).toBe(false);
});

test('no node to follow is refused', async () => {
  await expect(start({ endpoints: [] })).rejects.toMatchObject({ code: 'BAD_REQUEST' });
});
