/**
 * memtable: the one writer of the state. It parks until replication hands over committed entries, applies them
 * in order, publishes how far it is, and passes the answers to the gateway and the ledger to the shipper.
 *
 * `applied` is published before the answers leave: whoever has an answer can read what it wrote, in this
 * process, from any thread.
 *
 * A memtable that is full is frozen, between two entries, and the next one begun; the compactor makes a table of it.
 * What is not rows (sessions, log time) goes to the compactor with it, so that tables always hold a whole state: a
 * restarted node begins there and applies the log from there on. When no memtable is free, or too many tables wait to
 * be merged, nothing is applied until there is room: replication then holds entries back, and the log fills no memory.
 *
 * On the put path: stop 7 of 9. From replication; to gateway (answers) and shipper (ledger), to compactor (frozen).
 */
import { assert, must } from '../core/base/assert.ts';
import { ByteReader, ByteWriter } from '../core/base/bytes.ts';
import { type Index, toIndex } from '../core/base/position.ts';
import { History } from '../core/model/history.ts';
import { LedgerRetention } from '../core/model/ledger-retention.ts';
import { Machine } from '../core/model/machine.ts';
import { Control } from '../engine/lsm/shared/control.ts';
import type { TreeMemory } from '../engine/lsm/tree/memory.ts';
import type { TreeOptions } from '../engine/lsm/tree/options.ts';
import { StateReader } from '../engine/state/state-reader.ts';
import { StateWriter } from '../engine/state/state-writer.ts';
import type { Frozen } from './compactor.thread.ts';
import { park } from './runtime/bell.ts';
import { RingReader, RingWriter } from './runtime/ring.ts';
import type { StartActor } from './runtime/thread.ts';
import { type ActorName, Shared } from './shared.ts';

export interface MemtableArgs {
  readonly shared: SharedArrayBuffer;
  readonly tree: TreeMemory;
  readonly dir: string;
  readonly options: TreeOptions;
  /** Committed entries: (index u64, length u32, data)* per frame. */
  readonly committed: SharedArrayBuffer;
  /** Answers to the gateway. */
  readonly answers: SharedArrayBuffer;
  /** Ledger records to the shipper. */
  readonly ledger: SharedArrayBuffer;
  readonly origin: number;
  /** How far back the ledger is kept. */
  readonly ledgerBytes: number;
  readonly ledgerMs: number;
  /** How far back the state can be read. */
  readonly historyMs: number;
}

/** Hand on what one frame made once it is this much, so that no frame outgrows a ring. */
const HAND_ON_BYTES = 256 * 1024;
/** Ledger records that may lie in the ring while nobody is subscribed. */
const LEDGER_UNREAD_BYTES = 1024 * 1024;
/** What an entry may take of a memtable beside twice its own bytes: a thousand expiries, and overhead. */
const ENTRY_ROOM_BYTES = 4 * 1024 * 1024;
/** Longest look away while there is no room: a reader that lets go of an old version rings nobody. */
const STALL_LOOK_MS = 5;

export const url: string = import.meta.url;

export const start: StartActor<MemtableArgs, undefined> = (args, context) => {
  const shared = new Shared(args.shared);
  const control = new Control(args.tree.control);
  // Cursors of this thread end in the turn that makes them: nothing is deferred.
  const reader = new StateReader({ memory: args.tree, dir: args.dir, options: args.options, defer: () => {} });
  const state = new StateWriter(args.tree, args.options.memtableBytes, reader.tree);
  const machine = new Machine(state, args.origin);
  const retention = new LedgerRetention(args.ledgerBytes, args.ledgerMs);
  restore(machine, retention, state, reader.tree.visible);
  const history = new History(args.historyMs, machine.applied);
  const committed = new RingReader(args.committed);
  const answers = new RingWriter(args.answers);
  const ledger = new RingWriter(args.ledger);
  const toCompactor = must(context.ports['compactor'], 'the memtable has a port to the compactor');
  const bell = shared.bell('memtable');
  const replication = shared.bell('replication');
  const gateway = shared.bell('gateway');
  const shipper = shared.bell('shipper');
  const compactor = shared.bell('compactor');
  const readsWait = shared.reader('readsWait');
  const applyWaits = shared.reader('applyWaits');
  const subscriptions = shared.reader('subscriptions');
  const storeFull = shared.reader('storeFull');

  /** Hands a frame on; at the bound it waits: the reader only copies, and a dead one ends the node. */
  const send = (ring: RingWriter, frame: Uint8Array, to: ActorName): void => {
    if (frame.length === 0) return;
    while (!ring.write(frame)) {
      const seen = bell.read();
      shared.bell(to).ring();
      bell.wait(seen, 5);
    }
  };

  /** Everything applied so far may be read, here and by whoever gets the answers. */
  const publish = (): void => {
    const records = machine.records.view();
    if (records.length > 0) {
      state.putLedger(records, machine.applied);
      retention.add(machine.applied, records.length, machine.timeMs);
      state.tree.publish(machine.applied);
      history.note(machine.applied, machine.timeMs);
    }
    shared.set('ledgerFrom', retention.from);
    shared.set('historyFrom', history.from);
    // In this order: whoever reads the time first and the position after never dates a position too young.
    shared.set('applied', machine.applied);
    shared.set('timeMs', Math.floor(machine.timeMs));
    const next = machine.nextExpiryMs;
    shared.set('nextExpiryMs', next === Number.POSITIVE_INFINITY ? 0 : Math.ceil(next));
    shared.set('memtableBytes', state.tree.usedBytes);
    shared.set('sessions', machine.sessions.size);
    shared.set('memtableKeys', state.keysAdded + frozenKeys());
    // A bell wakes a thread: rung only where somebody waits for what is there now.
    if (machine.results.length > 0) {
      send(answers, machine.results.view(), 'gateway');
      machine.results.reset();
      gateway.ring();
    } else if (readsWait() !== 0) gateway.ring();
    send(ledger, records, 'shipper');
    machine.records.reset();
    if (subscriptions() !== 0 || ledger.usedBytes > LEDGER_UNREAD_BYTES) shipper.ring();
  };

  let frozen: { readonly lastRevision: number; readonly keys: number }[] = [];
  const frozenKeys = (): number => {
    const flushed = shared.get('flushed');
    if (frozen.some(({ lastRevision }) => lastRevision <= flushed)) {
      frozen = frozen.filter(({ lastRevision }) => lastRevision > flushed);
    }
    return frozen.reduce((sum, { keys }) => sum + keys, 0);
  };

  /** Freezes the memtable; with it goes what a restart needs beside the rows. */
  const freeze = (): void => {
    publish();
    const saved = new ByteWriter(4096);
    machine.save(saved);
    retention.save(saved);
    const machineState = saved.take();
    frozen.push({ lastRevision: machine.applied, keys: state.keysAdded });
    state.keysAdded = 0;
    const generation = state.tree.freeze();
    const message: Frozen = { generation, machineState };
    toCompactor.postMessage(message, [machineState.buffer]);
    compactor.ring();
  };

  let stalledAt = 0;
  /** Room for an entry of `bytes`, if need be in the next memtable; false: not now. */
  const makeRoom = (bytes: number): boolean => {
    const { tree } = state;
    if (!tree.isFull && tree.hasRoom(2 * bytes + machine.records.length + ENTRY_ROOM_BYTES)) return true;
    const isStopped = control.gauge('level0Tables') >= args.options.l0Stop;
    if (isStopped || !tree.canFreeze) {
      if (stalledAt === 0) {
        stalledAt = performance.now();
        control.setGauge('stalls', control.gauge('stalls') + 1);
      }
      control.setGauge('stall', isStopped ? STALL.level0 : STALL.memtables);
      return false;
    }
    if (stalledAt !== 0) {
      const micros = Math.round((performance.now() - stalledAt) * 1000);
      control.setGauge('stallMicros', control.gauge('stallMicros') + micros);
      control.setGauge('stall', STALL.none);
      stalledAt = 0;
    }
    freeze();
    return true;
  };

  /** On a full disk the memtable holds what makes room, and no puts come to fill it. */
  const flushDeletes = (): void => {
    if (storeFull() === 0 || state.tree.removals === 0 || control.gauge('frozenMemtables') > 0 || !state.tree.canFreeze)
      return;
    freeze();
  };

  /** What is left of the frame in hand, and its next entry. */
  let frame: ByteReader | undefined;
  let next: { readonly index: Index; readonly data: Uint8Array } | undefined;

  const turn = (): boolean => {
    if (frame === undefined) {
      const bytes = committed.peek();
      if (bytes === undefined) {
        reader.tree.refresh();
        flushDeletes();
        return false;
      }
      frame = new ByteReader(bytes);
      // Tables wait to be merged: a moment per frame lets the compactor catch up before writes have to stop.
      if (control.gauge('level0Tables') >= args.options.l0Slow) bell.wait(bell.read(), 1);
    }
    while (next !== undefined || frame.left > 0) {
      next ??= { index: toIndex(frame.u64()), data: frame.raw(frame.u32()) };
      if (!makeRoom(next.data.length)) {
        const seen = bell.read();
        publish();
        compactor.ring();
        bell.wait(seen, STALL_LOOK_MS);
        return true;
      }
      machine.apply(next.index, next.data);
      next = undefined;
      if (machine.records.length >= HAND_ON_BYTES || machine.results.length >= HAND_ON_BYTES) publish();
    }
    frame = undefined;
    committed.pop();
    publish();
    if (applyWaits() !== 0) replication.ring();
    return true;
  };

  publish();
  const loop = park(bell, turn, () => shared.wantsControl('memtable'));
  return Promise.resolve({
    started: undefined,
    ended: loop.ended,
    stop: async () => {
      await loop.stop();
      reader.close();
      toCompactor.close();
    },
    inspect: () => ({
      applied: machine.applied,
      bytes: state.tree.usedBytes,
      generation: state.tree.generation,
      ledgerFrom: retention.from,
      historyFrom: history.from,
    }),
  });
};

/** Why nothing is applied, as a number in the tree's gauges. */
export const STALL: Readonly<Record<'none' | 'memtables' | 'level0', number>> = { none: 0, memtables: 1, level0: 2 };

/** Begins where the tables end. */
function restore(machine: Machine, retention: LedgerRetention, state: StateWriter, flushed: number): void {
  const saved = state.savedMachine();
  if (saved === undefined) {
    assert(flushed === 0, 'tables hold the state that goes with them');
    return;
  }
  const reader = new ByteReader(saved);
  machine.restore(reader);
  retention.restore(reader);
  assert(machine.applied === flushed, 'the newest table holds the newest state');
  for (const { key, expiryMs, revision } of state.expiries()) machine.remember(key, expiryMs, revision);
}
