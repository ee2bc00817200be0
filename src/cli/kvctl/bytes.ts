/** Amounts of bytes: as people write and read them. */
import { InvalidArgumentError } from 'commander';

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const;

/** '17 B', '1.5 KiB', '230 MiB'. */
export function showBytes(bytes: number): string {
  let amount = bytes;
  let unit = 0;
  while (amount >= 1024 && unit < UNITS.length - 1) {
    amount /= 1024;
    unit++;
  }
  return `${unit === 0 || amount >= 100 ? Math.round(amount) : amount.toFixed(1)} ${UNITS[unit] ?? ''}`;
}

/** '500KiB', '20MiB', '1GiB', for commander. */
export function parseBytes(text: string): number {
  const [, amount, unit] = /^(\d+(?:\.\d+)?)\s*(B|KiB|MiB|GiB|TiB)$/.exec(text.trim()) ?? [];
  const exponent = UNITS.findIndex((one) => one === unit);
  const bytes = Math.round(Number(amount) * 1024 ** exponent);
  if (exponent < 0 || !Number.isSafeInteger(bytes) || bytes < 1) {
    throw new InvalidArgumentError('an amount has a unit: 500KiB, 20MiB or 1GiB.');
  }
  return bytes;
}
