/**
 * Iterators beyond abstract-level's suite: what is read ahead, marks, turns of the event loop, signals.
 */
import { beforeEach, describe, expect, test } from 'vitest';
import type { CtlmeshLevel } from '../../src/level/index.ts';
import { failure, memoryLevel } from './support.ts';

let db: CtlmeshLevel;

beforeEach(async () => {
  db = memoryLevel();
  await db.open();
});

describe('reading ahead', () => {
  beforeEach(() => db.batch(['a', 'b', 'c', 'd'].map((key) => ({ type: 'put', key, value: '0' }))));

  test('not for the first item, nor for the first after a seek', async () => {
    const iterator = db.iterator();
    const seen: unknown[] = [];
    for (const target of [undefined, 'c']) {
      if (target !== undefined) iterator.seek(target);
      seen.push(iterator.cached, await iterator.next(), iterator.cached, await iterator.next(), iterator.cached);
    }
    const expected = [0, ['a', '0'], 0, ['b', '0'], 2, 0, ['c', '0'], 0, ['d', '0'], 0];
    expect(seen).toEqual(expected);
  });

  test.each([1, 10])('nextv(%i) goes on with what was read ahead', async (size) => {
    const iterator = db.keys();
    const seen = [await iterator.next(), await iterator.next()];
    for (let keys = await iterator.nextv(size); keys.length > 0; keys = await iterator.nextv(size)) seen.push(...keys);
    expect(seen).toEqual(['a', 'b', 'c', 'd']);
  });

  test('what a seek throws away does not count for the limit', async () => {
    const iterator = db.keys({ limit: 4 });
    const seen = [await iterator.next(), await iterator.next()];
    iterator.seek('a');
    seen.push(...(await iterator.all()));
    expect(seen).toEqual(['a', 'b', 'a', 'b']);
  });

  test('no further than the limit', async () => {
    const iterator = db.iterator({ limit: 3 });
    await iterator.next();
    await iterator.next();
    expect(iterator.cached).toBe(1);
  });
});

describe('highWaterMarkBytes', () => {
  beforeEach(() => db.batch(['a', 'b', 'c', 'd'].map((key) => ({ type: 'put', key, value: '0' }))));

  test.each([
    [0, 1],
    [1, 1],
    [2, 2],
    [4, 3],
    [Number.POSITIVE_INFINITY, 4],
    [undefined, 4],
  ])('%s: it must be exceeded to end nextv', async (highWaterMarkBytes, count) => {
    expect((await db.iterator({ highWaterMarkBytes }).nextv(1000)).length).toBe(count);
    expect((await db.iterator({ highWaterMarkBytes }).all()).length).toBe(4);
    const iterator = db.iterator({ highWaterMarkBytes });
    await iterator.next();
    await iterator.next();
    expect(1 + iterator.cached).toBe(Math.min(count, 3));
  });

  test('keys and values count what they give', async () => {
    expect(await db.keys({ highWaterMarkBytes: 1 }).nextv(1000)).toEqual(['a', 'b']);
    expect(await db.values({ highWaterMarkBytes: 1 }).nextv(1000)).toEqual(['0', '0']);
  });

  test('is a number of bytes', () => {
    expect(() => db.iterator({ highWaterMarkBytes: -1 })).toThrow(TypeError);
    expect(() => db.iterator({ highWaterMarkBytes: Number.NaN })).toThrow(TypeError);
  });
});

describe('many entries', () => {
  const COUNT = 10_000;
  const keys = Array.from({ length: COUNT }, (_, i) => `${i}`.padStart(5, '0'));

  beforeEach(() => db.batch(keys.map((key) => ({ type: 'put', key, value: '' }))));

  /** Runs `work`; gives its result and how often the event loop turned meanwhile. */
  async function turnsOf<T>(work: () => Promise<T>): Promise<{ result: T; turns: number }> {
    let turns = 0;
    let isRunning = true;
    const turn = (): void => {
      turns++;
      if (isRunning) setImmediate(turn);
    };
    setImmediate(turn);
    const result = await work();
    isRunning = false;
    return { result, turns };
  }

  const ways: Readonly<Record<string, () => Promise<string[]>>> = {
    'for await': async () => {
      const seen: string[] = [];
      for await (const [key] of db.iterator()) seen.push(key);
      return seen;
    },
    all: () => db.keys().all(),
    'one nextv': () => db.keys().nextv(COUNT),
    'nextv by nextv': async () => {
      const iterator = db.keys();
      const seen: string[] = [];
      for (let some = await iterator.nextv(7); some.length > 0; some = await iterator.nextv(7)) seen.push(...some);
      return seen;
    },
    seeks: async () => {
      const iterator = db.keys();
      const seen: string[] = [];
      for (const key of keys) {
        iterator.seek(key);
        seen.push((await iterator.next()) as string);
      }
      return seen;
    },
    gets: async () => {
      const seen: string[] = [];
      for (const key of keys) if ((await db.get(key)) !== undefined) seen.push(key);
      return seen;
    },
    has: async () => {
      const seen: string[] = [];
      for (const key of keys) if (await db.has(key)) seen.push(key);
      return seen;
    },
  };

  test.each(Object.keys(ways))('%s: all are seen, and the event loop turns meanwhile', async (way) => {
    const { result, turns } = await turnsOf(ways[way]!);
    expect(result).toEqual(keys);
    expect(turns).toBeGreaterThanOrEqual(9);
  });

  test('a signal ends a read that is under way', async () => {
    for (const read of ['all', 'nextv', 'next'] as const) {
      const controller = new AbortController();
      const iterator = db.iterator({ signal: controller.signal });
      const reading = read === 'nextv' ? iterator.nextv(COUNT) : iterator[read]();
      if (read === 'next') controller.abort();
      else setImmediate(() => controller.abort());
      expect(await failure(reading)).toBe('LEVEL_ABORTED');
      expect(await failure(iterator.nextv(1))).toBe(read === 'all' ? 'LEVEL_ITERATOR_NOT_OPEN' : 'LEVEL_ABORTED');
      await iterator.close();
    }
  });

  test('an iterator sees what was there when it was made, through pauses, flushes and compactions', async () => {
    const iterator = db.keys({ reverse: true });
    const seen: string[] = [];
    for (let some = await iterator.nextv(1000); some.length > 0; some = await iterator.nextv(1000)) {
      seen.push(...some);
      await db.clear({ gte: some[0]!.slice(0, 2), limit: 500 });
      await db.put(`${seen.length}x`, '1');
      if (seen.length % 4000 === 0) await db.compact();
      else await db.flush();
    }
    expect(seen).toEqual(keys.toReversed());
  });
});

test('bounds are kept, whatever becomes of the bytes they were given as', async () => {
  const bytes = memoryLevel<Uint8Array, Uint8Array>({ keyEncoding: 'view', valueEncoding: 'view' });
  await bytes.open();
  for (const byte of [1, 2, 3]) await bytes.put(Uint8Array.of(byte), Uint8Array.of(byte));
  const gte = Uint8Array.of(2);
  const iterator = bytes.keys({ gte });
  gte[0] = 9;
  expect(await iterator.all()).toEqual([Uint8Array.of(2), Uint8Array.of(3)]);
});
