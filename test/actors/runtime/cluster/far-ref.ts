/** An actor of node 2, as node 1 has it: the ref came in a message, by an actor that both know. */
import {
  type ActorDefinition,
  type ActorRef,
  ask,
  commit,
  durable,
  type Protocol,
  refTo,
} from '../../../../src/actors/runtime/index.ts';
import { z } from 'zod';
import type { ClusterWorld } from './cluster-world.ts';

export async function farRef<P extends Protocol>(
  at: ClusterWorld,
  definition: ActorDefinition<P, undefined>,
  protocol: P,
): Promise<{ readonly ref: ActorRef<P>; readonly local: ActorRef<P> }> {
  const board = { pin: ask({ who: refTo(protocol) }, z.boolean()) };
  let pinned: ActorRef<P> | undefined;
  const boardOf1 = durable({
    name: 'board',
    protocol: board,
    state: z.strictObject({}),
    initial: () => ({}),
    on: {
      pin: (_state, { who }) => {
        pinned = who;
        return commit({}, true);
      },
    },
  });
  at.node(1).actors.host(boardOf1);
  const local = await at.run(at.node(2).actors.spawn(definition, { name: definition.name }));
  await at.run(at.node(2).actors.lookup(boardOf1, 'a').ask({ kind: 'pin', who: local }));
  if (pinned === undefined) throw new Error('the ref did not arrive');
  return { ref: pinned, local };
}
