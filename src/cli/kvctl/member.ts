/**
 * member: who belongs to the cluster, shown and changed. Each change is one entry or two in the log of every node; the
 * command ends when it is committed, and prints the members as they are then.
 */
import Table from 'cli-table3';
import type { Command } from 'commander';
import type { CallOptions, Members, MembersView } from '../../client/types.ts';
import { isStoreError } from '../../core/base/errors.ts';
import { checkMemberRequest, type MemberRequest } from '../../core/wire/members.ts';
import type { Context, Run } from './context.ts';
import { UsageError } from './errors.ts';

interface Addresses {
  readonly mesh: string;
  readonly client: string;
  readonly http?: string;
}

type Call = (members: Members, call: CallOptions) => Promise<MembersView>;

export function registerMember(program: Command, run: Run): void {
  const member = program
    .command('member')
    .summary('who belongs to the cluster: list, add, promote, remove, replace, transfer')
    .description('Shows and changes who belongs to the cluster, while it serves.')
    .addHelpText(
      'after',
      `
To put n4 in the place of n1:
  1. start n4 with the config of the cluster, and join: true at n4
  2. kvctl member add n4 --mesh 10.0.0.4:7421 --client ws://10.0.0.4:7411 --http 10.0.0.4:7431
  3. kvctl member list            until n4 is not behind any more
  4. kvctl member replace n1 n4
  5. stop n1

Exit codes: 0 done; 1 refused, or nobody answered; 2 the command line is wrong.`,
    );
  member
    .command('list')
    .description('Everybody, as the leader knows them, and how far each is.')
    .action(() => run(list));
  member
    .command('add')
    .description('Adds a node as a learner: it gets everything and has no vote. Others must reach it at --mesh.')
    .argument('<id>')
    .requiredOption('--mesh <host:port>', 'where the other nodes connect (peer in its config)')
    .requiredOption('--client <url>', 'where clients connect, ws://host:port')
    .option('--http <host:port>', 'where its /readyz is')
    .action((id: string, flags: Addresses) => run((context) => add(context, id, flags)));
  member
    .command('promote')
    .description('Gives a learner that has caught up a vote.')
    .argument('<id>')
    .action((id: string) =>
      run((context) => change(context, { op: 'promote', id }, (members, call) => members.promote(id, call))),
    );
  member
    .command('remove')
    .description(
      'Takes a node out. A leader hands over first. Stop the node afterwards: it does not come back by itself.',
    )
    .argument('<id>')
    .action((id: string) =>
      run((context) => change(context, { op: 'remove', id }, (members, call) => members.remove(id, call))),
    );
  member
    .command('replace')
    .description('Gives the vote of one node to a learner, in one step: as many vote as before, at every moment.')
    .argument('<old>')
    .argument('<new>')
    .action((id: string, by: string) =>
      run((context) =>
        change(context, { op: 'replace', id, with: by }, (members, call) => members.replace(id, by, call)),
      ),
    );
  member
    .command('transfer')
    .description('Makes the leader hand over: to a voter by name, or to the one that has most of the log.')
    .argument('[id]')
    .action((to?: string) =>
      run((context) =>
        change(context, to === undefined ? { op: 'transfer' } : { op: 'transfer', to }, (members, call) =>
          members.transferLeader(to, call),
        ),
      ),
    );
}

async function list(context: Context): Promise<number> {
  const view = await context.withClient((client) => client.members.list(context.call));
  if (context.json) await context.out.json(view);
  else await context.out.line(table(view));
  return 0;
}

async function add(context: Context, id: string, flags: Addresses): Promise<number> {
  // As they stand in a config, too.
  const mesh = flags.mesh.replace(/^ws:\/\//, '').replace(/\/$/, '');
  const http = (flags.http ?? '').replace(/^http:\/\//, '').replace(/\/$/, '');
  const member = { id, mesh, client: flags.client, http };
  const code = await change(context, { op: 'add', member }, (members, call) => members.add(member, call));
  if (!context.json)
    context.note(`${id} has no vote yet: kvctl member promote ${id}, when kvctl member list shows it is not behind`);
  return code;
}

async function change(context: Context, request: MemberRequest, make: Call): Promise<number> {
  check(request);
  const view = await context.withClient((client) => make(client.members, context.call));
  if (context.json) await context.out.json(view);
  else await context.out.line(summary(view));
  return 0;
}

/** What is wrong with the words is told before anybody is asked, and with the exit code for that. */
function check(request: MemberRequest): void {
  try {
    checkMemberRequest(request);
  } catch (error) {
    throw isStoreError(error, 'BAD_REQUEST') ? new UsageError(error.message) : error;
  }
}

function summary({ voters, learners, outgoing, leader, index }: MembersView): string {
  const parts = [`leader ${leader === '' ? 'none' : leader}`, `voters ${names(voters)}`];
  if (outgoing.length > 0) parts.push(`before ${names(outgoing)}`);
  if (learners.length > 0) parts.push(`learners ${names(learners)}`);
  return `${parts.join('; ')} (entry ${index})`;
}

const names = (ids: readonly string[]): string => ids.join(',');

function table(view: MembersView): string {
  const head = ['node', 'role', 'log', 'behind', 'match', 'mesh', 'client', 'http'];
  const right = 'right' as const;
  const rows = new Table({
    head,
    colAligns: ['left', 'left', 'left', right, right, 'left', 'left', 'left'],
    style: { head: [], border: [], compact: true },
  });
  const newest = Math.max(0, ...Object.values(view.progress).map(({ match }) => match));
  for (const { id, mesh, client, http } of view.members) {
    const progress = view.progress[id];
    const log = progress === undefined ? '-' : progress.isActive ? progress.state : 'silent';
    const behind = progress === undefined ? '-' : newest - progress.match;
    rows.push([id, roleOf(view, id), log, behind, progress?.match ?? '-', mesh, client, http]);
  }
  return rows.toString();
}

/** While a change is under way: who votes before and after it, who only after, who only before. */
function roleOf({ leader, voters, outgoing, learners, returning = [] }: MembersView, id: string): string {
  const role = id === leader ? 'leader' : 'voter';
  if (returning.includes(id)) return 'learner, will vote';
  if (learners.includes(id)) return 'learner';
  if (!voters.includes(id)) return `${role}, leaving`;
  return outgoing.length > 0 && !outgoing.includes(id) ? `${role}, coming` : role;
}
