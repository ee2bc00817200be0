/**
 * Sweep: rows of tables that were dropped or cleared. Nobody sees them from that revision on, because no schema names
 * their id and epoch any more; here they are deleted, a few with each entry, so that no entry takes long and no ledger
 * record grows large.
 *
 * What is left to do is replicated state: every node deletes the same rows in the same entry.
 *
 *   saved = count varint, (id u32 | epoch u32 | from blob)*
 */
import { assert } from '../../base/assert.ts';
import { type ByteReader, type ByteWriter, prefixEnd } from '../../base/bytes.ts';
import { rowsPrefix } from './schema.ts';
import type { ControlState } from './state.ts';

interface Litter {
  readonly id: number;
  readonly epoch: number;
  /** Keys before it are gone: nobody looks through their tombstones again. */
  from: Uint8Array;
}

export class Sweep {
  readonly #state: ControlState;
  #litter: Litter[] = [];

  constructor(state: ControlState) {
    this.#state = state;
  }

  get isDone(): boolean {
    return this.#litter.length === 0;
  }

  add({ id, epoch }: { readonly id: number; readonly epoch: number }): void {
    this.#litter.push({ id, epoch, from: rowsPrefix({ id, epoch }) });
  }

  /** Deletes `keysMax` rows at the most. */
  turn(keysMax: number): void {
    for (let left = keysMax; left > 0; ) {
      const [first] = this.#litter;
      if (first === undefined) return;
      const to = prefixEnd(rowsPrefix(first));
      assert(to !== undefined, 'a prefix of rows has an end');
      const keys = this.#state.keys(first.from, to, left);
      for (const key of keys) this.#state.remove(key);
      const last = keys.at(-1);
      if (last !== undefined) first.from = last;
      if (keys.length < left) this.#litter.shift();
      // One that was empty costs a look, too.
      left -= Math.max(1, keys.length);
    }
  }

  save(writer: ByteWriter): void {
    writer.varint(this.#litter.length);
    for (const { id, epoch, from } of this.#litter) writer.u32(id).u32(epoch).blob(from);
  }

  restore(reader: ByteReader): void {
    for (let left = reader.varint(); left > 0; left--) {
      this.#litter.push({ id: reader.u32(), epoch: reader.u32(), from: reader.blob().slice() });
    }
  }
}
