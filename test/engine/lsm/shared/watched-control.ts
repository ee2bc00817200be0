/** A control block that tells when a word is looked at, just before: the place where another thread may act. */
import { Control } from '../../../../src/engine/lsm/shared/control.ts';

export class WatchedControl extends Control {
  readonly #beforeLook: (look: number) => void;
  #looks = 0;

  /** `beforeLook` is told of the first, second, … look at the current version or the floor. */
  constructor(memory: SharedArrayBuffer, beforeLook: (look: number) => void) {
    super(memory);
    this.#beforeLook = beforeLook;
  }

  override get currentVersion(): number {
    this.#beforeLook(++this.#looks);
    return super.currentVersion;
  }

  override get floor(): number {
    this.#beforeLook(++this.#looks);
    return super.floor;
  }
}
