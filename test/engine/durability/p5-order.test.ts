import { dirname } from 'node:path/posix';
import { describe, expect, test } from 'vitest';
import { MemoryDisk } from '../../../src/engine/disk/memory-disk.ts';
import { systemError } from '../../../src/engine/disk/system-error.ts';
import { openEngine } from '../../../src/engine/store/index.ts';
import { seeded } from '../../core/base/seeded.ts';
import { type Change, WatchedDisk } from '../../support/engine-disk.ts';
import { bytes, DIR, EngineModel, expectContents, randomOps, SMALL, valueOf } from '../../support/engine-model.ts';

const isTable = (path: string): boolean => path.endsWith('.ldb');
const isManifest = (path: string): boolean => path.includes('/MANIFEST-');
const isSegment = (path: string): boolean => /\/wal\/\d+\.wal$/.test(path);

/** What is not durable yet, change by change; it complains when something goes that is still needed. */
class Order {
  readonly #unsyncedBytes = new Set<string>();
  readonly #unsyncedNames = new Map<string, Set<string>>();
  readonly counts = { edits: 0, tablesGone: 0, segmentsGone: 0 };

  before(change: Change): void {
    const { op, path } = change;
    if (op === 'write' && isManifest(path)) {
      this.counts.edits++;
      this.#expectDurable(isTable, `an edit is written to ${path}`);
    }
    if (op === 'remove' || op === 'rename') {
      if (isTable(path)) this.counts.tablesGone++;
      if (isSegment(path)) this.counts.segmentsGone++;
      if (isTable(path) || isSegment(path) || isManifest(path)) {
        this.#expectDurable(
          (other) => isTable(other) || isManifest(other) || other.endsWith('/CURRENT'),
          `${path} goes`,
        );
      }
    }
    this.#note(change);
  }

  #note(change: Change): void {
    const { op, path } = change;
    if (op === 'write' || op === 'truncate') this.#unsyncedBytes.add(path);
    else if (op === 'fdatasync') this.#unsyncedBytes.delete(path);
    else if (op === 'syncDir') this.#unsyncedNames.delete(path);
    else if (op === 'create') this.#noteName(path);
    else if (op === 'rename') {
      this.#noteName(change.to);
      if (this.#unsyncedBytes.delete(path)) this.#unsyncedBytes.add(change.to);
    } else if (op === 'remove') this.#unsyncedBytes.delete(path);
  }

  #noteName(path: string): void {
    const names = this.#unsyncedNames.get(dirname(path)) ?? new Set();
    names.add(path);
    this.#unsyncedNames.set(dirname(path), names);
  }

  #expectDurable(which: (path: string) => boolean, when: string): void {
    const names = [...this.#unsyncedNames.values()].flatMap((paths) => [...paths]);
    expect([...this.#unsyncedBytes, ...names].filter(which), `what is not durable when ${when}`).toEqual([]);
  }
}

describe('P5: a table or manifest is synced, and its directory, before the log it replaces goes', () => {
  test('and before the tables it replaces go, in a long run', async () => {
    const order = new Order();
    const disk = new WatchedDisk(new MemoryDisk(), (change) => order.before(change));
    const model = new EngineModel();
    const random = seeded(5);
    for (let life = 0; life < 3; life++) {
      const engine = await openEngine(DIR, { ...SMALL, disk });
      for (let i = 1; i <= 80; i++) {
        await model.write(engine, randomOps(random, model.attempted + 1, 40), { sync: i % 4 === 0 });
      }
      await engine.compact();
      expectContents(engine, model.contents);
      await engine.close();
    }
    expect(order.counts.edits).toBeGreaterThan(20);
    expect(order.counts.tablesGone).toBeGreaterThan(10);
    expect(order.counts.segmentsGone).toBeGreaterThan(3);
  });

  test('an edit that the disk has no room for leaves the log and no table behind', async () => {
    const disk = new MemoryDisk();
    const engine = await openEngine(DIR, { ...SMALL, disk, autoCompact: false });
    const model = new EngineModel();
    for (let i = 1; i <= 3; i++) await model.write(engine, [['put', `k${i}`, 'v']]);
    const manifest = disk.list(DIR).find((name) => name.startsWith('MANIFEST-'));
    disk.failNext({ op: 'write', code: 'ENOSPC', path: `${DIR}/${manifest}`, times: 1 });
    await engine.flush().catch(() => undefined);
    expect(disk.list(DIR).filter(isTable).length, 'only what a version names').toBeLessThanOrEqual(
      engine.stats().flushedRevision > 0 ? 1 : 0,
    );
    expectContents(engine, model.contents);
    const crashed = disk.clone();
    crashed.crash({ keep: 'none' });
    const again = await openEngine(DIR, { ...SMALL, disk: crashed });
    expectContents(again, model.contents);
    await again.close();
    await engine.close();
  });

  test('the log keeps, in however many segments, what a flush that was put off would have had', async () => {
    const inner = new MemoryDisk();
    let isFull = false;
    let tries = 0;
    const disk = new WatchedDisk(inner, ({ op, path }) => {
      if (!isFull || op !== 'write' || !isTable(path)) return;
      tries++;
      throw systemError('ENOSPC', 'write', path, 'no space left');
    });
    const options = { ...SMALL, disk, walSegmentBytes: 512, memtableBytes: 8 * 1024, autoCompact: false };
    const engine = await openEngine(DIR, options);
    const model = new EngineModel();
    for (let i = 0; i < 5; i++) await model.write(engine, [['put', `k${i}`, valueOf('k', i, 300)]]);
    await engine.flush();
    isFull = true;
    await model.write(engine, [['put', 'k9', valueOf('k', 9, 300)]]);
    await expect(engine.flush()).rejects.toMatchObject({ code: 'STORE_FULL' });
    for (let i = 0; i < 5; i++) {
      await model.write(engine, [['del', `k${i}`]]);
      await model.write(engine, [['del', `${i}`.padEnd(600, 'x')]]);
    }
    // Until the flush was tried again behind all of them: that is when the log is looked at.
    const before = tries;
    while (tries < before + 2) await new Promise((resolve) => setTimeout(resolve, 20));
    expect(inner.list(`${DIR}/wal`).filter((name) => /^\d+\.wal$/.test(name)).length).toBeGreaterThan(4);
    inner.crash({ keep: 'none' });
    disk.die();
    const again = await openEngine(DIR, { ...options, disk: inner });
    expectContents(again, model.contents, ['k0']);
    await again.close();
  });

  test('a table that cannot be removed is no failure, and goes with the next start', async () => {
    const disk = new MemoryDisk();
    const engine = await openEngine(DIR, { ...SMALL, disk, autoCompact: false });
    const model = new EngineModel();
    for (let i = 1; i <= 2; i++) {
      await model.write(engine, [['put', `k${i}`, 'v']]);
      await engine.flush();
    }
    disk.failNext({ op: 'remove', code: 'EIO', times: 2 });
    await engine.compact();
    expect(disk.list(DIR).filter(isTable).length).toBeGreaterThan(1);
    await model.write(engine, [['put', 'k3', 'v']]);
    expectContents(engine, model.contents);
    await engine.close();
    const again = await openEngine(DIR, { ...SMALL, disk, autoCompact: false });
    expect(disk.list(DIR).filter(isTable).length).toBe(1);
    expect(again.getSync(bytes('k1'))).toEqual(bytes('v'));
    await again.close();
  });
});
