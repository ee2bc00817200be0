/**
 * ctlmesh/actors: actors with typed messages, bounded mailboxes and supervision, in this thread or in others.
 *
 *   import { ask, createSystem, defineActor, tell } from 'ctlmesh/actors';
 *   const counter = defineActor({
 *     name: 'counter',
 *     protocol: { add: tell({ by: z.int() }), total: ask({}, z.int()) },
 *     start: () => ({ total: 0 }),
 *     on: { add: (state, { by }) => void (state.total += by), total: (state) => state.total },
 *   });
 *   const system = createSystem();
 *   const ref = await system.spawn(counter);
 *   ref.tell({ kind: 'add', by: 2 });
 *   await ref.ask({ kind: 'total' }); // 2
 *   await system.stop();
 *
 * docs/actors.md is the contract.
 *
 * @module
 */
import { ActorSystem, type SystemOptions } from './core/system.ts';
import { Threads } from './threads/threads.ts';

export { type ErrorCode, isStoreError, StoreError } from '../../core/base/errors.ts';
export type { DeadLetter, DeadLetterReason, DeadLetters } from './core/dead-letters.ts';
export {
  type ActorDefinition,
  type Context,
  defineActor,
  type DefinitionInput,
  type Handlers,
  type Stashed,
  type Timers,
} from './core/define.ts';
export {
  type Ask,
  ask,
  type FieldsOf,
  type ItemOf,
  type KindsOf,
  type MessageOf,
  type Protocol,
  type ReplyOf,
  type Stream,
  stream,
  type Tell,
  tell,
} from './core/protocol.ts';
export { refTo } from './core/ref-schema.ts';
export type { ActorSystem, SystemOptions } from './core/system.ts';
export {
  type Commit,
  commit,
  durable,
  type DurableContext,
  type DurableDefinition,
  type DurableHandlers,
  type DurableInput,
} from './cluster/durable.ts';
export type { ClusterActors } from './cluster/cluster-actors.ts';
export type { Fence, SingletonOptions } from './cluster/singletons.ts';
export type { StoreCondition } from './cluster/store.ts';
export type { ActorReport } from './core/target.ts';
export { deliver, parseMessage, parseReply } from './core/trust.ts';
export type {
  ActorRef,
  AnyRef,
  AskOptions,
  DeathNotice,
  EndReason,
  MailboxOptions,
  MailboxPolicy,
  Restart,
  SpawnOptions,
  StopOptions,
  Strategy,
  StreamOptions,
  SuperviseOptions,
  TellOptions,
  ThreadChoice,
  WatchdogOptions,
  WatchdogPolicy,
} from './core/types.ts';

/** Makes a system of actors; it runs until `stop()`. */
export function createSystem(options: SystemOptions = {}): ActorSystem {
  return new ActorSystem(options, { elsewhere: new Threads(options) });
}
