/**
 * What an engine in another process must hold, in a file of its own that the engine knows nothing of (RocksDB's
 * "expected values"). It survives the process as a written file does, byte by byte.
 *
 *   per key   committed u32 | pending u32        numbers of batches; 0: none
 *
 * `pending` is set on each key of a batch before the engine has it, and becomes `committed` when the engine has said yes.
 * After a kill a key with a pending batch may have either; any other has exactly what is committed. What a batch does to
 * its keys follows from its number alone.
 */
import { closeSync, openSync, readSync, writeSync } from 'node:fs';

export const KEYS = 240;
const BYTES = KEYS * 8;

/** Expiry of values that are to stay, and of those that are gone as soon as they are written. */
export const FAR_MS = 4_000_000_000_000;
export const PAST_MS = 1;

export type Kind = 'put' | 'delete' | 'delete-range' | 'put-far' | 'put-past';

/** What batch `number` does. */
export function kindOf(number: number): Kind {
  const roll = Math.imul(number, 2_654_435_761) >>> 24;
  if (roll < 30) return 'delete';
  if (roll < 40) return 'delete-range';
  if (roll < 60) return 'put-far';
  if (roll < 70) return 'put-past';
  return 'put';
}

export const keyText = (key: number): string => `key-${String(key).padStart(5, '0')}`;

/** The value of `key` after batch `number`; undefined when it has none. */
export function valueText(key: number, number: number): string | undefined {
  if (number === 0) return undefined;
  const kind = kindOf(number);
  if (kind !== 'put' && kind !== 'put-far') return undefined;
  return `${key}.${number}.`.padEnd(12 + ((key * 31 + number * 7) % 200), 'abcdefgh');
}

export class Oracle {
  readonly #fd: number;
  readonly #words: Uint32Array;
  readonly #bytes: Uint8Array;

  /** Makes the file when it is not there. */
  constructor(path: string) {
    this.#fd = openSync(path, 'a+');
    closeSync(this.#fd);
    this.#fd = openSync(path, 'r+');
    this.#bytes = new Uint8Array(BYTES);
    readSync(this.#fd, this.#bytes, 0, BYTES, 0);
    this.#words = new Uint32Array(this.#bytes.buffer);
  }

  committed(key: number): number {
    return this.#words[key * 2] as number;
  }

  pending(key: number): number {
    return this.#words[key * 2 + 1] as number;
  }

  setPending(key: number, number: number): void {
    this.#set(key, this.committed(key), number);
  }

  commit(key: number, number: number): void {
    this.#set(key, number, 0);
  }

  get highest(): number {
    return this.#words.reduce((most, word) => Math.max(most, word), 0);
  }

  close(): void {
    closeSync(this.#fd);
  }

  #set(key: number, committed: number, pending: number): void {
    this.#words[key * 2] = committed;
    this.#words[key * 2 + 1] = pending;
    writeSync(this.#fd, this.#bytes, key * 8, 8, key * 8);
  }
}
