/**
 * Txn: the builder a caller fills, and the answer as it is read back.
 */
import { ByteReader } from '../core/base/bytes.ts';
import { StoreError } from '../core/base/errors.ts';
import type { Revision } from '../core/base/position.ts';
import type { Condition, Operation, Txn } from '../core/model/commands.ts';
import { LIMITS } from '../core/model/limits.ts';
import { ClientEntry, toBytes } from './entry.ts';
import type { Bytes, TxnBuilder, TxnCondition, TxnOpResult, TxnResult } from './types.ts';

const NONE = new Uint8Array(0);

export class Builder implements TxnBuilder {
  readonly #conditions: Condition[] = [];
  readonly #then: Operation[] = [];
  readonly #otherwise: Operation[] = [];
  #branch = this.#then;

  if(condition: TxnCondition): this {
    switch (condition.kind) {
      case 'revision':
        return this.ifRevision(condition.key, condition.revision);
      case 'exists':
        return this.ifExists(condition.key);
      case 'absent':
        return this.ifAbsent(condition.key);
      case 'value':
        return this.ifValue(condition.key, condition.value);
      default:
        throw new StoreError('BAD_REQUEST', `no such condition: ${JSON.stringify(condition)}`);
    }
  }

  ifRevision(key: Bytes, revision: number): this {
    checkCounter('revision', revision);
    return this.#condition({ kind: 'revision', key: toBytes(key), revision, value: NONE });
  }

  ifAbsent(key: Bytes): this {
    return this.ifRevision(key, 0);
  }

  ifExists(key: Bytes): this {
    return this.#condition({ kind: 'exists', key: toBytes(key), revision: 0, value: NONE });
  }

  ifValue(key: Bytes, value: Bytes): this {
    return this.#condition({ kind: 'value', key: toBytes(key), revision: 0, value: toBytes(value) });
  }

  put(key: Bytes, value: Bytes, options: { readonly ttlMs?: number } = {}): this {
    const ttlMs = checkTtl(options.ttlMs);
    this.#branch.push({ kind: 'put', key: toBytes(key), value: toBytes(value), ttlMs });
    return this;
  }

  delete(key: Bytes): this {
    this.#branch.push({ kind: 'delete', key: toBytes(key), value: NONE, ttlMs: 0 });
    return this;
  }

  get(key: Bytes): this {
    this.#branch.push({ kind: 'get', key: toBytes(key), value: NONE, ttlMs: 0 });
    return this;
  }

  else(): this {
    if (this.#branch === this.#otherwise) throw new StoreError('BAD_REQUEST', 'a txn has one else()');
    this.#branch = this.#otherwise;
    return this;
  }

  build(): Txn {
    return { conditions: this.#conditions, then: this.#then, otherwise: this.#otherwise };
  }

  #condition(condition: Condition): this {
    if (this.#then.length > 0 || this.#branch === this.#otherwise) {
      throw new StoreError('BAD_REQUEST', 'conditions come before the first operation of a txn');
    }
    this.#conditions.push(condition);
    return this;
  }
}

/** Refuses here what would not even fit in a frame: a server could only close the connection on it. */
export function checkTxnBytes(bytes: number): void {
  const limit = LIMITS.txnBytesMax;
  if (bytes <= limit) return;
  throw new StoreError('TXN_TOO_LARGE', `a txn may have ${limit} bytes; this one has ${bytes}`, {
    data: { limit, size: bytes },
  });
}

/** A revision or a count as a caller gave it; 0 when there is none. Refuses what no counter can be. */
export function checkCounter(name: string, value: number | undefined): number {
  if (value === undefined) return 0;
  if (!Number.isSafeInteger(value) || value < 0) {
    throw new StoreError('BAD_REQUEST', `${name} is a whole number, 0 or more (got ${value})`);
  }
  return value;
}

/** 0 for none; refuses what is no duration. */
export function checkTtl(ttlMs: number | undefined): number {
  if (ttlMs === undefined) return 0;
  if (!Number.isSafeInteger(ttlMs) || ttlMs <= 0) {
    throw new StoreError('BAD_REQUEST', `ttlMs is a whole number of milliseconds above 0 (got ${ttlMs})`);
  }
  return ttlMs;
}

/** Reads what Machine wrote (core/model/machine.ts). */
export function decodeTxnResult(revision: Revision, extra: Uint8Array): TxnResult {
  const reader = new ByteReader(extra);
  const succeeded = reader.u8() === 1;
  const results: TxnOpResult[] = [];
  while (reader.left > 0) {
    const kind = reader.u8();
    if (kind === 0) results.push({ kind: 'put' });
    else if (kind === 1) results.push({ kind: 'delete', found: reader.u8() === 1 });
    else {
      const found = reader.u8() === 1;
      const key = reader.blob().slice();
      if (!found) results.push({ kind: 'get', entry: undefined });
      else {
        const written = reader.varint() as Revision;
        const expiryMs = reader.f64();
        results.push({ kind: 'get', entry: new ClientEntry(key, reader.blob().slice(), written, expiryMs) });
      }
    }
  }
  return { revision, succeeded, results };
}
