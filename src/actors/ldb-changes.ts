/**
 * LdbChanges: what a commit to an LDB changed, for who keeps something that was made from it: caches, the changelog.
 */
import { InvariantViolation } from '../core/base/assert.ts';
import { EMPTY } from '../core/base/bytes.ts';
import type { Revision } from '../core/base/position.ts';
import { isStageKey, isUndoKey } from '../core/model/control/stage-keys.ts';
import { type Change, decodeRecords } from '../core/model/ledger.ts';

export interface LdbChanges {
  /** Where the LDB is now. */
  readonly revision: Revision;
  /** Everything up to here is told with it; less than `revision` while what was missed is told again. */
  readonly upTo: Revision;
  readonly keys: readonly Uint8Array[] | undefined;
  /** The same with the last change of each and its revision, in their order. */
  readonly changes: readonly LdbKeyChange[] | undefined;
}

export interface LdbKeyChange {
  readonly key: Uint8Array;
  /** 'shown': it was written earlier, and held back from this host until now. */
  readonly kind: Change['kind'] | 'shown';
  /** Of a put. */
  readonly value: Uint8Array;
  readonly revision: Revision;
}

export type OnChanges = (changes: LdbChanges) => void;

/** A listener that throws has missed a change and would never know: that is the end of it. */
function tell(onChanges: OnChanges, changes: LdbChanges): void {
  try {
    onChanges(changes);
  } catch (error) {
    throw new InvariantViolation(`onChanges threw: ${String(error)}`);
  }
}

/** Anything may have changed. */
export const tellAll = (onChanges: OnChanges, revision: Revision): void =>
  tell(onChanges, { revision, upTo: revision, keys: undefined, changes: undefined });

/** What the records of `pieces` change behind `told`. */
export const tellChanges = (onChanges: OnChanges, pieces: readonly Uint8Array[], told: Told): void =>
  tell(onChanges, new Changes(pieces, told));

interface Told {
  /** Everything up to here was told before. */
  readonly told: number;
  /** The LDB had everything up to here before: what of it is told now is told again. */
  readonly before: Revision;
  readonly upTo: Revision;
  readonly revision: Revision;
  readonly shown: readonly Uint8Array[];
}

/** Taken apart when somebody asks: most reflectors have nobody who does. */
class Changes implements LdbChanges {
  readonly revision: Revision;
  readonly upTo: Revision;
  readonly #pieces: readonly Uint8Array[];
  readonly #told: Told;
  #taken: { readonly changes: readonly LdbKeyChange[] | undefined } | undefined;

  constructor(pieces: readonly Uint8Array[], told: Told) {
    this.revision = told.revision;
    this.upTo = told.upTo;
    this.#pieces = pieces;
    this.#told = told;
  }

  get changes(): readonly LdbKeyChange[] | undefined {
    this.#taken ??= { changes: changesOf(this.#pieces, this.#told) };
    return this.#taken.changes;
  }

  get keys(): readonly Uint8Array[] | undefined {
    return this.changes?.map(({ key }) => key);
  }
}

/**
 * What the records behind `told` change, each key once. One that is held back from this host is told when it is written,
 * and once more when it is shown. Undefined: what was shown by a record that is told again is not known any more.
 */
function changesOf(pieces: readonly Uint8Array[], { told, before, upTo, shown }: Told): LdbKeyChange[] | undefined {
  const keys = new Map<string, LdbKeyChange>();
  const add = (change: LdbKeyChange): void => {
    const name = Buffer.from(change.key).toString('latin1');
    // In the order of last changes.
    keys.delete(name);
    keys.set(name, change);
  };
  for (const { revision, changes } of pieces.flatMap(decodeRecords)) {
    if (revision <= told) continue;
    for (const { kind, key, value } of changes) {
      if (!isStageKey(key) && !isUndoKey(key)) add({ kind, key, value, revision });
      else if (revision <= before) return undefined;
    }
  }
  for (const key of shown) add({ kind: 'shown', key, value: EMPTY, revision: upTo });
  return [...keys.values()];
}
