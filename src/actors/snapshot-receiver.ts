/**
 * SnapshotReceiver: what a follower does with the snapshot that its leader offers: it hands the chunks to the disk,
 * says how far it is, and in the end has the snapshot take the place of its tree and its log.
 *
 * A snapshot is taken only where it is ahead of everything that this node knows to be committed, and where its log has
 * another entry at that index, or none. Then what goes with the log was either in the snapshot or never committed:
 * nothing that was acknowledged is lost. This is looked at again at the end, since entries may have come meanwhile.
 *
 * From the decision on (`isInstalling`) this node says nothing more: what it promised is written down with the decision,
 * and what it would promise now would be lost. It starts again when the decision is on the disk.
 */
import type { Clock } from '../core/base/env.ts';
import { crc32c } from '../core/base/crc32c.ts';
import { StoreError } from '../core/base/errors.ts';
import type { Raft } from '../core/raft/raft.ts';
import type { NodeId } from '../core/raft/types.ts';
import { snapshotBytes, type SnapshotMessage, type SnapshotMeta } from '../core/wire/snapshot.ts';
import type { ReceiveFacts } from './facts.ts';
import type { FromFiles, ToFiles } from './snapshot-files.ts';
import type { LogFunction } from './runtime/thread.ts';

export interface ReceiverWorld {
  readonly raft: Raft;
  readonly clock: Clock;
  readonly post: (to: NodeId, message: SnapshotMessage) => void;
  readonly toFiles: (message: ToFiles, transfer: readonly ArrayBuffer[]) => void;
  /** The node is to start again, with the snapshot. */
  readonly onInstalled: () => void;
  /** So much has come, of so much; 0 of 0: it was given up. */
  readonly onProgress?: (received: number, bytes: number) => void;
  readonly log?: LogFunction | undefined;
}

/** One small file is synced; whoever takes longer is stuck. */
const INSTALL_MS_MAX = 30_000;

interface Current {
  readonly meta: SnapshotMeta;
  readonly from: NodeId;
  /** Where the next chunk begins; undefined while it is being looked at what is there. */
  expected: number | undefined;
  /** What begins here is missing, and was asked for: what comes behind it was sent before that. */
  askedFor: number | undefined;
}

export class SnapshotReceiver {
  readonly #world: ReceiverWorld;
  #current: Current | undefined;
  #installingSinceMs: number | undefined;

  constructor(world: ReceiverWorld) {
    this.#world = world;
  }

  /** It was decided, and this node promises nothing until it starts again. */
  get isInstalling(): boolean {
    return this.#installingSinceMs !== undefined;
  }

  tick(): void {
    if (this.#installingSinceMs !== undefined) {
      if (this.#world.clock.monotonicMs() - this.#installingSinceMs <= INSTALL_MS_MAX) return;
      throw new StoreError('DISK_FAILED', `a snapshot could not be installed in ${INSTALL_MS_MAX} ms`);
    }
    // Entries came after all.
    if (this.#current !== undefined && !this.#isOfUse(this.#current.meta)) this.#forget();
  }

  offered(from: NodeId, meta: SnapshotMeta): void {
    const { raft, post, toFiles, log } = this.#world;
    // Of a leader that was, or one that this node has not heard of yet: it will say so again.
    if (from !== raft.leader || meta.term !== raft.term) return;
    const { term, number, index } = meta;
    if (!this.#isOfUse(meta)) {
      post(from, { kind: 'snapshotRefused', term, number, isLater: false });
      return;
    }
    const current = this.#current;
    if (current !== undefined && isOf(current, from, meta)) {
      if (current.expected !== undefined) this.#ask(current, current.expected, true);
      return;
    }
    log?.('info', 'snapshot.receiving', { from, index, bytes: snapshotBytes(meta) });
    this.#current = { meta, from, expected: undefined, askedFor: undefined };
    this.#world.onProgress?.(0, snapshotBytes(meta));
    toFiles({ kind: 'receive', meta }, []);
  }

  chunk(from: NodeId, chunk: Extract<SnapshotMessage, { kind: 'snapshotChunk' }>): void {
    const current = this.#current;
    if (current === undefined || current.expected === undefined || !isOf(current, from, chunk)) return;
    const { term, number, offset, crc } = chunk;
    if (offset < current.expected) return;
    if (offset > current.expected || crc32c(chunk.bytes) !== crc) {
      // Said once for all that is behind it.
      if (offset > current.expected && current.askedFor === current.expected) return;
      current.askedFor = current.expected;
      this.#ask(current, current.expected, true);
      return;
    }
    current.expected += chunk.bytes.length;
    this.#world.onProgress?.(current.expected, snapshotBytes(current.meta));
    // The batch's memory is lent. (Not `slice`: of a Buffer that is a view.)
    const bytes = new Uint8Array(chunk.bytes);
    this.#world.toFiles({ kind: 'write', term, number, offset, bytes }, [bytes.buffer]);
  }

  /** What the files say. */
  said(message: FromFiles): void {
    if (message.kind === 'installed') {
      this.#world.onInstalled();
      return;
    }
    const current = this.#current;
    if (current === undefined) return;
    if (message.kind === 'notInstalled') {
      this.#installingSinceMs = undefined;
      this.#gaveUp(current, message.message);
      return;
    }
    if (!('term' in message) || !isOf(current, current.from, message)) return;
    if (message.kind === 'notReceived') this.#gaveUp(current, message.message);
    else if (message.kind === 'whole') this.#install(current);
    else {
      if (message.again) current.expected = message.offset;
      this.#ask(current, message.offset, message.again);
    }
  }

  inspect(): ReceiveFacts | undefined {
    if (this.#current === undefined) return undefined;
    const { meta, from, expected } = this.#current;
    return { from, index: meta.index, bytes: snapshotBytes(meta), received: expected };
  }

  #isOfUse({ index, indexTerm }: SnapshotMeta): boolean {
    const { log } = this.#world.raft;
    return index > log.committed && !log.matches(index, indexTerm);
  }

  #ask(current: Current, offset: number, again: boolean): void {
    const { term, number } = current.meta;
    this.#world.post(current.from, { kind: 'snapshotWant', term, number, offset, again });
  }

  #install(current: Current): void {
    const { raft, clock, toFiles, log } = this.#world;
    if (!this.#isOfUse(current.meta)) {
      this.#forget();
      return;
    }
    // The leader need not ask any more.
    this.#ask(current, snapshotBytes(current.meta), false);
    this.#installingSinceMs = clock.monotonicMs();
    const { term, vote } = raft.hardState;
    log?.('info', 'snapshot.installing', { index: current.meta.index, term });
    toFiles({ kind: 'install', promised: { term, vote } }, []);
  }

  #gaveUp(current: Current, message: string): void {
    const { term, number, index } = current.meta;
    this.#world.log?.('error', 'snapshot.not-received', { index, message });
    this.#current = undefined;
    this.#world.onProgress?.(0, 0);
    this.#world.post(current.from, { kind: 'snapshotRefused', term, number, isLater: true });
  }

  #forget(): void {
    this.#current = undefined;
    this.#world.onProgress?.(0, 0);
    this.#world.toFiles({ kind: 'forget' }, []);
  }
}

const isOf = ({ meta, from }: Current, by: NodeId, named: Pick<SnapshotMeta, 'term' | 'number'>): boolean =>
  from === by && meta.term === named.term && meta.number === named.number;
