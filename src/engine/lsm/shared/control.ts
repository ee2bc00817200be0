/**
 * Control: the words by which the threads of a tree see each other: which memtable is written, what may be read,
 * which version is current, and how far compaction is behind.
 *
 *   line 0, the writer's     0 active generation (32 bit) · 8 visible revision (64 bit)
 *   line 1, the owner's      0 current version (32 bit)   · 8 floor (64 bit)
 *   line 2, the writer's     gauges of 64 bit
 *   line 3, the owner's      gauges of 64 bit
 *
 * The writer is the thread that fills memtables. The owner is the one that publishes versions (the compactor). Each
 * word has one of them as its only writer, anybody reads; what two threads write is on two cache lines. A revision
 * has 53 bits, so it is one atomic word of 64: no reader sees half of one.
 *
 * Invariants: the four words never go back; floor <= visible.
 */
import { assert } from '../../../core/base/assert.ts';

const LINE_BYTES = 64;
const INT32_MAX = 0x7fff_ffff;

/** In words of 32 bits. */
const ACTIVE_GENERATION = 0;
const CURRENT_VERSION = LINE_BYTES / 4;
/** In words of 64 bits. */
const VISIBLE = 1;
const FLOOR = LINE_BYTES / 8 + 1;

/** Why and how long writes wait, and how far compaction is behind. The order is the layout. */
const WRITER_GAUGES = ['stall', 'stalls', 'stallMicros'] as const;
const OWNER_GAUGES = ['frozenMemtables', 'level0Tables', 'debtBytes'] as const;

export type Gauge = (typeof WRITER_GAUGES)[number] | (typeof OWNER_GAUGES)[number];

const GAUGE_AT = Object.fromEntries([
  ...WRITER_GAUGES.map((name, i) => [name, (2 * LINE_BYTES) / 8 + i]),
  ...OWNER_GAUGES.map((name, i) => [name, (3 * LINE_BYTES) / 8 + i]),
]) as Record<Gauge, number>;

const CONTROL_BYTES = 4 * LINE_BYTES;

export function createControl(): SharedArrayBuffer {
  return new SharedArrayBuffer(CONTROL_BYTES);
}

export class Control {
  readonly memory: SharedArrayBuffer;
  readonly #words: Int32Array;
  readonly #longs: BigInt64Array;

  constructor(memory: SharedArrayBuffer) {
    assert(memory.byteLength === CONTROL_BYTES, 'a control block has four lines');
    this.memory = memory;
    this.#words = new Int32Array(memory);
    this.#longs = new BigInt64Array(memory);
  }

  /** The memtable that is written. Set by the writer. */
  get activeGeneration(): number {
    return Atomics.load(this.#words, ACTIVE_GENERATION);
  }

  set activeGeneration(generation: number) {
    this.#raise(ACTIVE_GENERATION, generation, 'a generation');
  }

  /** The version that new reads use; 0 before the first. Set by the owner. */
  get currentVersion(): number {
    return Atomics.load(this.#words, CURRENT_VERSION);
  }

  set currentVersion(version: number) {
    this.#raise(CURRENT_VERSION, version, 'a version');
  }

  /** The newest revision that may be read. Set by the writer, after the last write of it is in the memtable. */
  get visible(): number {
    return Number(Atomics.load(this.#longs, VISIBLE));
  }

  set visible(revision: number) {
    this.#raiseLong(VISIBLE, revision, 'the visible revision');
  }

  /** What was superseded at or below this revision may be gone. Set by the owner, through Snapshots. */
  get floor(): number {
    return Number(Atomics.load(this.#longs, FLOOR));
  }

  set floor(revision: number) {
    assert(revision <= this.visible, 'the floor is not above what is visible');
    this.#raiseLong(FLOOR, revision, 'the floor');
  }

  gauge(name: Gauge): number {
    return Number(Atomics.load(this.#longs, GAUGE_AT[name]));
  }

  setGauge(name: Gauge, value: number): void {
    assert(Number.isSafeInteger(value), `a gauge is a safe integer (${name})`);
    Atomics.store(this.#longs, GAUGE_AT[name], BigInt(value));
  }

  #raise(at: number, value: number, what: string): void {
    assert(Number.isInteger(value) && value <= INT32_MAX, `${what} is a number of 31 bits`);
    assert(value >= Atomics.load(this.#words, at), `${what} never goes back`);
    Atomics.store(this.#words, at, value);
  }

  #raiseLong(at: number, value: number, what: string): void {
    assert(Number.isSafeInteger(value), `${what} is a safe integer`);
    assert(value >= Number(Atomics.load(this.#longs, at)), `${what} never goes back`);
    Atomics.store(this.#longs, at, BigInt(value));
  }
}
