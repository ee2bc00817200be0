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
 * Bounds: ASK for the answer of the cluster; some repairs within a day, because a disk that damages itself again and
 * again is to be replaced; the damaged files of one repair are kept, older ones go. (repair-steps.ts)
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { connectWith } from '../client/connect.ts';
import { dialWs } from '../client/transport-ws.ts';
import { type ClusterConfig, nodeToken } from '../config/index.ts';
import { isStoreError, type StoreError } from '../core/base/errors.ts';
import { isDamage } from '../engine/disk/damaged.ts';
import type { Repair } from '../engine/repair/record.ts';
import { acceptRepair, inPlaceOf, notRepaired, planRepair, type RepairDir } from './repair-steps.ts';

export interface RepairWorld extends RepairDir {
  readonly config: ClusterConfig;
  /** How long the cluster may take to answer; default: as long as some elections. */
  readonly askMs?: number;
}

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

/** Asks the cluster to be let in again with an empty directory. Throws `damage` again, with the reason, when it is not. */
export async function askForRepair(world: RepairWorld, damage: StoreError): Promise<void> {
  const { log, id } = world;
  const { code, message: reason } = damage;
  log('error', 'repair.damage', { code, reason, ...damage.data });
  const repair = planRepair(world, damage);
  log('warn', 'repair.asking', { id, dir: repair.dir, replaces: repair.replaces });
  try {
    await readmit(world, repair);
  } catch (error) {
    if (!isStoreError(error)) throw error;
    throw notRepaired(damage, `${error.message} (${error.code})`);
  }
  acceptRepair(world, repair);
}

async function readmit(world: RepairWorld, repair: Repair): Promise<void> {
  const { config, id, askMs } = world;
  const someElectionsMs = Math.max(ASK_MS_MIN, ASK_TIMEOUTS * config.raft.electionTimeoutMs);
  const untilMs = performance.now() + (askMs ?? someElectionsMs);
  const options = (): { readonly deadlineMs: number } => ({ deadlineMs: Math.max(1, untilMs - performance.now()) });
  for (;;) {
    try {
      const { deadlineMs: connectDeadlineMs } = options();
      const token = nodeToken(config, process.env);
      const shown = token === undefined ? {} : { token };
      const client = await connectWith(dialWs, othersOf(config, id), { connectDeadlineMs, ...shown });
      try {
        const { members } = await client.members.list(options());
        const named = members.find((member) => member.id === id)?.dir;
        await client.members.readmit(id, inPlaceOf(named, repair), options());
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
