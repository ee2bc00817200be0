/**
 * Version: which tables hold the tree, level by level. Immutable: an edit makes a new one, and who reads the old one
 * goes on reading it.
 *
 * Invariants (checked when a version is made):
 *  - in level 0 tables may overlap; they stand newest first, by their largest revision;
 *  - in levels 1 to 6 tables stand in key order and share no user key;
 *  - of two versions of a key, the newer one is never in a deeper level.
 */
import { assert } from '../../../core/base/assert.ts';
import { compareBytes } from '../../../core/base/bytes.ts';

export const LEVELS = 7;
export const BOTTOM: number = LEVELS - 1;

export interface TableRef {
  readonly number: number;
  readonly fileBytes: number;
  /** Keys with their 8 bytes of revision and type. */
  readonly smallest: Uint8Array;
  readonly largest: Uint8Array;
  readonly entries: number;
  readonly tombstones: number;
  readonly smallestRevision: number;
  readonly largestRevision: number;
  /** When the first of its values expires; 0: none does. */
  readonly earliestExpiryMs: number;
}

export interface VersionEdit {
  readonly added: readonly { readonly level: number; readonly table: TableRef }[];
  readonly removed: readonly { readonly level: number; readonly number: number }[];
}

/** The user's part of an internal key. */
export const userKey = (internal: Uint8Array): Uint8Array => internal.subarray(0, internal.length - 8);

export class Version {
  readonly levels: readonly (readonly TableRef[])[];

  constructor(levels: readonly (readonly TableRef[])[]) {
    assert(levels.length === LEVELS, 'a version has seven levels');
    this.levels = levels;
    for (let level = 1; level < LEVELS; level++) {
      const tables = levels[level] as readonly TableRef[];
      for (let i = 1; i < tables.length; i++) {
        const before = tables[i - 1] as TableRef;
        const after = tables[i] as TableRef;
        assert(
          compareBytes(userKey(before.largest), userKey(after.smallest)) < 0,
          `tables ${before.number} and ${after.number} of level ${level} share no key`,
        );
      }
    }
  }

  static empty(): Version {
    return new Version(Array.from({ length: LEVELS }, () => []));
  }

  apply(edit: VersionEdit): Version {
    const levels = this.levels.map((tables, level) => {
      const removed = new Set(edit.removed.filter((table) => table.level === level).map((table) => table.number));
      const added = edit.added.filter((entry) => entry.level === level).map((entry) => entry.table);
      if (removed.size === 0 && added.length === 0) return tables;
      const kept = tables.filter((table) => !removed.has(table.number));
      assert(kept.length === tables.length - removed.size, 'an edit removes tables that are there');
      return [...kept, ...added].sort(level === 0 ? newestFirst : byKey);
    });
    return new Version(levels);
  }

  bytesOf(level: number): number {
    let bytes = 0;
    for (const table of this.levels[level] as readonly TableRef[]) bytes += table.fileBytes;
    return bytes;
  }

  /** Tables of `level` that hold keys from `from` to `to` (user keys, both inclusive; undefined: no bound). */
  overlapping(level: number, from: Uint8Array | undefined, to: Uint8Array | undefined): TableRef[] {
    return (this.levels[level] as readonly TableRef[]).filter(
      (table) =>
        (to === undefined || compareBytes(userKey(table.smallest), to) <= 0) &&
        (from === undefined || compareBytes(userKey(table.largest), from) >= 0),
    );
  }

  *tables(): Generator<{ readonly level: number; readonly table: TableRef }> {
    for (const [level, tables] of this.levels.entries()) for (const table of tables) yield { level, table };
  }
}

const newestFirst = (a: TableRef, b: TableRef): number => b.largestRevision - a.largestRevision || b.number - a.number;
const byKey = (a: TableRef, b: TableRef): number => compareBytes(userKey(a.smallest), userKey(b.smallest));
