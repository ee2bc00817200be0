/**
 * Repair: a store whose manifest or tables are damaged, made one that opens again; and an honest word on what it is
 * then worth.
 *
 * It is always tried in memory first (overlay-disk.ts): the report is there before anything is changed.
 *
 * A store of its own is worth what is left of it. A node is a copy among copies, and a copy that lacks something and
 * does not know it gives wrong answers and spreads them when it leads. So for a node the verdict is
 *
 *   proven      the old manifest could be read, and every table that it names is there, entry by entry
 *   plausible   the manifest could not be read: all that was found is whole and fits together; what was not found
 *               nobody can know
 *   lost        something is missing, or does not fit together: the node must be wiped and filled from its peers
 *
 * "Fits together": the newest row of the machine's state (sessions, log time) was made at the very revision at which
 * the tables end, else a start stops; and the log goes on from there.
 */
import { ByteReader } from '../../core/base/bytes.ts';
import type { Disk } from '../../core/base/env.ts';
import { isStoreError } from '../../core/base/errors.ts';
import { readSavedRevision } from '../../core/model/machine.ts';
import { DAMAGED, damageNoted } from '../disk/damaged.ts';
import { tablePath } from '../lsm/manifest/file-names.ts';
import { repairManifest, type RepairReport } from '../lsm/manifest/repair.ts';
import { liveFiles } from '../lsm/manifest/state.ts';
import { envelopeValueStart } from '../lsm/sstable/envelope.ts';
import { TYPE_PUT } from '../lsm/sstable/keys.ts';
import { type BlockCacheLike, Table, TableResult } from '../lsm/sstable/table.ts';
import { MACHINE_KEY } from '../state/keyspaces.ts';
import type { DataDir } from './data-dir.ts';
import { OverlayDisk } from './overlay-disk.ts';
import { readManifest } from './read-manifest.ts';
import { metaOf, tableTools } from './table-tools.ts';
import { gapBetween } from '../wal/gap.ts';
import { logState } from './whole-state.ts';

export interface RepairPlan {
  readonly report: RepairReport;
  readonly verdict: 'proven' | 'plausible' | 'lost';
  /** Why not better, a sentence each. */
  readonly reasons: readonly string[];
  /** What is wrong with the log, which repair leaves as it is; undefined: nothing. */
  readonly log: string | undefined;
  /** What a node noted when it met damage, which keeps it from starting: goes, unless something is lost. */
  readonly noted: string | undefined;
}

const NO_CACHE: BlockCacheLike = { get: () => undefined, put: () => {} };

/** What a repair would do, and what the store would be worth then. Writes nothing. */
export function planRepair(disk: Disk, dir: DataDir): RepairPlan {
  const isKnown = hasManifest(disk, dir);
  const overlay = new OverlayDisk(disk);
  const report = repairManifest(overlay, dir.tree, tableTools(overlay));
  const reasons: string[] = [];
  for (const { name, dropped, kept, salvagedTo } of report.damaged) {
    if (salvagedTo === undefined) reasons.push(`nothing of table ${name} can be read`);
    else if (dropped > 0) reasons.push(`${dropped} blocks of table ${name} cannot be read (${kept} entries can)`);
  }
  for (const number of report.missing) reasons.push(`table ${number} is missing`);
  for (const number of report.takenBack) {
    reasons.push(`table ${number} had been merged into others and was taken back: deleted keys may be there again`);
  }
  const log = logProblem(disk, dir, report.lastSequence);
  if (dir.kind === 'node') {
    const applied = machineRevision(overlay, dir.tree);
    if (applied !== report.lastSequence) {
      reasons.push(
        `the tables end at revision ${report.lastSequence}, and the newest state beside them is of ${applied}`,
      );
    }
    if (log !== undefined) reasons.push(log);
  }
  const plan = { report, reasons, log, noted: dir.kind === 'node' ? damageNoted(disk, dir.dir) : undefined };
  if (reasons.length > 0) return { ...plan, verdict: 'lost' };
  if (isKnown) return { ...plan, verdict: 'proven' };
  const unknown = 'the manifest could not be read: whether a table is missing cannot be known';
  return { ...plan, verdict: 'plausible', reasons: [unknown] };
}

/** Repairs as was planned: nobody else may have the store open. */
export function repair(disk: Disk, dir: DataDir, { verdict, noted }: RepairPlan): RepairReport {
  const report = repairManifest(disk, dir.tree, tableTools(disk));
  if (noted !== undefined && verdict !== 'lost') {
    disk.remove(`${dir.dir}/${DAMAGED}`);
    disk.syncDir(dir.dir);
  }
  return report;
}

function hasManifest(disk: Disk, dir: DataDir): boolean {
  try {
    return readManifest(disk, dir.tree) !== undefined;
  } catch (error) {
    if (isStoreError(error, 'TABLE_CORRUPT')) return false;
    throw error;
  }
}

/** The revision at which the newest machine state was saved; 0 when there is none. */
function machineRevision(disk: Disk, tree: string): number {
  const state = readManifest(disk, tree)?.state;
  const found = new TableResult();
  let newest = 0;
  let applied = 0;
  for (const { number } of state === undefined ? [] : liveFiles(state)) {
    const path = tablePath(disk, tree, number);
    const file = disk.open(path, 'read');
    const table = Table.open(file, metaOf(file, path), NO_CACHE);
    try {
      if (!table.get(MACHINE_KEY, Number.MAX_SAFE_INTEGER, found) || found.revision < newest) continue;
      newest = found.revision;
      const start = envelopeValueStart(found.block, found.valueStart, found.valueEnd);
      const isState = found.type === TYPE_PUT && start >= 0;
      applied = isState ? readSavedRevision(new ByteReader(found.block.subarray(start, found.valueEnd))) : 0;
    } finally {
      table.close();
    }
  }
  return applied;
}

function logProblem(disk: Disk, dir: DataDir, flushedRevision: number): string | undefined {
  try {
    const gap = gapBetween(flushedRevision, logState(disk, dir.wal));
    return gap && `the log in ${dir.wal} ${gap}`;
  } catch (error) {
    if (isStoreError(error, 'WAL_CORRUPT')) return error.message;
    throw error;
  }
}
