/**
 * memtable: the one writer of the state. It parks until replication hands over committed entries, applies them
 * in order, publishes how far it is, and passes the answers to the gateway and the ledger to the shipper.
 *
 * `applied` is published before the answers leave: whoever has an answer can read what it wrote, in this
 * process, from any thread.
 *
 * On the put path: stop 7 of 9. From replication; to gateway (answers) and shipper (ledger).
 */
import { ByteReader } from '../core/base/bytes.ts';
import { toIndex } from '../core/base/position.ts';
import { Machine } from '../core/model/machine.ts';
import { Memtable } from '../engine/lsm/memtable.ts';
import { park } from './runtime/bell.ts';
import { RingReader, RingWriter } from './runtime/ring.ts';
import type { StartActor } from './runtime/thread.ts';
import { type ActorName, Shared } from './shared.ts';

export interface MemtableArgs {
  readonly shared: SharedArrayBuffer;
  readonly memtable: SharedArrayBuffer;
  /** Committed entries: (index u64, length u32, data)* per frame. */
  readonly committed: SharedArrayBuffer;
  /** Answers to the gateway. */
  readonly answers: SharedArrayBuffer;
  /** Ledger records to the shipper. */
  readonly ledger: SharedArrayBuffer;
  readonly origin: number;
}

/** Hand on what one frame made once it is this much, so that no frame outgrows a ring. */
const HAND_ON_BYTES = 256 * 1024;
/** Ledger records that may lie in the ring while nobody is subscribed. */
const LEDGER_UNREAD_BYTES = 1024 * 1024;

export const url: string = import.meta.url;

export const start: StartActor<MemtableArgs, undefined> = (args) => {
  const shared = new Shared(args.shared);
  const table = new Memtable(args.memtable);
  const machine = new Machine(table, args.origin);
  const committed = new RingReader(args.committed);
  const answers = new RingWriter(args.answers);
  const ledger = new RingWriter(args.ledger);
  const bell = shared.bell('memtable');
  const replication = shared.bell('replication');
  const gateway = shared.bell('gateway');
  const shipper = shared.bell('shipper');
  const readsWait = shared.reader('readsWait');
  const applyWaits = shared.reader('applyWaits');
  const subscriptions = shared.reader('subscriptions');

  /** Hands a frame on; at the bound it waits: the reader only copies, and a dead one ends the node. */
  const send = (ring: RingWriter, frame: Uint8Array, to: ActorName): void => {
    if (frame.length === 0) return;
    while (!ring.write(frame)) {
      const seen = bell.read();
      shared.bell(to).ring();
      bell.wait(seen, 5);
    }
  };

  const publish = (): void => {
    // In this order: whoever reads the time first and the position after never dates a position too young.
    shared.set('applied', machine.applied);
    shared.set('timeMs', Math.floor(machine.timeMs));
    const next = machine.nextExpiryMs;
    shared.set('nextExpiryMs', next === Number.POSITIVE_INFINITY ? 0 : Math.ceil(next));
    shared.set('memtableBytes', table.usedBytes);
    shared.set('keys', table.liveKeys);
    shared.set('sessions', machine.sessions.size);
    // A bell wakes a thread: rung only where somebody waits for what is there now.
    if (machine.results.length > 0) {
      send(answers, machine.results.view(), 'gateway');
      machine.results.reset();
      gateway.ring();
    } else if (readsWait() !== 0) gateway.ring();
    send(ledger, machine.records.view(), 'shipper');
    machine.records.reset();
    if (subscriptions() !== 0 || ledger.usedBytes > LEDGER_UNREAD_BYTES) shipper.ring();
  };

  const turn = (): boolean => {
    const frame = committed.peek();
    if (frame === undefined) return false;
    const reader = new ByteReader(frame);
    while (reader.left > 0) {
      const index = toIndex(reader.u64());
      machine.apply(index, reader.raw(reader.u32()));
      if (machine.records.length >= HAND_ON_BYTES || machine.results.length >= HAND_ON_BYTES) publish();
    }
    committed.pop();
    publish();
    if (applyWaits() !== 0) replication.ring();
    return true;
  };

  const loop = park(bell, turn, () => shared.wantsControl('memtable'));
  return Promise.resolve({
    started: undefined,
    ended: loop.ended,
    stop: () => loop.stop(),
    inspect: () => ({ applied: machine.applied, keys: table.liveKeys, bytes: table.usedBytes }),
  });
};
