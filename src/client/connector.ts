/**
 * Connector: keeps one connection to a good node, for as long as the client lives.
 *
 * It tries the endpoints it was given and the leader it hears of; prefers the leader, because a write there
 * saves a hop; and comes back after every loss, with jittered back-off. A node that cannot be reached is passed
 * over for a while, so a leader whose address means nothing from here does not keep the client away from the
 * others, which forward.
 *
 * A node that knows no leader may be cut off, may have been removed, or may wait to be added: the others are tried before
 * it is made do with, and again after a while. While a leader is being elected it is as good as any.
 */
import { ByteReader } from '../core/base/bytes.ts';
import { StoreError } from '../core/base/errors.ts';
import * as wire from '../core/wire/client.ts';
import type { Timer, Timing } from './timing.ts';
import type { Dial, Transport } from './transport.ts';
import type { ClientEvent } from './types.ts';

export interface ConnectorOptions {
  readonly urls: readonly string[];
  readonly dial: Dial;
  readonly timing: Timing;
  /** Who asks, where the cluster wants to know. */
  readonly token?: string | undefined;
  /** Stay on the first endpoint. */
  readonly pinned: boolean;
  /** Prefer the leader to the endpoint that answered. */
  readonly followLeader: boolean;
  /** A connection is greeted and may be used. */
  readonly onConnected: (welcome: wire.Welcome) => void;
  /** A frame other than greetings. */
  readonly onFrame: (type: number, reader: ByteReader) => void;
  /** The connection that was announced is gone. */
  readonly onDisconnected: (reason: string) => void;
  /** It will never work: every endpoint speaks another protocol, say. */
  readonly onFatal: (error: StoreError) => void;
  readonly onEvent: (event: ClientEvent) => void;
}

const WELCOME_DEADLINE_MS = 3_000;
const RETRY_MS_MIN = 10;
const RETRY_MS_MAX = 1_000;
const AVOID_MS = 3_000;
/** Nodes that each say that another leads: after so many the client stays, and they forward. */
const FOLLOWS_MAX = 3;
const NO_LEADER = 'it knows no leader';
/** How long a client stays with a node that knows no leader, well past an election; twice that at random. */
const LEADERLESS_MS = 3_000;
/** The same for who only reads what the node has: a fleet of them must not go round while a quorum is lost. */
const LEADERLESS_READER_MS = 30_000;

export class Connector {
  readonly #options: ConnectorOptions;
  readonly #urls: string[];
  readonly #avoidUntil = new Map<string, number>();
  #preferred: string | undefined;
  /** Moves towards the leader since the last connection that was of use. */
  #follows = 0;
  /** Nodes passed over in a row because they knew no leader. */
  #passedOver = 0;
  #leaderless: Timer | undefined;
  #next: number;
  #attempts = 0;
  #transport: Transport | undefined;
  #url: string | undefined;
  #isReady = false;
  #isClosed = false;
  #timer: Timer | undefined;
  /** Counts dials: what an older connection still says is not heard. */
  #generation = 0;
  #lastReason = 'not tried yet';

  constructor(options: ConnectorOptions) {
    this.#options = options;
    this.#urls = [...options.urls];
    this.#next = options.pinned ? 0 : Math.floor(options.timing.random() * this.#urls.length);
  }

  /** Dials for the first time; a URL that is none is told through `onFatal`. */
  start(): void {
    this.#dial();
  }

  /** The endpoint in use. */
  get endpoint(): string | undefined {
    return this.#isReady ? this.#url : undefined;
  }

  get isReady(): boolean {
    return this.#isReady;
  }

  /** Why there is no connection, for an error's text. */
  get lastReason(): string {
    return this.#lastReason;
  }

  get bufferedBytes(): number {
    return this.#transport?.bufferedBytes ?? 0;
  }

  send(frame: Uint8Array<ArrayBuffer>): void {
    this.#transport?.send(frame);
  }

  /** Leaves this connection for another: it is of no use. */
  drop(reason: string): void {
    if (this.#url !== undefined) this.#lost(this.#url, reason);
  }

  close(): void {
    this.#isClosed = true;
    this.#isReady = false;
    this.#generation++;
    this.#timer?.cancel();
    this.#leaderless?.cancel();
    this.#transport?.close();
  }

  #dial(): void {
    if (this.#isClosed) return;
    const generation = ++this.#generation;
    const url = this.#choose();
    this.#url = url;
    const isCurrent = (): boolean => generation === this.#generation;
    this.#timer = this.#options.timing.after(WELCOME_DEADLINE_MS, () => {
      if (isCurrent()) this.#lost(url, 'no welcome in time');
    });
    try {
      this.#transport = this.#options.dial(url, {
        onOpen: () => {
          if (!isCurrent()) return;
          const version = wire.PROTOCOL_VERSION;
          const { token } = this.#options;
          const hello = wire.encodeHello({ versionMin: version, versionMax: version, client: 'ctlmesh-js', token });
          this.#transport?.send(Uint8Array.from(hello));
        },
        onFrame: (frame) => {
          if (isCurrent()) this.#frame(url, frame);
        },
        onClose: (reason) => {
          if (isCurrent()) this.#lost(url, reason);
        },
      });
    } catch (error) {
      this.#timer?.cancel();
      // A URL that a node gave, for its leader, is not the caller's fault.
      if (!this.#urls.includes(url)) this.#lost(url, String(error));
      else this.#options.onFatal(error instanceof StoreError ? error : new StoreError('INTERNAL', String(error)));
    }
  }

  #frame(url: string, frame: Uint8Array): void {
    try {
      const reader = new ByteReader(frame);
      const type = reader.u8();
      if (type === wire.FRAME.goodbye) this.#goodbye(url, wire.decodeGoodbye(reader));
      else if (type === wire.FRAME.notice) this.#leaderIs(reader.string(), reader.string());
      else if (this.#isReady) this.#options.onFrame(type, reader);
      else if (type === wire.FRAME.welcome) this.#welcome(url, wire.decodeWelcome(reader));
      else throw new StoreError('PROTOCOL_ERROR', `a frame of type ${type} before the welcome`);
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      this.#lost(url, `${error.code}: ${error.message}`);
    }
  }

  #welcome(url: string, welcome: wire.Welcome): void {
    this.#timer?.cancel();
    if (welcome.leader !== welcome.node && this.#follows < FOLLOWS_MAX && this.#moveTo(welcome.leaderUrl)) {
      this.#follows++;
      return;
    }
    const hasLeader = welcome.leader !== '';
    if (!hasLeader && this.#mayLeave && this.#passedOver < this.#urls.length - 1) {
      this.#passedOver++;
      this.#lost(url, NO_LEADER);
      return;
    }
    this.#isReady = true;
    this.#watchLeader(hasLeader);
    this.#follows = 0;
    this.#attempts = 0;
    this.#options.onEvent({ kind: 'connected', url, node: welcome.node });
    this.#options.onConnected(welcome);
  }

  #goodbye(url: string, error: StoreError): void {
    const isOnlyOne = this.#urls.length === 1 && this.#urls[0] === url;
    if (error.code === 'PROTOCOL_VERSION' && (this.#options.pinned || isOnlyOne)) {
      this.close();
      this.#options.onFatal(error);
      return;
    }
    this.#lost(url, `${error.code}: ${error.message}`);
  }

  get #mayLeave(): boolean {
    return !this.#options.pinned && this.#urls.length > 1;
  }

  /** Leaves, after a while, a node that goes on to know no leader. */
  #watchLeader(hasLeader: boolean): void {
    this.#leaderless?.cancel();
    if (hasLeader) this.#passedOver = 0;
    if (hasLeader || !this.#mayLeave) return;
    const waitMs = this.#options.followLeader ? LEADERLESS_MS : LEADERLESS_READER_MS;
    const { timing } = this.#options;
    this.#leaderless = timing.after(waitMs * (1 + timing.random()), () => {
      this.#passedOver = 0;
      this.drop(NO_LEADER);
    });
  }

  #leaderIs(leader: string, leaderUrl: string): void {
    if (this.#isReady) this.#watchLeader(leader !== '');
    if (leader !== '' && leaderUrl !== this.#url && this.#isReady) this.#moveTo(leaderUrl);
  }

  /** Leaves for `url` if that is worth a try; what is under way is sent again there, and happens once. */
  #moveTo(url: string): boolean {
    const { pinned, followLeader } = this.#options;
    if (pinned || !followLeader || url === '' || url === this.#url) return false;
    if ((this.#avoidUntil.get(url) ?? 0) > this.#options.timing.nowMs()) return false;
    this.#preferred = url;
    const wasReady = this.#isReady;
    this.#isReady = false;
    this.#leaderless?.cancel();
    this.#generation++;
    this.#transport?.close();
    if (wasReady) this.#options.onDisconnected('moving to the leader');
    this.#dial();
    return true;
  }

  #lost(url: string, reason: string): void {
    this.#timer?.cancel();
    this.#leaderless?.cancel();
    this.#lastReason = `${url}: ${reason}`;
    this.#generation++;
    this.#transport?.close();
    this.#transport = undefined;
    this.#avoidUntil.set(url, this.#options.timing.nowMs() + AVOID_MS);
    if (this.#isReady) {
      this.#isReady = false;
      this.#options.onEvent({ kind: 'disconnected', url, reason });
      this.#options.onDisconnected(reason);
    }
    if (this.#isClosed) return;
    // Another endpoint is tried at once; waiting is for when all of them failed.
    const isRound = this.#attempts % Math.max(1, this.#urls.length) === this.#urls.length - 1;
    const span = Math.min(RETRY_MS_MAX, RETRY_MS_MIN * 2 ** Math.floor(this.#attempts / this.#urls.length));
    const delayMs = isRound ? RETRY_MS_MIN + Math.floor(this.#options.timing.random() * span) : 0;
    this.#attempts++;
    this.#options.onEvent({ kind: 'retrying', attempt: this.#attempts, delayMs, reason });
    this.#timer = this.#options.timing.after(delayMs, () => this.#dial());
  }

  #choose(): string {
    const preferred = this.#preferred;
    this.#preferred = undefined;
    if (preferred !== undefined) return preferred;
    const url = this.#urls[this.#next % this.#urls.length] as string;
    if (!this.#options.pinned) this.#next++;
    return url;
  }
}
