/**
 * StateHash: one number for everything that the log has done so far, the same on every node at the same revision.
 *
 * It is CRC-32C over all ledger records, chained from the first revision on. The records are what a revision did, as
 * readers, watches and replicas see it: a node whose state is another one makes, sooner or later, another record, and
 * from then on its hash stays another one, because equal bytes never bring two different checksums together again.
 *
 * Private rows (control/private.ts) are in no record: each that an entry writes is folded before the entry's record.
 *
 * A checksum of a followed by b goes on from the checksum of a, so it does not matter how records are cut into frames,
 * nor when they are folded. It finds accidents (bad memory, a bad disk, code that is not deterministic), not enemies.
 */
import { crc32c } from '../base/crc32c.ts';

export class StateHash {
  #value = 0;

  /** Of all bytes so far, as a u32; 0 before the first. */
  get value(): number {
    return this.#value;
  }

  /** Goes on with `bytes[from, to)`. */
  fold(bytes: Uint8Array, from: number, to: number): void {
    this.#value = crc32c(bytes, from, to, this.#value);
  }

  /** Goes on from where another one was. */
  restore(value: number): void {
    this.#value = value;
  }
}
