/**
 * Durable cell: one activation of a durable actor: its state in memory, and what it does with each message: handle,
 * commit, answer, one after another.
 *
 * Every commit is conditioned on the record that says it is here, in the revision that this activation wrote, and on this
 * node's lease. Any later activation, here or elsewhere, writes that record again. So of two that both believe to be the
 * one, only the later can change anything; and answers that change nothing leave only while the lease is held, which ends
 * here before it ends in the log.
 *
 * Invariants:
 *  - the state in memory is that of the last commit; when a commit is in doubt this activation ends, and the next reads;
 *  - an answer leaves when the state that it speaks of is committed, or was and still is.
 */
import { z } from 'zod';
import { isStoreError, StoreError } from '../../../core/base/errors.ts';
import { type ActorDefinition, type Context, defineActor } from '../core/define.ts';
import { ask, type Protocol, tell } from '../core/protocol.ts';
import { decodeValue, encodeValue } from '../mesh/codec.ts';
import type { CallId } from '../mesh/frames.ts';
import { type Answers, answersSchema, NO_ANSWERS, recall, remember } from './answers.ts';
import type { HostedCounts } from './hosted-counts.ts';
import { type DurableContext, type DurableDefinition, isCommit } from './durable.ts';
import { decodeJson, encodeJson, moved, placeKey, stateKey } from './placement.ts';
import type { ActorStore, HostLease, StoredEntry } from './store.ts';

/** What is said to the cell: the message, and for an ask which question it is. */
const durableProtocol = {
  ask: ask({ message: z.unknown(), call: z.unknown() }, z.unknown()),
  tell: tell({ message: z.unknown() }),
  idle: tell(),
} as const;

export interface Activation {
  readonly definition: DurableDefinition<Protocol>;
  readonly address: string;
  readonly id: string;
  readonly store: ActorStore;
  readonly lease: HostLease;
  /** Of the record that says it is here. */
  readonly placeRevision: number;
  readonly stored: StoredEntry | undefined;
  readonly nowMs: () => number;
  readonly counts: HostedCounts;
  /** It was idle for long: ends it once what waits is handled. */
  readonly passivate: () => void;
}

type HandlerContext = Pick<Context<Protocol>, 'signal' | 'asker' | 'remainingMs' | 'trace' | 'log' | 'stop'>;

const recordSchema = z.strictObject({ state: z.unknown(), answers: answersSchema });

/** How long a commit may take: while it does, nothing else is handled. */
const COMMIT_DEADLINE_MS = 10_000;
/** After these nothing has changed. After any other it is not known. */
const REFUSED = new Set(['STORE_FULL', 'OVERLOADED', 'VALUE_TOO_LARGE', 'TXN_TOO_LARGE']);

export function cellOf(definition: DurableDefinition<Protocol>): ActorDefinition<Protocol, Activation> {
  // Only this folder speaks to it, in envelopes.
  return defineActor({
    name: definition.name,
    protocol: durableProtocol,
    mailbox: definition.parts.mailbox,
    start: (ctx: Context<typeof durableProtocol>, activation: Activation) => {
      const { passivateAfterMs } = definition.parts;
      ctx.timers.after('idle', passivateAfterMs, { kind: 'idle' });
      return new DurableCell(activation);
    },
    on: {
      ask: (cell, { message, call }, ctx) => cell.handle(message, call as CallId | undefined, ctx),
      tell: async (cell, { message }, ctx) => {
        await cell.told(message, ctx);
      },
      idle: (cell, _message, ctx) => {
        const leftMs = cell.idleAtMs - cell.activation.nowMs();
        if (leftMs <= 0) cell.activation.passivate();
        else ctx.timers.after('idle', leftMs, { kind: 'idle' });
      },
    },
  });
}

class DurableCell {
  readonly activation: Activation;
  #state: unknown;
  #answers: Answers;
  idleAtMs = 0;

  /** SCHEMA_MISMATCH: what was stored is no state by this schema. */
  constructor(activation: Activation) {
    this.activation = activation;
    const { stored, definition, id } = activation;
    if (stored === undefined) {
      this.#state = freeze(definition.parts.initial(id));
      this.#answers = NO_ANSWERS;
    } else {
      const record = recordSchema.safeParse(decodeJson(stored.value));
      if (!record.success) {
        const why = z.prettifyError(record.error);
        throw new StoreError('SCHEMA_MISMATCH', `what is stored for ${activation.address} is no record: ${why}`);
      }
      this.#state = freeze(this.#parse(decodeValue(record.data.state)));
      this.#answers = record.data.answers;
    }
    this.#used();
  }

  #used(): void {
    this.idleAtMs = this.activation.nowMs() + this.activation.definition.parts.passivateAfterMs;
  }

  async handle(message: unknown, call: CallId | undefined, ctx: HandlerContext): Promise<unknown> {
    const { address, definition, lease, id } = this.activation;
    this.#used();
    if (!lease.isHeld) throw moved(address);
    const before = call === undefined ? undefined : recall(this.#answers, call);
    // It was committed once; whoever has the place now has it too.
    if (before !== undefined) return decodeValue(before.reply);
    const { kind } = message as { readonly kind: string };
    const handler = definition.parts.handlers[kind];
    if (handler === undefined) throw new StoreError('BAD_REQUEST', `${address} has no "${kind}"`);
    const { signal, asker, trace, log } = ctx;
    const own: DurableContext = {
      ...{ id, signal, asker, trace, log },
      get remainingMs() {
        return ctx.remainingMs;
      },
    };
    try {
      const result = await handler(this.#state, message, own);
      if (isCommit(result)) return await this.#commit(result.state, result.reply, call, ctx);
      if (!lease.isHeld) throw moved(address);
      return result;
    } catch (error) {
      if (isStoreError(error)) throw error;
      // A bug: this activation ends, and what it was asked is not tried again by itself.
      ctx.stop();
      const message = error instanceof Error ? error.message : String(error);
      ctx.log('error', 'actor.durable.failed', { address, kind, message, stack: (error as Error).stack });
      throw new StoreError('ACTOR_STOPPED', `${address} failed: ${message}`, { cause: error, data: { failed: true } });
    } finally {
      this.#used();
    }
  }

  /** Nobody hears of it when it fails, but the log. */
  async told(message: unknown, ctx: HandlerContext): Promise<void> {
    try {
      await this.handle(message, undefined, ctx);
    } catch (error) {
      if (!isStoreError(error)) throw error;
      const { kind } = message as { readonly kind: string };
      const { address } = this.activation;
      ctx.log('warn', 'actor.durable.tell-failed', { address, kind, code: error.code, message: error.message });
    }
  }

  async #commit(next: unknown, reply: unknown, call: CallId | undefined, ctx: HandlerContext): Promise<unknown> {
    const { address, store, lease, placeRevision, counts } = this.activation;
    const state = this.#parse(next);
    const answers = call === undefined ? this.#answers : remember(this.#answers, call, encodeValue(reply));
    const record = encodeJson({ state: encodeValue(state), answers });
    let isDone: boolean;
    try {
      const conditions = [
        lease.condition(),
        { kind: 'revision', key: placeKey(address), revision: placeRevision } as const,
      ];
      const change = { conditions, puts: [[stateKey(address), record]] as const };
      isDone = (await store.commit(change, { deadlineMs: COMMIT_DEADLINE_MS })).succeeded;
    } catch (error) {
      if (isStoreError(error) && REFUSED.has(error.code)) throw error;
      counts.doubts++;
      ctx.stop();
      throw new StoreError('OUTCOME_UNKNOWN', `${address}: nobody knows whether its state was committed`, {
        cause: error,
      });
    }
    if (!isDone) {
      // Another activation has the place, or this node's lease is over.
      counts.fencesLost++;
      ctx.stop();
      throw moved(address);
    }
    counts.commits++;
    this.#state = freeze(state);
    this.#answers = answers;
    return reply;
  }

  #parse(value: unknown): unknown {
    const { address, definition } = this.activation;
    const parsed = definition.parts.state.safeParse(value);
    if (parsed.success) return parsed.data;
    throw new StoreError('SCHEMA_MISMATCH', `the state of ${address}: ${z.prettifyError(parsed.error)}`);
  }
}

/** A handler that changes the state in place would be right until the next start. */
function freeze(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value) || ArrayBuffer.isView(value)) return value;
  for (const part of Object.values(value)) freeze(part);
  return Object.freeze(value);
}
