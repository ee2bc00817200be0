/**
 * Test hooks: how a test has an actor of a running node break. Known by symbols that no public module gives away, and
 * refused unless the process was started with CTLMESH_TEST_HOOKS=1.
 */
import type { BreakDown } from '../actors/runtime/thread.ts';
import type { ActorName } from '../actors/shared.ts';
import type { PulseBounds } from '../actors/runtime/ports/pulse-watchdog.ts';
import { StoreError } from '../core/base/errors.ts';
import type { Parts } from './parts.ts';

export const BREAK: unique symbol = Symbol('ctlmesh.test.break');
export const WATCHDOG_BOUNDS: unique symbol = Symbol('ctlmesh.test.watchdog');

/** Ends, throws in a turn, never ends a turn; or vanishes at whatever instruction it is, as by a fault of the runtime. */
export type Breaking = BreakDown | 'vanish';

export interface Breakable {
  [BREAK](actor: ActorName, how: Breaking): Promise<void>;
}

/** Beside StartOptions. */
export interface TestOptions {
  readonly [WATCHDOG_BOUNDS]?: PulseBounds;
}

/** BAD_REQUEST where nobody is testing. */
export async function breakDown(
  { gateway, plumbing, supervisor }: Parts,
  actor: ActorName,
  how: Breaking,
): Promise<void> {
  if (process.env['CTLMESH_TEST_HOOKS'] !== '1') {
    throw new StoreError('BAD_REQUEST', 'only a node of a test breaks when it is told to');
  }
  if (actor !== 'gateway') return supervisor.breakDown(actor, how);
  // It has no thread of its own that could end.
  gateway.turn = () => {
    throw new Error('a test has it throw');
  };
  plumbing.shared.bell('gateway').ring();
}
