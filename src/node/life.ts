/**
 * Life: one run of a node's parts. It begins with fresh shared memory and threads that read what is durable, and ends
 * with all of them gone. A node has several when its state is replaced; its lock, its name and its own client outlive
 * them.
 */
import { listen } from '../actors/runtime/bell.ts';
import type { LogFunction } from '../actors/runtime/thread.ts';
import { ClientDoor } from '../net/client-door.ts';
import type { Parts } from './parts.ts';

export interface LifeWorld {
  readonly parts: Parts;
  /** Where clients connect. */
  readonly clientUrl: string;
  readonly connectionsMax: number;
  readonly originsAllowed: readonly string[];
  /** Something ended that should not have, or threw. */
  readonly fail: (error: Error) => void;
  /** Runs a callback; what it throws goes to `fail`. */
  readonly guard: (work: () => void) => void;
  /** A snapshot is to take the place of the state: this life must end. Told until it does. */
  readonly onInstall: () => void;
  readonly log: LogFunction;
}

const SWEEP_EVERY_MS = 25;
/** This thread lets go of tables that were removed, also when nobody reads. */
const REFRESH_EVERY_MS = 1_000;

export class Life {
  readonly parts: Parts;
  readonly #world: LifeWorld;
  #door: ClientDoor | undefined;
  #stopLoops: (() => Promise<void>) | undefined;

  constructor(world: LifeWorld) {
    this.#world = world;
    this.parts = world.parts;
  }

  /** Threads, then the gateway's loop; clients last: whoever connects can be answered. */
  async begin(): Promise<void> {
    const { clientUrl, connectionsMax, originsAllowed, fail, guard, log, onInstall } = this.#world;
    const { plumbing, state, supervisor, gateway } = this.parts;
    const { shared } = plumbing;
    void supervisor.failed.then(fail);
    await supervisor.start();
    const installs = shared.reader('installs');
    const loop = listen(shared.bell('gateway'), () => gateway.turn());
    loop.ended.catch((error: unknown) => fail(error instanceof Error ? error : new Error(String(error))));
    const sweeper = setInterval(() => {
      guard(() => gateway.sweep());
      if (installs() !== 0) onInstall();
    }, SWEEP_EVERY_MS);
    const refresher = setInterval(() => guard(() => state.tree.refresh()), REFRESH_EVERY_MS);
    this.#stopLoops = async () => {
      clearInterval(sweeper);
      clearInterval(refresher);
      await loop.stop().catch(() => {
        // Told already, as the node's failure.
      });
    };
    this.#door = await ClientDoor.open({ url: clientUrl, connectionsMax, originsAllowed, gateway, guard, log });
  }

  /** In reverse: clients get a goodbye, then the threads stop in the order that loses nothing. */
  async end(): Promise<void> {
    const { state, supervisor, gateway } = this.parts;
    gateway.close();
    await this.#door?.close();
    this.#door = undefined;
    await this.#stopLoops?.();
    this.#stopLoops = undefined;
    state.close();
    await supervisor.stop();
  }
}
