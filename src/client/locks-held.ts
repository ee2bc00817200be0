/**
 * HeldLease: a lease that is first in its queue, as its holder sees it.
 */
import type { Revision } from '../core/base/position.ts';
import type { Lease } from './locks-lease.ts';
import type { Held, TxnCondition } from './types.ts';

export class HeldLease implements Held {
  readonly token: Revision;
  readonly key: string;
  readonly lost: AbortSignal;
  readonly #lease: Lease;

  constructor(lease: Lease) {
    this.#lease = lease;
    this.token = lease.place;
    this.key = lease.key;
    this.lost = lease.lost;
  }

  get isHeld(): boolean {
    return this.#lease.isHeld;
  }

  /** The key is made once and never again, and is first for as long as it is there: existence is enough. */
  condition(): TxnCondition {
    return { kind: 'exists', key: this.key };
  }
}
