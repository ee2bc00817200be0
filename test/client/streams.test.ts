import { afterEach, describe, expect, test, vi } from 'vitest';
import type { StoreClient } from '../../src/client/client.ts';
import type { ConnectOptions, Entry, LedgerFrame, SlowWatch, WatchEvent } from '../../src/client/types.ts';
import { ByteReader, ByteWriter, utf8 } from '../../src/core/base/bytes.ts';
import { crc32c } from '../../src/core/base/crc32c.ts';
import { toIndex } from '../../src/core/base/position.ts';
import type { LedgerRecord } from '../../src/core/model/ledger.ts';
import * as wire from '../../src/core/wire/client.ts';
import { codeOf, type Connection, FakeServer, turns } from './fake-server.ts';

const CREDIT = 1024 * 1024;

let clients: { readonly client: StoreClient; readonly server: FakeServer }[] = [];

afterEach(async () => {
  for (const { client, server } of clients) {
    server.onDial = () => {};
    server.last.lose();
    await client.close();
  }
  clients = [];
});

async function connected(options: ConnectOptions = {}): Promise<{ server: FakeServer; client: StoreClient }> {
  const made = await FakeServer.connected(options);
  clients.push(made);
  return made;
}

const until = (what: string, condition: () => boolean): Promise<void> =>
  vi.waitFor(() => {
    if (!condition()) throw new Error(`not yet: ${what}`);
  });

const rangeOf = (connection: Connection, at = 0): wire.RangeRequest & { id: number } => {
  const asked = connection.streams[at];
  return { id: asked?.id ?? 0, ...wire.decodeRange(new ByteReader(asked?.body ?? new Uint8Array(0))) };
};

const watchOf = (connection: Connection, at = 0): wire.WatchRequest & { id: number } => {
  const asked = connection.streams[at];
  return { id: asked?.id ?? 0, ...wire.decodeWatch(new ByteReader(asked?.body ?? new Uint8Array(0))) };
};

const keysOf = (entries: readonly { keyText(): string }[]): string[] => entries.map((entry) => entry.keyText());

async function take<T>(iterator: AsyncIterator<T>, count: number): Promise<T[]> {
  const taken: T[] = [];
  while (taken.length < count) {
    const { value, done } = await iterator.next();
    if (done === true) break;
    taken.push(value);
  }
  return taken;
}

async function all<T>(iterable: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = [];
  for await (const item of iterable) items.push(item);
  return items;
}

const put = (revision: number, key: string, value = 'v'): LedgerRecord => ({
  revision: toIndex(revision),
  timeMs: revision * 10,
  changes: [{ kind: 'put', key: utf8(key), value: utf8(value), expiryMs: 0 }],
});

const nothing = (revision: number): LedgerRecord => ({
  revision: toIndex(revision),
  timeMs: revision * 10,
  changes: [],
});

describe('ranges', () => {
  test('entries come in the order they were sent, and the range ends where the server says', async () => {
    const { server, client } = await connected();
    const entries = all(client.range({ prefix: 'k' }));
    await turns();
    const { id, from, to, limit } = rangeOf(server.last);
    expect([Buffer.from(from).toString(), Buffer.from(to).toString(), limit]).toEqual(['k', 'l', 0]);
    server.last.entries(id, 9, ['k1', 'k2']);
    server.last.entries(id, 9, ['k3']);
    server.last.end(id);
    expect(keysOf(await entries)).toEqual(['k1', 'k2', 'k3']);
  });

  test('after a lost connection it goes on behind its last key, at the same revision', async () => {
    const { server, client } = await connected();
    const entries = all(client.range({ from: 'a', to: 'z', limit: 4 }));
    await turns();
    expect(rangeOf(server.last)).toMatchObject({ revision: 0, limit: 4 });
    server.last.entries(rangeOf(server.last).id, 9, ['b', 'c']);
    server.last.lose();
    await until('it is asked again', () => server.dials.length === 2 && server.last.streams.length === 1);
    const again = rangeOf(server.last);
    expect(again).toMatchObject({ revision: 9, limit: 2 });
    // The first key behind "c".
    expect([...again.from]).toEqual([...utf8('c'), 0]);
    expect(Buffer.from(again.to).toString()).toBe('z');
    server.last.entries(again.id, 9, ['d', 'e']);
    expect(keysOf(await entries)).toEqual(['b', 'c', 'd', 'e']);
  });

  test('a reversed one goes on before its last key', async () => {
    const { server, client } = await connected();
    const entries = all(client.range({ from: 'a', to: 'z', reverse: true }));
    await turns();
    server.last.entries(rangeOf(server.last).id, 9, ['y', 'x']);
    server.last.lose();
    await until('it is asked again', () => server.dials.length === 2 && server.last.streams.length === 1);
    const again = rangeOf(server.last);
    expect(Buffer.from(again.from).toString()).toBe('a');
    expect(Buffer.from(again.to).toString()).toBe('x');
    server.last.entries(again.id, 9, ['w']);
    server.last.end(again.id);
    expect(keysOf(await entries)).toEqual(['y', 'x', 'w']);
  });

  test('one that reached its limit is complete, and is not asked for again on the next connection', async () => {
    const { server, client } = await connected();
    const entries = all(client.range({ limit: 2 }));
    await turns();
    server.last.entries(rangeOf(server.last).id, 9, ['a', 'b']);
    expect(keysOf(await entries)).toEqual(['a', 'b']);
    // The END frame never comes.
    server.last.lose();
    await until('it is connected again', () => server.dials.length === 2 && client.state === 'connected');
    await turns();
    expect(server.last.streams).toEqual([]);
  });

  test('what another connection had begun is not mixed in', async () => {
    const { server, client } = await connected();
    const entries = all(client.range({}));
    await turns();
    const first = server.last;
    const { id } = rangeOf(first);
    first.entries(id, 9, ['a']);
    first.lose();
    first.entries(id, 9, ['b']);
    await until('it is asked again', () => server.dials.length === 2 && server.last.streams.length === 1);
    server.last.entries(id, 9, ['stale']);
    server.last.entries(rangeOf(server.last).id, 9, ['b']);
    server.last.end(rangeOf(server.last).id);
    expect(keysOf(await entries)).toEqual(['a', 'b']);
  });

  test('a refusal for now is tried again, once; an error for good is thrown after what came', async () => {
    const { server, client } = await connected();
    const range = client.range({})[Symbol.asyncIterator]();
    await turns();
    server.last.end(rangeOf(server.last).id, 'UNAVAILABLE');
    await until('it is asked again', () => server.last.streams.length === 2);
    const again = rangeOf(server.last, 1);
    server.last.entries(again.id, 9, ['a']);
    server.last.end(again.id, 'INTERNAL');
    expect(keysOf(await take(range, 1))).toEqual(['a']);
    expect(await codeOf(range.next())).toBe('INTERNAL');
    expect((await range.next()).done).toBe(true);
    await turns(20);
    expect(server.last.streams).toHaveLength(2);
  });

  test('a stream that waits to be tried again is begun once when the connection comes first', async () => {
    const { server, client } = await connected();
    void all(client.range({})).catch(() => {});
    await turns();
    server.last.end(rangeOf(server.last).id, 'OVERLOADED');
    server.last.lose();
    await until('it is asked again', () => server.dials.length === 2 && server.last.streams.length === 1);
    // Longer than any pause after a first refusal.
    await new Promise((resolve) => setTimeout(resolve, 40));
    expect(server.last.streams).toHaveLength(1);
  });

  test('who leaves early cancels it at the server', async () => {
    const { server, client } = await connected();
    const seen: Entry[] = [];
    const loop = (async () => {
      for await (const entry of client.range({})) {
        seen.push(entry);
        break;
      }
    })();
    await turns();
    const { id } = rangeOf(server.last);
    server.last.entries(id, 9, ['a', 'b']);
    await loop;
    expect(keysOf(seen)).toEqual(['a']);
    expect(server.last.cancels).toEqual([id]);
  });

  test('a deadline is for the whole of it; a signal ends it at once', async () => {
    const { server, client } = await connected();
    const late = client.range({ deadlineMs: 40 })[Symbol.asyncIterator]();
    expect(await codeOf(late.next())).toBe('DEADLINE_EXCEEDED');
    const stop = new AbortController();
    const stopped = client.range({ signal: stop.signal })[Symbol.asyncIterator]();
    const next = codeOf(stopped.next());
    stop.abort();
    expect(await next).toBe('CANCELLED');
    expect(server.last.cancels).toHaveLength(2);
  });

  test('one that nobody answers ends at the client’s deadline, also without a connection', async () => {
    const { server, client } = await connected({ deadlineMs: 60 });
    server.onDial = () => {};
    server.last.lose();
    expect(await codeOf(client.range({})[Symbol.asyncIterator]().next())).toBe('DEADLINE_EXCEEDED');
  });

  test('calls of next that overlap are answered in order, and all end', async () => {
    const { server, client } = await connected();
    const range = client.range({})[Symbol.asyncIterator]();
    const nexts = [range.next(), range.next(), range.next(), range.next()];
    await turns();
    const { id } = rangeOf(server.last);
    server.last.entries(id, 9, ['a', 'b']);
    server.last.end(id);
    const results = await Promise.all(nexts);
    expect(results.map((result) => (result.done === true ? 'done' : result.value.keyText()))).toEqual([
      'a',
      'b',
      'done',
      'done',
    ]);
  });
});

describe('credit', () => {
  test('the server gets back, to the byte, what its frames cost', async () => {
    const { server, client } = await connected();
    const watch = client.watch({ prefix: 'k' })[Symbol.asyncIterator]();
    await turns();
    const { id, creditBytes } = watchOf(server.last);
    expect(creditBytes).toBe(CREDIT);
    let credit = creditBytes;
    let taken = 0;
    const REVISIONS = 60_000;
    for (let revision = 1; revision <= REVISIONS; revision++) {
      if (revision % 10 === 0) credit -= server.last.progress(id, revision);
      else {
        credit -= server.last.records(id, put(revision, 'k'));
        await watch.next();
        taken++;
      }
      for (const { bytes } of server.last.credits.splice(0)) credit += bytes;
      // A reader that keeps up never runs dry, however small the records.
      if (credit < CREDIT - 192 * 1024) throw new Error(`only ${credit} left after ${revision} revisions`);
    }
    expect(taken).toBe(REVISIONS * 0.9);
    expect(credit).toBeLessThanOrEqual(CREDIT);
  });

  test('a replica that follows small records gets all its credit back, too', async () => {
    const { server, client } = await connected();
    const frames = client.ledger({ fromRevision: toIndex(1), cluster: '' })[Symbol.asyncIterator]();
    await turns();
    const [asked] = server.last.streams;
    const id = asked?.id ?? 0;
    let credit = wire.decodeLedger(new ByteReader(asked?.body ?? new Uint8Array(0))).creditBytes;
    for (let revision = 1; revision <= 60_000; revision++) {
      credit -= server.last.records(id, nothing(revision));
      await frames.next();
      for (const { bytes } of server.last.credits.splice(0)) credit += bytes;
    }
    expect(credit).toBeGreaterThan(CREDIT - 192 * 1024);
    expect(credit).toBeLessThanOrEqual(CREDIT);
  });

  test('what is not consumed gives no credit, and counts on after a lost connection', async () => {
    const { server, client } = await connected();
    const range = client.range({})[Symbol.asyncIterator]();
    await turns();
    const value = 'x'.repeat(100_000);
    let held = 0;
    let next = 0;
    /** As a server does: sends while there is credit. */
    const serve = (connection: Connection): void => {
      const request = rangeOf(connection);
      for (let credit = request.creditBytes; credit > 0; ) {
        const bytes = connection.entries(request.id, 9, [`k${String(next++).padStart(4, '0')}`], value);
        credit -= bytes;
        held += bytes;
      }
    };
    serve(server.last);
    for (let lost = 0; lost < 5; lost++) {
      expect(server.last.credits).toEqual([]);
      expect(held).toBeLessThan(CREDIT + 101_000);
      server.last.lose();
      const count = server.dials.length;
      await until('it is asked again', () => server.dials.length === count + 1 && server.last.streams.length === 1);
      serve(server.last);
    }
    // Once it is consumed, the rest comes.
    const sent = next;
    expect(await take(range, sent)).toHaveLength(sent);
    const returned = server.last.credits.reduce((sum, { bytes }) => sum + bytes, 0);
    expect(returned).toBeGreaterThan(CREDIT - 192 * 1024);
    expect(returned).toBeLessThanOrEqual(CREDIT);
  });
});

describe('watches', () => {
  test('events tell where their revision ends', async () => {
    const { server, client } = await connected();
    const watch = client.watch({ key: 'k' })[Symbol.asyncIterator]();
    await turns();
    const { id, from, to } = watchOf(server.last);
    expect([[...from], [...to]]).toEqual([[...utf8('k')], [...utf8('k'), 0]]);
    server.last.progress(id, 6);
    server.last.records(
      id,
      {
        revision: toIndex(7),
        timeMs: 70,
        changes: [
          { kind: 'put', key: utf8('k'), value: utf8('1'), expiryMs: 0 },
          { kind: 'delete', key: utf8('k2'), value: new Uint8Array(0), expiryMs: 0 },
        ],
      },
      put(9, 'k', '2'),
    );
    const events = await take<WatchEvent>(watch, 3);
    expect(events.map((event) => [event.kind, event.revision, event.lastOfRevision, event.text()])).toEqual([
      ['put', 7, false, '1'],
      ['delete', 7, true, ''],
      ['put', 9, true, '2'],
    ]);
  });

  test('after a lost connection it goes on behind the last revision it saw or was told of', async () => {
    const { server, client } = await connected();
    const watch = client.watch({ prefix: 'k' })[Symbol.asyncIterator]();
    await turns();
    server.last.progress(watchOf(server.last).id, 6);
    server.last.records(watchOf(server.last).id, put(7, 'k1'), put(8, 'k2'));
    server.last.lose();
    await until('it is asked again', () => server.dials.length === 2 && server.last.streams.length === 1);
    expect(watchOf(server.last).fromRevision).toBe(9);
    server.last.progress(watchOf(server.last).id, 1_008);
    server.last.lose();
    await until('it is asked a third time', () => server.dials.length === 3 && server.last.streams.length === 1);
    expect(watchOf(server.last).fromRevision).toBe(1_009);
    server.last.records(watchOf(server.last).id, put(1_010, 'k3'));
    expect((await take<WatchEvent>(watch, 3)).map(({ revision }) => revision)).toEqual([7, 8, 1_010]);
  });

  test('one that begins anywhere, and heard nothing yet, asks for whatever comes next again', async () => {
    const { server, client } = await connected();
    void all(client.watch({})).catch(() => {});
    await turns();
    expect(watchOf(server.last).fromRevision).toBe(0);
    server.last.lose();
    await until('it is asked again', () => server.dials.length === 2 && server.last.streams.length === 1);
    expect(watchOf(server.last).fromRevision).toBe(0);
  });

  test('COMPACTED is thrown with the oldest revision, after the events that came before it', async () => {
    const { server, client } = await connected();
    const watch = client.watch({ fromRevision: toIndex(3) })[Symbol.asyncIterator]();
    await turns();
    server.last.end(watchOf(server.last).id, 'COMPACTED', { oldestRevision: 90 });
    await expect(watch.next()).rejects.toMatchObject({ code: 'COMPACTED', data: { oldestRevision: 90 } });
  });

  test('a revision that comes twice ends the connection, not the watch', async () => {
    const { server, client } = await connected();
    const watch = client.watch({})[Symbol.asyncIterator]();
    await turns();
    server.last.records(watchOf(server.last).id, put(7, 'k'));
    server.last.records(watchOf(server.last).id, put(7, 'k'));
    await until('it is asked again', () => server.dials.length === 2 && server.last.streams.length === 1);
    expect(watchOf(server.last).fromRevision).toBe(8);
    server.last.records(watchOf(server.last).id, put(8, 'k'));
    expect((await take<WatchEvent>(watch, 2)).map(({ revision }) => revision)).toEqual([7, 8]);
  });

  test('bookmarks come where they were asked for, in their place among the events, also after a lost connection', async () => {
    const { server, client } = await connected();
    const watch = client.watch({ fromRevision: 7, bookmarks: true })[Symbol.asyncIterator]();
    await turns();
    expect(watchOf(server.last)).toMatchObject({ bookmarks: true, tellSlow: false });
    server.last.progress(watchOf(server.last).id, 6);
    server.last.records(watchOf(server.last).id, put(7, 'k1'));
    server.last.progress(watchOf(server.last).id, 20);
    server.last.lose();
    await until('it is asked again', () => server.dials.length === 2 && server.last.streams.length === 1);
    expect(watchOf(server.last)).toMatchObject({ fromRevision: 21, bookmarks: true });
    server.last.records(watchOf(server.last).id, put(21, 'k2'));
    expect((await take(watch, 4)).map(({ kind, revision }) => `${kind} ${revision}`)).toEqual([
      'bookmark 6',
      'put 7',
      'bookmark 20',
      'put 21',
    ]);
    const plain = client.watch({ fromRevision: 7 })[Symbol.asyncIterator]();
    await turns();
    const { id, bookmarks } = watchOf(server.last, 1);
    expect(bookmarks).toBeUndefined();
    server.last.progress(id, 20);
    server.last.records(id, put(21, 'k3'));
    expect((await take(plain, 1)).map(({ kind }) => kind)).toEqual(['put']);
  });

  test('a slow one is told how far behind it is, though nobody takes its events', async () => {
    const { server, client } = await connected();
    const told: SlowWatch[] = [];
    const watch = client.watch({ fromRevision: 7, onSlow: (news) => told.push(news) })[Symbol.asyncIterator]();
    await turns();
    const { id, tellSlow } = watchOf(server.last);
    expect(tellSlow).toBe(true);
    server.last.records(id, put(7, 'k1'));
    const bytes = server.last.part(id, (writer) => writer.u8(wire.PART.behind).u64(7).u64(90));
    await turns();
    expect(told).toEqual([{ revision: 7, newestRevision: 90, behind: 83 }]);
    expect(bytes).toBeGreaterThan(0);
    server.last.records(id, put(8, 'k2'));
    expect((await take(watch, 2)).map(({ revision }) => revision)).toEqual([7, 8]);
    expect(server.dials).toHaveLength(1);
  });

  test('a deadline of the server does not end a watch', async () => {
    const { server, client } = await connected();
    void all(client.watch({})).catch(() => {});
    await turns();
    server.last.end(watchOf(server.last).id, 'DEADLINE_EXCEEDED');
    await until('it is asked again', () => server.last.streams.length === 2);
  });
});

describe('ledgers', () => {
  const idOf = (connection: Connection): number => connection.streams[0]?.id ?? 0;

  function checked(before: number, part: ByteWriter): { readonly check: number; readonly payload: Uint8Array } {
    const bytes = part.take();
    const writer = new ByteWriter(64);
    const at = wire.beginChecked(writer);
    const check = crc32c(bytes, 0, bytes.length, before);
    writer.raw(bytes);
    wire.endChecked(writer, at, check);
    return { check, payload: writer.take() };
  }

  test('a checked part that is missing ends the stream, and not the connection; what was good is given', async () => {
    const { server, client } = await connected();
    const frames: LedgerFrame[] = [];
    const loop = (async () => {
      for await (const frame of client.ledger({ fromRevision: toIndex(5), cluster: 'c' })) frames.push(frame);
    })();
    await turns();
    const id = idOf(server.last);
    server.last.part(id, (writer) => writer.u8(wire.PART.hello).string('c').string('n1'));
    const begin = checked(0, new ByteWriter(32).u8(wire.PART.snapshotBegin).u64(40).f64(1));
    const lost = checked(begin.check, new ByteWriter(32).u8(wire.PART.snapshotEntries));
    const end = checked(lost.check, new ByteWriter(32).u8(wire.PART.snapshotEnd).u64(40).u64(1));
    server.last.part(id, (writer) => writer.raw(begin.payload));
    server.last.part(id, (writer) => writer.raw(end.payload));
    expect(await codeOf(loop)).toBe('LEDGER_DAMAGED');
    expect(frames.map(({ kind }) => kind)).toEqual(['hello', 'snapshot-begin']);
    expect(server.dials.length).toBe(1);
  });

  test('checks begin anew with each hello, and what is checked is what it says', async () => {
    const { server, client } = await connected();
    const frames: LedgerFrame[] = [];
    const stop = new AbortController();
    const loop = (async () => {
      const { signal } = stop;
      for await (const frame of client.ledger({ fromRevision: toIndex(5), cluster: 'c', signal })) frames.push(frame);
    })();
    await turns();
    for (let stream = 1; stream <= 2; stream++) {
      const id = idOf(server.last);
      server.last.part(id, (writer) => writer.u8(wire.PART.hello).string('c').string('n1'));
      const begin = checked(0, new ByteWriter(32).u8(wire.PART.snapshotBegin).u64(40).f64(1));
      server.last.part(id, (writer) => writer.raw(begin.payload));
      const end = checked(begin.check, new ByteWriter(32).u8(wire.PART.snapshotEnd).u64(40).u64(0));
      if (stream === 2) server.last.part(id, (writer) => writer.raw(end.payload));
      else server.last.lose();
      await until('it goes on', () => server.dials.length === 2 && server.last.streams.length === 1);
    }
    await until('all came', () => frames.length === 5);
    expect(frames.at(-1)).toEqual({ kind: 'snapshot-end', revision: 40, rows: 0 });
    stop.abort();
    expect(await codeOf(loop)).toBe('CANCELLED');
  });

  test('an unfinished snapshot is void: the next connection is asked from where it was before', async () => {
    const { server, client } = await connected();
    const frames: LedgerFrame[] = [];
    const stop = new AbortController();
    const loop = (async () => {
      for await (const frame of client.ledger({ fromRevision: toIndex(5), cluster: 'c', signal: stop.signal })) {
        frames.push(frame);
      }
    })();
    await turns();
    const ledgerOf = (connection: Connection): wire.LedgerRequest & { id: number } => {
      const [asked] = connection.streams;
      return { id: asked?.id ?? 0, ...wire.decodeLedger(new ByteReader(asked?.body ?? new Uint8Array(0))) };
    };
    const { id } = ledgerOf(server.last);
    server.last.part(id, (writer) => writer.u8(wire.PART.hello).string('c').string('n1'));
    server.last.part(id, (writer) => writer.u8(wire.PART.snapshotBegin).u64(40).f64(1));
    server.last.lose();
    await until('it is asked again', () => server.dials.length === 2 && server.last.streams.length === 1);
    expect(ledgerOf(server.last)).toMatchObject({ fromRevision: 5, cluster: 'c' });
    const again = ledgerOf(server.last).id;
    server.last.part(again, (writer) => writer.u8(wire.PART.snapshotBegin).u64(41).f64(1));
    server.last.part(again, (writer) => writer.u8(wire.PART.snapshotEnd).u64(41));
    server.last.records(again, nothing(42));
    server.last.lose();
    await until('it is asked a third time', () => server.dials.length === 3 && server.last.streams.length === 1);
    expect(ledgerOf(server.last).fromRevision).toBe(43);
    expect(frames.map(({ kind }) => kind)).toEqual([
      'hello',
      'snapshot-begin',
      'snapshot-begin',
      'snapshot-end',
      'records',
    ]);
    stop.abort();
    expect(await codeOf(loop)).toBe('CANCELLED');
  });
});
