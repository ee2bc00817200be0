/**
 * Report: rows as JSON lines for programs, a table for people, or Markdown for RESULTS.md.
 *
 * With --json stdout holds one object per line and nothing else; progress, notes and targets then go to stderr.
 */
import Table from 'cli-table3';
import { isReached, type Row, type Target } from './scenario.ts';

export type Format = 'table' | 'json' | 'markdown';

export interface Output {
  write(text: string): unknown;
}

export interface ReportOptions {
  readonly scenario: string;
  readonly machine: string;
  readonly format: Format;
  readonly out: Output;
  readonly err: Output;
}

const MORE_WIDTH = 60;
const HEAD = ['system', 'variant', 'in flight', 'op/s', 'p50', 'p99', 'p99.9', ''];

export class Report {
  readonly #options: ReportOptions;
  readonly #rows: Row[] = [];
  readonly #targets: Target[] = [];
  readonly #notes: string[] = [];

  constructor(options: ReportOptions) {
    this.#options = options;
  }

  row(row: Row): void {
    this.#rows.push(row);
    if (this.#options.format === 'json') this.#options.out.write(`${jsonRow(this.#options, row)}\n`);
  }

  target(target: Target): void {
    this.#targets.push(target);
  }

  note(text: string): void {
    this.#notes.push(text);
  }

  progress(text: string): void {
    this.#options.err.write(`${this.#options.scenario}: ${text}\n`);
  }

  /** What is told at the end: everything but JSON rows. */
  end(): void {
    const { format, out, err, scenario, machine } = this.#options;
    if (format === 'table') {
      const table = new Table({
        head: HEAD,
        colAligns: ['left', 'left', 'right', 'right', 'right', 'right', 'right', 'left'],
        colWidths: [null, null, null, null, null, null, null, MORE_WIDTH],
        wordWrap: true,
        style: { head: [], border: [], compact: true },
      });
      for (const row of this.#rows) table.push(cells(row));
      out.write(`\n${scenario} on ${machine}\n${table.toString()}\n`);
    } else if (format === 'markdown') {
      const line = (parts: readonly string[]): string => `| ${parts.join(' | ')} |\n`;
      out.write(`\n### ${scenario}\n\n${machine}\n\n`);
      out.write(line(HEAD.map((name) => (name === '' ? 'more' : name))));
      out.write('|---|---|--:|--:|--:|--:|--:|---|\n');
      for (const row of this.#rows) out.write(line(cells(row)));
      out.write('\n');
    }
    const words = format === 'json' ? err : out;
    const bullet = format === 'markdown' ? '- ' : '';
    for (const note of this.#notes) words.write(`${bullet}${note}\n`);
    for (const target of this.#targets) words.write(`${bullet}${targetLine(scenario, target)}\n`);
  }
}

/** The shape that all scenarios keep: fixed names first, then what the scenario adds. */
export function jsonRow(options: Pick<ReportOptions, 'scenario' | 'machine'>, row: Row): string {
  const { variant, system, inFlight, opsPerSecond, p50Ms, p99Ms, p999Ms, more } = row;
  const figures = { opsPerSecond: rounded(opsPerSecond, 1), p50Ms: rounded(p50Ms), p99Ms: rounded(p99Ms) };
  const { scenario, machine } = options;
  return JSON.stringify({ scenario, variant, system, inFlight, ...figures, p999Ms: rounded(p999Ms), ...more, machine });
}

/** "target quorum-put op/s at 256 in flight: reached: 41 000 of at least 40 000 op/s". */
export function targetLine(scenario: string, target: Target): string {
  const verdict = isReached(target) ? 'reached' : 'not reached';
  const { what, measured, is, wanted, unit } = target;
  return `target ${scenario} ${what}: ${verdict}: ${figure(measured)} of ${is} ${figure(wanted)} ${unit}`.trimEnd();
}

function cells(row: Row): string[] {
  const { system, variant, inFlight, opsPerSecond, p50Ms, p99Ms, p999Ms, more = {} } = row;
  const extra = Object.entries(more).map(
    ([name, value]) => `${name} ${typeof value === 'number' ? figure(value) : value}`,
  );
  const times = [p50Ms, p99Ms, p999Ms].map(duration);
  return [system, variant, inFlight === null ? '' : String(inFlight), figure(opsPerSecond), ...times, extra.join(', ')];
}

/** Three digits that mean something, thousands apart. */
export function figure(value: number): string {
  if (!Number.isFinite(value)) return '–';
  if (Math.abs(value) >= 100) return Math.round(value).toLocaleString('en').replaceAll(',', ' ');
  return String(Number(value.toPrecision(3)));
}

export function duration(ms: number): string {
  if (!Number.isFinite(ms)) return '–';
  return ms < 0.1 ? `${figure(ms * 1000)} µs` : `${figure(ms)} ms`;
}

function rounded(value: number, digits = 6): number | null {
  return Number.isFinite(value) ? Number(value.toFixed(digits)) : null;
}
