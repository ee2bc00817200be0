/**
 * Test hooks: how a test has a part of a running reflector throw. Known by a symbol that no public module gives away, and
 * refused unless the process was started with CTLMESH_TEST_HOOKS=1.
 */
import { StoreError } from '../../core/base/errors.ts';
import type { PartName } from './part.ts';

export const BREAK_PART: unique symbol = Symbol('ctlmesh.test.break-part');

export interface BreakableParts {
  /** The next callback of that part throws. */
  [BREAK_PART](part: PartName): void;
}

/** Which parts are to throw, once each. */
export class Strikes {
  readonly #armed = new Set<PartName>();

  /** BAD_REQUEST where nobody is testing. */
  arm(part: PartName): void {
    if (process.env['CTLMESH_TEST_HOOKS'] !== '1') {
      throw new StoreError('BAD_REQUEST', 'only a reflector of a test breaks when it is told to');
    }
    this.#armed.add(part);
  }

  take(part: PartName): boolean {
    return this.#armed.size > 0 && this.#armed.delete(part);
  }
}
