/**
 * FleetRelay: replication's side of questions about the fleet. It has the mesh, the gateway has the answers; so it passes
 * questions and answers on, and knows of each peer how long it has been away. Who is away is not asked.
 */
import { type ByteReader, ByteWriter } from '../core/base/bytes.ts';
import type { Clock } from '../core/base/env.ts';
import type { Raft } from '../core/raft/raft.ts';
import type { NodeId } from '../core/raft/types.ts';
import { encodeFleet } from '../core/wire/fleet.ts';
import type { MeshMessage } from '../core/wire/mesh.ts';
import type { Transport } from './mesh-outbox.ts';
import { TO_GATEWAY, TO_REPLICATION } from './messages.ts';

export interface FleetRelayWorld {
  readonly raft: Raft;
  readonly clock: Clock;
  readonly transport: Pick<Transport, 'isOpen'>;
  readonly tell: (frame: ByteWriter) => void;
  readonly post: (to: NodeId, message: MeshMessage) => void;
}

export class FleetRelay {
  readonly #world: FleetRelayWorld;
  readonly #beganMs: number;
  /** When the connection to a peer broke. */
  readonly #lostMs = new Map<NodeId, number>();

  constructor(world: FleetRelayWorld) {
    this.#world = world;
    this.#beganMs = world.clock.monotonicMs();
  }

  lost(peer: NodeId): void {
    // Only the first of many attempts: it has been away since then.
    if (!this.#lostMs.has(peer)) this.#lostMs.set(peer, this.#world.clock.monotonicMs());
  }

  /** A frame of the gateway's; false: it is not about the fleet. */
  takes(kind: number, reader: ByteReader): boolean {
    if (kind === TO_REPLICATION.fleetAsk) this.#ask(reader.u32(), reader.raw(reader.left));
    else if (kind === TO_REPLICATION.fleetAnswer) this.#answer(reader);
    else return false;
    return true;
  }

  /** The gateway's question, for all peers. */
  #ask(id: number, body: Uint8Array): void {
    const { raft, clock, transport, tell, post } = this.#world;
    const peers = raft.configuration.current.members.map((member) => member.id).filter((peer) => peer !== raft.id);
    const asked = peers.filter((peer) => transport.isOpen(peer, 'bulk'));
    for (const peer of asked) {
      this.#lostMs.delete(peer);
      post(peer, { kind: 'fleetAsk', id, body });
    }
    const away = peers
      .filter((peer) => !asked.includes(peer))
      .map((peer) => ({ id: peer, awayMs: clock.monotonicMs() - (this.#lostMs.get(peer) ?? this.#beganMs) }));
    tell(new ByteWriter(256).u8(TO_GATEWAY.fleetPeers).u32(id).raw(encodeFleet({ asked, away })));
  }

  /** The gateway's answer to a peer: id u32 | to string | JSON. */
  #answer(reader: ByteReader): void {
    const id = reader.u32();
    const to = reader.string();
    this.#world.post(to, { kind: 'fleetAnswer', id, body: reader.raw(reader.left) });
  }

  heard(from: NodeId, { kind, id, body }: MeshMessage & { readonly kind: 'fleetAsk' | 'fleetAnswer' }): void {
    this.#world.tell(new ByteWriter(body.length + 64).u8(TO_GATEWAY[kind]).u32(id).string(from).raw(body));
  }
}
