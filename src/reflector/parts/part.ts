/**
 * Part: what a reflector is made of, as an actor of its system. A bug in one ends that one, which comes back by itself, and the
 * others go on.
 *
 * A part works in callbacks: sockets, timers, commits. Its mailbox takes nothing but a tick, now and then, and the news
 * that one of its callbacks has thrown, which is its death (so it is with a node's gateway: actors/gateway/gateway-actor.ts).
 * Nothing is sent for a record or a commit.
 *
 * Invariant: a part whose death was told does nothing more but close: what comes meanwhile is not handed to it.
 */
import { z } from 'zod';
import { type ActorDefinition, defineActor } from '../../actors/runtime/core/define.ts';
import { type Tell, tell } from '../../actors/runtime/core/protocol.ts';
import type { Timing } from '../../client/timing.ts';
import { InvariantViolation } from '../../core/base/assert.ts';

/**
 * `follower`: plays the ledger into the replica. `relay`: feeds others. `copies`: puts copies away. `changes`: tells what
 * changes, to loops and in a file. `freshness`: says when the lag has risen, or is back.
 */
export type PartName = 'http' | 'changes' | 'follower' | 'relay' | 'copies' | 'sidecar' | 'freshness';

/** What a part is given of its life. */
export interface PartLife {
  /** It is the successor of one that died. */
  readonly isAgain: boolean;
  /** Something that runs in its name has thrown: the first time is its death. */
  readonly broke: (error: unknown) => void;
  /** Runs a callback of it; what that throws is its death. Once it is dead nothing runs. */
  readonly guard: (work: () => void) => void;
  /** For tests: throws when it was told to. */
  readonly strike: () => void;
}

/** A part that has begun. */
export interface Part {
  /** Each LOOK_EVERY_MS. */
  readonly look?: () => void;
  /** Ends it, whether it broke or was stopped. */
  close(): void | Promise<void>;
}

export interface PartArgs {
  readonly begin: (life: PartLife) => Part | Promise<Part>;
  /** For tests: whether it is to throw now. */
  readonly isStruck: () => boolean;
}

export type PartProtocol = { readonly broke: Tell<{ readonly error: Error }>; readonly look: Tell<object> };

export const LOOK_EVERY_MS = 500;

export function partActor(name: PartName): ActorDefinition<PartProtocol, PartArgs> {
  return defineActor({
    name,
    protocol: { broke: tell({ error: z.instanceof(Error) }), look: tell({}) },
    // It holds an LMDB environment, or sockets: it is only ever asked to end.
    native: true,
    start: async (ctx, { begin, isStruck }: PartArgs) => {
      let isBroken = false;
      const broke = (error: unknown): void => {
        if (isBroken) return;
        isBroken = true;
        ctx.self.tell({ kind: 'broke', error: error instanceof Error ? error : new Error(String(error)) });
      };
      const strike = (): void => {
        if (isStruck()) throw new InvariantViolation('a test has it throw');
      };
      const guard = (work: () => void): void => {
        if (isBroken) return;
        try {
          strike();
          work();
        } catch (error) {
          broke(error);
        }
      };
      const part = await begin({ isAgain: ctx.incarnation > 1, broke, guard, strike });
      ctx.timers.every('look', LOOK_EVERY_MS, { kind: 'look' });
      return { part, guard };
    },
    on: {
      broke: (_state, { error }) => {
        throw error;
      },
      look: ({ part, guard }) => guard(() => part.look?.()),
    },
    stop: ({ part }) => part.close(),
  });
}

/** The same time; what its callbacks throw is the part's death. */
export function guardedTiming(timing: Timing, { guard }: PartLife): Timing {
  return {
    ...timing,
    after: (delayMs, work) => timing.after(delayMs, () => guard(work)),
    every: (everyMs, work) => timing.every(everyMs, () => guard(work)),
  };
}
