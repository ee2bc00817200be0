/**
 * Checkpoints: the state hash at every 64th revision, the newest 4096 of them, in memory that the memtable writes and
 * replication reads to compare it with other nodes' (divergence.ts).
 *
 *   slot = [number, hash, ledger hash, number again]      number = revision / 64, its low 32 bits; in slot (number modulo 4096)
 *
 * The writer goes through a slot forwards and the reader backwards, so a reader that meets a slot half written sees two
 * numbers that differ, and takes it for absent. Slots begin that way.
 */
import { assert } from '../core/base/assert.ts';

/** Revisions from one checkpoint to the next; a power of two. */
export const CHECKPOINT_EVERY = 64;
const SLOTS = 4096;
const SLOT_WORDS = 4;

export function createCheckpoints(): SharedArrayBuffer {
  const buffer = new SharedArrayBuffer(SLOTS * SLOT_WORDS * Int32Array.BYTES_PER_ELEMENT);
  const words = new Int32Array(buffer);
  for (let slot = 0; slot < SLOTS; slot++) words[slot * SLOT_WORDS] = -1;
  return buffer;
}

/** True for a revision whose hash is noted. A compare, because it is asked for every entry. */
export const isCheckpoint = (revision: number): boolean => (revision & (CHECKPOINT_EVERY - 1)) === 0;

/** The newest checkpoint at or before `revision`; 0: there is none yet. */
export const checkpointBefore = (revision: number): number => revision - (revision % CHECKPOINT_EVERY);

export class CheckpointWriter {
  readonly #words: Int32Array;

  constructor(buffer: SharedArrayBuffer) {
    this.#words = new Int32Array(buffer);
  }

  /** `hash`: of the state; `ledgerHash`: of its records alone, for replicas. */
  note(revision: number, hash: number, ledgerHash: number): void {
    assert(isCheckpoint(revision), 'a checkpoint is at a multiple');
    const number = revision / CHECKPOINT_EVERY;
    const at = (number % SLOTS) * SLOT_WORDS;
    Atomics.store(this.#words, at, number | 0);
    Atomics.store(this.#words, at + 1, hash | 0);
    Atomics.store(this.#words, at + 2, ledgerHash | 0);
    Atomics.store(this.#words, at + 3, number | 0);
  }
}

export class CheckpointReader {
  readonly #words: Int32Array;

  constructor(buffer: SharedArrayBuffer) {
    this.#words = new Int32Array(buffer);
  }

  /** The state's hash at a checkpoint; undefined: not noted yet, or not any more. */
  at(revision: number): number | undefined {
    return this.#read(revision, 1);
  }

  /** The ledger's hash at a checkpoint, or undefined. */
  ledgerAt(revision: number): number | undefined {
    return this.#read(revision, 2);
  }

  #read(revision: number, word: 1 | 2): number | undefined {
    const number = revision / CHECKPOINT_EVERY;
    const at = (number % SLOTS) * SLOT_WORDS;
    const last = Atomics.load(this.#words, at + 3);
    const hash = Atomics.load(this.#words, at + word);
    const first = Atomics.load(this.#words, at);
    return first === last && first === (number | 0) ? hash >>> 0 : undefined;
  }
}
