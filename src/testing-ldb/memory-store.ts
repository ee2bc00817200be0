/**
 * MemoryStore: the rows that a machine works on, in maps; for the few rows of a test.
 */
import { type Revision, toIndex } from '../core/base/position.ts';
import type { Store, StoredValue } from '../core/model/store.ts';

/** Bytes as text that sorts as they do. */
const nameOf = (key: Uint8Array): string => Buffer.from(key).toString('latin1');
const bytesOf = (name: string): Uint8Array => new Uint8Array(Buffer.from(name, 'latin1'));

export class MemoryStore implements Store {
  readonly #rows = new Map<string, StoredValue>();
  readonly #private = new Map<string, Uint8Array>();

  put(key: Uint8Array, value: Uint8Array, revision: Revision, expiryMs: number): void {
    this.#rows.set(nameOf(key), { value: value.slice(), revision, expiryMs });
  }

  remove(key: Uint8Array): void {
    this.#rows.delete(nameOf(key));
  }

  /** Nothing is restarted here, so the machine's own queue is enough. */
  expect(): void {}
  expected(): void {}
  keepForeign(): void {}

  newest(key: Uint8Array): StoredValue | undefined {
    return this.#rows.get(nameOf(key));
  }

  newestRevision(key: Uint8Array): Revision {
    return this.newest(key)?.revision ?? toIndex(0);
  }

  keys(from: Uint8Array, to: Uint8Array, limit: number): Uint8Array[] {
    const [first, end] = [nameOf(from), nameOf(to)];
    const names = [...this.#rows.keys()].filter((name) => name >= first && name < end);
    return names.sort().slice(0, limit).map(bytesOf);
  }

  newestPrivate(key: Uint8Array): Uint8Array | undefined {
    return this.#private.get(nameOf(key));
  }

  putPrivate(key: Uint8Array, value: Uint8Array): void {
    this.#private.set(nameOf(key), value.slice());
  }

  removePrivate(key: Uint8Array): void {
    this.#private.delete(nameOf(key));
  }
}
