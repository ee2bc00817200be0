/**
 * Memtable: the actor that is the one writer of the state. In a turn it applies a frame of committed entries in order,
 * publishes how far it is, and passes the answers to the gateway and the ledger to the shipper.
 *
 * `applied` is published before the answers leave: whoever has an answer can read what it wrote, in this
 * process, from any thread.
 *
 * A memtable that is full is frozen, between two entries, and the next one begun; the compactor makes a table of it.
 * What is not rows (sessions, log time) goes to the compactor with it, so that tables always hold a whole state: a
 * restarted node begins there and applies the log from there on. When no memtable is free, or too many tables wait to
 * be merged, nothing is applied until there is room: replication then holds entries back, and the log fills no memory.
 *
 * Every 64th revision it notes the hash of its state, so that replication can compare it with other nodes' (checkpoints.ts).
 *
 * On the put path: stop 7 of 9. From replication; to gateway (answers) and shipper (ledger), to compactor (frozen).
 */
import { assert } from '../core/base/assert.ts';
import { ByteReader, ByteWriter } from '../core/base/bytes.ts';
import { type Index, toIndex } from '../core/base/position.ts';
import { History } from '../core/model/history.ts';
import { LedgerRetention } from '../core/model/ledger-retention.ts';
import { Machine } from '../core/model/machine.ts';
import { Control } from '../engine/lsm/shared/control.ts';
import type { TreeMemory } from '../engine/lsm/tree/memory.ts';
import type { TreeOptions } from '../engine/lsm/tree/options.ts';
import type { StateReader } from '../engine/state/state-reader.ts';
import { StateWriter } from '../engine/state/state-writer.ts';
import { CheckpointWriter, isCheckpoint } from './checkpoints.ts';
import type { Frozen } from './compactor.ts';
import type { MemtableFacts } from './facts.ts';
import type { Bell } from './runtime/bell.ts';
import type { RingReader, RingWriter } from './runtime/ring.ts';
import type { ActorName, Shared } from './shared.ts';
import { TableSizesWriter } from './table-sizes.ts';

export interface MemtableWorld {
  readonly shared: Shared;
  readonly tree: TreeMemory;
  readonly options: TreeOptions;
  /** This actor's own; its cursors end in the turn that makes them. */
  readonly reader: StateReader;
  /** Committed entries: (index u64, length u32, data)* per frame. */
  readonly committed: RingReader;
  /** Answers to the gateway. */
  readonly answers: RingWriter;
  /** Ledger records to the shipper. */
  readonly ledger: RingWriter;
  /** Where the state's hash is noted for replication (checkpoints.ts). */
  readonly checkpoints: SharedArrayBuffer;
  /** Where what each table of control data holds is noted (table-sizes.ts); without it nowhere. */
  readonly tableSizes?: SharedArrayBuffer;
  readonly origin: number;
  /** How far back the ledger is kept. */
  readonly ledgerBytes: number;
  readonly ledgerMs: number;
  /** How far back the state can be read. */
  readonly historyMs: number;
  /** To the compactor; the state's buffer is its own from now on. */
  readonly toCompactor: (frozen: Frozen) => void;
  /** Looks away until the actor's bell is another than `seen`, `ms` at the most. */
  readonly pause: (seen: number, ms: number) => void;
  readonly monotonicMs: () => number;
}

/** Hand on what one frame made once it is this much, so that no frame outgrows a ring. */
const HAND_ON_BYTES = 256 * 1024;
/** Ledger records that may lie in the ring while nobody is subscribed. */
const LEDGER_UNREAD_BYTES = 1024 * 1024;
/**
 * What an entry may take of a memtable beside twice its own bytes (rows, and their ledger record): a thousand expiries, the
 * rows that its patches write whole, the keys of a thousand rows, what a stage keeps of them, and overhead.
 */
const ENTRY_ROOM_BYTES = 7 * 1024 * 1024;
/** Longest look away while there is no room: a reader that lets go of an old version rings nobody. */
const STALL_LOOK_MS = 5;

/** Why nothing is applied, as a number in the tree's gauges. */
export const STALL: Readonly<Record<'none' | 'memtables' | 'level0', number>> = { none: 0, memtables: 1, level0: 2 };

export class Memtable {
  readonly #world: MemtableWorld;
  readonly #shared: Shared;
  readonly #control: Control;
  readonly #reader: StateReader;
  readonly #state: StateWriter;
  readonly #machine: Machine;
  readonly #checkpoints: CheckpointWriter;
  readonly #retention: LedgerRetention;
  readonly #history: History;
  readonly #bell: Bell;
  readonly #replication: Bell;
  readonly #gateway: Bell;
  readonly #shipper: Bell;
  readonly #compactor: Bell;
  readonly #readsWait: () => number;
  readonly #applyWaits: () => number;
  readonly #subscriptions: () => number;
  readonly #storeFull: () => number;
  #frozen: { readonly lastRevision: number; readonly keys: number }[] = [];
  #stalledAt = 0;
  /** What is left of the frame in hand, and its next entry. */
  #frame: ByteReader | undefined;
  #next: { readonly index: Index; readonly data: Uint8Array } | undefined;

  constructor(world: MemtableWorld) {
    const { shared, reader } = world;
    this.#world = world;
    this.#shared = shared;
    this.#reader = reader;
    this.#control = new Control(world.tree.control);
    this.#state = new StateWriter(world.tree, world.options.memtableBytes, reader.tree);
    const sizes = world.tableSizes && new TableSizesWriter(world.tableSizes);
    this.#machine = new Machine(this.#state, world.origin, (id, size) => sizes?.note(id, size));
    this.#checkpoints = new CheckpointWriter(world.checkpoints);
    this.#retention = new LedgerRetention(world.ledgerBytes, world.ledgerMs);
    restore(this.#machine, this.#retention, this.#state, reader.tree.visible);
    this.#history = new History(world.historyMs, this.#machine.applied);
    if (isCheckpoint(this.#machine.applied)) {
      this.#checkpoints.note(this.#machine.applied, this.#machine.stateHash(), this.#machine.ledgerHash());
    }
    this.#bell = shared.bell('memtable');
    this.#replication = shared.bell('replication');
    this.#gateway = shared.bell('gateway');
    this.#shipper = shared.bell('shipper');
    this.#compactor = shared.bell('compactor');
    this.#readsWait = shared.reader('readsWait');
    this.#applyWaits = shared.reader('applyWaits');
    this.#subscriptions = shared.reader('subscriptions');
    this.#storeFull = shared.reader('storeFull');
    this.#publish();
  }

  /** Says whether there was something to apply. */
  turn(): boolean {
    const { committed } = this.#world;
    const machine = this.#machine;
    if (this.#frame === undefined) {
      const bytes = committed.peek();
      if (bytes === undefined) {
        this.#reader.tree.refresh();
        this.#flushDeletes();
        return false;
      }
      this.#frame = new ByteReader(bytes);
      // Tables wait to be merged: a moment per frame lets the compactor catch up before writes have to stop.
      if (this.#control.gauge('level0Tables') >= this.#world.options.l0Slow) this.#world.pause(this.#bell.read(), 1);
    }
    const frame = this.#frame;
    while (this.#next !== undefined || frame.left > 0) {
      const next = (this.#next ??= { index: toIndex(frame.u64()), data: frame.raw(frame.u32()) });
      if (!this.#makeRoom(next.data.length)) {
        const seen = this.#bell.read();
        this.#publish();
        this.#compactor.ring();
        this.#world.pause(seen, STALL_LOOK_MS);
        return true;
      }
      machine.apply(next.index, next.data);
      this.#next = undefined;
      if (isCheckpoint(next.index)) this.#checkpoints.note(next.index, machine.stateHash(), machine.ledgerHash());
      if (machine.records.length >= HAND_ON_BYTES || machine.results.length >= HAND_ON_BYTES) this.#publish();
    }
    this.#frame = undefined;
    committed.pop();
    this.#publish();
    if (this.#applyWaits() !== 0) this.#replication.ring();
    return true;
  }

  inspect(): MemtableFacts {
    return {
      applied: this.#machine.applied,
      bytes: this.#state.tree.usedBytes,
      generation: this.#state.tree.generation,
      ledgerFrom: this.#retention.from,
      historyFrom: this.#history.from,
    };
  }

  /** Everything applied so far may be read, here and by whoever gets the answers. */
  #publish(): void {
    const machine = this.#machine;
    const shared = this.#shared;
    const state = this.#state;
    const { ledger, answers } = this.#world;
    const records = machine.records.view();
    if (records.length > 0) {
      state.putLedger(records, machine.applied);
      this.#retention.add(machine.applied, records.length, machine.timeMs);
      state.tree.publish(machine.applied);
      this.#history.note(machine.applied, machine.timeMs);
    }
    shared.set('ledgerFrom', this.#retention.from);
    shared.set('historyFrom', this.#history.from);
    // In this order: whoever reads the time first and the position after never dates a position too young.
    shared.set('applied', machine.applied);
    if (shared.stages.isArmed) shared.stages.reached('applied', machine.applied);
    shared.set('timeMs', Math.floor(machine.timeMs));
    const next = machine.nextExpiryMs;
    shared.set('nextExpiryMs', next === Number.POSITIVE_INFINITY ? 0 : Math.ceil(next));
    shared.set('memtableBytes', state.tree.usedBytes);
    shared.set('sessions', machine.sessions.size);
    shared.set('memtableKeys', state.keysAdded + this.#frozenKeys());
    // A bell wakes a thread: rung only where somebody waits for what is there now.
    if (machine.results.length > 0) {
      this.#send(answers, machine.results.view(), 'gateway');
      machine.results.reset();
      this.#gateway.ring();
    } else if (this.#readsWait() !== 0) this.#gateway.ring();
    this.#send(ledger, records, 'shipper');
    machine.resetRecords();
    if (this.#subscriptions() !== 0 || ledger.usedBytes > LEDGER_UNREAD_BYTES) this.#shipper.ring();
  }

  /** Hands a frame on; at the bound it waits: the reader only copies, and a dead one ends the node. */
  #send(ring: RingWriter, frame: Uint8Array, to: ActorName): void {
    if (frame.length === 0) return;
    while (!ring.write(frame)) {
      const seen = this.#bell.read();
      this.#shared.bell(to).ring();
      this.#world.pause(seen, STALL_LOOK_MS);
    }
  }

  #frozenKeys(): number {
    const flushed = this.#shared.get('flushed');
    if (this.#frozen.some(({ lastRevision }) => lastRevision <= flushed)) {
      this.#frozen = this.#frozen.filter(({ lastRevision }) => lastRevision > flushed);
    }
    return this.#frozen.reduce((sum, { keys }) => sum + keys, 0);
  }

  /** Freezes the memtable; with it goes what a restart needs beside the rows. */
  #freeze(): void {
    this.#publish();
    const machine = this.#machine;
    const state = this.#state;
    const saved = new ByteWriter(4096);
    machine.save(saved);
    this.#retention.save(saved);
    const machineState = saved.take();
    this.#frozen.push({ lastRevision: machine.applied, keys: state.keysAdded });
    state.keysAdded = 0;
    const generation = state.tree.freeze();
    this.#world.toCompactor({ generation, machineState });
    this.#compactor.ring();
  }

  /** Room for an entry of `bytes`, if need be in the next memtable; false: not now. */
  #makeRoom(bytes: number): boolean {
    const { tree } = this.#state;
    const control = this.#control;
    if (!tree.isFull && tree.hasRoom(2 * bytes + this.#machine.records.length + ENTRY_ROOM_BYTES)) return true;
    const isStopped = control.gauge('level0Tables') >= this.#world.options.l0Stop;
    if (isStopped || !tree.canFreeze) {
      if (this.#stalledAt === 0) {
        this.#stalledAt = this.#world.monotonicMs();
        control.setGauge('stalls', control.gauge('stalls') + 1);
      }
      control.setGauge('stall', isStopped ? STALL.level0 : STALL.memtables);
      return false;
    }
    if (this.#stalledAt !== 0) {
      const micros = Math.round((this.#world.monotonicMs() - this.#stalledAt) * 1000);
      control.setGauge('stallMicros', control.gauge('stallMicros') + micros);
      control.setGauge('stall', STALL.none);
      this.#stalledAt = 0;
    }
    this.#freeze();
    return true;
  }

  /** On a full disk the memtable holds what makes room, and no puts come to fill it. */
  #flushDeletes(): void {
    const { tree } = this.#state;
    if (this.#storeFull() === 0 || tree.removals === 0) return;
    if (this.#control.gauge('frozenMemtables') > 0 || !tree.canFreeze) return;
    this.#freeze();
  }
}

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
