/**
 * RepairSteps: what a repair does to a node's directory (repair.ts says when, and asks the cluster). By the disk alone, so
 * that the simulator runs it in its own time.
 *
 *   plan ─▶ REPAIRS { pending }   ─ the cluster agrees ─▶   accept ─▶ REPAIRS { isAccepted }   ─ the next start ─▶   finish
 *
 * Invariant: no file is moved before the cluster has agreed, and none is read after.
 */
import { join } from 'node:path';
import type { LogFunction } from '../actors/runtime/thread.ts';
import type { Disk } from '../core/base/env.ts';
import { StoreError } from '../core/base/errors.ts';
import { REPAIRED_DIR } from '../core/raft/membership.ts';
import { claimDir, readIdentity } from '../engine/disk/identity.ts';
import { asideName, setAside } from '../engine/repair/aside.ts';
import { doneNow, readRecord, type Repair, type RepairRecord, writeRecord } from '../engine/repair/record.ts';

export interface RepairDir {
  readonly disk: Disk;
  readonly dataDir: string;
  readonly cluster: string;
  readonly id: string;
  readonly log: LogFunction;
  readonly nowMs: () => number;
  /** Another one each time. */
  readonly uuid: () => string;
  /** Removes a directory with all that is in it, if it is there. */
  readonly removeTree: (path: string) => void;
}

const DAY_MS = 24 * 60 * 60 * 1000;
const REPAIRS_MAX = 3;

/** Begins a repair: the same one again, if it was begun before. Throws `damage`, with the reason, when there is to be none. */
export function planRepair(world: RepairDir, damage: StoreError): Repair {
  const { disk, dataDir, nowMs, uuid } = world;
  const record = readRecord(disk, dataDir);
  const { code, message: reason } = damage;
  const today = record.done.filter(({ when }) => nowMs() - Date.parse(when) < DAY_MS).length;
  if (today >= REPAIRS_MAX) {
    throw notRepaired(
      damage,
      `it was repaired ${today} times within a day: look at the machine, its disk and its memory`,
    );
  }
  const replaces = readIdentity(dataDir, disk)?.dirId;
  if (replaces === undefined) throw notRepaired(damage, 'the directory does not say whose it is');
  const when = new Date(nowMs());
  const isSame = record.pending?.replaces === replaces;
  const dir = isSame && record.pending !== undefined ? record.pending.dir : `${REPAIRED_DIR}${uuid()}`;
  const repair = { when: when.toISOString(), code, reason, replaces, dir, aside: asideName(when) };
  writeRecord(disk, dataDir, { ...record, pending: { ...repair, isAccepted: false } });
  return repair;
}

/** The cluster knows the node by the new directory from now on. */
export function acceptRepair({ disk, dataDir }: Pick<RepairDir, 'disk' | 'dataDir'>, repair: Repair): void {
  writeRecord(disk, dataDir, { ...readRecord(disk, dataDir), pending: { ...repair, isAccepted: true } });
}

/**
 * Finishes a repair that the cluster has accepted. With the directory locked, before anything in it is read. True: its
 * files are aside, and it is empty.
 */
export function finishRepair(world: RepairDir): boolean {
  const { disk, dataDir, cluster, id, log } = world;
  const record = readRecord(disk, dataDir);
  const { pending } = record;
  if (pending?.isAccepted !== true) return false;
  const { dir, aside } = pending;
  // Once it has its new name, everything of the old one is gone from here.
  if (readIdentity(dataDir, disk)?.dirId !== dir) setAside(disk, dataDir, aside);
  claimDir(dataDir, { cluster, node: id }, { dirId: dir, disk });
  writeRecord(disk, dataDir, doneNow(record));
  removeOlder(world, record);
  const look = `kvctl inspect wal ${join(dataDir, aside)}`;
  log('warn', 'repair.set-aside', { dir, replaces: pending.replaces, kept: join(dataDir, aside), look });
  return true;
}

/** What was kept of repairs before this one. Who wants to keep more gives it another name. */
function removeOlder({ dataDir, removeTree }: RepairDir, { done }: RepairRecord): void {
  for (const { aside } of done) removeTree(join(dataDir, aside));
}

export interface Directories {
  readonly dir: string;
  readonly replaces: string;
}

/**
 * What the cluster is asked. A directory that has forgotten everything (its disk was wiped) is none that the members
 * name: it takes the place of the one that they do, which the leader lets go only while nobody speaks from it. Of any other
 * damage it stands: whoever is known by another directory by now has given this one up, and stays refused.
 */
export function inPlaceOf(
  named: string | undefined,
  { code, dir, replaces }: Pick<Repair, 'code' | 'dir' | 'replaces'>,
): Directories {
  const hasForgotten = code === 'DIR_ROLLED_BACK' && named !== undefined && named !== dir;
  return { dir, replaces: hasForgotten ? named : replaces };
}

/** The damage as it was found, why it was not repaired, and what to do. */
export function notRepaired(damage: StoreError, why: string): StoreError {
  const advice =
    'start it again when a majority of the others serves, or see "One node lost its disk" in docs/operations.md';
  return new StoreError(
    damage.code,
    `${damage.message}. It could not be repaired from the other nodes: ${why}; ${advice}`,
    {
      cause: damage,
      data: damage.data,
    },
  );
}
