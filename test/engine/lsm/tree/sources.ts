/**
 * Sorted runs for tests: versions of keys by chance, as rows of a plain array with a cursor over it.
 */
import type { Random } from '../../../../src/core/base/env.ts';
import { compareInternal, makeInternalKey, revisionOf, typeOf } from '../../../../src/engine/lsm/sstable/keys.ts';
import type { InternalCursor } from '../../../../src/engine/lsm/tree/merge.ts';
import { below, pick } from '../../../core/base/seeded.ts';

export interface Row {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

export const latin = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'latin1'));

/** A version; without a value, a tombstone. */
export function row(key: string, revision: number, value?: string): Row {
  return {
    key: makeInternalKey(latin(key), revision, value === undefined ? 0 : 1),
    value: value === undefined ? new Uint8Array(0) : latin(`\0${value}`),
  };
}

export const byKey = (a: Row, b: Row): number => compareInternal(a.key, a.key.length, b.key, b.key.length);

/** A cursor over rows that are in order; every way to move it that a merge uses. */
export class ArrayCursor implements InternalCursor {
  readonly #rows: readonly Row[];
  #at = -1;

  constructor(rows: readonly Row[]) {
    this.#rows = rows;
  }

  get valid(): boolean {
    return this.#at >= 0 && this.#at < this.#rows.length;
  }

  get key(): Uint8Array {
    return (this.#rows[this.#at] as Row).key;
  }

  get keyLength(): number {
    return this.key.length;
  }

  get block(): Uint8Array {
    return (this.#rows[this.#at] as Row).value;
  }

  get valueStart(): number {
    return 0;
  }

  get valueEnd(): number {
    return this.block.length;
  }

  first(): void {
    this.#at = 0;
  }

  last(): void {
    this.#at = this.#rows.length - 1;
  }

  seek(key: Uint8Array, keyLength: number): void {
    this.#at = this.#rows.findIndex((each) => compareInternal(each.key, each.key.length, key, keyLength) >= 0);
    if (this.#at < 0) this.#at = this.#rows.length;
  }

  next(): void {
    this.#at++;
  }

  prev(): void {
    this.#at--;
  }
}

export const here = (cursor: InternalCursor): string => {
  const { key, keyLength } = cursor;
  const user = Buffer.from(key.subarray(0, keyLength - 8)).toString('latin1');
  const value = Buffer.from(cursor.block.subarray(cursor.valueStart, cursor.valueEnd)).toString('latin1');
  return `${JSON.stringify(user)}@${revisionOf(key, keyLength)}:${typeOf(key, keyLength)}=${value}`;
};

export const toldRow = ({ key, value }: Row): string => here(placed(new ArrayCursor([{ key, value }])));

function placed(cursor: ArrayCursor): ArrayCursor {
  cursor.first();
  return cursor;
}

export function forward(cursor: InternalCursor): string[] {
  const all: string[] = [];
  for (; cursor.valid; cursor.next()) all.push(here(cursor));
  return all;
}

export function backward(cursor: InternalCursor): string[] {
  const all: string[] = [];
  for (; cursor.valid; cursor.prev()) all.push(here(cursor));
  return all;
}

const USERS: readonly string[] = ['', '\0', 'a', 'a\0', 'aa', 'aaaa', 'aaaab', 'b', '\xff', '\xff\xff'];

/** Rows in order, of a few keys, no two of one key and revision. */
export function someRows(random: Random, count: number, revisionMax: number): Row[] {
  const rows = new Map<string, Row>();
  for (let i = 0; i < count; i++) {
    const key = pick(random, USERS);
    const revision = 1 + below(random, revisionMax);
    rows.set(`${key}@${revision}`, row(key, revision, random() < 0.3 ? undefined : `v${below(random, 1000)}`));
  }
  return [...rows.values()].sort(byKey);
}

export const someTarget = (random: Random, revisionMax: number): Uint8Array =>
  makeInternalKey(latin(pick(random, USERS)), below(random, revisionMax + 2), 1);
