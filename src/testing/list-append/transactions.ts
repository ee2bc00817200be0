/**
 * Transactions of a list-append history: who appended what, and which lists were read.
 *
 * Every append has a value of its own, so a list that was read tells who wrote it, and in which order (Elle: Kingsbury
 * and Alvaro 2020, "traceable"). A value that is appended twice would tell nothing, and is refused.
 */
import { StoreError } from '../../core/base/errors.ts';
import { describePart } from '../history/parts.ts';
import { canonical, isList, type Json, show } from '../history/json.ts';
import type { History, Operation } from '../history/types.ts';

export interface Append {
  readonly operation: Operation;
  readonly key: string;
  readonly element: string;
  /** Whether its transaction appends nothing more to this key. */
  readonly isLast: boolean;
}

export interface Read {
  readonly operation: Operation;
  readonly key: string;
  /** What was read, elements as canonical JSON. */
  readonly list: readonly string[];
  /** What others had written: the list without the transaction's own appends; undefined when these are not at its end. */
  readonly before: readonly string[] | undefined;
}

export interface Transactions {
  /** Those that ended with ok or whose outcome is unknown; in the order of their first events. */
  readonly operations: readonly Operation[];
  /** By key and element, of failed ones too. */
  readonly appends: ReadonlyMap<string, ReadonlyMap<string, Append>>;
  /** Of those that ended with ok. */
  readonly reads: ReadonlyMap<string, readonly Read[]>;
  /** Reads that contradict their own transaction. */
  readonly contradictions: readonly { readonly operation: Operation; readonly text: string }[];
  readonly keys: number;
}

export function transactionsOf(history: History): Transactions {
  const appends = new Map<string, Map<string, Append>>();
  const reads = new Map<string, Read[]>();
  const contradictions: { operation: Operation; text: string }[] = [];
  const keys = new Set<string>();
  for (const operation of history.operations) {
    noteAppends(operation, appends);
    for (const { key } of operation.parts) keys.add(key);
    if (operation.outcome === 'ok') noteReads(operation, reads, contradictions);
  }
  const operations = history.operations.filter(({ outcome }) => outcome !== 'fail');
  return { operations, appends, reads, contradictions, keys: keys.size };
}

function noteAppends(operation: Operation, appends: Map<string, Map<string, Append>>): void {
  const { parts } = operation;
  for (const [at, part] of parts.entries()) {
    if (part.kind === 'read') continue;
    if (part.kind !== 'append') {
      throw refusal(operation, `has a ${part.kind}; in a list-append history there are reads and appends`);
    }
    const { key } = part;
    const element = canonical(part.value);
    const ofKey = appends.get(key) ?? new Map<string, Append>();
    appends.set(key, ofKey);
    const other = ofKey.get(element);
    if (other !== undefined) {
      const where = `${describePart(part, true)}, which line ${other.operation.call.line} appends as well`;
      throw refusal(operation, `appends ${where}: each value of a key is to be appended once`);
    }
    const isLast = !parts.slice(at + 1).some((later) => later.kind === 'append' && later.key === key);
    ofKey.set(element, { operation, key, element, isLast });
  }
}

function noteReads(
  operation: Operation,
  reads: Map<string, Read[]>,
  contradictions: { operation: Operation; text: string }[],
): void {
  /** By key: what the transaction has appended so far, and the list that it must see next. */
  const own = new Map<string, string[]>();
  const expected = new Map<string, readonly string[]>();
  for (const part of operation.parts) {
    const mine = own.get(part.key) ?? [];
    own.set(part.key, mine);
    if (part.kind === 'append') {
      const element = canonical(part.value);
      mine.push(element);
      const now = expected.get(part.key);
      if (now !== undefined) expected.set(part.key, [...now, element]);
    } else if (part.kind === 'read' && part.value !== undefined) {
      const list = listOf(operation, part.value);
      const wanted = expected.get(part.key);
      const isOwnThere = mine.length <= list.length && isEqual(list.slice(list.length - mine.length), mine);
      if (!isOwnThere || (wanted !== undefined && !isEqual(list, wanted))) {
        const should = wanted ?? ['…', ...mine];
        contradictions.push({
          operation,
          text: `read ${part.key} as ${shown(list)}, and by its own doings it is ${shown(should)}`,
        });
      }
      const ofKey = reads.get(part.key) ?? [];
      reads.set(part.key, ofKey);
      const before = isOwnThere ? list.slice(0, list.length - mine.length) : undefined;
      ofKey.push({ operation, key: part.key, list, before });
      expected.set(part.key, list);
    }
  }
}

function listOf(operation: Operation, value: Json): string[] {
  if (value === null) return [];
  if (!isList(value)) throw refusal(operation, `read ${show(value)}, which is no list`);
  return value.map(canonical);
}

function refusal(operation: Operation, what: string): StoreError {
  const { line } = operation.call;
  return new StoreError('BAD_REQUEST', `history: the operation of line ${line} ${what}`, { data: { line } });
}

function isEqual(x: readonly string[], y: readonly string[]): boolean {
  return x.length === y.length && x.every((element, i) => element === y[i]);
}

const ENDS_SHOWN = 6;

/** A list of elements; of a long one the end, where things differ. */
export function shown(list: readonly string[]): string {
  return list.length <= ENDS_SHOWN * 2 ? `[${list.join(',')}]` : `[…,${list.slice(-ENDS_SHOWN).join(',')}]`;
}

/** T7 is the operation of index 7, with its lines. */
export function nameOf(operation: Operation): string {
  return `T${operation.index}`;
}
