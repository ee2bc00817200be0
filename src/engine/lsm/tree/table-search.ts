/**
 * Which tables of a level may hold a key. Comparisons look at the user part of an internal key where it stands: a view
 * of it would cost more than they do.
 */
import { compareBytes } from '../../../core/base/bytes.ts';
import type { CursorBounds } from './cursor.ts';
import { type TableRef, userKey } from './version.ts';

/** May the table hold the key? */
export function isWithin(table: TableRef, key: Uint8Array): boolean {
  return compareUserPart(table.smallest, key) <= 0 && compareUserPart(table.largest, key) >= 0;
}

/** May it hold keys within the bounds? */
export function isInBounds(table: TableRef, { from, to }: CursorBounds): boolean {
  if (to !== undefined && compareBytes(userKey(table.smallest), to) >= 0) return false;
  return from === undefined || compareBytes(userKey(table.largest), from) >= 0;
}

/** The first table whose largest key is not before `key`. */
export function tableOf(tables: readonly TableRef[], key: Uint8Array): number {
  let low = 0;
  let high = tables.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compareUserPart((tables[middle] as TableRef).largest, key) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The user part of an internal key against a user key, without making a view. */
export function compareUserPart(internal: Uint8Array, user: Uint8Array): number {
  const length = internal.length - 8;
  const shared = length < user.length ? length : user.length;
  for (let i = 0; i < shared; i++) {
    const difference = (internal[i] as number) - (user[i] as number);
    if (difference !== 0) return difference;
  }
  return length - user.length;
}
