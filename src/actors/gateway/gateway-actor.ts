/**
 * The gateway as an actor of the runtime: the loop that turns it, in the main thread, and its end when it breaks.
 *
 * What clients send comes from their sockets into the gateway itself, and what other threads say by rings: its mailbox
 * takes nothing but the news that a callback of it has thrown. That is its death, and not that of the application around.
 */
import { z } from 'zod';
import { type Bell, listen, type Loop } from '../runtime/bell.ts';
import { type ActorDefinition, defineActor } from '../runtime/core/define.ts';
import { type Tell, tell } from '../runtime/core/protocol.ts';

export interface GatewayLoopWorld {
  readonly bell: Bell;
  readonly turn: () => void;
  /** Looks for requests whose time is over. */
  readonly sweep: () => void;
  /** Lets go of tables that were removed, also when nobody reads. */
  readonly refresh: () => void;
  /** Told of what any of these throws. */
  readonly broke: (error: unknown) => void;
}

export type GatewayProtocol = { readonly broke: Tell<{ readonly error: Error }> };

interface GatewayLoop {
  readonly loop: Loop;
  readonly timers: readonly NodeJS.Timeout[];
}

const SWEEP_EVERY_MS = 25;
const REFRESH_EVERY_MS = 1_000;

export const gatewayActor: ActorDefinition<GatewayProtocol, GatewayLoopWorld> = defineActor({
  name: 'gateway',
  protocol: { broke: tell({ error: z.instanceof(Error) }) },
  start: (_ctx, world: GatewayLoopWorld): GatewayLoop => {
    const loop = listen(world.bell, world.turn);
    loop.ended.catch(world.broke);
    const every = (ms: number, work: () => void): NodeJS.Timeout =>
      setInterval(() => {
        try {
          work();
        } catch (error) {
          world.broke(error);
        }
      }, ms);
    return { loop, timers: [every(SWEEP_EVERY_MS, world.sweep), every(REFRESH_EVERY_MS, world.refresh)] };
  },
  on: {
    broke: (_state, { error }) => {
      throw error;
    },
  },
  stop: async ({ loop, timers }) => {
    for (const timer of timers) clearInterval(timer);
    await loop.stop().catch(() => {
      // It broke: that is why it stops.
    });
  },
});
