/**
 * One script of everything a WAL does (groups, syncs, rotations into new and into used files, reverts, truncation,
 * filling of spares, a restart), and a crash after each change that it makes to the disk, in several ways each.
 *
 *   P1 what was synced is there        P2/P3 what is there is a prefix, without a hole
 *   P5 no LSN that was told is given again        and nothing of a file's earlier life is ever read
 */
import { expect, test } from 'vitest';
import type { Random } from '../../../src/core/base/env.ts';
import { type Index, toIndex } from '../../../src/core/base/position.ts';
import { MemoryDisk } from '../../../src/engine/disk/memory-disk.ts';
import { WalReader } from '../../../src/engine/wal/reader.ts';
import { type Recovered, recoverWal } from '../../../src/engine/wal/recovery.ts';
import { Standing } from '../../../src/engine/wal/standing.ts';
import { below, seeded } from '../../core/base/seeded.ts';
import { hookedDisk } from './hooked-disk.ts';
import { DIR, encode, LogModel, type Said, Wal } from './wal.ts';

interface Written {
  readonly lsn: number;
  readonly said: Said;
}

/** A moment at which the power may go. */
interface Moment {
  readonly what: string;
  readonly disk: MemoryDisk;
  readonly written: readonly Written[];
  /** Told to be on disk. */
  readonly syncedLsn: number;
  /** The newest LSN that anything was written under; more may be on its way in the group. */
  readonly lastLsn: number;
  /** Entries up to here may be gone. */
  readonly truncatedTo: Index;
}

/** Short segments, so that a file has several lives in a short script. */
const OPTIONS = { segmentBytes: 2_500, zeroAheadBytes: 2_048, spares: 2 };

class Script {
  readonly random: Random;
  readonly disk: MemoryDisk = new MemoryDisk();
  readonly moments: Moment[] = [];
  readonly written: Written[] = [];
  readonly model: LogModel = new LogModel();
  #syncedLsn = 0;
  #truncatedTo: Index = toIndex(0);
  #wal: Wal | undefined;
  recycled = 0;
  reverts = 0;

  constructor(random: Random) {
    this.random = random;
  }

  run(): void {
    for (let life = 0; life < 2; life++) {
      const hooked = hookedDisk(this.disk, (what) => this.#moment(what));
      const wal = new Wal(hooked, OPTIONS);
      this.#wal = wal;
      for (let i = 0; i < 120; i++) this.#step(wal);
      if (life === 0) wal.committer.close();
      this.#syncedLsn = life === 0 ? wal.committer.logged : this.#syncedLsn;
    }
  }

  #step(wal: Wal): void {
    const { committer, spares } = wal;
    const chance = this.random();
    if (chance < 0.4) {
      for (let count = 1 + below(this.random, 3); count > 0; count--) {
        const said = this.model.next(this.random, () => below(this.random, 400));
        if (said.revertFrom !== undefined) this.reverts++;
        this.model.fold(said);
        this.written.push({ lsn: committer.append(encode(said)), said });
      }
      committer.commitGroup();
    } else if (chance < 0.65) {
      this.#syncedLsn = wal.syncer.sync();
    } else if (chance < 0.8) {
      const { segment } = committer;
      const { ready } = spares;
      committer.turn();
      if (committer.segment === segment) return;
      this.#syncedLsn = committer.logged;
      if (ready > 0) this.recycled++;
    } else if (chance < 0.9) {
      for (let i = 0; i < 3; i++) spares.step();
    } else {
      // What is committed and on disk may be let go of.
      const { commit } = this.#standingAt(this.#syncedLsn).hardState;
      if (commit > this.#truncatedTo) this.#truncatedTo = commit;
      committer.truncateTo(this.#truncatedTo);
    }
  }

  #standingAt(lsn: number): LogModel {
    const model = new LogModel();
    for (const { lsn: at, said } of this.written) if (at <= lsn) model.fold(said);
    return model;
  }

  #moment(what: string): void {
    this.moments.push({
      what,
      disk: this.disk.clone(),
      written: [...this.written],
      syncedLsn: this.#syncedLsn,
      lastLsn: this.#wal?.committer.lastLsn ?? 2 ** 40,
      truncatedTo: this.#truncatedTo,
    });
  }
}

function expectLog(disk: MemoryDisk, recovered: Recovered, moment: Moment, where: string): void {
  const { lastLsn, firstIndex, lastIndex } = recovered;
  expect(lastLsn, `${where}: what was synced is there`).toBeGreaterThanOrEqual(moment.syncedLsn);
  expect(lastLsn, `${where}: nothing is made up`).toBeLessThanOrEqual(moment.lastLsn + 1);
  const model = new LogModel();
  for (const { lsn, said } of moment.written) if (lsn <= lastLsn) model.fold(said);
  expect(lastIndex, where).toBe(model.lastIndex);
  expect(recovered.hardState, where).toEqual(model.hardState);
  expect(firstIndex, `${where}: nothing is gone that was not let go of`).toBeLessThanOrEqual(moment.truncatedTo + 1);
  expect(recovered.baseTerm, where).toBe(model.termOf(toIndex(firstIndex - 1)));
  const standing = new Standing(recovered);
  const reader = new WalReader(disk, DIR, recovered, (index) => standing.termOf(index));
  for (let next: number = firstIndex; next <= lastIndex; ) {
    for (const { index, term, data } of reader.read(toIndex(next), toIndex(lastIndex + 1), 2_000)) {
      const entry = model.entries[index - 1];
      if (term !== entry?.term || Buffer.compare(data, entry.data) !== 0)
        expect.fail(`${where}: entry ${index} is other`);
      next++;
    }
  }
  reader.close();
}

function crashAndOpen(moment: Moment, keep: 'none' | 'all' | 'random', seed: number): void {
  const where = `after ${moment.what}, keep ${keep}, seed ${seed}`;
  const random = seeded(seed);
  const disk = moment.disk.clone({ random });
  disk.crash({ keep });
  const wal = new Wal(disk, OPTIONS);
  const { recovered } = wal;
  expectLog(disk, recovered, moment, where);
  // It goes on: through what the spares hold now, and over the next crash.
  const written = moment.written.filter(({ lsn }) => lsn <= recovered.lastLsn);
  const model = new LogModel();
  for (const { said } of written) model.fold(said);
  for (let i = 0; i < 16; i++) wal.spares.step();
  for (let i = 0; i < 6; i++) {
    const said = { ...model.next(random, () => 700), revertFrom: undefined };
    if (said.entries.some(({ index }, at) => index !== model.lastIndex + 1 + at)) continue;
    model.fold(said);
    const lsn = wal.write(said);
    expect(lsn, `${where}: an LSN that was told is not given again`).toBeGreaterThan(moment.syncedLsn);
    written.push({ lsn, said });
    wal.sync();
  }
  const { synced: syncedLsn } = wal.syncer;
  const { lastLsn } = wal.committer;
  disk.crash({ keep: 'random' });
  expectLog(disk, recoverWal(disk, DIR), { ...moment, written, syncedLsn, lastLsn }, `${where}, and again`);
}

test('a crash after any change to the disk, in any way, leaves a log that opens, holds what was synced, and goes on', () => {
  const only = process.env['SEED'];
  const seeds = only === undefined ? [1, 2] : [Number(only)];
  const totals = { moments: 0, recycled: 0, reverts: 0, removed: 0 };
  for (const seed of seeds) {
    const script = new Script(seeded(seed));
    try {
      script.run();
      for (const [i, moment] of script.moments.entries()) {
        crashAndOpen(moment, 'none', seed);
        crashAndOpen(moment, 'random', seed * 1000 + i);
      }
    } catch (cause) {
      throw new Error(`seed ${seed} (replay with SEED=${seed}): ${String(cause)}`, { cause });
    }
    totals.moments += script.moments.length;
    totals.recycled += script.recycled;
    totals.reverts += script.reverts;
    totals.removed += script.moments.filter(({ what }) => /^(rename|remove) .*\/0/.test(what)).length;
  }
  if (only !== undefined) return;
  expect(totals.moments).toBeGreaterThan(350);
  expect(totals.recycled, 'files were used again').toBeGreaterThan(2);
  expect(totals.removed, 'segments were removed').toBeGreaterThan(6);
  expect(totals.reverts).toBeGreaterThan(10);
}, 120_000);
