/**
 * restore: a data directory from a backup set.
 *
 * A node that comes back with an old log has forgotten what it acknowledged and whom it voted for. Among living peers
 * that can lose acknowledged writes, so who restores says which case it is; without a word nothing is done:
 *
 *   --cluster NEW      the nodes restored are a cluster of their own, which the old one's nodes do not speak to
 *   --whole-cluster    all of the cluster is stopped, and every node of it is restored from this very set
 *   --replace-member   the other nodes live, this one's directory is lost, and the set is of the leader, made after
 *                      this node stopped for good: so its log holds all that this node ever acknowledged
 */
import { resolve } from 'node:path';
import type { Command } from 'commander';
import type { BackupSet } from '../../engine/tools/index.ts';
import { wholeNumber } from './arguments.ts';
import { showBytes } from './bytes.ts';
import type { Context, Run } from './context.ts';
import { UsageError } from './errors.ts';
import { progress } from './progress.ts';

interface RestoreFlags {
  readonly set?: number;
  readonly node?: string;
  readonly cluster?: string;
  readonly wholeCluster?: boolean;
  readonly replaceMember?: boolean;
}

export function registerRestore(program: Command, run: Run): void {
  program
    .command('restore')
    .summary('make a data directory from a backup')
    .description('Restores a set into a directory that is absent or empty. Every byte is checked first.')
    .argument('<backup-dir>')
    .argument('<data-dir>', 'made when missing; never over data')
    .option('--set <n>', 'which set; default: the newest', wholeNumber(1))
    .option('--node <id>', 'the node that will use the directory; default: the one that was backed up')
    .option('--cluster <name>', 'the cluster it will be of; default: the one that was backed up')
    .option('--whole-cluster', 'the whole cluster is stopped, and every node is restored from this set')
    .option('--replace-member', 'the others live; this node lost its disk; the set is a fresh one of the leader')
    .addHelpText(
      'after',
      `
An old log among living peers can lose acknowledged writes. So a node's directory is restored only with one of
  --cluster NEW      as a cluster of its own: restore every node of it from this set, and name it so in its config
  --whole-cluster    every node of the cluster is stopped, and every one is restored from this set, none is left as it was
  --replace-member   one node lost its disk. Stop it for good, see with kvctl status that all others follow one leader,
                     back up that leader now, and restore that set here
docs/operations.md has the reasons.

Examples:
  kvctl restore /backup/prod data/n1 --node n1 --whole-cluster
  kvctl restore /backup/prod data/n1 --node n1 --cluster prod-copy --set 12
  kvctl restore /backup/embedded data/store`,
    )
    .action((backupDir: string, dataDir: string, flags: RestoreFlags) =>
      run((context) => restore(context, backupDir, dataDir, flags)),
    );
}

async function restore(context: Context, given: string, dataDir: string, flags: RestoreFlags): Promise<number> {
  const tools = await import('../../engine/tools/index.ts');
  const { nodeDisk: disk } = tools;
  const backupDir = resolve(given);
  const set = tools.readSet(disk, backupDir, flags.set);
  const owner = ownerFor(set, flags);
  const bar = progress(context, 'restoring');
  // No backup may remove the set meanwhile.
  const ours = await tools.lockDir(backupDir);
  try {
    await tools.restoreSet({
      disk,
      backupDir,
      set,
      to: dataDir,
      onProgress: bar.step,
      ...(owner && { claim: (dir: string) => void tools.claimDir(dir, owner, { isRestored: true }) }),
    });
  } finally {
    bar.stop();
    await ours.release();
  }
  await tell(context, set, { owner, dataDir, flags });
  return 0;
}

interface Owner {
  readonly cluster: string;
  readonly node: string;
}

/** Whose the directory will be; undefined for a store. Refuses what could lose writes. */
function ownerFor(set: BackupSet, flags: RestoreFlags): Owner | undefined {
  const { owner: before } = set;
  const { node, cluster, wholeCluster = false, replaceMember = false } = flags;
  if (before === null) {
    if (node !== undefined || cluster !== undefined || wholeCluster || replaceMember) {
      throw new UsageError(`set ${set.number} is of a store and not of a node: it has no node and no cluster`);
    }
    return undefined;
  }
  const owner = { cluster: cluster ?? before.cluster, node: node ?? before.node };
  if (owner.cluster === '' || owner.node === '') throw new UsageError('a node and a cluster have names');
  const isOther = owner.cluster !== before.cluster;
  if (isOther && (wholeCluster || replaceMember)) {
    throw new UsageError(
      `--cluster ${owner.cluster} makes a cluster of its own: it needs no --whole-cluster or --replace-member`,
    );
  }
  if (wholeCluster && replaceMember) throw new UsageError('--whole-cluster and --replace-member exclude each other');
  if (!isOther && !wholeCluster && !replaceMember) {
    throw new UsageError(
      `set ${set.number} is of cluster "${owner.cluster}". Among nodes that live on, a restored one can lose acknowledged ` +
        'writes: say --whole-cluster, --replace-member or --cluster NEW (see kvctl restore --help)',
    );
  }
  if (replaceMember) refuseUnfit(set, before.node, owner);
  return owner;
}

/** What a set tells of itself that makes it no fresh one of a living leader. */
function refuseUnfit(set: BackupSet, madeOf: string, owner: Owner): void {
  if (madeOf === owner.node) {
    throw new UsageError(`set ${set.number} is of ${madeOf} itself: a member is replaced from a set of the leader`);
  }
  if (!set.isLive) {
    throw new UsageError(
      `${madeOf} was stopped when set ${set.number} was made: a member is replaced from a set of the leader`,
    );
  }
}

async function tell(
  context: Context,
  set: BackupSet,
  done: { readonly owner: Owner | undefined; readonly dataDir: string; readonly flags: RestoreFlags },
): Promise<void> {
  const { owner, dataDir, flags } = done;
  const bytes = set.files.reduce((sum, file) => sum + file.bytes, 0);
  if (context.json) {
    const { number, createdAt, flushedRevision, lastIndex, files } = set;
    const facts = { set: number, createdAt, flushedRevision, lastIndex, files: files.length, bytes };
    await context.out.json({
      ...facts,
      dir: resolve(dataDir),
      cluster: owner?.cluster ?? null,
      node: owner?.node ?? null,
    });
  } else {
    const whose = owner === undefined ? 'a store' : `node ${owner.node} of cluster ${owner.cluster}`;
    await context.out.line(
      `${dataDir} is ${whose} as of ${set.createdAt}: everything up to revision ${set.lastIndex} (set ${set.number}, ` +
        `${set.files.length} files, ${showBytes(bytes)})`,
    );
  }
  if (owner === undefined) return;
  if (flags.replaceMember === true) {
    context.note(
      `kvctl: right only if ${set.owner?.node} led when the set was made (${set.createdAt}), all others followed it, and ` +
        `${owner.node} had stopped for good by then`,
    );
  } else {
    context.note(
      `kvctl: restore every other node of the cluster from set ${set.number} too, before any of them starts`,
    );
  }
}
