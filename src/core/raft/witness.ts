/**
 * Witness: what this node has seen of the others' lives, and whether one that begins a new life is the one that lived the
 * last. A directory that was put back to an older state (a restored volume, a virtual machine's snapshot) does not know
 * what it promised since. It cannot know that either; who has seen it can.
 *
 * A life is one run of a node on its directory. Each has a number, which is made durable before anything is said, and the
 * directory remembers the last LINEAGE_MAX of them. Two things prove a loss:
 *
 *   lineage    the last life that was seen here is none that the directory remembers: its memory was taken before it
 *   beginning  where its log stood when the life began, before anything came from outside, is behind what an earlier life
 *              has promised: an ack says that the log up to there is on the disk, a vote that its term is
 *
 * No honest node is ever refused: a promise leaves once it is synced, so every later life begins with it, or with a later
 * term, in which the log may be another one. What was never promised may be lost with any crash.
 *
 * Bounds: NODES_MAX nodes are remembered, those that were met last.
 *
 * Not seen: a loss within one life of which this node has seen no promise. A leader sees all acks, a candidate the votes
 * for itself, everybody the lives. All but the lives is forgotten when this node ends.
 */
import { type Index, type Term, toIndex, toTerm } from '../base/position.ts';
import type { Message, NodeId } from './types.ts';

export const LINEAGE_MAX = 32;
/** Twice as many as a cluster may have members. */
const NODES_MAX = 128;

/** How a node introduces one of its lives. */
export interface LifeSign {
  /** Identity of its data directory. */
  readonly dir: string;
  /** A random number of this life. */
  readonly boot: number;
  /** Which life of the directory it is, from 1. */
  readonly life: number;
  /** The lives before it, by their random numbers; the newest LINEAGE_MAX, or all. */
  readonly lineage: readonly number[];
  /** Where its log stood when it began. */
  readonly began: LogEnd;
}

export interface LogEnd {
  readonly term: Term;
  readonly lastTerm: Term;
  readonly lastIndex: Index;
}

/** The last life that was seen of a node. */
export interface SeenLife {
  readonly dir: string;
  readonly boot: number;
  readonly life: number;
}

export class Witness {
  readonly #seen: Map<NodeId, SeenLife>;
  /** The most that the lives which were seen have promised. */
  readonly #promised = new Map<NodeId, LogEnd>();

  constructor(seen: Readonly<Record<NodeId, SeenLife>> = {}) {
    this.#seen = new Map(Object.entries(seen));
  }

  get seen(): Readonly<Record<NodeId, SeenLife>> {
    return Object.fromEntries(this.#seen);
  }

  /** A message to this node; `log` is this node's, which an ack is about when it leads. */
  heard(message: Message, raft: { readonly term: Term; readonly log: { term(index: Index): Term | undefined } }): void {
    const { kind, from, term } = message;
    if (kind === 'appendReply' && !message.rejected && term === raft.term) {
      this.#note(from, { term, lastTerm: raft.log.term(message.index) ?? toTerm(0), lastIndex: message.index });
    } else if (kind === 'voteReply' && message.granted) {
      this.#note(from, { term, lastTerm: toTerm(0), lastIndex: toIndex(0) });
    }
  }

  #note(from: NodeId, promised: LogEnd): void {
    const known = this.#promised.get(from);
    if (known === undefined || isBehind(known, promised)) this.#promised.set(from, promised);
  }

  /** Undefined: nothing speaks against it, and it is remembered. Else what proves that it has forgotten something. */
  meet(id: NodeId, { dir, boot, life, lineage, began }: LifeSign): string | undefined {
    const known = this.#seen.get(id);
    if (known?.dir === dir) {
      // Another socket of the same life: it began long ago.
      if (known.boot === boot) return undefined;
      const isRemembered = lineage.includes(known.boot) || life - known.life > LINEAGE_MAX;
      if (!isRemembered) return `its directory remembers nothing of its life ${known.life}; this is its life ${life}`;
      const promised = this.#promised.get(id);
      if (promised !== undefined && isBehind(began, promised)) {
        return `its log began at ${show(began)}, and it had promised ${show(promised)}`;
      }
    } else this.#promised.delete(id);
    this.#seen.delete(id);
    this.#seen.set(id, { dir, boot, life });
    const [oldest] = this.#seen.keys();
    if (this.#seen.size > NODES_MAX && oldest !== undefined) this.#seen.delete(oldest);
    return undefined;
  }
}

/** In a later term a log may be shorter: another leader's entries took the place of some. */
function isBehind(began: LogEnd, promised: LogEnd): boolean {
  if (began.term !== promised.term) return began.term < promised.term;
  if (began.lastTerm !== promised.lastTerm) return began.lastTerm < promised.lastTerm;
  return began.lastIndex < promised.lastIndex;
}

const show = ({ term, lastTerm, lastIndex }: LogEnd): string =>
  `entry ${lastIndex} of term ${lastTerm} in term ${term}`;
