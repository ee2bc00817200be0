/**
 * Picker: what to compact next. Pure: the same version and options give the same plan.
 *
 * Levels are sized from the bottom up (RocksDB's "dynamic level bytes"): the last level holds whatever there is, the
 * one above it a tenth, and so on down to about `levelBaseBytes`; level 0 is compacted into the first level that has
 * a size at all. So nine tenths of the data lie in the last level, and what was overwritten takes a tenth more at
 * most. (Sizes from the top down, as in LevelDB, can leave the last two levels equally large: twice the space.)
 *
 * In order: tables that are trimmed whole · level 0 and levels past their size, worst first · tables of many
 * tombstones, tables whose values have expired. Of a level, the table is taken that overlaps least of the next one
 * for its size, because that is what the work is.
 */
import { compareBytes } from '../../../core/base/bytes.ts';
import type { TreeOptions } from './options.ts';
import { BOTTOM, type TableRef, userKey, type Version } from './version.ts';

export interface CompactionPlan {
  readonly reason: 'trim' | 'level-0' | 'size' | 'tombstones' | 'expired' | 'manual';
  readonly level: number;
  readonly outputLevel: number;
  readonly inputs: readonly { readonly level: number; readonly table: TableRef }[];
  /** A table moves as it is: an edit of the manifest and no work. */
  readonly isMove: boolean;
}

/** Versions below a revision of all keys with a prefix that are wanted by nobody (the ledger past its retention). */
export interface Trim {
  readonly prefix: Uint8Array;
  readonly belowRevision: number;
}

export interface PickerInput {
  readonly version: Version;
  readonly options: TreeOptions;
  readonly trims: readonly Trim[];
  /** Values that expired before this are expired for every reader; 0: the tree is not the one who purges them. */
  readonly expiredBeforeMs: number;
  /** Everything superseded at or below it may go; a purge above it would find nothing to do. */
  readonly floor: number;
  /** The disk is full: whatever may give room back is done now. */
  readonly isFull?: boolean;
}

/** A flushed table of rising keys is worth a place of its own from this part of a table's size on. */
const RISING_PART = 8;
const SPARE_TABLES = 64;

export interface LevelTargets {
  /** Level 0 is compacted into this one. */
  readonly base: number;
  /** What each level may hold; Infinity for the last one. */
  readonly bytes: readonly number[];
}

export function levelTargets(version: Version, options: TreeOptions): LevelTargets {
  let largest = 0;
  for (let level = 1; level <= BOTTOM; level++) largest = Math.max(largest, version.bytesOf(level));
  let base = BOTTOM;
  for (let bytes = largest; bytes > options.levelBaseBytes && base > 1; bytes /= options.levelMultiplier) base--;
  const bytes = Array.from({ length: BOTTOM + 1 }, () => 0);
  bytes[BOTTOM] = Number.POSITIVE_INFINITY;
  let target = largest;
  for (let level = BOTTOM - 1; level >= base; level--) {
    target = Math.max(target / options.levelMultiplier, options.levelBaseBytes / options.levelMultiplier);
    bytes[level] = target;
  }
  return { base, bytes };
}

/** How full each level is; at 1 or more it wants a compaction. */
export function scores(version: Version, options: TreeOptions): number[] {
  const { base, bytes } = levelTargets(version, options);
  return bytes.map((target, level) => {
    if (level === 0) return (version.levels[0] as readonly TableRef[]).length / options.l0Compact;
    if (level === BOTTOM) return 0;
    const held = version.bytesOf(level);
    if (held === 0) return 0;
    // A level that has no size any more (the data shrank) is emptied.
    return level < base ? Number.POSITIVE_INFINITY : held / target;
  });
}

export function pickCompaction(input: PickerInput): CompactionPlan | undefined {
  return pickTrimmed(input) ?? pickBySize(input) ?? pickPurge(input);
}

/** Tables that hold nothing but what is trimmed go without being read. */
function pickTrimmed({ version, trims }: PickerInput): CompactionPlan | undefined {
  const inputs = [...version.tables()].filter(({ table }) => trims.some((trim) => isTrimmedWhole(table, trim)));
  const first = inputs[0];
  if (first === undefined) return undefined;
  return { reason: 'trim', level: first.level, outputLevel: first.level, inputs, isMove: false };
}

export function isTrimmedWhole(table: TableRef, trim: Trim): boolean {
  return (
    table.largestRevision < trim.belowRevision &&
    hasPrefix(table.smallest, trim.prefix) &&
    hasPrefix(table.largest, trim.prefix)
  );
}

function hasPrefix(key: Uint8Array, prefix: Uint8Array): boolean {
  return key.length >= prefix.length && prefix.every((byte, i) => key[i] === byte);
}

function pickBySize({ version, options, isFull }: PickerInput): CompactionPlan | undefined {
  const all = scores(version, options);
  // Tombstones give their room back once they are merged: on a full disk that is not waited for.
  if (isFull === true && (all[0] as number) > 0) all[0] = Number.POSITIVE_INFINITY;
  let worst = 0;
  for (let level = 1; level < BOTTOM; level++) if ((all[level] as number) > (all[worst] as number)) worst = level;
  if ((all[worst] as number) < 1) return undefined;
  if (worst === 0) return planLevel0(version, levelTargets(version, options).base, 'level-0');
  const table = leastOverlapping(version, worst);
  return table === undefined ? undefined : planDown(version, worst, [table], 'size');
}

/** All of a level one step on its way into the last one; undefined: it is empty. */
export function planLevel(version: Version, options: TreeOptions, level: number): CompactionPlan | undefined {
  const tables = version.levels[level] as readonly TableRef[];
  if (tables.length === 0) return undefined;
  if (level === 0) return planLevel0(version, levelTargets(version, options).base, 'manual');
  return planDown(version, level, tables, 'manual');
}

/** Key ranges of the tables, level by level, that may hold older versions of what a plan writes. */
export function rangesBelow(
  version: Version,
  plan: CompactionPlan,
): (readonly { readonly from: Uint8Array; readonly to: Uint8Array }[])[] {
  const [from, to] = rangeOf(plan.inputs.map((input) => input.table));
  const ranges: (readonly { readonly from: Uint8Array; readonly to: Uint8Array }[])[] = [];
  for (let level = plan.outputLevel + 1; level <= BOTTOM; level++) {
    const tables = version.overlapping(level, from, to);
    if (tables.length === 0) continue;
    ranges.push(tables.map(({ smallest, largest }) => ({ from: userKey(smallest), to: userKey(largest) })));
  }
  return ranges;
}

/** Tables that may come of a plan: twice as many as should, and some. */
export function outputTablesMax(plan: CompactionPlan, options: TreeOptions): number {
  let bytes = 0;
  for (const { table } of plan.inputs) bytes += table.fileBytes;
  return Math.ceil(bytes / options.tableBytes) * 2 + SPARE_TABLES;
}

/** Bytes by which levels are past their sizes. */
export function debtBytes(version: Version, options: TreeOptions): number {
  const { bytes } = levelTargets(version, options);
  let debt = 0;
  for (const [level, score] of scores(version, options).entries()) {
    if (level > 0 && score > 1) debt += version.bytesOf(level) - (bytes[level] as number);
  }
  return Math.max(0, Math.round(debt));
}

/** All of level 0 into `base`; the levels between are empty, or full and then emptied first. */
export function planLevel0(version: Version, base: number, reason: CompactionPlan['reason']): CompactionPlan {
  const tables = version.levels[0] as readonly TableRef[];
  // A table may not pass over one that holds older versions of its keys.
  let output = base;
  for (let level = base - 1; level >= 1; level--) {
    if ((version.levels[level] as readonly TableRef[]).length > 0) output = level;
  }
  return plan(version, 0, output, tables, reason);
}

/**
 * Level of a table that a flush made: 0. A table of keys that rise shares none with any other, so it belongs to the last
 * level at once, unless it is small (many would be too many) or a compaction that runs may come to write around it.
 */
export function levelOfFlushed(
  table: TableRef,
  { version, options, running }: { version: Version; options: TreeOptions; running: CompactionPlan | undefined },
): number {
  const { risingByte, tableBytes } = options;
  const [from, to] = rangeOf([table]);
  if (risingByte === 0 || from[0] !== risingByte || to[0] !== risingByte) return 0;
  if (table.fileBytes < tableBytes / RISING_PART) return 0;
  if (running !== undefined) {
    const [first, last] = rangeOf(running.inputs.map((input) => input.table));
    if (compareBytes(from, last) <= 0 && compareBytes(to, first) >= 0) return 0;
  }
  for (let level = 0; level <= BOTTOM; level++) if (version.overlapping(level, from, to).length > 0) return 0;
  return BOTTOM;
}

export function planDown(
  version: Version,
  level: number,
  tables: readonly TableRef[],
  reason: CompactionPlan['reason'],
): CompactionPlan {
  return plan(version, level, Math.min(level + 1, BOTTOM), tables, reason);
}

function plan(
  version: Version,
  level: number,
  outputLevel: number,
  tables: readonly TableRef[],
  reason: CompactionPlan['reason'],
): CompactionPlan {
  const inputs = tables.map((table) => ({ level, table }));
  if (outputLevel !== level) {
    const [from, to] = rangeOf(tables);
    for (const table of version.overlapping(outputLevel, from, to)) inputs.push({ level: outputLevel, table });
  }
  const isMove = inputs.length === 1 && outputLevel !== level && reason !== 'manual' && reason !== 'expired';
  return { reason, level, outputLevel, inputs, isMove };
}

/** User keys from the smallest to the largest of `tables`. */
export function rangeOf(tables: readonly TableRef[]): [Uint8Array, Uint8Array] {
  let from = userKey((tables[0] as TableRef).smallest);
  let to = userKey((tables[0] as TableRef).largest);
  for (const table of tables) {
    if (compareBytes(userKey(table.smallest), from) < 0) from = userKey(table.smallest);
    if (compareBytes(userKey(table.largest), to) > 0) to = userKey(table.largest);
  }
  return [from, to];
}

function leastOverlapping(version: Version, level: number): TableRef | undefined {
  let best: TableRef | undefined;
  let bestRatio = Number.POSITIVE_INFINITY;
  const next = version.levels[level + 1] as readonly TableRef[];
  let at = 0;
  for (const table of version.levels[level] as readonly TableRef[]) {
    // Both levels stand in key order, so one walk over the two is enough.
    while (at < next.length && compareBytes(userKey((next[at] as TableRef).largest), userKey(table.smallest)) < 0) at++;
    let bytes = 0;
    for (let i = at; i < next.length; i++) {
      const other = next[i] as TableRef;
      if (compareBytes(userKey(other.smallest), userKey(table.largest)) > 0) break;
      bytes += other.fileBytes;
    }
    const ratio = bytes / table.fileBytes;
    if (ratio < bestRatio) {
      best = table;
      bestRatio = ratio;
    }
  }
  return best;
}

/** When nothing is too large: space that deletes and expiries can give back. */
function pickPurge({ version, floor, expiredBeforeMs }: PickerInput): CompactionPlan | undefined {
  for (let level = 1; level <= BOTTOM; level++) {
    for (const table of version.levels[level] as readonly TableRef[]) {
      // Half is enough: so a key stands that was deleted while a snapshot looked at it.
      const isHalfGone = table.tombstones > 0 && table.tombstones * 2 >= table.entries;
      if (isHalfGone && table.largestRevision <= floor) {
        return { ...planDown(version, level, [table], 'tombstones'), isMove: false };
      }
      if (table.earliestExpiryMs !== 0 && table.earliestExpiryMs < expiredBeforeMs && table.largestRevision <= floor) {
        return planDown(version, level, [table], 'expired');
      }
    }
  }
  return undefined;
}
