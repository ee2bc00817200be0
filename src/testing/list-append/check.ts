/**
 * Is a list-append history serializable? After Elle (Kingsbury and Alvaro, "Elle: Inferring Isolation Anomalies from
 * Experimental Observations", 2020): not by searching for an order, but by looking for what no order has. It takes
 * time in proportion to the history, where the search of checkLinearizable may need more than there is.
 *
 * What is found is real: each anomaly follows from what was read and acknowledged. What is not found may be there all
 * the same, where nobody read; so a history without reads is `unknown`.
 */
import type { History, Operation } from '../history/types.ts';
import { type Anomaly, type AnomalyKind, anomaly, type Isolation } from './anomaly.ts';
import { findCycle } from './cycles.ts';
import { directAnomalies } from './direct.ts';
import { explain } from './explain.ts';
import { type Graph, graphOf, PROCESS, REALTIME, RW, VIA, WR, WW } from './graph.ts';
import { transactionsOf } from './transactions.ts';
import { versionsOf } from './versions.ts';

export interface ListAppendOptions {
  /** Default strict-serializable: an order that keeps real time. */
  readonly isolation?: Isolation;
}

export interface ListAppendResult {
  readonly verdict: 'ok' | 'violation' | 'unknown';
  readonly checkedOps: number;
  readonly keys: number;
  readonly reason?: string;
  /** Cycles first; of each kind of cycle a shortest. */
  readonly anomalies: readonly Anomaly[];
}

const ORDERS: Readonly<
  Record<Isolation, readonly (readonly [suffix: '' | '-process' | '-realtime', order: number])[]>
> = {
  serializable: [['', 0]],
  'session-serializable': [
    ['', 0],
    ['-process', PROCESS],
  ],
  'strict-serializable': [
    ['', 0],
    ['-process', PROCESS],
    ['-realtime', REALTIME],
  ],
};

/** By name: the edge that the cycle must have, and those that it may have besides. */
const CYCLES = [
  ['G0', WW, WW],
  ['G1c', WR, WW | WR],
  ['G-single', RW, WW | WR],
  ['G2', RW, WW | WR | RW],
] as const;

/** @throws StoreError BAD_REQUEST when there are other operations than reads and appends, or a value is appended twice. */
export function checkListAppend(history: History, options: ListAppendOptions = {}): ListAppendResult {
  const isolation = options.isolation ?? 'strict-serializable';
  const transactions = transactionsOf(history);
  const versions = versionsOf(transactions);
  const graph = graphOf(transactions, versions);
  const anomalies = [
    ...cyclesOf(graph, isolation),
    ...versions.anomalies,
    ...directAnomalies(transactions, versions, isolation),
  ];
  const counts = { checkedOps: transactions.operations.length, keys: transactions.keys, anomalies };
  if (anomalies.length > 0) return { verdict: 'violation', ...counts };
  if (transactions.reads.size === 0) return { verdict: 'unknown', ...counts, reason: 'no transaction read anything' };
  return { verdict: 'ok', ...counts };
}

function cyclesOf(graph: Graph, isolation: Isolation): Anomaly[] {
  const found: Anomaly[] = [];
  let single = Number.POSITIVE_INFINITY;
  for (const [name, required, mask] of CYCLES) {
    for (const [level, [suffix, order]] of ORDERS[isolation].entries()) {
      // Where there is a cycle with one anti-dependency, one with several says nothing new.
      if (name === 'G2' && level >= single) break;
      const cycle = findCycle(graph, { mask: mask | order, required });
      if (cycle === undefined) continue;
      if (name === 'G-single') single = level;
      const operations = cycle.flatMap(({ from, kind }) => operationsOf(graph, from, kind));
      const kind: AnomalyKind = `${name}${suffix}`;
      found.push(anomaly(kind, explain(graph, cycle), operations));
      break;
    }
  }
  return found;
}

function operationsOf(graph: Graph, node: number, kind: number): readonly Operation[] {
  const operation = kind === VIA ? undefined : graph.operations[node];
  return operation === undefined ? [] : [operation];
}
