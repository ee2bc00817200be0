/**
 * The definition of linearizability, tried out: every subset of what may have happened, in every order. Written from
 * the words of the definition and from nothing of the checker's, for histories of a few operations.
 */
import type { History, Json, Operation } from '../../src/testing/index.ts';

type State = ReadonlyMap<string, string>;

/** The state after an operation, or undefined where it cannot be. */
function apply(state: State, { parts }: Operation, isSure: boolean): State | undefined {
  const next = new Map(state);
  for (const part of parts) {
    const now = next.get(part.key) ?? 'null';
    if (part.kind === 'read') {
      if (isSure && part.value !== undefined && JSON.stringify(part.value) !== now) return undefined;
    } else if (part.kind === 'write') {
      next.set(part.key, JSON.stringify(part.value));
    } else if (part.kind === 'cas') {
      if (JSON.stringify(part.from) !== now) return undefined;
      next.set(part.key, JSON.stringify(part.to));
    } else {
      const list = JSON.parse(now) as Json[] | null;
      if (list !== null && !Array.isArray(list)) return undefined;
      next.set(part.key, JSON.stringify([...(list ?? []), part.value]));
    }
  }
  return next;
}

/** `spares` may happen at any time, as often as needed. */
export function hasOrder(history: History, initial: State = new Map(), spares: readonly Operation[] = []): boolean {
  const all = history.operations.filter(({ outcome }) => outcome !== 'fail');
  const place = (state: State, left: readonly Operation[]): boolean => {
    if (left.every(({ outcome }) => outcome === 'unknown')) return true;
    const states = reachable(state, spares);
    return left.some((operation) => {
      if (left.some((other) => other !== operation && (other.end?.at ?? Infinity) < operation.call.at)) return false;
      const rest = left.filter((other) => other !== operation);
      return states.some((one) => {
        const next = apply(one, operation, operation.outcome === 'ok');
        return next !== undefined && place(next, rest);
      });
    });
  };
  return place(initial, all);
}

function reachable(state: State, spares: readonly Operation[]): State[] {
  const nameOf = (one: State): string => JSON.stringify([...one].sort(([x], [y]) => (x < y ? -1 : 1)));
  const found = new Map([[nameOf(state), state]]);
  for (const one of found.values()) {
    for (const spare of spares) {
      const next = apply(one, spare, false);
      if (next !== undefined && !found.has(nameOf(next))) found.set(nameOf(next), next);
    }
  }
  return [...found.values()];
}
