/**
 * Snapshots: both ends of a snapshot in replication: what this node sends while it leads, and what it receives while it
 * follows. The files are in another thread (snapshot-files.ts).
 */
import type { Clock } from '../core/base/env.ts';
import type { Index } from '../core/base/position.ts';
import type { Raft } from '../core/raft/raft.ts';
import type { NodeId } from '../core/raft/types.ts';
import type { SnapshotMessage } from '../core/wire/snapshot.ts';
import type { TransferFacts } from './facts.ts';
import type { Transport } from './mesh-outbox.ts';
import type { LogFunction } from './runtime/thread.ts';
import type { Shared } from './shared.ts';
import type { FromFiles, ToFiles } from './snapshot-files.ts';
import { SnapshotReceiver } from './snapshot-receiver.ts';
import { SnapshotSender } from './snapshot-sender.ts';

export interface SnapshotsWorld {
  readonly raft: Raft;
  readonly shared: Shared;
  readonly clock: Clock;
  readonly transport: Transport;
  readonly post: (to: NodeId, message: SnapshotMessage) => void;
  readonly toFiles: (message: ToFiles, transfer: readonly ArrayBuffer[]) => void;
  readonly log?: LogFunction;
}

export class Snapshots {
  readonly #sender: SnapshotSender;
  readonly #receiver: SnapshotReceiver;

  constructor({ raft, shared, clock, transport, post, toFiles, log }: SnapshotsWorld) {
    this.#sender = new SnapshotSender({
      ...{ raft, clock, post, toFiles, log },
      isOpen: (peer) => transport.isOpen(peer, 'bulk'),
      flushed: shared.reader('flushed'),
    });
    this.#receiver = new SnapshotReceiver({
      ...{ raft, clock, post, toFiles, log },
      onInstalled: () => shared.set('installs', 1),
      onProgress: (received, bytes) => {
        shared.set('snapshotBytes', bytes);
        shared.set('snapshotReceived', received);
      },
    });
  }

  /** The log may not begin behind it: a snapshot is sent. */
  get hold(): Index | undefined {
    return this.#sender.hold;
  }

  /** This node is about to start again, from a snapshot, and promises nothing until then. */
  get isInstalling(): boolean {
    return this.#receiver.isInstalling;
  }

  receive(from: NodeId, message: SnapshotMessage): void {
    switch (message.kind) {
      case 'snapshotOffer':
        this.#receiver.offered(from, message.meta);
        break;
      case 'snapshotChunk':
        this.#receiver.chunk(from, message);
        break;
      case 'snapshotWant':
        this.#sender.wanted(from, message);
        break;
      case 'snapshotRefused':
        this.#sender.refused(from, message);
        break;
    }
  }

  /** What the files say. */
  said(message: FromFiles): void {
    this.#sender.said(message);
    this.#receiver.said(message);
  }

  tick(): void {
    this.#receiver.tick();
    if (!this.isInstalling) this.#sender.tick();
  }

  inspect(): TransferFacts {
    return { sends: this.#sender.inspect(), receives: this.#receiver.inspect() };
  }
}
