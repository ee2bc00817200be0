/**
 * A history: what clients asked, what they were told, and in which order. docs/testing.md has the format for users.
 *
 * The order of events is the only time that counts: an operation is before another when its last event stands before
 * the other's first. Clocks of several machines would make up orders that never were, so `time` is for people.
 */
import type { Json } from './json.ts';

export const EVENT_TYPES = ['invoke', 'ok', 'fail', 'info'] as const;
export type EventType = (typeof EVENT_TYPES)[number];

export const EVENT_FUNCTIONS = ['read', 'write', 'cas', 'append', 'txn'] as const;
export type EventFunction = (typeof EVENT_FUNCTIONS)[number];

/** One line of the file. */
export interface HistoryEvent {
  readonly process: number;
  /** `ok`: it happened. `fail`: it did not. `info`: nobody knows, it may yet happen. */
  readonly type: EventType;
  readonly f: EventFunction;
  /** All but `txn`. */
  readonly key?: Json;
  /** `cas`: [from, to]. `txn`: a list of ["r", key, null], ["w", key, value], ["append", key, value], ["cas", key, [from, to]]. */
  readonly value?: Json;
  /** Any unit; it must not go back. */
  readonly time?: number;
}

/** What an operation does to one key. A key is its canonical JSON: `"x"` and `1` are keys, and not those of `x` and `"1"`. */
export type Part =
  /** `value` is what was seen; undefined when nobody was told. */
  | { readonly kind: 'read'; readonly key: string; readonly value: Json | undefined }
  /** Null deletes: the key then reads as null. */
  | { readonly kind: 'write'; readonly key: string; readonly value: Json }
  | { readonly kind: 'append'; readonly key: string; readonly value: Json }
  /** In a txn a condition that does not hold makes the whole txn do nothing. */
  | { readonly kind: 'cas'; readonly key: string; readonly from: Json; readonly to: Json };

/** An event's place. */
export interface Moment {
  /** Rises by one from event to event. */
  readonly at: number;
  readonly line: number;
  readonly time: number | undefined;
}

export interface Operation {
  /** By their first events. */
  readonly index: number;
  readonly process: number;
  readonly f: EventFunction;
  readonly parts: readonly Part[];
  readonly outcome: 'ok' | 'fail' | 'unknown';
  readonly call: Moment;
  /** Undefined when the outcome is unknown: such an operation is open for ever. */
  readonly end: Moment | undefined;
}

export interface History {
  readonly operations: readonly Operation[];
  readonly events: number;
}
