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
import type { ActorRef, AskOptions } from '../core/types.ts';
import type { BreakDown, MessagePort, StartActor } from '../thread.ts';

/** What any port actor may be asked. */
export type PortProtocol<Facts extends object = object> = {
  /** What it says of itself. It has answered when its event loop has gone round. */
  readonly inspect: Ask<unknown, Facts>;
  /** For tests: BAD_REQUEST in a process that was not started with CTLMESH_TEST_HOOKS=1. */
  readonly breakDown: Ask<{ readonly how: BreakDown }, undefined>;
};

const PROTOCOL: PortProtocol = {
  inspect: ask({}, z.record(z.string(), z.unknown())),
  breakDown: ask({ how: z.enum(['exit', 'throw', 'loop']) }, z.undefined()),
};

/** The module of a port actor's thread. */
export interface PortModule<Args, Started, Facts extends object = object> {
  readonly url: string;
  readonly start: StartActor<Args, Started, Facts>;
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

declare const FACTS: unique symbol;

/** The same without its types, for the runtime; but for what it says of itself. */
export interface PortLife<Facts extends object = object> extends Omit<PortLifeOptions<unknown, unknown>, 'onStarted'> {
  readonly [FACTS]?: Facts;
  readonly url: string;
  readonly started: (value: unknown) => void;
}

/** The one place where a port actor's arguments and its answers are tied to its module's types. */
export function portLife<Args, Started, Facts extends object>(
  { url }: PortModule<Args, Started, Facts>,
  { onStarted = () => {}, ...options }: PortLifeOptions<Args, Started>,
): PortLife<Facts> {
  // What the thread's `start` gives crosses as a clone; its type is that of the module.
  return { url, ...options, started: (value) => onStarted(value as Started) };
}

/** Marks definitions of port actors. */
const portActors = new WeakSet<object>();

export const isPortActor = (definition: object): boolean => portActors.has(definition);

/** `Facts`: those of the module that its life is of. */
export function portActor<Facts extends object>(name: string): ActorDefinition<PortProtocol<Facts>, PortLife<Facts>> {
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
  // Whoever spawns it gives a life of the same facts: what crosses from its thread is what that module says.
  return definition as unknown as ActorDefinition<PortProtocol<Facts>, PortLife<Facts>>;
}

/** What it says of itself. Rejects as `ask` does. */
export function factsOf<Facts extends object>(ref: ActorRef<PortProtocol<Facts>>, options: AskOptions): Promise<Facts> {
  // For a type that is not known yet the compiler cannot see which kinds there are.
  return (ref as unknown as ActorRef<PortProtocol>).ask({ kind: 'inspect' }, options) as Promise<Facts>;
}
