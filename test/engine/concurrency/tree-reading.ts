/** A thread that reads a tree in every way while another writes, flushes and compacts it. See families.ts. */
import { nodeDisk } from '../../../src/engine/disk/node-disk.ts';
import type { TreeMemory } from '../../../src/engine/lsm/tree/memory.ts';
import type { TreeOptions } from '../../../src/engine/lsm/tree/options.ts';
import { TreeReader, type TreeSnapshot } from '../../../src/engine/lsm/tree/reader.ts';
import { work } from '../lsm/shared/crew.ts';
import { FAMILIES, keyOf, keyText, MEMBERS, numberOf } from './families.ts';

export interface ReadingArgs {
  readonly memory: TreeMemory;
  readonly dir: string;
  readonly options: TreeOptions;
}

/** Rounds for which a snapshot is held, and read again and again. */
const SNAPSHOT_ROUNDS = 500;
const NONE = -1;

class Reading {
  readonly #reader: TreeReader;
  /** The newest number seen of each family: it never goes back. */
  readonly #newest = Array.from({ length: FAMILIES }, () => NONE);
  #held: { readonly snapshot: TreeSnapshot; readonly numbers: readonly number[]; until: number } | undefined;

  constructor({ memory, dir, options }: ReadingArgs) {
    this.#reader = new TreeReader(memory, { disk: nodeDisk, dir, options, defer: () => {}, nowMs: () => 0 });
  }

  round(round: number, seat: number): string | undefined {
    const turn = (round + seat * 7) % 32;
    if (turn === 0) return this.#scan(false);
    if (turn === 16) return this.#scan(true);
    if (turn % 8 === 1) return this.#again(round);
    if (turn % 2 === 0) return this.#family(round % FAMILIES);
    return this.#newestOf(round % FAMILIES);
  }

  /** Ten reads of what is newest: each on its own is whole, and no older than the last. */
  #newestOf(family: number): string | undefined {
    for (let member = 0; member < MEMBERS; member++) {
      const entry = this.#reader.get(keyOf(family, member));
      if (entry === undefined) continue;
      const number = numberOf(family, entry.value);
      const before = this.#newest[family] as number;
      if (number < before) return `family ${family} went back from ${before} to ${number}`;
      this.#newest[family] = number;
    }
    return undefined;
  }

  /** Ten reads at one revision say the same. */
  #family(family: number): string | undefined {
    const snapshot = this.#reader.snapshot();
    try {
      const numbers = Array.from({ length: MEMBERS }, (_, member) => this.#at(family, member, snapshot.revision));
      const isOne = numbers.every((number) => number === numbers[0]);
      return isOne ? undefined : `family ${family} at ${snapshot.revision} is ${numbers.join(' ')}`;
    } finally {
      snapshot.release();
    }
  }

  #at(family: number, member: number, revision: number): number {
    const entry = this.#reader.getAt(keyOf(family, member), revision, 0);
    return entry === undefined ? NONE : numberOf(family, entry.value);
  }

  /** All entries, in order, each family whole. */
  #scan(reverse: boolean): string | undefined {
    const cursor = this.#reader.cursor({ reverse });
    const seen = new Map<number, number[]>();
    let last: string | undefined;
    try {
      for (let steps = 1; ; steps++) {
        const entry = cursor.next();
        if (entry === undefined) break;
        const key = String.fromCharCode(...entry.key);
        if (last !== undefined && (reverse ? key >= last : key <= last)) return `${key} comes after ${last}`;
        last = key;
        const family = Number(key.slice(2));
        seen.set(family, [...(seen.get(family) ?? []), numberOf(family, entry.value)]);
        // Now and then it lets go of files and memtables in the middle, as at the end of a turn.
        if (steps % 50 === 0) this.#reader.suspendCursors();
      }
    } finally {
      cursor.close();
    }
    for (const [family, numbers] of seen) {
      const isWhole = numbers.length === MEMBERS && numbers.every((number) => number === numbers[0]);
      if (!isWhole) return `family ${family} in a scan at ${cursor.revision} is ${numbers.join(' ')}`;
    }
    return undefined;
  }

  /** A snapshot that is held says the same for as long as it is held. */
  #again(round: number): string | undefined {
    if (this.#held !== undefined && round > this.#held.until) {
      this.#held.snapshot.release();
      this.#held = undefined;
    }
    this.#held ??= this.#take(round);
    const { snapshot, numbers } = this.#held;
    const family = round % FAMILIES;
    for (let member = 0; member < MEMBERS; member++) {
      const now = this.#at(family, member, snapshot.revision);
      if (now !== numbers[family]) {
        return `${keyText(family, member)} in snapshot ${snapshot.revision} was ${numbers[family]} and is ${now}`;
      }
    }
    return undefined;
  }

  #take(round: number): { snapshot: TreeSnapshot; numbers: readonly number[]; until: number } {
    const snapshot = this.#reader.snapshot();
    const numbers = Array.from({ length: FAMILIES }, (_, family) => this.#at(family, 0, snapshot.revision));
    return { snapshot, numbers, until: round + SNAPSHOT_ROUNDS };
  }
}

work((args, seat) => {
  const reading = new Reading(args as ReadingArgs);
  return (round) => {
    try {
      return reading.round(round, seat);
    } catch (error) {
      return error instanceof Error ? (error.stack ?? error.message) : String(error);
    }
  };
});
