/**
 * MemtableCursor: a memtable's versions as internal keys in order, for merging with tables.
 *
 * A key's versions stand newest first in its chain, which is the order of internal keys. Of two versions of one
 * revision (a batch that writes a key twice) only the first counts: the other is no state that ever was.
 */
import { ByteWriter, compareBytes } from '../../../core/base/bytes.ts';
import { encodeEnvelope } from '../sstable/envelope.ts';
import { encodeInternalKey, revisionOf } from '../sstable/keys.ts';
import { KIND_PUT, type NodeRef, type Skiplist, type VersionRef } from '../skiplist.ts';
import type { InternalCursor } from './merge.ts';

export class MemtableCursor implements InternalCursor {
  readonly #list: Skiplist;
  #node: NodeRef = 0;
  #version: VersionRef = 0;
  key: Uint8Array = new Uint8Array(64);
  keyLength = 0;
  readonly #stored = new ByteWriter(256);
  #isLoaded = false;

  constructor(list: Skiplist) {
    this.#list = list;
  }

  get valid(): boolean {
    return this.#version !== 0;
  }

  /** Made when it is asked for: a merge passes over most values. */
  get block(): Uint8Array {
    return this.#load().view();
  }

  get valueStart(): number {
    return 0;
  }

  get valueEnd(): number {
    return this.#load().length;
  }

  first(): void {
    this.#place(this.#list.first());
  }

  last(): void {
    this.#placeLast(this.#list.seekBefore(undefined));
  }

  seek(key: Uint8Array, keyLength: number): void {
    const list = this.#list;
    const user = key.subarray(0, keyLength - 8);
    const node = list.seek(user);
    if (node === 0 || compareBytes(list.keyView(node), user) !== 0) {
      this.#place(node);
      return;
    }
    // Within the key: the first version not newer than the one that is looked for.
    this.#place(node);
    const revision = revisionOf(key, keyLength);
    while (this.#version !== 0 && this.#node === node && list.revision(this.#version) > revision) this.next();
  }

  next(): void {
    const list = this.#list;
    const older = this.#older(this.#version);
    if (older === 0) this.#place(list.next(this.#node));
    else this.#set(older);
  }

  prev(): void {
    // The chain is linked to the older side only: walk it from its head, to the last that is newer. (Not to this very
    // version: the writer may have put another of its revision before it.)
    const list = this.#list;
    const revision = list.revision(this.#version);
    let before: VersionRef = 0;
    let at = list.versionAt(this.#node, Number.MAX_SAFE_INTEGER);
    for (; at !== 0 && list.revision(at) > revision; at = this.#older(at)) before = at;
    if (before !== 0) this.#set(before);
    else this.#placeLast(list.seekBefore(list.keyView(this.#node)));
  }

  /** The next version of another revision. */
  #older(version: VersionRef): VersionRef {
    const list = this.#list;
    const revision = list.revision(version);
    let at = list.older(version);
    while (at !== 0 && list.revision(at) === revision) at = list.older(at);
    return at;
  }

  #place(node: NodeRef): void {
    this.#node = node;
    if (node === 0) this.#version = 0;
    else this.#set(this.#list.versionAt(node, Number.MAX_SAFE_INTEGER));
  }

  #placeLast(node: NodeRef): void {
    this.#node = node;
    if (node === 0) {
      this.#version = 0;
      return;
    }
    let at = this.#list.versionAt(node, Number.MAX_SAFE_INTEGER);
    for (let older = this.#older(at); older !== 0; older = this.#older(at)) at = older;
    this.#set(at);
  }

  #set(version: VersionRef): void {
    const list = this.#list;
    this.#version = version;
    this.#isLoaded = false;
    const key = list.keyView(this.#node);
    if (key.length + 8 > this.key.length) this.key = new Uint8Array((key.length + 8) * 2);
    this.keyLength = encodeInternalKey(this.key, key, list.revision(version), list.kind(version));
  }

  #load(): ByteWriter {
    if (this.#isLoaded) return this.#stored;
    this.#isLoaded = true;
    this.#stored.reset();
    const list = this.#list;
    if (list.kind(this.#version) === KIND_PUT) {
      encodeEnvelope(this.#stored, list.expiryMs(this.#version), list.valueView(this.#version));
    }
    return this.#stored;
  }
}
