/**
 * Test hooks: how a test has an actor of a running node break. Known by symbols that no public module gives away, and
 * refused unless the process was started with CTLMESH_TEST_HOOKS=1.
 */
import type { BreakDown } from '../actors/runtime/thread.ts';
import type { ActorName } from '../actors/shared.ts';
import type { WatchdogBounds } from '../actors/watchdog.ts';

export const BREAK: unique symbol = Symbol('ctlmesh.test.break');
export const WATCHDOG_BOUNDS: unique symbol = Symbol('ctlmesh.test.watchdog');

/** Ends, throws in a turn, never ends a turn; or vanishes at whatever instruction it is, as by a fault of the runtime. */
export type Breaking = BreakDown | 'vanish';

export interface Breakable {
  [BREAK](actor: ActorName, how: Breaking): Promise<void>;
}

/** Beside StartOptions. */
export interface TestOptions {
  readonly [WATCHDOG_BOUNDS]?: WatchdogBounds;
}

export const hasTestHooks = (): boolean => process.env['CTLMESH_TEST_HOOKS'] === '1';
