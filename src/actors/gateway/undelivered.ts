/**
 * Undelivered: parts of watches and replicas that were given to clients' sockets and have not left them.
 *
 * A socket says how many bytes wait in it, whatever they are; so a part counts as taken once no more wait than were
 * given after it. The shipper is told what was taken, since it decides who is sent more (reader-budget.ts).
 */
import type { Connection } from './connection.ts';

/** By reader: bytes that it has taken, or that nobody will take any more. */
export type Taken = readonly (readonly [reader: number, bytes: number])[];

export class Undelivered {
  readonly #readers = new Map<Connection, number>();
  readonly #waiting = new Map<Connection, number>();
  #nextReader = 1;
  #taken: [number, number][] = [];

  /** The shipper's number of `connection`. */
  readerOf(connection: Connection): number {
    let reader = this.#readers.get(connection);
    if (reader === undefined) {
      reader = this.#nextReader++;
      this.#readers.set(connection, reader);
    }
    return reader;
  }

  given(connection: Connection, bytes: number): void {
    this.#waiting.set(connection, (this.#waiting.get(connection) ?? 0) + bytes);
  }

  /** A part for a stream that is over: nobody waits for it. */
  dropped(reader: number, bytes: number): void {
    this.#taken.push([reader, bytes]);
  }

  closed(connection: Connection): void {
    const waiting = this.#waiting.get(connection) ?? 0;
    if (waiting > 0) this.#taken.push([this.readerOf(connection), waiting]);
    this.#waiting.delete(connection);
    this.#readers.delete(connection);
  }

  /** There is a new shipper, which has handed out nothing yet. */
  forget(): void {
    this.#waiting.clear();
    this.#taken = [];
  }

  /** What was taken since this was last asked. */
  take(): Taken {
    for (const [connection, waiting] of this.#waiting) {
      const left = Math.min(waiting, connection.door.bufferedBytes);
      if (left === waiting) continue;
      this.#taken.push([this.readerOf(connection), waiting - left]);
      if (left === 0) this.#waiting.delete(connection);
      else this.#waiting.set(connection, left);
    }
    const taken = this.#taken;
    this.#taken = [];
    return taken;
  }
}
