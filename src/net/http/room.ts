/**
 * Room: how much a server has under way at once, in requests and in bytes of bodies. What finds no room is refused at
 * once (OVERLOADED), before its body is read: a queue would only hide that there is too much.
 */
import { StoreError } from '../../core/base/errors.ts';

export const REQUESTS_MAX = 512;
export const BODY_BYTES_MAX: number = 1024 * 1024;
const BYTES_MAX: number = 64 * BODY_BYTES_MAX;

export class Room {
  #requests = 0;
  #bytes = 0;

  get requests(): number {
    return this.#requests;
  }

  /** Takes a place; gives what ends the stay, which may be called twice. Throws OVERLOADED. */
  enter(bytes: number): () => void {
    if (this.#requests >= REQUESTS_MAX || (bytes > 0 && this.#bytes + bytes > BYTES_MAX)) {
      throw new StoreError('OVERLOADED', `this node has ${this.#requests} HTTP requests under way`, {
        data: { limit: REQUESTS_MAX, bytesMax: BYTES_MAX },
      });
    }
    this.#requests++;
    this.#bytes += bytes;
    let isHere = true;
    return () => {
      if (!isHere) return;
      isHere = false;
      this.#requests--;
      this.#bytes -= bytes;
    };
  }
}
