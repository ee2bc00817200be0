import { expect, onTestFinished, test } from 'vitest';
import { CheckpointReader, createCheckpoints } from '../../src/actors/checkpoints.ts';
import { url as compactorUrl } from '../../src/actors/compactor.thread.ts';
import { url } from '../../src/actors/memtable.thread.ts';
import { RING_BYTES } from '../../src/actors/topology.ts';
import { createRing, RingReader, RingWriter } from '../../src/actors/runtime/ring.ts';
import { Shared } from '../../src/actors/shared.ts';
import { createTableSizes } from '../../src/actors/table-sizes.ts';
import { ByteReader, ByteWriter, utf8 } from '../../src/core/base/bytes.ts';
import { encodeTxn, stampTime } from '../../src/core/model/commands.ts';
import { decodeRecords } from '../../src/core/model/ledger.ts';
import { portPair } from '../../src/actors/runtime/thread.ts';
import { createTreeMemory } from '../../src/engine/lsm/tree/memory.ts';
import { type TreeOptions, treeOptions } from '../../src/engine/lsm/tree/options.ts';
import { StateReader } from '../../src/engine/state/state-reader.ts';
import { command, putCommand, spawnActor, temporaryDir, until } from './support.ts';

const MIB = 1024 * 1024;
const ORIGIN = 7;

/** A memtable and its compactor, in `dir`; everything that is applied counts as synced. */
async function startMemtable(options: { readonly dir?: string; readonly tree?: Partial<TreeOptions> } = {}) {
  const shared = new Shared();
  shared.set('stable', Number.MAX_SAFE_INTEGER);
  const tree = treeOptions({ batchBytesMax: 16 * MIB, cutPrefixBytes: 1, ...options.tree });
  const state = {
    shared: shared.buffer,
    tree: createTreeMemory(tree),
    dir: options.dir ?? temporaryDir(),
    options: tree,
  };
  const [memtablePort, compactorPort] = portPair();
  const [, replication] = portPair();
  const ports = { memtable: compactorPort, replication };
  const compactor = spawnActor(shared, 'compactor', compactorUrl, { ...state, dataDir: `${state.dir}-node` }, ports);
  await compactor.thread.start();
  const buffers = {
    committed: createRing(RING_BYTES.committed),
    answers: createRing(RING_BYTES.answers),
    ledger: createRing(RING_BYTES.ledger),
    checkpoints: createCheckpoints(),
    tableSizes: createTableSizes(),
  };
  const args = { ...state, ...buffers, origin: ORIGIN, ledgerBytes: 64 * MIB, ledgerMs: 1e9, historyMs: 0 };
  const { thread } = spawnActor(shared, 'memtable', url, args, { compactor: memtablePort });
  await thread.start();
  const reader = new StateReader({ memory: state.tree, dir: state.dir, options: tree });
  onTestFinished(() => reader.close());
  const committed = new RingWriter(buffers.committed);
  const answers = new RingReader(buffers.answers);
  const ledger = new RingReader(buffers.ledger);
  let index = shared.get('applied');
  /** One frame of committed entries. */
  const commit = (commands: readonly Uint8Array[]): void => {
    const frame = new ByteWriter(1024);
    for (const data of commands) frame.u64(++index).u32(data.length).raw(data);
    expect(committed.write(frame.view())).toBe(true);
    shared.bell('memtable').ring();
  };
  const tokens: number[] = [];
  const revisions: number[] = [];
  /** Takes what came out, as the gateway and the shipper do. */
  const drain = (): void => {
    for (let frame = answers.peek(); frame !== undefined; frame = answers.peek()) {
      const reader = new ByteReader(frame);
      while (reader.left > 0) {
        tokens.push(reader.u32());
        reader.u8();
        reader.u64();
        reader.blob();
      }
      answers.pop();
    }
    for (let frame = ledger.peek(); frame !== undefined; frame = ledger.peek()) {
      for (const { revision } of decodeRecords(frame.slice())) revisions.push(revision);
      ledger.pop();
    }
  };
  const stop = async (): Promise<void> => {
    await thread.stop(2_000);
    await compactor.thread.stop(5_000);
  };
  const checkpoints = new CheckpointReader(buffers.checkpoints);
  return { shared, checkpoints, thread, reader, dir: state.dir, stop, commit, drain, tokens, revisions };
}

test('entries of a frame are applied in order; each makes one record, and an answer where it was asked for', async () => {
  const { shared, reader, commit, drain, tokens, revisions } = await startMemtable();
  commit([
    putCommand('a', '1', { origin: ORIGIN, token: 11 }),
    putCommand('a', '2', { origin: ORIGIN + 1, token: 12 }),
    new Uint8Array(0),
    putCommand('b', '3', { origin: ORIGIN, token: 13 }),
  ]);
  await until('all is applied', () => shared.get('applied') === 4);
  await until('the records are there', () => {
    drain();
    return revisions.length === 4;
  });
  expect(tokens).toEqual([11, 13]);
  expect(revisions).toEqual([1, 2, 3, 4]);
  expect(reader.get(utf8('a'))?.value).toEqual(utf8('2'));
  expect(shared.get('memtableKeys')).toBe(2);
});

test('a command of a later version ends the thread, in words, behind all that came before it', async () => {
  const { shared, thread, reader, commit } = await startMemtable();
  commit([putCommand('a', '1', { origin: ORIGIN, token: 1 })]);
  await until('the put is applied', () => shared.get('applied') === 1);
  const later = putCommand('a', '2', { origin: ORIGIN, token: 2 }).with(0, 9);
  commit([later, putCommand('a', '3', { origin: ORIGIN, token: 3 })]);
  expect(await thread.ended).toMatchObject({
    code: 'DIR_FOREIGN',
    message: expect.stringMatching(
      /entry 2 of the log is a command that this version .* does not know: start this node/,
    ),
    data: { index: 2 },
  });
  expect(shared.get('applied')).toBe(1);
  expect(reader.get(utf8('a'))?.value).toEqual(utf8('1'));
});

test('transactions that each read four mebibytes, in one frame, are answered and do not end the thread', async () => {
  const { shared, thread, commit, drain, tokens } = await startMemtable();
  const keys = ['k1', 'k2', 'k3', 'k4'].map(utf8);
  const value = new Uint8Array(MIB - 64).fill(9);
  for (const key of ['k1', 'k2', 'k3', 'k4']) commit([putCommand(key, value)]);
  const readAll = (token: number): Uint8Array =>
    command(
      'txn',
      (writer) =>
        encodeTxn(writer, {
          conditions: [],
          then: keys.map((key) => ({ kind: 'get', key, value: new Uint8Array(0), ttlMs: 0 })),
          otherwise: [],
        }),
      { origin: ORIGIN, token },
    );
  const asked = Array.from({ length: 12 }, (_, i) => 100 + i);
  commit(asked.map(readAll));
  let reason: unknown;
  void thread.ended.then((error) => (reason = error));
  await until('all are answered', () => {
    drain();
    return tokens.length === asked.length || reason !== undefined;
  });
  expect(reason).toBeUndefined();
  expect(tokens).toEqual(asked);
  expect(shared.get('applied')).toBe(4 + asked.length);
});

test('memtables become tables while entries are applied, and a restart begins where they end', async () => {
  const tree = { memtableBytes: MIB };
  const first = await startMemtable({ tree });
  const value = 'x'.repeat(1000);
  const COUNT = 6_000;
  for (let i = 0; i < COUNT; i += 100) {
    const commands = Array.from({ length: 100 }, (_, j) => putCommand(`key-${i + j}`, `${value}${i + j}`));
    commands.push(command('openSession', (writer) => writer.varint(60_000)));
    first.commit(commands);
    await until('it is applied', () => {
      first.drain();
      return first.shared.get('applied') === ((i + 100) / 100) * 101;
    });
  }
  const applied = first.shared.get('applied');
  await until('memtables became tables', () => first.shared.get('flushed') > applied / 2);
  const sessions = first.shared.get('sessions');
  expect(sessions).toBe(COUNT / 100);
  await first.stop();

  const second = await startMemtable({ tree, dir: first.dir });
  const from = second.shared.get('applied');
  expect(from).toBe(second.shared.get('flushed'));
  expect(from).toBeGreaterThan(applied / 2);
  expect(second.shared.get('sessions')).toBe(Math.floor(from / 101));
  for (const i of [0, 1, 500, Math.floor(from / 102)]) {
    expect(second.reader.get(utf8(`key-${i}`))?.value, `key-${i}`).toEqual(utf8(`${value}${i}`));
  }
  // The ledger is kept too, in chunks that begin and end anywhere.
  let next = 1;
  while (next <= from) {
    const chunk = second.reader.readLedger(next as never);
    if (chunk === undefined) throw new Error(`no ledger from ${next} on`);
    for (const { revision } of decodeRecords(chunk.bytes)) expect(revision).toBe(next++);
    expect(chunk.last).toBe(next - 1);
  }
  expect(next - 1).toBe(from);
  await second.stop();
});

test('expiries survive a restart', async () => {
  const tree = { memtableBytes: MIB };
  const first = await startMemtable({ tree });
  const at = (data: Uint8Array, timeMs: number): Uint8Array => {
    stampTime(data, timeMs);
    return data;
  };
  const put = (key: string, ttlMs: number): Uint8Array =>
    command('put', (writer) => writer.varint(ttlMs).blob(utf8(key)).blob(utf8('v')));
  first.commit([at(put('soon', 1_000), 1_000), at(put('late', 100_000), 1_000), at(put('kept', 0), 1_000)]);
  // More than a memtable: the expiries are in a table now.
  first.commit(Array.from({ length: 3 }, (_, i) => at(putCommand(`big-${i}`, new Uint8Array(MIB - 100)), 1_000)));
  await until('it is in a table', () => first.shared.get('flushed') >= 3);
  await first.stop();

  const second = await startMemtable({ tree, dir: first.dir });
  expect(second.shared.get('nextExpiryMs')).toBe(2_000);
  const clock = command('clock', (writer) => writer);
  second.commit([at(clock, 5_000)]);
  const { revisions, drain } = second;
  await until('it is applied', () => {
    drain();
    return revisions.length > 0;
  });
  expect(second.reader.get(utf8('soon'))).toBeUndefined();
  expect(second.reader.get(utf8('late'))?.expiryMs).toBe(101_000);
  expect(second.reader.get(utf8('kept'))?.value).toEqual(utf8('v'));
  expect(second.shared.get('nextExpiryMs')).toBe(101_000);
  await second.stop();
});

test('the hash at every 64th revision depends on the entries alone: not on frames, memtables, or a restart', async () => {
  const tree = { memtableBytes: MIB };
  const value = 'x'.repeat(1000);
  const COUNT = 3_000;
  const entry = (i: number): Uint8Array => putCommand(`key-${i % 700}`, `${value}${i}`);
  const run = async (world: Awaited<ReturnType<typeof startMemtable>>, upTo: number, frame: number): Promise<void> => {
    for (let i = world.shared.get('applied') + 1; i <= upTo; i += frame) {
      const last = Math.min(upTo, i + frame - 1);
      world.commit(Array.from({ length: last - i + 1 }, (_, j) => entry(i + j)));
      await until('it is applied', () => {
        world.drain();
        return world.shared.get('applied') === last;
      });
    }
  };
  const hashes = ({ checkpoints }: { checkpoints: CheckpointReader }): (number | undefined)[] =>
    Array.from({ length: Math.floor(COUNT / 64) }, (_, i) => checkpoints.at((i + 1) * 64));

  const whole = await startMemtable();
  await run(whole, COUNT, 1_000);
  const expected = hashes(whole);
  expect(new Set(expected).size).toBe(expected.length);
  expect(expected).not.toContain(undefined);
  await whole.stop();

  const first = await startMemtable({ tree });
  await run(first, 2_000, 77);
  expect(hashes(first).slice(0, 31)).toEqual(expected.slice(0, 31));
  await until('memtables became tables', () => first.shared.get('flushed') > 1_000);
  await first.stop();

  const second = await startMemtable({ tree, dir: first.dir });
  const from = second.shared.get('applied');
  expect(from).toBeGreaterThan(1_000);
  await run(second, COUNT, 300);
  const at = Math.ceil(from / 64) - 1;
  expect(hashes(second).slice(at)).toEqual(expected.slice(at));
  await second.stop();
});
