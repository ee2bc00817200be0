/**
 * Assertions: what the code believes, checked in production too.
 *
 * A broken invariant means the node no longer knows what it holds. Going on could turn one wrong word into
 * a wrong answer for every host, so the node stops; the quorum is there for exactly that.
 */

/** A bug in ctlmesh itself: never caught to go on, only to stop. */
export class InvariantViolation extends Error {
  override readonly name: string = 'InvariantViolation';
}

/** States a fact. The claim is positive ("indexes have no gaps"); one fact per call. */
export function assert(condition: boolean, claim: string): asserts condition {
  if (!condition) throw new InvariantViolation(`broken: ${claim}`);
}

/** Ends a `switch` over a union: adding a kind then fails to compile here. */
export function unreachable(value: never): never {
  throw new InvariantViolation(`broken: no such case: ${String(value)}`);
}

/** The value, or a stop: for places where a lookup cannot miss. */
export function must<T>(value: T | undefined | null, claim: string): T {
  if (value === undefined || value === null) throw new InvariantViolation(`broken: ${claim}`);
  return value;
}
