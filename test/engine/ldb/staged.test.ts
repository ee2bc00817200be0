/**
 * Staged data from the machine to what each ring is shown, against an oracle that remembers every state there was.
 */
import { describe, expect, test } from 'vitest';
import type { Mutation } from '../../../src/client/control-types.ts';
import { batchOf } from '../../../src/client/mutations.ts';
import { EMPTY, utf8 } from '../../../src/core/base/bytes.ts';
import type { Random } from '../../../src/core/base/env.ts';
import { toIndex } from '../../../src/core/base/position.ts';
import { encodeTxn } from '../../../src/core/model/commands.ts';
import { isHeldKey, isStageKey, isUndoKey, stageKey } from '../../../src/core/model/control/stage-keys.ts';
import { decodeStage, shownTo, type Stage, STAGE_MOVES } from '../../../src/core/model/control/stages.ts';
import { decodeRecords } from '../../../src/core/model/ledger.ts';
import { parseFilter, Sieve, TableDirectory } from '../../../src/core/model/ledger-filter.ts';
import { openServedStore } from '../../../src/engine/ldb/lmdb-store.ts';
import { newestRows } from '../../../src/engine/ldb/showing.ts';
import { LdbWriter, type SnapshotRow } from '../../../src/engine/ldb/writer.ts';
import { type Entry, TestCluster } from '../../../src/testing-ldb/test-cluster.ts';
import { below, pick, seeded } from '../../core/base/seeded.ts';
import { CLUSTER, temporaryDir } from './ledger.ts';
import { MapStore } from './map-store.ts';

const RINGS = ['', 'canary', 'early'];
const SCOPE = parseFilter({ prefixes: ['a/'], tables: ['fam/staged'] });
const NAME = 'flags';

const nameOf = (key: Uint8Array): string => Buffer.from(key).toString('latin1');
const bytesOf = (name: string): Uint8Array => new Uint8Array(Buffer.from(name, 'latin1'));

/** What was written to a key, and when. */
interface Version {
  readonly revision: number;
  readonly value: Uint8Array;
}
type State = ReadonlyMap<string, Version>;

/** The cluster, and every state it ever had. */
class Oracle {
  readonly cluster = new TestCluster(1_000_000);
  readonly #states: State[] = [new Map()];
  readonly directory = new TableDirectory();

  /** The record of an entry, also of a refused one. */
  take({ record }: Entry): Uint8Array {
    for (const { revision, changes } of decodeRecords(record)) {
      const state = new Map(this.now);
      for (const { kind, key, value } of changes) {
        if (kind === 'delete') state.delete(nameOf(key));
        else {
          state.set(nameOf(key), { revision, value: value.slice() });
          this.directory.learn(key, value);
        }
      }
      this.#states[revision] = state;
    }
    return record;
  }

  get now(): State {
    return this.#states.at(-1) as State;
  }

  get revision(): number {
    return this.#states.length - 1;
  }

  get stage(): Stage | undefined {
    const stored = this.now.get(nameOf(stageKey(NAME)));
    return stored && decodeStage(stageKey(NAME), stored.value);
  }

  /** What a host of this ring is to see: the scope as it was at the ring's mark, and all else as it is. */
  shown(ring: string): Record<string, string> {
    const { stage, now } = this;
    const mark = stage === undefined ? Number.POSITIVE_INFINITY : shownTo(stage, ring);
    const then = Number.isFinite(mark) ? (this.#states[mark] as State) : now;
    const sieve = new Sieve(SCOPE, this.directory);
    const visible: Record<string, string> = {};
    for (const [name, { revision, value }] of now) {
      const key = bytesOf(name);
      if (isUndoKey(key) || isStageKey(key) || sieve.lets(key) === true) continue;
      visible[name] = `${revision}=${nameOf(value)}`;
    }
    for (const [name, { revision, value }] of then) {
      const key = bytesOf(name);
      if (!isUndoKey(key) && sieve.lets(key) === true && !isStageKey(key))
        visible[name] = `${revision}=${nameOf(value)}`;
    }
    return visible;
  }

  snapshotRows(): SnapshotRow[] {
    return Array.from(this.now, ([name, { revision, value }]) => ({
      ...{ key: bytesOf(name), value, revision: toIndex(revision), expiryMs: 0 },
    }));
  }
}

/** As a reader sees it, but for what is there for the writer alone. */
function visibleIn(rows: ReadonlyMap<string, Uint8Array>): Record<string, string> {
  const visible: Record<string, string> = {};
  for (const [name, row] of rows) {
    const key = bytesOf(name);
    if (isUndoKey(key) || isStageKey(key) || isHeldKey(key)) continue;
    visible[name] =
      `${Number(new DataView(row.buffer, row.byteOffset).getBigUint64(0, true))}=${nameOf(row.subarray(16))}`;
  }
  return visible;
}

function oneOp(random: Random, { cluster }: Oracle): Entry {
  const dice = random();
  const key = utf8(`${pick(random, ['a', 'b'])}/${below(random, 6)}`);
  const value = utf8(String(below(random, 1000)));
  if (dice < 0.35) return cluster.run('put', (writer) => writer.varint(0).blob(key).blob(value));
  if (dice < 0.45) return cluster.run('delete', (writer) => writer.blob(key));
  if (dice < 0.55) {
    const first = below(random, 4);
    const then = Array.from({ length: 3 }, (_, i) => {
      const kind = random() < 0.7 ? ('put' as const) : ('delete' as const);
      return { kind, key: utf8(`a/${first + i}`), value: kind === 'put' ? value : EMPTY, ttlMs: 0 };
    });
    return cluster.run('txn', (writer) => encodeTxn(writer, { conditions: [], then, otherwise: [] }));
  }
  if (dice < 0.72) {
    const table = pick(random, ['staged', 'plain']);
    const mutations = Array.from({ length: 2 }, (): Mutation => {
      const id = `row${below(random, 4)}`;
      return random() < 0.75 ? { table, upsert: { id, n: below(random, 100) } } : { table, delete: { id } };
    });
    const batch = batchOf({ family: 'fam', writer: 'loader', secret: '', mutations });
    return cluster.control({ kind: 'mutate', batch }, true);
  }
  if (dice < 0.75)
    return cluster.control({
      kind: 'addFields',
      family: 'fam',
      table: 'staged',
      fields: [[`f${below(random, 50)}`, 'text']],
    });
  if (dice < 0.78) return cluster.pass(10);
  if (dice < 0.82)
    return cluster.control({ kind: 'createStage', stage: NAME, scope: SCOPE, rings: ['canary', 'early'] });
  if (dice < 0.83) return cluster.control({ kind: 'dropStage', stage: NAME });
  const move = pick(random, [...STAGE_MOVES, 'release', 'release', 'resume'] as const);
  const ring = move === 'release' || move === 'follow' ? pick(random, ['canary', 'early', '*']) : '';
  return cluster.control({ kind: 'moveStage', stage: NAME, move, ring, reason: move === 'halt' ? 'a test' : '' });
}

function begin(oracle: Oracle): Uint8Array[] {
  const { cluster } = oracle;
  const key = ['id'];
  const fields = [
    ['id', 'string'],
    ['n', 'integer'],
  ] as const;
  return [
    cluster.begin(),
    cluster.control({ kind: 'registerWriter', writer: 'loader' }, true),
    cluster.control({ kind: 'createFamily', family: 'fam' }),
    cluster.control({
      kind: 'createTables',
      tables: ['staged', 'plain'].map((table) => ({ family: 'fam', table, fields, key })),
    }),
  ].map((entry) => oracle.take(entry));
}

async function snapshot(writer: LdbWriter, oracle: Oracle): Promise<void> {
  await writer.beginSnapshot({ cluster: CLUSTER, revision: toIndex(oracle.revision), timeMs: 1_000_000 });
  await writer.addSnapshot(oracle.snapshotRows());
  await writer.finishSnapshot();
}

const SEEDS = Number(process.env['CTLMESH_STAGED_SEEDS'] ?? 12);

describe('at every revision each ring is shown the scope at its mark, and all else as it is', () => {
  test.each(Array.from({ length: SEEDS }, (_, i) => i + 1))('seed %i', async (seed) => {
    const random = seeded(seed);
    const oracle = new Oracle();
    const hosts = await Promise.all(
      RINGS.map(async (ring) => {
        const store = new MapStore();
        return { ring, store, writer: await LdbWriter.over(store, ring, { ring }) };
      }),
    );
    let waiting = begin(oracle);
    for (let i = 0; i < 120; i++) {
      waiting.push(oracle.take(oneOp(random, oracle)));
      // Many revisions in a commit, too.
      if (random() < 0.5) continue;
      for (const host of hosts) {
        if (random() < 0.05) await snapshot(host.writer, oracle);
        else await host.writer.apply(waiting, CLUSTER);
        // A host that moves to another ring is shown what that one is.
        if (random() < 0.05) {
          host.ring = pick(random, RINGS);
          host.writer = await LdbWriter.over(host.store, host.ring, { ring: host.ring });
        }
        expect({ i, ring: host.ring, shown: visibleIn(host.store.rows) }).toEqual({
          ...{ i, ring: host.ring, shown: oracle.shown(host.ring) },
        });
      }
      waiting = [];
    }
    // What an LDB could serve to others is the cluster's state, whatever its own readers see.
    for (const { store } of hosts) {
      const all = newestRows(store.view('rows'), EMPTY, Uint8Array.of(0xff, 0xff));
      const newest = Array.from(all, ({ key, row }) => [nameOf(key), nameOf(row.subarray(16))]);
      const names = Array.from(oracle.now, ([name, { value }]) => [name, nameOf(value)]);
      if (waiting.length === 0)
        expect(new Map(newest as [string, string][])).toEqual(new Map(names as [string, string][]));
    }
  });
});

test('an LDB on disk that feeds others gives them the cluster’s state, whatever its own readers are shown', async () => {
  const random = seeded(8);
  const oracle = new Oracle();
  const dir = temporaryDir();
  const { store, state } = await openServedStore(dir.path, { ledgerBytes: 1024 * 1024, onClose: () => state.close() });
  const writer = await LdbWriter.over(store, dir.path);
  try {
    await writer.apply(begin(oracle), CLUSTER);
    const { cluster } = oracle;
    const entries = [
      () => cluster.control({ kind: 'createStage', stage: NAME, scope: SCOPE, rings: ['canary'] }),
      ...Array.from({ length: 60 }, () => () => {
        const key = utf8(`${pick(random, ['a', 'b'])}/${below(random, 9)}`);
        if (random() < 0.3) return cluster.run('delete', (body) => body.blob(key));
        return cluster.run('put', (body) =>
          body
            .varint(0)
            .blob(key)
            .blob(utf8(String(below(random, 99)))),
        );
      }),
    ];
    for (const entry of entries) await writer.apply(oracle.take(entry()), CLUSTER);
    expect(oracle.shown('')).not.toEqual(oracle.shown('canary'));
    const given = new Map<string, string>();
    const cursor = state.scan({ from: EMPTY, to: undefined });
    for (let row = cursor.next(); row !== undefined; row = cursor.next()) {
      given.set(nameOf(row.key), `${row.revision}=${nameOf(row.value)}`);
    }
    cursor.close();
    expect(given).toEqual(
      new Map(Array.from(oracle.now, ([name, { revision, value }]) => [name, `${revision}=${nameOf(value)}`])),
    );
  } finally {
    await writer.close();
    dir.remove();
  }
});
