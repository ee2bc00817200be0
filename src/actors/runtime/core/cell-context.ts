/**
 * Cell context: the cell as its handlers may see it. One for each incarnation; what it says of "the message in hand" is
 * right because there is one at a time.
 */
import { StoreError } from '../../../core/base/errors.ts';
import type { Asker } from './asker.ts';
import type { LogFunction } from '../thread.ts';
import {
  type ActorDefinition,
  type AnyHandler,
  type Context,
  type SpawnArguments,
  STASHED,
  type Stashed,
} from './define.ts';
import type { Envelope } from './envelope.ts';
import type { Mailbox } from './mailbox.ts';
import type { Nursery } from './nursery.ts';
import type { AnyMessage, Protocol } from './protocol.ts';
import { Ref } from './ref.ts';
import { type Spec, stopped, type Target, type World } from './target.ts';
import type { ActorTimers } from './timers.ts';
import type { ActorRef, AnyRef, DeathNotice } from './types.ts';

/** What a context needs of its cell. */
export interface ContextCell extends Target {
  readonly world: World;
  readonly spec: Spec;
  readonly nursery: Nursery;
  readonly timers: ActorTimers;
  readonly mailbox: Mailbox;
  readonly stash: Envelope[];
  readonly current: Envelope | undefined;
  readonly signal: AbortSignal;
  readonly isEnding: boolean;
  readonly asker: Asker | undefined;
  handlers: Readonly<Record<string, AnyHandler>>;
  isDone: boolean;
  notice(message: AnyMessage): void;
  fail(error: unknown): void;
}

const WATCHES_MAX = 4_096;

export class CellContext implements Context<Protocol, string> {
  readonly #cell: ContextCell;
  readonly self: ActorRef<Protocol>;
  #watches = 0;

  constructor(cell: ContextCell) {
    this.#cell = cell;
    const here = (): Target => cell;
    this.self = new Ref(cell.world, here, here);
  }

  get path(): string {
    return this.#cell.path;
  }

  get incarnation(): number {
    return this.#cell.incarnation;
  }

  get signal(): AbortSignal {
    return this.#cell.signal;
  }

  get remainingMs(): number {
    const deadlineAtMs = this.#cell.current?.waiting.answer?.deadlineAtMs;
    if (deadlineAtMs === undefined) return Number.POSITIVE_INFINITY;
    return Math.max(0, deadlineAtMs - this.#cell.world.clock.nowMs());
  }

  get asker(): Asker | undefined {
    return this.#cell.asker;
  }

  get trace(): string | undefined {
    return this.#cell.current?.waiting.trace;
  }

  get timers(): ActorTimers {
    return this.#cell.timers;
  }

  readonly log: LogFunction = (level, event, fields = {}) =>
    this.#cell.world.log(level, event, { actor: this.#cell.path, ...fields });

  spawn<Q extends Protocol, Args>(
    definition: ActorDefinition<Q, Args>,
    ...[options]: SpawnArguments<Args>
  ): Promise<ActorRef<Q>> {
    if (this.#cell.isEnding) return Promise.reject(stopped(this.path));
    return this.#cell.nursery.spawn(definition, options);
  }

  watch(ref: AnyRef, toMessage: (notice: DeathNotice) => AnyMessage): () => void {
    if (!(ref instanceof Ref)) throw new StoreError('BAD_REQUEST', 'only a ref can be watched');
    if (this.#watches >= WATCHES_MAX) throw new StoreError('OVERLOADED', `${this.path} watches ${WATCHES_MAX} others`);
    this.#watches++;
    let isOver = false;
    const end = ref.target.watch((notice) => {
      if (isOver) return;
      isOver = true;
      this.#watches--;
      try {
        this.#cell.notice(toMessage(notice));
      } catch (error) {
        this.#cell.fail(error);
      }
    });
    return () => {
      if (isOver) return;
      isOver = true;
      this.#watches--;
      end();
    };
  }

  stash(): Stashed {
    return STASHED;
  }

  unstash(): void {
    for (const envelope of this.#cell.stash.splice(0).reverse()) this.#cell.mailbox.putBack(envelope);
  }

  become(behaviour: string): void {
    const handlers = this.#cell.spec.definition.parts.handlers[behaviour];
    if (handlers === undefined) throw new StoreError('BAD_REQUEST', `${this.path} has no behaviour "${behaviour}"`);
    this.#cell.handlers = handlers;
  }

  stop(): void {
    this.#cell.isDone = true;
  }
}
