/**
 * Inspections: requests for what the actors of this node do. To know that, other threads have to be asked, so the answer
 * comes later than the frame's other answers. Everybody who asks meanwhile gets the same one: somebody's loop gone wild
 * costs the threads no more than one question at a time.
 *
 * Bounds: requests under way; the threads' own deadlines, which are far below any request's.
 */
import { StoreError } from '../../core/base/errors.ts';
import type { ActorsView } from '../../core/wire/actors.ts';
import type { Connection } from './connection.ts';

const UNDER_WAY_MAX = 64;
const encoder = new TextEncoder();

export class Inspections {
  readonly #look: () => Promise<ActorsView>;
  #waiting: { readonly connection: Connection; readonly request: number }[] = [];

  constructor(look: () => Promise<ActorsView>) {
    this.#look = look;
  }

  get underWay(): number {
    return this.#waiting.length;
  }

  /** Takes a request; OVERLOADED when too many wait already. */
  submit(connection: Connection, request: number): void {
    if (this.#waiting.length >= UNDER_WAY_MAX) {
      throw new StoreError('OVERLOADED', `${UNDER_WAY_MAX} look at the actors of this node already`, {
        data: { limit: UNDER_WAY_MAX },
      });
    }
    this.#waiting.push({ connection, request });
    if (this.#waiting.length === 1) void this.#answer();
  }

  async #answer(): Promise<void> {
    let give: (connection: Connection, request: number) => void;
    try {
      const bytes = encoder.encode(JSON.stringify(await this.#look()));
      give = (connection, request) => connection.ok(request, 0, bytes);
    } catch (cause) {
      const error =
        cause instanceof StoreError ? cause : new StoreError('INTERNAL', 'the actors cannot be shown', { cause });
      give = (connection, request) => connection.fail(request, error);
    }
    for (const { connection, request } of this.#waiting.splice(0)) {
      if (connection.isClosed) continue;
      give(connection, request);
      connection.flush();
    }
  }
}
