/**
 * Opening and closing while things go on: the races that classic-level's own tests are about (segfault, cleanup of
 * hanging iterators, leaks), which there end in native code and here in a wrong answer or a wait for ever.
 */
import { describe, expect, test } from 'vitest';
import { MemoryDisk } from '../../src/engine/disk/memory-disk.ts';
import { SNAPSHOT_SLOTS } from '../../src/engine/lsm/shared/snapshots.ts';
import { CtlmeshLevel } from '../../src/level/index.ts';
import { closeLater, DIR, failure, memoryLevel, tempDir } from './support.ts';
import { SMALL } from './fixtures/small.ts';

/** What may be going on when a database is closed. */
const PENDING: Readonly<Record<string, (db: CtlmeshLevel) => Promise<unknown>>> = {
  get: (db) => db.get('key'),
  getMany: (db) => db.getMany(['key', 'other']),
  has: (db) => db.has('key'),
  put: (db) => db.put('key2', 'value'),
  'put with sync': (db) => db.put('key2', 'value', { sync: true }),
  del: (db) => db.del('key'),
  'del with sync': (db) => db.del('key', { sync: true }),
  batch: (db) => db.batch([{ type: 'del', key: 'key' }]),
  'batch with sync': (db) => db.batch([{ type: 'del', key: 'key' }], { sync: true }),
  'chained batch': (db) => db.batch().del('key').write(),
  clear: (db) => db.clear(),
  'clear with a limit': (db) => db.clear({ limit: 1000 }),
  'iterator.all': (db) => db.iterator().all(),
  flush: (db) => db.flush(),
  compact: (db) => db.compact(),
};

/** A database with a thousand entries and `key`, open. */
async function filled(db: CtlmeshLevel = memoryLevel()): Promise<CtlmeshLevel> {
  await db.open();
  const entries = Array.from({ length: 1000 }, (_, i) => ({ type: 'put', key: `a${i}`, value: '1' }) as const);
  await db.batch([...entries, { type: 'put', key: 'key', value: 'value' }]);
  return db;
}

describe('close waits for what is pending:', () => {
  test.each(Object.keys(PENDING))('%s', async (name) => {
    const db = await filled();
    const ended: string[] = [];
    const pending = PENDING[name]!(db).then(() => ended.push('operation'));
    await db.close().then(() => ended.push('close'));
    await pending;
    expect(ended).toEqual(['operation', 'close']);
  });

  test('all of it at once, on a real disk', async () => {
    const db = await filled(closeLater(new CtlmeshLevel(tempDir(), { engine: SMALL })));
    let ended = 0;
    const pending = Object.values(PENDING).map((begin) => begin(db).then(() => ended++));
    await db.close();
    expect(ended).toBe(pending.length);
  });

  test('a read that lets the event loop turn', async () => {
    const db = await filled();
    const ended: string[] = [];
    const reads = Promise.all(Array.from({ length: 3000 }, () => db.get('key'))).then(() => ended.push('reads'));
    await db.close().then(() => ended.push('close'));
    await reads;
    expect(ended).toEqual(['reads', 'close']);
  });
});

describe('opening and closing', () => {
  test('what was written before close is there after open, many times', async () => {
    const db = memoryLevel();
    for (let i = 0; i < 20; i++) {
      await db.open();
      await db.put(`k${i}`, `${i}`);
      await db.close();
    }
    await db.open();
    expect((await db.keys().all()).length).toBe(20);
  });

  test('calls that race end in the state that was asked for last', async () => {
    const db = memoryLevel();
    await Promise.all([db.open(), db.close(), db.open(), db.open(), db.close(), db.close(), db.open()]);
    expect(db.status).toBe('open');
    await Promise.all([db.close(), db.open(), db.close()]);
    expect(db.status).toBe('closed');
    expect(await failure(db.get('a'))).toBe('LEVEL_DATABASE_NOT_OPEN');
    expect(() => db.getSync('a')).toThrow('not open');
  });

  test('closed before it was open, it leaves nothing behind', async () => {
    const disk = new MemoryDisk();
    const db = memoryLevel({}, disk);
    const put = failure(db.put('a', '1'));
    await db.close();
    expect(await put).toBe('LEVEL_DATABASE_NOT_OPEN');
    expect(disk.exists('/db')).toBe(false);
  });

  test('a failed open can be tried again', async () => {
    const disk = new MemoryDisk();
    const db = memoryLevel({}, disk);
    disk.failNext({ op: 'open', code: 'EACCES' });
    const error = (await db.open().catch((error: unknown) => error)) as { cause?: { code?: string } };
    expect(error.cause?.code).toBe('LEVEL_IO_ERROR');
    await db.open();
    await db.put('a', '1');
    expect(db.getSync('a')).toBe('1');
  });
});

describe('iterators that nobody closed', () => {
  const ways: Readonly<Record<string, (db: CtlmeshLevel) => unknown>> = {
    'not begun': (db) => db.iterator(),
    'one read': (db) => db.iterator().next(),
    'one read, nothing ahead': (db) => db.iterator({ highWaterMarkBytes: 0 }).next(),
    keys: (db) => db.keys().nextv(5),
    values: (db) => db.values({ reverse: true }).next(),
    'a snapshot': (db) => db.snapshot(),
  };

  test.each(Object.keys(ways))('%s: 400 of them do not keep the database from closing', async (way) => {
    const db = await filled();
    await Promise.all(Array.from({ length: 400 }, () => ways[way]!(db)));
    await db.close();
    await db.open();
    expect(await db.get('key')).toBe('value');
  });

  test('one that is always read again ends with the close', async () => {
    const db = await filled();
    const iterator = db.iterator({ highWaterMarkBytes: 0 });
    const reading = (async () => {
      // As good as always, but a test that fails has to end.
      for (let i = 0; i < 300_000; i++) {
        if ((await iterator.next()) === undefined) return 'end';
        iterator.seek('a0');
      }
      return 'starved';
    })();
    await new Promise((resolve) => setImmediate(resolve));
    await db.close();
    expect(await failure(reading)).toBe('LEVEL_ITERATOR_NOT_OPEN');
  });

  test('a loop that is left closes its iterator', async () => {
    const db = await filled();
    for (let i = 0; i <= SNAPSHOT_SLOTS; i++) {
      // Each at a revision of its own: were they kept, the snapshots would run out.
      await db.put('key', `${i}`);
      for await (const [key] of db.iterator()) {
        expect(key).toBe('a0');
        break;
      }
    }
  });

  test('closed iterators let go of old versions, open ones keep them', async () => {
    const disk = new MemoryDisk();
    const db = memoryLevel({ compression: false }, disk);
    const iterators: { close(): Promise<void> }[] = [];
    for (let i = 0; i < 100; i++) {
      await db.put('key', `${i}`.padEnd(1000, 'v'));
      const iterator = db.iterator();
      await iterator.next();
      iterators.push(iterator);
    }
    const tableBytes = async (): Promise<number> => {
      await db.compact();
      const sizes = disk.list(DIR).filter((name) => name.endsWith('.ldb'));
      return sizes.reduce((sum, name) => sum + sizeOf(disk, `${DIR}/${name}`), 0);
    };
    expect(await tableBytes()).toBeGreaterThan(100_000);
    for (const iterator of iterators) await iterator.close();
    await db.put('key', '1');
    expect(await tableBytes()).toBeLessThan(3000);
  });
});

function sizeOf(disk: MemoryDisk, path: string): number {
  const file = disk.open(path, 'read');
  const size = file.size();
  file.close();
  return size;
}

test('a snapshot outlives a thousand overwrites, flushes and a compaction; one too many is refused by name', async () => {
  const db = await filled();
  const snapshot = db.snapshot();
  for (let i = 0; i < 1000; i++) await db.put('key', `${i}`);
  await db.clear({ gte: 'a', lt: 'b' });
  await db.compact();
  expect(await db.get('key', { snapshot })).toBe('value');
  expect((await db.keys({ snapshot }).all()).length).toBe(1001);
  expect(await db.keys().all()).toEqual(['key']);
  const held = [snapshot];
  const takeOne = async (): Promise<void> => {
    await db.put('key', '1');
    held.push(db.snapshot());
  };
  for (let i = 1; i < SNAPSHOT_SLOTS; i++) await takeOne();
  expect(await failure(takeOne())).toBe('LEVEL_OVERLOADED');
  for (const one of held) await one.close();
  await takeOne();
});
