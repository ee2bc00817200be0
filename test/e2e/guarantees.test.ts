/**
 * What docs/guarantees.md promises of watches and reads, each by its name, against three processes one of which is
 * killed on the way. The truth is the ledger: every revision with what it changed, as it was committed.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  type Client,
  isStoreError,
  type Revision,
  type SlowWatch,
  type WatchBookmark,
  type WatchEvent,
} from '../../src/client/index.ts';
import { seeded } from '../core/base/seeded.ts';
import { TestCluster, until } from '../support/cluster-process.ts';
import { readLedger } from '../support/cluster-workload.ts';

const KIB = 1024;
const CLUSTER = `e2e-${process.pid}`;
/** What is watched; other keys are written beside it. */
const PREFIX = 'g/';

interface Told {
  readonly revision: number;
  readonly what: string;
}

let cluster: TestCluster;
let client: Client;
/** What a watch that began before the first write was given, bookmarks included, while a leader was killed. */
const live: (WatchEvent | WatchBookmark)[] = [];
/** What it should have been given. */
let truth: Told[] = [];
let last = 0;
const stop = new AbortController();
let watching: Promise<void>;

const isEvent = (item: WatchEvent | WatchBookmark): item is WatchEvent => item.kind !== 'bookmark';
const tell = (event: WatchEvent): Told => ({
  revision: event.revision,
  what: `${event.kind} ${event.keyText()} ${event.text()}`,
});

/** What the ledger says of the prefix, from a revision on. */
async function truthFrom(from: number, to: number): Promise<Told[]> {
  const records = await readLedger(client, { to, cluster: CLUSTER });
  return records
    .filter((record) => record.revision >= from && record.revision <= to)
    .flatMap(({ revision, changes }) =>
      changes.map(({ kind, key, value }) => ({
        revision,
        what: `${kind} ${Buffer.from(key).toString()} ${Buffer.from(value).toString()}`,
      })),
    )
    .filter(({ what }) => what.includes(` ${PREFIX}`));
}

/** Follows a watch into `into` until its signal ends it. */
async function follow(by: Client, into: (WatchEvent | WatchBookmark)[], signal: AbortSignal): Promise<void> {
  try {
    for await (const item of by.watch({ prefix: PREFIX, bookmarks: true, signal })) into.push(item);
  } catch (error) {
    if (!isStoreError(error, 'CANCELLED')) throw error;
  }
}

async function take(by: Client, count: number, from: number): Promise<WatchEvent[]> {
  const events: WatchEvent[] = [];
  if (count === 0) return events;
  for await (const event of by.watch({ prefix: PREFIX, fromRevision: from, signal: AbortSignal.timeout(30_000) })) {
    events.push(event);
    if (events.length === count) break;
  }
  return events;
}

/** Puts, deletes, transactions of several keys and keys that expire, here and beside the watched prefix. */
async function write(random: () => number, writes: number): Promise<void> {
  const key = (): string => `${random() < 0.7 ? PREFIX : 'beside/'}${Math.floor(random() * 20)}`;
  for (let i = 0; i < writes; i += 4) {
    await Promise.all(
      Array.from({ length: 4 }, async (_, j) => {
        const kind = random();
        const value = `${i + j}`;
        if (kind < 0.5) await client.put(key(), value, random() < 0.1 ? { ttlMs: 300 } : {});
        else if (kind < 0.65) await client.delete(key());
        else {
          // A txn may write a key once.
          const [one, two, three] = [`${key()}.one`, `${key()}.two`, key()];
          await client.txn((t) => t.put(one, value).put(two, value).delete(three).put(`${PREFIX}txn`, value));
        }
      }),
    );
  }
}

beforeAll(async () => {
  cluster = await TestCluster.start();
  client = await cluster.client({ deadlineMs: 30_000 });
  const watcher = await cluster.client();
  watching = follow(watcher, live, stop.signal);
  await until('the watch stands', () => live.length > 0);
  const random = seeded(20_261_120);
  await write(random, 150);
  const leader = await cluster.leader();
  await cluster.kill(leader);
  await write(random, 100);
  cluster.spawn(leader);
  await cluster.leader();
  await write(random, 50);
  last = (await client.put(`${PREFIX}end`, 'end')).revision;
  await until('the live watch is at the end', () => live.some((item) => isEvent(item) && item.revision === last));
  truth = await truthFrom(1, last);
});

afterAll(async () => {
  stop.abort();
  await watching;
  await cluster?.close();
});

describe('a watch is', () => {
  test('Ordered: revisions never go back', () => {
    const revisions = live.map((item) => item.revision);
    expect(revisions).toEqual(revisions.toSorted((a, b) => a - b));
  });

  test('Unique: no change comes twice', () => {
    const seen = live.filter(isEvent).map((event) => `${event.revision} ${event.keyText()}`);
    expect(new Set(seen).size).toBe(seen.length);
  });

  test('Reliable: every committed change that it watches comes, though its leader was killed', () => {
    expect(truth.length).toBeGreaterThan(200);
    expect(
      live
        .filter(isEvent)
        .map(tell)
        .filter(({ revision }) => revision <= last),
    ).toEqual(truth);
  });

  test('Atomic: a revision comes whole, and says where it ends', () => {
    const events = live.filter(isEvent);
    const several = events.filter((event, i) => events[i + 1]?.revision === event.revision).length;
    expect(several).toBeGreaterThan(50);
    for (const [i, event] of events.entries()) {
      const isLast = events[i + 1]?.revision !== event.revision;
      expect(event.lastOfRevision).toBe(isLast);
    }
  });

  test('Resumable: from any revision, at any node, the rest comes', async () => {
    const random = seeded(7);
    for (const id of cluster.ids) {
      const pinned = await cluster.pinned(id);
      for (let i = 0; i < 4; i++) {
        const from = 1 + Math.floor(random() * last);
        const rest = truth.filter(({ revision }) => revision >= from);
        expect((await take(pinned, rest.length, from)).map(tell)).toEqual(rest);
      }
    }
  });

  test('Bookmarkable: what a bookmark covers came before it, and a watch that begins behind it lacks nothing', async () => {
    let covered = 0;
    let highest = 0;
    const bookmarks: number[] = [];
    for (const item of live) {
      if (isEvent(item)) {
        expect(item.revision).toBeGreaterThan(covered);
        highest = item.revision;
      } else {
        expect(item.revision).toBeGreaterThanOrEqual(highest);
        covered = item.revision;
        bookmarks.push(item.revision);
      }
    }
    expect(bookmarks.length).toBeGreaterThan(1);
    for (const bookmark of bookmarks.filter((revision) => revision < last)) {
      const rest = truth.filter(({ revision }) => revision > bookmark);
      expect((await take(client, rest.length, bookmark + 1)).map(tell)).toEqual(rest);
    }
  });

  test('Bookmarkable: one a second while nothing that it watches changes, as the store goes on', async () => {
    const from = live.length;
    const { revision } = await client.put('beside/news', 'x');
    await until('a bookmark behind a write that is not watched', () =>
      live.slice(from).some((item) => item.kind === 'bookmark' && item.revision >= revision),
    );
    const bookmarks = (): number => live.filter((item) => item.kind === 'bookmark').length;
    const at = bookmarks();
    await until('four more', () => bookmarks() >= at + 4, { withinMs: 10_000 });
  });
});

test('the state of a watch’s first bookmark, and what the watch brings from there, are the state at any later revision', async () => {
  const writing = write(seeded(3), 80);
  const watch = client.watch({ prefix: PREFIX, bookmarks: true })[Symbol.asyncIterator]();
  const { value: first } = await watch.next();
  expect(first?.kind).toBe('bookmark');
  const copy = new Map<string, string>();
  for await (const entry of client.range({ prefix: PREFIX, revision: first?.revision ?? 0 })) {
    copy.set(entry.keyText(), `${entry.revision} ${entry.text()}`);
  }
  await writing;
  const { revision: end } = await client.put(`${PREFIX}copied`, 'x');
  for (let seen = 0; seen < end; ) {
    const { value: item, done } = await watch.next();
    if (done === true) break;
    // Whole: what expired in the same revision comes with it.
    seen = isEvent(item) && !item.lastOfRevision ? item.revision - 1 : item.revision;
    if (!isEvent(item) || item.revision > end) continue;
    if (item.kind === 'put') copy.set(item.keyText(), `${item.revision} ${item.text()}`);
    else copy.delete(item.keyText());
  }
  await watch.return?.();
  const state = new Map<string, string>();
  for await (const entry of client.range({ prefix: PREFIX, revision: end })) {
    state.set(entry.keyText(), `${entry.revision} ${entry.text()}`);
  }
  expect(copy).toEqual(state);
  expect(state.size).toBeGreaterThan(10);
});

describe('a read is', () => {
  test('linearizable: what was acknowledged anywhere is seen everywhere', async () => {
    const pinned = await Promise.all(cluster.ids.map((id) => cluster.pinned(id)));
    for (let i = 0; i < 20; i++) {
      await pinned[i % 3]?.put('beside/lin', `${i}`);
      const read = await Promise.all(pinned.map(async (by) => (await by.get('beside/lin'))?.text()));
      expect(read).toEqual([`${i}`, `${i}`, `${i}`]);
    }
  });

  test('at least a revision: a node that has not got there waits', async () => {
    const pinned = await Promise.all(cluster.ids.map((id) => cluster.pinned(id)));
    for (let i = 0; i < 20; i++) {
      const { revision } = await client.put('beside/own', `${i}`);
      for (const by of pinned) {
        const entry = await by.get('beside/own', { consistency: 'local', atLeast: revision });
        expect(entry?.text()).toBe(`${i}`);
      }
    }
    const [first] = pinned;
    const late = await first
      ?.get('beside/own', { consistency: 'local', atLeast: last + 1_000_000, deadlineMs: 300 })
      .catch((error: unknown) => error);
    expect(isStoreError(late, 'DEADLINE_EXCEEDED')).toBe(true);
  });

  test('of a named revision: the state of then, and of nothing else', async () => {
    const { revision: one } = await client.put('beside/then', 'one');
    const { revision: two } = await client.put('beside/then', 'two');
    const { revision: gone } = await client.delete('beside/then');
    const at = async (revision: Revision): Promise<string | undefined> =>
      (await client.get('beside/then', { revision }))?.text();
    expect([await at(one), await at(two), await at(gone)]).toEqual(['one', 'two', undefined]);
    const keys: string[] = [];
    for await (const entry of client.range({ prefix: 'beside/then', revision: two })) keys.push(entry.text());
    expect(keys).toEqual(['two']);
  });

  test('at most so old: no read misses what was acknowledged longer ago, at any node, while it is written', async () => {
    const pinned = await Promise.all(cluster.ids.map((id) => cluster.pinned(id)));
    const acked: { readonly count: number; readonly atMs: number }[] = [];
    let isDone = false;
    const writing = (async () => {
      for (let count = 1; count <= 150; count++) {
        await client.put('beside/bounded', `${count}`);
        acked.push({ count, atMs: performance.now() });
      }
      isDone = true;
    })();
    let behind = 0;
    await Promise.all(
      pinned.map(async (by, i) => {
        const maxStalenessMs = [20, 50, 100][i] ?? 0;
        while (!isDone) {
          const sinceMs = performance.now() - maxStalenessMs;
          const mustSee = acked.findLast(({ atMs }) => atMs < sinceMs)?.count ?? 0;
          const newest = acked.length;
          const seen = Number((await by.get('beside/bounded', { maxStalenessMs }))?.text() ?? 0);
          expect(seen).toBeGreaterThanOrEqual(mustSee);
          if (seen < newest) behind++;
        }
      }),
    );
    await writing;
    // Else nobody was answered from what it had.
    expect(behind).toBeGreaterThan(0);
  });

  test('at most so old: while a node can prove it; without a quorum TOO_STALE, how old it may be, and local reads', async () => {
    const leader = await cluster.leader();
    const [follower = '', other = ''] = await cluster.followers();
    const pinned = await cluster.pinned(follower);
    await client.put('beside/age', 'x');
    expect((await pinned.get('beside/age', { maxStalenessMs: 0 }))?.text()).toBe('x');
    for (const id of [leader, other]) cluster.run(id).child.kill('SIGSTOP');
    try {
      // No wait for a quorum that is not there.
      const bounded = { maxStalenessMs: 60_000, deadlineMs: 5_000 };
      expect((await pinned.get('beside/age', bounded))?.text()).toBe('x');
      const seen: string[] = [];
      for await (const entry of pinned.range({ prefix: 'beside/age', ...bounded })) seen.push(entry.text());
      expect(seen).toEqual(['x']);
      const stale = await until('what it has is too old', async () => {
        const answer = await pinned
          .get('beside/age', { maxStalenessMs: 50, deadlineMs: 1_000 })
          .catch((error: unknown) => error);
        return isStoreError(answer) ? answer : undefined;
      });
      expect(stale).toMatchObject({ code: 'TOO_STALE', data: { maxStalenessMs: 50 } });
      expect(stale.data['stalenessMs']).toBeGreaterThan(50);
      const range = (async () => {
        for await (const _ of pinned.range({ maxStalenessMs: 50, deadlineMs: 1_000 })) return;
      })();
      await expect(range).rejects.toMatchObject({ code: 'TOO_STALE' });
      expect((await pinned.get('beside/age', { consistency: 'local' }))?.text()).toBe('x');
      const never = await pinned.get('beside/age', { deadlineMs: 500 }).catch((error: unknown) => error);
      expect(isStoreError(never, 'DEADLINE_EXCEEDED')).toBe(true);
    } finally {
      for (const id of [leader, other]) cluster.run(id).child.kill('SIGCONT');
    }
    await cluster.leader();
    expect((await pinned.get('beside/age', { maxStalenessMs: 50 }))?.text()).toBe('x');
  });
});

test('a slow watch: its node holds no more than its budget for it, it is told how far behind it is, and misses nothing', async () => {
  const leader = await cluster.leader();
  const sleeper = await cluster.pinned(leader);
  const gauge = async (name: string): Promise<number> => {
    const text = await (await fetch(`${cluster.http(leader)}/metrics`)).text();
    return Number(new RegExp(`^ctlmesh_${name}\\{[^}]*\\} (\\S+)$`, 'm').exec(text)?.[1]);
  };
  const told: SlowWatch[] = [];
  const { revision: first } = await client.put(`${PREFIX}slow`, 'first');
  const slow = sleeper.watch({ prefix: PREFIX, fromRevision: first, onSlow: (news) => told.push(news) });
  const watch = slow[Symbol.asyncIterator]();
  expect((await watch.next()).value?.revision).toBe(first);
  const WRITES = 200;
  const value = new Uint8Array(64 * KIB);
  let highest = 0;
  for (let i = 0; i < WRITES; i += 8) {
    await Promise.all(Array.from({ length: 8 }, () => client.put(`${PREFIX}slow`, value)));
    highest = Math.max(highest, await gauge('ledger_held_bytes'));
  }
  await until('it is told', () => told.length > 0);
  const [news] = told;
  expect(news?.behind).toBeGreaterThan(0);
  expect(news?.behind).toBe((news?.newestRevision ?? 0) - (news?.revision ?? 0));
  expect(await gauge('ledger_slow_readers')).toBeGreaterThanOrEqual(1);
  // 12.5 MiB were written. For a watch, a megabyte of credit and a part is the most that is on its way; two are here.
  expect(highest).toBeLessThan(2_600 * KIB);
  const { revision: end } = await client.put(`${PREFIX}slow`, 'end');
  const expected = (await truthFrom(first + 1, end)).map(({ revision }) => revision);
  expect(expected).toHaveLength(WRITES + 1);
  const seen: number[] = [];
  while (seen.at(-1) !== end) {
    const { value: event, done } = await watch.next();
    if (done === true) break;
    seen.push(event.revision);
  }
  expect(seen).toEqual(expected);
  await until('it is slow no more', async () => (await gauge('ledger_slow_readers')) === 0);
  await watch.return?.();
});

test('a state that is no longer kept: COMPACTED with the oldest revision, which can be read', async () => {
  const alone = await TestCluster.start({ nodes: 1, config: { historyMs: 500, memtableBytes: KIB * KIB } });
  try {
    const by = await alone.client({ deadlineMs: 30_000 });
    const { revision: old } = await by.put('k', 'old');
    const value = new Uint8Array(64 * KIB);
    const error = await until('the first state is gone', async () => {
      await by.put('k', value);
      return by.get('k', { revision: old }).then(
        () => undefined,
        (reason: unknown) => (isStoreError(reason, 'COMPACTED') ? reason : undefined),
      );
    });
    const oldest = error.data['oldestRevision'] as number;
    expect(oldest).toBeGreaterThan(old);
    const range = (async () => {
      for await (const _ of by.range({ revision: old })) return;
    })();
    await expect(range).rejects.toMatchObject({ code: 'COMPACTED' });
    const { entry, at } = await until('the oldest of now is read', async () => {
      const now = await by.get('k', { revision: old }).catch((reason: unknown) => reason);
      if (!isStoreError(now, 'COMPACTED')) throw now;
      // The oldest may go between the two calls; then the next answer names the next.
      const at = now.data['oldestRevision'] as number;
      const entry = await by.get('k', { revision: at }).catch(() => undefined);
      return entry === undefined ? undefined : { entry, at };
    });
    expect(entry.revision).toBeLessThanOrEqual(at);
  } finally {
    await alone.close();
  }
});
