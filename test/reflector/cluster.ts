/** A cluster as a reflector sees it: a ledger that grows, in this process. */
import { createServer } from 'node:net';
import type { Client, LedgerFrame, LedgerOptions } from '../../src/client/types.ts';
import { StoreError } from '../../src/core/base/errors.ts';
import { decodeRecords, firstRecordFrom } from '../../src/core/model/ledger.ts';
import { StateHash } from '../../src/core/model/state-hash.ts';
import type { StartReflectorOptions } from '../../src/reflector/options.ts';
import { streamRecords } from '../engine/ldb/ledger.ts';

/** Its ledger grows when it is told to; it remembers who asked for what. */
export class Cluster {
  readonly asked: LedgerOptions[] = [];
  #chunks: Uint8Array[] = [];
  #last = 0;
  #wake: (() => void)[] = [];
  readonly hash: StateHash = new StateHash();
  /** Hash parts are sent with what is appended, when this is set. */
  hashes = false;
  readonly #hashes = new Map<number, number>();

  append(bytes: Uint8Array): void {
    this.#chunks.push(bytes);
    this.#last = decodeRecords(bytes).at(-1)?.revision ?? this.#last;
    this.hash.fold(bytes, 0, bytes.length);
    this.#hashes.set(this.#last, this.hash.ledger);
    for (const wake of this.#wake.splice(0)) wake();
  }

  grow(count: number): void {
    this.append(streamRecords(this.#last + 1, count));
  }

  get connect(): NonNullable<StartReflectorOptions['connect']> {
    const ledger = (options: LedgerOptions): AsyncIterable<LedgerFrame> => this.#ledger(options);
    return async () => ({ ledger, close: async () => {} }) as unknown as Client;
  }

  async *#ledger(options: LedgerOptions): AsyncGenerator<LedgerFrame> {
    this.asked.push(options);
    yield { kind: 'hello', cluster: 'c1', node: 'n1', filter: options.filter };
    let next: number = options.fromRevision;
    for (let i = 0; ; i++) {
      while (i >= this.#chunks.length) await this.#grown(options.signal);
      const chunk = this.#chunks[i] as Uint8Array;
      const bytes = chunk.subarray(firstRecordFrom(chunk, next));
      if (bytes.length === 0) continue;
      const last = decodeRecords(bytes).at(-1)?.revision ?? 0;
      next = last + 1;
      const hash = this.#hashes.get(last);
      if (this.hashes && hash !== undefined) {
        yield { kind: 'hash', revision: last as never, hash };
      }
      yield { kind: 'records', bytes };
    }
  }

  #grown(signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#wake.push(resolve);
      const end = (): void => reject(new StoreError('CANCELLED', 'stopped'));
      if (signal?.aborted === true) end();
      signal?.addEventListener('abort', end, { once: true });
    });
  }
}

/** An address that was free a moment ago. */
export async function freeUrl(scheme = 'ws'): Promise<string> {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((done) => server.once('listening', done));
  const { port } = server.address() as { port: number };
  await new Promise((done) => server.close(done));
  return `${scheme}://127.0.0.1:${port}`;
}
