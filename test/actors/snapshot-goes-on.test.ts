/**
 * Snapshots that break off, between a real shipper and a real reflector: at every part, whatever changes meanwhile, the LDB ends
 * as the state is, and what it had is not fetched again.
 */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type LedgerSource, type ReflectorEvent, REAL_WORLD, runReflector } from '../../src/actors/reflector.ts';
import type { FromShipper } from '../../src/actors/shipper-messages.ts';
import { LedgerStream } from '../../src/client/streams.ts';
import type { LedgerFrame } from '../../src/client/types.ts';
import { ByteReader, ByteWriter, utf8 } from '../../src/core/base/bytes.ts';
import { StoreError } from '../../src/core/base/errors.ts';
import { toIndex } from '../../src/core/base/position.ts';
import { encodeSchema, familyKey, FAMILY_VALUE, rowsPrefix, tableKey } from '../../src/core/model/control/schema.ts';
import type { Change } from '../../src/core/model/ledger.ts';
import { type LedgerFilter, parseFilter } from '../../src/core/model/ledger-filter.ts';
import { decodeLedger, PART } from '../../src/core/wire/client.ts';
import { encodeMark, readMark, type SnapshotMark } from '../../src/engine/ldb/arriving.ts';
import { decodePosition, FIRST_KEY, POSITION_KEY, storedRow } from '../../src/engine/ldb/format.ts';
import { openLmdbStore } from '../../src/engine/ldb/lmdb-store.ts';
import { type LdbStore, MARK_KEY } from '../../src/engine/ldb/store.ts';
import { LdbWriter } from '../../src/engine/ldb/writer.ts';
import { temporaryDir } from '../engine/ldb/ledger.ts';
import { handed, put, World } from './shipper-world.ts';

const change = (key: Uint8Array, value: Uint8Array): Change => ({ kind: 'put', key, value, expiryMs: 0 });
const remove = (key: string | Uint8Array): Change => ({
  kind: 'delete',
  key: typeof key === 'string' ? utf8(key) : key,
  value: new Uint8Array(0),
  expiryMs: 0,
});
const keyOf = (n: number): string => `k${String(n).padStart(3, '0')}`;
/** Two rows make a part. */
const BIG = 70_000;
const ROWS = 8;

let dir: ReturnType<typeof temporaryDir>;
let world: World;
let nextSub: number;

beforeEach(() => {
  dir = temporaryDir();
  world = filled();
  nextSub = 1;
});

afterEach(() => {
  world.shipper.close();
  dir.remove();
});

/** Rows whose records have left the ledger, so that a new LDB gets a snapshot. */
function filled(): World {
  const made = new World();
  for (let n = 0; n < ROWS; n++) made.write([put(keyOf(n * 10), `${n}`.padEnd(BIG, 'x'))], false);
  made.append();
  made.ledgerFrom = made.applied;
  return made;
}

interface Faults {
  readonly filter?: LedgerFilter | undefined;
  /** Of each stream so many parts come; then it ends, or, when `comesBack`, the SDK goes on with it on another connection. */
  readonly partsMax?: number;
  readonly comesBack?: () => boolean;
  /** It is too old to know of such a thing. */
  readonly refusesToGoOn?: boolean;
  /** What comes instead of a part, by its number in all streams. */
  readonly changed?: (payload: Uint8Array, part: number) => Uint8Array;
}

/** What the SDK and the gateway do between a shipper and a reflector. */
class Wire {
  readonly #faults: Faults;
  parts = 0;
  /** Keys of the rows that came, in the order in which they came. */
  readonly keys: string[] = [];

  constructor(faults: Faults = {}) {
    this.#faults = faults;
  }

  readonly source: LedgerSource = (asked) => this.#follow(asked);

  async *#follow(asked: Parameters<LedgerSource>[0]): AsyncGenerator<LedgerFrame> {
    const { filter, partsMax = Infinity, comesBack, changed = (payload) => payload } = this.#faults;
    if (this.#faults.refusesToGoOn === true && asked.goOn?.from !== undefined) {
      throw new StoreError('PROTOCOL_ERROR', 'cannot read at offset 9: 12 bytes too many');
    }
    let sub = 0;
    const stream = new LedgerStream(asked, {
      onConsumed: (bytes) => world.credit(sub, bytes),
      onReturn: () => world.shipper.receive({ kind: 'cancel', sub }),
    });
    let [seen, came] = [0, 0];
    const connect = (): void => {
      const writer = new ByteWriter(64);
      stream.request(writer, 1);
      sub = nextSub++;
      [seen, came] = [world.posted.length, 0];
      const ledger = decodeLedger(new ByteReader(writer.take()));
      world.subscribe(sub, { mode: 'ledger', ...ledger, filter });
    };
    const disconnect = (): void => {
      world.shipper.receive({ kind: 'cancel', sub });
      if (comesBack?.() === true) connect();
      else stream.end(new StoreError('UNAVAILABLE', 'cut off'));
    };
    const deliver = (): void => {
      while (seen < world.posted.length && stream.isLive) {
        const message = world.posted[seen++] as FromShipper;
        if (message.kind === 'end' && message.sub === sub) stream.end(new StoreError('UNAVAILABLE', 'ended'));
        for (const part of handed(message).filter((one) => one.sub === sub)) {
          if (came++ === partsMax) return disconnect();
          const reader = new ByteReader(part.frame, 1);
          reader.varint();
          stream.part(changed(reader.raw(reader.left).slice(), ++this.parts), part.frame.length);
        }
      }
    };
    connect();
    for (;;) {
      for (let before = -1; before < seen; ) {
        before = seen;
        deliver();
      }
      if (stream.heldBytes === 0 && stream.isLive) await stopped(asked.signal);
      const { value, done } = await stream.queue.next();
      if (done === true) return;
      if (value.kind === 'snapshot-entries') this.keys.push(...value.entries.map(({ key }) => text(key)));
      yield value;
    }
  }
}

const text = (key: Uint8Array): string => Buffer.from(key).toString('latin1');

function stopped(signal: AbortSignal | undefined): Promise<never> {
  return new Promise((_, reject) => {
    const end = (): void => reject(new StoreError('CANCELLED', 'it was stopped'));
    if (signal?.aborted === true) end();
    signal?.addEventListener('abort', end, { once: true });
  });
}

interface Life {
  readonly wire: Wire;
  readonly events: ReflectorEvent[];
}

/** A life of a reflector: until `isOver` says so of an event. */
async function live(
  faults: Faults,
  isOver: (event: ReflectorEvent) => boolean,
  tap: (store: LdbStore) => LdbStore = (store) => store,
): Promise<Life> {
  const wire = new Wire(faults);
  const events: ReflectorEvent[] = [];
  const stop = new AbortController();
  await runReflector(
    {
      source: wire.source,
      dir: dir.path,
      signal: stop.signal,
      onEvent: (event) => {
        events.push(event);
        if (isOver(event)) stop.abort();
      },
    },
    {
      ...REAL_WORLD,
      open: async (path) => LdbWriter.over(tap(await openLmdbStore(path)), path),
      sleep: () => new Promise((done) => setImmediate(done)),
      gatherBytesMax: 1,
    },
  );
  return { wire, events };
}

const isCut = ({ kind }: ReflectorEvent): boolean => kind === 'retry';
const isThere = (event: ReflectorEvent): boolean =>
  (event.kind === 'applied' || (event.kind === 'snapshot' && event.state === 'end')) &&
  event.revision === world.applied;

/** Rows of the state, as far as `wanted`, and of the LDB; with their revisions. */
async function both(wanted: (key: Uint8Array) => boolean = () => true): Promise<{ state: string[]; ldb: string[] }> {
  const show = (row: { key: Uint8Array; value: Uint8Array; revision: number }): string =>
    `${text(row.key)} ${row.revision} ${text(row.value.subarray(0, 9))}${row.value.length}`;
  const state: string[] = [];
  const cursor = world.memtable.scan(
    { from: new Uint8Array(0), to: undefined, reverse: false },
    toIndex(world.applied),
  );
  for (let row = cursor.next(); row !== undefined; row = cursor.next()) if (wanted(row.key)) state.push(show(row));
  cursor.close();
  const store = await openLmdbStore(dir.path);
  try {
    expect(decodePosition(store.meta(POSITION_KEY) as Uint8Array, 1000, '').revision).toBe(world.applied);
    expect(readMark(store.view('incoming')), 'nothing is left of it').toBeUndefined();
    const rows = [...store.view('rows').range(FIRST_KEY, undefined)];
    return { state, ldb: rows.map(({ key, row }) => show(storedRow(key, row))) };
  } finally {
    await store.close();
  }
}

const eventsOf = <K extends ReflectorEvent['kind']>(
  { events }: Life,
  kind: K,
): Extract<ReflectorEvent, { kind: K }>[] =>
  events.filter((event): event is Extract<ReflectorEvent, { kind: K }> => event.kind === kind);

/** One that came, one that goes, one of before, one of behind: wherever the cut is, some are on each side. */
function meanwhile(round: number): void {
  world.write([put(keyOf(round * 10 + 1), 'new'), remove(keyOf(round * 10)), put(keyOf(5), `${round}`)], false);
  world.write([put(keyOf(75 - round), 'behind'), remove(keyOf(70 - round * 10))], false);
  world.append();
}

/** Parts of a snapshot that nobody cuts. */
async function partsOfAll(faults: Faults = {}): Promise<number> {
  const { wire } = await live(faults, isThere);
  dir.remove();
  dir = temporaryDir();
  return wire.parts;
}

describe('everything', () => {
  test('cut at any part: the next life has what came of it, and fetches the rest', async () => {
    const all = await partsOfAll();
    // hello, begin, rows, end
    expect(all).toBe(ROWS / 2 + 3);
    for (let partsMax = 1; partsMax < all; partsMax++) {
      const first = await live({ partsMax }, isCut);
      const came = new Set(first.wire.keys).size;
      meanwhile(partsMax % 7);
      const second = await live({}, isThere);
      const { state, ldb } = await both();
      expect(ldb, `cut after ${partsMax} parts`).toEqual(state);
      const [begin] = eventsOf(second, 'snapshot');
      expect(begin).toMatchObject({ state: 'begin', entries: came });
      for (const { about } of eventsOf(second, 'arrived')) expect(about).toBe(1_000 + world.applied);
      expect(second.wire.keys.filter((key) => first.wire.keys.includes(key))).toEqual([]);
      expect(eventsOf(second, 'given-up')).toEqual([]);
      dir.remove();
      dir = temporaryDir();
      world = filled();
    }
  });

  test('cut again and again, also among the records that it goes on with: it gets on each time', async () => {
    let entries = 0;
    let lives = 0;
    for (let isDone = false; !isDone; lives++) {
      // hello, begin, records, rows
      const life = await live({ partsMax: 4 }, (event) => isCut(event) || isThere(event));
      isDone = life.events.some(isThere);
      const arrived = eventsOf(life, 'arrived').at(-1);
      if (!isDone) expect(arrived?.entries).toBeGreaterThan(entries);
      entries = arrived?.entries ?? entries;
      if (!isDone && lives < 4) meanwhile(lives + 1);
    }
    expect(lives).toBeGreaterThan(3);
    const { state, ldb } = await both();
    expect(ldb).toEqual(state);
  });

  test('a connection that is lost in the middle is gone on with in the same stream', async () => {
    let round = 0;
    const comesBack = (): boolean => {
      if (round < 5) meanwhile(++round);
      return true;
    };
    const life = await live({ partsMax: 4, comesBack }, isThere);
    const { state, ldb } = await both();
    expect(ldb).toEqual(state);
    expect(round).toBeGreaterThan(2);
    expect(new Set(life.wire.keys).size).toBe(life.wire.keys.length);
    expect(eventsOf(life, 'retry')).toEqual([]);
  });

  test('the ledger no longer reaches back: it is told, and all of it is fetched', async () => {
    await live({ partsMax: 5 }, isCut);
    meanwhile(1);
    world.ledgerFrom = world.applied;
    const second = await live({}, isThere);
    expect(eventsOf(second, 'given-up')).toMatchObject([{ reason: expect.stringContaining('does not reach back') }]);
    const { state, ldb } = await both();
    expect(ldb).toEqual(state);
    expect(second.wire.keys).toHaveLength(ldb.length);
  });

  test('it stops reaching back while records are on their way: it begins anew in the same stream', async () => {
    await live({ partsMax: 5 }, isCut);
    meanwhile(1);
    const changed = (payload: Uint8Array): Uint8Array => {
      // The begin has come, and no record yet.
      if (payload[0] === PART.checked) world.ledgerFrom = world.applied + 1;
      return payload;
    };
    const second = await live({ changed }, isThere);
    expect(eventsOf(second, 'given-up')).toHaveLength(1);
    expect(eventsOf(second, 'snapshot').map((event) => [event.state, event.entries > 0])).toEqual([
      ['begin', true],
      ['begin', false],
      ['end', true],
    ]);
    const { state, ldb } = await both();
    expect(ldb).toEqual(state);
    expect(eventsOf(second, 'retry')).toEqual([]);
  });

  test('the node was restarted meanwhile: its records are in the tree', async () => {
    const first = await live({ partsMax: 5 }, isCut);
    meanwhile(1);
    world.shipper.close();
    world = new World({ before: world });
    const second = await live({}, isThere);
    const { state, ldb } = await both();
    expect(ldb).toEqual(state);
    expect(second.wire.keys.filter((key) => first.wire.keys.includes(key))).toEqual([]);
    expect(eventsOf(second, 'given-up')).toEqual([]);
  });

  test('a node that is behind it waits, and goes on with it once it is not', () => {
    const goOn = { revision: world.applied + 2, after: utf8(keyOf(50)) };
    const kinds = (): string[] => world.parts(1).map(({ part }) => part);
    world.subscribe(1, { mode: 'ledger', goOn });
    expect(kinds()).toEqual(['hello']);
    world.write([put('a')]);
    expect(kinds()).toEqual(['hello']);
    world.write([put('b')]);
    expect(kinds().slice(0, 3)).toEqual(['hello', 'begin', 'entries']);
    expect(world.parts(1)[2]?.keys[0]).toBe(keyOf(60));
  });

  test('a part that was changed on its way is fetched again, and nothing before it', async () => {
    let part = 0;
    const changed = (payload: Uint8Array): Uint8Array => {
      if (++part === 5) payload[payload.length - 3] = (payload.at(-3) as number) ^ 4;
      return payload;
    };
    const life = await live({ changed }, isThere);
    const { state, ldb } = await both();
    expect(ldb).toEqual(state);
    expect(eventsOf(life, 'damaged')).toHaveLength(1);
    expect(life.wire.keys).toHaveLength(ROWS);
  });

  test('killed while it is put in its place: only its end is fetched again', async () => {
    let fails = true;
    const tap = (store: LdbStore): LdbStore => {
      const adoptIncoming = store.adoptIncoming.bind(store);
      store.adoptIncoming = async (meta) => {
        if (!fails) return adoptIncoming(meta);
        fails = false;
        throw new Error('ENOSPC: no space left on device');
      };
      return store;
    };
    const first = await live({}, isCut, tap);
    expect(first.wire.keys).toHaveLength(ROWS);
    meanwhile(2);
    const second = await live({}, isThere);
    expect(second.wire.keys.filter((key) => first.wire.keys.includes(key))).toEqual([]);
    const { state, ldb } = await both();
    expect(ldb).toEqual(state);
  });

  test('a node that is too old to go on with it is asked without', async () => {
    await live({ partsMax: 5 }, isCut);
    const second = await live({ refusesToGoOn: true }, isThere);
    expect(eventsOf(second, 'given-up')).toMatchObject([{ reason: expect.stringContaining('too old') }]);
    expect(eventsOf(second, 'retry')).toHaveLength(1);
    const { state, ldb } = await both();
    expect(ldb).toEqual(state);
  });

  test('of another cluster it is given up', async () => {
    await live({ partsMax: 5 }, isCut);
    const store = await openLmdbStore(dir.path);
    const mark = readMark(store.view('incoming'));
    expect(mark).toMatchObject({ cluster: 'c', rows: expect.any(Number) });
    await store.addIncoming([{ key: MARK_KEY, row: encodeMark({ ...(mark as SnapshotMark), cluster: 'another' }) }]);
    await store.close();
    const second = await live({}, isThere);
    expect(eventsOf(second, 'given-up')).toHaveLength(1);
    const { state, ldb } = await both();
    expect(ldb).toEqual(state);
  });
});

describe('a part of the data', () => {
  const filter = parseFilter({ families: ['billing'], prefixes: ['k'] });
  const table = (id: number, of: string, name: string): Change => {
    const fields = [{ name: 'id', type: 'string' as const, added: 0 }];
    const schema = { family: of, table: name, id, epoch: 1, version: 1, created: 1, fields, key: [0] };
    return change(tableKey(of, name), encodeSchema(schema));
  };
  const rowKey = (id: number, n: number): Uint8Array => Uint8Array.of(...rowsPrefix({ id, epoch: 1 }), 2, n);

  function filledTables(): World {
    const made = filled();
    made.write([change(familyKey('billing'), FAMILY_VALUE), table(1, 'billing', 'plans')], false);
    made.write([change(familyKey('secret'), FAMILY_VALUE), table(2, 'secret', 'keys'), put('other')], false);
    for (let n = 0; n < 6; n++)
      made.write([change(rowKey(1, n), new Uint8Array(BIG)), change(rowKey(2, n), new Uint8Array(9))], false);
    made.append();
    made.ledgerFrom = made.applied;
    return made;
  }

  const isWanted = (key: Uint8Array): boolean => {
    const name = text(key);
    return (
      name.startsWith('k') ||
      ['billing', text(rowsPrefix({ id: 1, epoch: 1 })), text(rowsPrefix({ id: 3, epoch: 1 }))].some((part) =>
        name.includes(part),
      )
    );
  };

  test('cut at any part, with tables that come and rows that go meanwhile', async () => {
    world = filledTables();
    const all = await partsOfAll({ filter });
    for (let partsMax = 2; partsMax < all; partsMax += 2) {
      world = filledTables();
      const first = await live({ filter, partsMax }, isCut);
      meanwhile(partsMax % 7);
      world.write(
        [table(3, 'billing', 'prices'), change(rowKey(3, 1), new Uint8Array(3)), remove(rowKey(1, 2))],
        false,
      );
      world.write([change(rowKey(2, 1), new Uint8Array(3)), change(rowKey(1, 9), new Uint8Array(3))]);
      const second = await live({ filter }, isThere);
      const { state, ldb } = await both(isWanted);
      expect(ldb, `cut after ${partsMax} parts`).toEqual(state);
      expect(second.wire.keys.filter((key) => first.wire.keys.includes(key))).toEqual([]);
      dir.remove();
      dir = temporaryDir();
    }
  });

  test('of another part it is given up', async () => {
    await live({ filter, partsMax: 5 }, isCut);
    const second = await live({ filter: parseFilter({ prefixes: ['k'] }) }, isThere);
    expect(eventsOf(second, 'given-up')).toHaveLength(1);
    const { state, ldb } = await both((key) => text(key).startsWith('k'));
    expect(ldb).toEqual(state);
  });
});
