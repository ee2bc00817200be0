/**
 * The line of those who wait for an ask, as it goes with the ask to another node, and comes back: so that whoever is in it
 * knows itself again (core/asker.ts). Numbers of actors are of one life of a node's actors, so each is told with that.
 */
import { z } from 'zod';
import { type Asker, asker, ASKERS_MAX } from '../core/asker.ts';

export interface FarAsker {
  readonly boot: string;
  readonly id: number;
  /** With its node before it. */
  readonly path: string;
  readonly turn: number;
}

export const farAskers: z.ZodType<readonly FarAsker[]> = z
  .array(z.strictObject({ boot: z.string().max(64), id: z.int(), path: z.string().max(2048), turn: z.int() }))
  .max(ASKERS_MAX);

/** Whose actors these are. */
export interface Whose {
  readonly node: string;
  readonly boot: string;
}

/** The newest first. */
export function askersOut(line: Asker, { node, boot }: Whose): FarAsker[] {
  const askers: FarAsker[] = [];
  for (let at: Asker | undefined = line; at !== undefined; at = at.earlier) {
    const { id, path, turn } = at;
    askers.push(at.boot === '' ? { boot, id, path: `${node}:${path}`, turn } : { boot: at.boot, id, path, turn });
  }
  return askers;
}

export function askersIn(askers: readonly FarAsker[], { node, boot }: Whose): Asker | undefined {
  let line: Asker | undefined;
  for (const { id, path, turn, ...of } of askers.toReversed()) {
    const isOwn = of.boot === boot;
    line = asker({ boot: isOwn ? '' : of.boot, id, path: isOwn ? path.slice(node.length + 1) : path, turn }, line);
  }
  return line;
}
