/**
 * Both ways with LevelDB itself, by classic-level: its directories are read by ours byte for byte, and it opens ours.
 */
import { copyFileSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ClassicLevel } from 'classic-level';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { nodeDisk } from '../../../../src/engine/disk/node-disk.ts';
import { CURRENT, manifestName, parseFileName, tablePath } from '../../../../src/engine/lsm/manifest/file-names.ts';
import { LogWriter, readLog } from '../../../../src/engine/lsm/manifest/log-format.ts';
import { Manifest } from '../../../../src/engine/lsm/manifest/manifest.ts';
import { removeStale } from '../../../../src/engine/lsm/manifest/stale-files.ts';
import { liveFiles, type ManifestState, snapshotEdit } from '../../../../src/engine/lsm/manifest/state.ts';
import { decodeEdit, encodeEdit, type VersionEdit } from '../../../../src/engine/lsm/manifest/version-edit.ts';
import { writeCheckpoint } from '../../../../src/engine/lsm/manifest/checkpoint.ts';
import { liveNumbers, readFile } from './world.ts';

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'ctlmesh-manifest-'));
});
afterEach(() => rmSync(root, { recursive: true }));

const keyOf = (i: number): string => `key ${String(i).padStart(6, '0')}`;
const valueOf = (i: number): string => `${i} `.repeat(200);

/** A LevelDB directory with tables in several levels and none of its data in the log. */
async function makeLevel(dir: string, keys: number): Promise<void> {
  const db = new ClassicLevel(dir, { writeBufferSize: 64 * 1024, maxFileSize: 64 * 1024, compression: false });
  await db.open();
  for (let from = 0; from < keys; from += 500) {
    const batch = Array.from({ length: Math.min(500, keys - from) }, (_, i) => {
      return { type: 'put' as const, key: keyOf(((from + i) * 7) % keys), value: valueOf(((from + i) * 7) % keys) };
    });
    await db.batch(batch);
  }
  await db.compactRange(keyOf(0), keyOf(keys));
  await db.close();
}

async function readLevel(dir: string): Promise<[string, string][]> {
  const db = new ClassicLevel(dir, { createIfMissing: false, compression: false });
  await db.open();
  try {
    return await db.iterator().all();
  } finally {
    await db.close();
  }
}

function recovered(dir: string, readOnly = true): { manifest: Manifest; state: ManifestState } {
  return Manifest.recover(nodeDisk, dir, { readOnly }) ?? expect.fail('a store');
}

const all = (keys: number): [string, string][] => Array.from({ length: keys }, (_, i) => [keyOf(i), valueOf(i)]);

function manifestPath(dir: string): string {
  return `${dir}/${Buffer.from(readFile(nodeDisk, `${dir}/${CURRENT}`))
    .toString()
    .trim()}`;
}

test('a manifest of LevelDB’s is read whole, and written again it is the same bytes', async () => {
  const dir = join(root, 'theirs');
  await makeLevel(dir, 6000);
  const path = manifestPath(dir);
  const file = nodeDisk.open(path, 'read');
  const edits: VersionEdit[] = [];
  const payloads: Uint8Array[] = [];
  const end = readLog(file, path, (payload, place) => {
    payloads.push(payload.slice());
    edits.push(decodeEdit(payload, place));
  });
  file.close();
  expect(end.trimmedBytes).toBe(0);
  expect(edits[0]?.comparator).toBe('leveldb.BytewiseComparator');
  expect(edits.length).toBeGreaterThan(10);
  for (const field of [
    'logNumber',
    'nextFile',
    'lastSequence',
    'newFiles',
    'deletedFiles',
    'compactPointers',
  ] as const) {
    expect(
      edits.some((edit) => edit[field] !== undefined),
      field,
    ).toBe(true);
  }
  const again = nodeDisk.open(join(root, 'again'), 'create');
  const writer = new LogWriter(again, 0);
  for (const [i, edit] of edits.entries()) {
    const bytes = encodeEdit(edit);
    expect(Buffer.compare(bytes, payloads[i] as Uint8Array), `edit ${i}`).toBe(0);
    writer.append(bytes);
  }
  again.close();
  expect(Buffer.compare(readFile(nodeDisk, join(root, 'again')), readFile(nodeDisk, path))).toBe(0);
});

test('the state of a LevelDB directory names the tables that are there', async () => {
  const dir = join(root, 'theirs');
  await makeLevel(dir, 6000);
  const { state } = recovered(dir);
  const tables = readdirSync(dir).filter((name) => parseFileName(name)?.kind === 'table');
  expect([...liveNumbers(state)].sort((a, b) => a - b)).toEqual(
    tables.map((name) => Number.parseInt(name, 10)).sort((a, b) => a - b),
  );
  expect(tables.length).toBeGreaterThan(3);
  expect(state.lastSequence).toBe(6000);
});

test('LevelDB opens an empty store of ours, and ours goes on from what it makes of it', async () => {
  const dir = join(root, 'ours');
  Manifest.create(nodeDisk, dir).close();
  const db = new ClassicLevel(dir, { createIfMissing: false });
  await db.open();
  await db.put('a', 'b');
  await db.close();
  const { state } = recovered(dir);
  expect(state.nextFile).toBeGreaterThan(2);
  expect(await readLevel(dir)).toEqual([['a', 'b']]);
});

test('LevelDB opens a store of ours with tables in any level, after edits and after a roll-over', async () => {
  const theirs = join(root, 'theirs');
  await makeLevel(theirs, 6000);
  const { state } = recovered(theirs);
  for (const manifestBytesMax of [undefined, 1]) {
    const dir = join(root, `ours-${manifestBytesMax}`);
    const manifest = Manifest.create(nodeDisk, dir, manifestBytesMax === undefined ? {} : { manifestBytesMax });
    const [deep] = state.levels.findLast((files) => files.length > 0) ?? [];
    for (const [level, files] of state.levels.entries()) {
      for (const file of files) {
        const number = manifest.takeFileNumber();
        copyFileSync(tablePath(nodeDisk, theirs, file.number), tablePath(nodeDisk, dir, number));
        const moved = { ...file, number };
        // To level 0 first, then to where it was: an edit with a removal.
        manifest.append({ newFiles: [{ level: 0, file: moved }], lastSequence: state.lastSequence });
        manifest.append({
          deletedFiles: [{ level: 0, number }],
          newFiles: [{ level, file: moved }],
          ...(file === deep && { compactPointers: [{ level: 1, key: file.largest }] }),
        });
      }
    }
    expect(manifest.fileNumber === 1).toBe(manifestBytesMax === undefined);
    manifest.close();
    removeStale(nodeDisk, dir, { tables: liveNumbers(manifest.state), manifest: manifest.fileNumber as number });
    expect(await readLevel(dir)).toEqual(all(6000));
    // What LevelDB wrote when it opened the store is read by ours.
    expect([...liveFiles(recovered(dir).state)].length).toBe([...liveFiles(state)].length);
  }
});

test('ours goes on in a directory of LevelDB’s, and LevelDB in it after that', async () => {
  const dir = join(root, 'theirs');
  await makeLevel(dir, 3000);
  const { manifest, state } = recovered(dir, false);
  const [last] = [...liveFiles(state)].slice(-1);
  const from = state.levels.findIndex((files) => files.some(({ number }) => number === last?.number));
  const file = last ?? expect.fail('a table');
  manifest.append({ deletedFiles: [{ level: from, number: file.number }], newFiles: [{ level: 6, file }] });
  manifest.close();
  expect(await readLevel(dir)).toEqual(all(3000));
  expect(recovered(dir).state.levels[6]?.length).toBe(1);
});

test('a checkpoint on a real disk is links, and LevelDB opens it beside the store', async () => {
  const dir = join(root, 'store');
  await makeLevel(dir, 3000);
  const { state } = recovered(dir);
  const copy = join(root, 'copy');
  writeCheckpoint(nodeDisk, dir, copy, state);
  expect(readdirSync(root).sort()).toEqual(['copy', 'store']);
  expect(recovered(copy).state.levels).toEqual(state.levels);
  const manifest = readFile(nodeDisk, `${copy}/${manifestName(state.nextFile)}`);
  expect(Buffer.from(manifest.subarray(7))).toEqual(
    Buffer.from(encodeEdit(snapshotEdit({ ...state, nextFile: state.nextFile + 1 }))),
  );
  rmSync(dir, { recursive: true });
  expect(await readLevel(copy)).toEqual(all(3000));
});
