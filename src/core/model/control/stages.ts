/**
 * Stages: data that hosts are shown ring by ring. A stage says which data (its scope), and which of its states each ring of
 * hosts is shown: the newest one, or that of a revision.
 *
 *   stage = format u8 (1) | id u64 | scope (ledger-filter.ts) | good varint | halted u8 | reason string
 *         | rings varint, (name string | shown varint)*
 *
 * Rings are in the order in which they are given a state: the last one, `*`, is everybody who is in no other. A ring's state
 * is that of the ring before it, or (the first one) of the moment. `good` is the state that everybody was last shown before
 * the present one: what there is to go back to.
 *
 * Invariant: whatever revision a ring is shown, and `good`, can be shown: what was changed since is kept (staging.ts).
 */
import { unreachable } from '../../base/assert.ts';
import { ByteReader, ByteWriter } from '../../base/bytes.ts';
import { StoreError } from '../../base/errors.ts';
import { decodeFilter, encodeFilter, intersect, isNothing, type LedgerFilter } from '../ledger-filter.ts';
import { stageOfKey } from './stage-keys.ts';

/** The ring of those who are in no other. */
export const EVERYBODY = '*';
/** What a ring is shown that follows: whatever there is. */
export const FOLLOWS = 0;

export interface Ring {
  readonly name: string;
  /** The revision whose state it is shown; FOLLOWS: the newest one. */
  readonly shown: number;
}

export interface Stage {
  readonly name: string;
  /** The revision that created it. */
  readonly id: number;
  readonly scope: LedgerFilter;
  readonly rings: readonly Ring[];
  readonly good: number;
  /** Nothing is released, and why; undefined: it may be. */
  readonly halted: string | undefined;
}

export type StageMove = 'release' | 'follow' | 'hold' | 'halt' | 'resume' | 'rollback' | 'bypass';
/** By number in a command: new ones go to the end. */
export const STAGE_MOVES: readonly StageMove[] = ['release', 'follow', 'hold', 'halt', 'resume', 'rollback', 'bypass'];

export const STAGES_MAX = 64;
export const RINGS_MAX = 16;
export const REASON_CHARS_MAX = 200;
/** The row is written with each move, and shipped. */
const SCOPE_BYTES_MAX = 16 * 1024;
const NAME = /^[a-z][a-z0-9_-]{0,49}$/;
const FORMAT = 1;

export function parseStageName(name: string): string {
  if (NAME.test(name)) return name;
  throw new StoreError('BAD_REQUEST', 'a stage is named with up to 50 small letters, digits, - and _');
}

/** Those that are named, and everybody else behind them. */
export function parseRings(names: readonly string[]): readonly string[] {
  if (names.length >= RINGS_MAX) throw new StoreError('BAD_REQUEST', `a stage has at most ${RINGS_MAX} rings`);
  for (const [i, name] of names.entries()) {
    if (!NAME.test(name)) throw new StoreError('BAD_REQUEST', 'a ring is named with small letters, digits, - and _');
    if (names.indexOf(name) !== i) throw new StoreError('BAD_REQUEST', `the ring ${name} is named twice`);
  }
  return [...names, EVERYBODY];
}

export function checkScope(scope: LedgerFilter): void {
  if (isNothing(scope))
    throw new StoreError('BAD_REQUEST', 'a stage is of families, tables or prefixes: none is named');
  const size = encodeFilter(scope).length;
  if (size <= SCOPE_BYTES_MAX) return;
  throw new StoreError('BAD_REQUEST', `what a stage is of is said in ${SCOPE_BYTES_MAX} bytes, not ${size}`);
}

export function checkReason(move: StageMove, reason: string): void {
  const isWanted = move === 'halt';
  if (isWanted !== (reason !== '')) {
    throw new StoreError('BAD_REQUEST', isWanted ? 'a halt has a reason' : `${move} takes no reason`);
  }
  if (Array.from(reason).length <= REASON_CHARS_MAX) return;
  throw new StoreError('BAD_REQUEST', `a reason has at most ${REASON_CHARS_MAX} characters`);
}

export function overlaps(a: LedgerFilter, b: LedgerFilter): boolean {
  const both = intersect(a, b);
  return both === undefined || !isNothing(both);
}

/** What a host in `ring` ('': none) is shown: a revision, or Infinity: the newest. */
export function shownTo({ rings }: Pick<Stage, 'rings'>, ring: string): number {
  const own = rings.find(({ name }) => name === ring) ?? rings.at(-1);
  return own === undefined || own.shown === FOLLOWS ? Number.POSITIVE_INFINITY : own.shown;
}

/**
 * What is left of a stage until its undo rows are swept: everybody follows, nothing is staged, its name is not free yet. One
 * that has no rings.
 */
export const dropped = (stage: Stage): Stage => ({
  ...stage,
  ...{ scope: { families: [], tables: [], prefixes: [] }, rings: [], good: 0, halted: undefined },
});
export const isDropped = ({ rings }: Stage): boolean => rings.length === 0;

/** The states that must be shown to somebody, or could be, in no order. */
export function marksOf({ rings, good }: Stage): number[] {
  if (rings.length === 0) return [];
  return [...new Set([good, ...rings.flatMap(({ shown }) => (shown === FOLLOWS ? [] : [shown]))])];
}

/** The entry that a move is in, and the one in which something of the scope last changed. */
export interface MoveMoment {
  readonly index: number;
  readonly changed: number;
}

/** The stage after a move. Throws the typed error that the caller gets. */
export function moved(
  stage: Stage,
  { move, ring, reason }: { readonly move: StageMove; readonly ring: string; readonly reason: string },
  { index, changed }: MoveMoment,
): Stage {
  switch (move) {
    case 'halt':
      return { ...stage, halted: reason };
    case 'resume':
      return { ...stage, halted: undefined };
    case 'release':
      return released(stage, ring, index);
    case 'follow':
      return following(stage, ring);
    case 'hold':
      return { ...stage, rings: stage.rings.map((one) => held(one, one === stage.rings[0], stage, index)) };
    case 'rollback':
      return rolledBack(stage, changed, ring === EVERYBODY);
    case 'bypass': {
      const rings = stage.rings.map(({ name }) => ({ name, shown: FOLLOWS }));
      return { ...stage, rings, good: goodOf(stage), halted: undefined };
    }
    default:
      return unreachable(move);
  }
}

const everybody = ({ rings }: Stage): Ring => rings.at(-1) as Ring;
/** What is left behind when everybody goes on. */
const goodOf = (stage: Stage): number => (everybody(stage).shown === FOLLOWS ? stage.good : everybody(stage).shown);

function placeOf({ name, rings, halted }: Stage, ring: string): number {
  if (halted !== undefined) {
    throw new StoreError('DISABLED', `stage ${name} is halted: ${halted}`, { data: { stage: name, reason: halted } });
  }
  const place = rings.findIndex((one) => one.name === ring);
  if (place !== -1) return place;
  throw new StoreError('NOT_FOUND', `stage ${name} has no ring ${ring}`, { data: { stage: name, ring } });
}

function released(stage: Stage, ring: string, index: number): Stage {
  const place = placeOf(stage, ring);
  const before = stage.rings[place - 1];
  const shown = before === undefined || before.shown === FOLLOWS ? index : before.shown;
  const now = stage.rings[place]?.shown ?? FOLLOWS;
  if (shown !== index && (now === FOLLOWS || now > shown)) {
    const message = `ring ${ring} of stage ${stage.name} is shown more than the ring before it; it would go back`;
    throw new StoreError('BAD_REQUEST', message, { data: { stage: stage.name, ring } });
  }
  return withRing(stage, place, shown);
}

function following(stage: Stage, ring: string): Stage {
  return withRing(stage, placeOf(stage, ring), FOLLOWS);
}

function withRing(stage: Stage, place: number, shown: number): Stage {
  const isLast = place === stage.rings.length - 1;
  const rings = stage.rings.map((one, i) => (i === place ? { ...one, shown } : one));
  // The same once more leaves nothing behind.
  const good = isLast && shown !== everybody(stage).shown ? goodOf(stage) : stage.good;
  return { ...stage, rings, good };
}

/** Rings that follow stay where they are now; the first one goes on, if it is not the only one. */
function held(ring: Ring, isFirst: boolean, { rings }: Stage, index: number): Ring {
  return ring.shown !== FOLLOWS || (isFirst && rings.length > 1) ? ring : { ...ring, shown: index };
}

/**
 * To what everybody is shown, if somebody is shown more; else (unless only that is meant) to what everybody was shown before.
 * Nothing is released then.
 */
function rolledBack(stage: Stage, changed: number, onlyUnreleased: boolean): Stage {
  const { shown } = everybody(stage);
  // One that follows is shown nothing else as long as nothing has changed.
  const isAhead =
    shown !== FOLLOWS && changed > shown && stage.rings.some((one) => one.shown === FOLLOWS || one.shown > shown);
  const target = isAhead ? shown : stage.good;
  if (stage.rings.every((one) => one.shown === target) || (onlyUnreleased && !isAhead)) {
    throw new StoreError('BAD_REQUEST', `stage ${stage.name} has nothing to go back to`, {
      data: { stage: stage.name },
    });
  }
  const rings = stage.rings.map(({ name }) => ({ name, shown: target }));
  return { ...stage, rings, halted: 'rolled back' };
}

export function encodeStage({ id, scope, rings, good, halted }: Stage): Uint8Array {
  const writer = new ByteWriter(256).u8(FORMAT).u64(id).raw(encodeFilter(scope)).varint(good);
  writer
    .u8(halted === undefined ? 0 : 1)
    .string(halted ?? '')
    .varint(rings.length);
  for (const { name, shown } of rings) writer.string(name).varint(shown);
  return writer.take();
}

/** Of its key and value. Throws PROTOCOL_ERROR. */
export function decodeStage(key: Uint8Array, value: Uint8Array): Stage {
  const reader = new ByteReader(value);
  const format = reader.u8();
  if (format !== FORMAT) throw new StoreError('PROTOCOL_ERROR', `a stage of format ${format}; ${FORMAT} is known`);
  const head = { name: stageOfKey(key), id: reader.u64(), scope: decodeFilter(reader), good: reader.varint() };
  const isHalted = reader.u8() !== 0;
  const reason = reader.string();
  const rings: Ring[] = [];
  for (let left = reader.varint(); left > 0; left--) rings.push({ name: reader.string(), shown: reader.varint() });
  reader.end();
  return { ...head, rings, halted: isHalted ? reason : undefined };
}
