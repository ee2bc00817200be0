/**
 * A cycle in words: one sentence an edge, from a transaction to the next, until the first is reached again.
 */
import { must } from '../../core/base/assert.ts';
import { type Edge, type Graph, PROCESS, REALTIME, RW, VIA, WR } from './graph.ts';
import { nameOf, shown } from './transactions.ts';

export function explain(graph: Graph, cycle: readonly Edge[]): string {
  const lines = stepsOf(cycle).map(({ edge, to, append }) => `  ${sentence(graph, { ...edge, to, ...append })}`);
  const first = nameOf(must(graph.operations[cycle[0]?.from ?? -1], 'a cycle begins with a transaction'));
  return `${first} must come before itself:\n${lines.join('\n')}`;
}

/** Edges between transactions; the nodes in between are left out. */
function stepsOf(cycle: readonly Edge[]): { edge: Edge; to: number; append: Pick<Edge, 'append'> }[] {
  const steps: { edge: Edge; to: number; append: Pick<Edge, 'append'> }[] = [];
  for (const edge of cycle) {
    const last = steps.at(-1);
    if (edge.kind !== VIA) steps.push({ edge, to: edge.to, append: {} });
    else if (last !== undefined) {
      last.to = edge.to;
      if (edge.append !== undefined) last.append = { append: edge.append };
    }
  }
  return steps;
}

function sentence(graph: Graph, { from, to, kind, read, append, after }: Edge): string {
  const earlier = must(graph.operations[from], 'a step begins at a transaction');
  const later = must(graph.operations[to], 'a step ends at a transaction');
  const x = nameOf(earlier);
  const y = nameOf(later);
  const way = `${x} → ${y}:`;
  if (kind === REALTIME)
    return `${way} ${x} had ended (line ${earlier.end?.line}) before ${y} began (line ${later.call.line})`;
  if (kind === PROCESS) return `${way} process ${later.process} did ${x} before ${y}`;
  const list = read === undefined ? '' : `${read.key} as ${shown(read.list)}`;
  if (kind === WR) return `${way} ${y} read ${list}, with ${append?.element} that ${x} had appended`;
  if (kind === RW) return `${way} ${x} read ${list}, without ${append?.element} that ${y} appended`;
  return `${way} ${y} appended ${append?.element} to ${append?.key} after ${after?.element} of ${x}`;
}
