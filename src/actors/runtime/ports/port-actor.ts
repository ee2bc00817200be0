/**
 * Port actor: an actor that is spoken to by ports of its own: rings in shared memory, bells, message ports. The parts of a
 * node that move data in bulk are such: what one of them is given crosses without a clone, a message or a promise, and
 * its thread may park.
 *
 * All else of it is an actor's: it is spawned below a parent, supervised, watched, stopped, killed, asked and shown as any
 * other. It has a thread to itself, whose module exports `start` (../thread.ts); its mailbox takes what its control plane
 * knows, which goes over comlink.
 *
 *   const mover = portActor('mover');
 *   await system.spawn(mover, { thread: 'own', args: portLife(module, { begin: () => ({ ports, args }), … }) });
 */
import { z } from 'zod';
import { StoreError } from '../../../core/base/errors.ts';
import type { ActorDefinition } from '../core/define.ts';
import { checkName } from '../core/define.ts';
import type { ActorReport } from '../core/target.ts';
import { type Ask, ask } from '../core/protocol.ts';
import type { BreakDown, MessagePort, StartActor } from '../thread.ts';

/** What any port actor may be asked. */
export type PortProtocol = {
  /** What it says of itself. It has answered when its event loop has gone round. */
  readonly inspect: Ask<unknown, Record<string, unknown>>;
  /** For tests: BAD_REQUEST in a process that was not started with CTLMESH_TEST_HOOKS=1. */
  readonly breakDown: Ask<{ readonly how: BreakDown }, undefined>;
};

const PROTOCOL: PortProtocol = {
  inspect: ask({}, z.record(z.string(), z.unknown())),
  breakDown: ask({ how: z.enum(['exit', 'throw', 'loop']) }, z.undefined()),
};

/** The module of a port actor's thread. */
export interface PortModule<Args, Started> {
  readonly url: string;
  readonly start: StartActor<Args, Started>;
}

/** What a row shows of it, which is in memory that it shares. */
export type PortGauges = Pick<ActorReport, 'mailbox' | 'mailboxBytes' | 'limits' | 'handled' | 'handling'>;

/** How one life of it begins. */
export interface PortBeginning<Args> {
  /** Handed over to its thread, which loads at once. */
  readonly ports?: Readonly<Record<string, MessagePort>> | undefined;
  /** What it starts with, when whoever it needs has started. */
  readonly args: Promise<Args>;
}

export interface PortLifeOptions<Args, Started> {
  /** For each life anew: what the last one had is gone with it. */
  readonly begin: () => PortBeginning<Args>;
  readonly onStarted?: (started: Started) => void;
  /** Called before and after each control call: a parked thread must be woken for it. */
  readonly control: { begin(): void; end(): void };
  /** What waits for it in the rings that it reads, and what its turns took. */
  readonly gauges: () => PortGauges;
  /** Its thread may be ended when it does not answer: nothing is left in doubt by that. */
  readonly isKilledWhenStuck: boolean;
}

/** The same without its types, for the runtime. */
export interface PortLife extends Omit<PortLifeOptions<unknown, unknown>, 'onStarted'> {
  readonly url: string;
  readonly started: (value: unknown) => void;
}

/** The one place where a port actor's arguments and its answer are tied to its module's types. */
export function portLife<Args, Started>(
  { url }: PortModule<Args, Started>,
  { onStarted = () => {}, ...options }: PortLifeOptions<Args, Started>,
): PortLife {
  // What the thread's `start` gives crosses as a clone; its type is that of the module.
  return { url, ...options, started: (value) => onStarted(value as Started) };
}

/** Marks definitions of port actors. */
const portActors = new WeakSet<object>();

export const isPortActor = (definition: object): boolean => portActors.has(definition);

export function portActor(name: string): ActorDefinition<PortProtocol, PortLife> {
  checkName(name);
  const definition: ActorDefinition<PortProtocol, PortLife> = {
    name,
    protocol: PROTOCOL,
    module: undefined,
    native: false,
    mailbox: { messagesMax: 64 },
    supervise: {},
    parts: {
      start: () => {
        throw new StoreError('BAD_REQUEST', `${name} is an actor with ports: it runs in a thread of its own`);
      },
      stop: undefined,
      handlers: {},
    },
  };
  portActors.add(definition);
  return definition;
}
