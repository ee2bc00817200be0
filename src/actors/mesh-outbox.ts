/**
 * MeshOutbox: what a turn has to say to the peers, gathered per peer and channel, so that it leaves in as few
 * messages as there are channels.
 */
import { ByteWriter } from '../core/base/bytes.ts';
import type { NodeId } from '../core/raft/types.ts';
import { type Channel, channelOf, encodeMesh, type MeshMessage } from '../core/wire/mesh.ts';

/** The mesh as replication sees it. A message is sent or lost; Raft and the sessions bear both. */
export interface Transport {
  /** Bytes are the caller's again when this returns. False: no connection, lost. */
  send(to: NodeId, channel: Channel, bytes: Uint8Array): boolean;
  isOpen(to: NodeId, channel: Channel): boolean;
  /** Who belongs to the cluster from now on; this node may be among them. */
  setPeers(
    peers: readonly { readonly id: NodeId; readonly mesh: string; readonly dir: string; readonly votes: boolean }[],
    index: number,
  ): void;
}

export interface OutboxWorld {
  readonly transport: Transport;
  readonly onSent: (messages: number, bytes: number) => void;
  /** A batch was lost: the channel to `peer` is not there. */
  readonly onLost: (peer: NodeId, channel: Channel) => void;
}

const BATCH_BYTES_MAX = 1024 * 1024;

interface Batch {
  readonly to: NodeId;
  readonly channel: Channel;
  readonly writer: ByteWriter;
  messages: number;
}

export class MeshOutbox {
  readonly #world: OutboxWorld;
  readonly #batches = new Map<string, Batch>();

  constructor(world: OutboxWorld) {
    this.#world = world;
  }

  post(to: NodeId, message: MeshMessage): void {
    const channel = channelOf(message);
    const key = `${channel}/${to}`;
    let batch = this.#batches.get(key);
    if (batch === undefined) {
      batch = { to, channel, writer: new ByteWriter(64 * 1024), messages: 0 };
      this.#batches.set(key, batch);
    }
    encodeMesh(batch.writer, message);
    batch.messages++;
    if (batch.writer.length >= BATCH_BYTES_MAX) this.#send(batch);
  }

  /** Commands for the leader, in parts: all that was held could be more than a peer's socket takes in one message. */
  forward(to: NodeId, commands: readonly Uint8Array[]): void {
    let from = 0;
    let bytes = 0;
    for (const [i, command] of commands.entries()) {
      bytes += command.length;
      if (bytes < BATCH_BYTES_MAX && i < commands.length - 1) continue;
      this.post(to, { kind: 'forward', commands: commands.slice(from, i + 1) });
      from = i + 1;
      bytes = 0;
    }
  }

  flush(): void {
    for (const batch of this.#batches.values()) if (batch.messages > 0) this.#send(batch);
  }

  #send(batch: Batch): void {
    const { to, channel, writer, messages } = batch;
    this.#world.onSent(messages, writer.length);
    const isSent = this.#world.transport.send(to, channel, writer.view());
    writer.reset();
    batch.messages = 0;
    if (!isSent) this.#world.onLost(to, channel);
  }
}
