/**
 * memtable: the thread of the Memtable. It parks until replication hands over committed entries.
 */
import { must } from '../core/base/assert.ts';
import type { TreeMemory } from '../engine/lsm/tree/memory.ts';
import type { TreeOptions } from '../engine/lsm/tree/options.ts';
import { StateReader } from '../engine/state/state-reader.ts';
import type { MemtableFacts } from './facts.ts';
import { Memtable } from './memtable.ts';
import { park } from './runtime/bell.ts';
import { RingReader, RingWriter } from './runtime/ring.ts';
import type { StartActor } from './runtime/thread.ts';
import { ownerOf, Shared } from './shared.ts';

export interface MemtableArgs {
  readonly shared: SharedArrayBuffer;
  readonly tree: TreeMemory;
  readonly dir: string;
  readonly options: TreeOptions;
  /** Committed entries. */
  readonly committed: SharedArrayBuffer;
  /** Answers to the gateway. */
  readonly answers: SharedArrayBuffer;
  /** Ledger records to the shipper. */
  readonly ledger: SharedArrayBuffer;
  readonly checkpoints: SharedArrayBuffer;
  readonly tableSizes: SharedArrayBuffer;
  readonly origin: number;
  readonly ledgerBytes: number;
  readonly ledgerMs: number;
  readonly historyMs: number;
}

export const url: string = import.meta.url;

export const start: StartActor<MemtableArgs, undefined, MemtableFacts> = (args, context) => {
  const shared = new Shared(args.shared);
  const bell = shared.bell('memtable');
  // Cursors of this thread end in the turn that makes them: nothing is deferred.
  const owner = ownerOf('memtable');
  const { tree: memory, dir, options } = args;
  const reader = new StateReader({ memory, dir, options, owner, defer: () => {} });
  const toCompactor = must(context.ports['compactor'], 'the memtable has a port to the compactor');
  const actor = new Memtable({
    shared,
    tree: args.tree,
    options: args.options,
    reader,
    committed: new RingReader(args.committed),
    answers: new RingWriter(args.answers),
    ledger: new RingWriter(args.ledger),
    checkpoints: args.checkpoints,
    tableSizes: args.tableSizes,
    origin: args.origin,
    ledgerBytes: args.ledgerBytes,
    ledgerMs: args.ledgerMs,
    historyMs: args.historyMs,
    toCompactor: (frozen) => toCompactor.postMessage(frozen, [frozen.machineState.buffer]),
    pause: (seen, ms) => bell.wait(seen, ms),
    monotonicMs: () => performance.now(),
  });
  const loop = park(
    bell,
    () => actor.turn(),
    () => shared.wantsControl('memtable'),
  );
  return Promise.resolve({
    started: undefined,
    ended: loop.ended,
    stop: async () => {
      await loop.stop();
      reader.close();
      toCompactor.close();
    },
    inspect: () => actor.inspect(),
  });
};
