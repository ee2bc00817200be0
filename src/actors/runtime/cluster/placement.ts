/**
 * Placement: which node hosts whom, as the log has it.
 *
 *   ctlmesh/actors/at/ADDRESS      { node, lease }     lease: key of the lease of that node; gone once it is not held
 *   ctlmesh/actors/state/ADDRESS   { state, answers }  of a durable actor, as its last commit left it
 *
 * ADDRESS is KIND/ID for durable actors, NAME for singletons. What a node finds here by itself is a hint, as it may be
 * behind; transactions with conditions decide (docs/decisions/actors-fenced-by-the-log.md).
 */
import { z } from 'zod';
import { isStoreError, StoreError } from '../../../core/base/errors.ts';
import { checkName } from '../core/define.ts';
import type { ActorStore, StoredEntry } from './store.ts';

const PREFIX = 'ctlmesh/actors';
export const placeKey = (address: string): string => `${PREFIX}/at/${address}`;
export const stateKey = (address: string): string => `${PREFIX}/state/${address}`;

const ADDRESS_MAX = 512;
const placeSchema = z.object({ node: z.string(), lease: z.string().min(1).max(1024) });

export interface Place {
  readonly node: string;
  readonly lease: string;
  /** Of the record. */
  readonly revision: number;
}

export const encodeJson = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value));
/** Undefined: no JSON. These keys are among the users' own, so it may be anything. */
export function decodeJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(bytes)) as unknown;
  } catch {
    return undefined;
  }
}

/** What a record says; one that somebody spoiled says nothing, and is written again by the next claim. */
export function placeOf(entry: StoredEntry | undefined): Place | undefined {
  if (entry === undefined) return undefined;
  const parsed = placeSchema.safeParse(decodeJson(entry.value));
  return parsed.success ? { ...parsed.data, revision: entry.revision } : undefined;
}

/** Where it is, as far as this node knows; `isHeld`: so is its lease. Undefined: nowhere. */
export function glanceAt(
  store: ActorStore,
  address: string,
): { readonly place: Place; readonly isHeld: boolean } | undefined {
  const place = placeOf(store.glance(placeKey(address)));
  return place && { place, isHeld: store.glance(place.lease) !== undefined };
}

/** The two parts of an address; a singleton has no id. BAD_REQUEST: it is none. */
export function partsOf(address: string): { readonly name: string; readonly id: string | undefined } {
  const [name = '', id, ...rest] = address.split('/');
  checkName(name);
  if (id !== undefined) checkName(id);
  if (rest.length > 0 || address.length > ADDRESS_MAX) {
    throw new StoreError('BAD_REQUEST', `"${address}" is no address: NAME, or KIND/ID, with ${ADDRESS_MAX} characters`);
  }
  return { name, id };
}

/** It was not handled here: whoever is asked has to be looked for again. */
export const moved = (address: string): StoreError =>
  new StoreError('LOCK_LOST', `${address} is not here, or not any more`, { data: { reason: 'moved' } });

/** This node cannot host it; another may. */
export const notHosted = (address: string, node: string): StoreError =>
  new StoreError('NOT_FOUND', `${node} does not host ${address}`, { data: { reason: 'not-hosted' } });

/** Of the store: it could not say, or not in time. What was claimed is claimed again. */
const PASSING: ReadonlySet<string> = new Set([
  'UNAVAILABLE',
  'DEADLINE_EXCEEDED',
  'OUTCOME_UNKNOWN',
  'SESSION_EXPIRED',
  'NOT_LEADER',
]);

/** An activation failed, and the next may not. */
export const isPassing = (error: unknown): boolean =>
  isElsewhere(error) || (error instanceof StoreError && PASSING.has(error.code));

/** Certainly not handled, and to be tried again. */
export const isElsewhere = (error: unknown): boolean =>
  (isStoreError(error, 'LOCK_LOST') && error.data['reason'] === 'moved') ||
  (isStoreError(error, 'NOT_FOUND') && error.data['reason'] === 'not-hosted');
