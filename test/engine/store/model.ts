/**
 * What a store should say: every version of every key in a map, and nothing else.
 */
import { crc32 } from 'node:zlib';
import { compareBytes } from '../../../src/core/base/bytes.ts';
import type { Bounds, Op, WriteOp } from './ops.ts';
import { bytes } from './world.ts';

/** A value stands for its bytes: its name, repeated to its length. */
export const valueOf = (name: string, length: number): Uint8Array => {
  const value = new Uint8Array(length);
  const seed = bytes(name);
  for (let i = 0; i < length; i++) value[i] = seed[i % seed.length] as number;
  return value;
};

interface Version {
  readonly revision: number;
  /** undefined: deleted. */
  readonly value: string | undefined;
  readonly expiryMs: number;
}

interface View {
  readonly revision: number;
  readonly nowMs: number;
}

interface Cursor extends View {
  readonly bounds: Bounds;
  at: string | undefined;
  /** The next key may be `at` itself. */
  isInclusive: boolean;
  isEnded: boolean;
}

export const START_MS = 1_000_000;

const before = (a: string, b: string): boolean => compareBytes(bytes(a), bytes(b)) < 0;

/** As an entry is told in a history. */
export const told = (key: string, value: string, revision: number, expiryMs: number): string =>
  `${JSON.stringify(key)}=${value}@${revision}${expiryMs === 0 ? '' : `!${expiryMs}`}`;

export const toldValue = (value: Uint8Array): string => `${value.length}:${crc32(value).toString(16)}`;

export class Model {
  readonly #keys = new Map<string, Version[]>();
  readonly #snapshots = new Map<number, View>();
  readonly #cursors = new Map<number, Cursor>();
  #revision = 0;
  #clockMs = START_MS;
  #timeMs = START_MS;

  /** What the history says of `op`. */
  run(op: Op): string {
    switch (op.op) {
      case 'write':
        return op.batches.map((batch) => this.#write(batch)).join(' ');
      case 'clock':
        this.#clockMs += op.ms;
        this.#timeMs = Math.max(this.#timeMs, this.#clockMs);
        return String(this.#timeMs);
      case 'get':
        return this.#tell(op.key, this.#view(op.snapshot)) ?? 'none';
      case 'scan': {
        const view = this.#view(op.snapshot);
        return this.#take(this.#newCursor(op.bounds, view), op.limit);
      }
      case 'snapshot': {
        if (this.#snapshots.has(op.slot)) return 'taken';
        this.#snapshots.set(op.slot, this.#view(undefined));
        return String(this.#revision);
      }
      case 'release':
        return String(this.#snapshots.delete(op.slot));
      case 'cursor':
        if (this.#cursors.has(op.slot)) return 'taken';
        this.#cursors.set(op.slot, this.#newCursor(op.bounds, this.#view(op.snapshot)));
        return String(this.#cursors.get(op.slot)?.revision);
      case 'next': {
        const cursor = this.#cursors.get(op.slot);
        return cursor === undefined ? 'none' : this.#take(cursor, op.count);
      }
      case 'seek': {
        const cursor = this.#cursors.get(op.slot);
        if (cursor === undefined) return 'none';
        cursor.at = op.key;
        cursor.isInclusive = true;
        cursor.isEnded = false;
        return 'sought';
      }
      case 'closeCursor':
        return String(this.#cursors.delete(op.slot));
      case 'reopen':
        this.#cursors.clear();
        this.#snapshots.clear();
        // Not before what the store has seen: what it keeps of that over a restart is a test of its own.
        this.#clockMs = this.#timeMs;
        return 'done';
      default:
        return 'done';
    }
  }

  get clockMs(): number {
    return this.#clockMs;
  }

  #view(slot: number | undefined): View {
    return (
      (slot === undefined ? undefined : this.#snapshots.get(slot)) ?? { revision: this.#revision, nowMs: this.#timeMs }
    );
  }

  #write(batch: readonly WriteOp[]): string {
    const revision = ++this.#revision;
    for (const op of batch) {
      if (op.op === 'put') {
        const expiryMs = op.ttl === undefined ? 0 : this.#timeMs + op.ttl;
        this.#add(op.key, { revision, value: toldValue(valueOf(op.value, op.bytes)), expiryMs });
      } else if (op.op === 'del') this.#add(op.key, { revision, value: undefined, expiryMs: 0 });
      else {
        for (const key of this.#keys.keys()) {
          if (before(key, op.from) || (op.to !== undefined && !before(key, op.to))) continue;
          this.#add(key, { revision, value: undefined, expiryMs: 0 });
        }
      }
    }
    return String(revision);
  }

  #add(key: string, version: Version): void {
    const versions = this.#keys.get(key) ?? [];
    versions.push(version);
    this.#keys.set(key, versions);
  }

  #tell(key: string, { revision, nowMs }: View): string | undefined {
    const version = this.#keys.get(key)?.findLast((each) => each.revision <= revision);
    if (version?.value === undefined) return undefined;
    if (version.expiryMs !== 0 && version.expiryMs <= nowMs) return undefined;
    return told(key, version.value, version.revision, version.expiryMs);
  }

  #newCursor(bounds: Bounds, view: View): Cursor {
    return { ...view, bounds, at: undefined, isInclusive: true, isEnded: false };
  }

  #take(cursor: Cursor, limit: number): string {
    const { bounds, at, isInclusive } = cursor;
    const isNext = (key: string): boolean => {
      if (bounds.from !== undefined && before(key, bounds.from)) return false;
      if (bounds.to !== undefined && !before(key, bounds.to)) return false;
      if (at === undefined) return true;
      if (key === at) return isInclusive;
      return bounds.reverse ? before(key, at) : before(at, key);
    };
    if (cursor.isEnded) return 'end';
    const keys = [...this.#keys.keys()].filter(isNext).sort((a, b) => (before(a, b) ? -1 : 1));
    if (bounds.reverse) keys.reverse();
    const entries: string[] = [];
    for (const key of keys) {
      if (entries.length === limit) break;
      const entry = this.#tell(key, cursor);
      if (entry === undefined) continue;
      entries.push(entry);
      cursor.at = key;
      cursor.isInclusive = false;
    }
    if (entries.length < limit) {
      entries.push('end');
      cursor.isEnded = true;
    }
    return entries.join(' ');
  }
}
