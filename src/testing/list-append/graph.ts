/**
 * The dependency graph: which transaction must come before which, and why.
 *
 *   ww        appended next to the same key
 *   wr        read what the other appended
 *   rw        read a list that did not have yet what the other appended (an anti-dependency)
 *   process   came earlier in the same process
 *   realtime  had ended before the other began
 *
 * Where each of many must come before each of many, there is a node in between that is no transaction, and one edge to
 * or from it for each: the moments of real time are a chain of those. Their outgoing edges are of kind VIA.
 *
 * An acknowledged append that was never read is after all that was: a list does not lose its elements. So it has edges
 * too, and a cycle through it is a lost or hidden write.
 */
import type { Operation } from '../history/types.ts';
import type { Append, Read, Transactions } from './transactions.ts';
import type { Versions } from './versions.ts';

export const VIA = 0;
export const WW = 1;
export const WR = 2;
export const RW = 4;
export const PROCESS = 8;
export const REALTIME = 16;

export interface Edge {
  readonly from: number;
  readonly to: number;
  readonly kind: number;
  /** What makes it, for who explains it. */
  readonly read?: Read;
  readonly append?: Append;
  readonly after?: Append;
}

export class Graph {
  /** A node for each, by its place; more nodes follow. */
  readonly operations: readonly Operation[];
  readonly out: Edge[][];
  readonly #nodes: ReadonlyMap<Operation, number>;

  constructor(operations: readonly Operation[]) {
    this.operations = operations;
    this.out = operations.map(() => []);
    this.#nodes = new Map(operations.map((operation, node) => [operation, node]));
  }

  node(operation: Operation): number | undefined {
    return this.#nodes.get(operation);
  }

  /** A node in between. */
  addNode(): number {
    return this.out.push([]) - 1;
  }

  add(edge: Edge): void {
    if (edge.from !== edge.to) this.out[edge.from]?.push(edge);
  }
}

export function graphOf(transactions: Transactions, versions: Versions): Graph {
  const graph = new Graph(transactions.operations);
  const readsOf = new Map<string, Read[]>();
  for (const read of versions.reads) {
    const ofKey = readsOf.get(read.key) ?? [];
    readsOf.set(read.key, ofKey);
    ofKey.push(read);
  }
  for (const [key, order] of versions.orders) {
    const appends = transactions.appends.get(key) ?? new Map<string, Append>();
    addKey(graph, order, appends, readsOf.get(key) ?? []);
  }
  addProcesses(graph);
  addRealTime(graph);
  return graph;
}

function addKey(
  graph: Graph,
  order: readonly string[],
  appends: ReadonlyMap<string, Append>,
  reads: readonly Read[],
): void {
  // Elements that nobody appended, or that failed, are anomalies of their own, and order nothing.
  const chain = order.map((element) => {
    const append = appends.get(element);
    return append !== undefined && graph.node(append.operation) !== undefined ? append : undefined;
  });
  const before = lastUpTo(chain);
  const after = lastUpTo([...chain].reverse()).reverse();
  for (const [at, append] of chain.entries()) {
    const previous = before[at - 1];
    if (append !== undefined && previous !== undefined) link(graph, WW, previous, append);
  }
  const ordered = new Set(order);
  const unread = [...appends.values()].filter(
    ({ element, operation }) => operation.outcome === 'ok' && !ordered.has(element),
  );
  const newest = before[order.length - 1];
  const ends: Edge[] = newest === undefined ? [] : [edgeFrom(graph, newest.operation, { kind: WW, after: newest })];
  for (const read of reads) {
    const reader = graph.node(read.operation);
    if (reader === undefined || read.before === undefined) continue;
    const seen = before[read.before.length - 1];
    const writer = seen === undefined ? undefined : graph.node(seen.operation);
    if (seen !== undefined && writer !== undefined)
      graph.add({ from: writer, to: reader, kind: WR, read, append: seen });
    const next = after[read.before.length];
    const overwriter = next === undefined ? undefined : graph.node(next.operation);
    if (next !== undefined && overwriter !== undefined) {
      graph.add({ from: reader, to: overwriter, kind: RW, read, append: next });
    } else {
      ends.push(edgeFrom(graph, read.operation, { kind: RW, read }));
    }
  }
  addUnread(graph, ends, unread);
}

/** From each of `ends` to each append that was not read, but not from a transaction to itself. */
function addUnread(graph: Graph, ends: readonly Edge[], unread: readonly Append[]): void {
  if (ends.length === 0 || unread.length === 0) return;
  // Each append has a node from which it and all before it are reached, and one from which it and all after it are.
  const backward = unread.map(() => graph.addNode());
  const forward = unread.map(() => graph.addNode());
  const places = new Map<number, number[]>();
  for (const [at, append] of unread.entries()) {
    const to = graph.node(append.operation) ?? -1;
    places.set(to, [...(places.get(to) ?? []), at]);
    for (const [nodes, next] of [
      [backward, at - 1],
      [forward, at + 1],
    ] as const) {
      const from = nodes[at] ?? -1;
      graph.add({ from, to, kind: VIA, append });
      const beyond = nodes[next];
      if (beyond !== undefined) graph.add({ from, to: beyond, kind: VIA });
    }
  }
  for (const end of ends) {
    const own = places.get(end.from) ?? [];
    const first = own[0] ?? unread.length;
    const last = own.at(-1) ?? unread.length;
    for (const to of [backward[first - 1], forward[last + 1]]) if (to !== undefined) graph.add({ ...end, to });
  }
}

function edgeFrom(graph: Graph, operation: Operation, edge: Omit<Edge, 'from' | 'to'>): Edge {
  return { from: graph.node(operation) ?? -1, to: -1, ...edge };
}

function link(graph: Graph, kind: number, previous: Append, append: Append): void {
  const from = graph.node(previous.operation);
  const to = graph.node(append.operation);
  if (from !== undefined && to !== undefined) graph.add({ from, to, kind, append, after: previous });
}

/** For each place the last that is there, at it or before. */
function lastUpTo(chain: readonly (Append | undefined)[]): (Append | undefined)[] {
  let last: Append | undefined;
  return chain.map((append) => {
    last = append ?? last;
    return last;
  });
}

function addProcesses(graph: Graph): void {
  const latest = new Map<number, number>();
  for (const [node, { process }] of graph.operations.entries()) {
    const from = latest.get(process);
    if (from !== undefined) graph.add({ from, to: node, kind: PROCESS });
    latest.set(process, node);
  }
}

function addRealTime(graph: Graph): void {
  const moments = graph.operations
    .flatMap(({ call, end }, node) => [
      { at: call.at, node, isEnd: false },
      ...(end === undefined ? [] : [{ at: end.at, node, isEnd: true }]),
    ])
    .sort((x, y) => x.at - y.at);
  let moment: number | undefined;
  for (const { node, isEnd } of moments) {
    if (!isEnd) {
      if (moment !== undefined) graph.add({ from: moment, to: node, kind: VIA });
      continue;
    }
    const next = graph.addNode();
    if (moment !== undefined) graph.add({ from: moment, to: next, kind: VIA });
    graph.add({ from: node, to: next, kind: REALTIME });
    moment = next;
  }
}
