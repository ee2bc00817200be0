/**
 * Lives of an open WAL beside a list of what was asked of it: random appends, reverts, watermarks, truncations, syncs
 * that come back when they like, disks that fail; then a crash, a kill or a close, and the next life.
 */
import { expect, test } from 'vitest';
import type { DiskFile, Random } from '../../../src/core/base/env.ts';
import { isStoreError } from '../../../src/core/base/errors.ts';
import { toIndex, toLsn } from '../../../src/core/base/position.ts';
import { type DiskOp, MemoryDisk } from '../../../src/engine/disk/memory-disk.ts';
import { openWal, type Wal, type WalChange } from '../../../src/engine/wal/index.ts';
import { below, pick, randomBytes, seeded } from '../../core/base/seeded.ts';
import { DIR } from './wal.ts';

/** What one record was asked to do. */
interface Asked {
  readonly lsn: number;
  readonly revertFrom?: number;
  readonly first: number;
  readonly data: readonly Uint8Array[];
}

/** What the waiters of one life were told; a life that has ended tells nobody that counts. */
interface Told {
  /** Greatest LSN whose promise resolved: on disk, and written. */
  durable: number;
  written: number;
  unsettled: number;
  readonly waiters: Promise<unknown>[];
}

class Life {
  readonly random: Random;
  readonly disk: MemoryDisk;
  /** By LSN; what a crash took is taken out. */
  asked: Asked[] = [];
  /** Greatest LSN that must be there at the next start. */
  promised = 0;
  taken = 0;
  told: Told = { durable: 0, written: 0, unsettled: 0, waiters: [] };
  failures = 0;

  constructor(random: Random) {
    this.random = random;
    this.disk = new MemoryDisk({ random });
  }

  /** The log of those up to `lsn`. */
  log(lsn: number): Uint8Array[] {
    const log: Uint8Array[] = [];
    for (const asked of this.asked) {
      if (asked.lsn > lsn) break;
      if (asked.revertFrom !== undefined) log.length = asked.revertFrom - 1;
      log.push(...asked.data);
    }
    return log;
  }

  open(): Promise<Wal> {
    const { disk, random } = this;
    return openWal(DIR, {
      disk,
      segmentBytes: 6_000,
      consumers: ['tree'],
      sync: async (file: DiskFile) => {
        for (let turns = below(random, 4); turns > 0; turns--) await new Promise((resolve) => setImmediate(resolve));
        file.fdatasync();
      },
    });
  }

  wait(promise: Promise<void>, lsn: number, isSynced: boolean): void {
    const { told } = this;
    told.unsettled++;
    told.waiters.push(
      promise.then(
        () => {
          told.unsettled--;
          if (isSynced) told.durable = Math.max(told.durable, lsn);
          told.written = Math.max(told.written, lsn);
          return undefined;
        },
        (error: unknown) => {
          told.unsettled--;
          if (!isStoreError(error)) throw error;
        },
      ),
    );
  }

  async step(wal: Wal): Promise<void> {
    const { random } = this;
    const chance = random();
    const data = (): Uint8Array => randomBytes(random, below(random, 300));
    const first = wal.lastIndex + 1;
    if (chance < 0.45) {
      const isSynced = random() < 0.6;
      const bytes = data();
      const { lsn, index, durable } = wal.append(bytes, { sync: isSynced });
      this.asked.push({ lsn, first: index, data: [bytes] });
      this.wait(durable, lsn, isSynced);
    } else if (chance < 0.55) {
      const many = Array.from({ length: 1 + below(random, 5) }, data);
      const { lsn, index, durable } = wal.appendMany(many);
      expect(index).toBe(first + many.length - 1);
      this.asked.push({ lsn, first, data: many });
      this.wait(durable, lsn, true);
    } else if (chance < 0.62) {
      const bytes = data();
      const index = wal.push(bytes);
      this.asked.push({ lsn: wal.lastLsn, first: index, data: [bytes] });
    } else if (chance < 0.67) {
      const from = Math.max(this.taken + 1, wal.lastIndex - below(random, 6));
      if (from > wal.lastIndex) return;
      const { lsn, durable } = wal.revert(toIndex(from));
      this.asked.push({ lsn, revertFrom: from, first: from, data: [] });
      this.wait(durable, lsn, true);
    } else if (chance < 0.72) {
      this.taken = Math.max(this.taken, Math.min(wal.durableIndex, wal.lastIndex));
      wal.watermark('tree', toIndex(this.taken));
      await wal.truncate();
    } else if (chance < 0.75) {
      this.wait(wal.flush(), wal.lastLsn, true);
    } else if (chance < 0.85) {
      const from = wal.firstIndex + below(random, Math.max(1, wal.lastIndex - wal.firstIndex + 1));
      const found = wal.read(toIndex(from), undefined, 500);
      const log = this.log(wal.lastLsn);
      for (const { index, data: bytes } of found) expect(Buffer.compare(bytes, log[index - 1]!)).toBe(0);
    } else {
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** Follows by LSN until the end; everything that it tells is on disk then. */
  async follow(wal: Wal, from: number, seen: WalChange[]): Promise<void> {
    try {
      for await (const change of wal.tailLsn(toLsn(from))) {
        expect(change.lsn).toBeLessThanOrEqual(wal.durableLsn);
        seen.push(change);
      }
    } catch (error) {
      if (!isStoreError(error)) throw error;
    }
  }

  async live(): Promise<void> {
    // A fault that is left over from the last life may hit the start.
    const wal = await this.open().catch(() => this.open());
    this.asked = this.asked.filter(({ lsn }) => lsn <= wal.lastLsn);
    this.expectState(wal);
    this.told = { durable: wal.durableLsn, written: wal.durableLsn, unsettled: 0, waiters: [] };
    const seen: WalChange[] = [];
    const from = wal.lastLsn + 1;
    const following = this.follow(wal, from, seen);
    if (this.random() < 0.3) {
      const op = pick<DiskOp>(this.random, ['write', 'fdatasync', 'syncDir', 'rename', 'open']);
      this.disk.failNext({ op, code: pick(this.random, ['EIO', 'ENOSPC']), skip: below(this.random, 40) });
    }
    try {
      for (let steps = 20 + below(this.random, 120); steps > 0; steps--) {
        await this.step(wal);
        expect(wal.durableIndex).toBeLessThanOrEqual(wal.lastIndex);
      }
    } catch (error) {
      // Which failure, the waiters are asked below.
      if (!isStoreError(error)) throw error;
      this.failures++;
    }
    const end = pick(this.random, ['close', 'close', 'crash', 'crash', 'kill'] as const);
    if (end === 'close') {
      await wal.close().catch((error: unknown) => {
        if (!isStoreError(error)) throw error;
      });
      await Promise.all(this.told.waiters);
      expect(this.told.unsettled, 'every waiter was told').toBe(0);
      await following;
    }
    // A kill loses nothing that was written; the old handles are of no use after it.
    this.disk.crash({ keep: end === 'kill' ? 'all' : pick(this.random, ['none', 'random', 'random', 'all']) });
    this.promised = end === 'kill' ? this.told.written : this.told.durable;
    for (const { lsn, entries, revertFrom } of seen) {
      const asked = this.asked.find((other) => other.lsn === lsn)!;
      expect([revertFrom, entries.length]).toEqual([asked.revertFrom, asked.data.length]);
      this.promised = Math.max(this.promised, lsn);
    }
  }

  expectState(wal: Wal): void {
    const log = this.log(wal.lastLsn);
    expect(wal.lastIndex).toBe(log.length);
    expect(wal.firstIndex).toBeLessThanOrEqual(this.taken + 1);
    expect(wal.lastLsn, 'what was promised is there').toBeGreaterThanOrEqual(this.promised);
    let next = wal.firstIndex as number;
    wal.replay(wal.firstIndex, (index, data) => {
      expect(index).toBe(next++);
      if (Buffer.compare(data, log[index - 1]!) !== 0) expect.fail(`entry ${index} is another`);
    });
    expect(next).toBe(log.length + 1);
    if (this.taken > 0) wal.watermark('tree', toIndex(this.taken));
  }
}

test('whatever is asked of it, and however it ends, an open WAL keeps what it promised and tells everybody', async () => {
  const only = process.env['SEED'];
  const seeds = only === undefined ? Array.from({ length: 25 }, (_, i) => i + 1) : [Number(only)];
  let failures = 0;
  let entries = 0;
  let truncated = 0;
  for (const seed of seeds) {
    const life = new Life(seeded(seed));
    try {
      for (let lives = 0; lives < 5; lives++) await life.live();
    } catch (cause) {
      throw new Error(`seed ${seed} (replay with SEED=${seed}): ${String(cause)}`, { cause });
    }
    failures += life.failures;
    entries += life.asked.length;
    const wal = await life.open().catch(() => life.open());
    if (wal.firstIndex > 1) truncated++;
  }
  if (only !== undefined) return;
  expect(entries).toBeGreaterThan(3_000);
  expect(failures, 'disks that failed').toBeGreaterThan(5);
  expect(truncated, 'logs that begin later').toBeGreaterThan(10);
});
