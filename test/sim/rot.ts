/**
 * Rot: a bit of a node's log changes on its platter while the node is down, in a segment that is synced as a whole. The
 * node must refuse to start from it, or not need it; one that cuts its log there has lost what it acked, and the oracle
 * sees that. What was refused is put right, as if from a copy, or the node is repaired from its peers.
 */
import { isStoreError } from '../../src/core/base/errors.ts';
import type { MemoryDisk } from '../../src/engine/disk/memory-disk.ts';
import { segmentNumber } from '../../src/engine/wal/format.ts';
import type { Chance } from './chance.ts';
import { SEGMENT_BYTES } from './options.ts';

export class Rot {
  readonly #platter: MemoryDisk;
  readonly #chance: Chance;
  readonly #dir: string;
  #at: { readonly path: string; readonly offset: number; readonly bit: number } | undefined;

  constructor(platter: MemoryDisk, walDir: string, chance: Chance) {
    this.#platter = platter;
    this.#dir = walDir;
    this.#chance = chance;
  }

  /** It will not be mended. */
  #isForGood = false;

  /** The log is damaged, or may be, and nobody mends it. */
  get isForGood(): boolean {
    return this.#isForGood;
  }

  /** A bit rots, if there is a segment besides the newest, whose end may be torn. */
  begin(isForGood: boolean): void {
    const platter = this.#platter;
    const chance = this.#chance;
    if (this.#at !== undefined || !platter.exists(this.#dir)) return;
    const segments = platter.list(this.#dir).filter((name) => segmentNumber(name) !== undefined);
    segments.sort().pop();
    if (segments.length === 0) return;
    const path = `${this.#dir}/${chance.of(segments)}`;
    const file = platter.open(path, 'read');
    // Records, and not the zeros behind them.
    const offset = chance.below(Math.min(file.size(), SEGMENT_BYTES));
    file.close();
    this.#at = { path, offset, bit: chance.below(8) };
    this.#isForGood = isForGood;
    platter.flipBit(path, offset, this.#at.bit);
  }

  /** The node has started: what has rotted is nothing that it needs. */
  started(): void {
    this.#at = undefined;
    this.#isForGood = false;
  }

  /** The node has refused to start: is this why? */
  explains(failure: Error): 'mended' | 'for good' | undefined {
    const at = this.#at;
    if (at === undefined || !isStoreError(failure, 'WAL_CORRUPT')) return undefined;
    if (this.#isForGood) return 'for good';
    this.#at = undefined;
    this.#platter.flipBit(at.path, at.offset, at.bit);
    return 'mended';
  }
}
