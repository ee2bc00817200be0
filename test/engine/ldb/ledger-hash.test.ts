import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { StateHash } from '../../../src/core/model/state-hash.ts';
import { openLdb } from '../../../src/engine/ldb/index.ts';
import { decodeHash, encodeHash, foldRecords } from '../../../src/engine/ldb/ledger-hash.ts';
import { LdbWriter } from '../../../src/engine/ldb/writer.ts';
import { CLUSTER, put, records, revisionOf, streamRecords, temporaryDir } from './ledger.ts';

/** As the cluster computes it. */
function hashAt(revision: number): number {
  const hash = new StateHash();
  const bytes = streamRecords(1, revision);
  hash.fold(bytes, 0, bytes.length);
  return hash.value;
}

const mark = (revision: number): { revision: number; hash: number } => ({ revision, hash: hashAt(revision) });
const wrong = (revision: number): { revision: number; hash: number } => ({ revision, hash: hashAt(revision) ^ 1 });
const mismatch = expect.objectContaining({
  code: 'LDB_CORRUPT',
  data: expect.objectContaining({ stateHash: expect.any(String) as string }) as object,
});

describe('foldRecords', () => {
  test('is the cluster’s hash, however the records are cut, and what is known already is not folded twice', () => {
    for (const cuts of [[1, 40], [1, 7, 8, 20, 40], Array.from({ length: 40 }, (_, i) => i + 1)]) {
      const pieces = cuts.slice(1).map((to, i) => {
        const from = i === 0 ? 1 : (cuts[i] as number) + 1;
        return streamRecords(from, to - from + 1);
      });
      if (cuts.length === 40) pieces.unshift(streamRecords(1, 1));
      expect(foldRecords(0, 0, pieces, [mark(1), mark(20), mark(33), mark(40)])).toBe(hashAt(40));
      expect(foldRecords(hashAt(9), 9, pieces, [mark(20)])).toBe(hashAt(40));
    }
    expect(foldRecords(hashAt(9), 9, [streamRecords(5, 10), streamRecords(12, 8)], [mark(12)])).toBe(hashAt(19));
    expect(foldRecords(hashAt(9), 9, [streamRecords(1, 9)], [])).toBe(hashAt(9));
  });

  test('a mark that says another hash is found at its revision, and at no other', () => {
    for (const revision of [1, 20, 40]) {
      expect(() => foldRecords(0, 0, [streamRecords(1, 40)], [wrong(revision)])).toThrow(mismatch);
      expect(() => foldRecords(0, 0, [streamRecords(1, 40)], [mark(revision), wrong(revision)])).toThrow(mismatch);
    }
    expect(foldRecords(0, 0, [streamRecords(1, 40)], [wrong(41)])).toBe(hashAt(40));
    expect(foldRecords(hashAt(20), 20, [streamRecords(1, 40)], [wrong(20)])).toBe(hashAt(40));
  });

  test('not known, it is learnt from the first mark, and then it is known', () => {
    expect(foldRecords(undefined, 9, [streamRecords(10, 31)], [])).toBeUndefined();
    expect(foldRecords(undefined, 9, [streamRecords(10, 31)], [mark(12)])).toBe(hashAt(40));
    expect(foldRecords(undefined, 9, [streamRecords(10, 31)], [mark(40)])).toBe(hashAt(40));
    expect(() => foldRecords(undefined, 9, [streamRecords(10, 31)], [mark(12), wrong(30)])).toThrow(mismatch);
  });
});

test('what is stored is of its revision alone, and damage makes it unknown', () => {
  const bytes = encodeHash({ revision: 7, hash: 0xdead_beef });
  expect(decodeHash(bytes, bytes.length, 7)).toBe(0xdead_beef);
  expect(decodeHash(bytes, bytes.length, 8)).toBeUndefined();
  for (const at of bytes.keys()) {
    const damaged = bytes.slice();
    damaged[at] = (damaged[at] as number) ^ 1;
    expect(decodeHash(damaged, damaged.length, 7)).toBeUndefined();
  }
  expect(decodeHash(bytes, 15, 7)).toBeUndefined();
});

describe('an LDB', () => {
  let dir: ReturnType<typeof temporaryDir>;
  let writer: LdbWriter;

  beforeEach(async () => {
    dir = temporaryDir();
    writer = await LdbWriter.open(dir.path);
  });

  afterEach(async () => {
    await writer.close();
    dir.remove();
  });

  test('knows it from the first revision on, and after it was opened again', async () => {
    await writer.apply([streamRecords(1, 10)], CLUSTER, [mark(5)]);
    expect(writer.hash).toBe(hashAt(10));
    await writer.close();
    writer = await LdbWriter.open(dir.path);
    expect(writer.hash).toBe(hashAt(10));
    await expect(writer.apply([streamRecords(11, 5)], CLUSTER, [wrong(12)])).rejects.toThrow(mismatch);
    // Nothing of it was applied, and the writer is as good as before.
    expect([writer.revision, writer.hash]).toEqual([10, hashAt(10)]);
    await writer.apply([streamRecords(11, 5)], CLUSTER, [mark(12)]);
    expect(writer.hash).toBe(hashAt(15));
  });

  test('that a record came to it changed is found with the next mark', async () => {
    await writer.apply([records(1, [put('a', 'not what the cluster has')])], CLUSTER);
    await expect(writer.apply([streamRecords(2, 9)], CLUSTER, [mark(10)])).rejects.toThrow(mismatch);
  });

  test('behind a snapshot it learns it anew', async () => {
    await writer.apply([streamRecords(1, 4)], CLUSTER);
    await writer.beginSnapshot({ cluster: CLUSTER, revision: revisionOf(8), timeMs: 1 });
    await writer.finishSnapshot();
    expect(writer.hash).toBeUndefined();
    await writer.close();
    writer = await LdbWriter.open(dir.path);
    expect(writer.hash).toBeUndefined();
    await writer.apply([streamRecords(9, 4)], CLUSTER, [mark(10)]);
    expect(writer.hash).toBe(hashAt(12));
    writer.forgetHash();
    await writer.apply([streamRecords(13, 4)], CLUSTER);
    await writer.close();
    writer = await LdbWriter.open(dir.path);
    expect(writer.hash).toBeUndefined();
  });

  test('a snapshot of the very revision that it was wrong at leaves nothing of the wrong one', async () => {
    await writer.apply([records(1, [put('a', 'not what the cluster has')])], CLUSTER);
    await writer.beginSnapshot({ cluster: CLUSTER, revision: revisionOf(1), timeMs: 1 });
    await writer.finishSnapshot();
    await writer.close();
    writer = await LdbWriter.open(dir.path);
    expect(writer.hash).toBeUndefined();
  });

  test('its readers do not meet it', async () => {
    await writer.apply([streamRecords(1, 4)], CLUSTER);
    const ldb = openLdb(dir.path, { besideWriter: true });
    expect([...ldb.range()].some((entry) => entry.keyText() === 'hash')).toBe(false);
    ldb.close();
  });
});
