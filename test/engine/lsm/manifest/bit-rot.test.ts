/**
 * Every bit of a store's manifest and CURRENT, turned one at a time: recovery refuses, or gives the right state. It may
 * give the state without the last edit only where the last record then looks exactly like one cut by a crash.
 */
import { expect, test } from 'vitest';
import { isStoreError } from '../../../../src/core/base/errors.ts';
import { MemoryDisk } from '../../../../src/engine/disk/memory-disk.ts';
import { CURRENT } from '../../../../src/engine/lsm/manifest/file-names.ts';
import { readLog } from '../../../../src/engine/lsm/manifest/log-format.ts';
import { Manifest } from '../../../../src/engine/lsm/manifest/manifest.ts';
import { removeStale } from '../../../../src/engine/lsm/manifest/stale-files.ts';
import { add, currentPath, DIR, gist, liveNumbers, makeTable, readFile } from './world.ts';

const stateIn = (disk: MemoryDisk): string =>
  JSON.stringify(gist((Manifest.recover(disk, DIR, { readOnly: true }) ?? expect.fail('a store')).state));

type Judge = (offset: number, state: string | undefined) => void;

function rotten(disk: MemoryDisk, path: string, judge: Judge, from = 0): void {
  const bytes = readFile(disk, path).length;
  for (let offset = from; offset < bytes; offset++) {
    for (let bit = 0; bit < 8; bit++) {
      disk.flipBit(path, offset, bit);
      let state: string | undefined;
      try {
        state = stateIn(disk);
      } catch (error) {
        if (!isStoreError(error, 'TABLE_CORRUPT')) throw error;
        expect(typeof error.data['file']).toBe('string');
      }
      judge(offset, state);
      disk.flipBit(path, offset, bit);
    }
  }
}

/** A store with edits of several sectors, and one that goes over a block's end. */
function store(keyBytes: number[]): { disk: MemoryDisk; states: string[] } {
  const disk = new MemoryDisk();
  const manifest = Manifest.create(disk, DIR);
  const states = [stateIn(disk)];
  for (const [i, bytes] of keyBytes.entries()) {
    manifest.append({ ...add(0, makeTable(disk, manifest, 'a', 'k'.repeat(bytes))), lastSequence: 300 + i });
    states.push(stateIn(disk));
  }
  manifest.close();
  return { disk, states };
}

test('a bit of a manifest that rots is damage, wherever it is', () => {
  // The last record begins and ends inside sectors, with a good share of bytes in each: nothing looks lost.
  const { disk, states } = store([10, 600, 20, 5, 0, 700, 3, 30, 8, 12, 40, 650]);
  let refused = 0;
  rotten(disk, currentPath(disk), (offset, state) => {
    refused++;
    if (state !== undefined) expect.fail(`byte ${offset}: ${states.indexOf(state)} of ${states.length} edits`);
  });
  expect(refused).toBeGreaterThan(20_000);
});

test('in a last record with a sector of zeros, or a share of a zero byte, it costs that record and no more', () => {
  // The file ends in a key's trailer, whose revision has six zero bytes at its end: now and then a sector's whole share.
  const found = new Set<number>();
  for (let keyBytes = 380; keyBytes < 440; keyBytes += 4) {
    const { disk, states } = store([10, keyBytes]);
    const path = currentPath(disk);
    const { lastStart } = readLog(disk.open(path, 'read'), path, () => {});
    const judge: Judge = (_offset, state) => {
      if (state === undefined) return;
      expect(state).toBe(states.at(-2));
      found.add(keyBytes);
    };
    // The records before it are the test above's.
    rotten(disk, path, judge, lastStart);
  }
  expect(found.size, 'it happens, and seldom').toBeGreaterThan(0);
  expect(found.size).toBeLessThan(8);
});

test('a bit of CURRENT that rots is damage, once stale manifests are removed', () => {
  const disk = new MemoryDisk();
  const manifest = Manifest.create(disk, DIR, { manifestBytesMax: 1 });
  manifest.append(add(0, makeTable(disk, manifest, 'a', 'b')));
  while (manifest.fileNumber === 1) manifest.append({});
  removeStale(disk, DIR, { tables: liveNumbers(manifest.state), manifest: manifest.fileNumber as number });
  rotten(disk, `${DIR}/${CURRENT}`, (offset, state) => {
    if (state !== undefined) expect.fail(`byte ${offset}`);
  });
});
