/**
 * RelayDoor: where a reflector serves others: the sockets, the relay behind them (actors/relay.ts), and the LDB that it reads.
 */
import { Relay, type RelayWorld } from '../actors/relay.ts';
import { Readers, type ReaderGrant } from '../actors/gateway/readers.ts';
import type { ReflectorEvent } from '../actors/reflector.ts';
import { openServedStore } from '../engine/ldb/lmdb-store.ts';
import { LdbWriter, type LdbWriterOptions } from '../engine/ldb/writer.ts';
import { ClientDoor } from '../net/client-door.ts';

export interface RelayDoorOptions extends Omit<RelayWorld, 'readers' | 'monotonicMs'> {
  readonly url: string;
  /** Who may follow; none: everybody. */
  readonly readers: readonly ReaderGrant[];
  /** Of the newest records that are kept for those who were away, about. */
  readonly ledgerBytes: number;
  readonly connectionsMax: number;
  /** What a socket's event ended in; the relay is of no more use. */
  readonly onFailure: (error: unknown) => void;
}

const SWEEP_EVERY_MS = 250;

export class RelayDoor {
  readonly #options: RelayDoorOptions;
  readonly relay: Relay;
  readonly #door: ClientDoor;
  readonly #sweeps: NodeJS.Timeout;

  private constructor(options: RelayDoorOptions, relay: Relay, door: ClientDoor) {
    this.#options = options;
    this.relay = relay;
    this.#door = door;
    this.#sweeps = setInterval(() => this.#guard(() => relay.sweep()), SWEEP_EVERY_MS);
  }

  /** Rejects with the system's error for an address that is taken. */
  static async open(options: RelayDoorOptions): Promise<RelayDoor> {
    const { url, connectionsMax, readers, onFailure } = options;
    const relay = new Relay({ ...options, readers: new Readers(readers), monotonicMs: () => performance.now() });
    const door = await ClientDoor.open({
      url,
      connectionsMax,
      originsAllowed: [],
      gateway: relay,
      guard: (work) => guarded(work, onFailure),
      log: () => {},
    });
    return new RelayDoor(options, relay, door);
  }

  /** Opens the LDB for the reflector, and for the relay to read. */
  async openWriter(dir: string, options: LdbWriterOptions): Promise<LdbWriter> {
    const { ledgerBytes } = this.#options;
    const { store, state } = await openServedStore(dir, { ledgerBytes, onClose: () => this.relay.gone() });
    const writer = await LdbWriter.over(store, dir, options);
    this.relay.opened(state);
    return writer;
  }

  /** What happened to the LDB. */
  note(event: ReflectorEvent): void {
    this.#guard(() => {
      if (event.kind === 'applied') this.relay.committed(event);
      else if (event.kind === 'snapshot' && event.state === 'end') this.relay.replaced();
    });
  }

  async close(): Promise<void> {
    clearInterval(this.#sweeps);
    this.relay.close();
    await this.#door.close();
  }

  #guard(work: () => void): void {
    guarded(work, this.#options.onFailure);
  }
}

function guarded(work: () => void, onFailure: (error: unknown) => void): void {
  try {
    work();
  } catch (error) {
    onFailure(error);
  }
}
