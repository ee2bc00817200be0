/**
 * Groups: operations that must be judged together.
 *
 * A history is linearizable when that of each key is (Herlihy and Wing: the property is local), and a search over one
 * key is far shorter than one over all. A txn ties its keys to each other: they are one object then.
 */
import type { Operation } from '../history/types.ts';

export interface Group {
  readonly keys: readonly string[];
  readonly operations: readonly Operation[];
}

/** Groups in the order of their first operations. What cannot matter is left out: see `canMatter()`. */
export function groupsOf(operations: readonly Operation[]): Group[] {
  const parents = new Map<string, string>();
  const rootOf = (key: string): string => {
    let root = key;
    for (let next = parents.get(root); next !== undefined && next !== root; next = parents.get(root)) root = next;
    for (let at = key; at !== root; ) {
      const next = parents.get(at) ?? root;
      parents.set(at, root);
      at = next;
    }
    parents.set(root, root);
    return root;
  };
  const counted = operations.filter(canMatter);
  for (const { parts } of counted) {
    const [first] = parts;
    for (const part of parts) if (first !== undefined) parents.set(rootOf(part.key), rootOf(first.key));
  }
  const groups = new Map<string, { readonly keys: Set<string>; readonly operations: Operation[] }>();
  for (const operation of counted) {
    const [first] = operation.parts;
    if (first === undefined) continue;
    const root = rootOf(first.key);
    const group = groups.get(root) ?? { keys: new Set(), operations: [] };
    groups.set(root, group);
    group.operations.push(operation);
    for (const { key } of operation.parts) group.keys.add(key);
  }
  return Array.from(groups.values(), ({ keys, operations: own }) => ({ keys: [...keys], operations: own }));
}

/** What failed did nothing; a read that nobody answered saw nothing. */
export function canMatter({ outcome, parts }: Operation): boolean {
  return outcome === 'ok' || (outcome === 'unknown' && parts.some((part) => part.kind !== 'read'));
}
