/** What the tests of the runtime share: a system that ends with the test, and the error of a promise. */
import { onTestFinished } from 'vitest';
import { ActorSystem, type SystemGround, type SystemOptions } from '../../../../src/actors/runtime/core/system.ts';
import type { StoreError } from '../../../../src/core/base/errors.ts';

export interface Line {
  readonly level: string;
  readonly event: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

/** A system whose restarts come at once. */
export function createTestSystem(
  options: SystemOptions = {},
  ground: SystemGround = {},
): { system: ActorSystem; lines: Line[] } {
  const lines: Line[] = [];
  const log = (level: string, event: string, fields: Record<string, unknown> = {}) =>
    void lines.push({ level, event, fields });
  const system = new ActorSystem({ log, ...options, supervise: { backoffMinMs: 1, ...options.supervise } }, ground);
  onTestFinished(() => system.stop({ deadlineMs: 1_000 }));
  return { system, lines };
}

/** What a promise was rejected with. */
export const errorOf = (promise: Promise<unknown>): Promise<StoreError> =>
  promise.then(
    (value) => {
      throw new Error(`it did not fail, but gave ${String(value)}`);
    },
    (error: StoreError) => error,
  );

/** A promise, and what settles it. */
export function gate<T = void>(): { readonly promise: Promise<T>; open(value: T): void } {
  let open: (value: T) => void = () => {};
  const promise = new Promise<T>((resolve) => {
    open = resolve;
  });
  return { promise, open: (value) => open(value) };
}
