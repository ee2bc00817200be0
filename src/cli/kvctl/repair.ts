/** repair: a store that does not open any more, made one that does, with a word on what it is worth then. */
import type { Command } from 'commander';
import type { DataDir, RepairPlan } from '../../engine/tools/index.ts';
import { type Context, type Run } from './context.ts';
import { UsageError } from './errors.ts';

interface RepairFlags {
  readonly dryRun?: boolean;
  readonly yes?: boolean;
  readonly salvage?: boolean;
}

export function registerRepair(program: Command, run: Run): void {
  program
    .command('repair')
    .summary('rebuild a damaged manifest, save what can be read of damaged tables')
    .description('Makes a store open again that TABLE_CORRUPT keeps from it. The node must be stopped.')
    .argument('<data-dir>', "a node's data directory, or that of an embedded store")
    .option('--dry-run', 'only say what would be done; writes nothing')
    .option('--yes', 'do not ask')
    .option('--salvage', 'also when a node would not be fit to run with what is left: to look at it, not to start it')
    .addHelpText(
      'after',
      `
Nothing is thrown away: what does not go on is moved to lost/ beside the tables. The log is not touched.

A node that lacks something gives wrong answers, so when anything is lost a node is not repaired: wipe it and replace it
(kvctl restore --help, --replace-member). Exit code 1 then, and whenever something was lost.

Examples:
  kvctl repair data/n1 --dry-run
  kvctl repair data/store --yes`,
    )
    .action((dataDir: string, flags: RepairFlags) => run((context) => runRepair(context, dataDir, flags)));
}

async function runRepair(context: Context, dataDir: string, flags: RepairFlags): Promise<number> {
  const tools = await import('../../engine/tools/index.ts');
  const { nodeDisk: disk } = tools;
  const dir = tools.findDataDir(disk, dataDir);
  const lock = await tools.lockDir(dir.dir);
  try {
    const plan = tools.planRepair(disk, dir);
    const isWhole = plan.verdict === 'proven' && plan.report.damaged.length === 0 && plan.noted === undefined;
    const isUnfit = dir.kind === 'node' && plan.verdict === 'lost';
    const isRefused = isUnfit && flags.salvage !== true;
    const isAsked = !isWhole && !isRefused && flags.dryRun !== true;
    if (!context.json) await tell(context, { dir, plan, isWhole, isUnfit });
    const isDone = isAsked && (await isAgreed(context, dir, flags));
    if (isDone) tools.repair(disk, dir, plan);
    if (context.json) {
      const { report, verdict, reasons, log, noted } = plan;
      await context.out.json({
        dir: dir.dir,
        kind: dir.kind,
        verdict,
        reasons,
        log: log ?? null,
        noted: noted ?? null,
        ...report,
        done: isDone,
      });
    } else if (isDone) {
      await context.out.line(`repaired: ${dir.dir}`);
    } else if (!isWhole) {
      await context.out.line('nothing was changed');
    }
    return plan.verdict === 'lost' || (isAsked && !isDone) ? 1 : 0;
  } finally {
    await lock.release();
  }
}

async function tell(
  context: Context,
  {
    dir,
    plan,
    isWhole,
    isUnfit,
  }: { readonly dir: DataDir; readonly plan: RepairPlan; readonly isWhole: boolean; readonly isUnfit: boolean },
): Promise<void> {
  const { report, verdict, reasons, log, noted } = plan;
  const { out } = context;
  if (isWhole) {
    await out.line(`nothing to repair: the manifest can be read, and its ${report.tables.length} tables are whole`);
    if (log !== undefined) await out.line(`the log is not: ${log}`);
    return;
  }
  await out.line(`kept     ${report.tables.length} tables, up to revision ${report.lastSequence}`);
  for (const { name, kept, dropped, salvagedTo, reason } of report.damaged) {
    const what =
      salvagedTo === undefined
        ? 'nothing of it can be read'
        : `${kept} entries kept in ${salvagedTo}, ${dropped} blocks dropped`;
    await out.line(`damaged  ${name}: ${what} (${reason})`);
  }
  for (const number of report.missing) await out.line(`missing  table ${number}`);
  for (const number of report.takenBack) await out.line(`taken back  table ${number}: deleted keys may be there again`);
  if (noted !== undefined) {
    await out.line(`${verdict === 'lost' ? 'stays   ' : 'forgets '} what the node noted: ${noted}`);
  }
  for (const name of report.lost) await out.line(`to lost/ ${name}`);
  for (const reason of reasons) await out.line(`note     ${reason}`);
  if (log !== undefined && !reasons.includes(log)) await out.line(`note     the log: ${log}`);
  if (isUnfit) {
    await out.line('This node must be wiped and filled from its peers: it would give wrong answers with what is left.');
    await out.line('See kvctl restore --help, --replace-member.');
  } else if (dir.kind === 'node' && verdict === 'plausible') {
    await out.line(
      'If its peers are well, replacing the node is the surer way: see kvctl restore --help, --replace-member.',
    );
  }
}

async function isAgreed(context: Context, dir: DataDir, flags: RepairFlags): Promise<boolean> {
  if (flags.yes === true) return true;
  if (context.deps.stdin.isTTY !== true) throw new UsageError('nobody can be asked here: say --yes, or --dry-run');
  context.deps.stderr.write(`Repair ${dir.tree}? [yes/no] `);
  let answer = '';
  for await (const part of context.stdin()) {
    answer += Buffer.from(part).toString();
    if (answer.includes('\n')) break;
  }
  return answer.trim().toLowerCase() === 'yes';
}
