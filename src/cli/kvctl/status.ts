/**
 * status: every endpoint asked by itself, on a connection that stays with it, so that the table shows each node's
 * own view, and a node that does not answer is a row too.
 */
import Table from 'cli-table3';
import type { Command } from 'commander';
import type { NodeStatus } from '../../client/types.ts';
import { type Answered, askEach, type Unanswered, unreachable } from './ask-each.ts';
import type { Context, Run } from './context.ts';
import { showMs } from './duration.ts';

type Answer = Answered<NodeStatus> | Unanswered;

export function registerStatus(program: Command, run: Run): void {
  program
    .command('status')
    .summary('a table of the nodes')
    .description('Asks every endpoint for its own view. Exit code 1 when no node answers or none knows a leader.')
    .action(() => run(status));
}

async function status(context: Context): Promise<number> {
  const answers = await askEach(context, (client, call) => client.status(call));
  const leader = leaderOf(answers);
  if (context.json) {
    const nodes = answers.map((one) =>
      one.ok ? { endpoint: one.endpoint, reachable: true, ...one.value } : unreachable(one),
    );
    await context.out.json({ leader: leader?.leader ?? null, term: leader?.term ?? null, nodes });
  } else {
    await context.out.line(table(answers));
    if (answers.every((one) => !one.ok)) context.note('kvctl: no node answers; is the cluster up? see --endpoints');
    else if (leader === undefined) context.note('kvctl: no leader: writes wait until a quorum of nodes is up');
  }
  return leader === undefined ? 1 : 0;
}

/** The leader that the newest term knows of. */
function leaderOf(answers: readonly Answer[]): { readonly leader: string; readonly term: number } | undefined {
  let newest: { readonly leader: string; readonly term: number } | undefined;
  for (const answer of answers) {
    if (!answer.ok || answer.value.leader === null) continue;
    const { leader, term } = answer.value;
    if (newest === undefined || term > newest.term) newest = { leader, term };
  }
  return newest;
}

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
    const { node, term, committed, applied, lagMs, keys, repair } = answer.value;
    const role = repair === undefined ? answer.value.role : `in repair, ${repair}`;
    rows.push([node, role, term, committed, applied, lagMs === null ? '-' : showMs(lagMs), keys, answer.endpoint]);
  }
  return rows.toString();
}
