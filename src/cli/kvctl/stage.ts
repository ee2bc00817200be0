/**
 * stage: data that hosts are shown ring by ring: what is staged, what each ring is shown, and how it goes on or back.
 */
import type { Command } from 'commander';
import type { CallOptions, Stages, StageView, WriteResult } from '../../client/public.ts';
import type { Context, Run } from './context.ts';
import { write } from './writers.ts';

interface ScopeFlags {
  readonly family?: string[];
  readonly table?: string[];
  readonly prefix?: string[];
  readonly ring?: string[];
}

type Move = (stages: Stages, name: string, call: CallOptions) => Promise<WriteResult>;

/** Those that need no more than the stage. */
const MOVES: readonly (readonly [verb: string, description: string, move: Move])[] = [
  [
    'hold',
    'Rings that follow stay at what there is now; the first of several goes on.',
    (s, name, call) => s.hold(name, call),
  ],
  ['resume', 'What is halted may be released again.', (s, name, call) => s.resume(name, call)],
  ['bypass', 'For emergencies: everybody is shown what there is, now.', (s, name, call) => s.bypass(name, call)],
  ['drop', 'It is not staged any more: everybody is shown what there is.', (s, name, call) => s.drop(name, call)],
];

const several = (value: string, before: string[] = []): string[] => [...before, value];

export function registerStage(program: Command, run: Run): void {
  const stage = program
    .command('stage')
    .description('Data that hosts are shown ring by ring: list, create, release, …');
  stage.command('list').action(() => run(listStages));
  stage
    .command('create')
    .description('Everybody but the first ring stays at what there is now.')
    .argument('<name>')
    .option('--family <name>', 'may be given again', several)
    .option('--table <family/table>', 'may be given again', several)
    .option('--prefix <text>', 'keys that begin so; may be given again', several)
    .option('--ring <name>', 'hosts that are shown it before everybody, in this order; may be given again', several)
    .action((name: string, { family = [], table = [], prefix = [], ring = [] }: ScopeFlags) =>
      run((context) => {
        const spec = { families: family, tables: table, prefixes: prefix, rings: ring };
        return write(context, ({ stages }, call) => stages.create(name, spec, call));
      }),
    );
  stage
    .command('release')
    .description('A ring is shown what the ring before it is shown.')
    .argument('<name>')
    .argument('[ring]', 'default: everybody who is in no other', '*')
    .option('--follow', 'the ring is shown every change at once, from now on')
    .action((name: string, ring: string, { follow = false }: { readonly follow?: boolean }) =>
      run((context) =>
        write(context, ({ stages }, call) =>
          follow ? stages.follow(name, ring, call) : stages.release(name, ring, call),
        ),
      ),
    );
  stage
    .command('halt')
    .description('Nothing is released until it is resumed.')
    .argument('<name>')
    .requiredOption('--reason <text>', 'for those who meet it')
    .action((name: string, { reason }: { readonly reason: string }) =>
      run((context) => write(context, ({ stages }, call) => stages.halt(name, reason, call))),
    );
  stage
    .command('rollback')
    .description('All rings go back to what everybody is shown, or (if nobody is shown more) was shown before; halted.')
    .argument('<name>')
    .option('--unreleased', 'only to what everybody is shown')
    .action((name: string, { unreleased }: { readonly unreleased?: boolean }) =>
      run((context) =>
        write(context, ({ stages }, call) => stages.rollback(name, { ...call, onlyUnreleased: unreleased })),
      ),
    );
  for (const [verb, description, move] of MOVES) {
    stage
      .command(verb)
      .description(description)
      .argument('<name>')
      .action((name: string) => run((context) => write(context, ({ stages }, call) => move(stages, name, call))));
  }
}

async function listStages(context: Context): Promise<number> {
  const stages = await context.withClient((client) => client.control.stages.list(context.call));
  for (const stage of stages) {
    if (context.json) await context.out.json(stage);
    else await context.out.line(lineOf(stage));
  }
  return 0;
}

function lineOf({ name, rings, good, halted, families, tables, prefixes }: StageView): string {
  const shown = rings.map((ring) => `${ring.name}=${ring.shown ?? 'follows'}`).join(' ');
  const scope = [...families, ...tables, ...prefixes.map((prefix) => JSON.stringify(prefix))].join(' ');
  return [name, scope, shown, `good=${good}`, ...(halted === null ? [] : [`halted: ${halted}`])].join('\t');
}
