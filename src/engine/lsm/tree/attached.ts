/**
 * Attached: a version as one thread reads it, with what makes its tables quick to find.
 */
import { assert, must } from '../../../core/base/assert.ts';
import { KeyNumbers } from '../key-numbers.ts';
import { LEVELS, type TableRef, userKey } from './version.ts';

export interface Attached {
  readonly number: number;
  readonly flushedGeneration: number;
  readonly level0: readonly TableRef[];
  /** Levels that hold anything, from the top. */
  readonly levels: readonly Level[];
}

interface Level {
  readonly tables: readonly TableRef[];
  /** Of their largest keys. */
  readonly ends: KeyNumbers;
}

export function attach(
  number: number,
  version: { readonly flushedGeneration: number; readonly levels: readonly (readonly TableRef[])[] },
): Attached {
  assert(version.levels.length === LEVELS, 'a version has seven levels');
  return {
    number,
    flushedGeneration: version.flushedGeneration,
    level0: must(version.levels[0], 'level 0'),
    levels: version.levels
      .slice(1)
      .filter((tables) => tables.length > 0)
      .map((tables) => ({ tables, ends: new KeyNumbers(tables.map(({ largest }) => userKey(largest))) })),
  };
}
