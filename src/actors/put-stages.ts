/**
 * Put stages: when the writes that are traced reached each stage, noted by whoever gets them there, in memory that all
 * threads see.
 *
 *   armed   slots in use                                               32 bits, and as many unused
 *   slot    token · origin · index · lsn · a time for each stage       64 bits each; SLOTS of them
 *
 * While nothing is traced all that this costs is one look at `armed` for a turn. A time is noted once, of the clock that
 * is the same in every thread (hrtime). The gateway takes a slot and gives it back; slots are used in turn, so that
 * somebody who is late with an old trace does not meet a new one.
 *
 * One writer for each word: the gateway of token and origin, the stage's actor of the others.
 */
import { assert } from '../core/base/assert.ts';

/** In the order in which a write reaches them; `synced` and `committed` as they come. */
export const PUT_STAGES = ['proposed', 'logged', 'synced', 'committed', 'applied'] as const;
export type PutStage = (typeof PUT_STAGES)[number];

/** Nanoseconds of hrtime. */
export type StageTimes = Readonly<Partial<Record<PutStage, bigint>>>;

const SLOTS = 8;
const ARMED_WORDS = 1;
const TOKEN = 0;
const ORIGIN = 1;
const INDEX = 2;
const LSN = 3;
const TIMES = 4;
const SLOT_WORDS = TIMES + PUT_STAGES.length;
/** A slot without a token is free; a token may be 0. */
const FREE = 0n;

/** Words of 64 bits. */
export const PUT_STAGES_WORDS: number = ARMED_WORDS + SLOTS * SLOT_WORDS;

/** A command's origin and token: core/model/commands.ts. */
const HEADER_BYTES = 21;
const ORIGIN_AT = 9;
const TOKEN_AT = 17;

export class PutStages {
  readonly #armed: Int32Array;
  readonly #words: BigInt64Array;
  #next = 0;

  constructor(words: BigInt64Array) {
    this.#words = words;
    this.#armed = new Int32Array(words.buffer, words.byteOffset, 1);
  }

  /** Something is traced. */
  get isArmed(): boolean {
    return Atomics.load(this.#armed, 0) !== 0;
  }

  // ── the gateway ──

  /** Follows a write from here on; undefined when as many as there can be are followed. */
  open(token: number, origin: number): number | undefined {
    for (let tried = 0; tried < SLOTS; tried++) {
      const slot = this.#next;
      this.#next = (this.#next + 1) % SLOTS;
      if (this.#get(slot, TOKEN) !== FREE) continue;
      for (let word = INDEX; word < SLOT_WORDS; word++) this.#set(slot, word, 0n);
      this.#set(slot, ORIGIN, BigInt(origin));
      this.#set(slot, TOKEN, BigInt(token) + 1n);
      Atomics.add(this.#armed, 0, 1);
      return slot;
    }
    return undefined;
  }

  /** What was noted of it; its slot is free. */
  close(slot: number): StageTimes {
    const times: Partial<Record<PutStage, bigint>> = {};
    PUT_STAGES.forEach((stage, i) => {
      const at = this.#get(slot, TIMES + i);
      if (at !== 0n) times[stage] = at;
    });
    assert(this.#get(slot, TOKEN) !== FREE, 'a slot is given back once');
    this.#set(slot, TOKEN, FREE);
    Atomics.sub(this.#armed, 0, 1);
    return times;
  }

  // ── whoever gets writes to a stage, while `isArmed` ──

  /** A command has its place in this node's log, in the record with that LSN, the committer's marks not counted. */
  proposed(command: Uint8Array, index: number, lsn: number): void {
    if (command.length < HEADER_BYTES) return;
    const view = new DataView(command.buffer, command.byteOffset, HEADER_BYTES);
    const token = BigInt(view.getUint32(TOKEN_AT, true)) + 1n;
    const origin = view.getBigUint64(ORIGIN_AT, true);
    for (let slot = 0; slot < SLOTS; slot++) {
      if (this.#get(slot, TOKEN) !== token || this.#get(slot, ORIGIN) !== origin) continue;
      // In a log that a new leader has cut it gets another place; the newest is what becomes of it.
      this.#set(slot, LSN, BigInt(lsn));
      this.#set(slot, INDEX, BigInt(index));
      this.#note(slot, 'proposed');
    }
  }

  /** Everything up to `upTo` is there: an LSN (marks not counted) for `logged` and `synced`, else an index. */
  reached(stage: Exclude<PutStage, 'proposed'>, upTo: number): void {
    const by = stage === 'logged' || stage === 'synced' ? LSN : INDEX;
    for (let slot = 0; slot < SLOTS; slot++) {
      const at = this.#get(slot, by);
      if (at !== 0n && at <= BigInt(upTo) && this.#get(slot, TOKEN) !== FREE) this.#note(slot, stage);
    }
  }

  #note(slot: number, stage: PutStage): void {
    const word = TIMES + PUT_STAGES.indexOf(stage);
    if (this.#get(slot, word) === 0n) this.#set(slot, word, process.hrtime.bigint());
  }

  #get(slot: number, word: number): bigint {
    return Atomics.load(this.#words, ARMED_WORDS + slot * SLOT_WORDS + word);
  }

  #set(slot: number, word: number, value: bigint): void {
    Atomics.store(this.#words, ARMED_WORDS + slot * SLOT_WORDS + word, value);
  }
}
