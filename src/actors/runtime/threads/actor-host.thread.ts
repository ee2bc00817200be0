/**
 * Actor host: what runs in a thread that was made for actors: a system of its own, whose actors' supervisors are in the
 * main thread. It imports the module that defines an actor, so a definition needs no copy of itself.
 */
import { StoreError } from '../../../core/base/errors.ts';
import type { AnyDefinition } from '../core/define.ts';
import { ActorSystem, type SystemOptions } from '../core/system.ts';
import type { EndReason } from '../core/types.ts';
import { must } from '../../../core/base/assert.ts';
import { type StartActor, toPlain } from '../thread.ts';
import { handleShared, tellEnd } from './control.ts';
import { Link } from './link.ts';
import { type Control, type PlainSpec, plainReason } from './ops.ts';
import { exportRef, importRef } from './refs.ts';
import { Remote } from './remote.ts';
import { Posted } from './spin.ts';

export interface HostArgs {
  readonly thread: number;
  readonly name: string;
  /** This thread's ids begin behind this one. */
  readonly idBase: number;
  readonly beacon: SharedArrayBuffer;
  readonly posted: SharedArrayBuffer;
  readonly options: Pick<SystemOptions, 'actorsMax' | 'watchdog'>;
}

export const url: string = import.meta.url;

/** So late may the main thread hear of dead letters here. */
const DEAD_LETTERS_EVERY_MS = 1_000;

export const start: StartActor<HostArgs, undefined> = async (args, { log, ports }) => {
  const system = new ActorSystem(
    { ...args.options, log },
    { thread: args.thread, threadName: args.name, idBase: args.idBase, beacon: new Int32Array(args.beacon) },
  );
  const link: Link = new Link(must(ports['actors'], 'a host is given its port'), new Posted(args.posted, 'far'), {
    clock: system.world.clock,
    deadLetters: system.deadLetters,
    find: (id) => system.find(id),
    exportRef,
    // Everybody else is behind the main thread.
    importRef: (value) => importRef(system, () => link, value),
    taken: (id, count) => {
      const remote = system.find(id);
      if (remote instanceof Remote) remote.taken(count);
    },
    control: (control) => handle(system, link, control),
  });
  const tellDeadLetters = (): void => {
    const counts = system.deadLetters.takeNew();
    if (counts !== undefined) link.control({ kind: 'dead-letters', counts });
  };
  const telling = setInterval(tellDeadLetters, DEAD_LETTERS_EVERY_MS);
  telling.unref();
  void system.failed.then((error) => link.control({ kind: 'failed', failure: toPlain(error) }));
  return {
    started: undefined,
    ended: new Promise<void>(() => {}),
    stop: async () => {
      await system.stop();
      clearInterval(telling);
      tellDeadLetters();
      link.close(new StoreError('ACTOR_STOPPED', `thread ${args.name} has stopped`));
    },
    inspect: async () => {
      tellDeadLetters();
      return { actors: await system.inspect() };
    },
  };
};

function handle(system: ActorSystem, link: Link, control: Control): void {
  switch (control.kind) {
    case 'spawn':
      void spawn(system, link, control);
      return;
    case 'started':
    case 'dead-letters':
    case 'failed':
      throw new StoreError('INTERNAL', `a thread is not told ${control.kind}`);
    default:
      handleShared(system, link, control);
  }
}

async function spawn(system: ActorSystem, link: Link, control: Control & { readonly kind: 'spawn' }): Promise<void> {
  const { id, spec, incarnation } = control;
  let reason: EndReason | undefined;
  try {
    const definition = await definitionOf(spec);
    const cell = system.adopt({ ...spec, definition, thread: 'same', restart: 'temporary' }, incarnation, id);
    // Before the start: an end of the start is one of the actor.
    tellEnd(link, cell);
    await cell.start();
    link.control({ kind: 'started', id });
  } catch (error) {
    reason = { kind: 'failed', error: error instanceof Error ? error : new Error(String(error)) };
  }
  // Of one that never was, nobody else tells.
  if (reason !== undefined) link.control({ kind: 'ended', id, reason: plainReason(reason) });
}

/** The definition of that name among the exports of its module. */
async function definitionOf({ module, definition }: PlainSpec): Promise<AnyDefinition> {
  const exports = (await import(module)) as Readonly<Record<string, unknown>>;
  const found = Object.values(exports).find((value) => isDefinition(value) && value.name === definition);
  if (found !== undefined) return found as AnyDefinition;
  throw new StoreError('BAD_REQUEST', `${module} exports no actor "${definition}"`);
}

const isDefinition = (value: unknown): value is AnyDefinition =>
  typeof value === 'object' && value !== null && 'protocol' in value && 'parts' in value && 'name' in value;
