/**
 * Writers: who may change rows, what they remember between batches, and how much they may write.
 *
 * A writer has a secret, of which only the hash is kept, and a cookie: bytes of its own, mostly a position in what it
 * copies from, that change in the same entry as its rows. A limit counts rows in fixed windows of the log's age
 * (log-time.ts): a wall clock that jumps gives nobody more, and holds nobody up. A refused batch counts for nothing.
 *
 *   saved = writers varint | count varint, (writer string | window varint | rows varint)*
 */
import { type ByteReader, type ByteWriter, equalBytes } from '../../base/bytes.ts';
import { EMPTY } from '../../base/bytes.ts';
import { StoreError } from '../../base/errors.ts';
import { tooMany } from './catalog.ts';
import type { WriterLimit } from './commands.ts';
import { parseWriterName } from './names.ts';
import { decodeDefaults, decodeWriter, DEFAULTS_KEY, encodeWriter, type Writer, writerKey } from './private.ts';
import type { ControlState } from './state.ts';

export const WRITERS_MAX = 10_000;

interface Usage {
  readonly window: number;
  readonly rows: number;
}

export class Writers {
  readonly #state: ControlState;
  /** Only of writers that have a limit. */
  readonly #usage = new Map<string, Usage>();
  #count = 0;

  constructor(state: ControlState) {
    this.#state = state;
  }

  /** Throws NOT_FOUND. */
  get(given: string): Writer {
    const name = parseWriterName(given);
    const value = this.#state.getPrivate(writerKey(name));
    if (value !== undefined) return decodeWriter(value);
    throw new StoreError('NOT_FOUND', `Writer not found: ${name}`, { data: { writer: name } });
  }

  /** The writer, if this is its secret's hash; throws NOT_FOUND, FORBIDDEN. */
  admit(name: string, hash: Uint8Array): Writer {
    const writer = this.get(name);
    if (equalBytes(writer.hash, hash)) return writer;
    throw new StoreError('FORBIDDEN', `the secret is not that of writer ${name}`, { data: { writer: name } });
  }

  keep(name: string, writer: Writer): void {
    this.#state.putPrivate(writerKey(name), encodeWriter(writer));
  }

  /** The same again changes nothing; throws ALREADY_EXISTS for another secret. */
  register(given: string, hash: Uint8Array, created: number): void {
    const name = parseWriterName(given);
    const value = this.#state.getPrivate(writerKey(name));
    if (value === undefined) {
      if (this.#count >= WRITERS_MAX) throw tooMany('writers', WRITERS_MAX);
      this.#count++;
      this.keep(name, { hash, created, cookie: EMPTY, limit: undefined });
    } else if (!equalBytes(decodeWriter(value).hash, hash)) {
      throw new StoreError('ALREADY_EXISTS', `Writer already exists with different credentials: ${name}`, {
        data: { writer: name },
      });
    }
  }

  delete(name: string): void {
    this.get(name);
    this.#count--;
    this.#usage.delete(name);
    this.#state.removePrivate(writerKey(name));
  }

  /** Throws RATE_LIMITED when `rows` more are too many in the window of this age. */
  checkRate(name: string, writer: Writer, rows: number, ageMs: number): void {
    const limit = this.#limitOf(writer);
    if (limit === undefined) return;
    const used = this.#used(name, limit, ageMs);
    if (used + rows <= limit.rows) return;
    const retryMs = Math.ceil(limit.periodMs - (ageMs % limit.periodMs));
    throw new StoreError('RATE_LIMITED', `writer ${name} may change ${limit.rows} rows in ${limit.periodMs} ms`, {
      data: { writer: name, limit: limit.rows, periodMs: limit.periodMs, used, size: rows, retryMs },
    });
  }

  /** They were changed. */
  count(name: string, writer: Writer, rows: number, ageMs: number): void {
    const limit = this.#limitOf(writer);
    if (limit === undefined) this.#usage.delete(name);
    else {
      this.#usage.set(name, { window: windowOf(limit, ageMs), rows: this.#used(name, limit, ageMs) + rows });
    }
  }

  #limitOf({ limit }: Writer): WriterLimit | undefined {
    return limit ?? decodeDefaults(this.#state.getPrivate(DEFAULTS_KEY)).writers;
  }

  #used(name: string, limit: WriterLimit, ageMs: number): number {
    const usage = this.#usage.get(name);
    return usage === undefined || usage.window !== windowOf(limit, ageMs) ? 0 : usage.rows;
  }

  save(writer: ByteWriter): void {
    writer.varint(this.#count).varint(this.#usage.size);
    for (const [name, { window, rows }] of this.#usage) writer.string(name).varint(window).varint(rows);
  }

  restore(reader: ByteReader): void {
    this.#count = reader.varint();
    for (let left = reader.varint(); left > 0; left--) {
      this.#usage.set(reader.string(), { window: reader.varint(), rows: reader.varint() });
    }
  }
}

const windowOf = ({ periodMs }: WriterLimit, ageMs: number): number => Math.floor(ageMs / periodMs);
