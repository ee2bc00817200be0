/**
 * LevelDB's db/log_test.cc, case by case where it applies (initial offsets do not: a manifest is read from its start),
 * with our stricter rule of what may be a torn tail.
 */
import { describe, expect, test } from 'vitest';
import { crc32c, mask } from '../../../../src/core/base/crc32c.ts';
import { type StoreError, isStoreError } from '../../../../src/core/base/errors.ts';
import { MemoryDisk } from '../../../../src/engine/disk/memory-disk.ts';
import {
  BLOCK_BYTES,
  HEADER_BYTES,
  type LogEnd,
  LogWriter,
  readLog,
} from '../../../../src/engine/lsm/manifest/log-format.ts';
import { below, forSeeds, pick, randomBytes } from '../../../core/base/seeded.ts';

const PATH = '/log';

class Log {
  readonly disk = new MemoryDisk();
  readonly file = this.disk.open(PATH, 'create');
  writer = new LogWriter(this.file, 0);

  write(...payloads: Uint8Array[]): this {
    for (const payload of payloads) this.writer.append(payload);
    return this;
  }

  /** As a later process, behind what is there. */
  reopen(): this {
    this.writer = new LogWriter(this.file, this.file.size());
    return this;
  }

  bytes(): Uint8Array {
    const bytes = new Uint8Array(this.file.size());
    this.file.read(bytes, 0, bytes.length, 0);
    return bytes;
  }

  set(at: number, ...bytes: number[]): this {
    this.file.write(Uint8Array.from(bytes), at);
    return this;
  }

  increment(at: number, by: number): this {
    return this.set(at, ((this.bytes()[at] as number) + by) & 0xff);
  }

  /** Makes the checksum of the fragment at `at` right for what it holds now. */
  fixChecksum(at: number): this {
    const bytes = this.bytes();
    const length = (bytes[at + 4] as number) | ((bytes[at + 5] as number) << 8);
    const crc = mask(crc32c(bytes, at + 6, at + HEADER_BYTES + length));
    return this.set(at, crc & 0xff, (crc >>> 8) & 0xff, (crc >>> 16) & 0xff, crc >>> 24);
  }

  shrink(by: number): this {
    this.file.truncate(this.file.size() - by);
    return this;
  }

  read(): { payloads: Uint8Array[]; end: LogEnd } {
    const payloads: Uint8Array[] = [];
    const end = readLog(this.file, PATH, (payload) => payloads.push(payload.slice()));
    return { payloads, end };
  }

  /** The records before the end, by length and last byte: enough to know them. */
  sizes(): number[] {
    return this.read().payloads.map(({ length }) => length);
  }

  damage(): { offset: unknown; message: string; before: number } {
    let before = 0;
    try {
      readLog(this.file, PATH, () => before++);
    } catch (error) {
      if (!isStoreError(error, 'TABLE_CORRUPT')) throw error;
      const { data, message }: StoreError = error;
      expect(data['file']).toBe(PATH);
      return { offset: data['offset'], message, before };
    }
    return expect.fail('the damage was not seen');
  }
}

/** No zero byte in it, so no sector of it looks lost. */
function filled(length: number, fill = 0x78): Uint8Array {
  return new Uint8Array(length).fill(fill);
}

const text = (value: string): Uint8Array => new TextEncoder().encode(value);

describe('round trips', () => {
  test('Empty: a log without a byte has no record', () => {
    expect(new Log().read()).toEqual({ payloads: [], end: { records: 0, lastStart: 0, end: 0, trimmedBytes: 0 } });
  });

  test('ReadWrite: records come back in order, an empty one among them', () => {
    const { payloads, end } = new Log().write(text('foo'), text('bar'), text(''), text('xxxx')).read();
    expect(payloads).toEqual([text('foo'), text('bar'), text(''), text('xxxx')]);
    expect(end).toEqual({ records: 4, lastStart: 27, end: 38, trimmedBytes: 0 });
  });

  test('ManyBlocks: records over many blocks', () => {
    const log = new Log();
    for (let i = 0; i < 20_000; i++) log.write(text(String(i)));
    expect(log.read().payloads.map((bytes) => Buffer.from(bytes).toString())).toEqual(
      Array.from({ length: 20_000 }, (_, i) => String(i)),
    );
  });

  test('Fragmentation: small, medium and large', () => {
    const payloads = [text('small'), filled(50_000, 1), filled(100_000, 2)];
    expect(new Log().write(...payloads).read().payloads).toEqual(payloads);
  });

  test.each([
    ['MarginalTrailer: a block with room for a header alone', BLOCK_BYTES - 2 * HEADER_BYTES, BLOCK_BYTES - 7],
    ['ShortTrailer: a block with room for less than a header', BLOCK_BYTES - 2 * HEADER_BYTES + 4, BLOCK_BYTES - 3],
    ['a block that is full to the last byte', BLOCK_BYTES - HEADER_BYTES, BLOCK_BYTES],
  ])('%s, and an empty record and a filled one behind it', (_, length, size) => {
    const log = new Log().write(filled(length));
    expect(log.file.size()).toBe(size);
    expect(log.write(text(''), text('bar')).sizes()).toEqual([length, 0, 3]);
  });

  test('MarginalTrailer2: with a filled record the last header of a block begins it', () => {
    const log = new Log().write(filled(BLOCK_BYTES - 2 * HEADER_BYTES), text('bar'));
    const first = log.bytes().subarray(BLOCK_BYTES - HEADER_BYTES, BLOCK_BYTES);
    expect([first[4], first[5], first[6]]).toEqual([0, 0, 2]);
    expect(log.bytes()[BLOCK_BYTES + 6]).toBe(4);
    expect(log.sizes()).toEqual([BLOCK_BYTES - 2 * HEADER_BYTES, 3]);
  });

  test('AlignedEof: a log that ends at a marginal trailer', () => {
    const log = new Log().write(filled(BLOCK_BYTES - 2 * HEADER_BYTES + 4));
    expect(log.read().end).toMatchObject({ records: 1, trimmedBytes: 0 });
  });

  test('OpenForAppend: another writer goes on where one ended', () => {
    expect(new Log().write(text('hello')).reopen().write(text('world')).read().payloads).toEqual([
      text('hello'),
      text('world'),
    ]);
  });

  test('RandomRead: any lengths, any contents, any reopening', () => {
    forSeeds(20, (random) => {
      const log = new Log();
      const payloads = Array.from({ length: 30 }, () =>
        randomBytes(random, random() < 0.2 ? below(random, 90_000) : below(random, 300)),
      );
      for (const payload of payloads) {
        if (random() < 0.2) log.reopen();
        log.write(payload);
      }
      const read = log.read();
      expect(read.payloads.map((payload, i) => Buffer.compare(payload, payloads[i] as Uint8Array))).toEqual(
        payloads.map(() => 0),
      );
      expect(read.end.end).toBe(log.file.size());
    });
  });

  test('a failed write moves nothing', () => {
    const log = new Log().write(text('one'));
    log.disk.failNext({ op: 'write', code: 'EIO' });
    expect(() => log.write(text('two'))).toThrow('EIO');
    expect(log.write(text('three')).read().payloads).toEqual([text('one'), text('three')]);
  });

  test('the bytes are LevelDB’s: a checksum known from a log that it wrote', () => {
    const bytes = new Log().write(text('foo')).bytes();
    expect(bytes.subarray(4)).toEqual(Uint8Array.from([3, 0, 1, 0x66, 0x6f, 0x6f]));
    expect(new DataView(bytes.buffer).getUint32(0, true)).toBe(mask(crc32c(Uint8Array.from([1, 0x66, 0x6f, 0x6f]))));
  });
});

describe('a torn tail', () => {
  test('TruncatedTrailingRecordIsIgnored: a record cut at any byte ends the log before it', () => {
    const log = new Log().write(text('kept'), filled(1000));
    const whole = log.file.size();
    for (let cut = 1; cut < 1000 + HEADER_BYTES; cut++) {
      log.file.truncate(whole - cut);
      expect(log.read().end).toEqual({ records: 1, lastStart: 0, end: 11, trimmedBytes: whole - cut - 11 });
    }
  });

  test('MissingLastIsIgnored, PartialLastIsIgnored: a record of two blocks without all of its end', () => {
    const log = new Log().write(text('kept'), filled(BLOCK_BYTES));
    const whole = log.file.size();
    const tail = whole - BLOCK_BYTES;
    for (const cut of [1, 14, tail - 1, tail, tail + 1, tail + 1000]) {
      log.file.truncate(whole - cut);
      expect(log.read().end).toMatchObject({ records: 1, end: 11 });
    }
  });

  test('a record of which a sector was never written ends the log, wherever the sector is', () => {
    const payload = filled(100_000);
    const log = new Log().write(text('kept'), payload);
    const whole = log.bytes();
    for (let sector = 0; sector * 512 < whole.length; sector++) {
      const from = Math.max(11, sector * 512);
      log.file.write(whole, 0);
      log.file.write(new Uint8Array(Math.min(whole.length, (sector + 1) * 512) - from), from);
      expect(log.read().end, `sector ${sector}`).toMatchObject({ records: 1, end: 11 });
    }
  });

  test('a header that goes over a sector’s end may be there by half', () => {
    for (let start = 500; start <= 512; start++) {
      const log = new Log().write(filled(start - HEADER_BYTES), filled(2000, 0xff));
      const whole = log.bytes();
      for (const sector of [0, 1, 2, 3, 4]) {
        const from = Math.max(start, sector * 512);
        const to = Math.min(whole.length, (sector + 1) * 512);
        log.file.write(whole, 0);
        log.file.write(new Uint8Array(Math.max(0, to - from)), from);
        if (to > from)
          expect(log.read().end, `start ${start}, sector ${sector}`).toMatchObject({ records: 1, end: start });
        log.file.truncate(to);
        expect(log.read().end).toMatchObject({ records: 1, end: start });
      }
    }
  });

  test('whatever sectors and size of the last record a crash keeps, the records before it are there', () => {
    let whole = 0;
    let torn = 0;
    forSeeds(150, (random) => {
      const disk = new MemoryDisk({ random });
      const file = disk.open(PATH, 'create');
      disk.syncDir('/');
      const writer = new LogWriter(file, 0);
      const payloads = Array.from({ length: 1 + below(random, 4) }, () =>
        randomBytes(random, below(random, random() < 0.3 ? 80_000 : 2000)),
      );
      for (const payload of payloads) {
        writer.append(payload);
        file.fdatasync();
      }
      const before = writer.offset;
      writer.append(randomBytes(random, below(random, pick(random, [100, 2000, 80_000]))));
      disk.crash({ keep: 'random' });
      let count = 0;
      const end = readLog(disk.open(PATH, 'read'), PATH, (payload) => {
        const written = payloads[count++];
        if (written !== undefined) expect(Buffer.compare(payload, written)).toBe(0);
      });
      if (end.records === payloads.length) {
        torn++;
        expect(end.end).toBe(before);
      } else {
        whole++;
        expect(end).toMatchObject({ records: payloads.length + 1, trimmedBytes: 0 });
      }
    });
    expect(Math.min(whole, torn), 'both were seen').toBeGreaterThan(10);
  });

  test('zeros to the end are a write of which only the size is there', () => {
    const log = new Log().write(text('kept'));
    log.file.write(new Uint8Array(70_000), 11);
    expect(log.read().end).toMatchObject({ records: 1, end: 11, trimmedBytes: 70_000 });
  });
});

describe('damage', () => {
  test('ChecksumMismatch: a whole record with a bad checksum, also the last', () => {
    expect(new Log().write(text('foo'), text('bar')).increment(0, 14).damage()).toMatchObject({ offset: 0, before: 0 });
    expect(new Log().write(text('foo'), text('bar')).increment(10, 14).damage()).toMatchObject({
      offset: 10,
      before: 1,
    });
  });

  test('BadRecordType: also the last', () => {
    const log = new Log().write(text('kept'), text('foo')).increment(11 + 6, 100);
    expect(log.damage().message).toContain('no fragment type 101');
    expect(log.fixChecksum(11).damage()).toMatchObject({ offset: 11, before: 1 });
  });

  test('BadLength: a fragment longer than its block', () => {
    const payload = BLOCK_BYTES - HEADER_BYTES;
    const log = new Log().write(filled(payload), text('foo')).increment(4, 1);
    expect(log.damage()).toMatchObject({ offset: 0, before: 0 });
  });

  test('BadLengthAtEnd: a length over the end of the file, with a checksum that says it was shorter', () => {
    const log = new Log().write(text('foo')).increment(4, 1);
    expect(log.damage().message).toContain('longer than what its checksum covers');
    // Without a byte more to say so, it is a cut.
    expect(log.shrink(1).sizes()).toEqual([]);
  });

  test('a length that is shorter', () => {
    const log = new Log().write(text('kept'), text('foobar')).increment(11 + 4, -3);
    expect(log.damage()).toMatchObject({ offset: 11, before: 1 });
  });

  test('a bad record before a good one, also when it lost a sector', () => {
    const log = new Log().write(text('kept'), filled(3000));
    const good = log.file.size();
    log.write(text('foo'));
    log.file.write(new Uint8Array(512), 1024);
    expect(log.damage()).toMatchObject({ offset: 11, before: 1 });
    expect(log.damage().message).toContain(`the record at ${good} proves`);
  });

  test('a bad record before a torn one, when its header can be read', () => {
    const log = new Log()
      .write(text('kept'), text('foo'), filled(5000))
      .shrink(3000)
      .increment(11 + 8, 1);
    expect(log.damage()).toMatchObject({ offset: 11, before: 1 });
    // The torn one lost a sector, which must not excuse the one before.
    log.file.write(new Uint8Array(512), 1024);
    expect(log.damage()).toMatchObject({ offset: 11, before: 1 });
  });

  test('a header that no writer makes, though the record lost a sector', () => {
    const payload = filled(3000).fill(0, 900, 2500);
    const message = (at: number, byte: number) => new Log().write(text('kept'), payload).set(at, byte).damage().message;
    expect(message(11 + 6, 2)).toContain('before its block ends');
    expect(message(11 + 6, 9)).toContain('no fragment type 9');
    expect(message(11 + 5, 200)).toContain('longer than its block');
  });

  test('UnexpectedMiddleType, UnexpectedLastType: a record without its beginning', () => {
    for (const type of [3, 4]) {
      const log = new Log()
        .write(text('kept'), text('foo'))
        .set(11 + 6, type)
        .fixChecksum(11);
      expect(log.damage()).toMatchObject({ offset: 11, before: 1 });
    }
  });

  test('UnexpectedFullType, UnexpectedFirstType: a record that begins inside another', () => {
    const log = new Log().write(text('foo'), text('bar')).set(6, 2).fixChecksum(0);
    expect(log.damage()).toMatchObject({ offset: 10, before: 0 });
    const long = new Log().write(text('foo'), filled(100_000)).set(6, 2).fixChecksum(0);
    expect(long.damage()).toMatchObject({ offset: 10, before: 0 });
  });

  test('MissingFirst, ErrorJoinsRecords: the halves of two records are never joined to one', () => {
    // FIRST LAST | FIRST LAST with the middle two gone.
    const log = new Log().write(filled(BLOCK_BYTES, 1), filled(BLOCK_BYTES, 2), text('correct'));
    for (let at = BLOCK_BYTES; at < 2 * BLOCK_BYTES; at++) log.set(at, 0x78);
    expect(log.damage()).toMatchObject({ offset: BLOCK_BYTES, before: 0 });
  });

  test('any bit of any record is seen, but for those in the last that a cut or a lost sector explains as well', () => {
    const payloads = [filled(20), filled(700), filled(5), filled(40_000), filled(30)];
    const log = new Log().write(...payloads);
    const clean = log.bytes();
    const lastStart = log.read().end.lastStart;
    for (let at = 0; at < clean.length; at += at > 1000 && at < 40_700 ? 601 : 1) {
      for (let bit = 0; bit < 8; bit++) {
        log.set(at, (clean[at] as number) ^ (1 << bit));
        expect(log.damage().before, `bit ${bit} of byte ${at}`).toBeLessThan(payloads.length);
      }
      log.set(at, clean[at] as number);
    }
    expect(lastStart).toBeGreaterThan(40_000);
    expect(log.sizes()).toEqual(payloads.map(({ length }) => length));
  });
});
