/**
 * ChangeFeed: what changes in an LDB, for loops in the same process. Each has a bounded buffer of its own. One that is too
 * slow for it loses what is there and is told to be out of sync, with the revision from which it is told everything again:
 * a cache then forgets, and nothing is stale for ever.
 *
 * Invariant: between two items without an out-of-sync nothing that was wanted is missing.
 */
import { StoreError } from '../core/base/errors.ts';
import { type ChangesFilter, isWanted, type LdbChange } from '../engine/ldb/changes.ts';

export interface ChangesOptions extends ChangesFilter {
  /** Changes that may wait for the loop; default 10 000. */
  readonly bufferMax?: number;
  /** Ends it. */
  readonly signal?: AbortSignal;
}

const BUFFER_MAX = 10_000;

export class ChangeFeed {
  readonly #loops = new Set<ChangeLoop>();
  #isClosed = false;

  /** Begins now, and not with the first turn of the loop: what is read behind this call is not older than its changes. */
  open(options: ChangesOptions = {}): AsyncIterableIterator<LdbChange> {
    const { family, table, prefix, signal } = options;
    if (table !== undefined && family === undefined) throw new StoreError('BAD_REQUEST', 'a table has a family');
    if (prefix !== undefined && family !== undefined) {
      throw new StoreError('BAD_REQUEST', 'rows have a family, other keys a prefix: not both');
    }
    const loop = new ChangeLoop(options, () => this.#loops.delete(loop));
    if (this.#isClosed || signal?.aborted === true) loop.end();
    else {
      this.#loops.add(loop);
      signal?.addEventListener('abort', () => loop.end(), { once: true });
    }
    return loop;
  }

  get isEmpty(): boolean {
    return this.#loops.size === 0;
  }

  push(changes: readonly LdbChange[]): void {
    for (const loop of this.#loops) loop.push(changes);
  }

  /** All end, behind what they have. */
  close(): void {
    this.#isClosed = true;
    for (const loop of [...this.#loops]) loop.end();
  }
}

class ChangeLoop implements AsyncIterableIterator<LdbChange> {
  readonly #options: ChangesOptions;
  readonly #onEnd: () => void;
  #items: LdbChange[] = [];
  #waiting: ((result: IteratorResult<LdbChange>) => void)[] = [];
  #isEnded = false;

  constructor(options: ChangesOptions, onEnd: () => void) {
    this.#options = options;
    this.#onEnd = onEnd;
  }

  push(changes: readonly LdbChange[]): void {
    for (const change of changes) if (isWanted(change, this.#options)) this.#add(change);
  }

  #add(change: LdbChange): void {
    const waiting = this.#waiting.shift();
    if (waiting !== undefined) return waiting({ value: change, done: false });
    const { bufferMax = BUFFER_MAX } = this.#options;
    const isLost = this.#items.length >= bufferMax || change.kind === 'out-of-sync';
    // Whoever forgets everything need not be told what came before.
    if (isLost) this.#items = [{ kind: 'out-of-sync', revision: change.revision }];
    else this.#items.push(change);
  }

  next(): Promise<IteratorResult<LdbChange>> {
    const item = this.#items.shift();
    if (item !== undefined) return Promise.resolve({ value: item, done: false });
    if (this.#isEnded) return Promise.resolve({ value: undefined, done: true });
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
    });
  }

  return(): Promise<IteratorResult<LdbChange>> {
    this.#items = [];
    this.end();
    return Promise.resolve({ value: undefined, done: true });
  }

  end(): void {
    this.#isEnded = true;
    this.#onEnd();
    for (const resolve of this.#waiting.splice(0)) resolve({ value: undefined, done: true });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
