/**
 * Ends: the end of an actor, as it is watched, or wanted, from another node. Both sides of it, between this node and one peer.
 *
 * What is wanted of a far actor's end is asked for at once or not at all, as messages are. When the connection breaks a
 * watcher is told that it cannot be heard of any more, and who waits for a stop that it may have happened.
 */
import { StoreError } from '../../../core/base/errors.ts';
import type { EndReason, StopOptions } from '../core/types.ts';
import { type Frame, fromFailure, type ToActor, toFailure } from './frames.ts';

/** Watches of a peer's actors, and of ours by a peer. */
const WATCHES_MAX = 4_096;

export interface EndsWorld {
  readonly peer: string;
  readonly newCall: () => number;
  readonly put: (frame: Frame) => void;
  readonly here: ActorsHere;
}

/** The actors of this node, by what peers call them. An actor that has ended, or never was, has stopped. */
export interface ActorsHere {
  watch(to: ToActor, hasEnded: (reason: EndReason) => void): () => void;
  stop(to: ToActor, options: StopOptions): void;
  kill(to: ToActor): void;
}

interface Watching {
  readonly hasEnded: (reason: EndReason) => void;
  /** It was not done, or nobody knows. */
  readonly failed: (error: StoreError) => void;
}

export class Ends {
  readonly #world: EndsWorld;
  /** Of the peer's actors, by call. */
  readonly #there = new Map<number, Watching>();
  /** Of ours, by the peer's call. */
  readonly #here = new Map<number, () => void>();

  constructor(world: EndsWorld) {
    this.#world = world;
  }

  get isIdle(): boolean {
    return this.#there.size === 0;
  }

  // ── of the peer's actors ──

  /** Tells once that it has ended, or cannot be heard of any more. The result ends the watch. */
  watch(to: ToActor, hasEnded: (reason: EndReason) => void, isUp: boolean): () => void {
    const refused = this.#refusal(to, isUp);
    const failed = (error: StoreError): void => hasEnded({ kind: 'failed', error });
    if (refused !== undefined) {
      failed(refused);
      return () => {};
    }
    const call = this.#world.newCall();
    this.#there.set(call, { hasEnded, failed });
    this.#world.put({ frame: 'watch', call, to });
    return () => {
      if (this.#there.delete(call)) this.#world.put({ frame: 'unwatch', call });
    };
  }

  /** Resolves when it has ended. UNAVAILABLE, OVERLOADED: nothing was said; OUTCOME_UNKNOWN: the connection broke. */
  stop(to: ToActor, { drain = true, deadlineMs }: StopOptions, isUp: boolean): Promise<void> {
    const refused = this.#refusal(to, isUp);
    if (refused !== undefined) return Promise.reject(refused);
    const { promise, resolve, reject } = Promise.withResolvers<undefined>();
    const call = this.#world.newCall();
    this.#there.set(call, { hasEnded: () => resolve(undefined), failed: reject });
    this.#world.put({ frame: 'stop', call, to, drain, ...(deadlineMs === undefined ? {} : { deadlineMs }) });
    return promise;
  }

  /** UNAVAILABLE: nothing was said. */
  kill(to: ToActor, isUp: boolean): void {
    if (!isUp) throw this.#away(to);
    this.#world.put({ frame: 'kill', to });
  }

  ended(call: number, reason: EndReason): void {
    const watching = this.#there.get(call);
    this.#there.delete(call);
    watching?.hasEnded(reason);
  }

  /** False: no such call. */
  failed(call: number, error: StoreError): boolean {
    const watching = this.#there.get(call);
    this.#there.delete(call);
    watching?.failed(error);
    return watching !== undefined;
  }

  // ── of ours ──

  watchHere(call: number, to: ToActor): boolean {
    const { put, here } = this.#world;
    if (this.#here.size >= WATCHES_MAX) {
      put({ frame: 'failed', call, failure: toFailure(new StoreError('OVERLOADED', 'too many watches')) });
      return false;
    }
    // An actor that has ended tells at once, before there is anything to end.
    let isOver = false;
    const end = here.watch(to, (reason) => {
      isOver = true;
      this.#here.delete(call);
      put({ frame: 'ended', call, ...(reason.kind === 'failed' ? { failure: toFailure(reason.error) } : {}) });
    });
    if (!isOver) this.#here.set(call, end);
    return true;
  }

  unwatchHere(call: number): void {
    this.#here.get(call)?.();
    this.#here.delete(call);
  }

  stopHere({ call, to, drain, deadlineMs }: Frame & { readonly frame: 'stop' }): void {
    if (this.watchHere(call, to)) this.#world.here.stop(to, { drain, deadlineMs });
  }

  killHere(to: ToActor): void {
    this.#world.here.kill(to);
  }

  // ── the connection ──

  lost(error: StoreError): void {
    for (const end of this.#here.values()) end();
    this.#here.clear();
    const there = [...this.#there.values()];
    this.#there.clear();
    for (const watching of there) watching.failed(error);
  }

  #refusal(to: ToActor, isUp: boolean): StoreError | undefined {
    if (!isUp) return this.#away(to);
    if (this.#there.size < WATCHES_MAX) return undefined;
    return new StoreError('OVERLOADED', `${to.path} on ${this.#world.peer}: there are ${WATCHES_MAX} watches`);
  }

  #away({ path }: ToActor): StoreError {
    const { peer } = this.#world;
    return new StoreError('UNAVAILABLE', `${peer} is out of reach: ${path} was told nothing`, { data: { peer } });
  }
}

/** As the peer told it. */
export const endOf = ({ failure }: Frame & { readonly frame: 'ended' }): EndReason =>
  failure === undefined ? { kind: 'stopped' } : { kind: 'failed', error: fromFailure(failure) };
