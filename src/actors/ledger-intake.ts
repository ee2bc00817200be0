/**
 * LedgerIntake: the shipper's actor around its ring. In a turn it takes what the memtable has made, says what watches
 * and replicas can be fed from, and has the Shipper send it on, in rounds.
 *
 * To feed a thousand sockets takes the gateway's thread some ten milliseconds, in which it does nothing else. So one
 * round is under way at a time, and after one that took long there is a pause in proportion: what comes meanwhile goes with
 * the next, in one frame for all of it. Readers see a write some milliseconds later than they could, puts wait for a fifth
 * of the time instead of for all of it, and a flood costs no more frames than a trickle. With few readers a
 * round takes no time, and there is no pause.
 */
import { assert } from '../core/base/assert.ts';
import type { RingReader } from './runtime/ring.ts';
import type { Shared } from './shared.ts';
import type { Shipper } from './shipper.ts';
import type { ToShipper } from './shipper-messages.ts';

/** Pause after a round, for each millisecond that it took. */
const PAUSE_PER_ROUND = 4;
/** Shorter ones are none. */
const PAUSE_MS_MIN = 1;
/** What it may add to the time until a write is seen. */
const PAUSE_MS_MAX = 25;

export type Later = (delayMs: number, work: () => void) => { cancel(): void };

export class LedgerIntake {
  readonly #shared: Shared;
  readonly #ledger: RingReader;
  readonly #shipper: Shipper;
  readonly #later: Later;
  /** The gateway is sending one. */
  #isRoundUnderWay = false;
  #pause: { cancel(): void } | undefined;
  /** More has come since the last one began. */
  #owesRound = false;

  constructor(shared: Shared, ledger: RingReader, shipper: Shipper, later: Later) {
    this.#shared = shared;
    this.#ledger = ledger;
    this.#shipper = shipper;
    this.#later = later;
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
    this.#beginRound();
  }

  #beginRound(): void {
    if (!this.#owesRound || this.#isRoundUnderWay || this.#pause !== undefined) return;
    this.#owesRound = false;
    this.#isRoundUnderWay = this.#shipper.pumpAll(true);
  }

  #roundSent(tookMs: number): void {
    assert(this.#isRoundUnderWay, 'a round is told as sent once');
    this.#isRoundUnderWay = false;
    const pauseMs = Math.min(PAUSE_MS_MAX, PAUSE_PER_ROUND * tookMs);
    if (pauseMs < PAUSE_MS_MIN) return this.#beginRound();
    this.#pause = this.#later(pauseMs, () => {
      this.#pause = undefined;
      this.#beginRound();
    });
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
    if (message.kind === 'sent') this.#roundSent(message.tookMs);
    else this.#shipper.receive(message);
    this.#shared.set('subscriptions', this.#shipper.subscriptions);
    this.turn();
  }

  close(): void {
    this.#pause?.cancel();
  }
}
