/**
 * Envelope: a value as it is stored.
 *
 *   stored value = flags u8 | [expiryMs u64 LE, if flags & 1] | value
 *
 * The expiry is inside the value and not in the key's type, so that any LevelDB can still read the table. Other
 * flags are of the future: who meets one cannot know where the value begins, and reports damage with the place,
 * which only the caller knows.
 *
 * Values are read where they stand, in a block: hence `at` and `end`.
 */
import type { ByteWriter } from '../../../core/base/bytes.ts';
import { loadU32 } from './format.ts';

const FLAG_EXPIRY = 1;
const EXPIRY_BYTES = 8;
const TWO_32 = 0x1_0000_0000;

/** `expiryMs`: absolute; 0: never. */
export function encodeEnvelope(into: ByteWriter, expiryMs: number, value: Uint8Array): void {
  if (expiryMs === 0) into.u8(0);
  else into.u8(FLAG_EXPIRY).u64(expiryMs);
  into.raw(value);
}

/** Where the value begins in `stored[at, end)`; -1 when this is no envelope. */
export function envelopeValueStart(stored: Uint8Array, at = 0, end: number = stored.length): number {
  if (at >= end) return -1;
  const flags = stored[at] as number;
  if (flags === 0) return at + 1;
  const start = at + 1 + EXPIRY_BYTES;
  // An expiry is a counter below 2^53.
  if (flags !== FLAG_EXPIRY || start > end || loadU32(stored, at + 5) >= 0x20_0000) return -1;
  return start;
}

/** When the value in `stored[at, end)` expires; 0: never, or this is no envelope. */
export function envelopeExpiryMs(stored: Uint8Array, at = 0, end: number = stored.length): number {
  if (envelopeValueStart(stored, at, end) <= at + 1) return 0;
  return loadU32(stored, at + 5) * TWO_32 + loadU32(stored, at + 1);
}
