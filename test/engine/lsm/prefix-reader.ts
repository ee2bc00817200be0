/**
 * A reading thread: looks at the ten keys of a round at the revision that is published, over and over, and counts
 * what it sees that cannot be. Ends when the writer says so.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { toIndex } from '../../../src/core/base/position.ts';
import { PlainState } from '../../support/plain-state.ts';

export interface PrefixArgs {
  readonly arena: SharedArrayBuffer;
  /** Words: 0 published revision, 1 the writer is done, 2 readers that are ready. */
  readonly shared: SharedArrayBuffer;
  readonly groups: number;
  readonly readsMin: number;
}

export interface PrefixSeen {
  readonly reads: number;
  readonly revisions: number;
  readonly faults: string[];
}

export const PREFIXES = 10;

/** Key `prefix` of group `group`. Its value is the revision it was written at, twice. */
export function keyOf(prefix: number, group: number): Uint8Array {
  return Uint8Array.of(0x30 + prefix, 0x2f, group >>> 8, group & 0xff, 0x78);
}

function run(args: PrefixArgs): PrefixSeen {
  const memtable = new PlainState(args.arena);
  const shared = new Int32Array(args.shared);
  const faults: string[] = [];
  const fault = (text: string): void => void (faults.length < 5 && faults.push(text));
  let reads = 0;
  let revisions = 0;
  let newestSeen = -1;
  Atomics.add(shared, 2, 1);
  for (let round = 0; ; round++) {
    const isDone = Atomics.load(shared, 1) === 1;
    const revision = Atomics.load(shared, 0);
    if (revision < newestSeen) fault(`revision ${revision} after ${newestSeen}`);
    if (revision !== newestSeen) revisions++;
    newestSeen = revision;
    const group = (round * 7) % args.groups;
    // The last write of this group at or before the revision; groups take turns.
    const expected = revision < group + 1 ? 0 : revision - ((revision - 1 - group) % args.groups);
    for (let prefix = 0; prefix < PREFIXES; prefix++) {
      const stored = memtable.get(keyOf(prefix, group), toIndex(revision));
      reads++;
      const value = stored && new DataView(stored.value.buffer, stored.value.byteOffset, stored.value.length);
      const seen = value === undefined ? 0 : value.getFloat64(0);
      if (
        seen !== expected ||
        (value !== undefined && value.getFloat64(8) !== expected) ||
        (stored?.revision ?? 0) !== expected
      ) {
        fault(`key ${prefix} of group ${group} at revision ${revision}: ${seen}, not ${expected}`);
      }
    }
    if (round % 64 === 0) {
      // A scan of one prefix sees each group that was written, once, in order.
      const prefix = round % PREFIXES;
      const from = Uint8Array.of(0x30 + prefix);
      const to = Uint8Array.of(0x31 + prefix);
      const cursor = memtable.scan({ from, to, reverse: round % 128 === 0 }, toIndex(revision));
      let count = 0;
      for (let entry = cursor.next(); entry !== undefined; entry = cursor.next()) {
        count++;
        if (entry.revision > revision) fault(`revision ${entry.revision} in a scan at ${revision}`);
      }
      reads += count;
      if (count !== Math.min(revision, args.groups)) fault(`${count} groups in a scan at ${revision}`);
    }
    if (isDone && reads >= args.readsMin) return { reads, revisions, faults };
  }
}

parentPort?.postMessage(run(workerData as PrefixArgs));
