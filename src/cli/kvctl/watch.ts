/** watch: changes as they are committed, in order, until Ctrl-C. */
import type { Command } from 'commander';
import { toIndex } from '../../core/base/position.ts';
import { wholeNumber } from './arguments.ts';
import type { Context, Run } from './context.ts';
import { UsageError } from './errors.ts';
import { eventJson, visible } from './output.ts';

interface WatchFlags {
  readonly key?: string;
  readonly fromRevision?: number;
}

export function registerWatch(program: Command, run: Run): void {
  program
    .command('watch')
    .summary('follow changes')
    .description(
      'Prints each change as it is committed: revision, put or delete, key, tab, value. Without gaps, across\nreconnects and leader changes; ends with Ctrl-C.',
    )
    .argument('[prefix]', 'only keys that begin with this')
    .option('--key <key>', 'only this key')
    .option('--from-revision <n>', 'begin with this revision; default: the next one', wholeNumber(1))
    .action((prefix: string | undefined, flags: WatchFlags) => run((context) => watch(context, prefix, flags)));
}

async function watch(context: Context, prefix: string | undefined, flags: WatchFlags): Promise<number> {
  if (prefix !== undefined && flags.key !== undefined) throw new UsageError('a prefix and --key exclude each other');
  const { signal } = context.deps;
  const options = {
    signal,
    ...(prefix === undefined ? {} : { prefix }),
    ...(flags.key === undefined ? {} : { key: flags.key }),
    ...(flags.fromRevision === undefined ? {} : { fromRevision: toIndex(flags.fromRevision) }),
  };
  return context.withClient(async (client) => {
    try {
      for await (const event of client.watch(options)) {
        if (context.json) await context.out.json(eventJson(event));
        else {
          const value = event.kind === 'put' ? `\t${visible(event.value)}` : '';
          await context.out.line(`${event.revision} ${event.kind} ${visible(event.key)}${value}`);
        }
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    }
    return 0;
  });
}
