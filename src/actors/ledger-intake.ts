/**
 * LedgerIntake: the shipper's actor around its ring. In a turn it takes what the memtable has made, says what watches
 * and replicas can be fed from, and has the Shipper send it on, in rounds over all that read.
 *
 * To feed a thousand sockets takes the gateway's thread some ten milliseconds, in which nobody's put gets on. So a round
 * goes out in slices, of which one is under way at a time, and the gateway's thread gives them a share of its time
 * (pace.ts). What comes meanwhile goes with the next round, in one frame for all of it: readers see a write some
 * milliseconds later than they could, puts go on, and a flood costs no more frames than a trickle.
 */
import { assert } from '../core/base/assert.ts';
import { Pace } from './pace.ts';
import type { RingReader } from './runtime/ring.ts';
import type { Shared } from './shared.ts';
import type { Shipper } from './shipper.ts';
import type { ToShipper } from './shipper-messages.ts';

/** So many readers are fed before anybody else has a turn at the gateway. */
const SLICE_READERS = 512;

export interface IntakeWorld {
  readonly monotonicMs: () => number;
  readonly later: (delayMs: number, work: () => void) => { cancel(): void };
}

export class LedgerIntake {
  readonly #shared: Shared;
  readonly #ledger: RingReader;
  readonly #shipper: Shipper;
  readonly #world: IntakeWorld;
  readonly #pace = new Pace();
  /** The gateway is sending one. */
  #isSliceUnderWay = false;
  #pause: { cancel(): void } | undefined;
  /** More has come since the round began. */
  #owesRound = false;

  constructor(shared: Shared, ledger: RingReader, shipper: Shipper, world: IntakeWorld) {
    this.#shared = shared;
    this.#ledger = ledger;
    this.#shipper = shipper;
    this.#world = world;
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
    this.#owesRound = true;
    this.#goOn();
  }

  /** The next slice, when there is something to send, nothing under way, and time for it. */
  #goOn(): void {
    // A round may be over without a last slice: nobody who was left could be sent anything. Then the next one is due.
    while (!this.#isSliceUnderWay && this.#pause === undefined) {
      if (!this.#shipper.isInRound) {
        if (!this.#owesRound) return;
        this.#owesRound = false;
        this.#pace.beginRound();
        this.#shipper.beginRound();
      }
      const pauseMs = this.#pace.pauseMs(this.#world.monotonicMs());
      if (pauseMs === 0) this.#isSliceUnderWay = this.#shipper.pumpSlice(SLICE_READERS);
      else this.#rest(pauseMs);
    }
  }

  #rest(pauseMs: number): void {
    this.#pause = this.#world.later(pauseMs, () => {
      this.#pause = undefined;
      this.#goOn();
    });
  }

  #sliceSent(tookMs: number): void {
    assert(this.#isSliceUnderWay, 'a slice is told as sent once');
    this.#isSliceUnderWay = false;
    this.#pace.took(tookMs);
    this.#goOn();
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
    if (message.kind === 'sent') this.#sliceSent(message.tookMs);
    else this.#shipper.receive(message);
    this.#shared.set('subscriptions', this.#shipper.subscriptions);
    this.turn();
  }

  close(): void {
    this.#pause?.cancel();
  }
}
