/** backup: one more set of a data directory, beside a running node or of a stopped one. */
import { resolve, sep } from 'node:path';
import type { Command } from 'commander';
import type { BackupReport, DataDir } from '../../engine/tools/index.ts';
import { wholeNumber } from './arguments.ts';
import { showBytes } from './bytes.ts';
import type { Context, Run } from './context.ts';
import { UsageError } from './errors.ts';
import { progress } from './progress.ts';

interface BackupFlags {
  readonly verify?: boolean;
  readonly keep?: number;
}

export function registerBackup(program: Command, run: Run): void {
  program
    .command('backup')
    .summary("copy a node's data into a backup directory")
    .description('Makes one more set in the backup directory. The node may be running or stopped.')
    .argument('<data-dir>', "a node's data directory, or that of an embedded store")
    .argument('<backup-dir>', 'made when missing; keeps the sets of one cluster')
    .option('--verify', 'read everything once more when it is copied')
    .option('--keep <n>', 'remove the oldest sets until this many are left', wholeNumber(1))
    .addHelpText(
      'after',
      `
A set is all of the data at one moment. What an earlier set has already is not copied again; every set can be
restored as long as it is there. Each new table is checked while it is copied: damage stops the backup.

Examples:
  kvctl backup data/n1 /backup/prod
  kvctl backup data/n1 /backup/prod --keep 30 --verify
  kvctl inspect backup /backup/prod`,
    )
    .action((dataDir: string, backupDir: string, flags: BackupFlags) =>
      run((context) => backup(context, dataDir, backupDir, flags)),
    );
}

async function backup(context: Context, dataDir: string, given: string, flags: BackupFlags): Promise<number> {
  const tools = await import('../../engine/tools/index.ts');
  const { nodeDisk: disk } = tools;
  const from = tools.findDataDir(disk, dataDir);
  const backupDir = resolve(given);
  refuseInside(from, backupDir);
  const startedMs = performance.now();
  const ours = await tools.lockDir(backupDir);
  try {
    const stopped = await tools.lockIfStopped(from.dir);
    const bar = progress(context, 'backing up');
    try {
      const owner = tools.ownerOf(from);
      const report = await tools.makeBackup({
        disk,
        from,
        backupDir,
        owner: owner === undefined ? null : { cluster: owner.cluster, node: owner.node, dirId: owner.dirId },
        isLive: stopped === undefined,
        now: () => new Date(),
        onProgress: bar.step,
        ...flags,
      });
      bar.stop();
      await tell(context, report, performance.now() - startedMs);
      return 0;
    } finally {
      bar.stop();
      await stopped?.release();
    }
  } finally {
    await ours.release();
  }
}

function refuseInside(from: DataDir, backupDir: string): void {
  if (`${backupDir}${sep}`.startsWith(`${from.dir}${sep}`)) {
    throw new UsageError('the backup directory lies inside the data directory: it would be lost with it');
  }
}

async function tell(context: Context, report: BackupReport, ms: number): Promise<void> {
  const { set, newFiles, newBytes, retries, removedSets } = report;
  const bytes = set.files.reduce((sum, file) => sum + file.bytes, 0);
  const seconds = Number((ms / 1_000).toFixed(3));
  if (context.json) {
    const { files, number, owner, ...facts } = set;
    await context.out.json({
      set: number,
      ...facts,
      cluster: owner?.cluster ?? null,
      node: owner?.node ?? null,
      files: files.length,
      bytes,
      newFiles,
      newBytes,
      retries,
      removedSets,
      seconds,
    });
    return;
  }
  const whose = set.owner === null ? 'a store' : `node ${set.owner.node} of cluster ${set.owner.cluster}`;
  const state = set.isLive ? 'running' : 'stopped';
  await context.out.line(`set ${set.number} of ${whose} (${state}): everything up to revision ${set.lastIndex}`);
  await context.out.line(
    `${set.files.length} files, ${showBytes(bytes)}; ${newFiles} of them new, ${showBytes(newBytes)}; ${seconds} s`,
  );
  if (removedSets.length > 0) await context.out.line(`removed: set ${removedSets.join(', ')}`);
}
