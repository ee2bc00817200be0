import { setImmediate as nextTurn } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  type LedgerSource,
  type ReflectorEvent,
  type ReflectorWorld,
  runReflector,
} from '../../src/actors/reflector.ts';
import type { Client, LedgerFrame, LedgerOptions } from '../../src/client/types.ts';
import { utf8 } from '../../src/core/base/bytes.ts';
import { StoreError } from '../../src/core/base/errors.ts';
import { StateHash } from '../../src/core/model/state-hash.ts';
import { type LedgerFilter, parseFilter } from '../../src/core/model/ledger-filter.ts';
import { type LdbReader, openLdb } from '../../src/engine/ldb/index.ts';
import { LdbWriter, type SnapshotRow } from '../../src/engine/ldb/writer.ts';
import { del, dump, put, records, revisionOf, StreamModel, streamRecords, temporaryDir } from '../engine/ldb/ledger.ts';

const HELLO: LedgerFrame = { kind: 'hello', cluster: 'c1', node: 'n1' };
const RETRY = { retryDelayMs: 1, retryDelayMsMax: 4 };
const of = (bytes: Uint8Array): LedgerFrame => ({ kind: 'records', bytes });

let dir: ReturnType<typeof temporaryDir>;
let stop: AbortController;
let events: ReflectorEvent[];

beforeEach(() => {
  dir = temporaryDir();
  stop = new AbortController();
  events = [];
});

afterEach(() => {
  dir.remove();
});

/** Ends as the SDK's stream does when its signal says so. */
function untilStopped(signal: AbortSignal | undefined): Promise<never> {
  return new Promise((_, reject) => {
    const end = (): void => reject(new StoreError('CANCELLED', 'the stream was cancelled'));
    if (signal?.aborted === true) end();
    signal?.addEventListener('abort', end, { once: true });
  });
}

/** A stream per subscription; the last one stays open. */
function streams(...scripts: readonly (readonly (LedgerFrame | Error)[])[]): LedgerSource & { asked: LedgerOptions[] } {
  const asked: LedgerOptions[] = [];
  async function* source(options: LedgerOptions): AsyncGenerator<LedgerFrame> {
    const script = scripts[asked.length] ?? [];
    asked.push(options);
    for (const frame of script) {
      if (frame instanceof Error) throw frame;
      yield frame;
    }
    if (asked.length >= scripts.length) await untilStopped(options.signal);
  }
  return Object.assign(source, { asked });
}

const reflect = (source: LedgerSource): Promise<void> =>
  runReflector({ source, dir: dir.path, signal: stop.signal, onEvent: (event) => events.push(event), ...RETRY });

/** Runs until the LDB is at `revision`, then stops. */
async function reflectUntil(revision: number, source: LedgerSource): Promise<void> {
  const run = runReflector({
    source,
    dir: dir.path,
    signal: stop.signal,
    ...RETRY,
    onEvent: (event) => {
      events.push(event);
      if (
        'revision' in event &&
        event.revision >= revision &&
        !(event.kind === 'snapshot' && event.state === 'begin')
      ) {
        stop.abort();
      }
    },
  });
  await run;
}

function withLdb<T>(look: (ldb: LdbReader) => T): T {
  const ldb = openLdb(dir.path);
  try {
    return look(ldb);
  } finally {
    ldb.close();
  }
}

const kinds = (): string[] => events.map((event) => event.kind);

test("the SDK's ledger is a source", () => {
  const ledger: Client['ledger'] = streams([]);
  const source: LedgerSource = ledger;
  expect(source).toBe(ledger);
});

test('records are applied in order and the position is told', async () => {
  const source = streams([HELLO, of(streamRecords(1, 3)), of(streamRecords(4, 2))]);
  await reflectUntil(5, source);
  expect(source.asked[0]).toMatchObject({ fromRevision: 1, cluster: '' });
  expect(events[0]).toEqual({ kind: 'following', revision: 0, timeMs: 0 });
  expect(withLdb((ldb) => [ldb.revision, ldb.cluster])).toEqual([5, 'c1']);
  expect(withLdb(dump)).toEqual(new StreamModel().advanceTo(5).dump());
});

test('what arrives during a commit is the next commit', async () => {
  const frames = Array.from({ length: 200 }, (_, i) => of(streamRecords(i + 1, 1)));
  await reflectUntil(200, streams([HELLO, ...frames]));
  const applied = events.filter((event) => event.kind === 'applied');
  expect(applied.length).toBeLessThan(100);
  expect(applied.reduce((sum, { records: count }) => sum + count, 0)).toBe(200);
  expect(withLdb(dump)).toEqual(new StreamModel().advanceTo(200).dump());
});

test('a source that is faster than LMDB is made to wait', async () => {
  const value = new Uint8Array(1 << 20);
  let pulled = 0;
  let applied = 0;
  let ahead = 0;
  async function* source({ signal }: LedgerOptions): AsyncGenerator<LedgerFrame> {
    yield HELLO;
    for (pulled = 1; pulled <= 40; pulled++) {
      ahead = Math.max(ahead, pulled - applied);
      yield of(records(pulled, [put('big', value)]));
    }
    await untilStopped(signal);
  }
  const onEvent = (event: ReflectorEvent): void => {
    if (event.kind !== 'applied') return;
    applied = event.revision;
    if (applied === 40) stop.abort();
  };
  await runReflector({ source, dir: dir.path, signal: stop.signal, onEvent });
  expect(ahead).toBeLessThan(15);
});

test('it goes on from the position of the LDB, under its cluster', async () => {
  const writer = await LdbWriter.open(dir.path);
  await writer.apply(streamRecords(1, 7), 'c1');
  await writer.close();
  const source = streams([HELLO, of(streamRecords(8, 1))]);
  await reflectUntil(8, source);
  expect(source.asked[0]).toMatchObject({ fromRevision: 8, cluster: 'c1' });
});

test('a snapshot replaces the state, and records follow it', async () => {
  const model = new StreamModel().advanceTo(30);
  const [head, tail] = [model.snapshotRows().slice(0, 5), model.snapshotRows().slice(5)];
  const source = streams([
    HELLO,
    of(records(1, [put('old', 'x')])),
    { kind: 'snapshot-begin', revision: revisionOf(30), timeMs: 1_000_300 },
    { kind: 'snapshot-entries', entries: head },
    { kind: 'snapshot-entries', entries: tail },
    { kind: 'snapshot-end', revision: revisionOf(30) },
    of(streamRecords(31, 4)),
  ]);
  await reflectUntil(34, source);
  expect(kinds()).toEqual(['following', 'applied', 'snapshot', 'snapshot', 'applied']);
  expect(events[3]).toEqual({
    kind: 'snapshot',
    state: 'end',
    revision: 30,
    timeMs: 1_000_300,
    entries: model.rows.size,
  });
  expect(withLdb(dump)).toEqual(model.advanceTo(34).dump());
});

test('a snapshot that is cut off by a new hello is void', async () => {
  const source = streams([
    HELLO,
    { kind: 'snapshot-begin', revision: revisionOf(30), timeMs: 0 },
    { kind: 'snapshot-entries', entries: new StreamModel().advanceTo(30).snapshotRows() },
    HELLO,
    of(streamRecords(1, 2)),
  ]);
  await reflectUntil(2, source);
  expect(withLdb(dump)).toEqual(new StreamModel().advanceTo(2).dump());
});

test('a snapshot that lacks rows is not taken: it is counted, and asked for again', async () => {
  const model = new StreamModel().advanceTo(30);
  const script = (rows: readonly SnapshotRow[]): LedgerFrame[] => [
    HELLO,
    { kind: 'snapshot-begin', revision: revisionOf(30), timeMs: 1_000_300 },
    { kind: 'snapshot-entries', entries: rows },
    { kind: 'snapshot-end', revision: revisionOf(30), rows: model.rows.size },
  ];
  const short = script(model.snapshotRows().slice(1));
  await reflectUntil(30, streams(short, short, script(model.snapshotRows())));
  expect(kinds().filter((kind) => kind === 'damaged')).toHaveLength(2);
  const delays = events.flatMap((event) => (event.kind === 'retry' ? [event.delayMs] : []));
  expect(delays.every((delayMs) => delayMs > 0)).toBe(true);
  expect(withLdb(dump)).toEqual(model.dump());
});

test('a gap ends the stream, and the next one begins at the position, at once', async () => {
  const source = streams([HELLO, of(streamRecords(1, 2)), of(streamRecords(4, 2))], [HELLO, of(streamRecords(3, 3))]);
  await reflectUntil(5, source);
  expect(source.asked.map(({ fromRevision }) => fromRevision)).toEqual([1, 3]);
  expect(events.find((event) => event.kind === 'retry')).toMatchObject({ delayMs: 0 });
  expect(withLdb(dump)).toEqual(new StreamModel().advanceTo(5).dump());
});

test('a gap that comes again and again is not tried in a tight loop', async () => {
  const bad = [HELLO, of(streamRecords(9, 1))];
  await reflectUntil(1, streams(bad, bad, bad, [HELLO, of(streamRecords(1, 1))]));
  const delays = events.filter((event) => event.kind === 'retry').map(({ delayMs }) => delayMs);
  expect(delays.length).toBe(3);
  expect(delays[0]).toBe(0);
  expect(delays[1]).toBeGreaterThan(0);
  expect(delays[2]).toBeGreaterThan(0);
});

test('errors that may pass, and streams that end, are tried again', async () => {
  const source = streams(
    [new StoreError('UNAVAILABLE', 'no node answers')],
    [HELLO, of(streamRecords(1, 1)), new Error('socket hang up')],
    [HELLO],
    [HELLO, of(streamRecords(2, 1))],
  );
  await reflectUntil(2, source);
  expect(events.filter((event) => event.kind === 'retry').map(({ reason }) => reason)).toEqual([
    'no node answers',
    'socket hang up',
    'the ledger stream ended',
  ]);
});

test('another cluster is fatal, and the LDB stays as it is', async () => {
  const writer = await LdbWriter.open(dir.path);
  await writer.apply(streamRecords(1, 3), 'another');
  await writer.close();
  await expect(reflect(streams([HELLO]))).rejects.toMatchObject({ code: 'LDB_FOREIGN' });
  await expect(reflect(streams([new StoreError('LDB_FOREIGN', 'says the node')]))).rejects.toThrow('says the node');
  expect(withLdb((ldb) => ldb.cluster)).toBe('another');
});

test('an LDB that has a writer is fatal', async () => {
  const writer = await LdbWriter.open(dir.path);
  await expect(reflect(streams([HELLO]))).rejects.toMatchObject({ code: 'DIR_LOCKED' });
  await writer.close();
});

test('a stream out of order is fatal', async () => {
  const wrong: LedgerFrame[][] = [
    [of(streamRecords(1, 1))],
    [HELLO, { kind: 'snapshot-entries', entries: [] }],
    [HELLO, { kind: 'snapshot-begin', revision: revisionOf(3), timeMs: 0 }, of(streamRecords(1, 1))],
    [
      HELLO,
      { kind: 'snapshot-begin', revision: revisionOf(3), timeMs: 0 },
      { kind: 'snapshot-end', revision: revisionOf(4) },
    ],
  ];
  for (const script of wrong) {
    await expect(reflect(streams(script))).rejects.toMatchObject({ code: 'PROTOCOL_ERROR' });
  }
});

test('stopping finishes what was taken and lets the next writer in', async () => {
  const source = streams([HELLO, ...Array.from({ length: 50 }, (_, i) => of(streamRecords(i + 1, 1)))]);
  const run = reflect(source);
  while (!kinds().includes('applied')) await new Promise((done) => setTimeout(done, 1));
  stop.abort();
  await run;
  const writer = await LdbWriter.open(dir.path);
  const { revision } = writer;
  await writer.close();
  expect(withLdb(dump)).toEqual(new StreamModel().advanceTo(revision).dump());
});

test('stopping ends a pause between tries', async () => {
  const slow = { retryDelayMs: 60_000, retryDelayMsMax: 60_000 };
  const onEvent = (event: ReflectorEvent): void => {
    if (event.kind === 'retry') setImmediate(() => stop.abort());
  };
  const source = streams([new StoreError('UNAVAILABLE', 'down')], []);
  await runReflector({ source, dir: dir.path, signal: stop.signal, onEvent, ...slow });
});

test('one that is stopped before it begins does nothing', async () => {
  stop.abort();
  await reflect(streams([HELLO]));
  expect(events).toEqual([]);
});

describe('a part of the data', () => {
  const flags = parseFilter({ prefixes: ['flags/'] });
  const billing = parseFilter({ families: ['billing'] });
  const hello = (filter: LedgerFilter | undefined): LedgerFrame => ({ ...HELLO, filter });

  test('the LDB is of what the first stream gives, and another stream that gives other things is given up', async () => {
    await reflectUntil(2, streams([hello(flags), of(records(1, [put('flags/a', 'x')], []))]));
    expect(withLdb((ldb) => ldb.filter)).toEqual(flags);
    stop = new AbortController();
    await expect(reflect(streams([hello(billing)]))).rejects.toMatchObject({ code: 'LDB_FOREIGN' });
    await expect(reflect(streams([HELLO]))).rejects.toMatchObject({ code: 'LDB_FOREIGN' });
    expect(withLdb((ldb) => ldb.revision)).toBe(2);
  });

  test('with rebuild it asks for a snapshot, and is what comes; not before that is whole', async () => {
    await reflectUntil(2, streams([hello(flags), of(records(1, [put('flags/a', 'x')], []))]));
    stop = new AbortController();
    events = [];
    const row = { key: utf8('k'), value: utf8('v'), revision: revisionOf(5), expiryMs: 0 };
    const source = streams(
      [hello(billing)],
      [
        hello(billing),
        { kind: 'snapshot-begin', revision: revisionOf(5), timeMs: 50 },
        { kind: 'snapshot-entries', entries: [row] },
        new StoreError('UNAVAILABLE', 'cut off in the middle'),
      ],
      // Records where a snapshot was asked for are no way to go on.
      [hello(billing), of(records(3, [put('bad', 'x')]))],
    );
    const run = runReflector({
      source,
      dir: dir.path,
      signal: stop.signal,
      rebuild: true,
      ...RETRY,
      onEvent: (event) => {
        events.push(event);
        if (event.kind === 'applied') stop.abort();
      },
    });
    // A protocol error ends it, as nothing good can come of such a server; the LDB is what it was.
    await expect(run).rejects.toMatchObject({ code: 'PROTOCOL_ERROR' });
    expect(withLdb((ldb) => [ldb.filter, ldb.revision, ldb.get('bad')])).toEqual([flags, 2, undefined]);
    expect(source.asked.map(({ wantsSnapshot = false }) => wantsSnapshot)).toEqual([false, true, true]);
    expect(events.find((event) => event.kind === 'retry')).toMatchObject({ delayMs: 0 });

    const again = streams([hello(billing)], [...scriptOf(6, row)]);
    await runReflector({
      source: again,
      dir: dir.path,
      signal: stop.signal,
      rebuild: true,
      ...RETRY,
      onEvent: (event) => {
        if (event.kind === 'applied') stop.abort();
      },
    });
    expect(withLdb((ldb) => [ldb.filter, dump(ldb)])).toEqual([billing, { k: '5=v', k2: '7=w' }]);
  });

  function scriptOf(revision: number, row: SnapshotRow): LedgerFrame[] {
    return [
      hello(billing),
      { kind: 'snapshot-begin', revision: revisionOf(revision), timeMs: 60 },
      { kind: 'snapshot-entries', entries: [row] },
      { kind: 'snapshot-end', revision: revisionOf(revision) },
      of(records(revision + 1, [put('k2', 'w')])),
    ];
  }
});

describe('the state hash', () => {
  const hashOf = (bytes: Uint8Array): number => {
    const hash = new StateHash();
    hash.fold(bytes, 0, bytes.length);
    return hash.value;
  };
  const mark = (revision: number, hash = hashOf(streamRecords(1, revision))): LedgerFrame => ({
    kind: 'hash',
    revision: revisionOf(revision),
    hash,
  });
  const snapshotAt = (revision: number): LedgerFrame[] => [
    { kind: 'snapshot-begin', revision: revisionOf(revision), timeMs: 1 },
    { kind: 'snapshot-entries', entries: new StreamModel().advanceTo(revision).snapshotRows() },
    { kind: 'snapshot-end', revision: revisionOf(revision) },
  ];

  test('is asked for, and as long as it is the cluster’s all is well', async () => {
    const source = streams([HELLO, mark(4), of(streamRecords(1, 5)), mark(8), of(streamRecords(6, 5))]);
    await reflectUntil(10, source);
    expect(source.asked[0]).toMatchObject({ wantsHashes: true });
    expect(kinds()).not.toContain('diverged');
  });

  test('an LDB that was fed by a node with another state gets a snapshot, at once, and is right', async () => {
    const bad = of(records(1, [put('only', 'on a bad node')]));
    const source = streams(
      [HELLO, bad, new StoreError('UNAVAILABLE', 'that node has ended')],
      [HELLO, mark(4), of(streamRecords(2, 5))],
      [HELLO, ...snapshotAt(9), mark(12), of(streamRecords(10, 5))],
    );
    await reflectUntil(14, source);
    expect(source.asked.map(({ wantsSnapshot = false }) => wantsSnapshot)).toEqual([false, false, true]);
    expect(events.find((event) => event.kind === 'diverged')).toEqual({
      kind: 'diverged',
      revision: 4,
      cure: 'snapshot',
    });
    expect(withLdb(dump)).toEqual(new StreamModel().advanceTo(14).dump());
  });

  test('where a snapshot does not help, there is not one after the other: it goes on and says so', async () => {
    const source = streams(
      [HELLO, mark(4, 1), of(streamRecords(1, 5))],
      [HELLO, ...snapshotAt(9), mark(12, 2), of(streamRecords(10, 3)), mark(14, 3), of(streamRecords(13, 3))],
      [HELLO, mark(14, 3), of(streamRecords(13, 3))],
    );
    await reflectUntil(15, source);
    expect(events.flatMap((event) => (event.kind === 'diverged' ? [event.cure] : []))).toEqual(['snapshot', 'none']);
    expect(source.asked.map(({ wantsSnapshot = false }) => wantsSnapshot)).toEqual([false, true, false]);
    expect(withLdb(dump)).toEqual(new StreamModel().advanceTo(15).dump());
  });
});

describe('changes', () => {
  test('are told after their commit, each key once and nothing twice; behind a snapshot anything may have changed', async () => {
    const told: { readonly revision: number; readonly keys: string[] | undefined; readonly seen: number }[] = [];
    const source = streams(
      [HELLO, of(records(1, [put('a', '1'), put('b', '1')], [put('a', '2')]))],
      [
        HELLO,
        of(records(2, [put('a', '2')], [put('c', '3')])),
        { kind: 'snapshot-begin', revision: revisionOf(9), timeMs: 1 },
        { kind: 'snapshot-end', revision: revisionOf(9) },
        of(records(10, [], [del('c')])),
      ],
    );
    await runReflector({
      source,
      dir: dir.path,
      signal: stop.signal,
      ...RETRY,
      onChanges: ({ revision, keys }) => {
        const reader = openLdb(dir.path, { besideWriter: true });
        told.push({ revision, keys: keys?.map((key) => Buffer.from(key).toString()), seen: reader.revision });
        reader.close();
      },
      onEvent: (event) => {
        if (event.kind === 'applied' && event.revision === 11) stop.abort();
      },
    });
    expect(told).toEqual([
      { revision: 2, keys: ['b', 'a'], seen: 2 },
      { revision: 3, keys: ['c'], seen: 3 },
      { revision: 9, keys: undefined, seen: 9 },
      { revision: 11, keys: ['c'], seen: 11 },
    ]);
  });

  test('a listener that throws ends the reflector', async () => {
    const source = streams([HELLO, of(records(1, [put('a', '1')]))]);
    const onChanges = (): never => {
      throw new Error('a bug of its own');
    };
    const run = runReflector({ source, dir: dir.path, signal: stop.signal, ...RETRY, onChanges });
    await expect(run).rejects.toThrow('onChanges threw: Error: a bug of its own');
  });
});

test('a stream that brings nothing is left for another, and one that is only slow is not', async () => {
  let nowMs = 0;
  let ended = 0;
  const due: { readonly atMs: number; readonly wake: () => void }[] = [];
  const world: ReflectorWorld = {
    open: (path) => LdbWriter.open(path),
    sleep: (delayMs, signal) =>
      new Promise((wake) => {
        due.push({ atMs: nowMs + delayMs, wake });
        signal.addEventListener('abort', () => wake());
      }),
    monotonicMs: () => nowMs,
    random: () => 0,
  };
  const pass = async (): Promise<void> => {
    nowMs += 500;
    for (const { wake } of due.filter(({ atMs }) => atMs <= nowMs)) wake();
    await nextTurn();
  };
  async function* source({ fromRevision, signal }: LedgerOptions): AsyncGenerator<LedgerFrame> {
    yield HELLO;
    if (fromRevision === 1) {
      // Slower than any cluster is, and faster than the patience.
      for (let revision = 1; revision <= 3; revision++) {
        const wakesMs = nowMs + 29_000;
        while (nowMs < wakesMs) await nextTurn();
        yield of(streamRecords(revision, 1));
      }
    }
    await untilStopped(signal).finally(() => ended++);
  }
  const run = runReflector(
    { source, dir: dir.path, signal: stop.signal, onEvent: (event) => events.push(event) },
    world,
  );
  while (ended < 2) await pass();
  stop.abort();
  await run;
  expect(nowMs).toBeGreaterThanOrEqual(3 * 29_000 + 2 * 30_000);
  expect(withLdb((ldb) => ldb.revision)).toBe(3);
  const reasons = events.flatMap((event) => (event.kind === 'retry' ? [event.reason] : []));
  expect(reasons).toEqual(Array.from(reasons, () => 'the ledger stream brought nothing for 30 s'));
  expect(reasons.length).toBeGreaterThanOrEqual(1);
});
