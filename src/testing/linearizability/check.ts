/**
 * Is a history linearizable? Registers (read, write, cas), lists (append), and txns over several keys.
 *
 * `ok` means that an order was found, `violation` that there is none, `unknown` that the budget ended first. Nothing
 * is sampled and nothing is guessed.
 */
import { canonical, isList } from '../history/json.ts';
import type { History, Operation, Part } from '../history/types.ts';
import { cutAfter, minimise, type Window } from './minimise.ts';
import { type Group, groupsOf } from './partition.ts';
import { problemOf } from './problem.ts';
import { type Budget, type Found, Search } from './search.ts';
import { showWindow } from './show.ts';

export interface LinearizabilityOptions {
  /** For each group of keys; default 2 million configurations (some 10 seconds) and 1 GiB. */
  readonly budget?: Partial<Budget>;
  /** False: a violation comes with all operations up to it. Default true. */
  readonly minimise?: boolean;
}

export interface LinearizabilityViolation extends Window {
  /** Canonical JSON. */
  readonly keys: readonly string[];
  readonly fromLine: number;
  readonly toLine: number;
  /** The last writes of what was seen in the window, where they are before it. */
  readonly origins: readonly Operation[];
  /** The window for people: a drawing, and a line for each operation. */
  readonly text: string;
}

export interface LinearizabilityResult {
  readonly verdict: 'ok' | 'violation' | 'unknown';
  /** Operations that had to be explained or might have happened. */
  readonly checkedOps: number;
  readonly keys: number;
  readonly configurations: number;
  /** Why it is unknown. */
  readonly reason?: string;
  /** The first that was found. */
  readonly violation?: LinearizabilityViolation;
}

/** Operations placed so far, of all. */
export interface CheckProgress {
  readonly done: number;
  readonly total: number;
}

const CONFIGURATIONS = 2_000_000;
const BYTES = 1024 * 1024 * 1024;
/** Between two looks at who waits for us. */
const CONFIGURATIONS_AT_ONCE = 4096;

export function checkLinearizable(history: History, options: LinearizabilityOptions = {}): LinearizabilityResult {
  const steps = linearizabilitySteps(history, options);
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
  }
}

/** The same in steps of some milliseconds, for who has other things to do meanwhile. */
export function* linearizabilitySteps(
  history: History,
  options: LinearizabilityOptions = {},
): Generator<CheckProgress, LinearizabilityResult> {
  const budget: Budget = { configurations: CONFIGURATIONS, bytes: BYTES, ...options.budget };
  const groups = groupsOf(history.operations);
  const total = groups.reduce((sum, group) => sum + group.operations.length, 0);
  const counts = { checkedOps: total, keys: groups.reduce((sum, group) => sum + group.keys.length, 0) };
  let configurations = 0;
  let done = 0;
  let reason = history.operations.some((one) => one.outcome === 'ok') ? undefined : 'no operation ended with ok';
  for (const group of groups) {
    const sure = group.operations.filter((operation) => operation.outcome === 'ok');
    const open = group.operations.filter((operation) => operation.outcome === 'unknown');
    const search = new Search(problemOf({ sure, open, spare: [] }), budget);
    let found: Found | undefined;
    while (found === undefined) {
      found = search.advance(CONFIGURATIONS_AT_ONCE);
      yield { done: done + search.reached, total };
    }
    configurations += found.configurations;
    done += group.operations.length;
    if (found.verdict === 'unknown') {
      reason ??= `the budget ended at ${found.configurations} configurations of ${namesOf(group.keys)}`;
    }
    if (found.verdict === 'violation') {
      const violation = violationOf(group, sure, found, budget, options.minimise ?? true);
      return { verdict: 'violation', ...counts, configurations, violation };
    }
  }
  if (reason !== undefined) return { verdict: 'unknown', ...counts, configurations, reason };
  return { verdict: 'ok', ...counts, configurations };
}

function violationOf(
  group: Group,
  sure: readonly Operation[],
  found: Found,
  budget: Budget,
  isMinimised: boolean,
): LinearizabilityViolation {
  const byEnd = sure.map((operation) => operation.end?.at ?? 0).sort((x, y) => x - y);
  const operations = cutAfter(group.operations, byEnd[found.reached] ?? Number.POSITIVE_INFINITY);
  const window = isMinimised ? minimise(operations, budget) : whole(operations);
  const keys = [...new Set(window.operations.flatMap(({ parts }) => parts.map((part) => part.key)))];
  const lines = window.operations.flatMap(({ call, end }) => [call.line, (end ?? call).line]);
  const origins = originsOf(group.operations, window);
  return {
    ...window,
    keys,
    origins,
    fromLine: lines.reduce((x, y) => Math.min(x, y), Number.POSITIVE_INFINITY),
    toLine: lines.reduce((x, y) => Math.max(x, y), 0),
    text: showWindow(keys, window, origins),
  };
}

function originsOf(operations: readonly Operation[], { operations: shown, background }: Window): Operation[] {
  const until = shown.reduce((latest, { call, end }) => Math.max(latest, (end ?? call).at), 0);
  const isShown = new Set([...shown, ...background].map(({ index }) => index));
  const wanted = new Set(shown.flatMap(({ parts }) => parts.flatMap(seenBy)));
  const found = new Map<string, Operation>();
  for (const operation of operations) {
    if (operation.call.at > until) break;
    for (const wrote of operation.parts.flatMap(writtenBy)) if (wanted.has(wrote)) found.set(wrote, operation);
  }
  return [...new Set(found.values())].filter(({ index }) => !isShown.has(index));
}

function seenBy(part: Part): string[] {
  if (part.kind === 'cas') return [`${part.key} ${canonical(part.from)}`];
  if (part.kind !== 'read' || part.value === undefined) return [];
  const last = isList(part.value) ? part.value.at(-1) : undefined;
  return [`${part.key} ${canonical(part.value)}`, ...(last === undefined ? [] : [`${part.key} + ${canonical(last)}`])];
}

function writtenBy(part: Part): string[] {
  if (part.kind === 'read') return [];
  if (part.kind === 'append') return [`${part.key} + ${canonical(part.value)}`];
  return [`${part.key} ${canonical(part.kind === 'cas' ? part.to : part.value)}`];
}

function whole(operations: readonly Operation[]): Window {
  return { operations, background: [], isAnythingFirst: false, isMinimal: false };
}

const NAMES_MAX = 5;

function namesOf(keys: readonly string[]): string {
  const more = keys.length > NAMES_MAX ? ` and ${keys.length - NAMES_MAX} more` : '';
  return `${keys.length === 1 ? 'key' : 'keys'} ${keys.slice(0, NAMES_MAX).join(', ')}${more}`;
}
