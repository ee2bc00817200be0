/**
 * StageLaw: what a move may do to a stage (docs/staged-delivery.md), said once more and more plainly than the model says it: who is
 * shown what before it, and after.
 */
import { assert } from '../../src/core/base/assert.ts';
import { decodeStage, FOLLOWS, isDropped, type Stage } from '../../src/core/model/control/stages.ts';

const ROLLED_BACK = 'rolled back';

/** `revision` has put `after` in the place of `before`; undefined: there was none. */
export function checkMove(
  key: Uint8Array,
  revision: number,
  before: Uint8Array | undefined,
  after: Uint8Array | undefined,
): void {
  if (after === undefined) return;
  const now = decodeStage(key, after);
  const claim = (holds: boolean, what: string): void => assert(holds, `stage ${now.name} at ${revision}: ${what}`);
  for (const { shown } of now.rings) claim(shown <= revision, 'no ring is shown what is not there yet');
  const then = before && decodeStage(key, before);
  if (then === undefined || then.id !== now.id || isDropped(now)) return;
  const isSame = now.rings.every(({ shown }, i) => shown === then.rings[i]?.shown);
  if (now.halted === ROLLED_BACK && !isSame) {
    const [first] = now.rings;
    claim(
      now.rings.every(({ shown }) => shown === first?.shown),
      'behind a rollback all are shown the same',
    );
    claim(first?.shown === everybodys(then) || first?.shown === then.good, 'and that is what everybody was shown');
  } else if (then.halted !== undefined && now.halted !== undefined) {
    claim(
      isSame || now.rings.every((ring, i) => isHeld(ring.shown, then.rings[i]?.shown)),
      'halted, it lets nothing through',
    );
  }
}

/** It stays where it was; or it followed, and does no longer. */
const isHeld = (now: number, before: number | undefined): boolean => now === before || before === FOLLOWS;

const everybodys = ({ rings }: Stage): number | undefined => rings.at(-1)?.shown;
