/** The actor that is measured: it adds, and says the sum. */
import { z } from 'zod';
import { type ActorDefinition, type Ask, ask, defineActor, type Tell, tell } from '../../src/actors/runtime/index.ts';

export const counter: ActorDefinition<{ add: Tell<{ readonly by: number }>; total: Ask<unknown, number> }, undefined> =
  defineActor({
    name: 'counter',
    module: import.meta.url,
    protocol: { add: tell({ by: z.int() }), total: ask({}, z.int()) },
    mailbox: { messagesMax: 65_536 },
    start: () => ({ total: 0 }),
    on: {
      add(state, { by }) {
        state.total += by;
      },
      total: (state) => state.total,
    },
  });
