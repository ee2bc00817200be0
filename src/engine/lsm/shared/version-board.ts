/**
 * VersionBoard: the newest version of the tree, as bytes that any thread may copy, whatever the owner publishes
 * meanwhile. (A message to each thread was the other way: a read would then use a version older than the one its
 * answer must show, until the event loop came round.)
 *
 *   words     0 newest record's sequence, 0 = none · 1 end of what is laid out, in bytes
 *   region    three of them, each on its line: 0 stamp · 1 number · 2 at · 3 bytes · 4 room
 *   bytes     the regions' rooms; one that is too small is given up for a larger one at the end of the buffer
 *
 * Record s is in region s % 3. Its stamp is s when it is whole, -s while it is being written; a reader copies it and
 * looks at the stamp again. So a reader fails only when the owner begins its third record during the copy, and then
 * finds a newer one. Rooms at least double, so those given up are together less than the ones in use.
 *
 * Invariants: sequences rise by one; a record is not changed while it is the newest or one of the two before.
 */
import { assert } from '../../../core/base/assert.ts';
import { StoreError } from '../../../core/base/errors.ts';
import { fence } from './fence.ts';

const REGIONS = 3;
const LINE_WORDS = 16;
const HEADER_BYTES = (1 + REGIONS) * LINE_WORDS * 4;

const NEWEST = 0;
const END = 1;

const STAMP = 0;
const NUMBER = 1;
const AT = 2;
const BYTES = 3;
const ROOM = 4;

const ROOM_BYTES_MIN = 4096;
const SEQUENCE_MAX = 0x7fff_ffff;

const INITIAL_BYTES = 64 * 1024;
/** Address space, not memory: enough for a million tables. */
const MAX_BYTES = 256 * 1024 * 1024;

export interface PublishedRecord {
  readonly number: number;
  /** A copy, in memory of its own. */
  readonly bytes: Uint8Array;
}

export function createVersionBoard(
  initialBytes: number = INITIAL_BYTES,
  maxByteLength: number = MAX_BYTES,
): SharedArrayBuffer {
  assert(initialBytes >= HEADER_BYTES, 'a board has room for its header');
  return new SharedArrayBuffer(initialBytes, { maxByteLength });
}

const regionOf = (sequence: number): number => (1 + (sequence % REGIONS)) * LINE_WORDS;

export class VersionBoard {
  readonly memory: SharedArrayBuffer;
  readonly #words: Int32Array;

  constructor(memory: SharedArrayBuffer) {
    this.memory = memory;
    this.#words = new Int32Array(memory, 0, HEADER_BYTES / 4);
  }

  /** Makes `bytes` the newest record (owner only). Version numbers rise. OVERLOADED when the board is full. */
  publish(versionNumber: number, bytes: Uint8Array): void {
    const words = this.#words;
    const last = Atomics.load(words, NEWEST);
    const sequence = last + 1;
    assert(sequence <= SEQUENCE_MAX, 'a sequence is a number of 31 bits');
    assert(Number.isInteger(versionNumber) && versionNumber <= SEQUENCE_MAX, 'a version is a number of 31 bits');
    assert(last === 0 || versionNumber > Atomics.load(words, regionOf(last) + NUMBER), 'versions rise');
    const region = regionOf(sequence);
    const isFit = bytes.length <= Atomics.load(words, region + ROOM);
    // Room is found before the region is touched: a board that is full stays readable.
    const room = isFit ? undefined : this.#layOut(Math.max(ROOM_BYTES_MIN, bytes.length * 2));

    Atomics.store(words, region + STAMP, -sequence);
    fence();
    if (room !== undefined) {
      Atomics.store(words, region + AT, room.at);
      Atomics.store(words, region + ROOM, room.bytes);
    }
    Atomics.store(words, region + NUMBER, versionNumber);
    Atomics.store(words, region + BYTES, bytes.length);
    new Uint8Array(this.memory).set(bytes, Atomics.load(words, region + AT));
    Atomics.store(words, region + STAMP, sequence);
    Atomics.store(words, NEWEST, sequence);
  }

  /** The newest record; undefined before the first. */
  read(): PublishedRecord | undefined {
    const words = this.#words;
    for (;;) {
      const sequence = Atomics.load(words, NEWEST);
      if (sequence === 0) return undefined;
      const region = regionOf(sequence);
      const number = Atomics.load(words, region + NUMBER);
      const at = Atomics.load(words, region + AT);
      const length = Atomics.load(words, region + BYTES);
      // Looked at before the copy too: a place and a length that are of two records may point anywhere.
      if (Atomics.load(words, region + STAMP) !== sequence) continue;
      const bytes = new Uint8Array(length);
      bytes.set(new Uint8Array(this.memory, at, length));
      fence();
      if (Atomics.load(words, region + STAMP) === sequence) return { number, bytes };
    }
  }

  /** Room at the end of what is laid out, in a buffer that grows where it must. */
  #layOut(bytes: number): { readonly at: number; readonly bytes: number } {
    const { memory } = this;
    const at = Math.max(HEADER_BYTES, Atomics.load(this.#words, END));
    const end = at + bytes;
    if (end > memory.maxByteLength) {
      throw new StoreError(
        'OVERLOADED',
        `a version needs ${bytes} bytes of the board, ${memory.maxByteLength - at} are left`,
        {
          data: { limit: memory.maxByteLength, size: end },
        },
      );
    }
    if (end > memory.byteLength) memory.grow(Math.min(memory.maxByteLength, Math.max(end, memory.byteLength * 2)));
    Atomics.store(this.#words, END, end);
    return { at, bytes };
  }
}
