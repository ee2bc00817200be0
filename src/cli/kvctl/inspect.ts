/**
 * inspect: what is in the files of a data directory, offline and read-only: the log, a table, the manifest, a backup.
 * It takes no lock and may be used beside a running node.
 */
import { statSync } from 'node:fs';
import { basename, resolve } from 'node:path';
import type { Command } from 'commander';
import { wholeNumber } from './arguments.ts';
import type { Run } from './context.ts';
import { inspectBackup } from './inspect-backup.ts';
import { inspectManifest } from './inspect-manifest.ts';
import { inspectSst, type SstFlags } from './inspect-sst.ts';
import { inspectWal, type WalFlags } from './inspect-wal.ts';
import { UsageError } from './errors.ts';

export function registerInspect(program: Command, run: Run): void {
  const inspect = program
    .command('inspect')
    .description("What is in a node's files. Reads only, takes no lock, and may be used beside a running node.");
  inspect
    .command('wal')
    .summary('the records of a log, and how it ends')
    .description('A line a record; then how the log ends. Exit code 1 when it is damaged.')
    .argument('<dir|file>', "a data directory, its wal directory, or one segment's file")
    .option('--from <lsn>', 'the first record to show', wholeNumber(1), 1)
    .option('--limit <n>', 'at most this many records', wholeNumber(1))
    .addHelpText(
      'after',
      `
Examples:
  kvctl inspect wal data/n1 --limit 20
  kvctl inspect wal data/n1/wal/000004.wal --from 91200 --json`,
    )
    .action((path: string, flags: WalFlags) => run((context) => inspectWal(context, existing(path), flags)));
  inspect
    .command('sst')
    .summary('a table: its parts and what it says of itself')
    .description('Reads all of a table. Exit code 1 when it is damaged.')
    .argument('<file>')
    .option('--keys', 'a line for each entry as well')
    .option('--limit <n>', 'at most this many entries', wholeNumber(1))
    .option(
      '--node-keys',
      "keys begin with their keyspace, as in a node's tree; known by itself inside a data directory",
    )
    .addHelpText(
      'after',
      `
Examples:
  kvctl inspect sst data/n1/tree/000012.ldb
  kvctl inspect sst data/n1/tree/000012.ldb --keys --limit 50`,
    )
    .action((path: string, flags: SstFlags) => run((context) => inspectSst(context, existing(path), flags)));
  inspect
    .command('manifest')
    .summary('which tables there are, by level')
    .description('The state that the manifest gives: levels, tables with their ranges and sizes, the flushed revision.')
    .argument('<dir>', 'a data directory, or its tree directory')
    .option('--edits', 'each edit, in the order they were made, before the state')
    .action((path: string, flags: { edits?: boolean }) =>
      run((context) => inspectManifest(context, existing(path), flags.edits === true)),
    );
  inspect
    .command('backup')
    .summary('the sets of a backup directory')
    .description('A line a set. With --verify every byte of each is read; exit code 1 when one is damaged.')
    .argument('<backup-dir>')
    .option('--verify', 'read everything')
    .action((path: string, flags: { verify?: boolean }) =>
      run((context) => inspectBackup(context, existing(path), flags.verify === true)),
    );
}

function existing(path: string): { readonly path: string; readonly name: string; readonly isDir: boolean } {
  const found = statSync(path, { throwIfNoEntry: false });
  if (found === undefined) throw new UsageError(`there is no ${path}`);
  return { path: resolve(path), name: basename(path), isDir: found.isDirectory() };
}
