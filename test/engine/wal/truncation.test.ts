import { describe, expect, test } from 'vitest';
import { ByteWriter } from '../../../src/core/base/bytes.ts';
import { type Index, toIndex, toLsn, toTerm } from '../../../src/core/base/position.ts';
import { MemoryDisk } from '../../../src/engine/disk/memory-disk.ts';
import { framedBytes, frameRecord, HEADER_BYTES } from '../../../src/engine/wal/format.ts';
import { openWal } from '../../../src/engine/wal/index.ts';
import { encodeMark, setLsn } from '../../../src/engine/wal/payload.ts';
import { WalReader } from '../../../src/engine/wal/reader.ts';
import { recoverWal } from '../../../src/engine/wal/recovery.ts';
import { Standing } from '../../../src/engine/wal/standing.ts';
import { DIR, encode, entryAt, expectRefusal, pathOf, putFile, readBytes, readRecords, type Said, Wal } from './wal.ts';

const at = (index: number): Index => toIndex(index);
const segmentsOf = (disk: MemoryDisk): string[] => disk.list(DIR).filter((name) => /^\d/.test(name));

/** Entries 1.. of 100 bytes, each synced, in segments of `perSegment`, until `segments` are begun. */
function build(segments: number, spares = 0): { disk: MemoryDisk; wal: Wal; perSegment: number } {
  const disk = new MemoryDisk();
  const wal = new Wal(disk, { segmentBytes: 1_000, spares });
  let index = 0;
  while (wal.committer.segment < segments) {
    wal.write(entryAt(++index, 100));
    wal.sync();
  }
  return { disk, wal, perSegment: index / (segments - 1) };
}

/** Every entry that the log in `disk` says is there, by a reader made of what recovery found. */
function readAll(disk: MemoryDisk): { index: number; term: number; first: number }[] {
  const recovered = recoverWal(disk, DIR);
  const standing = new Standing(recovered);
  const reader = new WalReader(disk, DIR, recovered, (index) => standing.termOf(index));
  const found: { index: number; term: number; first: number }[] = [];
  for (let next = recovered.firstIndex as number; next <= recovered.lastIndex; ) {
    for (const { index, term, data } of reader.read(at(next), at(recovered.lastIndex + 1), 500)) {
      found.push({ index, term, first: data[0] ?? -1 });
      next = index + 1;
    }
  }
  reader.close();
  return found;
}

describe('indexBefore', () => {
  test('is the last entry before the newest segments of so many bytes', () => {
    const { wal, perSegment } = build(6);
    const { committer } = wal;
    expect(committer.indexBefore(0)).toBe(5 * perSegment);
    expect([1, 1_000, 1_001, 4_000].map((bytes) => committer.indexBefore(bytes))).toEqual([
      ...[4 * perSegment, 4 * perSegment, 3 * perSegment, perSegment],
    ]);
    // The log is not as long as that.
    expect(committer.indexBefore(5_000)).toBe(0);
    expect(committer.indexBefore(Number.POSITIVE_INFINITY)).toBe(0);
    while (committer.truncateTo(at(2 * perSegment)));
    expect(committer.indexBefore(4_000)).toBe(0);
    expect(committer.indexBefore(3_000)).toBe(2 * perSegment);
  });
});

describe('truncateTo', () => {
  test('removes a segment only when its every entry may go, oldest first, and never the newest two', () => {
    const { disk, wal, perSegment } = build(6);
    const { committer } = wal;
    expect(committer.truncateTo(at(0))).toBe(false);
    expect(committer.truncateTo(at(perSegment - 1)), 'one entry short').toBe(false);
    expect(committer.truncateTo(at(perSegment))).toBe(true);
    expect([committer.firstSegment, committer.firstIndex]).toEqual([2, perSegment + 1]);
    expect(committer.truncateTo(at(perSegment)), 'already').toBe(false);
    expect(committer.truncateTo(at(1)), 'long ago').toBe(false);
    let removed = 0;
    while (committer.truncateTo(committer.lastIndex)) removed++;
    // Six were begun; the fifth is the last sealed.
    expect([removed, segmentsOf(disk)]).toEqual([3, ['000005.wal', '000006.wal']]);
    expect(() => committer.truncateTo(at(committer.lastIndex + 1))).toThrow('what is forgotten was there');
    disk.crash({ keep: 'none' });
    expect(segmentsOf(disk), 'gone on the disk too').toEqual(['000005.wal', '000006.wal']);
    const recovered = recoverWal(disk, DIR);
    expect(recovered).toMatchObject({ firstIndex: 4 * perSegment + 1, lastIndex: 5 * perSegment, baseTerm: 1 });
    expect(readAll(disk).map(({ index }) => index)).toEqual(
      Array.from({ length: perSegment }, (_, i) => 4 * perSegment + 1 + i),
    );
  });

  test('a segment left later can go with the same watermark', () => {
    const { wal } = build(3);
    const { committer } = wal;
    const { lastIndex } = committer;
    while (committer.truncateTo(lastIndex));
    expect(committer.firstSegment).toBe(2);
    while (committer.segment < 4) {
      wal.write(entryAt(committer.lastIndex + 1, 100));
      wal.sync();
    }
    expect(committer.truncateTo(lastIndex)).toBe(true);
    expect(committer.firstSegment).toBe(3);
  });

  test('LSNs, indexes, terms and the hard state go on, also when all that told them is gone', () => {
    const { disk, wal } = build(5);
    const said: Said = {
      hardState: { term: toTerm(8), vote: 'n2', commit: wal.committer.lastIndex },
      revertFrom: undefined,
      entries: [],
    };
    wal.write(said);
    wal.sync();
    while (wal.committer.segment < 9) {
      wal.write({ ...entryAt(wal.committer.lastIndex + 1, 100, 8), hardState: { ...said.hardState, commit: at(3) } });
      wal.sync();
    }
    while (wal.committer.truncateTo(wal.committer.lastIndex));
    const { lastLsn, lastIndex } = wal.committer;
    disk.crash({ keep: 'none' });
    const again = new Wal(disk, { segmentBytes: 1_000 });
    expect(again.recovered).toMatchObject({ lastLsn, lastIndex, hardState: said.hardState, baseTerm: 8 });
    expect(again.recovered.runs).toEqual([{ first: again.recovered.firstIndex, term: 8 }]);
    expect(again.write(entryAt(lastIndex + 1, 10, 9))).toBe(lastLsn + 1);
    again.sync();
    expect(readAll(disk).at(-1)).toEqual({ index: lastIndex + 1, term: 9, first: (lastIndex + 1) & 0xff });
  });

  test('a failing disk while one goes is final, and what is left opens', () => {
    for (const op of ['remove', 'syncDir', 'rename'] as const) {
      for (const keep of ['none', 'all'] as const) {
        const { disk, wal, perSegment } = build(4, op === 'rename' ? 2 : 0);
        disk.failNext({ op, code: 'EIO' });
        expect(() => wal.committer.truncateTo(at(perSegment))).toThrow(
          expect.objectContaining({ code: 'DISK_FAILED' }),
        );
        expect(() => wal.committer.append(encode(entryAt(1)))).toThrow(
          expect.objectContaining({ code: 'DISK_FAILED' }),
        );
        wal.committer.close();
        disk.crash({ keep });
        expect(recoverWal(disk, DIR).lastIndex).toBe(3 * perSegment);
      }
    }
  });

  test('a hole is never left, whichever of the removals a crash keeps', () => {
    for (let seed = 1; seed <= 30; seed++) {
      let state = seed;
      const random = (): number => {
        state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
        return state / 2 ** 32;
      };
      const { disk, wal } = build(8, seed % 3);
      while (wal.committer.truncateTo(at(Math.min(wal.committer.lastIndex, seed * 2)))) wal.spares.step();
      const crashed = disk.clone({ random });
      crashed.crash({ keep: 'random' });
      expect(recoverWal(crashed, DIR).lastIndex).toBe(wal.committer.lastIndex);
    }
  });
});

describe('entries that were reverted across the beginning', () => {
  /** Segment 3 begins behind entry 2n and takes back some of what is before it. */
  function reverted(by: number): { disk: MemoryDisk; wal: Wal; perSegment: number } {
    const { disk, wal, perSegment } = build(3);
    const from = wal.committer.lastIndex - by + 1;
    wal.write({ ...entryAt(from, 100, 2), revertFrom: at(from) });
    while (wal.committer.segment < 5) {
      wal.write(entryAt(wal.committer.lastIndex + 1, 100, 2));
      wal.sync();
    }
    return { disk, wal, perSegment };
  }

  test.each([1, 3])('%i of them: the log begins where its first segment does, with the terms that count', (by) => {
    const { disk, wal, perSegment } = reverted(by);
    const { committer } = wal;
    expect(committer.truncateTo(at(2 * perSegment - 1)) && committer.truncateTo(at(2 * perSegment - 1))).toBe(false);
    expect(committer.firstSegment, 'the segment before it holds entries that count').toBe(2);
    expect(committer.truncateTo(at(2 * perSegment))).toBe(true);
    expect([committer.firstSegment, committer.firstIndex]).toEqual([3, 2 * perSegment + 1]);
    disk.crash({ keep: 'none' });
    const recovered = recoverWal(disk, DIR);
    expect(recovered).toMatchObject({ firstIndex: 2 * perSegment + 1, baseTerm: 2, lastIndex: committer.lastIndex });
    expect(recovered.runs).toEqual([{ first: 2 * perSegment + 1, term: 2 }]);
    const found = readAll(disk);
    expect(found[0]).toEqual({ index: 2 * perSegment + 1, term: 2, first: 2 * perSegment + 1 });
    expect(found.at(-1)?.index).toBe(committer.lastIndex);
  });
});

describe('a reader', () => {
  /** A reader that was told nothing, as one in another thread. */
  const stranger = (wal: Wal): WalReader =>
    new WalReader(wal.disk, DIR, { firstIndex: at(1), firstSegment: 1, places: [] }, (index) =>
      wal.committer.termOf(index),
    );

  test('whose segments are removed and used again under it goes on with what is left', () => {
    const { disk, wal, perSegment } = build(6, 2);
    const reader = stranger(wal);
    // Stands at the end of the first segment, in its middle, and at the end of the third.
    for (const next of [perSegment + 1, 2 * perSegment - 2, 3 * perSegment + 1]) {
      reader.read(at(next - 1), at(next), 1);
    }
    while (wal.committer.truncateTo(at(4 * perSegment)));
    expect(segmentsOf(disk)).toEqual(['000005.wal', '000006.wal']);
    while (wal.spares.step());
    while (wal.committer.segment < 8) {
      wal.write(entryAt(wal.committer.lastIndex + 1, 100));
      wal.sync();
    }
    expect(
      disk.list(DIR).filter((name) => name.startsWith('spare')),
      'both were used again',
    ).toEqual([]);
    const last = wal.committer.lastIndex;
    for (const from of [4 * perSegment + 1, 5 * perSegment]) {
      const [entry] = reader.read(at(from), at(last + 1), 1);
      expect([entry?.index, entry?.data[0]]).toEqual([from, from]);
    }
    // Where the waiting ones stood nothing is left, and that is said.
    for (const gone of [1, perSegment + 1, 2 * perSegment - 2, 3 * perSegment + 1, 4 * perSegment]) {
      expect(() => reader.read(at(gone), at(last + 1), 1)).toThrow(
        expect.objectContaining({ code: 'COMPACTED', data: { firstIndex: 4 * perSegment + 1 } }),
      );
    }
    reader.close();
  });

  test('that is told says COMPACTED at once, keeps no file of what is gone, and finds the rest', () => {
    const { disk, wal, perSegment } = build(5);
    const reader = stranger(wal);
    for (let index = 1; index <= 4 * perSegment; index++) reader.read(at(index), at(index + 1), 1);
    while (wal.committer.truncateTo(at(2 * perSegment)));
    const { firstIndex, firstSegment } = wal.committer;
    reader.trim({ firstIndex, firstSegment });
    expect(() => reader.read(at(2 * perSegment), at(2 * perSegment + 1), 1)).toThrow(
      expect.objectContaining({ code: 'COMPACTED', data: { firstIndex } }),
    );
    expect(reader.read(firstIndex, at(firstIndex + 1), 1)[0]?.index).toBe(firstIndex);
    wal.committer.close();
    reader.close();
    for (const name of disk.list(DIR)) disk.remove(`${DIR}/${name}`);
    expect(disk.usedBytes, 'no file is held open').toBe(0);
  });

  test('takes damage for damage, and not for a segment that is gone', () => {
    const { disk, wal, perSegment } = build(4);
    const second = readRecords(disk).filter(({ segment }) => segment === 2)[3]!;
    disk.flipBit(pathOf(2), second.start + 30, 1);
    const reader = stranger(wal);
    expect(() => reader.read(at(2 * perSegment), at(2 * perSegment + 1), 1)).toThrow(
      expect.objectContaining({ code: 'WAL_CORRUPT', data: { file: pathOf(2), offset: second.start } }),
    );
  });
});

describe('two lives of one file', () => {
  test('what its first life wrote is never read in its second, wherever the second ends', () => {
    const { disk, wal } = build(3, 2);
    const old = readBytes(disk, pathOf(1));
    while (wal.committer.truncateTo(wal.committer.lastIndex));
    while (wal.spares.step());
    while (wal.committer.segment < 5) {
      wal.write(entryAt(wal.committer.lastIndex + 1, 100));
      wal.sync();
    }
    // Suppose that its zeros were lost: the bytes of the first life stand behind those of the second.
    const { segment, offset, lastLsn, lastIndex } = wal.committer;
    wal.syncer.sync();
    const mixed = old.slice();
    mixed.set(readBytes(disk, pathOf(segment)).subarray(0, offset));
    putFile(disk, pathOf(segment), mixed);
    const again = new Wal(disk, { segmentBytes: 1_000 });
    expect(again.recovered).toMatchObject({ lastLsn, lastIndex });
    expect(again.recovered.trimmedBytes).toBeGreaterThan(0);
  });

  test('a spare is no segment, even if it holds one, and a segment that came by rename has its base', () => {
    const { disk, wal } = build(3, 2);
    wal.syncer.sync();
    const whole = recoverWal(disk, DIR);
    putFile(disk, `${DIR}/spare-000004.wal`, readBytes(disk, pathOf(2)));
    expect(recoverWal(disk, DIR)).toEqual(whole);
    const again = new Wal(disk, { segmentBytes: 1_000, spares: 2 });
    while (again.spares.step());
    expect(disk.list(DIR), 'not zeros, so it goes').not.toContain('spare-000004.wal');
  });
});

describe('a value that looks like proof of a sync', () => {
  /** A chunk as the segment's own would be, in the middle of a value, that claims a sync of `synced` bytes. */
  function forge(segment: number, salt: number, synced: number): Uint8Array {
    const payload = new Uint8Array(40).fill(1);
    const chunk = new Uint8Array(HEADER_BYTES + payload.length);
    frameRecord(chunk, 0, 0, payload, { segment, salt, syncedOffset: synced });
    return chunk;
  }

  /** Two records; the second holds the forgery and is torn at its first byte. */
  function torn(salt: (own: number) => number): MemoryDisk {
    const disk = new MemoryDisk();
    const wal = new Wal(disk);
    wal.write(entryAt(1, 100));
    const { salt: own } = recoverWal(disk.clone(), DIR).tail!;
    const start = wal.committer.offset;
    const data = new Uint8Array(400);
    data.set(forge(1, salt(own), start + 1), 100);
    wal.write({ ...entryAt(2), entries: [{ index: at(2), term: toTerm(1), data }] });
    const bytes = readBytes(disk, pathOf(1));
    bytes[start] = (bytes[start] as number) ^ 0xff;
    putFile(disk, pathOf(1), bytes);
    return disk;
  }

  test('is none: without the salt, which nobody is told, a torn tail is a torn tail', () => {
    for (const salt of [() => 0, () => 1, (own: number) => own + 1, (own: number) => -own]) {
      const disk = torn((own) => salt(own) >>> 0);
      expect(recoverWal(disk, DIR)).toMatchObject({ lastIndex: 1, lastLsn: 2 });
    }
  });

  test('would be one with it: the salt is what stands between', () => {
    const disk = torn((own) => own);
    expectRefusal(disk, pathOf(1), readRecords(disk)[1]!.end);
  });

  test('each segment has another salt, and a damaged base is damage, whatever is behind it', () => {
    const { disk, wal } = build(5);
    wal.committer.close();
    const salts = readRecords(disk).flatMap(({ record }) => (record.kind === 'base' ? [record.salt] : []));
    expect(new Set(salts).size).toBe(salts.length);
    const end = readRecords(disk)[0]!.end;
    for (const segment of [4, 5]) putFile(disk, pathOf(segment), readBytes(disk, pathOf(segment)).slice(0, 2_000));
    for (const segment of [1, 2, 3]) disk.remove(pathOf(segment));
    for (let byte = 0; byte < end; byte++) {
      disk.flipBit(pathOf(5), byte, byte % 8);
      expectRefusal(disk, pathOf(5), 0);
      disk.flipBit(pathOf(5), byte, byte % 8);
    }
    expect(recoverWal(disk, DIR).firstSegment).toBe(4);
  });
});

describe('a log of the first version, without bases and salts', () => {
  function oldSegment(segment: number, records: readonly Uint8Array[], firstLsn: number): Uint8Array {
    const bytes = new Uint8Array(8_000);
    let offset = 0;
    for (const [i, payload] of records.entries()) {
      setLsn(payload, toLsn(firstLsn + i));
      offset += frameRecord(bytes, offset, offset, payload, { segment, salt: 0, syncedOffset: 0 });
      expect(framedBytes(payload.length, 0)).toBeGreaterThan(0);
    }
    return bytes;
  }
  function mark(): Uint8Array {
    const writer = new ByteWriter(16);
    encodeMark(writer);
    return writer.take();
  }

  /** Two segments of three entries each; the first is sealed. */
  function old(): MemoryDisk {
    const disk = new MemoryDisk();
    const said = (index: number): Uint8Array => encode(entryAt(index, 50));
    putFile(disk, pathOf(1), oldSegment(1, [...[1, 2, 3].map(said), mark()], 1));
    putFile(disk, pathOf(2), oldSegment(2, [4, 5, 6].map(said), 5));
    return disk;
  }

  test('opens, goes on in its last segment, and gets a base with the next', () => {
    const disk = old();
    const wal = new Wal(disk, { segmentBytes: 1_000 });
    expect(wal.recovered).toMatchObject({ lastLsn: 7, lastIndex: 6, firstIndex: 1, firstSegment: 1, bases: [] });
    expect(wal.write(entryAt(7))).toBe(8);
    wal.sync();
    while (wal.committer.segment < 5) {
      wal.write(entryAt(wal.committer.lastIndex + 1, 100));
      wal.sync();
    }
    disk.crash({ keep: 'none' });
    const recovered = recoverWal(disk, DIR);
    expect(recovered.bases.map(({ segment }) => segment)).toEqual([3, 4, 5]);
    expect(readAll(disk).map(({ index }) => index)).toEqual(
      Array.from({ length: recovered.lastIndex }, (_, i) => i + 1),
    );
    const again = new Wal(disk, { segmentBytes: 1_000 });
    // Neither of the two has a base to begin with: they go together.
    expect(again.committer.truncateTo(at(6))).toBe(false);
    expect(again.committer.truncateTo(recovered.bases[0]!.prevIndex)).toBe(true);
    expect(segmentsOf(disk)).toEqual(['000003.wal', '000004.wal', '000005.wal']);
  });

  test('is refused without its first segment, which alone tells the rest', () => {
    const disk = old();
    disk.remove(pathOf(1));
    expectRefusal(disk, pathOf(2), 0);
  });

  test('an empty segment, which it left when it crashed at a rotation, is begun anew', () => {
    for (const bytes of [0, 5_000]) {
      const disk = old();
      putFile(disk, pathOf(2), oldSegment(2, [mark()], 5));
      putFile(disk, pathOf(3), new Uint8Array(bytes));
      const wal = new Wal(disk);
      expect(wal.recovered).toMatchObject({ lastLsn: 5, tail: { segment: 3, offset: 0 } });
      expect(wal.write(entryAt(4))).toBe(7);
      wal.sync();
      disk.crash({ keep: 'none' });
      expect(recoverWal(disk, DIR)).toMatchObject({ lastIndex: 4, bases: [{ segment: 3, lsn: 6, prevIndex: 3 }] });
    }
  });
});

describe('openWal', () => {
  const fill = async (wal: Awaited<ReturnType<typeof openWal>>, count: number): Promise<void> => {
    for (let i = 0; i < count; i++) await wal.append(new Uint8Array(500).fill(i)).durable;
  };

  test('forgets what every consumer has let go of, says COMPACTED below, and uses the files again', async () => {
    const disk = new MemoryDisk();
    const wal = await openWal(DIR, { disk, segmentBytes: 4_000, consumers: ['tree', 'replica'] });
    await fill(wal, 60);
    expect(await wal.truncate(), 'nobody has said anything').toBe(false);
    wal.watermark('tree', at(50));
    expect(await wal.truncate(), 'one has').toBe(false);
    wal.watermark('replica', at(30));
    expect(await wal.truncate()).toBe(true);
    const { firstIndex } = wal;
    expect(firstIndex).toBeGreaterThan(20);
    expect(firstIndex).toBeLessThanOrEqual(31);
    for (const read of [() => wal.read(at(firstIndex - 1)), () => wal.replay(at(1), () => {})]) {
      expect(read).toThrow(expect.objectContaining({ code: 'COMPACTED', data: { firstIndex } }));
    }
    expect(() => wal.readLsn(toLsn(1))).toThrow(expect.objectContaining({ code: 'COMPACTED' }));
    await expect(wal.tail(at(1)).next()).rejects.toMatchObject({ code: 'COMPACTED' });
    expect(wal.read(firstIndex)[0]?.index).toBe(firstIndex);
    const spares = disk.list(DIR).filter((name) => name.startsWith('spare'));
    expect(spares).toHaveLength(2);
    await fill(wal, 30);
    expect(
      disk.list(DIR).filter((name) => name.startsWith('spare')),
      'they were used',
    ).toHaveLength(0);
    expect(() => wal.watermark('tree', at(1_000))).toThrow(expect.objectContaining({ code: 'BAD_REQUEST' }));
    expect(() => wal.watermark('tree', at(40))).toThrow('never goes back');
    await wal.close();
    const again = await openWal(DIR, { disk, segmentBytes: 4_000 });
    expect([again.firstIndex, again.lastIndex]).toEqual([firstIndex, 90]);
    const [first] = again.readLsn(toLsn(again.lastLsn - 1));
    expect(first?.entries[0]?.index).toBe(90);
    await again.close();
  });

  test('what took the place of reverted entries is on disk before the log may begin behind it', async () => {
    const disk = new MemoryDisk();
    let isHeld = false;
    const wal = await openWal(DIR, {
      disk,
      segmentBytes: 2_000,
      spares: 0,
      consumers: ['tree'],
      sync: (file) => {
        if (isHeld) return new Promise(() => {});
        file.fdatasync();
        return Promise.resolve();
      },
    });
    await fill(wal, 20);
    const { length } = segmentsOf(disk);
    while (segmentsOf(disk).length === length) await fill(wal, 1);
    const last = wal.lastIndex;
    // The newest segment begins behind all of these, and takes most of them back.
    await wal.revert(at(5)).durable;
    while (segmentsOf(disk).length === length + 1) await fill(wal, 1);
    isHeld = true;
    const durable = wal.lastIndex;
    wal.push(new Uint8Array(1));
    await new Promise((resolve) => setImmediate(resolve));
    while (wal.lastIndex < last) await wal.append(new Uint8Array(500), { sync: false }).durable;
    wal.watermark('tree', at(last));
    expect(wal.durableIndex).toBeLessThan(last);
    await wal.truncate();
    expect(wal.firstIndex).toBeLessThanOrEqual(durable + 1);
    disk.crash({ keep: 'none' });
    const again = await openWal(DIR, { disk });
    expect(again.lastIndex).toBeGreaterThanOrEqual(durable);
  });

  test('a tail that is slow is told when what it waits for is gone', async () => {
    const disk = new MemoryDisk();
    const wal = await openWal(DIR, { disk, segmentBytes: 4_000, consumers: ['tree'] });
    await fill(wal, 10);
    const tail = wal.tail(at(10));
    expect((await tail.next()).value?.index).toBe(10);
    await fill(wal, 50);
    wal.watermark('tree', at(60));
    await wal.truncate();
    await expect(tail.next()).rejects.toMatchObject({ code: 'COMPACTED', data: { firstIndex: wal.firstIndex } });
  });
});
