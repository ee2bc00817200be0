/**
 * ReplicaDisk: the LDB of a replica, as its reflector writes it, over all lives. Each call takes its time, and belongs to a
 * life: in one that has ended it waits for ever. A transaction takes some before it is visible and some after; what readers
 * see then is looked at. Some fail, as on a full disk.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { LdbStore } from '../../src/engine/ldb/store.ts';
import type { Chance } from './chance.ts';
import type { LdbPlatter, ServedLdb } from './ldb-platter.ts';
import type { RelaySide } from './relay-side.ts';

/** How often a relay's sweep falls into a transaction. */
const SWEPT = 0.1;

export interface ReplicaDiskWorld {
  readonly chance: Chance;
  readonly platter: LdbPlatter;
  readonly isOf: (life: number) => boolean;
  /** A while of this life. */
  readonly io: (life: number) => Promise<void>;
  readonly monotonicMs: () => number;
  /** The next event waits until this has settled (replica-world.ts). */
  readonly hold: (work: Promise<unknown>) => Promise<unknown>;
  readonly look: () => void;
  /** Who feeds others from it; undefined: it feeds nobody. */
  readonly side: RelaySide | undefined;
  /** Bytes of records that are kept for them. */
  readonly ledgerBytes: number;
}

export class ReplicaDisk {
  readonly #world: ReplicaDiskWorld;
  /** Of a life that ended: the next one opens the LDB when it is closed. */
  #closing: Promise<void> = Promise.resolve();
  #store: LdbStore | undefined;
  #failsNext = false;

  constructor(world: ReplicaDiskWorld) {
    this.#world = world;
  }

  /** The next transaction fails, as on a full disk. */
  failNext(): void {
    this.#failsNext = true;
  }

  /**
   * The process is gone. What its promises do yet, of what had come before, they do to a store that is open: LMDB does not
   * survive to be read when it is closed.
   */
  end(): void {
    const store = this.#store;
    this.#store = undefined;
    if (store !== undefined) this.#closing = this.#held(nextTurn().then(() => store.close()));
  }

  remove(): void {
    void this.#world.hold(this.#closing.then(() => this.#world.platter.remove()));
  }

  async open(life: number): Promise<LdbStore> {
    const { side, look, isOf, io } = this.#world;
    await io(life);
    const opening = this.#closing.then(() => this.#opened(life));
    // Who dies while it opens has it closed, before another life may open it.
    const settle = async (): Promise<void> => {
      const { store } = await opening;
      if (isOf(life)) this.#store = store;
      else await store.close();
    };
    this.#closing = this.#held(settle());
    const { store: inner, served } = await opening;
    await this.#closing;
    if (!isOf(life)) return new Promise(() => {});
    look();
    const store: LdbStore = {
      meta: (key) => inner.meta(key),
      view: (of) => inner.view(of),
      commit: (rows, meta, records) =>
        this.#act(life, { isShown: true, prepare: served && (() => this.#prepare(served, records)) }, () =>
          inner.commit(rows, meta, records),
        ),
      addIncoming: (rows) => this.#act(life, { isShown: false }, () => inner.addIncoming(rows)),
      dropIncoming: () => this.#act(life, { isShown: false }, () => inner.dropIncoming()),
      adoptIncoming: (meta) => this.#act(life, { isShown: true }, () => inner.adoptIncoming(meta)),
      flushed: () => inner.flushed(),
      close: async () => {
        await io(life);
        this.#store = undefined;
        this.#closing = this.#held(inner.close());
        await this.#closing;
        await io(life);
      },
    };
    if (served !== undefined) side?.opened(served.state);
    return store;
  }

  async #opened(life: number): Promise<{ readonly store: LdbStore; readonly served: ServedLdb | undefined }> {
    const { platter, side, ledgerBytes, monotonicMs, isOf } = this.#world;
    if (side === undefined) return { store: await platter.open(), served: undefined };
    const onClose = (): void => {
      if (isOf(life)) side.gone();
    };
    const served = await platter.openServed({ ledgerBytes, monotonicMs, onClose });
    return { store: served.store, served };
  }

  async #held<T>(working: Promise<T>): Promise<T> {
    await this.#world.hold(working);
    return working;
  }

  /** What a relay does now and then it does in the middle of a transaction, too. */
  #prepare(served: ServedLdb, records: readonly Uint8Array[]): void {
    const { side, chance } = this.#world;
    served.prepare(records);
    if (chance.is(SWEPT)) side?.sweep();
  }

  /** `prepare`: what is done of it before it is visible. */
  async #act<T>(
    life: number,
    { isShown, prepare }: { readonly isShown: boolean; readonly prepare?: (() => void) | undefined },
    work: () => Promise<T>,
  ): Promise<T> {
    const { io, look } = this.#world;
    await io(life);
    if (this.#failsNext && isShown) {
      this.#failsNext = false;
      throw new Error('ENOSPC: no space left on device');
    }
    if (prepare !== undefined) {
      prepare();
      await io(life);
    }
    const result = await this.#held(work());
    if (isShown) look();
    await io(life);
    return result;
  }
}
