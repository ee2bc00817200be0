import { describe, expect, test } from 'vitest';
import type { Random } from '../../../src/core/base/env.ts';
import { isStoreError } from '../../../src/core/base/errors.ts';
import type { Lsn } from '../../../src/core/base/position.ts';
import { type DiskOp, type Keep, MemoryDisk } from '../../../src/engine/disk/memory-disk.ts';
import { recoverWal } from '../../../src/engine/wal/recovery.ts';
import { below, forSeeds, pick } from '../../core/base/seeded.ts';
import { DIR, encode, entryAt, LogModel, pathOf, readRecords, type Said, Wal } from './wal.ts';

/** What stands under an LSN: a persist, or what the committer says itself. */
type Written = Said | 'mark' | 'base';

/**
 * One life after another of a WAL: random appends, groups, syncs, turns, rotations and closes, then a crash that
 * keeps what it likes. After each recovery, what is there is compared with what was handed over.
 */
class Lives {
  readonly random: Random;
  readonly disk: MemoryDisk;
  readonly segmentBytes: number;
  /** By LSN, from 1; only what is or may be there. */
  written: Written[] = [];
  /** No crash may take what is up to here. */
  synced = 0;
  model: LogModel = new LogModel();
  wal: Wal;
  rotations = 0;

  constructor(random: Random) {
    this.random = random;
    this.disk = new MemoryDisk({ random });
    this.segmentBytes = pick(random, [2_000, 40_000, 200_000]);
    this.wal = this.#open();
    this.#noteOwn('base');
  }

  #open(): Wal {
    return new Wal(this.disk, {
      segmentBytes: this.segmentBytes,
      // While the syncer waits for the disk, the committer goes on.
      duringSync: () => {
        if (this.random() < 0.5) this.#writeGroup();
      },
    });
  }

  #writeGroup(): void {
    const { committer } = this.wal;
    for (let count = 1 + below(this.random, 4); count > 0; count--) {
      const said = this.model.next(this.random, () =>
        pick(this.random, [0, 10, below(this.random, 500), below(this.random, 20_000)]),
      );
      this.model.fold(said);
      const lsn = committer.append(encode(said));
      this.written.push(said);
      expect(lsn).toBe(this.written.length);
    }
    expect(committer.commitGroup()).toBe(this.written.length);
  }

  #noteOwn(...own: ('mark' | 'base')[]): void {
    this.written.push(...own);
    expect(this.wal.committer.logged).toBe(this.written.length);
  }

  step(): void {
    const { committer, syncer } = this.wal;
    switch (below(this.random, 5)) {
      case 0:
      case 1:
        this.#writeGroup();
        break;
      case 2:
      case 3: {
        const logged = committer.logged;
        this.synced = syncer.sync();
        expect(this.synced, 'only what was logged before the sync began').toBe(logged);
        break;
      }
      default: {
        const { segment } = committer;
        committer.turn();
        if (committer.segment === segment) break;
        this.#noteOwn('mark', 'base');
        this.rotations++;
        // What is left behind was synced whole, by the committer itself.
        this.synced = this.written.length;
      }
    }
  }

  end(): void {
    if (this.random() < 0.2) {
      this.wal.committer.close();
      this.#noteOwn('mark');
      this.synced = this.written.length;
    }
    // A process that dies without its machine keeps everything, synced or not.
    const keep = pick<Keep | 'process'>(this.random, ['none', 'all', 'random', 'random', 'process']);
    if (keep !== 'process') this.disk.crash({ keep });
    this.disk.checkInvariants();
    this.wal = this.#open();
    this.#compare(this.wal);
    // What was recovered is on disk: a crash right after takes none of it.
    if (this.random() < 0.5) {
      this.disk.crash({ keep: 'none' });
      this.wal = this.#open();
      this.#compare(this.wal);
    }
  }

  #compare(wal: Wal): void {
    const { recovered } = wal;
    expect(recovered.lastLsn, 'nothing synced is lost').toBeGreaterThanOrEqual(this.synced);
    expect(recovered.lastLsn, 'nothing comes back that was given up').toBeLessThanOrEqual(this.written.length);
    this.written.length = recovered.lastLsn;
    this.synced = recovered.lastLsn;
    const found = readRecords(this.disk).map(({ record }) => record);
    expect(found.map(({ lsn }) => lsn)).toEqual(this.written.map((_, i) => i + 1));
    this.model = new LogModel();
    for (const [i, written] of this.written.entries()) {
      const record = found[i]!;
      if (written === 'mark' || written === 'base') {
        expect(record.kind).toBe(written);
        continue;
      }
      this.model.fold(written);
      if (record.kind !== 'persist') expect.fail(`a persist became a ${record.kind}`);
      expect(record.hardState).toEqual(written.hardState);
      expect(record.revertFrom).toBe(written.revertFrom);
      expect(record.entries.length).toBe(written.entries.length);
      for (const [at, entry] of record.entries.entries()) {
        const original = written.entries[at]!;
        expect([entry.index, entry.term]).toEqual([original.index, original.term]);
        expect(Buffer.compare(entry.data, original.data)).toBe(0);
      }
    }
    expect(recovered.hardState).toEqual(this.model.hardState);
    expect(recovered.lastIndex).toBe(this.model.lastIndex);
    expect(recovered.runs).toEqual(this.model.runs);
  }
}

test('whatever a crash keeps, what was synced is there, in order, without a gap, and nothing else was made up', () => {
  let rotations = 0;
  let lives = 0;
  forSeeds(30, (random) => {
    const run = new Lives(random);
    for (let life = 0; life < 4; life++) {
      for (let steps = 3 + below(random, 25); steps > 0; steps--) run.step();
      run.end();
      lives++;
    }
    rotations += run.rotations;
  });
  if (process.env['SEED'] === undefined) {
    expect(lives).toBe(120);
    expect(rotations, 'segments were left and begun').toBeGreaterThan(30);
  }
});

test('every crash state of one script, from many seeds, opens', () => {
  const disk = new MemoryDisk();
  const wal = new Wal(disk, { segmentBytes: 3_000 });
  const crashes: { disk: MemoryDisk; synced: Lsn; logged: Lsn }[] = [];
  const snapshot = (): void =>
    void crashes.push({ disk: disk.clone(), synced: wal.syncer.synced, logged: wal.committer.logged });
  for (let index = 1; index <= 16; index++) {
    wal.write(entryAt(index, 500));
    snapshot();
    if (index % 3 === 0) wal.syncer.sync();
    snapshot();
    if (index % 4 === 0) wal.committer.turn();
  }
  expect(wal.committer.segment).toBeGreaterThan(2);
  for (const [i, state] of crashes.entries()) {
    forSeeds(3, (random, seed) => {
      const crashed = state.disk.clone({ random });
      crashed.crash({ keep: seed === 1 ? 'none' : 'random' });
      const { lastLsn } = recoverWal(crashed, DIR);
      expect(lastLsn, `snapshot ${i}`).toBeGreaterThanOrEqual(state.synced);
      expect(lastLsn).toBeLessThanOrEqual(state.logged);
    });
  }
});

test('a disk that lies about syncs is caught when a later chunk shows what is missing, and is never believed half', () => {
  let refused = 0;
  forSeeds(60, (random) => {
    const disk = new MemoryDisk({ random });
    const wal = new Wal(disk);
    wal.write(entryAt(1));
    wal.sync();
    disk.lieAboutSync = true;
    for (let index = 2; index <= 20; index++) {
      wal.write(entryAt(index, 700));
      wal.sync();
    }
    disk.lieAboutSync = false;
    disk.crash({ keep: 'random' });
    try {
      const { lastIndex } = recoverWal(disk, DIR);
      const found = readRecords(disk).map(({ record }) => (record.kind === 'persist' ? record.entries[0]!.index : 0));
      expect(found.slice(1)).toEqual(Array.from({ length: lastIndex }, (_, i) => i + 1));
    } catch (error) {
      if (!isStoreError(error, 'WAL_CORRUPT')) throw error;
      refused++;
    }
  });
  if (process.env['SEED'] === undefined) expect(refused).toBeGreaterThan(20);
});

// ── a disk that fails ───────────────────────────────────────────────────────────────────────────────────────────

const isDiskFailed = (error: unknown): boolean => isStoreError(error, 'DISK_FAILED');

function expectDiskFailed(act: () => unknown): void {
  try {
    act();
  } catch (error) {
    expect(isDiskFailed(error), String(error)).toBe(true);
    return;
  }
  expect.fail('nothing was thrown');
}

/** Nothing works any more, and closing writes nothing, in particular no mark. */
function expectPoisoned(wal: Wal, disk: MemoryDisk): void {
  const index = 1000;
  for (let i = 0; i < 3; i++) {
    expectDiskFailed(() => wal.committer.append(encode(entryAt(index))));
    expectDiskFailed(() => wal.committer.commitGroup());
    expectDiskFailed(() => wal.committer.turn());
  }
  const before = readRecords(disk).length;
  const used = disk.usedBytes;
  wal.committer.close();
  wal.committer.close();
  expect(readRecords(disk).length).toBe(before);
  expect(disk.usedBytes).toBe(used);
}

describe('a failed sync', () => {
  test('is final: it is told, never tried again, and `synced` stays', () => {
    const disk = new MemoryDisk();
    const wal = new Wal(disk);
    wal.write(entryAt(1));
    wal.sync();
    wal.write(entryAt(2));
    disk.failNext({ op: 'fdatasync', code: 'EIO' });
    expectDiskFailed(() => wal.syncer.sync());
    const syncs = wal.syncer.syncs;
    // The disk would now say yes.
    for (let i = 0; i < 3; i++) expectDiskFailed(() => wal.syncer.sync());
    expect(wal.syncer).toMatchObject({ synced: 2, syncs });
  });

  test('told to the committer, lets it write nothing more, above all no mark', () => {
    const disk = new MemoryDisk();
    const wal = new Wal(disk, { segmentBytes: 100 });
    wal.write(entryAt(1));
    disk.failNext({ op: 'fdatasync', code: 'EIO' });
    try {
      wal.syncer.sync();
    } catch (error) {
      if (isStoreError(error)) wal.committer.poison(error);
    }
    expectPoisoned(wal, disk);
    disk.crash({ keep: 'none' });
    expect(recoverWal(disk, DIR).lastIndex).toBe(0);
  });

  test.each(['turn', 'close'] as const)("of the committer's own, at a %s, is final too", (where) => {
    for (const skip of [0, 1]) {
      const disk = new MemoryDisk();
      const wal = new Wal(disk, { segmentBytes: 50 });
      wal.write(entryAt(1));
      wal.syncer.sync();
      disk.failNext({ op: 'fdatasync', code: 'EIO', skip });
      expectDiskFailed(() => wal.committer[where]());
      expectPoisoned(wal, disk);
      disk.crash({ keep: 'none' });
      expect(recoverWal(disk, DIR).lastIndex).toBe(1);
    }
  });
});

describe('a failed write', () => {
  const faults: readonly { readonly name: string; readonly op: DiskOp; readonly skip: number }[] = [
    { name: 'of the zeros ahead', op: 'write', skip: 0 },
    { name: 'of the group itself', op: 'write', skip: 1 },
  ];
  test.each(faults)('$name stops the WAL, and what was synced is recovered', ({ op, skip }) => {
    for (const code of ['EIO', 'ENOSPC'] as const) {
      const disk = new MemoryDisk();
      const wal = new Wal(disk);
      wal.write(entryAt(1));
      wal.sync();
      disk.failNext({ op, code, skip });
      // More than the zeros that are there: it has to zero ahead again.
      wal.committer.append(encode(entryAt(2, 2 * 1024 * 1024)));
      expectDiskFailed(() => wal.committer.commitGroup());
      expect(wal.committer.logged).toBe(2);
      expectPoisoned(wal, disk);
      disk.crash({ keep: 'none' });
      const again = new Wal(disk);
      expect(again.recovered).toMatchObject({ lastLsn: 2, lastIndex: 1 });
      expect(again.write(entryAt(2))).toBe(3);
    }
  });

  test.each([
    ['syncing what is left', 'fdatasync', 0],
    ['writing the mark', 'write', 0],
    ['syncing the mark', 'fdatasync', 1],
    ['creating the next segment', 'open', 0],
    ['syncing its name', 'syncDir', 0],
  ] as const)('of a rotation, when %s, stops the WAL, and what was synced is recovered', (_name, op, skip) => {
    for (const keep of ['none', 'all', 'random'] as const) {
      forSeeds(keep === 'random' ? 4 : 1, (random) => {
        const disk = new MemoryDisk({ random });
        const wal = new Wal(disk, { segmentBytes: 500 });
        wal.write(entryAt(1, 600));
        wal.syncer.sync();
        disk.failNext({ op, code: op === 'open' ? 'EMFILE' : 'EIO', skip });
        expectDiskFailed(() => wal.committer.turn());
        expectPoisoned(wal, disk);
        disk.crash({ keep });
        const again = new Wal(disk, { segmentBytes: 500 });
        expect(again.recovered.lastIndex).toBe(1);
        again.write(entryAt(2, 600));
        again.sync();
        expect(again.committer.segment).toBeGreaterThan(1);
        disk.crash({ keep: 'none' });
        expect(recoverWal(disk, DIR).lastIndex).toBe(2);
      });
    }
  });

  test('that ran out of space in its middle leaves a tail that is trimmed', () => {
    for (const room of [0, 100, 512, 5_000, 1024 * 1024 - 100]) {
      const disk = new MemoryDisk();
      const wal = new Wal(disk);
      wal.write(entryAt(1));
      wal.sync();
      disk.capacityBytes = disk.usedBytes + room;
      wal.committer.append(encode(entryAt(2, 3 * 1024 * 1024)));
      expectDiskFailed(() => wal.committer.commitGroup());
      expectPoisoned(wal, disk);
      // No crash: the process ends and starts again, with room.
      disk.capacityBytes = Number.POSITIVE_INFINITY;
      const again = new Wal(disk);
      expect(again.recovered).toMatchObject({ lastLsn: 2, trimmedBytes: 0 });
      again.write(entryAt(2));
      again.sync();
      disk.crash({ keep: 'none' });
      expect(recoverWal(disk, DIR).lastLsn).toBe(3);
    }
  });
});

describe('the committer', () => {
  test('frames a group as one write, of the bytes it reckoned, behind zeros written ahead', () => {
    const disk = new MemoryDisk();
    const wal = new Wal(disk);
    for (let index = 1; index <= 5; index++) {
      const { offset } = wal.committer;
      wal.committer.append(encode(entryAt(index, 10_000)));
      expect(wal.committer.offset).toBeGreaterThan(offset + 10_000);
      expect(wal.committer.groupRecords).toBe(index);
    }
    const end = wal.committer.offset;
    // One write of zeros, one of the group: a third would fail.
    disk.failNext({ op: 'write', code: 'EIO', skip: 2 });
    expect(wal.committer.commitGroup()).toBe(6);
    expect(wal.committer.offset).toBe(end);
    expect(readRecords(disk).at(-1)?.end).toBe(end);
    expect(disk.usedBytes, 'whole megabytes').toBe(1024 * 1024);
    expect(wal.committer.commitGroup(), 'an empty group writes nothing').toBe(6);
  });

  test('begins a new segment once the old one is full, and closes the old one once it is synced', () => {
    const disk = new MemoryDisk();
    const wal = new Wal(disk, { segmentBytes: 1_000 });
    wal.write(entryAt(1, 2_000));
    const first = wal.file!;
    wal.committer.turn();
    expect(wal.committer).toMatchObject({ segment: 2, logged: 4 });
    expect(wal.file).not.toBe(first);
    expect(first.size(), 'the syncer may still be at it').toBeGreaterThan(0);
    wal.committer.turn();
    expect(() => first.size()).not.toThrow();
    wal.sync();
    expect(() => first.size()).toThrow('closed');
  });

  test('says in each chunk how far its segment is known to be synced, and begins anew in the next', () => {
    const disk = new MemoryDisk();
    const wal = new Wal(disk, { segmentBytes: 1_300 });
    wal.write(entryAt(1, 300));
    wal.write(entryAt(2, 300));
    wal.syncer.sync();
    // Synced, and not yet known to be.
    wal.write(entryAt(3, 300));
    wal.committer.turn();
    wal.write(entryAt(4, 300));
    wal.committer.turn();
    wal.write(entryAt(5, 300));
    const found = readRecords(disk);
    const ends = found.map(({ end }) => end);
    expect(found.map(({ segment, syncedOffset }) => [segment, syncedOffset])).toEqual([
      // The base itself has nothing before it; it is synced when the segment gets its name.
      [1, 0],
      [1, ends[0]],
      [1, ends[0]],
      [1, ends[0]],
      [1, ends[2]],
      // The mark: everything before it.
      [1, ends[4]],
      [2, 0],
      [2, ends[6]],
    ]);
  });

  test('closes with a mark that proves everything, once', () => {
    const disk = new MemoryDisk();
    const wal = new Wal(disk);
    wal.committer.append(encode(entryAt(1)));
    wal.committer.close();
    wal.committer.close();
    disk.crash({ keep: 'none' });
    const found = readRecords(disk);
    expect(found.map(({ record }) => record.kind)).toEqual(['base', 'persist', 'mark']);
    expect(found[2]?.syncedOffset).toBe(found[1]?.end);
    const again = new Wal(disk);
    expect(again.write(entryAt(2))).toBe(4);
    again.sync();
    expect(readRecords(disk).map(({ record }) => record.lsn)).toEqual([1, 2, 3, 4]);
    expect(disk.list(DIR)).toEqual([pathOf(1).slice(DIR.length + 1)]);
  });
});
