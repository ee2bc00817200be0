/** A reading thread of the pins test: enters, looks whether what it may use is whole, leaves; holds some for longer. */
import { Control } from '../../../../src/engine/lsm/shared/control.ts';
import { type Hold, Pins } from '../../../../src/engine/lsm/shared/pins.ts';
import { work } from './crew.ts';

export interface PinsArgs {
  readonly control: SharedArrayBuffer;
  readonly pins: SharedArrayBuffer;
  /** Word `version % length` is the version while it is whole, and -1 once it is freed. */
  readonly resources: SharedArrayBuffer;
}

work((args, seat) => {
  const { control, pins, resources: memory } = args as PinsArgs;
  const slot = new Pins(pins, new Control(control)).claim();
  const resources = new Int32Array(memory);
  const holds: Hold[] = [];
  let newest = 0;
  const isWhole = (version: number): boolean => resources[version % resources.length] === version;
  return (round) => {
    const version = slot.enter();
    if (version < newest) return `version ${version} after ${newest}`;
    newest = version;
    if (!isWhole(version)) return `version ${version} was freed at once`;
    // Seats differ: one only reads, the others hold too, for a few rounds up to some hundred.
    if (seat > 0 && (round * 7 + seat) % 13 === 0 && holds.length < 4) holds.push(slot.hold(version));
    if (round % 5 === 0) {
      const inner = slot.enter();
      if (!isWhole(inner)) return `version ${inner} was freed within version ${version}`;
      slot.leave();
    }
    if (!isWhole(version)) return `version ${version} was freed while it was read`;
    for (const { version: held } of holds) if (!isWhole(held)) return `version ${held} was freed while it was held`;
    slot.leave();
    for (const { version: held } of holds) if (!isWhole(held)) return `version ${held} was freed after a read`;
    if (holds.length > 0 && round % 37 === 0) {
      const [hold] = holds.splice(round % holds.length, 1);
      hold?.release();
    }
    return undefined;
  };
});
