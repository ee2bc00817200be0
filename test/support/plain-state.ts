/**
 * PlainState: a node's state in one skiplist, for tests of what stands above it (the model, the gateway, the shipper).
 * The same calls as the state of a node (engine/state), without files.
 */
import { compareBytes } from '../../src/core/base/bytes.ts';
import type { Store, StoredValue } from '../../src/core/model/store.ts';
import { type Revision, toIndex } from '../../src/core/base/position.ts';
import { KIND_PUT, KIND_TOMBSTONE, type NodeRef, Skiplist } from '../../src/engine/lsm/skiplist.ts';

const NO_VALUE = new Uint8Array(0);
/** Above every revision. */
export const NEWEST: Revision = toIndex(Number.MAX_SAFE_INTEGER);

export interface PlainEntry {
  /** Copies, in memory of their own. */
  readonly key: Uint8Array;
  readonly value: Uint8Array;
  readonly revision: Revision;
  /** 0: never. */
  readonly expiryMs: number;
}

export interface ScanBounds {
  readonly from: Uint8Array;
  /** Exclusive; undefined: to the end. */
  readonly to: Uint8Array | undefined;
  readonly reverse: boolean;
}

export class PlainState implements Store {
  readonly #list: Skiplist;
  /** What is read when no revision is named. */
  #written: Revision = NEWEST;

  constructor(buffer: SharedArrayBuffer) {
    this.#list = new Skiplist(buffer);
  }

  get buffer(): SharedArrayBuffer {
    return this.#list.buffer;
  }

  get usedBytes(): number {
    return this.#list.usedBytes;
  }

  get capacityBytes(): number {
    return this.#list.capacityBytes;
  }

  get freeBytes(): number {
    return this.#list.freeBytes;
  }

  get liveKeys(): number {
    return this.#list.liveKeys;
  }

  // ── writing: the memtable actor only ──

  /** Begins the arena anew, once no thread reads it. */
  reset(): void {
    this.#list.reset();
  }

  /** Reads that name no revision see this one. */
  publish(revision: Revision): void {
    this.#written = revision;
  }

  put(key: Uint8Array, value: Uint8Array, revision: Revision, expiryMs: number): boolean {
    return this.#list.insert(key, revision, KIND_PUT, value, expiryMs);
  }

  remove(key: Uint8Array, revision: Revision): boolean {
    return this.#list.insert(key, revision, KIND_TOMBSTONE, NO_VALUE, 0);
  }

  /** Expiries that are to come, as a node keeps them over a restart. */
  readonly expiries: Map<string, { readonly key: Uint8Array; readonly expiryMs: number; readonly revision: Revision }> =
    new Map();

  expect(key: Uint8Array, expiryMs: number, revision: Revision): void {
    this.expiries.set(`${expiryMs} ${revision} ${String(key)}`, { key: key.slice(), expiryMs, revision });
  }

  expected(key: Uint8Array, expiryMs: number, written: Revision): void {
    if (!this.expiries.delete(`${expiryMs} ${written} ${String(key)}`)) throw new Error('an expiry nobody expected');
  }

  /** What Raft says of members; nobody here asks. */
  keepForeign(): void {}

  newest(key: Uint8Array): StoredValue | undefined {
    return this.get(key, NEWEST);
  }

  newestRevision(key: Uint8Array): Revision {
    const node = this.#list.find(key, NEWEST);
    return node === 0 || this.#list.kind(node) !== KIND_PUT ? toIndex(0) : (this.#list.revision(node) as Revision);
  }

  keys(from: Uint8Array, to: Uint8Array, limit: number): Uint8Array[] {
    const cursor = this.scan({ from, to, reverse: false }, NEWEST);
    const keys: Uint8Array[] = [];
    for (let entry = cursor.next(); entry !== undefined && keys.length < limit; entry = cursor.next()) {
      keys.push(entry.key);
    }
    return keys;
  }

  /** By key, as Latin-1. */
  readonly privates: Map<string, Uint8Array> = new Map();

  newestPrivate(key: Uint8Array): Uint8Array | undefined {
    return this.privates.get(latin(key))?.slice();
  }

  putPrivate(key: Uint8Array, value: Uint8Array): void {
    this.privates.set(latin(key), value.slice());
  }

  getPrivate(key: Uint8Array): Uint8Array | undefined {
    return this.newestPrivate(key);
  }

  privateRows(prefix: Uint8Array): { readonly key: Uint8Array; readonly value: Uint8Array }[] {
    const names = [...this.privates.keys()].filter((name) => name.startsWith(latin(prefix))).sort();
    return names.map((name) => ({
      key: new Uint8Array(Buffer.from(name, 'latin1')),
      value: this.privates.get(name) ?? NO_VALUE,
    }));
  }

  removePrivate(key: Uint8Array): void {
    if (!this.privates.delete(latin(key))) throw new Error('a private row that is not there is removed');
  }

  // ── reading: any thread ──

  /** The key's value at `revision`, copied out; undefined when it had none. */
  get(key: Uint8Array, revision: Revision = this.#written): StoredValue | undefined {
    const list = this.#list;
    const version = list.find(key, revision);
    if (version === 0 || list.kind(version) !== KIND_PUT) return undefined;
    return {
      value: list.valueCopy(version),
      revision: list.revision(version) as Revision,
      expiryMs: list.expiryMs(version),
    };
  }

  /** A cursor over live entries at `revision`; goes on at the turn of the caller, for as long as it likes. */
  scan(bounds: ScanBounds, revision: Revision = this.#written): PlainCursor {
    return bounds.reverse
      ? new ReverseCursor(this.#list, bounds, revision)
      : new ForwardCursor(this.#list, bounds, revision);
  }
}

const latin = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1');

export interface PlainCursor {
  readonly revision: Revision;
  close(): void;
  next(): PlainEntry | undefined;
}

/** What the key at `node` held at `revision`, or undefined when it was absent then. */
function entryAt(list: Skiplist, node: NodeRef, revision: Revision): PlainEntry | undefined {
  const version = list.versionAt(node, revision);
  if (version === 0 || list.kind(version) !== KIND_PUT) return undefined;
  return {
    key: list.keyView(node).slice(),
    value: list.valueCopy(version),
    revision: list.revision(version) as Revision,
    expiryMs: list.expiryMs(version),
  };
}

class ForwardCursor implements PlainCursor {
  readonly #list: Skiplist;
  readonly revision: Revision;
  readonly #to: Uint8Array | undefined;
  /** The next key to look at; 0: at the end. */
  #node: NodeRef;

  constructor(list: Skiplist, bounds: ScanBounds, revision: Revision) {
    this.#list = list;
    this.revision = revision;
    this.#to = bounds.to;
    this.#node = list.seek(bounds.from);
  }

  close(): void {}

  next(): PlainEntry | undefined {
    const list = this.#list;
    while (this.#node !== 0) {
      const node = this.#node;
      if (this.#to !== undefined && compareBytes(list.keyView(node), this.#to) >= 0) break;
      this.#node = list.next(node);
      const entry = entryAt(list, node, this.revision);
      if (entry !== undefined) return entry;
    }
    this.#node = 0;
    return undefined;
  }
}

class ReverseCursor implements PlainCursor {
  readonly #list: Skiplist;
  readonly revision: Revision;
  readonly #from: Uint8Array;
  /** The next key to look at; 0: at the end. */
  #node: NodeRef;

  constructor(list: Skiplist, bounds: ScanBounds, revision: Revision) {
    this.#list = list;
    this.revision = revision;
    this.#from = bounds.from;
    this.#node = list.seekBefore(bounds.to);
  }

  close(): void {}

  next(): PlainEntry | undefined {
    const list = this.#list;
    while (this.#node !== 0) {
      const node = this.#node;
      const key = list.keyView(node);
      if (compareBytes(key, this.#from) < 0) break;
      this.#node = list.seekBefore(key);
      const entry = entryAt(list, node, this.revision);
      if (entry !== undefined) return entry;
    }
    this.#node = 0;
    return undefined;
  }
}
