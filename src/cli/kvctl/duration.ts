/** Durations as people write them: 500ms, 60s, 1.5h. A bare number is refused: nobody remembers its unit. */
import { InvalidArgumentError } from 'commander';

const UNITS_MS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
export const DURATION_HINT = 'a duration has a unit: 500ms, 60s, 5m, 2h or 7d';

/** Milliseconds, or undefined when it is not a duration above zero. */
export function durationMs(text: string): number | undefined {
  const [, amount, unit] = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(text.trim()) ?? [];
  if (amount === undefined || unit === undefined) return undefined;
  const ms = Math.round(Number(amount) * (UNITS_MS[unit] as number));
  return ms > 0 && Number.isSafeInteger(ms) ? ms : undefined;
}

/** For commander: a usage error when it is not one. */
export function parseDuration(text: string): number {
  const ms = durationMs(text);
  if (ms === undefined) throw new InvalidArgumentError(`${DURATION_HINT}.`);
  return ms;
}

/** '12 ms', '3.4 s', '5 min', '2.0 h': for tables. */
export function showMs(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1_000).toFixed(1)} s`;
  if (ms < 3_600_000) return `${(ms / 60_000).toFixed(1)} min`;
  return `${(ms / 3_600_000).toFixed(1)} h`;
}
