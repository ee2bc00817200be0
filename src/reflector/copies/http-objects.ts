/**
 * Objects that another reflector serves (routes.ts), or any web server: read only.
 */
import { StoreError } from '../../core/base/errors.ts';
import type { Objects } from './objects.ts';
import { exchange } from './web.ts';

export class HttpObjects implements Objects {
  readonly url: string;
  readonly #token: string | undefined;

  constructor(url: string, token: string | undefined) {
    this.url = url.replace(/\/+$/, '');
    this.#token = token;
  }

  get(name: string, bytesMax: number): Promise<Uint8Array> {
    const url = `${this.url}/copies/${name}`;
    const headers = this.#token === undefined ? {} : { authorization: `Bearer ${this.#token}` };
    return exchange({ what: url, bytesMax, send: (signal) => fetch(url, { headers, signal }) });
  }

  put(): Promise<void> {
    return this.#refuse();
  }

  list(): Promise<string[]> {
    return this.#refuse();
  }

  remove(): Promise<void> {
    return this.#refuse();
  }

  async #refuse(): Promise<never> {
    throw new StoreError('READ_ONLY', `${this.url}: copies are only fetched from there`);
  }
}
