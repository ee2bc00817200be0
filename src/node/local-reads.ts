/**
 * LocalReads: what an embedding application reads of this node's state in its own thread: no await, no message.
 */
import { ClientEntry, LocalEntry, toBytes } from '../client/entry.ts';
import type { Bytes, Entry } from '../client/types.ts';
import { EMPTY, KeyEncoder, prefixEnd } from '../core/base/bytes.ts';
import { boundToUserKeys } from '../core/model/limits.ts';
import type { StateReader } from '../engine/state/state-reader.ts';

export class LocalReads {
  /** Asked at each read: a node that starts again has another one, or throws that it has none. */
  readonly #reader: () => StateReader;
  readonly #keys = new KeyEncoder();

  constructor(reader: () => StateReader) {
    this.#reader = reader;
  }

  get(key: Bytes): Entry | undefined {
    const bytes = (typeof key === 'string' ? this.#keys.encode(key) : undefined) ?? toBytes(key);
    const stored = this.#reader().get(bytes);
    return stored === undefined ? undefined : new LocalEntry(key, stored.value, stored.revision, stored.expiryMs);
  }

  range(options: { readonly prefix?: Bytes; readonly limit?: number } = {}): Entry[] {
    const from = toBytes(options.prefix ?? '');
    const to = boundToUserKeys(from, prefixEnd(from) ?? EMPTY);
    const cursor = this.#reader().scan({ from, to: to.length === 0 ? undefined : to, reverse: false });
    try {
      const entries: Entry[] = [];
      const limit = options.limit ?? Number.POSITIVE_INFINITY;
      while (entries.length < limit) {
        const entry = cursor.next();
        if (entry === undefined) break;
        entries.push(new ClientEntry(entry.key, entry.value, entry.revision, entry.expiryMs));
      }
      return entries;
    } finally {
      cursor.close();
    }
  }
}
