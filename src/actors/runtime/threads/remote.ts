/**
 * Remote: an actor in another thread, as this one knows it: what it was sent and has not taken yet, and its end.
 *
 * Its mailbox is here, in front of the link, with its policy; the mailbox over there holds what the credit let through.
 * So a flood is bounded where it is made, and what was not sent yet is not lost in a port when the thread dies: whoever
 * waits for it is told.
 */
import type { StoreError } from '../../../core/base/errors.ts';
import type { DeadLetters } from '../core/dead-letters.ts';
import type { Envelope } from '../core/envelope.ts';
import { Mailbox, type MailboxLimits, type Offered } from '../core/mailbox.ts';
import type { Table } from '../core/table.ts';
import { stopped, type Target, tellWatchers, type World } from '../core/target.ts';
import type { DeathNotice, EndReason, StopOptions } from '../core/types.ts';
import type { LogFunction } from '../thread.ts';
import { Credit } from './credit.ts';
import type { Link } from './link.ts';
import type { OpOwner } from './outbox.ts';

export interface RemoteIdentity {
  readonly id: number;
  readonly path: string;
  readonly incarnation: number;
  readonly table: Table;
  readonly limits: MailboxLimits;
}

export type RemoteWorld = Pick<World, 'deadLetters' | 'log'>;

export class Remote implements Target, OpOwner {
  readonly id: number;
  readonly path: string;
  readonly incarnation: number;
  readonly table: Table;
  readonly limits: MailboxLimits;
  readonly ended: Promise<EndReason>;
  protected readonly link: Link;
  protected reason: EndReason | undefined;
  protected readonly mailbox: Mailbox;
  readonly #deadLetters: DeadLetters;
  readonly #log: LogFunction;
  readonly #credit: Credit;
  readonly #watchers = new Set<(notice: DeathNotice) => void>();
  #tellEnded: (reason: EndReason) => void = () => {};

  constructor({ id, path, incarnation, table, limits }: RemoteIdentity, link: Link, world: RemoteWorld) {
    this.id = id;
    this.path = path;
    this.incarnation = incarnation;
    this.table = table;
    this.limits = limits;
    this.link = link;
    const { deadLetters } = world;
    this.#deadLetters = deadLetters;
    this.#log = world.log;
    this.#credit = new Credit(limits);
    this.mailbox = new Mailbox(path, limits, (envelope, reason) => {
      deadLetters.add(reason, path, envelope.message.kind);
      envelope.discard(stopped(path, this.reason));
    });
    this.ended = new Promise((resolve) => {
      this.#tellEnded = resolve;
    });
  }

  offer(envelope: Envelope, mayWait: boolean): Offered | 'ended' {
    if (this.reason !== undefined) return 'ended';
    const { bytes } = envelope;
    if (this.mailbox.length === 0 && bytes <= this.limits.bytesMax && this.#credit.has(bytes)) {
      this.#send(envelope);
      envelope.waiting.admission?.resolve();
      return 'taken';
    }
    return this.mailbox.offer(envelope, mayWait);
  }

  /** So many have left the mailbox over there. */
  taken(count: number): void {
    this.#credit.restore(count);
    for (let next = this.mailbox.peek(); next !== undefined; next = this.mailbox.peek()) {
      if (!this.#credit.has(next.bytes)) return;
      this.mailbox.take();
      if (next.isGivenUp && next.waiting.admission === undefined) {
        this.#deadLetters.add('given-up', this.path, next.message.kind);
      } else this.#send(next);
    }
  }

  unsent(envelope: Envelope | undefined, error: StoreError): void {
    if (envelope === undefined) return;
    this.#credit.unspend(envelope.bytes);
    this.#deadLetters.add('uncloneable', this.path, envelope.message.kind);
    envelope.discard(error);
    this.taken(0);
  }

  watch(listener: (notice: DeathNotice) => void): () => void {
    if (this.reason !== undefined) listener(this.#notice(this.reason));
    else this.#watchers.add(listener);
    return () => this.#watchers.delete(listener);
  }

  async stop(options: StopOptions = {}): Promise<void> {
    if (this.reason === undefined) this.link.control({ kind: 'stop', id: this.id, options });
    await this.ended;
  }

  kill(): void {
    if (this.reason === undefined) this.link.control({ kind: 'kill', id: this.id });
  }

  /** It has ended over there, or its thread has. */
  hasEnded(reason: EndReason): void {
    if (this.reason !== undefined) return;
    this.reason = reason;
    this.mailbox.clear('stopped');
    tellWatchers(this.#watchers, this.#notice(reason), this.#log);
    this.#tellEnded(reason);
  }

  get waiting(): { readonly messages: number; readonly bytes: number } {
    return {
      messages: this.mailbox.length + this.#credit.messages,
      bytes: this.mailbox.bytes + this.#credit.bytes,
    };
  }

  #send(envelope: Envelope): void {
    this.#credit.spend(envelope.bytes);
    this.link.message(this, this, envelope);
  }

  #notice(reason: EndReason): DeathNotice {
    return { path: this.path, incarnation: this.incarnation, reason };
  }
}
