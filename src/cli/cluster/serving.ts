/**
 * Tells when this node begins to serve as leader: not when it is elected but when it has committed what it found
 * in its log on that day, the first entry of its own term included. Until then reads and writes would wait.
 */
import type { NodeStatus } from '../../client/types.ts';

const POLL_MS = 100;

/** Calls `onServing` once per term this node leads in; gives the function that ends the watching. */
export function watchServing(status: () => NodeStatus, onServing: (term: number) => void): () => void {
  let leads: { readonly term: number; readonly from: number } | undefined;
  let toldTerm = 0;
  const timer = setInterval(() => {
    const now = status();
    if (now.role !== 'leader') leads = undefined;
    else if (leads?.term !== now.term) leads = { term: now.term, from: now.lastIndex };
    if (leads === undefined || leads.term === toldTerm || now.applied < leads.from || now.applied === 0) return;
    toldTerm = leads.term;
    onServing(toldTerm);
  }, POLL_MS);
  return () => clearInterval(timer);
}
