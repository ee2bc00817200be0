/**
 * StateHash: one number for everything that the log has done so far, the same on every node at the same revision.
 *
 * It is CRC-32C over all ledger records, chained from the first revision on. The records are what a revision did, as
 * readers, watches and replicas see it: a node whose state is another one makes, sooner or later, another record, and
 * from then on its hash stays another one, because equal bytes never bring two different checksums together again.
 *
 * Private rows (control/private.ts) are in no record, so they have a chain of their own; the state's hash is of both. The
 * chain of the records alone is the ledger's hash: replicas, which see no private row, compute it too
 * (engine/ldb/ledger-hash.ts).
 *
 * A checksum of a followed by b goes on from the checksum of a, so it does not matter how records are cut into frames,
 * nor when they are folded. It finds accidents (bad memory, a bad disk, code that is not deterministic), not enemies.
 */
import { ByteWriter } from '../base/bytes.ts';
import { crc32c } from '../base/crc32c.ts';

export class StateHash {
  #ledger = 0;
  #hidden = 0;

  /** Of all records so far, as a u32; 0 before the first. */
  get ledger(): number {
    return this.#ledger;
  }

  /** Of all private rows so far; 0 before the first. */
  get hidden(): number {
    return this.#hidden;
  }

  /** Of everything. As long as nothing private was written, that is the ledger's. */
  get value(): number {
    if (this.#hidden === 0) return this.#ledger;
    const hidden = new ByteWriter(4).u32(this.#hidden).view();
    return crc32c(hidden, 0, hidden.length, this.#ledger);
  }

  /** Goes on with records, `bytes[from, to)`. */
  fold(bytes: Uint8Array, from: number, to: number): void {
    this.#ledger = crc32c(bytes, from, to, this.#ledger);
  }

  /** Goes on with a private row; a removed one is empty. */
  foldPrivate(key: Uint8Array, value: Uint8Array): void {
    const bytes = new ByteWriter(key.length + value.length + 8).blob(key).blob(value).view();
    this.#hidden = crc32c(bytes, 0, bytes.length, this.#hidden);
  }

  /** Goes on from where another one was. */
  restore(ledger: number, hidden: number): void {
    this.#ledger = ledger;
    this.#hidden = hidden;
  }
}
