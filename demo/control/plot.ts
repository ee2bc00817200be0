/**
 * Plot: a histogram of times in a terminal, its steps twice as long each.
 */
import { styleText } from 'node:util';

const BAR_COLUMNS = 40;

/** A line per step between the shortest and the longest time. */
export function histogram(timesMs: readonly number[]): string[] {
  const counts = new Map<number, number>();
  for (const ms of timesMs) {
    const step = Math.max(-3, Math.ceil(Math.log2(ms)));
    counts.set(step, (counts.get(step) ?? 0) + 1);
  }
  const steps = [...counts.keys()];
  const most = Math.max(...counts.values());
  const lines: string[] = [];
  for (let step = Math.min(...steps); step <= Math.max(...steps); step++) {
    const count = counts.get(step) ?? 0;
    const bar = '█'.repeat(Math.round((count / most) * BAR_COLUMNS)) || (count > 0 ? '▏' : '');
    lines.push(`  ≤ ${String(2 ** step).padStart(6)} ms  ${styleText('cyan', bar.padEnd(BAR_COLUMNS))} ${count}`);
  }
  return lines;
}
