/**
 * What an engine must hold: batches in the order in which they were handed over, and the contents after each of them.
 *
 * The n-th batch that an engine takes has revision n (they are counted from 1), so after any crash the contents must be
 * those after batch `engine.revision`, whichever that is: nothing is missing in the middle, and no batch is there by half.
 */
import { expect } from 'vitest';
import type { Random } from '../../src/core/base/env.ts';
import type { Batch } from '../../src/engine/store/batch.ts';
import type { Engine, EngineOptions, WriteOptions } from '../../src/engine/store/index.ts';
import { below } from '../core/base/seeded.ts';

export const DIR = '/db';

/** Everything as small as it goes, so that a few hundred bytes flush, compact and rotate. */
export const SMALL: EngineOptions = {
  memtableBytes: 1024,
  batchBytesMax: 64 * 1024,
  memtables: 3,
  cacheBytes: 0,
  tableBytes: 1024,
  levelBaseBytes: 4096,
  blockBytes: 256,
  l0Compact: 2,
  l0Slow: 50,
  l0Stop: 60,
  walSegmentBytes: 2048,
  lock: false,
};

export type Op =
  | readonly ['put', key: string, value: string]
  | readonly ['del', key: string]
  | readonly ['range', from: string, to: string];

export type Contents = ReadonlyMap<string, string>;

const encoder = new TextEncoder();
const decoder = new TextDecoder();
export const bytes = (text: string): Uint8Array => encoder.encode(text);
export const text = (value: Uint8Array | undefined): string | undefined =>
  value === undefined ? undefined : decoder.decode(value);

/** A value that says of which key and write it is, `length` characters or a little more. */
export const valueOf = (key: string, number: number, length = 20): string =>
  `${key}#${number}#`.padEnd(length, String(number % 10));

export class EngineModel {
  /** By revision; the first is empty. */
  readonly states: Contents[] = [new Map()];
  /** The newest batch of which the engine said that it is durable. */
  synced = 0;
  /** The newest batch of which the engine said that it is written. */
  written = 0;

  /** The newest batch that was handed over. */
  get attempted(): number {
    return this.states.length - 1;
  }

  get contents(): Contents {
    return this.states[this.attempted] as Contents;
  }

  push(ops: readonly Op[]): number {
    this.states.push(applied(this.contents, ops));
    return this.attempted;
  }

  /** Hands a batch over, and notes what becomes of it. Rejects as the engine does. */
  async write(engine: Engine, ops: readonly Op[], options: WriteOptions = {}): Promise<number> {
    const number = this.push(ops);
    const revision = await engine.write(filled(engine.batch(), ops), options);
    expect(revision, 'batches are counted').toBe(number);
    this.written = Math.max(this.written, number);
    if (options.sync !== false) this.synced = Math.max(this.synced, number);
    return revision;
  }

  /** The engine lost its power: what came behind `revision` never was. */
  crashedTo(revision: number): void {
    this.states.length = revision + 1;
    this.synced = revision;
    this.written = revision;
  }
}

export function filled(batch: Batch, ops: readonly Op[]): Batch {
  for (const op of ops) {
    if (op[0] === 'put') batch.put(bytes(op[1]), bytes(op[2]));
    else if (op[0] === 'del') batch.delete(bytes(op[1]));
    else batch.deleteRange(bytes(op[1]), bytes(op[2]));
  }
  return batch;
}

export function applied(before: Contents, ops: readonly Op[]): Contents {
  const after = new Map(before);
  for (const op of ops) {
    if (op[0] === 'put') after.set(op[1], op[2]);
    else if (op[0] === 'del') after.delete(op[1]);
    else for (const key of [...after.keys()]) if (key >= op[1] && key < op[2]) after.delete(key);
  }
  return after;
}

/** All that the engine holds, by a scan. */
export function contentsOf(engine: Engine): Contents {
  return new Map(engine.rangeSync().map(({ key, value }) => [decoder.decode(key), decoder.decode(value)]));
}

const inOrder = (contents: Contents): [string, string][] =>
  [...contents].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));

/** Scans both ways and point reads all say the same as `wanted`; `others` are keys that must not be there. */
export function expectContents(engine: Engine, wanted: Contents, others: Iterable<string> = []): void {
  const entries = inOrder(wanted);
  expect(inOrder(contentsOf(engine))).toEqual(entries);
  const backward = engine.rangeSync({ reverse: true }).map(({ key, value }) => [text(key), text(value)]);
  expect(backward).toEqual(entries.toReversed());
  for (const [key, value] of entries) expect(text(engine.getSync(bytes(key)))).toBe(value);
  for (const key of others) if (!wanted.has(key)) expect(engine.getSync(bytes(key))).toBe(undefined);
}

/** Some batch over `keys` keys: mostly puts, sometimes several, deletes, ranges. */
export function randomOps(random: Random, number: number, keys: number): Op[] {
  const ops: Op[] = [];
  const key = (): string => `k${String(below(random, keys)).padStart(3, '0')}`;
  for (let count = random() < 0.6 ? 1 : 1 + below(random, 6); count > 0; count--) {
    const kind = random();
    if (kind < 0.75) {
      const at = key();
      ops.push(['put', at, valueOf(at, number, below(random, 120))]);
    } else if (kind < 0.95) ops.push(['del', key()]);
    else {
      const [from, to] = [key(), key()].sort() as [string, string];
      ops.push(['range', from, to]);
    }
  }
  return ops;
}
