/**
 * Sessions: a write happens once, however often it is sent (thesis §6.3).
 *
 * A client opens a session through the log (its id is the revision that opened it) and numbers its writes. The
 * answer of each is kept, in replicated state, until the client says that it has it; the same number again
 * gets the same answer and does nothing. Everything here depends on the log alone, expiry included: its times are
 * ages of the log (log-time.ts), so every node forgets a session at the same entry, and never early.
 *
 * Invariant: a session holds at most RESULTS_MAX answers, all with seq > acked, and begins none past
 * RESULT_BYTES_MAX of them.
 */
import type { ByteReader, ByteWriter } from '../base/bytes.ts';
import { type Revision, toIndex } from '../base/position.ts';

/** A stored answer: of a put just its revision, of the rest the encoded answer too. */
export interface StoredResult {
  readonly code: number;
  readonly revision: Revision;
  readonly extra: Uint8Array | undefined;
}

/** Answers one session may have unacknowledged: more writes under way than this are refused. */
export const RESULTS_MAX = 8192;
/** Bytes of such answers (those of txns are the ones with a size). */
export const RESULT_BYTES_MAX: number = 16 * 1024 * 1024;
export const SESSIONS_MAX = 65_536;
const SWEEP_EVERY_MS = 1_000;

export class Session {
  readonly ttlMs: number;
  lastActiveMs: number;
  acked = 0;
  readonly results: Map<number, StoredResult> = new Map();
  #resultBytes = 0;

  constructor(ttlMs: number, nowMs: number) {
    this.ttlMs = ttlMs;
    this.lastActiveMs = nowMs;
  }

  /** It keeps as much as it may: the client must say first what it has received. */
  get isFull(): boolean {
    return this.results.size >= RESULTS_MAX || this.#resultBytes >= RESULT_BYTES_MAX;
  }

  keep(seq: number, result: StoredResult): void {
    this.results.set(seq, result);
    this.#resultBytes += result.extra?.length ?? 0;
  }

  /** The client has every answer up to `seq`. */
  ack(seq: number): void {
    if (seq <= this.acked) return;
    if (seq - this.acked <= this.results.size * 2) {
      for (let done = this.acked + 1; done <= seq; done++) this.#forget(done);
    } else {
      for (const done of this.results.keys()) if (done <= seq) this.#forget(done);
    }
    this.acked = seq;
  }

  #forget(seq: number): void {
    this.#resultBytes -= this.results.get(seq)?.extra?.length ?? 0;
    this.results.delete(seq);
  }
}

const NO_EXTRA = 0;
const HAS_EXTRA = 1;

export class Sessions {
  readonly #byId = new Map<number, Session>();
  #sweptMs = 0;

  get size(): number {
    return this.#byId.size;
  }

  /** False: there are as many as there may be. */
  open(id: Revision, ttlMs: number, nowMs: number): boolean {
    if (this.#byId.size >= SESSIONS_MAX) return false;
    this.#byId.set(id, new Session(ttlMs, nowMs));
    return true;
  }

  get(id: number): Session | undefined {
    return this.#byId.get(id);
  }

  close(id: number): boolean {
    return this.#byId.delete(id);
  }

  /** Forgets sessions that were silent for their time to live; looks about once per second of log time. */
  expire(nowMs: number): void {
    if (nowMs - this.#sweptMs < SWEEP_EVERY_MS) return;
    this.#sweptMs = nowMs;
    for (const [id, session] of this.#byId) {
      if (session.lastActiveMs + session.ttlMs < nowMs) this.#byId.delete(id);
    }
  }

  /**
   * All of it, the time of the last look too: it decides at which entry a session is forgotten.
   *   sessions = swept f64 | count varint | session*
   *   session  = id varint | ttl varint | last active f64 | acked varint | results varint | result*
   *   result   = seq varint | code u8 | revision varint | 0 u8, or 1 u8 and the answer blob
   */
  encode(writer: ByteWriter): void {
    writer.f64(this.#sweptMs).varint(this.#byId.size);
    for (const [id, session] of this.#byId) {
      writer.varint(id).varint(session.ttlMs).f64(session.lastActiveMs).varint(session.acked);
      writer.varint(session.results.size);
      for (const [seq, { code, revision, extra }] of session.results) {
        writer.varint(seq).u8(code).varint(revision);
        if (extra === undefined) writer.u8(NO_EXTRA);
        else writer.u8(HAS_EXTRA).blob(extra);
      }
    }
  }

  /** Takes in what `encode` wrote; the bytes are only lent. */
  decode(reader: ByteReader): void {
    this.#sweptMs = reader.f64();
    for (let left = reader.varint(); left > 0; left--) {
      const id = reader.varint();
      const session = new Session(reader.varint(), reader.f64());
      session.ack(reader.varint());
      for (let results = reader.varint(); results > 0; results--) {
        const seq = reader.varint();
        const code = reader.u8();
        const revision = toIndex(reader.varint());
        const extra = reader.u8() === HAS_EXTRA ? reader.blob().slice() : undefined;
        session.keep(seq, { code, revision, extra });
      }
      this.#byId.set(id, session);
    }
  }
}
