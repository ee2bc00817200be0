/**
 * Model: an LDB is a sorted Map, under any order of records, replays, snapshots, reopening and ranges.
 */
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { compareBytes } from '../../../src/core/base/bytes.ts';
import { type LdbRangeOptions, openLdb } from '../../../src/engine/ldb/index.ts';
import { LdbWriter } from '../../../src/engine/ldb/writer.ts';
import { CLUSTER, del, put, records, revisionOf, temporaryDir, timeOf } from './ledger.ts';

/** Few bytes, so that keys meet; the extremes, because ranges break there. */
const byte = fc.constantFrom(0x00, 0x01, 0x61, 0x62, 0xfe, 0xff);
const bytes = fc.uint8Array({ maxLength: 3 });
const key = fc.array(byte, { minLength: 1, maxLength: 3 }).map((list) => Uint8Array.from(list));
const bound = fc.array(byte, { minLength: 0, maxLength: 3 }).map((list) => Uint8Array.from(list));

const change = fc.oneof(
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('put' as const), key, value: bytes }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('delete' as const), key }) },
);

const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('apply' as const),
      batch: fc.array(fc.array(change, { maxLength: 4 }), { maxLength: 5 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('replay' as const), back: fc.nat(3) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('snapshot' as const),
      rows: fc.array(fc.tuple(key, bytes), { maxLength: 12 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('reopen' as const) }) },
);

const range = fc.record(
  { from: bound, to: bound, prefix: bound, limit: fc.nat(6), reverse: fc.boolean(), byPrefix: fc.boolean() },
  { requiredKeys: ['byPrefix', 'reverse'] },
);

type Model = Map<string, { value: string; revision: number }>;
const hex = (of: Uint8Array): string => Buffer.from(of).toString('hex');
const unhex = (of: string): Uint8Array => new Uint8Array(Buffer.from(of, 'hex'));

function expectedRange(model: Model, { prefix, from, to, limit, reverse }: LdbRangeOptions): string[] {
  // A range that does not begin with control data does not run into it.
  const hasControl = ((prefix ?? from) as Uint8Array | undefined)?.[0] === 0xff;
  const inside = (k: Uint8Array): boolean =>
    (hasControl || k[0] !== 0xff) &&
    (prefix === undefined || hex(k).startsWith(hex(prefix as Uint8Array))) &&
    (from === undefined || compareBytes(k, from as Uint8Array) >= 0) &&
    (to === undefined || compareBytes(k, to as Uint8Array) < 0);
  const all = [...model.keys()].map(unhex).sort(compareBytes).filter(inside);
  if (reverse === true) all.reverse();
  return all.slice(0, limit).map((k) => `${hex(k)}=${model.get(hex(k))?.value}@${model.get(hex(k))?.revision}`);
}

test('an LDB is a sorted Map', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 1, maxLength: 10 }),
      fc.array(range, { maxLength: 8 }),
      async (steps, ranges) => {
        const dir = temporaryDir();
        const model: Model = new Map();
        let writer = await LdbWriter.open(dir.path);
        try {
          for (const of of steps) {
            const next = writer.revision + 1;
            switch (of.kind) {
              case 'apply': {
                const batch = of.batch.map((changes) => [...new Map(changes.map((c) => [hex(c.key), c])).values()]);
                batch.forEach((changes, i) => {
                  for (const c of changes) {
                    if (c.kind === 'put') model.set(hex(c.key), { value: hex(c.value), revision: next + i });
                    else model.delete(hex(c.key));
                  }
                });
                const encoded = batch.map((changes) =>
                  changes.map((c) => (c.kind === 'put' ? put(c.key, c.value) : del(c.key))),
                );
                await writer.apply(records(next, ...encoded), CLUSTER);
                expect(writer.revision).toBe(next + batch.length - 1);
                break;
              }
              case 'replay': {
                const from = Math.max(1, writer.revision - of.back);
                const old = Array.from({ length: writer.revision - from + 1 }, () => [put('replayed', 'x')]);
                expect((await writer.apply(records(from, ...old), CLUSTER)).records).toBe(0);
                break;
              }
              case 'snapshot': {
                const revision = revisionOf(writer.revision + 3);
                model.clear();
                for (const [k, value] of of.rows) model.set(hex(k), { value: hex(value), revision });
                await writer.beginSnapshot({ cluster: CLUSTER, revision, timeMs: timeOf(revision) });
                await writer.addSnapshot(of.rows.map(([k, value]) => ({ key: k, value, revision, expiryMs: 0 })));
                await writer.finishSnapshot();
                break;
              }
              case 'reopen':
                await writer.close();
                writer = await LdbWriter.open(dir.path);
            }
          }

          const ldb = openLdb(dir.path);
          try {
            expect(ldb.revision).toBe(writer.revision);
            expect(ldb.count()).toBe(model.size);
            const shown = (options: LdbRangeOptions): string[] =>
              [...ldb.range(options)].map((entry) => `${hex(entry.key)}=${hex(entry.value)}@${entry.revision}`);
            for (const { byPrefix, prefix, from, to, ...rest } of ranges) {
              const of = byPrefix ? { prefix } : { from, to };
              const defined = Object.fromEntries(Object.entries(of).filter(([, value]) => value !== undefined));
              const options: LdbRangeOptions = { ...defined, ...rest };
              expect(shown(options)).toEqual(expectedRange(model, options));
            }
            expect(shown({})).toEqual(expectedRange(model, {}));
            for (const [k, { value, revision }] of model) {
              const entry = ldb.get(unhex(k));
              expect([hex(entry?.value ?? Uint8Array.of(9)), entry?.revision]).toEqual([value, revision]);
              expect(hex(ldb.getBytes(unhex(k)) ?? Uint8Array.of(9))).toBe(value);
            }
          } finally {
            ldb.close();
          }
        } finally {
          await writer.close();
          dir.remove();
        }
      },
    ),
    { numRuns: 150 },
  );
}, 60_000);
