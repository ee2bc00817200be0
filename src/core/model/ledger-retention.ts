/**
 * LedgerRetention: how far back the ledger is kept, by size and by age.
 *
 * It counts what is added in stretches of a mebibyte or a 16th of the bound, and forgets stretches, oldest first, that are past either
 * bound. Pure and local: nodes may differ in it, and nothing but how far back a reader can resume depends on it.
 *
 *   saved   = from varint | stretches varint | (last revision varint | bytes varint | timeMs f64)*
 */
import type { ByteReader, ByteWriter } from '../base/bytes.ts';

interface Stretch {
  /** The last revision in it. */
  last: number;
  bytes: number;
  /** Log time of its last record. */
  timeMs: number;
}

/** Stretches of a full ledger: what is kept is exact to one of them. */
const STRETCHES = 16;
const STRETCH_BYTES_MAX = 1024 * 1024;
/** A quiet ledger still ages. */
const STRETCH_MS = 60_000;

export class LedgerRetention {
  readonly #bytesMax: number;
  readonly #ageMsMax: number;
  readonly #stretchBytes: number;
  #stretches: Stretch[] = [];
  #bytes = 0;
  #beganMs = 0;
  /** The oldest revision that is kept. */
  from = 1;

  constructor(bytesMax: number, ageMsMax: number) {
    this.#bytesMax = bytesMax;
    this.#stretchBytes = Math.min(STRETCH_BYTES_MAX, bytesMax / STRETCHES);
    this.#ageMsMax = ageMsMax;
  }

  /** Records up to `last` were added, of `bytes`. */
  add(last: number, bytes: number, timeMs: number): void {
    const open = this.#stretches.at(-1);
    // Log time is 0 until the first command: what is before that is as old as what comes next.
    if (this.#beganMs === 0) this.#beganMs = timeMs;
    if (open === undefined || open.bytes >= this.#stretchBytes || timeMs - this.#beganMs >= STRETCH_MS) {
      this.#stretches.push({ last, bytes, timeMs });
      this.#beganMs = timeMs;
    } else {
      open.last = last;
      open.bytes += bytes;
      open.timeMs = timeMs;
    }
    this.#bytes += bytes;
    this.#forget(timeMs);
  }

  #forget(nowMs: number): void {
    let count = 0;
    for (const { last, bytes, timeMs } of this.#stretches.slice(0, -1)) {
      const isOld = timeMs > 0 && nowMs - timeMs > this.#ageMsMax;
      if (this.#bytes <= this.#bytesMax && !isOld) break;
      this.#bytes -= bytes;
      this.from = last + 1;
      count++;
    }
    if (count > 0) this.#stretches = this.#stretches.slice(count);
  }

  save(writer: ByteWriter): void {
    writer.varint(this.from).varint(this.#stretches.length);
    for (const { last, bytes, timeMs } of this.#stretches) writer.varint(last).varint(bytes).f64(timeMs);
  }

  restore(reader: ByteReader): void {
    this.from = reader.varint();
    for (let left = reader.varint(); left > 0; left--) {
      const stretch = { last: reader.varint(), bytes: reader.varint(), timeMs: reader.f64() };
      this.#stretches.push(stretch);
      this.#bytes += stretch.bytes;
      this.#beganMs = stretch.timeMs;
    }
  }
}
