/**
 * The replicas that a node feeds, as Prometheus series: how many, and how far behind. No series for each: a fleet of
 * thousands would be thousands of series; `kvctl ldb list` names them.
 */
import { Gauge, type Registry } from 'prom-client';
import type { FleetTable } from '../actors/fleet-table.ts';
import type { LdbRow, LdbState } from '../core/wire/fleet.ts';

export interface FleetMetricsWorld {
  readonly fleet: Pick<FleetTable, 'rows' | 'left'>;
  readonly applied: () => number;
  /** Log time of what is applied. */
  readonly timeMs: () => number;
}

const STATES: readonly LdbState[] = ['following', 'snapshot', 'gone'];
const QUANTILES: readonly number[] = [0.5, 0.9, 0.99, 1];

export function addFleet(registry: Registry, { fleet, applied, timeMs }: FleetMetricsWorld): void {
  const count: Gauge<'state'> = new Gauge({
    name: 'ctlmesh_fleet_ldbs',
    help: 'Local replicas that this node feeds, itself or through relays; gone: that left less than 30 s ago.',
    labelNames: ['state'],
    registers: [registry],
    collect: () => {
      const rows = fleet.rows();
      for (const state of STATES) count.set({ state }, rows.filter((row) => row.state === state).length);
      count.inc({ state: 'following' }, fleet.left);
    },
  });
  const quantiles = (name: string, help: string, lag: (row: LdbRow) => number): void => {
    const gauge: Gauge<'quantile'> = new Gauge({
      name: `ctlmesh_fleet_${name}`,
      help,
      labelNames: ['quantile'],
      registers: [registry],
      collect: () => {
        const lags = fleet
          .rows()
          .filter(({ state }) => state !== 'gone')
          .map(lag)
          .toSorted((a, b) => a - b);
        for (const quantile of QUANTILES) gauge.set({ quantile: String(quantile) }, quantileOf(lags, quantile));
      },
    });
  };
  const behind = ({ revision }: LdbRow): number => Math.max(0, applied() - revision);
  quantiles('lag_revisions', 'Revisions that replicas lack of what this node has, as of their last reports.', behind);
  quantiles('lag_seconds', 'Log time that replicas lack of what this node has, as of their last reports.', (row) =>
    // One that has never shown anything lacks all there is, and not half a century.
    behind(row) === 0 || row.timeMs === 0 ? 0 : Math.max(0, timeMs() - row.timeMs) / 1000,
  );
}

/** The value that so large a part of all is not above; 0 of none. */
function quantileOf(sorted: readonly number[], quantile: number): number {
  return sorted[Math.max(0, Math.ceil(sorted.length * quantile) - 1)] ?? 0;
}
