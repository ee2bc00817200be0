/**
 * status: every endpoint asked by itself, on a connection that stays with it, so that the table shows each node's
 * own view, and a node that does not answer is a row too.
 */
import Table from 'cli-table3';
import type { Command } from 'commander';
import type { NodeStatus } from '../../client/types.ts';
import { isStoreError } from '../../core/base/errors.ts';
import type { Context, Run } from './context.ts';
import { showMs } from './duration.ts';

/** Who has not answered by then is shown as unreachable, however long --deadline is. */
const ANSWER_MS = 3_000;

type Answer =
  | { readonly endpoint: string; readonly ok: true; readonly status: NodeStatus }
  | { readonly endpoint: string; readonly ok: false; readonly code: string; readonly reason: string };

export function registerStatus(program: Command, run: Run): void {
  program
    .command('status')
    .summary('a table of the nodes')
    .description('Asks every endpoint for its own view. Exit code 1 when no node answers or none knows a leader.')
    .action(() => run(status));
}

async function status(context: Context): Promise<number> {
  const answers = await Promise.all(context.endpoints.map((endpoint) => ask(context, endpoint)));
  const leader = leaderOf(answers);
  if (context.json) {
    const nodes = answers.map((one) =>
      one.ok ? { endpoint: one.endpoint, reachable: true, ...one.status } : unreachable(one),
    );
    await context.out.json({ leader: leader?.leader ?? null, term: leader?.term ?? null, nodes });
  } else {
    await context.out.line(table(answers));
    if (answers.every((one) => !one.ok)) context.note('kvctl: no node answers; is the cluster up? see --endpoints');
    else if (leader === undefined) context.note('kvctl: no leader: writes wait until a quorum of nodes is up');
  }
  return leader === undefined ? 1 : 0;
}

async function ask(context: Context, endpoint: string): Promise<Answer> {
  const deadlineMs = Math.min(ANSWER_MS, context.deadlineMs);
  const options = { pinned: true, connectDeadlineMs: deadlineMs, deadlineMs };
  try {
    const call = { deadlineMs, signal: context.deps.signal };
    return {
      endpoint,
      ok: true,
      status: await context.withClient((client) => client.status(call), options, [endpoint]),
    };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return { endpoint, ok: false, code: isStoreError(error) ? error.code : 'INTERNAL', reason };
  }
}

/** The leader that the newest term knows of. */
function leaderOf(answers: readonly Answer[]): { readonly leader: string; readonly term: number } | undefined {
  let newest: { readonly leader: string; readonly term: number } | undefined;
  for (const answer of answers) {
    if (!answer.ok || answer.status.leader === null) continue;
    const { leader, term } = answer.status;
    if (newest === undefined || term > newest.term) newest = { leader, term };
  }
  return newest;
}

const unreachable = (answer: Answer & { readonly ok: false }): Record<string, unknown> => ({
  endpoint: answer.endpoint,
  reachable: false,
  code: answer.code,
  reason: answer.reason,
});

function table(answers: readonly Answer[]): string {
  const head = ['node', 'role', 'term', 'committed', 'applied', 'lag', 'keys', 'endpoint'];
  const right = 'right' as const;
  const rows = new Table({
    head,
    colAligns: ['left', 'left', right, right, right, right, right, 'left'],
    style: { head: [], border: [], compact: true },
  });
  for (const answer of answers) {
    if (!answer.ok) {
      rows.push(['?', `unreachable (${answer.code})`, '', '', '', '', '', answer.endpoint]);
      continue;
    }
    const { node, term, committed, applied, lagMs, keys, repair } = answer.status;
    const role = repair === undefined ? answer.status.role : `in repair, ${repair}`;
    rows.push([node, role, term, committed, applied, lagMs === null ? '-' : showMs(lagMs), keys, answer.endpoint]);
  }
  return rows.toString();
}
