/**
 * Showing: what an LDB's readers see of staged data: the state that the host's ring is shown (core/model/control/stages.ts).
 *
 * The ledger comes whole and in order, as to every replica; what is shown is a function of the cluster's state at the LDB's
 * revision, and of the ring. A key that has an undo row behind the ring's mark is shown as that row says; its newest value is
 * kept beside it, where no reader looks, until the mark goes on:
 *
 *   ff 'h' key → header of a row (16 bytes, of no meaning) | 0, or 1 and the row
 *
 * So a read costs what it always did, positions and state hashes are the ledger's, and a snapshot is enough to begin with.
 *
 * Invariants:
 *  - A key has a row `h` just when it is shown as an undo row says.
 *  - What one revision releases, or takes back, becomes visible in the commit of that revision, whole.
 */
import { must } from '../../core/base/assert.ts';
import { compareBytes, prefixEnd } from '../../core/base/bytes.ts';
import {
  heldKey,
  HELD_PREFIX,
  isHeldKey,
  isStageKey,
  isUndoKey,
  keyOfHeld,
  keyOfUndo,
  stageOfKey,
  STAGES_PREFIX,
  undoOfKey,
  undoPrefix,
} from '../../core/model/control/stage-keys.ts';
import { decodeStage, shownTo } from '../../core/model/control/stages.ts';
import { ROW_HEADER_BYTES } from './format.ts';
import type { RowView, RowWrite } from './store.ts';

const FLAG_AT: number = ROW_HEADER_BYTES;
const BODY_AT: number = ROW_HEADER_BYTES + 1;
const FOLLOWS = Number.POSITIVE_INFINITY;

interface Known {
  readonly id: number;
  /** What this ring is shown of it. */
  readonly shown: number;
}

export class Showing {
  readonly #ring: string;
  #stages = new Map<string, Known>();

  /** `ring`: '' for a host that is in none. */
  constructor(ring: string) {
    this.#ring = ring;
  }

  /** As the rows of `view` say. */
  read(view: RowView): void {
    this.#stages = new Map();
    for (const { key, row } of view.range(STAGES_PREFIX, end(STAGES_PREFIX))) this.#learn(key, row);
  }

  /** Nothing is staged, so writes may go as they come; unless one of them is a stage. */
  get isIdle(): boolean {
    return this.#stages.size === 0;
  }

  /** What is to be written when each of `records` (the writes of one revision) is to be. */
  shape(
    records: readonly (readonly RowWrite[])[],
    view: RowView,
  ): { readonly writes: RowWrite[]; readonly shown: Uint8Array[] } {
    const draft = new Draft(view);
    const shown: Uint8Array[] = [];
    for (const writes of records) this.#revision(writes, draft, shown);
    return { writes: draft.writes(), shown };
  }

  /** What is to be written behind everything that `view` has, be it all of a snapshot or of another ring. */
  shapeAll(view: RowView): RowWrite[] {
    this.read(view);
    const draft = new Draft(view);
    for (const { id, shown } of this.#stages.values()) this.#show(id, shown, draft, []);
    return draft.writes();
  }

  #revision(writes: readonly RowWrite[], draft: Draft, shown: Uint8Array[]): void {
    const undone = new Set<string>();
    const moved: Known[] = [];
    for (const { key, row } of writes) {
      if (isUndoKey(key)) {
        draft.set(key, row);
        if (row !== undefined && this.#shownOf(undoOfKey(key).stage) !== FOLLOWS) undone.add(nameOf(keyOfUndo(key)));
      } else if (isStageKey(key)) {
        draft.set(key, row);
        moved.push(...this.#move(key, row));
      }
    }
    for (const { key, row } of writes) {
      if (isUndoKey(key) || isStageKey(key)) continue;
      const held = heldKey(key);
      if (undone.has(nameOf(key)) || draft.get(held) !== undefined) draft.set(held, heldRow(row));
      else draft.set(key, row);
    }
    for (const { id, shown: mark } of moved) this.#show(id, mark, draft, shown);
  }

  #shownOf(id: number): number {
    for (const stage of this.#stages.values()) if (stage.id === id) return stage.shown;
    return FOLLOWS;
  }

  /** The stage, if this ring is shown something else of it now. */
  #move(key: Uint8Array, row: Uint8Array | undefined): readonly Known[] {
    const name = stageOfKey(key);
    const before = this.#stages.get(name);
    if (row === undefined) this.#stages.delete(name);
    else this.#learn(key, row);
    const after = this.#stages.get(name);
    if (after !== undefined) return after.shown === before?.shown ? [] : [after];
    return before === undefined ? [] : [{ id: before.id, shown: FOLLOWS }];
  }

  #learn(key: Uint8Array, row: Uint8Array): void {
    const stage = decodeStage(key, row.subarray(ROW_HEADER_BYTES));
    this.#stages.set(stage.name, { id: stage.id, shown: shownTo(stage, this.#ring) });
  }

  /** Makes visible what the ring is shown of the stage: of each key the first undo row behind the mark, or its newest value. */
  #show(id: number, mark: number, draft: Draft, shown: Uint8Array[]): void {
    let last: Uint8Array | undefined;
    let isShown = false;
    const settle = (): void => {
      if (last === undefined || isShown) return;
      const held = draft.get(heldKey(last));
      if (held === undefined) return;
      draft.set(last, rowOfHeld(held));
      draft.set(heldKey(last), undefined);
      shown.push(last);
    };
    const prefix = undoPrefix(id);
    for (const { key: at, row } of draft.range(prefix, end(prefix))) {
      const { key, revision } = undoOfKey(at);
      if (last === undefined || compareBytes(last, key) !== 0) {
        settle();
        last = key.slice();
        isShown = false;
      }
      if (isShown || revision <= mark) continue;
      isShown = true;
      const held = heldKey(last);
      if (draft.get(held) === undefined) draft.set(held, heldRow(draft.get(last)));
      draft.set(last, row[FLAG_AT] === 0 ? undefined : row.slice(BODY_AT));
      shown.push(last);
    }
    settle();
  }
}

type Row = { readonly key: Uint8Array; readonly row: Uint8Array };

/** The newest row of each key, for who serves others from this LDB: staged or not, as the cluster has it. */
export function* newestRows(view: RowView, from: Uint8Array, to: Uint8Array | undefined): Generator<Row> {
  const held = heldRows(view, from, to);
  try {
    let hidden = held.next();
    for (const { key, row } of view.range(from, to)) {
      if (isHeldKey(key)) continue;
      for (; hidden.done !== true && compareBytes(hidden.value.key, key) < 0; hidden = held.next()) {
        yield* newest(hidden.value);
      }
      if (hidden.done === true || compareBytes(hidden.value.key, key) !== 0) yield { key, row };
      else {
        yield* newest(hidden.value);
        hidden = held.next();
      }
    }
    for (; hidden.done !== true; hidden = held.next()) yield* newest(hidden.value);
  } finally {
    held.return();
  }
}

/** By the keys that are held back. */
function* heldRows(view: RowView, from: Uint8Array, to: Uint8Array | undefined): Generator<Row, void> {
  const last = to === undefined ? end(HELD_PREFIX) : heldKey(to);
  for (const { key, row } of view.range(heldKey(from), last)) yield { key: keyOfHeld(key), row };
}

function* newest({ key, row }: Row): Generator<Row> {
  const shown = rowOfHeld(row);
  if (shown !== undefined) yield { key, row: shown };
}

/** Writes that are not committed yet, over the rows that are there. */
class Draft {
  readonly #view: RowView;
  readonly #writes = new Map<string, RowWrite>();

  constructor(view: RowView) {
    this.#view = view;
  }

  get(key: Uint8Array): Uint8Array | undefined {
    const write = this.#writes.get(nameOf(key));
    return write === undefined ? this.#view.get(key) : write.row;
  }

  set(key: Uint8Array, row: Uint8Array | undefined): void {
    this.#writes.set(nameOf(key), { key, row });
  }

  writes(): RowWrite[] {
    return [...this.#writes.values()];
  }

  *range(from: Uint8Array, to: Uint8Array): Generator<{ key: Uint8Array; row: Uint8Array }> {
    const [first, behind] = [nameOf(from), nameOf(to)];
    const written = [...this.#writes].filter(([name]) => name >= first && name < behind);
    const ours = written.sort(([a], [b]) => (a < b ? -1 : 1)).map(([, write]) => write);
    let at = 0;
    for (const one of this.#view.range(from, to)) {
      for (; at < ours.length && compareBytes((ours[at] as RowWrite).key, one.key) < 0; at++) yield* live(ours[at]);
      const isWritten = at < ours.length && compareBytes((ours[at] as RowWrite).key, one.key) === 0;
      if (isWritten) yield* live(ours[at++]);
      else yield one;
    }
    for (; at < ours.length; at++) yield* live(ours[at]);
  }
}

function* live(write: RowWrite | undefined): Generator<{ key: Uint8Array; row: Uint8Array }> {
  if (write?.row !== undefined) yield { key: write.key, row: write.row };
}

function heldRow(row: Uint8Array | undefined): Uint8Array {
  const held = new Uint8Array(BODY_AT + (row?.length ?? 0));
  held[FLAG_AT] = row === undefined ? 0 : 1;
  if (row !== undefined) held.set(row, BODY_AT);
  return held;
}

const rowOfHeld = (held: Uint8Array): Uint8Array | undefined => (held[FLAG_AT] === 0 ? undefined : held.slice(BODY_AT));

/** Bytes as text that sorts as they do. */
const nameOf = (key: Uint8Array): string => Buffer.from(key.buffer, key.byteOffset, key.length).toString('latin1');

const end = (prefix: Uint8Array): Uint8Array => must(prefixEnd(prefix), 'prefixes of control data have an end');
