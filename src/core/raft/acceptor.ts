/**
 * Acceptor: a follower's side of the log: takes a leader's entries where they fit, and says where they do not.
 *
 * An ack is a promise: it leaves once what it names is synced.
 */
import { must } from '../base/assert.ts';
import { StoreError } from '../base/errors.ts';
import { type Index, plus, toIndex, type Term, toTerm } from '../base/position.ts';
import type { Configuration } from './configuration.ts';
import type { RaftLog } from './log.ts';
import type { Persists } from './persists.ts';
import type { Append, Commit, Heartbeat, Message, NodeId } from './types.ts';

/** Before the first index: "no place". */
const NOWHERE = toIndex(0);

export interface AcceptorWorld {
  readonly raft: {
    readonly id: NodeId;
    readonly log: RaftLog;
    readonly configuration: Configuration;
    readonly term: Term;
  };
  readonly persists: Persists;
  /** Leaves once everything handed out so far is synced. */
  readonly promise: (message: Message) => void;
}

export class Acceptor {
  readonly #world: AcceptorWorld;

  constructor(world: AcceptorWorld) {
    this.#world = world;
  }

  append(message: Append): void {
    const { log, configuration } = this.#world.raft;
    if (message.prevIndex < log.committed) {
      // An old message: what is committed is equal by definition.
      this.#ack(message.from, log.committed);
      return;
    }
    if (!log.matches(message.prevIndex, message.prevTerm)) {
      this.reject(message.from, message.prevIndex, log.findByTerm(message.prevIndex, message.prevTerm));
      return;
    }
    const fresh = message.entries.findIndex((entry) => !log.matches(entry.index, entry.term));
    if (fresh !== -1) {
      const first = must(message.entries[fresh], 'found above');
      if (first.index <= log.last) this.#revert(first.index);
      const entries = fresh === 0 ? message.entries : message.entries.slice(fresh);
      log.append(entries);
      configuration.appended(entries);
    }
    const lastNew = plus(message.prevIndex, message.entries.length);
    log.commitTo(message.commit < lastNew ? message.commit : lastNew);
    this.#ack(message.from, lastNew);
  }

  /**
   * A leader tells a node of commits no further than that has acknowledged its log, in this term; and whoever acknowledged
   * has it. So one that has not has lost its disk, or has an old copy of it. What else it promised it does not know
   * either: it must end before it promises more. Throws DIR_ROLLED_BACK.
   */
  told({ from, commit }: Commit | Heartbeat): void {
    const { log, term } = this.#world.raft;
    if (commit > log.last) {
      throw new StoreError(
        'DIR_ROLLED_BACK',
        `its log ends at entry ${log.last}, and ${from}, which leads term ${term}, has its word for entry ${commit}: ` +
          'its disk was lost, or put back to an older state',
        { data: { peer: from, term, last: log.last, acknowledged: commit } },
      );
    }
    log.commitTo(commit);
  }

  #ack(to: NodeId, index: Index): void {
    const { id: from, term } = this.#world.raft;
    const hint = { hintIndex: NOWHERE, hintTerm: toTerm(0) };
    this.#world.promise({ kind: 'appendReply', from, to, term, rejected: false, index, ...hint });
  }

  /** `index` does not match; the logs may still agree at `hintIndex`. */
  reject(to: NodeId, index: Index = NOWHERE, hintIndex: Index = NOWHERE): void {
    const { id: from, term, log } = this.#world.raft;
    const hint = { hintIndex, hintTerm: log.term(hintIndex) ?? toTerm(0) };
    this.#world.promise({ kind: 'appendReply', from, to, term, rejected: true, index, ...hint });
  }

  /**
   * Reverts a suffix, and lowers what persists under way may prove: their entries from here on are no longer
   * ours, even if the same (index, term) comes back later (the ABA of asynchronous appends).
   */
  #revert(from: Index): void {
    const { raft, persists } = this.#world;
    const { log, configuration } = raft;
    log.truncate(from);
    persists.reverted(from, log.last);
    configuration.reverted(from);
  }
}
