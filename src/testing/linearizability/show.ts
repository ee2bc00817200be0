/**
 * A window for people: a drawing of what went on beside what, and a line for each operation.
 *
 * ```
 *   0  |-- write 1 --|
 *   1                 |-- write 2 --|
 *   2                                |-- read 1 --|
 * ```
 */
import { describePart } from '../history/parts.ts';
import type { Operation } from '../history/types.ts';
import type { Window } from './minimise.ts';

const DRAWING_COLUMNS_MAX = 160;
const SHOWN_MAX = 40;

export function showWindow(keys: readonly string[], window: Window, origins: readonly Operation[]): string {
  const { operations, background, isAnythingFirst, isMinimal } = window;
  const isKeyShown = keys.length > 1;
  const count = operations.length === 1 ? 'this operation' : `these ${operations.length} operations`;
  const lines = [
    `${keys.length === 1 ? 'key' : 'keys'} ${keys.join(', ')}: no order of ${count} explains what was seen`,
    ...draw(operations, isKeyShown),
    ...shorten(operations.map((operation) => tell(operation, isKeyShown))),
  ];
  const first = isAnythingFirst ? 'whatever was there at first' : 'nothing was there at first';
  if (background.length === 0) {
    lines.push(`  (${first})`);
  } else {
    lines.push(`  (${first}, and even if these happen at any time, as often as needed:)`);
    lines.push(...shorten(background.map((operation) => tell(operation, isKeyShown))));
  }
  if (origins.length > 0) {
    lines.push('  what was seen was last written, before that, by');
    lines.push(...shorten(origins.map((operation) => tell(operation, isKeyShown))));
  }
  if (!isMinimal) lines.push('  (there may be a smaller window)');
  return lines.join('\n');
}

/** `write "x" 1, read "y" 2` */
export function describeOperation(operation: Operation, isKeyShown: boolean): string {
  return operation.parts.map((part) => describePart(part, isKeyShown)).join(', ');
}

function tell(operation: Operation, isKeyShown: boolean): string {
  const { call, end, process } = operation;
  const lines = end === undefined ? `line ${call.line}, open` : `lines ${call.line} to ${end.line}`;
  const times = call.time === undefined ? '' : `, time ${call.time} to ${end?.time ?? '?'}`;
  return `  process ${process}: ${describeOperation(operation, isKeyShown)} (${lines}${times})`;
}

function draw(operations: readonly Operation[], isKeyShown: boolean): string[] {
  const moments = operations.flatMap(({ call, end }) => (end === undefined ? [call.at] : [call.at, end.at]));
  const labels = operations.map((operation) => ` ${describeOperation(operation, isKeyShown)} `);
  // Columns from left to right: each moment two after the last, and an end far enough from its call for the label.
  const columns = new Map<number, number>();
  let last = 0;
  for (const moment of moments.sort((x, y) => x - y)) {
    const ending = operations.findIndex((operation) => operation.end?.at === moment);
    const call = operations[ending]?.call.at;
    const room = call === undefined ? 0 : (columns.get(call) ?? 0) + (labels[ending]?.length ?? 0) + 3;
    last = columns.size === 0 ? 0 : Math.max(last + 1, room);
    columns.set(moment, last);
  }
  const names = operations.map(({ process }) => String(process));
  const width = Math.max(...names.map((name) => name.length));
  const rows = operations.map((operation, i) => {
    const from = columns.get(operation.call.at) ?? 0;
    const label = labels[i] ?? '';
    const to = operation.end === undefined ? undefined : columns.get(operation.end.at);
    const bar = to === undefined ? `|-${label}- …` : `|${pad(label, to - from - 1)}|`;
    return `  ${(names[i] ?? '').padStart(width)}  ${' '.repeat(from)}${bar}`;
  });
  const isTooWide = rows.some((row) => row.length > DRAWING_COLUMNS_MAX) || rows.length > SHOWN_MAX;
  return isTooWide ? [] : ['', ...rows, ''];
}

function pad(label: string, width: number): string {
  const left = Math.floor((width - label.length) / 2);
  return '-'.repeat(left) + label + '-'.repeat(width - left - label.length);
}

function shorten(lines: readonly string[]): string[] {
  if (lines.length <= SHOWN_MAX) return [...lines];
  return [...lines.slice(0, SHOWN_MAX), `  … and ${lines.length - SHOWN_MAX} more`];
}
