/**
 * Ear: a node as the network meets it: the event loop of its replication thread, as src/net/replication.thread.ts has it.
 * What comes in one round is stepped at once, and handed on by one turn a moment later.
 */
import { StoreError } from '../../src/core/base/errors.ts';
import type { MeshHello, MeshMessage } from '../../src/core/wire/mesh.ts';
import type { Chance } from './chance.ts';
import type { Life } from './life.ts';
import { TELL_COMMIT_MS, WAKE_MS } from './options.ts';

/** How a caller is taken; an error: why not; 'gone': the node ended of it. */
export type Greeting = 'peer' | 'guest' | 'gone' | StoreError;

export interface EarWorld {
  readonly chance: Chance;
  readonly life: () => number;
  readonly current: () => Life | undefined;
  /** Runs `work` in this life, once it does not stand still; not when it is over by then. */
  readonly when: (life: number, work: () => void) => void;
  /** What `work` throws ends the life. */
  readonly run: (work: () => void) => void;
  readonly later: (life: number, delayMs: number, work: () => void) => void;
}

export class Ear {
  readonly #world: EarWorld;
  /** What this life was told, while it led, of what others have on their disks: the newest. */
  readonly acks: Map<string, { readonly term: number; readonly index: number }> = new Map();
  #flushPlanned = false;
  #commitPlanned = false;

  constructor(world: EarWorld) {
    this.#world = world;
  }

  /** A life begins. */
  reset(): void {
    this.acks.clear();
    this.#flushPlanned = false;
    this.#commitPlanned = false;
  }

  /** Somebody dials this node. */
  greet(hello: MeshHello): Greeting {
    const { current, run } = this.#world;
    const life = current();
    let greeting: Greeting = 'gone';
    run(() => {
      try {
        greeting = life?.presence.admission.greet(hello) === undefined ? 'peer' : 'guest';
      } catch (error) {
        if (!(error instanceof StoreError)) throw error;
        greeting = error;
      }
    });
    return life === undefined || current() !== life ? 'gone' : greeting;
  }

  messages(from: string, messages: readonly MeshMessage[]): void {
    const { chance, later, when, run, life } = this.#world;
    const now = life();
    when(now, () => {
      const current = this.#world.current();
      run(() => {
        if (current === undefined) return;
        this.#note(from, messages, current.raft.term);
        current.presence.heard(messages, current.raft);
        current.replication.receive(from, messages);
      });
      if (this.#flushPlanned) return;
      this.#flushPlanned = true;
      later(now, chance.delay(WAKE_MS / 2), () => {
        this.#flushPlanned = false;
        if (current === undefined) return;
        current.replication.turn();
        this.planCommits(current);
      });
    });
  }

  #note(from: string, messages: readonly MeshMessage[], term: number): void {
    for (const mesh of messages) {
      if (mesh.kind !== 'raft' || mesh.message.kind !== 'appendReply' || mesh.message.rejected) continue;
      const { message } = mesh;
      const known = this.acks.get(from);
      if (message.term !== term || (known?.term === term && known.index >= message.index)) continue;
      this.acks.set(from, { term, index: message.index });
    }
  }

  /** `peer` was let in. */
  met(peer: string, { dir, commands }: Pick<MeshHello, 'dir' | 'commands'>): void {
    this.#hear(({ replication }) => replication.met(peer, dir, commands));
  }

  /** `peer` has seen more of this node's directory than there is in it. */
  forgetful(peer: string, reason: string): void {
    this.#hear(({ presence }) => presence.endForgetful(peer, reason));
  }

  connected(peer: string): void {
    this.#hear(({ replication }) => replication.connected(peer));
  }

  disconnected(peer: string): void {
    this.#hear(({ replication }) => replication.disconnected(peer));
  }

  peerLeft(peer: string): void {
    this.#hear(({ replication }) => replication.peerLeft(peer));
  }

  #hear(what: (life: Life) => void): void {
    const { current, when, run, life } = this.#world;
    when(life(), () => {
      const now = current();
      if (now !== undefined) run(() => what(now));
    });
  }

  /** Followers that no append tells of a commit are told in a moment. */
  planCommits(current: Life): void {
    const { replication } = current;
    const { committed } = replication;
    if (this.#commitPlanned || !replication.hasUntoldCommit(committed)) return;
    this.#commitPlanned = true;
    this.#world.later(this.#world.life(), TELL_COMMIT_MS, () => {
      this.#commitPlanned = false;
      if (replication.hasUntoldCommit(committed)) replication.tellCommits();
      else this.planCommits(current);
    });
  }
}
