/**
 * What tables of control data hold, as Prometheus series. There may be thousands of tables, so only those nearest to their
 * limits have series of their own; all of them are counted by how they stand to their limits, which is what to be woken by.
 */
import { Gauge, type Registry } from 'prom-client';
import { isStoreError } from '../core/base/errors.ts';
import type { TableSizeRow } from '../core/wire/control.ts';

export interface TableMetricsWorld {
  readonly tableSizes: { list(): readonly TableSizeRow[] };
}

/** Tables with series of their own. */
export const TABLES_SHOWN = 32;

/** How a table stands to its limit: below both, past what it warns at, past what it may have (nothing is added then). */
type Standing = 'ok' | 'warned' | 'full';
const STANDINGS: readonly Standing[] = ['ok', 'warned', 'full'];

const standingOf = ({ bytes, limit }: TableSizeRow): Standing => {
  if (limit === null || bytes <= limit.warnBytes) return 'ok';
  return bytes < limit.maxBytes ? 'warned' : 'full';
};

const shareOf = ({ bytes, limit }: TableSizeRow): number => (limit === null ? 0 : bytes / limit.maxBytes);

export function addTables(registry: Registry, { tableSizes }: TableMetricsWorld): void {
  const registers = [registry];
  const ofTable = (name: string, help: string): Gauge<'family' | 'table'> =>
    new Gauge({ name: `ctlmesh_control_${name}`, help, labelNames: ['family', 'table'], registers });
  const one = (name: string, help: string): Gauge => new Gauge({ name: `ctlmesh_control_${name}`, help, registers });
  // The first of them is asked first, and looks for all.
  const standings: Gauge<'state'> = new Gauge({
    name: 'ctlmesh_control_tables',
    help: 'Tables of control data: below their limits (ok), past what they warn at (warned), past what they may have (full).',
    labelNames: ['state'],
    registers,
    collect: () => show(known(tableSizes)),
  });
  const totalBytes = one('bytes', 'Bytes of live keys and values in all tables of control data.');
  const totalRows = one('rows', 'Rows in all tables of control data.');
  const bytes = ofTable(
    'table_bytes',
    `Bytes by which a table’s limit is judged; of the ${TABLES_SHOWN} nearest to it.`,
  );
  const rows = ofTable('table_rows', 'Rows of the same tables.');
  const limits = ofTable('table_limit_bytes', 'What those of them that have a limit may hold.');

  function show(tables: readonly TableSizeRow[]): void {
    for (const state of STANDINGS) {
      standings.set({ state }, tables.filter((table) => standingOf(table) === state).length);
    }
    totalBytes.set(sum(tables.map((table) => table.bytes)));
    totalRows.set(sum(tables.map((table) => table.rows)));
    for (const gauge of [bytes, rows, limits]) gauge.reset();
    const nearest = tables.toSorted((a, b) => shareOf(b) - shareOf(a) || b.bytes - a.bytes).slice(0, TABLES_SHOWN);
    for (const { family, table, limit, ...size } of nearest) {
      bytes.set({ family, table }, size.bytes);
      rows.set({ family, table }, size.rows);
      if (limit !== null) limits.set({ family, table }, limit.maxBytes);
    }
  }
}

/** A node that starts again, or whose files are damaged, has other series to tell that by. */
function known(tableSizes: TableMetricsWorld['tableSizes']): readonly TableSizeRow[] {
  try {
    return tableSizes.list();
  } catch (error) {
    if (!isStoreError(error)) throw error;
    return [];
  }
}

const sum = (numbers: readonly number[]): number => numbers.reduce((total, number) => total + number, 0);
