import { describe, expect, test } from 'vitest';
import { crc32c, mask } from '../../../src/core/base/crc32c.ts';
import type { DiskFile } from '../../../src/core/base/env.ts';
import { MemoryDisk } from '../../../src/engine/disk/memory-disk.ts';
import {
  BLOCK_BYTES,
  CHUNK,
  type ChunkType,
  framedBytes,
  frameRecord,
  HEADER_BYTES,
  readChunk,
  segmentName,
  segmentNumber,
} from '../../../src/engine/wal/format.ts';
import { findProofOfSync, SegmentScanner } from '../../../src/engine/wal/scanner.ts';
import { below, forSeeds, randomBytes } from '../../core/base/seeded.ts';

const SEGMENT = 3;
/** What stands alone here has no base in front, and so no salt. */
const SALT = 0;

function fileOf(bytes: Uint8Array): DiskFile {
  const file = new MemoryDisk().open('/f', 'create');
  file.write(bytes, 0);
  return file;
}

/** Frames payloads one after the other from `offset` on; what stands before is zeros. */
function frame(payloads: readonly Uint8Array[], offset = 0, syncedOffset = 0): Uint8Array {
  let end = offset;
  for (const payload of payloads) end += framedBytes(payload.length, end);
  const bytes = new Uint8Array(end);
  let at = offset;
  for (const payload of payloads)
    at += frameRecord(bytes, at, at, payload, { segment: SEGMENT, salt: SALT, syncedOffset });
  expect(at, 'as many bytes as were reckoned').toBe(end);
  return bytes;
}

interface Scan {
  readonly payloads: Uint8Array[];
  readonly ends: number[];
  readonly stop: { readonly offset: number; readonly reason: string };
}

function scan(bytes: Uint8Array, from = 0): Scan {
  const scanner = new SegmentScanner(fileOf(bytes), SEGMENT, from);
  const payloads: Uint8Array[] = [];
  const ends: number[] = [];
  for (let record = scanner.next(); record !== undefined; record = scanner.next()) {
    payloads.push(record.payload.slice());
    ends.push(record.end);
  }
  return { payloads, ends, stop: scanner.stop! };
}

/** One chunk by hand. */
function chunk(type: ChunkType, payload: Uint8Array, over: { segment?: number; synced?: number } = {}): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES + payload.length);
  const view = new DataView(bytes.buffer);
  view.setUint16(4, payload.length, true);
  bytes[6] = type;
  view.setUint32(7, over.segment ?? SEGMENT, true);
  view.setUint32(11, over.synced ?? 0, true);
  bytes.set(payload, HEADER_BYTES);
  view.setUint32(0, mask(crc32c(bytes, 4)), true);
  return bytes;
}

const concat = (...parts: Uint8Array[]): Uint8Array => Uint8Array.from(Buffer.concat(parts));
const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1');
const payloadOf = (value: string): Uint8Array => Uint8Array.from(Buffer.from(value, 'latin1'));
const big = (fill: string, length: number): Uint8Array => payloadOf(fill.repeat(length));

describe('what is framed is scanned', () => {
  test('for payloads of any size, from any offset', () => {
    forSeeds(60, (random) => {
      const sizes = [0, 1, below(random, 100), below(random, 40_000), below(random, 200 * 1024)];
      const payloads = Array.from({ length: 1 + below(random, 12) }, () =>
        randomBytes(random, sizes[below(random, sizes.length)]!),
      );
      const offset = random() < 0.5 ? 0 : below(random, 3 * BLOCK_BYTES);
      const { payloads: found, ends } = scan(frame(payloads, offset), offset);
      expect(found.length).toBe(payloads.length);
      for (const [i, payload] of payloads.entries()) expect(Buffer.compare(found[i]!, payload)).toBe(0);
      expect(ends.at(-1)).toBe(frame(payloads, offset).length);
    });
  });

  test('around the end of a block, at every offset where a header fits, just fits, or does not', () => {
    const next = payloadOf('next');
    for (let left = 0; left <= 3 * HEADER_BYTES; left++) {
      const offset = BLOCK_BYTES - left;
      for (const size of [0, 1, 18, 19, 20, 37, 38, 39, BLOCK_BYTES - HEADER_BYTES, BLOCK_BYTES, 2 * BLOCK_BYTES]) {
        const payload = big('x', size);
        const { payloads } = scan(frame([payload, next], offset), offset);
        expect(
          payloads.map((found) => found.length),
          `${left} bytes left, ${size} bytes`,
        ).toEqual([size, 4]);
      }
    }
  });

  test('and framedBytes knows the size, at every offset of a block', () => {
    const into = new Uint8Array(4 * BLOCK_BYTES);
    for (const size of [0, 1, 100, BLOCK_BYTES - HEADER_BYTES, BLOCK_BYTES - HEADER_BYTES + 1, 2 * BLOCK_BYTES]) {
      const payload = new Uint8Array(size);
      // Every offset near the edges, and a step that hits all residues between.
      for (let offset = 0; offset < BLOCK_BYTES; offset += offset < 64 || offset > BLOCK_BYTES - 64 ? 1 : 61) {
        const written = frameRecord(into, 0, offset, payload, { segment: 1, salt: SALT, syncedOffset: 0 });
        if (written !== framedBytes(size, offset)) expect.fail(`${size} bytes at ${offset}: ${written}`);
      }
    }
    for (let offset = 0; offset < BLOCK_BYTES; offset++) {
      const room = BLOCK_BYTES - offset;
      const skipped = room < HEADER_BYTES ? room : 0;
      const isSplit = room >= HEADER_BYTES && room < HEADER_BYTES + 100;
      expect(framedBytes(100, offset)).toBe(skipped + 100 + HEADER_BYTES * (isSplit ? 2 : 1));
    }
  });

  test('as LevelDB lays it out: a record in one block is one chunk, a long one is first, middle, last', () => {
    const bytes = frame([payloadOf('foo'), big('x', 2 * BLOCK_BYTES)]);
    const first = readChunk(bytes, 0, SEGMENT, SALT)!;
    expect(first).toMatchObject({ type: CHUNK.whole, from: HEADER_BYTES, to: HEADER_BYTES + 3 });
    const types = [
      readChunk(bytes, first.to, SEGMENT, SALT),
      readChunk(bytes, BLOCK_BYTES, SEGMENT, SALT),
      readChunk(bytes, 2 * BLOCK_BYTES, SEGMENT, SALT),
    ];
    expect(types.map((found) => found?.type)).toEqual([CHUNK.first, CHUNK.middle, CHUNK.last]);
  });

  test('with the offset it was synced to, beyond 2^32 too', () => {
    const bytes = frame([payloadOf('x')], 0, 2 ** 40 + 5);
    expect(readChunk(bytes, 0, SEGMENT, SALT)?.syncedOffset).toBe(2 ** 40 + 5);
  });

  test('from a place in the middle on', () => {
    const payloads = Array.from({ length: 300 }, (_, i) => big(String(i % 10), i * 7));
    const bytes = frame(payloads);
    const { ends } = scan(bytes);
    for (const i of [0, 1, 77, 150, 299]) {
      expect(scan(bytes, i === 0 ? 0 : ends[i - 1]).payloads.length).toBe(payloads.length - i);
    }
    expect(scan(bytes, ends.at(-1)).stop).toMatchObject({ offset: ends.at(-1), reason: 'the file ends' });
  });
});

test('a chunk changed in any bit is no chunk', () => {
  const bytes = chunk(CHUNK.whole, payloadOf('some payload'), { synced: 77 });
  expect(readChunk(bytes, 0, SEGMENT, SALT)).toBeDefined();
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const changed = bytes.slice();
    changed[bit >>> 3]! ^= 1 << (bit & 7);
    expect(readChunk(changed, 0, SEGMENT, SALT), `bit ${bit}`).toBeUndefined();
  }
  for (let cut = 0; cut < bytes.length; cut++)
    expect(readChunk(bytes.subarray(0, cut), 0, SEGMENT, SALT)).toBeUndefined();
  expect(readChunk(bytes, 0, SEGMENT + 1, SALT), 'a chunk of another segment').toBeUndefined();
});

test('names of segments sort as their numbers and nothing else is one', () => {
  expect(segmentName(1)).toBe('000001.wal');
  expect(segmentNumber(segmentName(1_234_567))).toBe(1_234_567);
  for (const name of ['1.wal', '000001.wal.tmp', 'x000001.wal', '000001.WAL', ''])
    expect(segmentNumber(name)).toBeUndefined();
});

// ── LevelDB's log_test.cc, re-stated ────────────────────────────────────────────────────────────────────────────
// There a reader drops what is bad and goes on at the next block. Ours stops there, and recovery decides.

describe("as in LevelDB's log_test", () => {
  const header = HEADER_BYTES;

  test('Empty, ReadWrite, ManyBlocks, Fragmentation', () => {
    expect(scan(new Uint8Array(0))).toMatchObject({ payloads: [], stop: { offset: 0, reason: 'the file ends' } });
    expect(scan(frame(['foo', 'bar', '', 'xxxx'].map(payloadOf))).payloads.map(text)).toEqual([
      'foo',
      'bar',
      '',
      'xxxx',
    ]);
    const many = Array.from({ length: 20_000 }, (_, i) => payloadOf(`${i}`));
    expect(scan(frame(many)).payloads.map(text)).toEqual(many.map(text));
    const fragments = [payloadOf('small'), big('medium', 8_000), big('large', 30_000)];
    expect(scan(frame(fragments)).payloads.map((found) => found.length)).toEqual([5, 48_000, 150_000]);
  });

  test('MarginalTrailer: exactly a header is left, so an empty first chunk stands there', () => {
    const bytes = frame([big('f', BLOCK_BYTES - 2 * header), payloadOf(''), payloadOf('bar')]);
    expect(scan(bytes).ends).toEqual([BLOCK_BYTES - header, BLOCK_BYTES, BLOCK_BYTES + header + 3]);
    const split = frame([big('f', BLOCK_BYTES - 2 * header), payloadOf('bar')]);
    expect(readChunk(split, BLOCK_BYTES - header, SEGMENT, SALT)).toMatchObject({
      type: CHUNK.first,
      from: BLOCK_BYTES,
      to: BLOCK_BYTES,
    });
    expect(scan(split).payloads.map((found) => found.length)).toEqual([BLOCK_BYTES - 2 * header, 3]);
  });

  test('ShortTrailer: less than a header is left, so zeros stand there', () => {
    for (let left = 1; left < header; left++) {
      const bytes = frame([big('f', BLOCK_BYTES - header - left), payloadOf(''), payloadOf('bar')]);
      expect(bytes.subarray(BLOCK_BYTES - left, BLOCK_BYTES).every((byte) => byte === 0)).toBe(true);
      expect(scan(bytes).ends).toEqual([BLOCK_BYTES - left, BLOCK_BYTES + header, BLOCK_BYTES + 2 * header + 3]);
    }
  });

  test('AlignedEof: the file ends inside a trailer', () => {
    const bytes = frame([big('f', BLOCK_BYTES - header - 4)]);
    expect(bytes.length).toBe(BLOCK_BYTES - 4);
    expect(scan(bytes)).toMatchObject({ ends: [BLOCK_BYTES - 4], stop: { reason: 'the file ends' } });
  });

  test('TruncatedTrailingRecordIsIgnored, BadLengthAtEndIsIgnored, PartialLastIsIgnored', () => {
    for (const payload of ['foo', 'x'.repeat(BLOCK_BYTES)].map(payloadOf)) {
      const whole = frame([payloadOf('first'), payload]);
      for (const drop of [1, 2, payload.length, payload.length + header - 1]) {
        expect(scan(whole.subarray(0, whole.length - drop)).payloads.map(text)).toEqual(['first']);
      }
    }
  });

  test('BadLength, ChecksumMismatch, BadRecordType: the scan stops at the record and says so', () => {
    const good = frame([payloadOf('first'), payloadOf('second'), payloadOf('third')]);
    const at = header + 'first'.length;
    for (const change of [4, 5, 0, 6, 7, header + 2]) {
      const bytes = good.slice();
      bytes[at + change]! += 10;
      expect(scan(bytes)).toMatchObject({ stop: { offset: at, reason: 'a bad checksum or header' } });
      expect(scan(bytes).payloads.map(text)).toEqual(['first']);
    }
  });

  test('UnexpectedMiddleType, UnexpectedLastType: no record begins with one', () => {
    for (const type of [CHUNK.middle, CHUNK.last]) {
      const bytes = concat(
        chunk(CHUNK.whole, payloadOf('a')),
        chunk(type, payloadOf('b')),
        chunk(CHUNK.whole, payloadOf('c')),
      );
      expect(scan(bytes)).toMatchObject({ ends: [header + 1], stop: { offset: header + 1 } });
      expect(scan(bytes).stop.reason).toContain('wrong place');
    }
  });

  test('UnexpectedFullType, UnexpectedFirstType: no record begins inside another', () => {
    for (const type of [CHUNK.whole, CHUNK.first]) {
      const bytes = concat(
        chunk(CHUNK.first, payloadOf('a')),
        chunk(type, payloadOf('b')),
        chunk(CHUNK.last, payloadOf('c')),
      );
      expect(scan(bytes)).toMatchObject({ payloads: [], stop: { offset: 0 } });
      expect(scan(bytes).stop.reason).toContain('wrong place');
    }
  });

  test('MissingLastIsIgnored: a record whose last chunk is not there is not there', () => {
    const whole = frame([payloadOf('first'), big('x', BLOCK_BYTES)]);
    expect(scan(whole.subarray(0, BLOCK_BYTES))).toMatchObject({
      stop: { offset: header + 5, reason: 'the file ends' },
    });
    const zeroed = whole.slice().fill(0, BLOCK_BYTES);
    expect(scan(zeroed)).toMatchObject({ stop: { offset: header + 5, reason: 'zeros' } });
  });

  test('ErrorJoinsRecords: the parts of two records with a bad block between never become one', () => {
    const bytes = frame([big('f', BLOCK_BYTES), big('b', BLOCK_BYTES), payloadOf('correct')]);
    bytes.fill(0x78, BLOCK_BYTES, 2 * BLOCK_BYTES);
    expect(scan(bytes)).toMatchObject({ payloads: [], stop: { offset: 0 } });
  });

  test('ReadPastEnd, and bytes left over from elsewhere: they end the log', () => {
    const mine = frame([payloadOf('mine')]);
    const theirs = chunk(CHUNK.whole, payloadOf('theirs'), { segment: SEGMENT - 1 });
    expect(scan(concat(mine, theirs)).payloads.map(text)).toEqual(['mine']);
    expect(scan(mine, mine.length + 3 * BLOCK_BYTES).payloads).toEqual([]);
  });
});

describe('a scanner that reads while the file is written', () => {
  test('goes on where it stopped, and earlier payloads stay as they were', () => {
    forSeeds(20, (random) => {
      const payloads = Array.from({ length: 60 }, () => randomBytes(random, below(random, 30_000)));
      const bytes = frame(payloads);
      const file = new MemoryDisk().open('/f', 'create');
      const zeroFilled = random() < 0.5;
      if (zeroFilled) file.write(new Uint8Array(bytes.length + 1000), 0);
      const scanner = new SegmentScanner(file, SEGMENT);
      const found: { payload: Uint8Array; copy: Uint8Array }[] = [];
      for (let written = 0; written < bytes.length; ) {
        const step = Math.min(bytes.length - written, 1 + below(random, 50_000));
        file.write(bytes.subarray(written, written + step), written);
        written += step;
        for (let record = scanner.next(); record !== undefined; record = scanner.next()) {
          found.push({ payload: record.payload, copy: record.payload.slice() });
        }
      }
      expect(found.length).toBe(payloads.length);
      for (const [i, { payload, copy }] of found.entries()) {
        expect(Buffer.compare(copy, payloads[i]!)).toBe(0);
        expect(Buffer.compare(payload, copy), 'a view stays intact').toBe(0);
      }
    });
  });
});

describe('proof that a place was synced', () => {
  const filler = chunk(CHUNK.whole, payloadOf('filler'));

  test('is a later chunk that says so, wherever it stands', () => {
    const at = filler.length;
    const junk = new Uint8Array(100).fill(0x55);
    const proof = (synced: number): Uint8Array => concat(filler, junk, chunk(CHUNK.whole, payloadOf('p'), { synced }));
    expect(findProofOfSync(fileOf(proof(at + 1)), SEGMENT, SALT, at)).toBe(at + junk.length);
    expect(
      findProofOfSync(fileOf(proof(at)), SEGMENT, SALT, at),
      'synced up to the stop proves nothing',
    ).toBeUndefined();
    expect(findProofOfSync(fileOf(proof(0)), SEGMENT, SALT, at)).toBeUndefined();
    const blocksLater = concat(
      filler,
      new Uint8Array(3 * BLOCK_BYTES - filler.length + 7),
      chunk(CHUNK.last, payloadOf('p'), { synced: 50 }),
    );
    expect(findProofOfSync(fileOf(blocksLater), SEGMENT, SALT, at)).toBe(3 * BLOCK_BYTES + 7);
  });

  test('is not a chunk of another segment, nor one that claims a sync of bytes behind itself', () => {
    const at = filler.length;
    const foreign = concat(filler, chunk(CHUNK.whole, payloadOf('p'), { synced: at + 1, segment: SEGMENT + 1 }));
    expect(findProofOfSync(fileOf(foreign), SEGMENT, SALT, at)).toBeUndefined();
    // Only a user's value could hold such a thing.
    const impossible = concat(filler, new Uint8Array(10), chunk(CHUNK.whole, payloadOf('p'), { synced: 2 ** 31 }));
    expect(findProofOfSync(fileOf(impossible), SEGMENT, SALT, at)).toBeUndefined();
  });

  test('is found in a file that ends inside a header, or holds nothing', () => {
    expect(findProofOfSync(fileOf(filler.subarray(0, 10)), SEGMENT, SALT, 0)).toBeUndefined();
    expect(findProofOfSync(fileOf(new Uint8Array(BLOCK_BYTES * 2 + 5)), SEGMENT, SALT, 0)).toBeUndefined();
  });
});
