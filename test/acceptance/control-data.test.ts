/**
 * What ctlstore's own tests ask of the whole chain, and no single part can show: HTTP in at a real node, the ledger in the
 * middle, a replica at the end. docs/control-data.md says where each of the other groups is tested.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { connect } from '../../src/client/index.ts';
import { toIndex } from '../../src/core/base/position.ts';
import { decodeRecords, type LedgerRecord } from '../../src/core/model/ledger.ts';
import { familyKey, isControlKey, rowsPrefix, tablesPrefix } from '../../src/core/model/control/schema.ts';
import { type LdbReader, openLdb } from '../../src/engine/ldb/index.ts';
import { type LdbChanges, type RunningReflector, startReflector } from '../../src/reflector/index.ts';
import type { Got } from '../support/http-client.ts';
import { HttpFixture, type HttpNode, OK, outcome, startHttpNode } from '../support/http-node.ts';
import { until } from '../support/cluster-process.ts';

vi.setConfig({ testTimeout: 180_000, hookTimeout: 180_000 });

let node: HttpNode;
let fixture: HttpFixture;
let reflector: RunningReflector;
let ldb: LdbReader;
let dir: string;
/** Told at each commit of the replica. */
let look: (changes: LdbChanges) => void = () => {};

/** The ledger from the beginning: each revision once, without a gap, or the tail fails. */
class Tail {
  readonly records: LedgerRecord[] = [];
  readonly #ended = new AbortController();
  #run: Promise<void> = Promise.resolve();

  start(client: string): this {
    this.#run = this.#follow(client);
    return this;
  }

  async #follow(url: string): Promise<void> {
    const client = await connect([url]);
    try {
      const frames = client.ledger({ fromRevision: toIndex(1), cluster: '', signal: this.#ended.signal });
      for await (const frame of frames) {
        if (frame.kind !== 'records') continue;
        for (const record of decodeRecords(frame.bytes.slice())) {
          expect(record.revision).toBe(this.records.length + 1);
          this.records.push(record);
        }
      }
    } finally {
      await client.close();
    }
  }

  /** How many keys of control data the entry of this write changed. */
  async changed(got: Got): Promise<number> {
    const revision = revisionOf(got);
    await until(`the tail is at ${revision}`, () => this.records.length >= revision, { withinMs: 60_000 });
    return (this.records[revision - 1]?.changes ?? []).filter(({ key }) => isControlKey(key)).length;
  }

  async stop(): Promise<void> {
    this.#ended.abort();
    await this.#run.catch((error: unknown) => {
      if (!this.#ended.signal.aborted) throw error;
    });
  }
}

const revisionOf = ({ headers }: Got): number => Number(headers.get('ctlmesh-revision'));
const tail = new Tail();

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'ctlmesh-acceptance-'));
  node = await startHttpNode();
  fixture = await HttpFixture.create(node.ask, 'a-secret');
  tail.start(node.client);
  reflector = await startReflector({ endpoints: [node.client], dir, onChanges: (changes) => look(changes) });
  await until('the replica is filled', () => reflector.status.revision > 0, { withinMs: 60_000 });
  ldb = openLdb(dir, { besideWriter: true });
});

afterAll(async () => {
  ldb.close();
  await reflector.stop();
  await tail.stop();
  await node.stop();
  rmSync(dir, { recursive: true, force: true });
});

async function shows(got: Got): Promise<void> {
  await until('the replica has it', () => reflector.status.revision >= revisionOf(got), { withinMs: 60_000 });
  ldb.refresh();
}

test('ten clients make and change tables at once: the ledger has each change once, and no gap at any moment', async () => {
  const family = await fixture.family();
  const answers = await Promise.all(
    Array.from({ length: 10 }, async (_client, c) => {
      const got: Got[] = [];
      for (let i = 0; i < 5; i++) {
        const path = `/families/${family}/tables/t${c}_${i}`;
        const fields = [['id', 'string']];
        got.push(await node.ask(`POST ${path}`, { body: { fields, keyFields: ['id'] } }));
        got.push(await node.ask(`PUT ${path}`, { body: { fields: [['more', 'integer']] } }));
      }
      return got;
    }),
  );
  const all = answers.flat();
  expect(all.map(({ status }) => status)).toEqual(all.map(() => 200));
  expect(new Set(all.map(revisionOf)).size).toBe(100);
  for (const got of all) expect(await tail.changed(got)).toBe(1);
  await shows(all.reduce((last, got) => (revisionOf(got) > revisionOf(last) ? got : last)));
  expect(ldb.tables().filter((table) => table.family === family)).toHaveLength(50);
  expect(ldb.tables().every((table) => table.version <= 2)).toBe(true);
});

test('what is refused stands in no ledger entry: a second family or table, a cookie conflict, one bad row of many', async () => {
  const family = await fixture.family(['plans', [['id', 'string']]]);
  // Nodes may write rows of their own at any time.
  const isOurs = (key: Uint8Array): boolean => {
    const prefixes = ldb.tables().flatMap((table) => (table.family === family ? [rowsPrefix(table)] : []));
    const rest = [familyKey(family), tablesPrefix(family)];
    return [...prefixes, ...rest].some((prefix) => Buffer.from(key).subarray(0, prefix.length).equals(prefix));
  };
  const fence = async (): Promise<number> => {
    const got = await fixture.mutate(family, [{ table: 'plans', values: { id: 'fence' } }]);
    expect(await tail.changed(got)).toBe(1);
    await shows(got);
    return revisionOf(got);
  };
  const quiet = async (refused: () => Promise<Got>, status: number): Promise<void> => {
    const before = await fence();
    expect((await refused()).status).toBe(status);
    // Whatever comes behind it has gone through the same log.
    const after = await fence();
    const since = tail.records.slice(before, after - 1);
    expect(since.flatMap(({ changes }) => changes.filter(({ key }) => isOurs(key)))).toEqual([]);
  };
  await quiet(() => node.ask(`POST /families/${family}`), 409);
  const body = { fields: [['id', 'string']], keyFields: ['id'] };
  await quiet(() => node.ask(`POST /families/${family}/tables/plans`, { body }), 409);
  await quiet(() => node.ask(`PUT /families/${family}/tables/plans`, { body: { fields: [['id', 'string']] } }), 409);
  const row = (id: string): object => ({ table: 'plans', values: { id } });
  const wrongCookie = { cookie: 'bmV3', check_cookie: 'd3Jvbmc=' };
  await quiet(() => fixture.mutate(family, [row('a')], wrongCookie), 409);
  await quiet(() => fixture.mutate(family, [row('b'), { table: 'plans', values: { id: 'c', more: 1 } }]), 400);
  expect((await node.ask('GET /cookie', { headers: fixture.headers })).body).toBe('');
});

test('a batch over two tables is seen whole or not at all, at every commit of the replica', async () => {
  const family = await fixture.family(
    [
      'left',
      [
        ['id', 'string'],
        ['n', 'integer'],
      ],
    ],
    [
      'right',
      [
        ['id', 'string'],
        ['n', 'integer'],
      ],
    ],
  );
  const write = (n: number): Promise<Got> =>
    fixture.mutate(
      family,
      ['left', 'right'].map((table) => ({ table, values: { id: 'x', n } })),
    );
  await shows(await write(0));
  const seen: unknown[] = [];
  look = () => {
    ldb.refresh();
    const [left, right] = ['left', 'right'].map((table) => ldb.getRowByKey(family, table, ['x'])?.['n']);
    expect(left).toBe(right);
    seen.push(left);
  };
  let last = await write(1);
  for (let n = 2; n <= 20; n++) last = await write(n);
  await shows(last);
  look = () => {};
  expect(seen.at(-1)).toBe(20);
  expect(seen).toEqual(seen.toSorted((a, b) => Number(a) - Number(b)));
});

const text = fc.oneof(
  fc.constantFrom('', '\0', 'a\0b', '\u{1f600}\u{10ffff}', '\\n', "'; --", 'é', 'x'.repeat(300)),
  fc.string({ unit: 'grapheme', maxLength: 40 }),
);
const integer = fc.oneof(
  fc.constantFrom(0n, -1n, 2n ** 53n - 1n, 2n ** 53n, 2n ** 53n + 1n, -(2n ** 53n) - 1n, 2n ** 63n - 1n, -(2n ** 63n)),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
);
const orNull = <T>(of: fc.Arbitrary<T>): fc.Arbitrary<T | null> => fc.option(of, { freq: 5 });
const bytes = fc.uint8Array({ maxLength: 40 });
const given = fc.record({
  name: text,
  number: integer,
  t: orNull(fc.oneof(text, fc.constant('long '.repeat(20_000)))),
  i: orNull(integer),
  d: orNull(fc.double({ noNaN: true, noDefaultInfinity: true })),
  b: orNull(bytes),
  s: orNull(bytes),
});

/** JSON with all digits of its numbers. */
const stringify = (value: unknown): string =>
  JSON.stringify(value, (_key, one: unknown) => {
    if (typeof one === 'bigint') return (JSON as unknown as { rawJSON(text: string): unknown }).rawJSON(String(one));
    return one;
  });
const base64 = (of: Uint8Array | null): string | null => of && Buffer.from(of).toString('base64');
const asRead = (n: bigint): number | bigint => (Number.isSafeInteger(Number(n)) ? Number(n) : n);

test('any value, and rows in the order of any key, from JSON to the replica: all bits of it', async () => {
  const fields = [
    ...[
      ['name', 'string'],
      ['number', 'integer'],
      ['t', 'text'],
      ['i', 'integer'],
      ['d', 'decimal'],
    ],
    ...[
      ['b', 'binary'],
      ['s', 'bytestring'],
    ],
  ];
  const family = await fixture.family();
  const table = { fields, keyFields: ['number', 'name'] };
  expect(await outcome(node.ask(`POST /families/${family}/tables/values`, { body: table }))).toEqual(OK);
  const rows = fc.uniqueArray(given, {
    minLength: 1,
    maxLength: 6,
    selector: ({ name, number }) => `${number} ${name}`,
  });
  await fc.assert(
    fc.asyncProperty(rows, async (all) => {
      const mutations = all.map((row) => ({ table: 'values', values: { ...row, b: base64(row.b), s: base64(row.s) } }));
      const body = stringify({ mutations });
      const got = await node.ask(`POST /families/${family}/mutations`, { body, headers: fixture.headers });
      expect([got.status, got.body]).toEqual([200, '']);
      await shows(got);
      for (const { name, number, t, i, d, b, s } of all) {
        const row = ldb.getRowByKey(family, 'values', [number, name]);
        // JSON has no -0.
        const decimal = d === null ? null : d + 0;
        expect(row).toEqual({ name, number: asRead(number), t, i: i === null ? null : asRead(i), d: decimal, b, s });
      }
    }),
    { numRuns: Number(process.env['CTLMESH_ACCEPTANCE_RUNS'] ?? 12) },
  );
  const keys = Array.from(ldb.getRowsByKeyPrefix(family, 'values'), ({ number, name }) => ({
    number: BigInt(number as number | bigint),
    name: Buffer.from(name as string),
  }));
  const inOrder = keys.toSorted((a, b) =>
    a.number === b.number ? Buffer.compare(a.name, b.name) : a.number < b.number ? -1 : 1,
  );
  expect(keys).toEqual(inOrder);
});
