/** What a table holds, beside its limit: as people read it. */
import type { TableSizeView } from '../../client/control-types.ts';
import { showBytes } from './bytes.ts';

/** '3 rows, 120 B, 0.1 % of 100 KiB', and what is to be seen to. */
export function sizeText(table: TableSizeView): string {
  const { rows, bytes, limit } = table;
  const held = `${rows} ${rows === 1 ? 'row' : 'rows'}, ${showBytes(bytes)}`;
  if (limit === null) return held;
  return `${held}, ${((100 * bytes) / limit.maxBytes).toFixed(1)} % of ${showBytes(limit.maxBytes)}${standingText(table)}`;
}

/** Empty while nothing is wrong. */
export function standingText({ bytes, limit }: TableSizeView): string {
  if (limit === null || bytes <= limit.warnBytes) return '';
  return bytes < limit.maxBytes ? `: past its warning at ${showBytes(limit.warnBytes)}` : ': full';
}
