/**
 * SnapshotSender: what a leader does for followers that need entries which its log no longer has: it takes a snapshot
 * of its tables, and sends it to them, a window of chunks at a time.
 *
 *   stranded ─▶ take ─▶ taken ─▶ offer ⇄ want … chunk ⇄ want … ─▶ it has all ─▶ it restarts, and is stranded no more
 *
 * The follower says what it has (`want`), so a transfer goes on after a broken connection, or a restart of the
 * follower, from there. A message that is lost is found by silence: the offer is made again, and answered with a
 * position. The window is acknowledged end to end, so at most that much waits in the follower's own socket; no other
 * follower shares it.
 *
 * While there is a snapshot the log keeps what is behind it (`hold`): what comes after the snapshot is sent as entries.
 * It is gone as soon as nobody needs it, and with the leadership: a next leader takes its own, since its tables are
 * others.
 */
import type { Clock } from '../core/base/env.ts';
import { type Index, type Term, toIndex } from '../core/base/position.ts';
import { must } from '../core/base/assert.ts';
import type { Raft } from '../core/raft/raft.ts';
import type { NodeId } from '../core/raft/types.ts';
import { CHUNK_BYTES_MAX, type SnapshotMessage, type SnapshotMeta } from '../core/wire/snapshot.ts';
import { FileStream } from '../engine/snapshot/directory.ts';
import type { SendFacts } from './facts.ts';
import type { FromFiles, ToFiles } from './snapshot-files.ts';
import type { LogFunction } from './runtime/thread.ts';

export interface SenderWorld {
  readonly raft: Raft;
  readonly clock: Clock;
  readonly post: (to: NodeId, message: SnapshotMessage) => void;
  /** There is a connection on which `peer` can be sent bulk. */
  readonly isOpen: (peer: NodeId) => boolean;
  readonly toFiles: (message: ToFiles, transfer: readonly ArrayBuffer[]) => void;
  /** Everything up to here is in this node's tables. */
  readonly flushed: () => number;
  readonly log?: LogFunction | undefined;
}

const LOOK_EVERY_MS = 100;
/** Bytes under way to one follower. */
const WINDOW_BYTES = 4 * CHUNK_BYTES_MAX;
/** Without a word for so long, it is asked again where it is. */
const ASK_AGAIN_MS = 1_000;
/** Without a word for so long, the transfer ends. A follower that has all of it may need that to start again. */
const SILENCE_MS_MAX = 30_000;
/** Nobody is offered the next one sooner after a transfer that came to nothing. */
const REST_MS = 5_000;

interface Transfer {
  /** The follower has everything before it. */
  acked: number;
  /** Read, or being read, up to here. */
  asked: number;
  /** Counts new beginnings: what was read for an earlier one is not sent. */
  round: number;
  heardMs: number;
  offeredMs: number;
  readonly begunMs: number;
}

interface Taken {
  readonly meta: SnapshotMeta;
  readonly stream: FileStream;
}

export class SnapshotSender {
  readonly #world: SenderWorld;
  #lookedMs = Number.NEGATIVE_INFINITY;
  /** Counts snapshots of this process. */
  #number = 0;
  #term: Term | undefined;
  /** The log keeps what is behind it. */
  #hold: Index | undefined;
  #taken: Taken | undefined;
  readonly #transfers = new Map<NodeId, Transfer>();
  readonly #restUntilMs = new Map<NodeId, number>();

  constructor(world: SenderWorld) {
    this.#world = world;
  }

  /** The log may not begin behind it. */
  get hold(): Index | undefined {
    return this.#hold;
  }

  tick(): void {
    const nowMs = this.#world.clock.monotonicMs();
    if (nowMs - this.#lookedMs < LOOK_EVERY_MS) return;
    this.#lookedMs = nowMs;
    const { raft } = this.#world;
    if (this.#hold !== undefined && (!raft.isLeader || raft.term !== this.#term)) this.#end();
    if (!raft.isLeader) return;
    const stranded = raft.logHolders?.stranded ?? [];
    for (const [peer, transfer] of this.#transfers) this.#look(peer, transfer, stranded.includes(peer), nowMs);
    this.#begin(stranded, nowMs);
    if (this.#taken !== undefined && this.#transfers.size === 0) this.#end();
  }

  /** `from` has everything before `offset`. */
  wanted(from: NodeId, { term, number, offset, again }: Extract<SnapshotMessage, { kind: 'snapshotWant' }>): void {
    const transfer = this.#transferTo(from, term, number);
    const bytes = this.#taken?.stream.bytes ?? 0;
    if (transfer === undefined || offset > bytes) return;
    transfer.heardMs = this.#world.clock.monotonicMs();
    if (again) {
      transfer.round++;
      transfer.acked = offset;
      transfer.asked = offset;
    } else if (offset > transfer.acked) transfer.acked = offset;
    this.#pump(from, transfer);
  }

  refused(from: NodeId, { term, number, isLater }: Extract<SnapshotMessage, { kind: 'snapshotRefused' }>): void {
    if (this.#transferTo(from, term, number) === undefined) return;
    this.#world.log?.('info', 'snapshot.refused', { peer: from, isLater });
    this.#giveUp(from);
  }

  /** What the files say. */
  said(message: FromFiles): void {
    if (message.kind === 'taken' && message.number === this.#number) this.#offerable(message);
    else if (message.kind === 'bytes' && message.number === this.#number) this.#send(message);
    else if (message.kind === 'lost' && message.number === this.#number) {
      this.#world.log?.('error', 'snapshot.lost', { message: message.message });
      for (const peer of [...this.#transfers.keys(), ...(this.#world.raft.logHolders?.stranded ?? [])])
        this.#giveUp(peer);
      this.#end();
    }
  }

  inspect(): SendFacts | undefined {
    if (this.#taken === undefined) return undefined;
    const { meta, stream } = this.#taken;
    const to = Object.fromEntries([...this.#transfers].map(([peer, { acked }]) => [peer, acked]));
    return { index: meta.index, bytes: stream.bytes, to };
  }

  /** Takes a snapshot when somebody waits for one, and offers it to everybody who does. */
  #begin(stranded: readonly NodeId[], nowMs: number): void {
    const { raft, isOpen, toFiles, flushed } = this.#world;
    const waiting = stranded.filter(
      (peer) => !this.#transfers.has(peer) && isOpen(peer) && (this.#restUntilMs.get(peer) ?? 0) <= nowMs,
    );
    if (waiting.length === 0) return;
    if (this.#hold === undefined) {
      this.#term = raft.term;
      this.#hold = toIndex(Math.max(raft.log.base, flushed()));
      toFiles({ kind: 'take', number: ++this.#number }, []);
      return;
    }
    if (this.#taken === undefined) return;
    for (const peer of waiting) {
      const transfer = { acked: 0, asked: 0, round: 0, heardMs: nowMs, offeredMs: nowMs, begunMs: nowMs };
      this.#transfers.set(peer, transfer);
      const { index } = this.#taken.meta;
      this.#world.log?.('info', 'snapshot.offered', { peer, index, bytes: this.#taken.stream.bytes });
      this.#offer(peer, transfer, nowMs);
    }
  }

  #offerable({ number, index: revision, files }: Extract<FromFiles, { kind: 'taken' }>): void {
    const { raft } = this.#world;
    if (this.#hold === undefined || this.#term === undefined || raft.term !== this.#term) return;
    const index = toIndex(revision);
    // The log has begun nowhere behind `hold` meanwhile, and what is in tables was in it.
    const indexTerm = must(raft.log.term(index), 'the log has the last entry of a snapshot');
    this.#taken = { meta: { term: this.#term, number, index, indexTerm, files }, stream: new FileStream(files) };
    this.#hold = index;
    this.#lookedMs = Number.NEGATIVE_INFINITY;
    this.tick();
  }

  #look(peer: NodeId, transfer: Transfer, isStranded: boolean, nowMs: number): void {
    if (!isStranded) {
      this.#transfers.delete(peer);
      this.#world.log?.('info', 'snapshot.arrived', { peer, ms: Math.round(nowMs - transfer.begunMs) });
      return;
    }
    if (nowMs - transfer.heardMs > SILENCE_MS_MAX) {
      this.#world.log?.('warn', 'snapshot.gave-up', { peer, acked: transfer.acked });
      this.#giveUp(peer);
      return;
    }
    if (nowMs - Math.max(transfer.heardMs, transfer.offeredMs) >= ASK_AGAIN_MS) this.#offer(peer, transfer, nowMs);
  }

  #offer(peer: NodeId, transfer: Transfer, nowMs: number): void {
    transfer.offeredMs = nowMs;
    const { meta } = must(this.#taken, 'what is offered was taken');
    if (this.#world.isOpen(peer)) this.#world.post(peer, { kind: 'snapshotOffer', meta });
  }

  #pump(to: NodeId, transfer: Transfer): void {
    const { stream } = must(this.#taken, 'what is sent was taken');
    while (transfer.asked < stream.bytes && transfer.asked - transfer.acked < WINDOW_BYTES) {
      const { asked: offset, round } = transfer;
      this.#world.toFiles({ kind: 'read', number: this.#number, to, round, offset }, []);
      const fileEnd = stream.startOf(stream.fileAt(offset) + 1);
      transfer.asked = Math.min(offset + CHUNK_BYTES_MAX, fileEnd);
    }
  }

  #send({ to, round, offset, crc, bytes }: Extract<FromFiles, { kind: 'bytes' }>): void {
    if (this.#taken === undefined || this.#transfers.get(to)?.round !== round) return;
    const { term, number } = this.#taken.meta;
    this.#world.post(to, { kind: 'snapshotChunk', term, number, offset, crc, bytes });
  }

  #transferTo(peer: NodeId, term: Term, number: number): Transfer | undefined {
    const { meta } = this.#taken ?? {};
    return meta?.term === term && meta.number === number ? this.#transfers.get(peer) : undefined;
  }

  #giveUp(peer: NodeId): void {
    this.#transfers.delete(peer);
    this.#restUntilMs.set(peer, this.#world.clock.monotonicMs() + REST_MS);
  }

  #end(): void {
    this.#hold = undefined;
    this.#taken = undefined;
    this.#term = undefined;
    this.#transfers.clear();
    this.#world.toFiles({ kind: 'drop' }, []);
  }
}
