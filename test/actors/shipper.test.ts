import { describe, expect, test } from 'vitest';
import { ByteReader, utf8 } from '../../src/core/base/bytes.ts';
import { parseFilter } from '../../src/core/model/ledger-filter.ts';
import { openChecked, PART } from '../../src/core/wire/client.ts';
import { handed, type Part, put, upTo, World } from './shipper-world.ts';
import type { FromShipper } from '../../src/actors/shipper-messages.ts';

const MIB = 1024 * 1024;

describe('watches', () => {
  test('the first part says that the watch stands; then every revision that it wants, in order', () => {
    const world = new World();
    world.write([put('a')]);
    world.subscribe(1, { fromRevision: 2 });
    expect(world.parts(1)).toMatchObject([{ part: 'progress', revisions: [1] }]);
    for (let i = 0; i < 5; i++) world.write([put('a')]);
    expect(world.revisions(1)).toEqual([2, 3, 4, 5, 6]);
  });

  test('one from the past is fed from the window first, with no gap to what comes', () => {
    const world = new World();
    for (let i = 0; i < 5; i++) world.write([put('a')]);
    world.subscribe(1, { fromRevision: 3 });
    world.write([put('a')]);
    expect(world.revisions(1)).toEqual([3, 4, 5, 6]);
  });

  test('one from the future waits for it', () => {
    const world = new World();
    world.subscribe(1, { fromRevision: 4 });
    for (let i = 0; i < 6; i++) world.write([put('a')]);
    expect(world.revisions(1)).toEqual([4, 5, 6]);
    expect(world.end(1)).toBeUndefined();
  });

  test('a key or a prefix: nothing else of a revision comes, and no revision without', () => {
    const world = new World();
    world.subscribe(1, { from: utf8('b'), to: utf8('b\0') });
    world.subscribe(2, { from: utf8('b'), to: utf8('c') });
    world.subscribe(3, { from: utf8('c') });
    world.write([put('a'), put('b'), put('b1'), put('c'), put('d')]);
    world.write([put('a')]);
    world.write([{ ...put('b'), kind: 'delete', value: new Uint8Array(0) }]);
    const keys = (sub: number): string[] =>
      world.parts(sub).flatMap((part) => (part.part === 'records' ? part.keys : []));
    expect([1, 2, 3].map(keys)).toEqual([
      ['b', 'b'],
      ['b', 'b1', 'b'],
      ['c', 'd'],
    ]);
    expect(world.revisions(1)).toEqual([1, 3]);
  });

  test('one that wants nothing of it is told how far it is, now and then', () => {
    const world = new World();
    world.subscribe(1, { from: utf8('x') });
    for (let i = 0; i < 2_500; i++) world.write([put('a')]);
    expect(world.parts(1)).toMatchObject([
      { part: 'progress', revisions: [0] },
      { part: 'progress', revisions: [1_000] },
      { part: 'progress', revisions: [2_000] },
    ]);
  });

  test('one that fell out of the window ends with the oldest revision there is', () => {
    const world = new World({ windowBytes: 3_000 });
    for (let i = 0; i < 100; i++) world.write([put('a', 'x'.repeat(100))]);
    const oldest = world.shipper.window.first;
    expect(oldest).toBeGreaterThan(50);
    world.subscribe(1, { fromRevision: oldest - 1 });
    expect(world.end(1)).toMatchObject({ code: 'COMPACTED', data: { oldestRevision: oldest } });
    // It never stood: nothing was promised.
    expect(world.parts(1)).toEqual([]);
    world.subscribe(2, { fromRevision: oldest });
    expect(world.revisions(2)).toEqual(upTo(oldest, 100));
    expect(world.shipper.subscriptions).toBe(1);
  });

  test('after a restart, while the log is read again, an old position is not taken for a lost one', () => {
    const world = new World();
    world.subscribe(1, { fromRevision: 3 });
    expect(world.end(1)).toBeUndefined();
    for (let i = 0; i < 5; i++) world.write([put('a')]);
    expect(world.revisions(1)).toEqual([3, 4, 5]);
  });
});

describe('credit', () => {
  test('without it nothing comes, however much there is; with it, no more than it says and one part', () => {
    const world = new World();
    world.subscribe(1, { creditBytes: 500 });
    for (let i = 0; i < 1_000; i++) world.write([put('a', 'x'.repeat(50))]);
    const sent = world.parts(1).reduce((sum, { bytes }) => sum + bytes, 0);
    expect(sent).toBeGreaterThan(400);
    expect(sent).toBeLessThan(1_000);
    const before = world.posted.length;
    world.write([put('a')]);
    expect(world.posted).toHaveLength(before);
    for (let i = 0; i < 400; i++) world.credit(1, 500);
    expect(world.revisions(1)).toEqual(upTo(1, 1_001));
  });

  test('a slow reader costs the others nothing, and its place only', () => {
    const world = new World({ windowBytes: 20_000 });
    world.subscribe(1, { creditBytes: 1 });
    world.subscribe(2);
    for (let i = 0; i < 500; i++) world.write([put('a', 'x'.repeat(100))]);
    expect(world.revisions(2)).toEqual(upTo(1, 500));
    expect(world.shipper.window.bytes).toBeLessThanOrEqual(20_000);
    // It learns at its next credit that it is too late.
    expect(world.end(1)).toBeUndefined();
    world.credit(1, 1_000);
    expect(world.end(1)?.code).toBe('COMPACTED');
  });

  test('a cancelled one gets nothing more, and its credit is nobody’s', () => {
    const world = new World();
    world.subscribe(1);
    world.write([put('a')]);
    world.shipper.receive({ kind: 'cancel', sub: 1 });
    world.credit(1, MIB);
    world.write([put('a')]);
    expect(world.revisions(1)).toEqual([1]);
    expect(world.shipper.subscriptions).toBe(0);
  });

  test('more subscriptions than a node serves are refused; one that ends makes room', () => {
    const world = new World({ subscriptionsMax: 2 });
    for (const sub of [1, 2, 3]) world.subscribe(sub);
    expect(world.end(3)).toMatchObject({ code: 'OVERLOADED', data: { limit: 2 } });
    expect(world.shipper.subscriptions).toBe(2);
    world.shipper.receive({ kind: 'cancel', sub: 1 });
    world.subscribe(4);
    expect(world.end(4)).toBeUndefined();
  });
});

describe('replicas', () => {
  const shape = (parts: readonly Part[]): string[] => parts.map(({ part }) => part);

  test('a new one of a young store gets a hello and every record, also those that changed nothing', () => {
    const world = new World();
    world.write([]);
    world.write([put('a')]);
    world.subscribe(1, { mode: 'ledger' });
    world.write([]);
    expect(shape(world.parts(1))[0]).toBe('hello');
    expect(world.parts(1)[0]?.keys).toEqual(['c', 'n1']);
    expect(world.revisions(1)).toEqual([1, 2, 3]);
  });

  test('one that is too far behind gets the state of one revision, and every record behind it', () => {
    const world = new World({ windowBytes: 5_000 });
    const keys = Array.from({ length: 300 }, (_, i) => `k${String(i).padStart(3, '0')}`);
    for (const key of keys) world.write([put(key, 'x'.repeat(1_000))]);
    world.subscribe(1, { mode: 'ledger', fromRevision: 1, creditBytes: 1 });
    expect(shape(world.parts(1))).toEqual(['hello']);
    // While the snapshot goes out part by part, more is written: over old keys and new.
    let written = 0;
    for (let i = 0; i < 2_000 && !shape(world.parts(1)).includes('end'); i++) {
      world.credit(1, 20_000);
      if (i % 2 === 0) {
        world.write([put('k000', `new ${i}`), put(`z${i}`)]);
        written++;
      }
    }
    const parts = world.parts(1);
    const begin = parts.find(({ part }) => part === 'begin')?.revisions[0];
    expect(begin).toBe(300);
    const entries = parts.filter(({ part }) => part === 'entries');
    expect(entries.flatMap((part) => part.keys)).toEqual(keys);
    expect(Math.max(...entries.flatMap((part) => part.revisions))).toBeLessThanOrEqual(300);
    expect(parts.find(({ part }) => part === 'end')?.revisions).toEqual([300]);
    expect(written).toBeGreaterThan(0);
    world.credit(1, MIB);
    world.write([put('last')]);
    expect(world.revisions(1)).toEqual(upTo(301, world.applied));
  });

  test('one that falls behind during its snapshot gets another, and no gap', () => {
    const world = new World({ windowBytes: 3_000 });
    for (let i = 0; i < 100; i++) world.write([put(`k${i}`, 'x'.repeat(5_000))]);
    world.subscribe(1, { mode: 'ledger', fromRevision: 1, creditBytes: 30 });
    for (let i = 0; i < 40; i++) {
      world.credit(1, 30_000);
      for (let j = 0; j < 5; j++) world.write([put('hot', 'x'.repeat(1_000))]);
    }
    world.credit(1, 16 * MIB);
    const parts = world.parts(1);
    expect(shape(parts).filter((part) => part === 'begin').length).toBeGreaterThanOrEqual(2);
    // Whatever it was given, each part continues what came before it.
    let at = 0;
    for (const { part, revisions } of parts) {
      if (part === 'end') at = revisions[0] ?? 0;
      if (part !== 'records') continue;
      expect(revisions).toEqual(upTo(at + 1, revisions.at(-1) ?? 0));
      at = revisions.at(-1) ?? 0;
    }
    expect(at).toBe(world.applied);
  });

  test('a snapshot of more than its records tell yet goes on with the first that was not in it', () => {
    const world = new World({ windowBytes: 2_000 });
    for (let i = 0; i < 50; i++) world.write([put(`k${i}`, 'x'.repeat(100))]);
    // Applied, and their records still on the way.
    world.write([put('early')], false);
    world.write([put('early2')], false);
    world.subscribe(1, { mode: 'ledger', fromRevision: 1 });
    expect(world.parts(1).find(({ part }) => part === 'end')?.revisions).toEqual([52]);
    world.ship();
    world.write([put('next')]);
    expect(world.revisions(1)).toEqual([53]);
  });
});

describe('many at one place', () => {
  const buffersOf = (message: FromShipper): ArrayBuffer[] =>
    message.kind === 'parts' ? message.frames.map(({ buffer }) => buffer) : [];
  const messagesOf = (world: World) => world.posted.flatMap((message) => (message.kind === 'parts' ? [message] : []));

  test('a round is one message, with one frame for all that ask by the same number', () => {
    const world = new World({ subscriptionsMax: 100 });
    for (let sub = 1; sub <= 50; sub++) world.subscribe(sub, { mode: 'ledger', request: 7 });
    for (let sub = 51; sub <= 60; sub++) world.subscribe(sub, { mode: 'ledger', request: 8 });
    world.posted.length = 0;
    world.write([put('a', 'x'.repeat(1000))]);
    const [message, ...more] = messagesOf(world);
    expect(more).toEqual([]);
    expect(message?.frames).toHaveLength(2);
    expect(message?.to).toHaveLength(60 * 3);
    const readers = handed(message as FromShipper).map(({ sub, frame }) => [sub, frame[1]]);
    expect(readers).toEqual(upTo(1, 60).map((sub) => [sub, sub <= 50 ? 7 : 8]));
  });

  test('who is elsewhere, or may have less, gets its own', () => {
    const world = new World();
    world.subscribe(1, { mode: 'ledger' });
    world.subscribe(2, { mode: 'ledger', creditBytes: 60 });
    world.subscribe(3, { mode: 'ledger', fromRevision: 2 });
    world.write([put('a')], false);
    world.write([put('b')], false);
    world.ship();
    for (let revision = 3; revision <= 6; revision++) world.write([put('c')]);
    world.credit(2, MIB);
    expect(world.revisions(1)).toEqual(upTo(1, 6));
    expect(world.revisions(2)).toEqual(upTo(1, 6));
    expect(world.revisions(3)).toEqual(upTo(2, 6));
  });

  test('more than a message may hold leaves in several, each with frames of its own', () => {
    const world = new World({ subscriptionsMax: 100 });
    for (let sub = 1; sub <= 40; sub++) world.subscribe(sub, { mode: 'ledger', request: sub });
    world.posted.length = 0;
    world.write([put('a', 'x'.repeat(100_000))]);
    const messages = messagesOf(world);
    expect(messages.length).toBeGreaterThan(5);
    expect(new Set(messages.flatMap(({ frames }) => frames)).size).toBe(40);
    for (let sub = 1; sub <= 40; sub++) expect(world.revisions(sub)).toEqual([1]);
  });

  test('only the last message of a slice ends it; of nothing there is none', () => {
    const world = new World({ subscriptionsMax: 100 });
    world.shipper.beginRound();
    expect(world.shipper.pumpSlice(64)).toBe(false);
    expect(world.shipper.isInRound).toBe(false);
    for (let sub = 1; sub <= 40; sub++) world.subscribe(sub, { mode: 'ledger', request: sub });
    world.write([put('a', 'x'.repeat(100_000))], false);
    world.posted.length = 0;
    world.append();
    world.shipper.beginRound();
    expect(world.shipper.pumpSlice(30)).toBe(true);
    expect(world.shipper.isInRound).toBe(true);
    const ends = messagesOf(world).map(({ endsSlice }) => endsSlice);
    expect(ends.length).toBeGreaterThan(3);
    expect(ends.filter(Boolean)).toHaveLength(1);
    expect(ends.at(-1)).toBe(true);
    // Who leaves and who comes in the middle of a round.
    world.shipper.receive({ kind: 'cancel', sub: 35 });
    world.subscribe(41, { mode: 'ledger', request: 41, fromRevision: 2 });
    expect(world.shipper.pumpSlice(30)).toBe(true);
    for (let sub = 1; sub <= 40; sub++) expect(world.revisions(sub)).toEqual(sub === 35 ? [] : [1]);
    expect(world.shipper.pumpSlice(30)).toBe(false);
    expect(world.shipper.isInRound).toBe(false);
  });

  test('a frame that has left is never sent again, wherever the message became full', () => {
    const world = new World({ subscriptionsMax: 1_000 });
    world.hashes.set(64, 1);
    for (let i = 0; i < 63; i++) world.write([put('a', 'x'.repeat(900))]);
    for (let sub = 1; sub <= 700; sub++) {
      const wantsHashes = sub % 3 > 0;
      world.subscribe(sub, { mode: 'ledger', request: (sub % 5) + 1, fromRevision: 64, wantsHashes });
    }
    // As the thread does it: frames go with their message.
    for (const message of world.posted) structuredClone(message, { transfer: buffersOf(message) });
    world.posted.length = 0;
    const sent = new Map<number, number>();
    world.onPost = (message) => {
      for (const { sub, frame } of handed(message)) {
        expect(frame.length).toBeGreaterThan(0);
        sent.set(sub, (sent.get(sub) ?? 0) + 1);
      }
      structuredClone(message, { transfer: buffersOf(message) });
    };
    world.write([put('a', 'x'.repeat(300_000))]);
    for (let sub = 1; sub <= 700; sub++) expect(sent.get(sub)).toBe(sub % 3 > 0 ? 2 : 1);
  });
});

describe('state hashes', () => {
  test('come before the records they are of: the newest of a part, to who asked and has everything', () => {
    const world = new World();
    for (let i = 0; i < 200; i++) world.write([put('a')]);
    for (const revision of [64, 128, 192]) world.hashes.set(revision, revision * 3);
    world.subscribe(1, { mode: 'ledger', wantsHashes: true });
    world.subscribe(2, { mode: 'ledger' });
    world.subscribe(3, { mode: 'ledger', wantsHashes: true, filter: parseFilter({ prefixes: ['a'] }) });
    world.hashes.set(256, 9);
    for (let i = 0; i < 60; i++) world.write([put('a')]);
    const parts = world.parts(1);
    const hashes = parts.flatMap((part, i) =>
      part.part === 'hash' ? [{ told: part.revisions, next: parts[i + 1] }] : [],
    );
    expect(hashes.map(({ told }) => told)).toEqual([192, 256].map((at) => [at, world.hashes.get(at)]));
    for (const { told, next } of hashes) {
      expect(next?.part).toBe('records');
      expect(next?.revisions).toContain(told[0]);
    }
    for (const sub of [2, 3]) expect(world.parts(sub).some(({ part }) => part === 'hash')).toBe(false);
  });

  test('one that is not noted is not told', () => {
    const world = new World();
    world.subscribe(1, { mode: 'ledger', wantsHashes: true });
    for (let i = 0; i < 130; i++) world.write([put('a')]);
    expect(world.parts(1).some(({ part }) => part === 'hash')).toBe(false);
  });
});

describe('checked parts', () => {
  /** What `sub` was sent, opened as its reader opens it: the kinds of parts that were checked. */
  function opened(world: World, sub: number): number[] {
    let before = 0;
    return world.posted.flatMap(handed).flatMap((part) => {
      if (part.sub !== sub) return [];
      const reader = new ByteReader(part.frame, 1);
      reader.varint();
      const payload = reader.raw(reader.left);
      if (payload[0] !== PART.checked) return [];
      const opens = openChecked(payload, before);
      before = opens.check;
      return [opens.part[0] as number];
    });
  }

  test('a snapshot is checked from its first part to its last, and says how many rows it had', () => {
    const world = new World({ windowBytes: 200 });
    for (let i = 0; i < 20; i++) world.write([put(`k${i}`, 'x'.repeat(20_000))]);
    world.subscribe(1, { mode: 'ledger', wantsChecks: true });
    const { snapshotBegin, snapshotEntries, snapshotEnd } = PART;
    const parts = opened(world, 1);
    expect(parts).toEqual([snapshotBegin, ...parts.slice(1, -1).map(() => snapshotEntries), snapshotEnd]);
    expect(parts.length).toBeGreaterThan(4);
    const end = world.posted.flatMap(handed).at(-1);
    const reader = new ByteReader(end?.frame.subarray(-16) ?? new Uint8Array(0));
    expect([reader.u64(), reader.u64()]).toEqual([20, 20]);
    // Behind it the hashes of all records say more.
    world.write([put('a')]);
    expect(opened(world, 1)).toEqual(parts);
  });

  test('filtered records are checked, each part with all before it', () => {
    const world = new World();
    world.subscribe(1, { mode: 'ledger', wantsChecks: true, filter: parseFilter({ prefixes: ['a'] }) });
    for (const key of ['a1', 'b', 'a2']) world.write([put(key)]);
    expect(opened(world, 1)).toEqual([PART.records, PART.records, PART.records]);
    expect(world.revisions(1)).toEqual([1, 2, 3]);
  });

  test('who did not ask for it is sent what it always was', () => {
    const world = new World({ windowBytes: 200 });
    for (let i = 0; i < 9; i++) world.write([put(`k${i}`, 'x'.repeat(100))]);
    world.subscribe(1, { mode: 'ledger' });
    world.subscribe(2, { mode: 'ledger', filter: parseFilter({ prefixes: ['k'] }) });
    expect([opened(world, 1), opened(world, 2)]).toEqual([[], []]);
    expect(world.parts(1).map(({ part }) => part)).toEqual(['hello', 'begin', 'entries', 'end']);
    const end = world.posted.flatMap(handed).findLast(({ sub }) => sub === 1);
    // Frame type, request, part, revision: as it was before there were checks.
    expect(end?.frame.length).toBe(11);
  });
});
