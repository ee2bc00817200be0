/**
 * Life: one run of a node's parts. It begins with fresh shared memory and threads that read what is durable, and ends
 * with all of them gone. A node has several: when its state is replaced, and when an actor has died whose memory others
 * share. Its lock, its name, its operators' door and its own client outlive them.
 */
import type { Death } from '../actors/restarts.ts';
import type { LogFunction } from '../actors/runtime/thread.ts';
import { ClientDoor } from '../net/client-door.ts';
import { assembleParts, type Parts, type PartsWorld } from './parts.ts';

export interface LifeWorld extends Omit<PartsWorld, 'guard' | 'onDeath'> {
  /** Where clients connect. */
  readonly clientUrl: string;
  /** A snapshot is to take the place of the state: this life must end. Told until it does. */
  readonly onInstall: () => void;
  readonly log: LogFunction;
}

export class Life {
  readonly parts: Parts;
  readonly #world: LifeWorld;
  #die: (death: Death) => void = () => {};
  /** Resolves with the first death that this life does not outlive. */
  readonly died: Promise<Death>;
  /** The same, once it has come. */
  death: Death | undefined;
  #door: ClientDoor | undefined;

  constructor(world: LifeWorld) {
    this.#world = world;
    this.died = new Promise((resolve) => {
      this.#die = (death) => {
        this.death ??= death;
        resolve(this.death);
      };
    });
    this.parts = assembleParts({
      ...world,
      guard: (work) => this.#guard(work),
      onDeath: (death) => this.#die(death),
    });
  }

  /** Threads, then the gateway's loop; clients last: whoever connects can be answered. */
  async begin(): Promise<void> {
    const { config, clientUrl, log, onInstall } = this.#world;
    const { plumbing, state, supervisor, gateway } = this.parts;
    const { shared } = plumbing;
    await supervisor.start();
    const installs = shared.reader('installs');
    await supervisor.startGateway({
      bell: shared.bell('gateway'),
      turn: () => gateway.turn(),
      sweep: () => {
        gateway.sweep();
        if (installs() !== 0) onInstall();
      },
      refresh: () => state.tree.refresh(),
    });
    const guard = (work: () => void): void => this.#guard(work);
    const { connectionsMax, originsAllowed } = config;
    const onWaiting = (count: number): void => shared.set('clientsWaiting', count);
    const door = { url: clientUrl, connectionsMax, originsAllowed, gateway, guard, log, onWaiting };
    this.#door = await ClientDoor.open(door);
  }

  /** In reverse: clients get a goodbye, then the threads stop in the order that loses nothing. May be called twice. */
  async end(): Promise<void> {
    const { state, supervisor, gateway } = this.parts;
    // One that is broken may not find the words; the door ends its sockets all the same.
    this.#guard(() => gateway.close());
    await this.#door?.close();
    this.#door = undefined;
    await supervisor.stopGateway();
    state.close();
    await supervisor.stop();
  }

  /** A broken invariant in a callback is the gateway's death, and not that of the application around it. */
  #guard(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.parts.supervisor.gatewayBroke(error);
    }
  }
}
