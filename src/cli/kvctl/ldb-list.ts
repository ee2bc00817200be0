/**
 * ldb list: the replicas that follow the cluster, as its nodes know them: who, where, how far behind.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import Table from 'cli-table3';
import type { FleetView, LdbRow } from '../../client/fleet-types.ts';
import type { Context } from './context.ts';
import { showMs } from './duration.ts';

const WATCH_EVERY_MS = 1_000;

/** Exit code 1 when a node that may know of others was not heard. */
export async function listLdbs(context: Context, { watch }: { readonly watch: boolean }): Promise<number> {
  const { signal } = context.deps;
  return await context.withClient(async (client) => {
    for (;;) {
      const view = await client.fleet.list(context.call);
      await print(context, view);
      if (!watch) return view.unheard.length === 0 ? 0 : 1;
      await sleep(WATCH_EVERY_MS, undefined, { signal }).catch(() => {});
      if (signal.aborted) return 0;
    }
  });
}

async function print(context: Context, view: FleetView): Promise<void> {
  const rows = view.ldbs
    .map((row) => ({ ...row, ...lagOf(row, view) }))
    .toSorted((a, b) => b.lagRevisions - a.lagRevisions || (a.id < b.id ? -1 : 1));
  if (context.json) {
    for (const row of rows) await context.out.json(row);
  } else await context.out.line(table(rows));
  if (view.left > 0) context.note(`kvctl: and ${view.left} more, for which there was no room`);
  if (view.unheard.length > 0)
    context.note(`kvctl: not heard, and what they feed is not here: ${view.unheard.join(', ')}`);
}

interface Lag {
  readonly lagRevisions: number;
  readonly lagMs: number;
}

/** How much it lacks of what the node that answered has; 0 for one that was faster than that node. */
function lagOf({ revision, timeMs }: LdbRow, node: FleetView): Lag {
  const lagRevisions = Math.max(0, node.revision - revision);
  return { lagRevisions, lagMs: lagRevisions === 0 ? 0 : Math.max(0, Math.round(node.timeMs - timeMs)) };
}

function table(rows: readonly (LdbRow & Lag)[]): string {
  const right = 'right' as const;
  const shown = new Table({
    head: ['ldb', 'host', 'via', 'revision', 'behind', 'lag', 'state', 'holds', 'labels', 'version'],
    colAligns: ['left', 'left', 'left', right, right, right, 'left', 'left', 'left', 'left'],
    style: { head: [], border: [], compact: true },
  });
  for (const row of rows) {
    const { id, host, via, revision, lagRevisions, lagMs, filter, version } = row;
    const state = row.state === 'gone' ? `gone for ${showMs(row.silentMs)}` : row.state;
    // One that has never shown anything has no age.
    const lag = revision === 0 ? '-' : showMs(lagMs);
    const labels = Object.entries(row.labels).map(([name, value]) => `${name}=${value}`);
    shown.push([id, host, via, revision, lagRevisions, lag, state, filter ?? 'everything', labels.join(' '), version]);
  }
  return shown.toString();
}
