/**
 * KeptLedger: the newest ledger records of an LDB whose reflector serves others (actors/relay.ts), in a table of their own.
 *
 *   ledger   first revision u64, big-endian → whole records (core/model/ledger.ts)
 *
 * They are written and trimmed in the transaction that applies them, so that after a kill what is kept ends where the rows
 * are: whoever was fed by this relay goes on with the next record, and needs no snapshot because the relay died. What an
 * LDB that kept none meanwhile has here does not end at its position, and is dropped.
 *
 * The places of all chunks are in memory, some 40 bytes each, and what was added last, until it is taken.
 *
 * Invariant: chunks are contiguous, and the last ends at the position of the LDB, or there are none.
 */
import { assert } from '../../core/base/assert.ts';
import { type Revision, toIndex } from '../../core/base/position.ts';
import { firstRecordFrom, firstRevisionIn, lastRevisionIn } from '../../core/model/ledger.ts';
import type { Table } from './environment.ts';
import { FIRST_KEY } from './format.ts';

interface Chunk {
  readonly first: number;
  readonly last: number;
  readonly bytes: number;
}

/** What a chunk costs beside its bytes. */
const CHUNK_OVERHEAD_BYTES = 64;

export class KeptLedger {
  readonly #table: Table;
  readonly #bytesMax: number;
  #chunks: Chunk[] = [];
  /** Place of the oldest chunk: those before it are let go together. */
  #head = 0;
  #bytes = 0;
  /** Added since they were last taken. */
  #fresh: Uint8Array[] = [];

  private constructor(table: Table, bytesMax: number) {
    this.#table = table;
    this.#bytesMax = bytesMax;
  }

  /** What `table` has of the ledger up to `position`. */
  static async open(table: Table, { bytesMax, position }: { bytesMax: number; position: number }): Promise<KeptLedger> {
    const kept = new KeptLedger(table, bytesMax);
    for (const { value } of table.getRange({ start: FIRST_KEY })) {
      const [first, last] = [firstRevisionIn(value), lastRevisionIn(value)];
      if (kept.#chunks.length > 0 && first !== kept.last + 1) kept.#forget();
      kept.#note({ first, last, bytes: value.length });
    }
    if (kept.last === position || kept.#chunks.length === 0) return kept;
    await table.clearAsync();
    kept.#forget();
    return kept;
  }

  /** The oldest revision kept; undefined when none is. */
  get first(): Revision | undefined {
    const chunk = this.#chunks[this.#head];
    return chunk && toIndex(chunk.first);
  }

  get last(): number {
    return this.#chunks.at(-1)?.last ?? 0;
  }

  /** Adds whole records, and removes the oldest past the bound; called inside LMDB's transaction, and so never throws. */
  append(pieces: readonly Uint8Array[]): void {
    for (const piece of pieces) {
      const chunk = { first: firstRevisionIn(piece), last: lastRevisionIn(piece), bytes: piece.length };
      if (this.#chunks.length > 0 && chunk.first !== this.last + 1) this.#removeAll();
      void this.#table.put(keyOf(chunk.first), piece);
      this.#fresh.push(piece);
      this.#note(chunk);
    }
    while (this.#bytes > this.#bytesMax && this.#head < this.#chunks.length - 1) {
      const { first, bytes } = this.#chunks[this.#head++] as Chunk;
      void this.#table.remove(keyOf(first));
      this.#bytes -= bytes + CHUNK_OVERHEAD_BYTES;
    }
    if (this.#head * 2 <= this.#chunks.length) return;
    this.#chunks = this.#chunks.slice(this.#head);
    this.#head = 0;
  }

  /** Behind a snapshot nothing is kept; inside a synchronous transaction. */
  clearSync(): void {
    this.#table.clearSync();
    this.#forget();
  }

  #removeAll(): void {
    for (const { first } of this.#chunks.slice(this.#head)) void this.#table.remove(keyOf(first));
    this.#forget();
  }

  /** What was added since this was last asked, in order: for who feeds others from memory, once it is committed. */
  takeFresh(): readonly Uint8Array[] {
    const fresh = this.#fresh;
    this.#fresh = [];
    return fresh;
  }

  /** Whole records from `from` on, at least one, as they lie in one chunk; undefined when it is not here. */
  read(from: Revision): { readonly bytes: Uint8Array; readonly last: Revision } | undefined {
    let low = this.#head;
    let high = this.#chunks.length - 1;
    if (low > high || from < (this.#chunks[low] as Chunk).first || from > this.last) return undefined;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#chunks[middle] as Chunk).last < from) low = middle + 1;
      else high = middle;
    }
    const { first, last } = this.#chunks[low] as Chunk;
    // Noted, and not there for readers yet: its transaction is under way.
    const chunk = this.#table.getBinary(keyOf(first)) as Uint8Array | undefined;
    if (chunk === undefined) return undefined;
    assert(firstRevisionIn(chunk) === first, 'a chunk of the ledger lies under its first revision');
    return { bytes: new Uint8Array(chunk).subarray(firstRecordFrom(chunk, from)), last: toIndex(last) };
  }

  #note(chunk: Chunk): void {
    this.#chunks.push(chunk);
    this.#bytes += chunk.bytes + CHUNK_OVERHEAD_BYTES;
  }

  #forget(): void {
    this.#chunks = [];
    this.#head = 0;
    this.#bytes = 0;
    this.#fresh = [];
  }
}

function keyOf(revision: number): Uint8Array {
  const key = new Uint8Array(8);
  new DataView(key.buffer).setBigUint64(0, BigInt(revision));
  return key;
}
