/** A reading thread of the board test: each record must be one whole record, and never older than the one before. */
import { VersionBoard } from '../../../../src/engine/lsm/shared/version-board.ts';
import { work } from './crew.ts';

/** What the record of a version holds: its length and each byte follow from its number. */
export function recordOf(number: number, bytesMax: number): Uint8Array {
  const bytes = new Uint8Array((Math.imul(number, 0x9e3779b1) >>> 0) % bytesMax);
  return bytes.fill(number & 0xff).fill((number >>> 8) & 0xff, bytes.length >>> 1);
}

export interface BoardArgs {
  readonly board: SharedArrayBuffer;
  /** How long records are: from this version on, shorter than so many bytes. */
  readonly steps: readonly (readonly [number, number])[];
}

export function bytesMaxAt(steps: BoardArgs['steps'], number: number): number {
  return steps.findLast(([from]) => number >= from)?.[1] ?? 1;
}

work((args) => {
  const { board: memory, steps } = args as BoardArgs;
  const board = new VersionBoard(memory);
  let newest = 0;
  return () => {
    const record = board.read();
    if (record === undefined) return 'no record';
    const { number, bytes } = record;
    if (number < newest) return `version ${number} after ${newest}`;
    newest = number;
    const expected = recordOf(number, bytesMaxAt(steps, number));
    return Buffer.compare(bytes, expected) === 0 ? undefined : `version ${number} is torn`;
  };
});
