/** --visible and --within: a write that is waited for until replicas show it. */
import { type Command, InvalidArgumentError } from 'commander';
import type { Visible } from '../../client/fleet-types.ts';
import { parseDuration } from './duration.ts';
import { UsageError } from './errors.ts';

export interface VisibleFlags {
  readonly visible?: number;
  readonly within?: number;
}

export function visibleOptions(command: Command): Command {
  return command
    .option('--visible <share>', 'wait until this share of the replicas shows it: 0.99, or 1 for all', parseShare)
    .option('--within <duration>', 'how long to wait for that; default 1s', parseDuration);
}

/** As the SDK wants it; nothing when it was not asked for. */
export function visibleOf({ visible, within }: VisibleFlags): { readonly visible?: Visible } {
  if (visible === undefined) {
    if (within !== undefined) throw new UsageError('--within says how long to wait for --visible');
    return {};
  }
  return { visible: { replicas: visible, ...(within === undefined ? {} : { withinMs: within }) } };
}

function parseShare(value: string): number {
  const share = Number(value);
  if (share > 0 && share <= 1) return share;
  throw new InvalidArgumentError('a share is above 0 and at most 1');
}
