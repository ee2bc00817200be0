/**
 * Admission: whom this node hears. The members that it goes by are those of its log, and that may be behind: one that was
 * away while others took the place of all whom it knew would refuse whoever could tell it so. So it lets in, beside its
 * peers, *guests*: who names a newer entry of members than its own and, at a node that joins, the nodes of its config.
 *
 * A peer is heard with the directory that the log knows of it, and with no life that has forgotten what others have seen
 * (core/raft/witness.ts): whoever else comes under its name has not what was promised under it.
 *
 * It holds no socket: who is connected is said to it.
 *
 * Bound: guests.
 */
import { StoreError } from '../../core/base/errors.ts';
import { REPAIRED_DIR, RESTORED_DIR } from '../../core/raft/membership.ts';
import type { LifeSign } from '../../core/raft/witness.ts';
import type { MeshHello } from '../../core/wire/mesh.ts';

export interface MeshPeer {
  readonly id: string;
  /** "host:port". */
  readonly mesh: string;
  /** Identity of its data directory; left out or "": not known yet. */
  readonly dir?: string;
  /** What it says decides something. */
  readonly votes?: boolean;
}

export interface AdmissionOptions {
  readonly cluster: string;
  readonly node: string;
  /** Who is let in though no peer, whatever the log says: the nodes of the config, at a node that joins. */
  readonly guests: readonly MeshPeer[];
  /** A peer comes: what proves that its directory has forgotten something? Undefined: nothing. */
  readonly meet: (peer: string, life: LifeSign) => string | undefined;
}

/** As many as a cluster may have members. */
const GUESTS_MAX = 64;
const ADDRESS = /^[^\s/@?#]{1,255}:\d{1,5}$/;

export class Admission {
  readonly #options: AdmissionOptions;
  /** Peer addresses by id, without this node. */
  #peers: ReadonlyMap<string, string> = new Map();
  /** The entry of the log that names them. */
  #membersIndex = 0;
  /** Identities of the peers' data directories, of those that are known. */
  #dirs: ReadonlyMap<string, string> = new Map();
  #voters: ReadonlySet<string> = new Set();
  readonly #invited: ReadonlyMap<string, string>;
  /** Who is here because it knows a newer entry of members: which one. */
  readonly #ahead = new Map<string, number>();

  constructor(options: AdmissionOptions) {
    this.#options = options;
    this.#invited = new Map(options.guests.filter(({ id }) => id !== options.node).map(({ id, mesh }) => [id, mesh]));
  }

  /** Addresses by id. */
  get peers(): ReadonlyMap<string, string> {
    return this.#peers;
  }

  get membersIndex(): number {
    return this.#membersIndex;
  }

  /** Who belongs to the cluster from now on, by entry `index` of the log; this node may be among them. */
  setPeers(peers: readonly MeshPeer[], index: number): void {
    const { node } = this.#options;
    this.#peers = new Map(peers.filter(({ id }) => id !== node).map(({ id, mesh }) => [id, mesh]));
    this.#membersIndex = index;
    this.#dirs = new Map(peers.flatMap(({ id, dir }) => (dir ? [[id, dir] as const] : [])));
    this.#voters = new Set(peers.filter(({ votes }) => votes === true).map(({ id }) => id));
  }

  /**
   * Is this one of ours? Gives where to answer a guest; undefined: it is a peer. Throws PROTOCOL_ERROR with why not, and
   * DIR_ROLLED_BACK where its directory has forgotten something.
   */
  greet(hello: MeshHello): string | undefined {
    const { from, to } = hello;
    const { cluster, node } = this.#options;
    if (hello.cluster !== cluster) {
      throw new StoreError('PROTOCOL_ERROR', `of cluster "${hello.cluster}"; this is "${cluster}"`);
    }
    if (to !== node) throw new StoreError('PROTOCOL_ERROR', `for node "${to}"; this is "${node}"`);
    const isPeer = this.#peers.has(from);
    const guest = isPeer || from === node ? undefined : this.#addressOfGuest(hello);
    if (!isPeer && guest === undefined) {
      throw new StoreError('PROTOCOL_ERROR', `from "${from}", which is no peer of this node`);
    }
    // Whoever it is, it has not what "from" promised, and may not vote as it.
    if (!this.isKnownBy(from, hello)) throw new StoreError('PROTOCOL_ERROR', otherDirectory(from));
    const loss = isPeer ? this.#options.meet(from, hello) : undefined;
    if (loss !== undefined) {
      throw new StoreError('DIR_ROLLED_BACK', `from "${from}", put back to an older state: ${loss}`);
    }
    return guest;
  }

  /** A guest is here. */
  came({ from, membersIndex }: Pick<MeshHello, 'from' | 'membersIndex'>): void {
    this.#ahead.set(from, membersIndex);
  }

  left(id: string): void {
    this.#ahead.delete(id);
  }

  /** May `id`, which is here, stay though it is no peer? */
  isGuest(id: string): boolean {
    return this.#invited.has(id) || (this.#ahead.get(id) ?? 0) > this.#membersIndex;
  }

  /** May `id` speak from this directory? One that took the place of a damaged one has no vote before it is named. */
  isKnownBy(id: string, { dir, membersIndex }: Pick<MeshHello, 'dir' | 'membersIndex'>): boolean {
    const known = this.#dirs.get(id);
    // Our log may be behind the entry that names it, and it may be the leader who has that entry. Such a directory promises
    // nothing where its own log does not name it (RaftOptions.dir); one that was wiped would.
    if (dir.startsWith(REPAIRED_DIR) && membersIndex > this.#membersIndex) return true;
    if (known === undefined) return !dir.startsWith(REPAIRED_DIR) || !this.#voters.has(id);
    return dir === known || dir.startsWith(RESTORED_DIR);
  }

  /** Where to answer somebody who is no peer and may be let in; undefined for anybody else. */
  #addressOfGuest({ from, mesh, membersIndex }: MeshHello): string | undefined {
    const invited = this.#invited.get(from);
    if (invited !== undefined) return invited;
    if (membersIndex <= this.#membersIndex || !ADDRESS.test(mesh) || !URL.canParse(`ws://${mesh}`)) return undefined;
    return this.#ahead.has(from) || this.#ahead.size < GUESTS_MAX ? mesh : undefined;
  }
}

export const otherDirectory = (id: string): string =>
  `from "${id}" with another data directory than it had: remove the member ${id}, and add it again`;
