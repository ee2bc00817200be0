/**
 * What CtlmeshLevel has beyond abstract-level, and how it says what goes wrong. (The common part: compliance.test.ts.)
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { ClassicLevel } from 'classic-level';
import { describe, expect, test } from 'vitest';
import { isStoreError } from '../../src/core/base/errors.ts';
import { MemoryDisk } from '../../src/engine/disk/memory-disk.ts';
import DefaultLevel, { CtlmeshLevel, LevelError, type PutOptions } from '../../src/level/index.ts';
import { closeLater, DIR, failure, memoryLevel, tempDir } from './support.ts';
import { SMALL } from './fixtures/small.ts';

test('the default export is the class', () => {
  expect(DefaultLevel).toBe(CtlmeshLevel);
});

test.each([[''], [undefined], [1]])('a location is a non-empty string, not %j', (location) => {
  expect(() => new CtlmeshLevel(location as string)).toThrow(TypeError);
});

describe('expiry', () => {
  test('a value with a time to live is there until then, also for a reopened database', async () => {
    let nowMs = 1000;
    const disk = new MemoryDisk();
    const open = (): CtlmeshLevel => memoryLevel({ engine: { nowMs: () => nowMs } }, disk);
    let db = open();
    await db.put('short', '1', { ttlMs: 50 });
    await db.put('until', '2', { expiryMs: 1500 });
    await db.put('kept', '3');
    nowMs = 1049;
    expect(await db.get('short')).toBe('1');
    await db.close();
    db = open();
    await db.open();
    expect(db.getSync('short')).toBe('1');
    nowMs = 1050;
    expect(await db.getMany(['short', 'until', 'kept'])).toEqual([undefined, '2', '3']);
    expect(await db.hasMany(['short', 'until', 'kept'])).toEqual([false, true, true]);
    nowMs = 1500;
    expect(await db.keys().all()).toEqual(['kept']);
  });

  test('in a batch it is of one operation, or the default of all; in a sublevel it is the same', async () => {
    let nowMs = 1000;
    const db = memoryLevel({ engine: { nowMs: () => nowMs } });
    await db.batch([
      { type: 'put', key: 'a', value: '1', ttlMs: 10 },
      { type: 'put', key: 'b', value: '1' },
    ]);
    await db.batch(
      [
        { type: 'put', key: 'c', value: '1' },
        { type: 'del', key: 'b' },
      ],
      { ttlMs: 20 },
    );
    const sub = db.sublevel('s');
    const options: PutOptions<string, string> = { ttlMs: 30 };
    await sub.put('d', '1', options);
    const keys: string[][] = [];
    for (nowMs of [1009, 1010, 1020, 1030]) keys.push(await db.keys().all());
    expect(keys).toEqual([['!s!d', 'a', 'c'], ['!s!d', 'c'], ['!s!d'], []]);
  });

  test('a snapshot has its own time: what is in it stays', async () => {
    let nowMs = 1000;
    const db = memoryLevel({ engine: { nowMs: () => nowMs } });
    await db.put('a', '1', { ttlMs: 10 });
    const snapshot = db.snapshot();
    const iterator = db.iterator();
    nowMs = 2000;
    expect(await db.get('a')).toBeUndefined();
    expect(await db.get('a', { snapshot })).toBe('1');
    expect(await iterator.all()).toEqual([['a', '1']]);
    await snapshot.close();
  });

  test.each([{ ttlMs: 0 }, { ttlMs: -1 }, { ttlMs: Number.NaN }, { expiryMs: 0 }, { ttlMs: 1, expiryMs: 1 }])(
    '%j is no time',
    async (options) => {
      const db = memoryLevel();
      expect(await failure(db.put('a', '1', options))).toBe('TypeError');
      expect(await db.get('a')).toBeUndefined();
    },
  );
});

test('the empty key is a key: the first', async () => {
  const db = memoryLevel();
  await db.batch(['', '\u0000', 'a'].map((key) => ({ type: 'put', key, value: `=${key}` })));
  await db.flush();
  await db.put('b', '=b');
  expect([db.getSync(''), await db.has(''), await db.getMany([''])]).toEqual(['=', true, ['=']]);
  expect(await db.keys().all()).toEqual(['', '\u0000', 'a', 'b']);
  expect(await db.keys({ gt: '' }).all()).toEqual(['\u0000', 'a', 'b']);
  expect(await db.keys({ lte: '', reverse: true }).all()).toEqual(['']);
  await db.clear({ lt: '' });
  expect(await db.has('')).toBe(true);
  await db.clear({ lte: '' });
  expect(await db.keys().all()).toEqual(['\u0000', 'a', 'b']);
});

describe('durability', () => {
  test('what was written with sync outlives a power cut; what was not, a crash', async () => {
    for (const keep of ['none', 'all'] as const) {
      const disk = new MemoryDisk();
      const db = memoryLevel({}, disk);
      await db.put('synced', '1', { sync: true });
      await db.put('written', '2');
      disk.crash({ keep });
      const again = memoryLevel({}, disk);
      await again.open();
      expect(await again.getMany(['synced', 'written'])).toEqual(['1', keep === 'all' ? '2' : undefined]);
    }
  });

  test('sync may be the default of a database', async () => {
    const disk = new MemoryDisk();
    const db = memoryLevel({ sync: true }, disk);
    await db.open();
    await db.batch().put('a', '1').write();
    await db.put('b', '2', { sync: false });
    disk.crash({ keep: 'none' });
    const again = memoryLevel({}, disk);
    expect(await again.keys().all()).toEqual(['a']);
  });
});

describe('failures have the codes of level', () => {
  test('a directory has one database', async () => {
    const dir = tempDir();
    const first = closeLater(new CtlmeshLevel(dir, { engine: SMALL }));
    await first.open();
    const second = closeLater(new CtlmeshLevel(dir, { engine: SMALL }));
    const error = (await second.open().catch((error: unknown) => error)) as LevelError;
    expect(error.code).toBe('LEVEL_DATABASE_NOT_OPEN');
    expect(error.cause).toBeInstanceOf(LevelError);
    expect((error.cause as LevelError).code).toBe('LEVEL_LOCKED');
    expect(isStoreError((error.cause as LevelError).cause, 'DIR_LOCKED')).toBe(true);
    await first.close();
    await second.open();
  });

  test('a damaged table is LEVEL_CORRUPTION, to gets and to iterators', async () => {
    const disk = new MemoryDisk();
    const options = { compression: false, cacheSize: 0, engine: { tableCacheBytes: 0 } };
    const db = memoryLevel(options, disk);
    await db.batch(Array.from({ length: 200 }, (_, i) => ({ type: 'put', key: `k${i}`, value: 'v'.repeat(100) })));
    await db.flush();
    await db.close();
    const table = disk.list(DIR).find((name) => name.endsWith('.ldb'));
    disk.flipBit(`${DIR}/${table}`, 1000, 0);
    const again = memoryLevel(options, disk);
    await again.open();
    expect(await failure(again.iterator().all())).toBe('LEVEL_CORRUPTION');
    const gets = await Promise.all(Array.from({ length: 200 }, (_, i) => failure(again.get(`k${i}`))));
    expect(new Set(gets)).toEqual(new Set(['LEVEL_CORRUPTION', 'none']));
  });

  test('a disk that fails is LEVEL_IO_ERROR, for this write and those after it', async () => {
    const disk = new MemoryDisk();
    const db = memoryLevel({}, disk);
    await db.open();
    disk.failNext({ op: 'fdatasync', code: 'EIO' });
    expect(await failure(db.put('a', '1', { sync: true }))).toBe('LEVEL_IO_ERROR');
    expect(await failure(db.put('b', '1'))).toBe('LEVEL_IO_ERROR');
  });

  test('a key or a value that is too long', async () => {
    const db = memoryLevel();
    expect(await failure(db.put('k'.repeat(40_000), '1'))).toBe('LEVEL_INVALID_KEY');
    expect(await failure(db.batch([{ type: 'put', key: 'a', value: 'v'.repeat(2_000_000) }]))).toBe(
      'LEVEL_INVALID_VALUE',
    );
    expect(await db.keys().all()).toEqual([]);
  });

  test('options that cannot be', async () => {
    const db = memoryLevel({ engine: { memtables: 1 } });
    const error = (await db.open().catch((error: unknown) => error)) as LevelError;
    expect((error.cause as LevelError).code).toBe('LEVEL_CONFIG_INVALID');
  });

  test('a snapshot of another kind of database', async () => {
    const db = memoryLevel();
    await db.open();
    const snapshot = { ref: () => undefined, unref: () => undefined } as never;
    expect(await failure(db.get('a', { snapshot }))).toBe('TypeError');
  });
});

describe('upkeep', () => {
  test('flush and compact move entries into tables, whatever state the database is in', async () => {
    const db = memoryLevel();
    void db.put('a', '1');
    await db.compact(); // Waits for the opening, as every call.
    await db.put('b', '2');
    await db.flush();
    expect(db.stats().memtableBytes).toBe(0);
    expect(db.stats().flushedRevision).toBe(db.stats().revision);
    expect(await db.iterator().all()).toEqual([
      ['a', '1'],
      ['b', '2'],
    ]);
    await db.close();
    expect(await failure(db.flush())).toBe('LEVEL_DATABASE_NOT_OPEN');
    expect(() => db.stats()).toThrow('not open');
  });

  test('a checkpoint is a database that LevelDB opens: what was there at the call', async () => {
    const dir = tempDir();
    const db = closeLater(new CtlmeshLevel(join(dir, 'db'), { engine: SMALL }));
    await db.put('a', '1');
    await db.checkpoint(join(dir, 'copy'));
    await db.put('a', '2');
    const copy = closeLater(new ClassicLevel<string, Uint8Array>(join(dir, 'copy'), { valueEncoding: 'view' }));
    // In a table a value stands behind its flags: none.
    expect(await copy.iterator().all()).toEqual([['a', Buffer.from('\u00001')]]);
  });

  test("classic-level's names for sizes are understood, and the engine's count before them", async () => {
    const dir = tempDir();
    const db = closeLater(
      new CtlmeshLevel(dir, {
        writeBufferSize: 64 * 1024,
        maxFileSize: 8192,
        engine: { ...SMALL, memtableBytes: 32_768 },
      }),
    );
    await db.open();
    const value = 'v'.repeat(1000);
    for (let i = 0; i < 50; i++) await db.put(`k${i}`, `${value}${i}`);
    await db.flush();
    // One memtable of 64 KiB would have held all of it.
    expect(readdirSync(dir).filter((name) => name.endsWith('.ldb')).length).toBeGreaterThan(1);
    expect(db.location).toBe(dir);
    expect(readdirSync(join(dir, 'wal')).length).toBeGreaterThan(0);
  });
});
