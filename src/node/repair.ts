/**
 * Repair: a node whose files are damaged gives them up, and gets its state from the other nodes. It never guesses what
 * the files may have said, and it keeps no promise that it cannot know: it comes back as somebody else.
 *
 *   damage ─▶ REPAIRS: a new identity ─▶ the cluster is asked ─▶ REPAIRS: accepted ─▶ files aside ─▶ IDENTITY ─▶ start
 *                                         └▶ refused, nobody answers: the start is refused, and nothing was changed
 *
 * The cluster is asked first: a majority of the others has agreed, in the log, that the old directory counts for nothing
 * and what the new one is called, before a byte is moved. From then on the node is a learner under its name; the
 * leader gives it its vote back once it has caught up (actors/returns.ts). A node alone, and one without a majority of
 * others, keeps its files and does not start.
 *
 * Whoever dies on the way begins again at the next start, with the same new identity.
 *
 * Bounds: ASK for the answer of the cluster; REPAIRS_MAX repairs in DAY_MS, because a disk that damages itself again and
 * again is to be replaced; the damaged files of one repair are kept, older ones go.
 */
import { randomUUID } from 'node:crypto';
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { LogFunction } from '../actors/runtime/thread.ts';
import { connectWith } from '../client/connect.ts';
import { dialWs } from '../client/transport-ws.ts';
import type { ClusterConfig } from '../config/index.ts';
import type { Disk } from '../core/base/env.ts';
import { isStoreError, StoreError } from '../core/base/errors.ts';
import { REPAIRED_DIR } from '../core/raft/membership.ts';
import { isDamage } from '../engine/disk/damaged.ts';
import { claimDir, readIdentity } from '../engine/disk/identity.ts';
import { asideName, setAside } from '../engine/repair/aside.ts';
import { doneNow, readRecord, type RepairRecord, writeRecord } from '../engine/repair/record.ts';

export interface RepairWorld {
  readonly disk: Disk;
  readonly config: ClusterConfig;
  readonly id: string;
  readonly dataDir: string;
  readonly log: LogFunction;
  readonly nowMs: () => number;
  /** How long the cluster may take to answer; default: as long as some elections. */
  readonly askMs?: number;
}

const DAY_MS = 24 * 60 * 60 * 1000;
const REPAIRS_MAX = 3;
/** An election, and another one that was lost, and some: in elections' timeouts, and at least. */
const ASK_TIMEOUTS = 20;
const ASK_MS_MIN = 5_000;
const ASK_AGAIN_MS = 250;

/** May this node give up its files, where `error` says what is wrong with them? */
export function mayRepair({ config, id }: Pick<RepairWorld, 'config' | 'id'>, error: unknown): error is StoreError {
  return isDamage(error) && config.repair === 'peers' && othersOf(config, id).length > 0;
}

const othersOf = (config: ClusterConfig, id: string): string[] =>
  Object.entries(config.nodes).flatMap(([other, { client }]) => (other === id ? [] : [client]));

/**
 * Finishes a repair that the cluster has accepted. With the directory locked, before anything in it is read. True: its
 * files are aside, and it is empty.
 */
export function finishRepair(world: RepairWorld): boolean {
  const { disk, dataDir, config, id, log } = world;
  const record = readRecord(disk, dataDir);
  const { pending } = record;
  if (pending?.isAccepted !== true) return false;
  const { dir, aside } = pending;
  // Once it has its new name, everything of the old one is gone from here.
  if (readIdentity(dataDir)?.dirId !== dir) setAside(disk, dataDir, aside);
  claimDir(dataDir, { cluster: config.cluster, node: id }, { dirId: dir });
  writeRecord(disk, dataDir, doneNow(record));
  removeOlder(dataDir, record);
  const look = `kvctl inspect wal ${join(dataDir, aside)}`;
  log('warn', 'repair.set-aside', { dir, replaces: pending.replaces, kept: join(dataDir, aside), look });
  return true;
}

/** What was kept of repairs before this one. Who wants to keep more gives it another name. */
function removeOlder(dataDir: string, { done }: RepairRecord): void {
  for (const { aside } of done) {
    const path = join(dataDir, aside);
    if (existsSync(path)) rmSync(path, { recursive: true });
  }
}

/** Asks the cluster to be let in again with an empty directory. Throws `damage` again, with the reason, when it is not. */
export async function askForRepair(world: RepairWorld, damage: StoreError): Promise<void> {
  const { disk, dataDir, log, nowMs, id } = world;
  const record = readRecord(disk, dataDir);
  const { code, message: reason } = damage;
  log('error', 'repair.damage', { code, reason, ...damage.data });
  const today = record.done.filter(({ when }) => nowMs() - Date.parse(when) < DAY_MS).length;
  if (today >= REPAIRS_MAX) {
    throw notRepaired(
      damage,
      `it was repaired ${today} times within a day: look at the machine, its disk and its memory`,
    );
  }
  const replaces = readIdentity(dataDir)?.dirId;
  if (replaces === undefined) throw notRepaired(damage, 'the directory does not say whose it is');
  const when = new Date(nowMs());
  const isSame = record.pending?.replaces === replaces;
  const dir = isSame && record.pending !== undefined ? record.pending.dir : `${REPAIRED_DIR}${randomUUID()}`;
  const pending = { when: when.toISOString(), code, reason, replaces, dir, aside: asideName(when) };
  writeRecord(disk, dataDir, { ...record, pending: { ...pending, isAccepted: false } });
  log('warn', 'repair.asking', { id, dir, replaces });
  try {
    await readmit(world, damage, { dir, replaces });
  } catch (error) {
    if (!isStoreError(error)) throw error;
    throw notRepaired(damage, `${error.message} (${error.code})`);
  }
  writeRecord(disk, dataDir, { ...record, pending: { ...pending, isAccepted: true } });
}

async function readmit(world: RepairWorld, damage: StoreError, directory: Directories): Promise<void> {
  const { config, id, askMs } = world;
  const someElectionsMs = Math.max(ASK_MS_MIN, ASK_TIMEOUTS * config.raft.electionTimeoutMs);
  const untilMs = performance.now() + (askMs ?? someElectionsMs);
  const options = (): { readonly deadlineMs: number } => ({ deadlineMs: Math.max(1, untilMs - performance.now()) });
  for (;;) {
    try {
      const { deadlineMs: connectDeadlineMs } = options();
      const client = await connectWith(dialWs, othersOf(config, id), { connectDeadlineMs });
      try {
        const { members } = await client.members.list(options());
        const named = members.find((member) => member.id === id)?.dir;
        await client.members.readmit(id, inPlaceOf(named, damage, directory), options());
        return;
      } finally {
        await client.close();
      }
    } catch (error) {
      // A refusal stands; without an answer it is asked again, which changes nothing twice.
      const isFinal = !isStoreError(error) || (error.retry === 'never' && error.code !== 'CLOSED');
      if (isFinal || performance.now() + ASK_AGAIN_MS >= untilMs) throw error;
      await sleep(ASK_AGAIN_MS);
    }
  }
}

interface Directories {
  readonly dir: string;
  readonly replaces: string;
}

/**
 * What the cluster is asked. A directory that has forgotten everything (its disk was wiped) is none that the members
 * name: it takes the place of the one that they do, which the leader lets go only while nobody speaks from it. Of any other
 * damage it stands: whoever is known by another directory by now has given this one up, and stays refused.
 */
export function inPlaceOf(named: string | undefined, damage: StoreError, { dir, replaces }: Directories): Directories {
  const hasForgotten = damage.code === 'DIR_ROLLED_BACK' && named !== undefined && named !== dir;
  return { dir, replaces: hasForgotten ? named : replaces };
}

/** The damage as it was found, why it was not repaired, and what to do. */
function notRepaired(damage: StoreError, why: string): StoreError {
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
