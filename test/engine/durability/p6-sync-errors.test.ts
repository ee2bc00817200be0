import { describe, expect, test } from 'vitest';
import { isStoreError } from '../../../src/core/base/errors.ts';
import { MemoryDisk } from '../../../src/engine/disk/memory-disk.ts';
import { systemError } from '../../../src/engine/disk/system-error.ts';
import { type Engine, openEngine } from '../../../src/engine/store/index.ts';
import { type Change, WatchedDisk } from '../../support/engine-disk.ts';
import { bytes, DIR, EngineModel, expectContents, SMALL, valueOf } from '../../support/engine-model.ts';

const isSync = ({ op }: Change): boolean => op === 'fdatasync' || op === 'syncDir';
const kindOf = ({ op, path }: Change): string => {
  const what = path.slice(DIR.length + 1).replace(/\d+/g, 'N');
  return `${op} ${what === '' ? 'the directory' : what}`;
};

/** Something of everything that syncs. */
async function script(engine: Engine, model: EngineModel): Promise<void> {
  for (let i = 1; i <= 16; i++) {
    await model.write(engine, [['put', `k${i % 5}`, valueOf('k', i, 400)]], { sync: i % 3 !== 0 });
    if (i % 5 === 0) await engine.flush();
  }
  await engine.compact();
  await model.write(engine, [['del', 'k1']]);
}

const FIRST = 3;
const EVERY = 5;

interface Run {
  readonly failed: string | undefined;
  readonly refused: unknown;
}

/** The syncs to fail: all of the first of each kind, and some of those that follow. */
async function chosenSyncs(): Promise<number[]> {
  const kinds: string[] = [];
  const disk = new WatchedDisk(new MemoryDisk(), (change) => void (isSync(change) && kinds.push(kindOf(change))));
  const engine = await openEngine(DIR, { ...SMALL, disk });
  await script(engine, new EngineModel());
  await engine.close();
  const counts = new Map<string, number>();
  return kinds.flatMap((kind, at) => {
    const count = (counts.get(kind) ?? 0) + 1;
    counts.set(kind, count);
    return count <= FIRST || count % EVERY === 0 ? [at] : [];
  });
}

/** Runs the script with the `at`-th sync failing once, as Linux does it: a second try would say that all is well. */
async function run(at: number): Promise<Run> {
  const inner = new MemoryDisk();
  const model = new EngineModel();
  let syncs = 0;
  let failed: Change | undefined;
  const again: Change[] = [];
  const disk = new WatchedDisk(inner, (change) => {
    if (!isSync(change)) return;
    if (failed !== undefined && change.op === failed.op && change.path === failed.path) again.push(change);
    if (syncs++ !== at) return;
    failed = change;
    // The file's own failure also strands its pages.
    if (change.op === 'fdatasync') inner.failNext({ op: 'fdatasync', code: 'EIO', path: change.path });
    else throw systemError('EIO', 'fsync', change.path, 'injected fault');
  });
  let engine: Engine | undefined;
  let refused: unknown;
  try {
    engine = await openEngine(DIR, { ...SMALL, disk });
    await script(engine, model);
    await engine.settled();
  } catch (error) {
    refused = error;
  }
  const said = failed === undefined ? undefined : kindOf(failed);
  if (said !== undefined && engine !== undefined && !said.includes('spare-')) {
    // Refused now, and ever after, though the disk is well again.
    for (let i = 0; i < 3; i++) {
      await expect(engine.put(bytes('late'), bytes('1'))).rejects.toMatchObject({ code: 'DISK_FAILED' });
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(engine.failure?.code).toBe('DISK_FAILED');
    // What was visible can still be read.
    expectContents(engine, model.states[engine.revision]!);
    if (said.startsWith('fdatasync')) expect(again, 'it is not tried again').toEqual([]);
  }
  await engine?.close().catch(() => undefined);
  disk.die();
  inner.crash({ keep: 'none' });
  const reopened = await openEngine(DIR, { ...SMALL, disk: inner });
  expect(reopened.revision).toBeGreaterThanOrEqual(model.synced);
  expectContents(reopened, model.states[reopened.revision]!, ['late']);
  await reopened.close();
  return { failed: said, refused };
}

describe('P6: an fsync error is fatal to the WAL and never retried', () => {
  test('whichever sync fails, nothing more is written, and nothing acknowledged is lost', {
    timeout: 120_000,
  }, async () => {
    const kinds = new Map<string, number>();
    for (const at of await chosenSyncs()) {
      try {
        const { failed, refused } = await run(at);
        if (failed === undefined) continue;
        kinds.set(failed, (kinds.get(failed) ?? 0) + 1);
        if (refused !== undefined) expect(isStoreError(refused, 'DISK_FAILED'), failed).toBe(true);
      } catch (cause) {
        throw new Error(`sync ${at}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
      }
    }
    // Each kind of file that is synced had its turn.
    for (const kind of ['wal/N.wal', 'N.ldb', 'MANIFEST-N', 'N.dbtmp', 'wal/spare-N.wal']) {
      expect(kinds.get(`fdatasync ${kind}`), kind).toBeGreaterThan(0);
    }
    expect(kinds.get('syncDir the directory')).toBeGreaterThan(0);
    expect(kinds.get('syncDir wal')).toBeGreaterThan(0);
  });
});
