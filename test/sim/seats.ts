/**
 * Seats: who has a place in the cluster, and with which directory; and how much of it may be away or lost while the rest
 * still is a majority, by every set of members that may come to be in force.
 *
 * A seat is *lost* when its node has another directory than the one that the members know: the node is up, perhaps, but
 * nobody lets it in until the seat is removed. So is the seat of a node whose disk is an old one, or is damaged: until the node
 * has come back with another one.
 */
import type { Member } from '../../src/core/raft/membership.ts';
import type { SimNode } from './node.ts';
import type { Oracle } from './oracle.ts';

export class Seats {
  readonly #oracle: Oracle;
  readonly #nodes: readonly SimNode[];

  constructor(oracle: Oracle, nodes: readonly SimNode[]) {
    this.#oracle = oracle;
    this.#nodes = nodes;
  }

  /** Belongs to the cluster, as of the newest committed entry, and can take part. */
  isMember(node: SimNode): boolean {
    const seat = this.#seatOf(node);
    return seat !== undefined && fits(seat, node);
  }

  /** Belongs to the cluster, whatever has become of its directory. */
  isSeat(node: SimNode): boolean {
    return this.#seatOf(node) !== undefined;
  }

  /** Members whose directory is gone. */
  get lost(): readonly SimNode[] {
    return this.#nodes.filter((node) => {
      const seat = this.#seatOf(node);
      return seat !== undefined && !fits(seat, node);
    });
  }

  /**
   * All who vote hold the entry that says which directory this node has: whoever comes in its name with another one is
   * known for what he is. Before that, in the first second of a member, nobody could tell.
   */
  isKnown(node: SimNode): boolean {
    const leader = this.#nodes.find(({ current }) => current?.raft.isLeader === true)?.current?.raft;
    if (leader === undefined) return false;
    const { configuration, log } = leader;
    const seat = configuration.current.members.find(({ id }) => id === node.name);
    return seat?.dir === node.dir && configuration.index <= log.matchedByAll;
  }

  /** Without these, and without the lost ones, there is still a majority of voters, by whichever entry. */
  canSpare(away: ReadonlySet<SimNode>): boolean {
    return this.#oracle.electorates.every(({ voters, outgoing, members }) =>
      [voters, outgoing].every((ids) => {
        const present = this.#nodes.filter((node) => {
          const seat = members.find(({ id }) => id === node.name);
          return ids.includes(node.name) && seat !== undefined && fits(seat, node) && !away.has(node);
        });
        return ids.length === 0 || present.length * 2 > ids.length;
      }),
    );
  }

  #seatOf({ name }: SimNode): Member | undefined {
    return this.#oracle.reference.members.members.find(({ id }) => id === name);
  }
}

const fits = ({ dir }: Member, { dir: own, storage }: SimNode): boolean =>
  !storage.isLost && (dir === undefined || dir === own);
