/**
 * Cycles: a transaction that must come before itself. Components first (Tarjan), for where there is none most
 * histories end; then, within one, the shortest way back from each edge of the kind that is looked for.
 */
import { must } from '../../core/base/assert.ts';
import { type Edge, type Graph, VIA } from './graph.ts';

/** Edges from which a way back is looked for; more cycles of one kind say no more. */
const STARTS_MAX = 256;

export interface Wanted {
  /** Kinds of edges that the cycle may have. */
  readonly mask: number;
  /** A kind that it must have; the way back has it not, if it is not in `mask`. */
  readonly required: number;
}

/** The shortest cycle that was found: edges one after the other, ending where it began. */
export function findCycle(graph: Graph, { mask, required }: Wanted): Edge[] | undefined {
  const component = componentsOf(graph, mask | required);
  let best: Edge[] | undefined;
  let starts = 0;
  for (const edges of graph.out) {
    for (const edge of edges) {
      if (edge.kind !== required || component[edge.from] !== component[edge.to]) continue;
      if (starts++ >= STARTS_MAX) return best;
      const back = shortestWay(graph, edge.to, edge.from, mask, component);
      if (back !== undefined && (best === undefined || lengthOf(back) + 1 < lengthOf(best))) best = [edge, ...back];
      if (best !== undefined && lengthOf(best) <= 2) return best;
    }
  }
  return best;
}

const isAllowed = (edge: Edge, mask: number): boolean => edge.kind === VIA || (edge.kind & mask) !== 0;

/** Nodes in between do not count. */
const lengthOf = (edges: readonly Edge[]): number => edges.filter(({ kind }) => kind !== VIA).length;

/** Breadth first; edges out of nodes in between are free, so those are followed at once. */
function shortestWay(graph: Graph, from: number, to: number, mask: number, component: Int32Array): Edge[] | undefined {
  const cameBy = new Map<number, Edge | undefined>();
  let layer: { readonly node: number; readonly by: Edge | undefined }[] = [{ node: from, by: undefined }];
  while (layer.length > 0) {
    const next: typeof layer = [];
    for (let step = layer.pop(); step !== undefined; step = layer.pop()) {
      const { node, by } = step;
      if (cameBy.has(node)) continue;
      cameBy.set(node, by);
      if (node === to) return wayTo(to, cameBy);
      for (const edge of graph.out[node] ?? []) {
        if (!isAllowed(edge, mask) || component[edge.to] !== component[from]) continue;
        (edge.kind === VIA ? layer : next).push({ node: edge.to, by: edge });
      }
    }
    layer = next;
  }
  return undefined;
}

function wayTo(to: number, cameBy: ReadonlyMap<number, Edge | undefined>): Edge[] {
  const way: Edge[] = [];
  for (let edge = cameBy.get(to); edge !== undefined; edge = cameBy.get(edge.from)) way.push(edge);
  return way.reverse();
}

/** Tarjan's algorithm, without recursion: a history is longer than the stack. */
function componentsOf(graph: Graph, mask: number): Int32Array {
  const nodes = graph.out.length;
  const component = new Int32Array(nodes).fill(-1);
  const order = new Int32Array(nodes).fill(-1);
  const low = new Int32Array(nodes);
  const nextEdge = new Int32Array(nodes);
  const waiting: number[] = [];
  let visited = 0;
  let components = 0;
  for (let root = 0; root < nodes; root++) {
    if (order[root] !== -1) continue;
    const path = [root];
    while (path.length > 0) {
      const node = must(path.at(-1), 'the path has an end');
      if (order[node] === -1) {
        order[node] = visited;
        low[node] = visited++;
        waiting.push(node);
      }
      const edges = graph.out[node] ?? [];
      const at = nextEdge[node] ?? 0;
      const edge = edges[at];
      if (edge !== undefined) {
        nextEdge[node] = at + 1;
        if (!isAllowed(edge, mask)) continue;
        if (order[edge.to] === -1) path.push(edge.to);
        else if (component[edge.to] === -1) low[node] = Math.min(low[node] ?? 0, order[edge.to] ?? 0);
        continue;
      }
      path.pop();
      const parent = path.at(-1);
      if (parent !== undefined) low[parent] = Math.min(low[parent] ?? 0, low[node] ?? 0);
      if (low[node] !== order[node]) continue;
      for (let member = waiting.pop(); member !== undefined; member = waiting.pop()) {
        component[member] = components;
        if (member === node) break;
      }
      components++;
    }
  }
  return component;
}
