/** scrub: every checksum of a data directory, read again; beside a running node too. */
import type { Command } from 'commander';
import type { Damage } from '../../engine/tools/index.ts';
import { parseBytes, showBytes } from './bytes.ts';
import type { Context, Run } from './context.ts';
import { progress } from './progress.ts';

interface ScrubFlags {
  readonly rate?: number;
}

export function registerScrub(program: Command, run: Run): void {
  program
    .command('scrub')
    .summary('look for damage in the files of a node')
    .description('Reads tables, manifest and log, and reports damage by file and offset. Exit code 1 if there is any.')
    .argument('<data-dir>', "a node's data directory, or that of an embedded store; it may be in use")
    .option('--rate <amount>', 'read at most this much a second, like 20MiB', parseBytes)
    .addHelpText(
      'after',
      `
It only reads. What a running node removes meanwhile is passed over.

Examples:
  kvctl scrub data/n1
  kvctl scrub data/n1 --rate 20MiB --json`,
    )
    .action((dataDir: string, flags: ScrubFlags) => run((context) => runScrub(context, dataDir, flags)));
}

async function runScrub(context: Context, dataDir: string, flags: ScrubFlags): Promise<number> {
  const { findDataDir, nodeDisk: disk, scrub } = await import('../../engine/tools/index.ts');
  const bar = progress(context, 'scrubbing');
  const onDamage = async ({ code, file, offset, message }: Damage): Promise<void> => {
    if (context.json) await context.out.json({ damage: code, file, offset, message });
    else await context.out.line(`${file}\toffset ${offset}\t${message}`);
  };
  try {
    const report = await scrub({
      disk,
      dir: findDataDir(disk, dataDir),
      bytesPerSecond: flags.rate ?? 0,
      onDamage,
      onProgress: bar.step,
    });
    bar.stop();
    const { damages, tables, tableBytes, entries, walRecords, walBytes, passedOver } = report;
    if (context.json) {
      await context.out.json({
        damages: damages.length,
        tables,
        tableBytes,
        entries,
        walRecords,
        walBytes,
        passedOver,
      });
    } else {
      const what =
        damages.length === 0
          ? 'no damage'
          : `damage in ${damages.length === 1 ? 'one place' : `${damages.length} places`}`;
      const removed = passedOver === 0 ? '' : `; ${passedOver} tables were removed meanwhile`;
      await context.out.line(
        `${what}: ${tables} whole tables (${entries} entries, ${showBytes(tableBytes)}), ` +
          `${walRecords} log records (${showBytes(walBytes)})${removed}`,
      );
    }
    return damages.length === 0 ? 0 : 1;
  } finally {
    bar.stop();
  }
}
