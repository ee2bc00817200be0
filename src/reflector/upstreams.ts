/**
 * Upstreams: whom a reflector follows: the first of its list that is of use, and that one again once it is.
 *
 * An upstream is a relay, some relays of which any will do, or the nodes of the cluster: client addresses among which the
 * SDK chooses. It is left for the next one when it cannot be reached, when it refuses, when the data that comes through it
 * is old and does not get younger (patience.ts), and when the stream would come back to this relay itself. Now and then
 * those before it in the list are asked how they are; the first that is fresh is gone back to. When it refuses all the same,
 * the one that was left for it has its turn again, and not those between: it was good.
 *
 * What the reflector sees is one source that now and then ends: it goes on with the next record, whoever has it.
 *
 * On the way frames are looked at: a relay passes on the path, and the state hashes as the cluster told them.
 */
import type { LedgerSource, ReflectorFrame } from '../actors/reflector.ts';
import { PLATFORM, type Timing } from '../client/timing.ts';
import type { LedgerReplica } from '../client/fleet-types.ts';
import type { Client, ClientEvent, ConnectOptions } from '../client/types.ts';
import { InvariantViolation } from '../core/base/assert.ts';
import { isStoreError, StoreError } from '../core/base/errors.ts';
import type { LedgerFilter } from '../core/model/ledger-filter.ts';
import { Patience } from './patience.ts';

export interface UpstreamsOptions {
  /** In order of preference; each: addresses of which any will do. */
  readonly upstreams: readonly (readonly string[])[];
  readonly connect: (urls: readonly string[], options: ConnectOptions) => Promise<Client>;
  /** For a connection to stand. */
  readonly deadlineMs: number;
  /** An upstream through which the data is older, and does not get younger for so long, is left. */
  readonly staleAfterMs: number;
  /** After so long a better one is asked again; a quarter more or less, so that a fleet does not move at once. */
  readonly comeBackMs: number;
  /** Age of the replica's data. */
  readonly lagMs: () => number;
  readonly onConnection?: ((event: ClientEvent) => void) | undefined;
  readonly token?: string | undefined;
  readonly filter?: LedgerFilter | undefined;
  /** Who follows: the cluster knows of it then. */
  readonly replica?: LedgerReplica | undefined;
  /** Who asks is a relay. */
  readonly relay?: RelaySide | undefined;
  readonly timing?: Timing;
}

export interface RelaySide {
  readonly id: string;
  /** Whom the stream comes through; empty: straight from a node, or there is none. */
  readonly onPath: (above: readonly string[]) => void;
}

/** One upstream may be without a connection for so long, when there are others. */
const LOST_MS = 3_000;
const LOOK_EVERY_MS = 500;
const PROBE_MS = 3_000;
/** An upstream that is gone back to in vain is gone back to more and more seldom. */
const COME_BACK_FACTOR_MAX = 16;
/** Marks of the newest 4096 checkpoints, as a node has. */
const MARKS_MAX = 4096;

export class Upstreams {
  readonly #options: UpstreamsOptions;
  readonly #timing: Timing;
  readonly #patience: Patience;
  readonly #marks = new Map<number, number>();
  /** Upstreams that said that repeating is useless, one after the other. */
  readonly #refused = new Set<number>();
  #next = 0;
  #current: number | undefined;
  #comeBackFactor = 1;
  /** It was left for a better one, which has not been followed yet: if that comes to nothing, it is the next again. */
  #wentBack: { readonly from: number; readonly to: number } | undefined;

  constructor(options: UpstreamsOptions) {
    this.#options = options;
    this.#timing = options.timing ?? PLATFORM;
    this.#patience = new Patience(options.staleAfterMs, options.upstreams.length);
  }

  /** Whom it follows; undefined: nobody, at the moment. */
  get current(): readonly string[] | undefined {
    return this.#current === undefined ? undefined : this.#options.upstreams[this.#current];
  }

  /** The cluster's state hash of a revision, as it was told; undefined: not told, or long ago. */
  hashAt(revision: number): number | undefined {
    return this.#marks.get(revision);
  }

  readonly source: LedgerSource = (at) => this.#stream(at);

  async *#stream(at: Parameters<LedgerSource>[0]): AsyncGenerator<ReflectorFrame> {
    const { upstreams, connect, deadlineMs, relay } = this.#options;
    const { token, filter, replica } = this.#options;
    const index = this.#next;
    const leave = new AbortController();
    const signal = at.signal === undefined ? leave.signal : AbortSignal.any([at.signal, leave.signal]);
    const watch = new Watch(leave, this.#timing);
    const wentBack = this.#wentBack?.to === index ? this.#wentBack : undefined;
    this.#wentBack = undefined;
    // Whatever ends it but our own choice: the next one's turn. (Also when the reflector left: its data was not good.)
    this.#next = wentBack?.from ?? this.#after(index);
    const beganMs = this.#timing.nowMs();
    let client: Client | undefined;
    try {
      client = await connect(upstreams[index] as readonly string[], {
        deadlineMs,
        ...(token === undefined ? {} : { token }),
        connectDeadlineMs: upstreams.length === 1 ? deadlineMs : Math.min(deadlineMs, LOST_MS),
        followLeader: false,
        signal,
        onEvent: (event) => this.#connection(event, watch),
      });
      this.#patience.begin({ lagMs: this.#options.lagMs(), nowMs: this.#timing.nowMs() });
      if (upstreams.length > 1) watch.every(LOOK_EVERY_MS, () => this.#lookAtAge(watch));
      if (index > 0) watch.every(this.#comeBackMs(), () => void this.#lookForBetter(index, watch));
      const who = { signal, token, filter, replica, ...(relay && { relay: relay.id }) };
      for await (const frame of client.ledger({ ...at, ...who })) {
        if (frame.kind === 'hello') this.#follows(index);
        if (this.#note(frame)) yield frame;
      }
    } catch (error) {
      throw this.#reasonOf(error, { index, isStopped: at.signal?.aborted === true, left: leave.signal });
    } finally {
      if (wentBack !== undefined) this.#stayed(this.#timing.nowMs() - beganMs);
      watch.end();
      this.#current = undefined;
      relay?.onPath([]);
      await client?.close().catch(() => {
        // It was going away in any case.
      });
    }
  }

  #after(index: number): number {
    return (index + 1) % this.#options.upstreams.length;
  }

  #follows(index: number): void {
    this.#current = index;
    this.#next = this.#after(index);
    this.#refused.clear();
    this.#options.relay?.onPath([]);
  }

  /** False: the frame was for us. */
  #note(frame: ReflectorFrame): boolean {
    const { relay } = this.#options;
    switch (frame.kind) {
      case 'hash':
        this.#marks.delete(frame.revision);
        this.#marks.set(frame.revision, frame.hash);
        if (this.#marks.size > MARKS_MAX) this.#marks.delete(this.#marks.keys().next().value as number);
        return true;
      case 'path':
        if (relay !== undefined && frame.path.includes(relay.id)) {
          const message = `${frame.path[0]} follows this relay: ${frame.path.join(' ← ')}`;
          throw new StoreError('RELAY_LOOP', message, { data: { path: frame.path } });
        }
        relay?.onPath(frame.path);
        return false;
      case 'snapshot-entries':
        this.#patience.moved(this.#timing.nowMs());
        return true;
      default:
        return true;
    }
  }

  /** The reason for the reflector: one that is final only when there is nobody else to ask. */
  #reasonOf(
    error: unknown,
    { index, isStopped, left }: { readonly index: number; readonly isStopped: boolean; readonly left: AbortSignal },
  ): unknown {
    if (!isStopped && left.aborted) return left.reason;
    if (!isStoreError(error) || error.retry !== 'never' || isStopped) return error;
    this.#refused.add(index);
    if (this.#refused.size === this.#options.upstreams.length) return error;
    const { code, message, data } = error;
    return new StoreError('UNAVAILABLE', `${this.#name(index)}: ${code}: ${message}`, { cause: error, data });
  }

  #connection(event: ClientEvent, watch: Watch): void {
    this.#options.onConnection?.(event);
    if (this.#options.upstreams.length === 1) return;
    if (event.kind === 'connected') watch.cancelLate();
    else if (event.kind === 'disconnected') watch.late(LOST_MS, `no connection for ${LOST_MS} ms: ${event.reason}`);
  }

  #lookAtAge(watch: Watch): void {
    const lagMs = this.#options.lagMs();
    if (!this.#patience.isOver({ lagMs, nowMs: this.#timing.nowMs() })) return;
    const age = Number.isFinite(lagMs) ? `${Math.round(lagMs / 1000)} s old` : 'not there yet';
    watch.leave(`the data is ${age}, and does not get younger`);
  }

  #comeBackMs(): number {
    return this.#options.comeBackMs * this.#comeBackFactor * (0.75 + this.#timing.random() / 2);
  }

  /** With one that was gone back to: not for long, and it was in vain. */
  #stayed(ms: number): void {
    const wasShort = ms < this.#options.comeBackMs;
    this.#comeBackFactor = wasShort ? Math.min(COME_BACK_FACTOR_MAX, this.#comeBackFactor * 2) : 1;
  }

  async #lookForBetter(index: number, watch: Watch): Promise<void> {
    for (let better = 0; better < index && !watch.isOver; better++) {
      if (!(await this.#isOfUse(better)) || watch.isOver) continue;
      this.#next = better;
      this.#wentBack = { from: index, to: better };
      watch.leave(`${this.#name(better)} is back`);
      return;
    }
  }

  /** Can it be followed, as far as it says itself? */
  async #isOfUse(index: number): Promise<boolean> {
    const { connect, upstreams, staleAfterMs, relay } = this.#options;
    const deadlines = { deadlineMs: PROBE_MS, connectDeadlineMs: PROBE_MS, followLeader: false };
    try {
      const client = await connect(upstreams[index] as readonly string[], deadlines);
      try {
        const { lagMs, path = [] } = await client.status();
        return lagMs !== null && lagMs <= staleAfterMs && !(relay !== undefined && path.includes(relay.id));
      } finally {
        await client.close();
      }
    } catch (error) {
      // Whatever it answered, if it did.
      if (error instanceof InvariantViolation) throw error;
      return false;
    }
  }

  #name(index: number): string {
    return (this.#options.upstreams[index] as readonly string[]).join(',');
  }
}

/** What goes on beside a stream, and may end it. */
class Watch {
  readonly #leave: AbortController;
  readonly #timing: Timing;
  readonly #timers: { cancel(): void }[] = [];
  #late: { cancel(): void } | undefined;
  isOver = false;

  constructor(leave: AbortController, timing: Timing) {
    this.#leave = leave;
    this.#timing = timing;
  }

  every(everyMs: number, work: () => void): void {
    this.#timers.push(this.#timing.every(everyMs, work));
  }

  late(afterMs: number, reason: string): void {
    this.#late ??= this.#timing.after(afterMs, () => this.leave(reason));
  }

  cancelLate(): void {
    this.#late?.cancel();
    this.#late = undefined;
  }

  leave(reason: string): void {
    if (!this.isOver) this.#leave.abort(new StoreError('UNAVAILABLE', reason));
  }

  end(): void {
    this.isOver = true;
    this.cancelLate();
    for (const timer of this.#timers) timer.cancel();
  }
}
