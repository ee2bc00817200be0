/**
 * LedgerIntake: the shipper's actor around its ring. In a turn it takes what the memtable has made, says what watches
 * and replicas can be fed from, and has the Shipper send it on.
 */
import type { RingReader } from './runtime/ring.ts';
import type { Shared } from './shared.ts';
import type { Shipper, ToShipper } from './shipper.ts';

export class LedgerIntake {
  readonly #shared: Shared;
  readonly #ledger: RingReader;
  readonly #shipper: Shipper;

  constructor(shared: Shared, ledger: RingReader, shipper: Shipper) {
    this.#shared = shared;
    this.#ledger = ledger;
    this.#shipper = shipper;
  }

  turn(): void {
    const ledger = this.#ledger;
    const shared = this.#shared;
    let isNew = false;
    for (let frame = ledger.peek(); frame !== undefined; frame = ledger.peek()) {
      // A copy: the ring's room is lent.
      this.#shipper.append(frame.slice());
      ledger.pop();
      isNew = true;
    }
    if (!isNew) return;
    shared.set('ledgerFirst', Math.max(1, shared.get('ledgerFrom')));
    shared.set('ledgerLast', this.#shipper.window.last);
    // The memtable may have waited for room.
    shared.bell('memtable').ring();
    this.#shipper.pumpAll();
  }

  /** Twice a second. */
  look(): void {
    const shipper = this.#shipper;
    this.turn();
    shipper.look();
    this.#shared.set('subscriptions', shipper.subscriptions);
    this.#shared.set('readersHeldBytes', shipper.heldBytes);
    this.#shared.set('readersSlow', shipper.slow);
    this.#shared.set('watchesCompacted', shipper.compacted);
  }

  /** From the gateway. */
  receive(message: ToShipper): void {
    // A new subscriber begins at what is there, and what comes while it is not yet counted is not rung for.
    this.turn();
    this.#shipper.receive(message);
    this.#shared.set('subscriptions', this.#shipper.subscriptions);
    this.turn();
  }
}
