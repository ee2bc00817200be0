/**
 * The manifest's promise, tried at every point: after each call that changes the disk, the power goes in every way a
 * MemoryDisk knows, and recovery gives the state after the edits whose append had returned, or with the one in work.
 */
import { expect, test } from 'vitest';
import type { Disk, Random } from '../../../../src/core/base/env.ts';
import { isStoreError } from '../../../../src/core/base/errors.ts';
import { type DiskOp, MemoryDisk } from '../../../../src/engine/disk/memory-disk.ts';
import { tableName } from '../../../../src/engine/lsm/manifest/file-names.ts';
import { Manifest } from '../../../../src/engine/lsm/manifest/manifest.ts';
import { removeStale } from '../../../../src/engine/lsm/manifest/stale-files.ts';
import { applyEdit, EMPTY_STATE, type ManifestState } from '../../../../src/engine/lsm/manifest/state.ts';
import type { FileMeta, VersionEdit } from '../../../../src/engine/lsm/manifest/version-edit.ts';
import { below, forSeeds, pick, seeded } from '../../../core/base/seeded.ts';
import { DIR, gist, key, liveNumbers, makeTable, watched } from './world.ts';

const NOTHING = 'no store yet';

const stateIn = (disk: Disk, readOnly = false): string => {
  const found = Manifest.recover(disk, DIR, { readOnly, manifestBytesMax: 400 });
  found?.manifest.close();
  return found === undefined ? NOTHING : JSON.stringify(gist(found.state));
};

/** A flush or a compaction: tables first, durable, then the edit that names them. */
function nextEdit(disk: Disk, manifest: Manifest, random: Random, keyBytes: number): VersionEdit {
  const { levels, lastSequence } = manifest.state;
  const user = () => `${String(below(random, 1000)).padStart(4, '0')}${'k'.repeat(below(random, keyBytes))}`;
  const flushed = levels[0] as readonly FileMeta[];
  if (flushed.length < 3 && random() < 0.7) {
    const ends = [user(), user()].sort() as [string, string];
    const file = makeTable(disk, manifest, ...ends, 1 + below(random, 50));
    return { newFiles: [{ level: 0, file }], lastSequence: lastSequence + 1 + below(random, 9) };
  }
  // All of level 0 and of one deeper level becomes one table a level below.
  const level = 1 + below(random, 5);
  const inputs = [0, level, level + 1].flatMap((from) => (levels[from] ?? []).map((file) => ({ level: from, file })));
  return {
    deletedFiles: inputs.map(({ level: from, file }) => ({ level: from, number: file.number })),
    newFiles: [{ level: level + 1, file: makeTable(disk, manifest, '', 'z'.repeat(1 + below(random, keyBytes))) }],
    compactPointers: [{ level, key: key(user()) }],
  };
}

/** What the owner does once an edit counts: files that no version names go. */
function clean(disk: Disk, manifest: Manifest): void {
  removeStale(disk, DIR, { tables: liveNumbers(manifest.state), manifest: manifest.fileNumber as number });
}

const foresee = (state: ManifestState, edit: VersionEdit): string =>
  JSON.stringify(gist(applyEdit(state, edit, (what) => expect.fail(what))));

test('a crash after any call leaves what was promised, whatever the disk keeps', () => {
  let crashes = 0;
  let inWork = 0;
  let rollOvers = 0;
  // Short keys; keys of several sectors; keys of several blocks.
  for (const [run, keyBytes] of [1, 1, 1500, 40_000].entries()) {
    const random = seeded(run + 1);
    const disk = new MemoryDisk();
    const allowed = [NOTHING];
    let isAppending = false;
    const tryAll = (): void => {
      for (let outcome = 0; outcome < (keyBytes > 2000 ? 7 : 14); outcome++) {
        const crashed = disk.clone({ random: seeded(crashes) });
        // The first is the end of the process alone, which leaves what is not synced as it is.
        if (outcome > 2) crashed.crash({ keep: 'random' });
        else if (outcome > 0) crashed.crash({ keep: outcome === 1 ? 'none' : 'all' });
        const before = stateIn(crashed, true);
        if (!allowed.includes(before)) expect.fail(`crash ${crashes}: ${before}\nis none of ${allowed.join('\n')}`);
        if (before === allowed[1]) inWork++;
        // What was recovered for writing is durable, and recovery for reading saw the same.
        expect(stateIn(crashed)).toBe(before);
        crashed.crash({ keep: 'none' });
        expect(stateIn(crashed, true)).toBe(before);
        crashes++;
      }
    };
    const world = watched(disk, () => {
      // Tables and their removal are not the manifest's; now and then is enough for them.
      if (isAppending || random() < 0.1) tryAll();
    });
    world.mkdir(DIR);
    isAppending = true;
    allowed.push(foresee(EMPTY_STATE, {}));
    const manifest = Manifest.create(world, DIR, { manifestBytesMax: 400 });
    isAppending = false;
    allowed.shift();
    for (let edits = 0; edits < 13; edits++) {
      const edit = nextEdit(world, manifest, random, keyBytes);
      const { fileNumber } = manifest;
      isAppending = true;
      allowed.push(foresee(manifest.state, edit));
      manifest.append(edit);
      isAppending = false;
      allowed.shift();
      expect(JSON.stringify(gist(manifest.state))).toBe(allowed[0]);
      if (manifest.fileNumber !== fileNumber) rollOvers++;
      if (random() < 0.5) clean(world, manifest);
    }
  }
  expect(crashes).toBeGreaterThan(2000);
  expect(inWork, 'edits in work that were there').toBeGreaterThan(100);
  expect(rollOvers).toBeGreaterThan(8);
});

/** Calls of which one may fail; a failed sync or truncate may end the manifest. */
const OPS: DiskOp[] = ['write', 'write', 'open', 'rename', 'fdatasync', 'syncDir', 'truncate'];

/** Lets faults that were armed and met no call go off where they do no harm. */
function drainFaults(disk: MemoryDisk): void {
  disk.mkdir('/drain');
  for (let round = 0; round < 6; round++) {
    const tries = [
      () => disk.open('/drain/a', 'create').close(),
      () => disk.rename('/drain/a', '/drain/b'),
      () => disk.syncDir('/drain'),
      () => {
        const file = disk.open('/drain/b', 'write');
        for (const call of [() => file.write(new Uint8Array(1), 0), () => file.fdatasync(), () => file.truncate(0)]) {
          attempt(call);
        }
        file.close();
      },
      () => disk.remove('/drain/b'),
      () => disk.remove('/drain/a'),
    ];
    for (const call of tries) attempt(call);
  }
}

function attempt(call: () => void): void {
  try {
    call();
  } catch {
    // That is what it is for.
  }
}

test('lives with failing disks and crashes: what was promised is there, and nothing that was taken back', () => {
  const seen = { failed: 0, poisoned: 0, applied: 0, lost: 0 };
  forSeeds(120, (random) => {
    const disk = new MemoryDisk({ random });
    /** States that a recovery may give: the promised one, and one more after a failure that left it open. */
    let allowed = [NOTHING];
    for (let life = 0; life < 4; life++) {
      const options = { manifestBytesMax: 300 };
      const found = Manifest.recover(disk, DIR, options);
      const state = found === undefined ? NOTHING : JSON.stringify(gist(found.state));
      expect(allowed).toContain(state);
      if (allowed.length > 1) seen[state === allowed[1] ? 'applied' : 'lost']++;
      const manifest = found?.manifest ?? Manifest.create(disk, DIR, options);
      clean(disk, manifest);
      allowed = [JSON.stringify(gist(manifest.state))];
      for (let edits = below(random, 12); edits > 0 && manifest.failure === undefined; edits--) {
        const edit = nextEdit(disk, manifest, random, pick(random, [1, 600]));
        const faults = random() < 0.4 ? 1 + below(random, 2) : 0;
        for (let i = 0; i < faults; i++) {
          const code = pick(random, ['EIO', 'ENOSPC'] as const);
          disk.failNext({ op: pick(random, OPS), code, skip: below(random, 3) });
        }
        const before = manifest.state;
        try {
          manifest.append(edit);
          allowed = [JSON.stringify(gist(manifest.state))];
        } catch (error) {
          if (!isStoreError(error)) throw error;
          expect(['STORE_FULL', 'DISK_FAILED']).toContain(error.code);
          expect(manifest.state).toBe(before);
          seen.failed++;
          if (manifest.failure !== undefined) {
            seen.poisoned++;
            // As it would be with the edit: its tables are kept, as a restart may find it.
            allowed.push(foresee(before, edit));
          } else {
            // The job removes what it made.
            for (const { file } of edit.newFiles ?? []) disk.remove(`${DIR}/${tableName(file.number)}`);
          }
        }
        drainFaults(disk);
        if (manifest.failure === undefined && random() < 0.3) clean(disk, manifest);
      }
      if (random() < 0.5) manifest.close();
      const keep = pick(random, ['none', 'all', 'random', 'random', 'process'] as const);
      if (keep !== 'process') disk.crash({ keep });
      disk.checkInvariants();
    }
  });
  for (const [what, count] of Object.entries(seen)) expect(count, what).toBeGreaterThan(5);
});
