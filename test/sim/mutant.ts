/** A planted bug, as it is written down (mutants.ts). */
import type { Mix } from './nemesis.ts';

export interface Edit {
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}

export interface Mutant {
  readonly name: string;
  readonly what: string;
  readonly edits: readonly Edit[];
  /** The first seed that found it when it was last looked for. */
  readonly seed: number;
  /** What goes wrong while it is looked for; left out, the seed says. */
  readonly mix?: Mix;
  /** What is there while it is looked for, whatever the seed says. */
  readonly with?: readonly ('relays' | 'stages')[];
}

/** One edit. */
export const one = (name: string, seed: number, what: string, file: string, find: string, replace: string): Mutant => ({
  name,
  seed,
  what,
  edits: [{ file, find, replace }],
});
