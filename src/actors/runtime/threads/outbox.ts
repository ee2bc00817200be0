/**
 * Outbox: what a turn says to another thread, gathered, and sent in one message when the turn ends.
 *
 * What cannot be cloned makes the whole message fail; then its parts are sent one by one, and the one that cannot is told
 * to who said it.
 *
 * Invariant: ops leave in the order in which they were put.
 */
import { StoreError } from '../../../core/base/errors.ts';
import type { Envelope } from '../core/envelope.ts';
import type { MessagePort } from '../thread.ts';

/** Who put an op, and is told when it cannot be cloned. */
export interface OpOwner {
  unsent(envelope: Envelope | undefined, error: StoreError): void;
}

export interface OutboxWorld {
  /** Before a turn's ops leave: what else goes with them may be put now. */
  readonly onLeave: () => void;
  /** One message is on its way. */
  readonly onPosted: () => void;
  /** They have left. */
  readonly onLeft: () => void;
  /** This one stays: the other side never hears of it. */
  readonly onUnsent: (envelope: Envelope) => void;
}

/** Puts only what can be cloned. */
export const NOBODY: OpOwner = {
  unsent: (_envelope, error) => {
    throw error;
  },
};

export class Outbox {
  readonly #port: MessagePort;
  readonly #world: OutboxWorld;
  #parts: unknown[] = [];
  #transfers: unknown[] = [];
  /** Of each op: where it begins, who put it, and with what. */
  #starts: number[] = [];
  #owners: OpOwner[] = [];
  #envelopes: (Envelope | undefined)[] = [];
  #isPlanned = false;
  #isClosed = false;

  constructor(port: MessagePort, world: OutboxWorld) {
    this.#port = port;
    this.#world = world;
  }

  /** Begins an op; its parts are pushed onto what this gives. */
  begin(owner: OpOwner, envelope: Envelope | undefined): unknown[] {
    this.#starts.push(this.#parts.length);
    this.#owners.push(owner);
    this.#envelopes.push(envelope);
    this.plan();
    return this.#parts;
  }

  /** Buffers and ports that go with the op that was begun last. */
  transfer(what: readonly unknown[]): void {
    this.#transfers.push(...what);
  }

  /** What is put until the turn ends leaves then. */
  plan(): void {
    if (this.#isPlanned) return;
    this.#isPlanned = true;
    queueMicrotask(() => this.#flush());
  }

  /** What was put leaves; what is put from now on does not. */
  close(): void {
    this.#flush();
    this.#isClosed = true;
  }

  #flush(): void {
    this.#isPlanned = true;
    this.#world.onLeave();
    this.#isPlanned = false;
    if (this.#parts.length === 0) return;
    const parts = this.#parts;
    const transfers = this.#transfers;
    const starts = this.#starts;
    const owners = this.#owners;
    const envelopes = this.#envelopes;
    this.#parts = [];
    this.#transfers = [];
    this.#starts = [];
    this.#owners = [];
    this.#envelopes = [];
    if (this.#isClosed) return;
    try {
      this.#post(parts, transfers);
    } catch (error) {
      if (starts.length === 1) this.#tellUnsent(owners[0], envelopes[0], error);
      else this.#sendApart(parts, starts, owners, envelopes);
    }
    this.#world.onLeft();
  }

  #post(parts: readonly unknown[], transfers: readonly unknown[]): void {
    // Whoever puts a transfer has said that these are buffers or ports; others fail here, and are told.
    this.#port.postMessage(parts, transfers as MessagePort[]);
    this.#world.onPosted();
  }

  #sendApart(
    parts: readonly unknown[],
    starts: readonly number[],
    owners: readonly OpOwner[],
    envelopes: readonly (Envelope | undefined)[],
  ): void {
    for (let i = 0; i < starts.length; i++) {
      try {
        this.#post(parts.slice(starts[i], starts[i + 1]), envelopes[i]?.waiting.transfer ?? []);
      } catch (error) {
        this.#tellUnsent(owners[i], envelopes[i], error);
      }
    }
  }

  #tellUnsent(owner: OpOwner | undefined, envelope: Envelope | undefined, cause: unknown): void {
    owner?.unsent(
      envelope,
      new StoreError('BAD_REQUEST', `cannot be sent to another thread: ${String(cause)}`, { cause }),
    );
    if (envelope !== undefined) this.#world.onUnsent(envelope);
  }
}
