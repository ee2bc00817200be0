/**
 * The committed log: what really happened, revision by revision, to hold against what watchers and replicas saw.
 *
 * It is read back from where it cannot have been bent on its way: a node's ledger or its WAL, when all is over.
 */
import { StoreError } from '../../core/base/errors.ts';

export interface Change {
  readonly kind: 'put' | 'delete';
  readonly key: string;
  /** Of a put. Bytes that are no text: as base64 or hex, on both sides. */
  readonly value?: string;
}

export interface CommittedRevision {
  readonly revision: number;
  /** In order; may be empty. */
  readonly changes: readonly Change[];
}

/** In etcd's words, and one more: Faithful, what is told was committed, just so. */
export type Guarantee = 'Ordered' | 'Unique' | 'Reliable' | 'Atomic' | 'Resumable' | 'Bookmarkable' | 'Faithful';

export interface Breach {
  readonly guarantee: Guarantee;
  /** Place of the observation. */
  readonly at: number;
  readonly text: string;
}

export interface ObservationResult {
  readonly verdict: 'ok' | 'violation' | 'unknown';
  readonly checked: number;
  readonly breaches: readonly Breach[];
  readonly reason?: string;
}

interface Version {
  readonly revision: number;
  readonly value: string | undefined;
}

export class CommittedLog {
  readonly revisions: readonly CommittedRevision[];
  readonly #versions = new Map<string, Version[]>();

  /** @throws StoreError BAD_REQUEST when revisions do not rise. */
  constructor(revisions: Iterable<CommittedRevision>) {
    this.revisions = [...revisions];
    let last = Number.NEGATIVE_INFINITY;
    for (const { revision, changes } of this.revisions) {
      if (!(revision > last)) throw new StoreError('BAD_REQUEST', `committed log: revision ${revision} after ${last}`);
      last = revision;
      for (const { kind, key, value = '' } of changes) {
        const ofKey = this.#versions.get(key) ?? [];
        this.#versions.set(key, ofKey);
        // The last change of a revision is what the revision leaves.
        if (ofKey.at(-1)?.revision === revision) ofKey.pop();
        ofKey.push({ revision, value: kind === 'put' ? value : undefined });
      }
    }
  }

  get last(): number {
    return this.revisions.at(-1)?.revision ?? 0;
  }

  keys(): Iterable<string> {
    return this.#versions.keys();
  }

  /** The value at a revision; undefined when the key was not there. */
  valueAt(key: string, revision: number): string | undefined {
    const versions = this.#versions.get(key) ?? [];
    return versions[firstAfter(versions, revision) - 1]?.value;
  }

  /** The revisions at which a key had this value, as ranges [from, to). */
  *when(key: string, value: string | undefined): Generator<{ readonly from: number; readonly to: number }> {
    const versions = this.#versions.get(key) ?? [];
    if (value === undefined) yield { from: Number.NEGATIVE_INFINITY, to: versions[0]?.revision ?? Infinity };
    for (const [i, version] of versions.entries()) {
      if (version.value === value) yield { from: version.revision, to: versions[i + 1]?.revision ?? Infinity };
    }
  }

  /** The revision that follows; undefined at the end. */
  after(revision: number): CommittedRevision | undefined {
    return this.revisions[firstAfter(this.revisions, revision)];
  }
}

/** The first place whose revision is greater. */
export function firstAfter(sorted: readonly { readonly revision: number }[], revision: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((sorted[middle]?.revision ?? 0) > revision) high = middle;
    else low = middle + 1;
  }
  return low;
}

export function isSameChange(x: Change, y: Change): boolean {
  return x.kind === y.kind && x.key === y.key && (x.kind === 'delete' || (x.value ?? '') === (y.value ?? ''));
}

export function showChange({ kind, key, value }: Change): string {
  return kind === 'put' ? `put ${key} = ${value ?? ''}` : `delete ${key}`;
}

export function resultOf(checked: number, breaches: readonly Breach[], nothing: string): ObservationResult {
  if (breaches.length > 0) return { verdict: 'violation', checked, breaches };
  if (checked === 0) return { verdict: 'unknown', checked, breaches, reason: nothing };
  return { verdict: 'ok', checked, breaches };
}
