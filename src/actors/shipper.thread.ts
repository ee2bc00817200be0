/**
 * shipper: the thread that keeps the ledger's newest part and feeds it on. Commands and parts go through a port
 * (a few per second and subscription, bytes transferred, never cloned); records come in a ring.
 */
import { Memtable } from '../engine/lsm/memtable.ts';
import { listen } from './runtime/bell.ts';
import { RingReader } from './runtime/ring.ts';
import type { StartActor } from './runtime/thread.ts';
import { must } from '../core/base/assert.ts';
import { Shared } from './shared.ts';
import { type FromShipper, Shipper, type ToShipper } from './shipper.ts';

export interface ShipperArgs {
  readonly shared: SharedArrayBuffer;
  readonly memtable: SharedArrayBuffer;
  readonly ledger: SharedArrayBuffer;
  readonly cluster: string;
  readonly node: string;
  readonly windowBytes: number;
  readonly subscriptionsMax: number;
}

const IDLE_TURN_MS = 1_000;

export const url: string = import.meta.url;

export const start: StartActor<ShipperArgs, undefined> = (args, context) => {
  const shared = new Shared(args.shared);
  const ledger = new RingReader(args.ledger);
  const port = must(context.ports['gateway'], 'the shipper has a port to the gateway');
  const shipper = new Shipper({
    memtable: new Memtable(args.memtable),
    applied: shared.reader('applied'),
    timeMs: shared.reader('timeMs'),
    cluster: args.cluster,
    node: args.node,
    windowBytes: args.windowBytes,
    subscriptionsMax: args.subscriptionsMax,
    post: (message: FromShipper) => {
      if (message.kind === 'part') port.postMessage(message, [message.frame.buffer as ArrayBuffer]);
      else port.postMessage(message);
    },
  });

  const turn = (): void => {
    let isNew = false;
    for (let frame = ledger.peek(); frame !== undefined; frame = ledger.peek()) {
      // A copy: the ring's room is lent.
      shipper.append(frame.slice());
      ledger.pop();
      isNew = true;
    }
    if (!isNew) return;
    shared.set('ledgerFirst', shipper.window.first);
    shared.set('ledgerLast', shipper.window.last);
    // The memtable may have waited for room.
    shared.bell('memtable').ring();
    shipper.pumpAll();
  };

  port.on('message', (message: ToShipper) => {
    // A new subscriber begins at what is there, and what comes while it is not yet counted is not rung for.
    turn();
    shipper.receive(message);
    shared.set('subscriptions', shipper.subscriptions);
    turn();
  });
  const loop = listen(shared.bell('shipper'), turn);
  // Without subscribers nobody rings for every record; the gauges still go on.
  const idle = setInterval(turn, IDLE_TURN_MS);
  return Promise.resolve({
    started: undefined,
    ended: loop.ended,
    stop: async () => {
      clearInterval(idle);
      await loop.stop();
      port.close();
    },
    inspect: () => ({ subscriptions: shipper.subscriptions, windowBytes: shipper.window.bytes }),
  });
};
