/**
 * ServedLdb: the LDB that the follower has open, for the relay to read. Either may begin anew while the other goes on: the
 * follower's next life is read by the same relay, and the relay's next life reads what the follower has.
 *
 * A relay begins where the LDB is, and is then told of each commit. Between a commit and the news of it the two are not
 * the same, so a relay that comes back meanwhile waits for that news.
 *
 * Invariant: what was committed is taken, by the relay or by nobody: it does not pile up while there is none.
 */
import type { ReflectorEvent } from '../../actors/reflector.ts';
import { openServedStore } from '../../engine/ldb/lmdb-store.ts';
import type { LdbState } from '../../engine/ldb/ldb-state.ts';
import { LdbWriter, type LdbWriterOptions } from '../../engine/ldb/writer.ts';

/** A relay, as the follower's events concern it (actors/relay.ts). */
export interface LdbReader {
  opened(state: LdbState): void;
  gone(): void;
  committed(event: ReflectorEvent & { readonly kind: 'applied' }): void;
  replaced(): void;
}

export class ServedLdb {
  readonly #ledgerBytes: number;
  #state: LdbState | undefined;
  #reader: LdbReader | undefined;
  /** The reader has not begun: a commit is under way. */
  #isLate = false;

  constructor(ledgerBytes: number) {
    this.#ledgerBytes = ledgerBytes;
  }

  /** Opens the LDB for the follower, and for the relay to read. */
  async openWriter(dir: string, options: LdbWriterOptions): Promise<LdbWriter> {
    const { store, state } = await openServedStore(dir, {
      ledgerBytes: this.#ledgerBytes,
      onClose: () => this.#closed(),
    });
    const writer = await LdbWriter.over(store, dir, options);
    this.#state = state;
    this.#reader?.opened(state);
    return writer;
  }

  /** From now on this one reads it; the result lets go of it. */
  attach(reader: LdbReader): () => void {
    this.#reader = reader;
    const state = this.#state;
    if (state !== undefined) {
      this.#isLate = state.takeFresh().length > 0;
      if (!this.#isLate) reader.opened(state);
    }
    return () => {
      if (this.#reader === reader) this.#reader = undefined;
    };
  }

  note(event: ReflectorEvent): void {
    const isPosition = event.kind === 'applied' || event.kind === 'following';
    if (!isPosition && !(event.kind === 'snapshot' && event.state === 'end')) return;
    if (this.#reader === undefined) this.#state?.takeFresh();
    else if (this.#isLate && this.#state !== undefined) {
      this.#isLate = false;
      this.#reader.opened(this.#state);
    } else if (event.kind === 'applied') this.#reader.committed(event);
    else if (event.kind === 'snapshot') this.#reader.replaced();
  }

  #closed(): void {
    this.#state = undefined;
    this.#isLate = false;
    this.#reader?.gone();
  }
}
