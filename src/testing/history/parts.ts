/**
 * Parts: what an event's `value` says, key by key; first as it was asked, then with what was seen.
 *
 * Faults are RangeErrors whose text goes on from "line 7 …": the parser knows the line.
 */
import { unreachable } from '../../core/base/assert.ts';
import { canonical, isList, type Json, show } from './json.ts';
import type { EventFunction, Part } from './types.ts';

/** The parts of an `invoke`. */
export function invokedParts(f: EventFunction, key: Json | undefined, value: Json | undefined): readonly Part[] {
  if (f === 'txn') return txnParts(value);
  if (key === undefined || key === null) throw new RangeError(`has no key: a ${f} needs one`);
  const name = canonical(key);
  switch (f) {
    case 'read':
      return [{ kind: 'read', key: name, value: undefined }];
    case 'write':
    case 'append':
      if (value === undefined) throw new RangeError(`has no value to ${f}`);
      return [{ kind: f, key: name, value }];
    case 'cas':
      return [casPart(name, value)];
    default:
      return unreachable(f);
  }
}

/** The parts of an operation that ended well: its reads have what they saw, and the rest is what was asked. */
export function completedParts(f: EventFunction, asked: readonly Part[], value: Json | undefined): readonly Part[] {
  if (f === 'read') {
    if (value === undefined) throw new RangeError('is a read that does not say what it read (null: nothing was there)');
    return asked.map((part) => ({ ...part, value }) as Part); // A read has one part, and it is a read.
  }
  if (f === 'txn') return completedTxn(asked, value);
  const wanted = asked.map(partValue)[0] ?? null;
  if (value !== undefined && value !== null && canonical(value) !== canonical(wanted)) {
    throw new RangeError(`ends a ${f} of ${show(wanted)} with another value: ${show(value)}`);
  }
  return asked;
}

function completedTxn(asked: readonly Part[], value: Json | undefined): readonly Part[] {
  if (value === undefined || value === null) {
    if (asked.some((part) => part.kind === 'read')) {
      throw new RangeError('is a txn that does not say what it read');
    }
    return asked;
  }
  const done = txnParts(value, true);
  const isSame =
    done.length === asked.length &&
    done.every((part, i) => {
      const other = asked[i];
      if (other === undefined || part.kind !== other.kind || part.key !== other.key) return false;
      return part.kind === 'read' || canonical(partValue(part)) === canonical(partValue(other));
    });
  if (!isSame) throw new RangeError(`ends a txn with other operations than it began with: ${show(value)}`);
  return done;
}

function txnParts(value: Json | undefined, isDone = false): readonly Part[] {
  if (value === undefined || !isList(value)) throw new RangeError('is a txn without a list of operations');
  return value.map((part) => txnPart(part, isDone));
}

function txnPart(part: Json, isDone: boolean): Part {
  const said = `has ${show(part)} in its txn, which is none of ["r", key, …], ["w", key, …], ["append", key, …], ["cas", key, …]`;
  if (!isList(part) || part.length < 2 || part.length > 3) throw new RangeError(said);
  const [name, key = null, value = null] = part;
  if (key === null) throw new RangeError(`has a key that is null in its txn: ${show(part)}`);
  const text = canonical(key);
  switch (name) {
    case 'r':
      return { kind: 'read', key: text, value: isDone ? value : undefined };
    case 'w':
      return { kind: 'write', key: text, value };
    case 'append':
      return { kind: 'append', key: text, value };
    case 'cas':
      return casPart(text, value);
    default:
      throw new RangeError(said);
  }
}

function casPart(key: string, value: Json | undefined): Part {
  if (value === undefined || !isList(value) || value.length !== 2) {
    throw new RangeError('is a cas whose value is not [from, to]');
  }
  return { kind: 'cas', key, from: value[0] ?? null, to: value[1] ?? null };
}

function partValue(part: Part): Json {
  return part.kind === 'cas' ? [part.from, part.to] : (part.value ?? null);
}

/** `write 1`, `cas 1 → 2`, `read [1,2]`; with the key where there are several. */
export function describePart(part: Part, isKeyShown: boolean): string {
  const key = isKeyShown ? ` ${part.key}` : '';
  switch (part.kind) {
    case 'read':
      return `read${key} ${part.value === undefined ? '?' : show(part.value)}`;
    case 'write':
      return `write${key} ${show(part.value)}`;
    case 'append':
      return `append${key} ${show(part.value)}`;
    case 'cas':
      return `cas${key} ${show(part.from)} → ${show(part.to)}`;
    default:
      return unreachable(part);
  }
}
