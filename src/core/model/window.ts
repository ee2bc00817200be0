/**
 * LedgerWindow: the newest ledger records, as they were encoded, within a budget of bytes.
 *
 * A reader that is inside the window is fed from here; one that has fallen out of it gets a snapshot (an LDB)
 * or a typed COMPACTED error (a watch). Records come in chunks of whole records and leave in the same chunks,
 * oldest first.
 *
 * Invariant: records are contiguous: every revision from `first` to `last` is here, each once.
 */
import { assert } from '../base/assert.ts';
import { plus, type Revision, toIndex } from '../base/position.ts';
import { RECORD_HEADER_BYTES } from './ledger.ts';

interface Chunk {
  readonly first: Revision;
  readonly last: Revision;
  readonly bytes: Uint8Array;
}

/** What a chunk costs beside its bytes. */
const CHUNK_OVERHEAD_BYTES = 200;
const NONE = new Uint8Array(0);

export class LedgerWindow {
  readonly #bytesMax: number;
  #chunks: Chunk[] = [];
  /** Place of the oldest chunk kept: those before it are let go together, so that an append moves nothing. */
  #head = 0;
  #bytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** The oldest revision kept; last + 1 when there is none. */
  get first(): Revision {
    return this.#chunks[this.#head]?.first ?? toIndex(1);
  }

  get last(): Revision {
    return this.#chunks.at(-1)?.last ?? toIndex(0);
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Adds whole records that follow the newest one. `bytes` is kept. */
  append(bytes: Uint8Array): void {
    const view = viewOf(bytes);
    const first = revisionAt(view, 0);
    let at = 0;
    let revision = first - 1;
    while (at < bytes.length) {
      assert(revisionAt(view, at) === revision + 1, 'ledger records are contiguous');
      revision++;
      at += recordBytes(view, at);
    }
    assert(at === bytes.length, 'a chunk holds whole records');
    assert(this.#chunks.length === 0 || first === this.last + 1, 'a chunk follows the newest one');
    this.#chunks.push({ first: toIndex(first), last: toIndex(revision), bytes });
    this.#bytes += bytes.length + CHUNK_OVERHEAD_BYTES;
    this.#drop();
  }

  #drop(): void {
    while (this.#bytes > this.#bytesMax && this.#head < this.#chunks.length - 1) {
      const { first, last, bytes } = this.#chunks[this.#head] as Chunk;
      this.#bytes -= bytes.length + CHUNK_OVERHEAD_BYTES;
      this.#chunks[this.#head++] = { first, last, bytes: NONE };
    }
    if (this.#head * 2 <= this.#chunks.length) return;
    this.#chunks = this.#chunks.slice(this.#head);
    this.#head = 0;
  }

  /**
   * Whole records from `from` on, at least one, at most about `bytesMax`; undefined when `from` is not here (yet, or
   * any more). Of several chunks a copy, else a view: what came one by one leaves together.
   */
  read(from: Revision, bytesMax: number): { readonly bytes: Uint8Array; readonly last: Revision } | undefined {
    const records = this.#readChunk(from, bytesMax);
    if (records === undefined || records.last === this.last) return records;
    const pieces = [records.bytes];
    let { last } = records;
    let bytes = records.bytes.length;
    while (last < this.last) {
      const more = this.#readChunk(plus(last, 1), bytesMax - bytes);
      if (more === undefined || bytes + more.bytes.length > bytesMax) break;
      pieces.push(more.bytes);
      bytes += more.bytes.length;
      last = more.last;
    }
    return pieces.length === 1 ? records : { bytes: concat(pieces), last };
  }

  #readChunk(from: Revision, bytesMax: number): { readonly bytes: Uint8Array; readonly last: Revision } | undefined {
    if (from < this.first || from > this.last) return undefined;
    let low = this.#head;
    let high = this.#chunks.length - 1;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#chunks[middle] as Chunk).last < from) low = middle + 1;
      else high = middle;
    }
    const { bytes } = this.#chunks[low] as Chunk;
    const view = viewOf(bytes);
    let start = 0;
    while (revisionAt(view, start) < from) start += recordBytes(view, start);
    let end = start;
    let last = 0;
    while (end < bytes.length) {
      const next = end + recordBytes(view, end);
      if (end > start && next - start > bytesMax) break;
      last = revisionAt(view, end);
      end = next;
    }
    return { bytes: bytes.subarray(start, end), last: toIndex(last) };
  }
}

function concat(pieces: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(pieces.reduce((bytes, piece) => bytes + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
const revisionAt = (view: DataView, at: number): number =>
  view.getUint32(at, true) + view.getUint32(at + 4, true) * 0x1_0000_0000;
const recordBytes = (view: DataView, at: number): number =>
  RECORD_HEADER_BYTES + view.getUint32(at + RECORD_HEADER_BYTES - 4, true);
