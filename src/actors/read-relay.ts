/**
 * ReadRelay: linearizable reads between this node's gateway, the core, and the leader when that is another node.
 *
 * A follower asks the leader once; what was forwarded is never forwarded again. An answer of 0 means that it could not be
 * confirmed, and whoever asked asks again.
 */
import { ByteWriter } from '../core/base/bytes.ts';
import { toIndex } from '../core/base/position.ts';
import type { Raft } from '../core/raft/raft.ts';
import type { NodeId } from '../core/raft/types.ts';
import type { MeshMessage } from '../core/wire/mesh.ts';
import { TO_GATEWAY } from './messages.ts';

export interface ReadRelayWorld {
  readonly raft: Raft;
  readonly post: (to: NodeId, message: MeshMessage) => void;
  readonly tell: (frame: ByteWriter) => void;
}

/** Who asked, and its number of the read; undefined: this node's gateway. */
interface Read {
  readonly from: NodeId | undefined;
  readonly id: number;
}

export class ReadRelay {
  readonly #world: ReadRelayWorld;
  /** Asked of the core here, by its number. */
  readonly #asked = new Map<number, Read>();
  #nextId = 1;

  constructor(world: ReadRelayWorld) {
    this.#world = world;
  }

  get pending(): number {
    return this.#asked.size;
  }

  ask(read: Read): void {
    const { raft, post } = this.#world;
    const id = this.#nextId++;
    if (raft.readIndex(id)) {
      this.#asked.set(id, read);
      return;
    }
    const { leader } = raft;
    if (read.from === undefined && leader !== '') post(leader, { kind: 'readIndex', id: read.id });
    else this.#reply(read, 0);
  }

  /** The core has answered. */
  answer(id: number, index: number): void {
    const read = this.#asked.get(id);
    if (read === undefined) return;
    this.#asked.delete(id);
    this.#reply(read, index);
  }

  #reply(read: Read, index: number): void {
    const { raft, post } = this.#world;
    if (read.from === undefined) this.tell(read.id, index);
    else {
      raft.awaitCommit(read.from, toIndex(index));
      post(read.from, { kind: 'readIndexReply', id: read.id, index });
    }
  }

  /** To this node's gateway. */
  tell(id: number, index: number): void {
    this.#world.tell(new ByteWriter(16).u8(TO_GATEWAY.read).u32(id).u64(index));
  }
}
