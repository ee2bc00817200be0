/**
 * RelayDoor: where a reflector serves others: the sockets, the relay behind them (actors/relay.ts), and the LDB that it reads. A
 * part of the reflector: what a socket's event, a timer or a commit's news ends in, if it throws, is this part's death.
 */
import { Relay, type RelayWorld } from '../actors/relay.ts';
import { Readers, type ReaderGrant } from '../actors/gateway/readers.ts';
import { ClientDoor } from '../net/client-door.ts';
import type { Part, PartLife } from './parts/part.ts';
import type { LdbReader, ServedLdb } from './parts/served-ldb.ts';

export interface RelayDoorOptions extends Omit<RelayWorld, 'readers' | 'monotonicMs'> {
  readonly url: string;
  /** Who may follow; none: everybody. */
  readonly readers: readonly ReaderGrant[];
  readonly connectionsMax: number;
  readonly served: ServedLdb;
}

const SWEEP_EVERY_MS = 250;

export class RelayDoor implements Part {
  readonly relay: Relay;
  readonly #door: ClientDoor;
  readonly #sweeps: NodeJS.Timeout;
  readonly #detach: () => void;
  readonly #guard: PartLife['guard'];

  private constructor(relay: Relay, door: ClientDoor, { guard }: PartLife, served: ServedLdb) {
    this.relay = relay;
    this.#door = door;
    this.#guard = guard;
    this.#sweeps = setInterval(() => guard(() => relay.sweep()), SWEEP_EVERY_MS);
    const reader: LdbReader = {
      opened: (state) => guard(() => relay.opened(state)),
      gone: () => guard(() => relay.gone()),
      committed: (event) => guard(() => relay.committed(event)),
      replaced: () => guard(() => relay.replaced()),
    };
    this.#detach = served.attach(reader);
  }

  /** Rejects with the system's error for an address that is taken. */
  static async open(options: RelayDoorOptions, life: PartLife): Promise<RelayDoor> {
    const { url, connectionsMax, readers, served } = options;
    const relay = new Relay({ ...options, readers: new Readers(readers), monotonicMs: () => performance.now() });
    const door = await ClientDoor.open({
      url,
      connectionsMax,
      originsAllowed: [],
      gateway: relay,
      guard: life.guard,
      log: () => {},
    });
    return new RelayDoor(relay, door, life, served);
  }

  /** Whom its upstream follows. */
  follows(above: readonly string[]): void {
    this.#guard(() => this.relay.follows(above));
  }

  async close(): Promise<void> {
    clearInterval(this.#sweeps);
    this.#detach();
    try {
      this.relay.close();
    } finally {
      await this.#door.close();
    }
  }
}
