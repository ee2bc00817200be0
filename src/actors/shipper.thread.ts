/**
 * shipper: the thread that keeps the ledger's newest part and feeds it on. Commands and parts go through a port
 * (a few for all that is sent in a turn, bytes transferred, never cloned); records come in a ring.
 */
import type { TreeMemory } from '../engine/lsm/tree/memory.ts';
import type { TreeOptions } from '../engine/lsm/tree/options.ts';
import { StateReader } from '../engine/state/state-reader.ts';
import { CheckpointReader } from './checkpoints.ts';
import type { ShipperFacts } from './facts.ts';
import { LedgerIntake } from './ledger-intake.ts';
import { listen } from './runtime/bell.ts';
import { RingReader } from './runtime/ring.ts';
import type { StartActor } from './runtime/thread.ts';
import { must } from '../core/base/assert.ts';
import { ownerOf, Shared } from './shared.ts';
import { Shipper } from './shipper.ts';
import type { FromShipper, ToShipper } from './shipper-messages.ts';

export interface ShipperArgs {
  readonly shared: SharedArrayBuffer;
  readonly tree: TreeMemory;
  readonly dir: string;
  readonly options: TreeOptions;
  readonly ledger: SharedArrayBuffer;
  readonly cluster: string;
  readonly node: string;
  readonly subscriptionsMax: number;
  readonly checkpoints: SharedArrayBuffer;
}

/** Without subscribers nobody rings for every record; the gauges still go on, and slow readers are told. */
const LOOK_EVERY_MS = 500;
/** What may be on its way to all watches and replicas. */
const HELD_BYTES_MAX = 128 * 1024 * 1024;
/** Ledger records in memory; older ones are read from the tree. */
const WINDOW_BYTES = 16 * 1024 * 1024;

export const url: string = import.meta.url;

export const start: StartActor<ShipperArgs, undefined, ShipperFacts> = (args, context) => {
  const shared = new Shared(args.shared);
  const port = must(context.ports['gateway'], 'the shipper has a port to the gateway');
  const state = new StateReader({ memory: args.tree, dir: args.dir, options: args.options, owner: ownerOf('shipper') });
  const checkpoints = new CheckpointReader(args.checkpoints);
  const shipper = new Shipper({
    state,
    applied: shared.reader('applied'),
    timeMs: shared.reader('timeMs'),
    cluster: args.cluster,
    node: args.node,
    windowBytes: WINDOW_BYTES,
    ledgerFrom: shared.reader('ledgerFrom'),
    rowsAbout: () => Math.max(0, shared.get('tableKeys') + shared.get('memtableKeys')),
    subscriptionsMax: args.subscriptionsMax,
    heldBytesMax: HELD_BYTES_MAX,
    hashAt: (revision) => checkpoints.ledgerAt(revision),
    post: (message: FromShipper) => {
      const frames = message.kind === 'parts' ? message.frames : [];
      port.postMessage(
        message,
        frames.map(({ buffer }) => buffer),
      );
    },
  });

  const intake = new LedgerIntake(shared, new RingReader(args.ledger), shipper, {
    monotonicMs: () => performance.now(),
    later: (delayMs, work) => {
      const timer = setTimeout(work, delayMs);
      return { cancel: () => clearTimeout(timer) };
    },
  });
  port.on('message', (message: ToShipper) => intake.receive(message));
  const loop = listen(shared.bell('shipper'), () => intake.turn());
  const looks = setInterval(() => {
    state.tree.refresh();
    intake.look();
  }, LOOK_EVERY_MS);
  return Promise.resolve({
    started: undefined,
    ended: loop.ended,
    stop: async () => {
      clearInterval(looks);
      intake.close();
      await loop.stop();
      port.close();
      shipper.close();
      state.close();
    },
    inspect: () => ({
      subscriptions: shipper.subscriptions,
      windowBytes: shipper.window.bytes,
      heldBytes: shipper.heldBytes,
    }),
  });
};
