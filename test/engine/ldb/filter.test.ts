import { afterEach, beforeEach, expect, test } from 'vitest';
import { utf8 } from '../../../src/core/base/bytes.ts';
import { parseFilter } from '../../../src/core/model/ledger-filter.ts';
import { openLdb } from '../../../src/engine/ldb/index.ts';
import { LdbWriter } from '../../../src/engine/ldb/writer.ts';
import { CLUSTER, dump, put, records, revisionOf, temporaryDir } from './ledger.ts';

let dir: ReturnType<typeof temporaryDir>;

beforeEach(() => {
  dir = temporaryDir();
});

afterEach(() => {
  dir.remove();
});

const billing = parseFilter({ families: ['billing'] });
const flags = parseFilter({ prefixes: ['flags/'] });

test('it is remembered with the first commit, and another one is refused', async () => {
  const first = await LdbWriter.open(dir.path);
  first.adoptFilter(billing);
  await first.close();
  // Nothing was committed: it is still anybody's.
  const second = await LdbWriter.open(dir.path);
  second.adoptFilter(flags);
  await second.apply(records(1, [put('flags/a', 'x')]), CLUSTER);
  await second.close();
  const third = await LdbWriter.open(dir.path);
  third.adoptFilter(flags);
  for (const other of [billing, undefined]) {
    expect(() => third.adoptFilter(other)).toThrow(expect.objectContaining({ code: 'LDB_FOREIGN' }));
  }
  await third.close();
  const ldb = openLdb(dir.path);
  expect(ldb.filter).toEqual(flags);
  ldb.close();
});

test('an LDB of everything is not made a part of it', async () => {
  const writer = await LdbWriter.open(dir.path);
  await writer.apply(records(1, [put('a', 'x')]), CLUSTER);
  expect(() => writer.adoptFilter(flags)).toThrow('holds everything, and what comes is keys "flags/"');
  await writer.close();
});

test('a snapshot brings its filter, in the same transaction, and takes it away', async () => {
  const writer = await LdbWriter.open(dir.path);
  await writer.apply(records(1, [put('a', 'x'), put('flags/a', 'y')]), CLUSTER);
  const reader = openLdb(dir.path, { besideWriter: true });
  const row = { key: utf8('flags/a'), value: utf8('z'), revision: revisionOf(2), expiryMs: 0 };
  await writer.beginSnapshot({ cluster: CLUSTER, revision: revisionOf(2), timeMs: 5 }, flags);
  await writer.addSnapshot([row]);
  reader.refresh();
  expect([reader.filter, reader.count()]).toEqual([undefined, 2]);
  await writer.finishSnapshot();
  reader.refresh();
  expect([reader.filter, dump(reader)]).toEqual([flags, { 'flags/a': '2=z' }]);
  await writer.beginSnapshot({ cluster: CLUSTER, revision: revisionOf(3), timeMs: 6 }, undefined);
  await writer.finishSnapshot();
  expect(writer.filter).toBeUndefined();
  reader.refresh();
  expect(reader.filter).toBeUndefined();
  reader.close();
  await writer.close();
});
