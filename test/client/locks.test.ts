/** Locks over the model, in fake time: who has it, since when, and what is believed when nothing is known. */
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Locks } from '../../src/client/locks.ts';
import type { Lock, LockOptions } from '../../src/client/types.ts';
import { isStoreError, StoreError } from '../../src/core/base/errors.ts';
import { below, forSeeds, pick, seeded } from '../core/base/seeded.ts';
import { put } from '../core/model/model.ts';
import { type Fate, type ModelClient, ModelStore } from './model-client.ts';

const TTL = 3_000;
let store: ModelStore;

beforeEach(() => {
  vi.useFakeTimers({
    toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'performance'],
    now: 5_000,
  });
  store = new ModelStore();
});

afterEach(() => {
  store.close();
  vi.restoreAllMocks();
  vi.useRealTimers();
});

interface Member {
  readonly client: ModelClient;
  readonly locks: Locks;
  readonly lock: (options?: LockOptions) => Promise<Lock>;
}

function member(): Member {
  const client = store.client();
  const locks = new Locks(client, 10_000);
  return { client, locks, lock: (options = {}) => locks.lock('job', { ttlMs: TTL, ...options }) };
}

const pass = (ms: number): Promise<unknown> => vi.advanceTimersByTimeAsync(ms);
/** Everything that needs no time to go by. */
const settle = (): Promise<unknown> => pass(0);
const queue = (): string[] => store.entries('ctlmesh/locks/').map((entry) => entry.keyText());

/** The lock, or the code with which it was refused; undefined: it waits. */
function outcome(asked: Promise<Lock>): { lock?: Lock; code?: string } {
  const seen: { lock?: Lock; code?: string } = {};
  const wait = async (): Promise<void> => {
    try {
      seen.lock = await asked;
    } catch (error) {
      seen.code = error instanceof StoreError ? error.code : String(error);
    }
  };
  void wait();
  return seen;
}

const fenced = async (client: ModelClient, lock: Lock, value: string): Promise<boolean> =>
  (await client.txn((t) => t.if(lock.condition()).put('guarded', value))).succeeded;

describe('a lock', () => {
  test('that is free is had at once: its token is the revision that queued up, its condition holds until it is released', async () => {
    const a = member();
    const lock = await a.lock();
    expect(lock.token).toBe(1);
    expect(queue()).toEqual([lock.key]);
    expect(lock.isHeld).toBe(true);
    expect(await fenced(a.client, lock, '1')).toBe(true);
    await lock.release();
    expect(queue()).toEqual([]);
    expect(lock.isHeld).toBe(false);
    expect(lock.lost.reason).toMatchObject({ code: 'LOCK_LOST', data: { reason: 'released', token: 1 } });
    expect(await fenced(a.client, lock, '2')).toBe(false);
    await lock.release();
    const next = await a.lock();
    expect(next.token).toBeGreaterThan(lock.token);
    expect(next.key).not.toBe(lock.key);
    await next.release();
  });

  test('is had by who came first, and a release wakes one client, which reads the queue once at most', async () => {
    const members = Array.from({ length: 5 }, member);
    const asked: { lock?: Lock; code?: string }[] = [];
    for (const each of members) {
      asked.push(outcome(each.lock()));
      await settle();
    }
    const held = (): number[] => asked.flatMap(({ lock }, i) => (lock?.isHeld === true ? [i] : []));
    const tokens: number[] = [];
    for (const [i, each] of asked.entries()) {
      expect(held()).toEqual([i]);
      tokens.push(each.lock?.token ?? 0);
      const before = members.map(({ client }) => client.calls.length);
      await each.lock?.release();
      await settle();
      const woken = members.map(({ client }, j) => client.calls.slice(before[j]));
      // The second in the queue has it by the news alone; those further back look once who is left; the others sleep.
      woken[i] = [];
      expect(woken).toEqual(members.map((_, j) => (j === i + 1 && i > 0 ? ['range'] : [])));
    }
    expect(tokens).toEqual(tokens.toSorted((a, b) => a - b));
  });

  test('is kept for as long as it is wanted, with the same token, while others wait', async () => {
    const [a, b] = [member(), member()];
    const lock = await a.lock();
    const waiting = outcome(b.lock({ deadlineMs: Number.POSITIVE_INFINITY }));
    for (let i = 0; i < 40; i++) {
      await pass(TTL / 4);
      expect(lock.isHeld).toBe(true);
    }
    expect(await fenced(a.client, lock, 'x')).toBe(true);
    expect(waiting.lock).toBeUndefined();
    await lock.release();
    await settle();
    expect(waiting.lock?.token).toBeGreaterThan(lock.token);
    await waiting.lock?.release();
  });

  test('of a name with slashes is another than that of a part of it', async () => {
    const { locks } = member();
    const all = await Promise.all(['a', 'a/b', 'a%2Fb', 'a/b/'].map((name) => locks.lock(name, { waitMs: 0 })));
    expect(new Set(all.map(({ key }) => key.slice(0, key.lastIndexOf('/')))).size).toBe(4);
    await Promise.all(all.map((lock) => lock.release()));
  });

  test('refuses what is no name and no time', async () => {
    const { locks } = member();
    for (const [name, options] of [
      ['', {}],
      ['n', { ttlMs: 999 }],
      ['n', { ttlMs: 1_500.5 }],
      ['n', { ttlMs: 25 * 60 * 60 * 1000 }],
      ['n', { deadlineMs: -1 }],
      ['n', { waitMs: Number.NaN }],
    ] as const) {
      expect(outcome(locks.lock(name, options))).toEqual({});
      await expect(locks.lock(name, options)).rejects.toMatchObject({ code: 'BAD_REQUEST' });
    }
    expect(store.records).toEqual([]);
  });
});

describe('who waits', () => {
  test('gives up at the deadline, at once with waitMs 0, and when it is cancelled; and leaves nothing', async () => {
    const [a, b] = [member(), member()];
    const lock = await a.lock();
    const stop = new AbortController();
    const late = outcome(b.lock({ deadlineMs: 1_000 }));
    const hasty = outcome(b.lock({ waitMs: 0 }));
    const stopped = outcome(b.lock({ signal: stop.signal }));
    await settle();
    expect(hasty.code).toBe('DEADLINE_EXCEEDED');
    expect(queue()).toHaveLength(3);
    stop.abort();
    await settle();
    expect(stopped.code).toBe('CANCELLED');
    await pass(999);
    expect(late).toEqual({});
    await pass(1);
    expect(late.code).toBe('DEADLINE_EXCEEDED');
    await settle();
    expect(queue()).toEqual([lock.key]);
    await lock.release();
  });

  test('behind one who leaves waits for the one before', async () => {
    const [a, b, c] = [member(), member(), member()];
    const lock = await a.lock();
    const stop = new AbortController();
    const second = outcome(b.lock({ signal: stop.signal }));
    await settle();
    const third = outcome(c.lock());
    await settle();
    stop.abort();
    await settle();
    expect([second.code, third.lock]).toEqual(['CANCELLED', undefined]);
    await lock.release();
    await settle();
    expect(third.lock?.isHeld).toBe(true);
    await third.lock?.release();
  });

  test('loses its place when it stands still for too long, and queues up again', async () => {
    const [a, b] = [member(), member()];
    const lock = await a.lock();
    const waiting = outcome(b.lock({ deadlineMs: 60_000 }));
    await settle();
    const [, first] = queue().toSorted((x) => (x === lock.key ? -1 : 1));
    b.client.fate = () => 'hangs';
    await pass(TTL + 100);
    b.client.fate = () => 'done';
    await pass(TTL);
    expect(queue()).toHaveLength(2);
    expect(queue()).not.toContain(first);
    await lock.release();
    await settle();
    expect(waiting.lock?.isHeld).toBe(true);
    await waiting.lock?.release();
  });

  test('is refused when a thousand and twenty-four are there already', async () => {
    for (let i = 0; i < 1024; i++) store.apply(put(`ctlmesh/locks/job/${i}`, '0 ', { timeMs: performance.now() }));
    const refused = outcome(member().lock());
    await settle();
    expect(refused.code).toBe('OVERLOADED');
    await settle();
    expect(queue()).toHaveLength(1024);
  });

  test('passes over keys that are none of a queue', async () => {
    for (const value of ['', ' x', 'text', '1x 2', '12345678901234567 x']) {
      store.apply(put(`ctlmesh/locks/job/${value}`, value, { timeMs: performance.now() }));
    }
    const lock = await member().lock();
    expect(lock.isHeld).toBe(true);
    await lock.release();
  });
});

describe('a holder that hears nothing', () => {
  test('gives up before the store does; the next has a larger token, and the fence keeps the first one out', async () => {
    const [a, b] = [member(), member()];
    const lock = await a.lock();
    const waiting = outcome(b.lock({ deadlineMs: 60_000 }));
    await settle();
    a.client.fate = () => 'hangs';
    const sinceMs = performance.now();
    let lostMs = 0;
    lock.lost.addEventListener('abort', () => {
      lostMs = performance.now() - sinceMs;
      expect(waiting.lock).toBeUndefined();
    });
    await pass(TTL - 1);
    expect(lostMs).toBe(TTL * 0.9);
    expect(lock.lost.reason).toMatchObject({ code: 'LOCK_LOST', data: { reason: 'late' } });
    expect(waiting.lock).toBeUndefined();
    await pass(60);
    expect(waiting.lock?.token).toBeGreaterThan(lock.token);
    a.client.fate = () => 'done';
    expect(await fenced(a.client, lock, 'stale')).toBe(false);
    expect(await fenced(b.client, waiting.lock as Lock, 'new')).toBe(true);
    await waiting.lock?.release();
  });

  test('and whose timers are late too is told by its clock', async () => {
    const a = member();
    const lock = await a.lock();
    // A process that stands still: time goes by and no timer runs.
    const still = vi.spyOn(performance, 'now').mockReturnValue(performance.now() + TTL * 0.9);
    expect([lock.isHeld, lock.lost.aborted]).toEqual([false, false]);
    still.mockRestore();
    await lock.release();
  });

  test('of one renewal tries another, whatever became of the first', async () => {
    for (const fate of ['hangs', 'lost', 'answer-lost', 'done-later', 'session-gone'] as const) {
      const a = member();
      const lock = await a.lock();
      let failures = 0;
      a.client.fate = (kind) => (kind === 'txn' && failures++ === 0 ? fate : 'done');
      for (let i = 0; i < 20; i++) {
        await pass(TTL / 4);
        expect(lock.isHeld, fate).toBe(true);
      }
      expect(failures, fate).toBeGreaterThan(3);
      expect(await fenced(a.client, lock, fate)).toBe(true);
      await lock.release();
    }
  });
});

describe('an outcome that is not known', () => {
  const firstTxn = (client: ModelClient, fate: Fate): void => {
    let isFirst = true;
    client.fate = (kind) => {
      if (kind !== 'txn' || !isFirst) return 'done';
      isFirst = false;
      return fate;
    };
  };

  test('of queueing up: whatever became of it, one key is left in the end, and it has the lock', async () => {
    for (const fate of ['answer-lost', 'lost', 'done-later', 'hangs'] as const) {
      const a = member();
      firstTxn(a.client, fate);
      const asked = outcome(a.lock({ deadlineMs: 60_000 }));
      await pass(TTL * 4);
      expect(asked.lock?.isHeld, fate).toBe(true);
      expect(queue(), fate).toEqual([asked.lock?.key]);
      await asked.lock?.release();
    }
  });

  test('of queueing up, told in time: the key is looked for, and used if it is there', async () => {
    const a = member();
    firstTxn(a.client, 'session-gone');
    const lock = await a.lock();
    expect(lock.token).toBe(1);
    expect(a.client.calls.slice(0, 3)).toEqual(['txn', 'get', 'range']);
    await lock.release();
  });

  test('of queueing up, when it comes true after the holder has released: it is nobody, and goes by its time to live', async () => {
    const [a, b] = [member(), member()];
    firstTxn(a.client, 'done-later');
    a.client.laterMs = 500;
    const asked = outcome(a.lock({ deadlineMs: 60_000 }));
    await pass(TTL * 0.9 + 10);
    const lock = asked.lock as Lock;
    expect(lock.isHeld).toBe(true);
    await lock.release();
    await pass(500);
    expect(queue()).toHaveLength(1);
    expect(queue()).not.toContain(lock.key);
    expect(await fenced(a.client, lock, 'ghost')).toBe(false);
    const next = outcome(b.lock({ deadlineMs: 60_000 }));
    await pass(TTL + 100);
    expect(next.lock?.isHeld).toBe(true);
    await next.lock?.release();
  });

  test('of a release: it is looked for, and removed if it is there', async () => {
    for (const fate of ['answer-lost', 'lost', 'done-later', 'session-gone'] as const) {
      const a = member();
      const lock = await a.lock();
      let isFirst = true;
      a.client.fate = (kind) => {
        if (kind !== 'delete' || !isFirst) return 'done';
        isFirst = false;
        return fate;
      };
      // The model's calls take their whole deadline to say that they do not know.
      const released = lock.release().then(
        () => 'released',
        (error: unknown) => (isStoreError(error) ? error.code : 'else'),
      );
      await pass(TTL + 200);
      expect(['released', 'OUTCOME_UNKNOWN']).toContain(await released);
      expect(queue(), fate).toEqual([]);
      await lock.release();
    }
  });
});

test('a lock whose key somebody removed is lost with the next renewal', async () => {
  const a = member();
  const lock = await a.lock();
  await a.client.delete(lock.key);
  await pass(TTL * 0.4);
  expect(lock.lost.reason).toMatchObject({ code: 'LOCK_LOST', data: { reason: 'gone' } });
});

test('a client that closes gives back what it holds and leaves its queues', async () => {
  const [a, b] = [member(), member()];
  const lock = await a.lock();
  const waiting = outcome(b.lock({ deadlineMs: 60_000 }));
  await settle();
  a.locks.close();
  await settle();
  expect(lock.lost.aborted).toBe(true);
  expect(waiting.lock?.isHeld).toBe(true);
  await waiting.lock?.release();
});

test('at any time one at most believes that it has it, tokens rise, and no fenced write comes behind a later one', async () => {
  store.close();
  const runs: [() => number, number][] = [];
  const sums = { taken: 0, fences: 0 };
  forSeeds(6, (random, seed) => {
    runs.push([random, seed]);
  });
  for (const [random, seed] of runs) {
    store = new ModelStore();
    const members = Array.from({ length: 4 }, member);
    const held = new Set<Lock>();
    let newest = 0;
    let taken = 0;
    let fences = 0;
    let isOver = false;
    const chance = seeded(seed + 1_000);
    // The jitter of renewals.
    vi.spyOn(Math, 'random').mockImplementation(seeded(seed + 2_000));
    const live = async ({ client, lock }: Member): Promise<void> => {
      while (!isOver) {
        client.fate = () =>
          below(chance, 20) === 0 ? pick<Fate>(chance, ['lost', 'answer-lost', 'done-later', 'hangs']) : 'done';
        try {
          const mine = await lock({ deadlineMs: 5 * TTL });
          held.add(mine);
          taken++;
          expect(mine.token, `seed ${seed}`).toBeGreaterThan(newest);
          newest = mine.token;
          const write = async (): Promise<void> => {
            try {
              const call = { deadlineMs: 500 };
              const { succeeded } = await client.txn(
                (t) => t.if(mine.condition()).put('guarded', String(mine.token)),
                call,
              );
              if (!succeeded) fences++;
            } catch (error) {
              // Done, or not, or later.
              if (!(error instanceof StoreError)) throw error;
            }
          };
          for (let i = below(random, 6); i > 0; i--) {
            await new Promise((resolve) => setTimeout(resolve, below(random, TTL)));
            await write();
          }
          // Now and then it hangs, its renewals too, and then goes on where it was.
          if (below(random, 4) === 0) {
            client.fate = () => 'hangs';
            await new Promise((resolve) => setTimeout(resolve, 2 * TTL));
            client.fate = () => 'done';
            await write();
          }
          await mine.release();
        } catch (error) {
          if (!(error instanceof StoreError)) throw error;
        }
      }
    };
    const lives = members.map(live);
    for (let i = 0; i < 1_000; i++) {
      await pass(40);
      const believers = [...held].filter((lock) => lock.isHeld);
      expect(believers.length, `seed ${seed}`).toBeLessThanOrEqual(1);
    }
    isOver = true;
    for (const { client } of members) client.fate = () => 'done';
    for (let i = 0; i < 10; i++) await pass(TTL);
    await Promise.all(lives);
    sums.taken += taken;
    sums.fences += fences;
    const written = store.records.flatMap(({ changes }) =>
      changes
        .filter(({ key }) => Buffer.from(key).toString() === 'guarded')
        .map(({ value }) => Number(Buffer.from(value))),
    );
    expect(written, `seed ${seed}`).toEqual(written.toSorted((x, y) => x - y));
    for (let i = 0; i < 4; i++) await pass(TTL);
    expect(queue(), `seed ${seed}`).toEqual([]);
    store.close();
  }
  // Most of what it is about did happen.
  expect(sums.taken / runs.length).toBeGreaterThan(5);
  expect(sums.fences).toBeGreaterThan(0);
});
