/**
 * Rates: how many rows in how long, as ctlstore writes it: an amount, and a period as a duration of Go's ('1m', '1h30m')
 * or in nanoseconds. ctlstore keeps rows a minute; so what is a whole number of them is read back as that.
 */
import { StoreError } from '../../core/base/errors.ts';
import type { WriterLimit } from '../../core/model/control/commands.ts';
import type { Rate } from './bodies.ts';

const UNITS_MS: Readonly<Record<string, number>> = {
  ...{ ns: 1e-6, us: 1e-3, µs: 1e-3, μs: 1e-3, ms: 1 },
  ...{ s: 1000, m: 60_000, h: 3_600_000 },
};
const NS_PER_MS = 1_000_000;
const MINUTE_MS = 60_000;
/** One part of a duration: a number and its unit. */
const PART = /([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)/g;
const CHARS_MAX = 64;

/** Throws BAD_REQUEST. */
export function parseRate({ amount, period }: Rate): WriterLimit {
  const periodMs = parsePeriodMs(period);
  const perMinute = (amount * MINUTE_MS) / periodMs;
  return Number.isSafeInteger(perMinute) ? { rows: perMinute, periodMs: MINUTE_MS } : { rows: amount, periodMs };
}

export const showRate = ({ rows, periodMs }: WriterLimit): { readonly amount: number; readonly period: number } => ({
  amount: rows,
  period: periodMs * NS_PER_MS,
});

function parsePeriodMs(period: string | number | bigint): number {
  const ms = typeof period === 'string' ? durationMs(period) : Number(period) / NS_PER_MS;
  if (Number.isSafeInteger(ms) && ms >= 1) return ms;
  throw new StoreError('BAD_REQUEST', `invalid period: '${String(period).slice(0, CHARS_MAX)}'`);
}

/** NaN for what is none. */
function durationMs(text: string): number {
  if (text === '' || text.length > CHARS_MAX || text.replace(PART, '') !== '') return Number.NaN;
  let ms = 0;
  for (const [, amount, unit] of text.matchAll(PART)) ms += Number(amount) * (UNITS_MS[unit as string] as number);
  // Parts like 0.1s are no exact number of anything in binary.
  return Math.abs(ms - Math.round(ms)) < 1e-9 ? Math.round(ms) : Number.NaN;
}
