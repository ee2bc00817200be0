/**
 * PeerOutbox: what leaves for one peer: the frames of a turn as one batch, numbered within a session. When batches may be lost
 * another session begins, and the peer sees by it that something is missing.
 */
import { encodeBatch, type Frame, sessionNamed } from './frames.ts';

/** A batch of so many bytes leaves before its turn is over. */
const BATCH_BYTES = 1024 * 1024;

export interface PeerOutboxWorld {
  /** Another one each time. */
  readonly newSession: () => string;
  readonly send: (batch: Uint8Array<ArrayBuffer>) => void;
  /** Calls when this turn is over. */
  readonly soon: (call: () => void) => void;
}

export class PeerOutbox {
  readonly #world: PeerOutboxWorld;
  #session: string;
  #sent = 0;
  #frames: string[] = [];
  #bytes = 0;
  /** Calls that have left their mailboxes here. */
  #taken: number[] = [];
  #isOpen = false;
  #isFlushPlanned = false;

  constructor(world: PeerOutboxWorld) {
    this.#world = world;
    this.#session = sessionNamed(world.newSession());
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  get session(): string {
    return this.#session;
  }

  /** From now on frames leave; an empty batch does, at least, and says which session this is. */
  open(first: readonly Frame[]): void {
    this.#isOpen = true;
    for (const frame of first) this.frame(frame);
    this.#flush();
  }

  close(): void {
    this.#isOpen = false;
    this.#frames = [];
    this.#bytes = 0;
    this.#taken = [];
    this.#session = sessionNamed(this.#world.newSession());
    this.#sent = 0;
  }

  frame(frame: Frame): void {
    this.put(JSON.stringify(frame));
  }

  /** A frame as text; away it goes, or nowhere. */
  put(text: string): void {
    if (!this.#isOpen) return;
    this.#frames.push(text);
    this.#bytes += text.length;
    if (this.#bytes >= BATCH_BYTES) this.#flush();
    else this.#flushSoon();
  }

  took(call: number): void {
    this.#taken.push(call);
    this.#flushSoon();
  }

  #flushSoon(): void {
    if (this.#isFlushPlanned) return;
    this.#isFlushPlanned = true;
    this.#world.soon(() => {
      this.#isFlushPlanned = false;
      if (this.#isOpen && (this.#frames.length > 0 || this.#taken.length > 0)) this.#flush();
    });
  }

  #flush(): void {
    if (this.#taken.length > 0) {
      this.#frames.push(JSON.stringify({ frame: 'taken', calls: this.#taken } satisfies Frame));
      this.#taken = [];
    }
    this.#world.send(encodeBatch(this.#session, this.#sent, this.#frames));
    this.#sent++;
    this.#frames = [];
    this.#bytes = 0;
  }
}
