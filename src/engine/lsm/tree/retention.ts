/**
 * Retention: which versions of a key a flush or a compaction may leave out. Told every version in the order of
 * internal keys (newest first within a key).
 *
 * Somebody may read at any revision from the floor on, and at each snapshot below it. So:
 *  - a version is needed unless a newer one of the key hides it from all of them;
 *  - a tombstone is needed as long as an older version may lie deeper, or a snapshot may look behind it;
 *  - a value that has expired for everybody is as good as a tombstone. It is never just dropped: what it hides would
 *    come back.
 *  - what a trim names is wanted by nobody, with everything below it.
 */
import { assert } from '../../../core/base/assert.ts';
import { envelopeExpiryMs } from '../sstable/envelope.ts';
import { revisionOf, TYPE_TOMBSTONE, typeOf } from '../sstable/keys.ts';
import type { InternalCursor } from './merge.ts';
import type { Trim } from './picker.ts';

export const KEEP = 0;
export const DROP = 1;
/** Write a tombstone of the same revision in its place. */
export const BURY = 2;

export interface RetentionRules {
  readonly floor: number;
  /** Revisions of open snapshots below the floor, rising. */
  readonly snapshots: readonly number[];
  /** A value that expires at or before it is expired for every reader; 0: none is. */
  readonly expiredBeforeMs: number;
  readonly trims: readonly Trim[];
}

export class Retention {
  readonly #rules: RetentionRules;
  readonly #oldestSnapshot: number;
  /** Whether no table of a deeper level may hold the key. Asked with rising keys. */
  readonly #isDeepest: (key: Uint8Array, userLength: number) => boolean;
  #user: Uint8Array = new Uint8Array(64);
  #userLength = -1;
  /** Revision of the version before this one: the next newer of the same key. */
  #newer = Number.POSITIVE_INFINITY;
  dropped = 0;

  constructor(rules: RetentionRules, isDeepest: (key: Uint8Array, userLength: number) => boolean) {
    this.#rules = rules;
    this.#oldestSnapshot = rules.snapshots[0] ?? Number.POSITIVE_INFINITY;
    this.#isDeepest = isDeepest;
  }

  /** What becomes of the version that `source` stands at. */
  decide(source: InternalCursor): typeof KEEP | typeof DROP | typeof BURY {
    const { key, keyLength } = source;
    const revision = revisionOf(key, keyLength);
    if (!this.#isSameUser(key, keyLength - 8)) {
      this.#setUser(key, keyLength - 8);
      this.#newer = Number.POSITIVE_INFINITY;
    }
    const newer = this.#newer;
    assert(revision <= newer, 'versions of a key come newest first');
    this.#newer = revision;
    const decision = this.#decide(source, revision, newer);
    if (decision === DROP) this.dropped++;
    return decision;
  }

  /** True when the last version told was the first of its key. */
  get isNewKey(): boolean {
    return this.#isNewKey;
  }

  #isNewKey = false;

  #decide(source: InternalCursor, revision: number, newer: number): typeof KEEP | typeof DROP | typeof BURY {
    const { key, keyLength } = source;
    const { floor, trims } = this.#rules;
    // Twice in one revision: the first one is what counts.
    if (revision === newer) return DROP;
    if (newer <= floor && !this.#isSnapshotIn(revision, newer)) return DROP;
    for (const trim of trims) {
      if (revision < trim.belowRevision && startsWith(key, keyLength - 8, trim.prefix)) return DROP;
    }
    const isTombstone = typeOf(key, keyLength) === TYPE_TOMBSTONE;
    if (!isTombstone && !this.#isExpired(source)) return KEEP;
    const isNeeded = revision > floor || this.#oldestSnapshot < revision || !this.#isDeepest(key, keyLength - 8);
    if (!isNeeded) return DROP;
    return isTombstone ? KEEP : BURY;
  }

  #isExpired(source: InternalCursor): boolean {
    const { expiredBeforeMs } = this.#rules;
    if (expiredBeforeMs === 0) return false;
    const expiryMs = envelopeExpiryMs(source.block.subarray(source.valueStart, source.valueEnd));
    return expiryMs !== 0 && expiryMs <= expiredBeforeMs;
  }

  /** Does a snapshot see the version: is one in [revision, newer)? */
  #isSnapshotIn(revision: number, newer: number): boolean {
    for (const snapshot of this.#rules.snapshots) {
      if (snapshot >= newer) return false;
      if (snapshot >= revision) return true;
    }
    return false;
  }

  #isSameUser(key: Uint8Array, length: number): boolean {
    this.#isNewKey = true;
    if (length !== this.#userLength) return false;
    const user = this.#user;
    // From the end: neighbours share their beginnings.
    for (let i = length - 1; i >= 0; i--) if (user[i] !== key[i]) return false;
    this.#isNewKey = false;
    return true;
  }

  #setUser(key: Uint8Array, length: number): void {
    if (length > this.#user.length) this.#user = new Uint8Array(length * 2);
    for (let i = 0; i < length; i++) this.#user[i] = key[i] as number;
    this.#userLength = length;
  }
}

function startsWith(key: Uint8Array, length: number, prefix: Uint8Array): boolean {
  if (prefix.length > length) return false;
  for (let i = 0; i < prefix.length; i++) if (key[i] !== prefix[i]) return false;
  return true;
}
