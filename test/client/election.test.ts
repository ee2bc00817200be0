/** Elections over the model, in fake time: who leads, who is told so, and in which order. */
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Locks } from '../../src/client/locks.ts';
import type { Election, Leader, Leadership } from '../../src/client/types.ts';
import { StoreError } from '../../src/core/base/errors.ts';
import { below, forSeeds, pick } from '../core/base/seeded.ts';
import { type ModelClient, ModelStore } from './model-client.ts';

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
  vi.useRealTimers();
});

const pass = (ms: number): Promise<unknown> => vi.advanceTimersByTimeAsync(ms);
const settle = (): Promise<unknown> => pass(0);

function candidate(): { client: ModelClient; election: Election; campaign: (value: string) => Promise<Leadership> } {
  const client = store.client();
  const election = new Locks(client, 10_000).election('boss');
  const campaign = (value: string): Promise<Leadership> =>
    election.campaign(value, { ttlMs: TTL, deadlineMs: Number.POSITIVE_INFINITY });
  return { client, election, campaign };
}

/** What an observer is told: `value@token`, or `-`. */
function observed(election: Election): { told: string[]; stop: () => Promise<void> } {
  const told: string[] = [];
  const stop = new AbortController();
  const reading = (async () => {
    for await (const leader of election.observe({ signal: stop.signal })) told.push(say(leader));
  })().catch((error: unknown) => {
    if (!(error instanceof StoreError) || error.code !== 'CANCELLED') throw error;
  });
  return {
    told,
    stop: () => {
      stop.abort();
      return reading;
    },
  };
}

const say = (leader: Leader | undefined): string => (leader === undefined ? '-' : `${leader.text()}@${leader.token}`);

describe('an election', () => {
  test('has one leader: the first that came, then the next; all are told', async () => {
    const [a, b] = [candidate(), candidate()];
    expect(await a.election.leader()).toBeUndefined();
    const watched = observed(b.election);
    await settle();
    const first = await a.campaign('a');
    const second = b.campaign('b');
    await settle();
    expect(say(await b.election.leader())).toBe(`a@${first.token}`);
    expect((await a.client.txn((t) => t.if(first.condition()).put('x', '1'))).succeeded).toBe(true);
    await a.election.resign();
    await settle();
    const next = await second;
    expect(next.token).toBeGreaterThan(first.token);
    expect(first.isHeld).toBe(false);
    expect(first.lost.reason).toMatchObject({ code: 'LOCK_LOST', data: { reason: 'released' } });
    expect((await a.client.txn((t) => t.if(first.condition()).put('x', '2'))).succeeded).toBe(false);
    await next.resign();
    await settle();
    expect(watched.told).toEqual([`a@${first.token}`, `b@${next.token}`, '-']);
    await watched.stop();
  });

  test('changes its value without changing hands, and keeps it over renewals', async () => {
    const a = candidate();
    const watched = observed(a.election);
    const led = await a.campaign('one');
    await led.proclaim('two');
    await pass(TTL * 3);
    await a.election.proclaim('three');
    await pass(TTL * 3);
    expect(led.isHeld).toBe(true);
    expect(watched.told).toEqual(['one', 'two', 'three'].map((value) => `${value}@${led.token}`));
    await led.resign();
    await expect(led.proclaim('four')).rejects.toMatchObject({ code: 'LOCK_LOST' });
    await watched.stop();
  });

  test('a proclamation whose answer is lost is not undone by the next renewal, nor by an earlier one that comes late', async () => {
    const a = candidate();
    const led = await a.campaign('one');
    for (const [fate, value] of [
      ['answer-lost', 'two'],
      ['lost', 'three'],
      ['done-later', 'four'],
    ] as const) {
      let isFirst = true;
      a.client.fate = (kind) => {
        if (kind !== 'txn' || !isFirst) return 'done';
        isFirst = false;
        return fate;
      };
      const said = led.proclaim(value, { deadlineMs: 200 }).catch((error: unknown) => (error as StoreError).code);
      await pass(200);
      expect(await said).toBe('OUTCOME_UNKNOWN');
      await pass(TTL * 2);
      expect((await a.election.leader())?.text(), fate).toBe(value);
      expect(led.isHeld).toBe(true);
    }
    await led.resign();
  });

  test('a proclamation that certainly failed is not made by the next renewal', async () => {
    const a = candidate();
    const led = await a.campaign('one');
    a.client.fate = () => 'hangs';
    const said = led.proclaim('two', { deadlineMs: 200 }).catch((error: unknown) => (error as StoreError).code);
    await pass(200);
    expect(await said).toBe('DEADLINE_EXCEEDED');
    a.client.fate = () => 'done';
    await pass(TTL * 2);
    expect((await a.election.leader())?.text()).toBe('one');
    await led.resign();
  });

  test('refuses a second campaign of the same candidate, and a proclamation of nobody; may be tried again after a loss', async () => {
    const a = candidate();
    await expect(a.election.proclaim('x')).rejects.toMatchObject({ code: 'BAD_REQUEST' });
    await a.election.resign();
    const asked = a.campaign('a');
    await expect(a.campaign('a')).rejects.toMatchObject({ code: 'BAD_REQUEST' });
    const led = await asked;
    await expect(a.campaign('a')).rejects.toMatchObject({ code: 'BAD_REQUEST' });
    await a.client.delete(led.key);
    await pass(TTL);
    expect(led.lost.reason).toMatchObject({ data: { reason: 'gone' } });
    const again = await a.campaign('a');
    expect(again.token).toBeGreaterThan(led.token);
    await again[Symbol.asyncDispose]();
    expect(await a.election.leader()).toBeUndefined();
  });
});

describe('an observer', () => {
  test('that leaves at once takes its watch with it', async () => {
    const a = candidate();
    const led = await a.campaign('a');
    for await (const leader of a.election.observe()) {
      expect(say(leader)).toBe(`a@${led.token}`);
      break;
    }
    await led.resign();
  });

  test('is told every change, in order, from wherever it begins, also at a node that is behind', async () => {
    store.close();
    const seeds: (() => number)[] = [];
    forSeeds(25, (random) => {
      seeds.push(random);
    });
    for (const [seed, random] of seeds.entries()) {
      store = new ModelStore();
      const whole = observed(candidate().election);
      const others: { told: string[]; stop: () => Promise<void> }[] = [];
      const led: Leadership[] = [];
      const run = async (value: string): Promise<void> => {
        const mine = await candidate().campaign(value);
        led.push(mine);
      };
      const runs: Promise<void>[] = [];
      for (let i = 0; i < 60; i++) {
        const act = below(random, 8);
        if (act < 3) runs.push(run(`c${i}`));
        else if (act === 3) {
          const late = candidate();
          late.client.statusLag = below(random, 30);
          others.push(observed(late.election));
        } else {
          const current = led.find((each) => each.isHeld);
          if (current !== undefined && act < 6) await current.resign();
          else await current?.proclaim(`p${i}`);
        }
        await pass(pick(random, [0, 0, 1, 200]));
      }
      for (let i = 0; i < 60 && led.length < runs.length; i++) {
        await led.find((each) => each.isHeld)?.resign();
        await settle();
      }
      await led.find((each) => each.isHeld)?.resign();
      await Promise.all(runs);
      await settle();
      expect(whole.told.length, `seed ${seed + 1}`).toBeGreaterThan(10);
      expect(whole.told.at(-1)).toBe('-');
      for (const { told } of others) expect(told, `seed ${seed + 1}`).toEqual(whole.told.slice(-told.length));
      for (const each of [whole, ...others]) await each.stop();
      store.close();
    }
  });
});
