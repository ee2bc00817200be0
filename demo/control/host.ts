/**
 * Host: one that keeps a replica, and what its programs read of it.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { isStoreError } from 'ctlmesh/client';
import { type LdbReader, openLdb } from 'ctlmesh/ldb';
import { keyOf, type Row, type Table } from './source.ts';

const READS = 100_000;
const WAIT_MS_MAX = 20_000;

/** One replica, and what was measured there. */
export interface Host {
  readonly name: string;
  /** All of what it asked for; undefined: everything. */
  readonly family: string | undefined;
  readonly ldb: LdbReader;
  /** From an answer until the row was here. */
  readonly lagsMs: number[];
  /** Compared with the source, and equal. */
  rows: number;
  readMicros: number;
}

/** Waits until somebody has made the replica. */
export async function openHost(name: string, family: string | undefined, dir: string): Promise<Host> {
  let ldb: LdbReader | undefined;
  await until(`the replica in ${dir} is there`, () => {
    try {
      ldb = openLdb(dir);
      return true;
    } catch (error) {
      if (isStoreError(error, 'LDB_MISSING')) return false;
      throw error;
    }
  });
  return { name, family, ldb: ldb as LdbReader, lagsMs: [], rows: 0, readMicros: 0 };
}

export const isFor = ({ family }: Host, table: Table): boolean => family === undefined || family === table.family;

/** What a replica did not ask for never came to it. */
export function checkAbsent({ name: host, ldb }: Host, { family, name }: Table): void {
  try {
    ldb.getRowsByKeyPrefix(family, name, []);
  } catch (error) {
    if (isStoreError(error, 'NOT_FOUND')) return;
    throw error;
  }
  throw new Error(`${host} has ${family}.${name}, for which it did not ask`);
}

/** Each row by its key, and no other. */
export function compareTable(host: Host, { family, name, rows, key }: Table): void {
  const { ldb } = host;
  for (const row of rows) {
    const found = ldb.getRowByKey(family, name, keyOf(row, key));
    if (found === undefined || !isDeepStrictEqual({ ...found }, sorted(row, found))) {
      throw new Error(`${host.name} has ${JSON.stringify(found)} for ${JSON.stringify(row)}`);
    }
    host.rows++;
  }
  const all = [...ldb.getRowsByKeyPrefix(family, name, [])].length;
  if (all !== rows.length) throw new Error(`${host.name} has ${all} rows in ${family}.${name}, not ${rows.length}`);
}

export function timeReads(host: Host, { family, name, rows, key }: Table): void {
  const keys = rows.map((row) => keyOf(row, key));
  const read = (count: number): number => {
    const startedMs = performance.now();
    for (let i = 0; i < count; i++) {
      const row = host.ldb.getRowByKey(family, name, keys[i % keys.length] ?? []);
      if (row === undefined) throw new Error(`a row is gone from ${host.name}`);
    }
    return ((performance.now() - startedMs) * 1000) / count;
  };
  read(READS / 10);
  host.readMicros = Number(read(READS).toFixed(2));
}

/** The same row with its fields in the order of another one. */
export const sorted = (row: Row | undefined, like: object): object =>
  Object.fromEntries(Object.keys(like).map((name) => [name, row?.[name]]));

export async function until(what: string, look: () => boolean | Promise<boolean>): Promise<void> {
  const untilMs = performance.now() + WAIT_MS_MAX;
  while (!(await look())) {
    if (performance.now() > untilMs) throw new Error(`waited ${WAIT_MS_MAX / 1000} s until ${what}`);
    await sleep(5);
  }
}

/** Looks as often as the event loop goes round: no timer is in the figure. */
export async function reached(ldb: LdbReader, revision: number): Promise<void> {
  const untilMs = performance.now() + WAIT_MS_MAX;
  for (;;) {
    ldb.refresh();
    if (ldb.revision >= revision) return;
    if (performance.now() > untilMs) throw new Error(`a replica stands at ${ldb.revision}; ${revision} was waited for`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}
