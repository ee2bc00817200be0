/**
 * RaftChecker: what must hold of a whole cluster at every step, seen from outside and from above.
 *
 *  - election safety: a term has one leader, and one life of it (a restarted leader is another one);
 *  - log matching: (index, term) names one entry, with one entry before it;
 *  - leader completeness: a leader has what leaders of earlier terms committed;
 *  - state machine safety: at an index every node commits and applies the same entry, in order;
 *  - a commit is durable on a quorum, in the disks' images, at the moment it is made;
 *  - votes, acks and candidacies that leave a node are true of its disk;
 *  - what one node takes for held by all voters is committed and on all disks, from then on; nobody lets go of more,
 *    so no follower ever needs what its leader has let go of;
 *  - a read is answered with an index no older than anything committed when it was asked.
 *
 * Figures 3.2 of the thesis, and the promise of ours that acks mean fsync.
 */
import { assert, must } from '../../src/core/base/assert.ts';
import { type Index, plus, type Term, toIndex } from '../../src/core/base/position.ts';
import type { Raft } from '../../src/core/raft/raft.ts';
import type { Entry, Message, ReadState } from '../../src/core/raft/types.ts';
import type { RaftDisk } from './raft-disk.ts';

/** What the checker looks at: a node, alive or not. */
export interface Subject {
  readonly id: string;
  readonly disk: RaftDisk;
  readonly raft: Raft | undefined;
  /** Counts the node's lives. */
  readonly life: number;
}

interface Committed {
  readonly term: Term;
  /** Term of the leader that committed it. */
  readonly inTerm: Term;
}

const same = (a: Uint8Array, b: Uint8Array): boolean => a.length === b.length && a.every((byte, i) => byte === b[i]);

export class RaftChecker {
  readonly #subjects: readonly Subject[];
  /** Members come and go: what was said of all voters does not bind those who come later. */
  changesMembers = false;
  readonly #inflightMessagesMax: number;
  readonly #leaders = new Map<Term, string>();
  readonly #entries = new Map<string, { data: Uint8Array; before: number }>();
  readonly #committed: Committed[] = [];
  /** By life of a node: how far it has committed and applied. */
  readonly #commits = new Map<string, Index>();
  readonly #applies = new Map<string, Index>();
  /** The most that anybody took for held by all voters. */
  #matchedByAll = toIndex(0);
  readonly #wiped = new Set<string>();
  readonly #asked = new Map<number, { floor: Index; by: string }>();

  constructor(subjects: readonly Subject[], inflightMessagesMax: number) {
    this.#subjects = subjects;
    this.#inflightMessagesMax = inflightMessagesMax;
  }

  /** Nobody has committed anything past this. */
  get committed(): Index {
    return toIndex(this.#committed.length);
  }

  get electedCount(): number {
    return this.#leaders.size;
  }

  /** A node began to live, with what its disk held. */
  started(subject: Subject): void {
    let before = 0;
    for (const entry of subject.disk.entries) {
      this.#isEntry(entry, before);
      before = entry.term;
    }
    const { log } = must(subject.raft, 'a node that began to live lives');
    const life = `${subject.id}#${subject.life}`;
    this.#checkTerm(log, log.base, life);
    this.#commits.set(life, log.base);
    this.#applies.set(life, log.applying);
    this.touched(subject);
  }

  /** This disk was lost: what was said of all disks does not bind it. */
  wiped(id: string): void {
    this.#wiped.add(id);
  }

  /** Something happened at a node. */
  touched(subject: Subject): void {
    const raft = must(subject.raft, 'only the living are touched');
    raft.checkInvariants();
    this.#checkCommits(subject, raft);
    this.#checkTruncation(subject, raft);
    if (raft.role !== 'leader') return;
    const life = `${subject.id}#${subject.life}`;
    const leader = this.#leaders.get(raft.term);
    if (leader === undefined) {
      this.#leaders.set(raft.term, life);
      for (const [i, { term, inTerm }] of this.#committed.entries()) {
        if (inTerm >= raft.term || i + 1 < raft.log.base) continue;
        assert(raft.log.term(toIndex(i + 1)) === term, `leader completeness: ${life} has index ${i + 1}`);
      }
    } else assert(leader === life, `election safety: term ${raft.term} is led by ${leader}, not by ${life}`);
    for (const { id } of this.#subjects) {
      const inflight = raft.progressOf(id)?.inflightMessages ?? 0;
      assert(inflight <= this.#inflightMessagesMax, 'no more appends are under way than the window allows');
    }
  }

  /** Entries handed out to be persisted: all that a node ever holds passes here. */
  handed(subject: Subject, entries: readonly Entry[]): void {
    const { log } = must(subject.raft, 'only the living persist');
    for (const entry of entries) this.#isEntry(entry, must(log.term(plus(entry.index, -1)), 'a log has no gaps'));
  }

  applied(subject: Subject, entries: readonly Entry[]): void {
    const life = `${subject.id}#${subject.life}`;
    for (const entry of entries) {
      const before = this.#applies.get(life) ?? 0;
      assert(entry.index === before + 1, 'entries are applied in order, each once');
      const committed = must(this.#committed[entry.index - 1], 'only what is committed is applied');
      assert(committed.term === entry.term, `state machine safety: ${life} applies index ${entry.index}`);
      assert(subject.disk.holds(entry.index, entry.term), 'only what is durable here is applied here');
      this.#isEntry(entry, this.#committed[entry.index - 2]?.term ?? 0);
      this.#applies.set(life, entry.index);
    }
  }

  /** A message leaves a node: if it is a promise, the disk must be able to keep it. */
  left(subject: Subject, message: Message): void {
    const { hardState, entries, lastIndex } = subject.disk;
    const isVote = message.kind === 'voteReply' && message.granted;
    const isAck = message.kind === 'appendReply' && !message.rejected;
    const isCandidacy = message.kind === 'vote';
    if (!isVote && !isAck && !isCandidacy) return;
    assert(hardState.term >= message.term, 'a promise is of a durable term');
    // The node may have gone on to a later term since: then the promise binds nothing any more.
    if (hardState.term !== message.term) return;
    if (isVote) assert(hardState.vote === message.to, 'a vote leaves once it is durable');
    if (isAck) assert(message.index <= lastIndex, 'an ack leaves once what it acks is durable');
    // One that has heard of the term's leader meanwhile, or of a later term, asks in vain: it counts no votes of this one.
    if (!isCandidacy || subject.raft?.role !== 'candidate' || subject.raft.term !== message.term) return;
    assert(hardState.vote === subject.id, 'a candidate has voted for itself durably');
    const isTrue = message.lastIndex <= lastIndex && (entries[message.lastIndex - 1]?.term ?? 0) === message.lastTerm;
    assert(isTrue, 'a candidate boasts of durable entries only');
  }

  asked(subject: Subject, id: number): void {
    this.#asked.set(id, { floor: this.committed, by: `${subject.id}#${subject.life}` });
  }

  answered(subject: Subject, { id, index }: ReadState): void {
    const { floor, by } = must(this.#asked.get(id), 'a read is answered once');
    this.#asked.delete(id);
    assert(by === `${subject.id}#${subject.life}`, 'a read is answered by the life that was asked');
    assert(index === undefined || index >= floor, `linearizable: read ${id} at ${index}, ${floor} was committed`);
  }

  /** Reads that living nodes still owe. */
  openReads(): number {
    let count = 0;
    for (const { by } of this.#asked.values()) {
      if (this.#subjects.some(({ id, life, raft }) => raft !== undefined && by === `${id}#${life}`)) count++;
    }
    return count;
  }

  /** (index, term) names one entry with one entry before it; by induction, all entries before it (§5.3). */
  #isEntry(entry: Entry, before: number): void {
    const key = `${entry.index}@${entry.term}`;
    const known = this.#entries.get(key);
    if (known === undefined) {
      this.#entries.set(key, { data: entry.data, before });
      return;
    }
    assert(known.before === before, `log matching: ${key} follows term ${known.before}, not ${before}`);
    assert(known.data === entry.data || same(known.data, entry.data), `log matching: ${key} has one content`);
  }

  /** What a node knows of an old entry is what was committed there. */
  #checkTerm(log: Raft['log'], index: Index, life: string): void {
    if (index === 0) return;
    const known = must(this.#committed[index - 1], 'what is gone was committed');
    assert(log.term(index) === known.term, `state machine safety: ${life} takes index ${index} for another term`);
  }

  #checkTruncation(subject: Subject, { log, logHolders }: Raft): void {
    this.#checkTerm(log, log.base, `${subject.id}#${subject.life}`);
    assert(subject.disk.base <= log.base, 'the disk keeps what the log may read');
    for (const index of [log.matchedByAll, log.base]) if (index > this.#matchedByAll) this.#matchedByAll = index;
    if (this.#matchedByAll === 0 || this.changesMembers) return;
    const { term } = must(this.#committed[this.#matchedByAll - 1], 'what is held by all is committed');
    for (const { id, disk } of this.#subjects) {
      if (this.#wiped.has(id)) continue;
      assert(disk.holds(this.#matchedByAll, term), `held by all: ${id} has index ${this.#matchedByAll}`);
      assert(logHolders?.stranded.includes(id) !== true, `${id} can be sent what it lacks`);
    }
  }

  #checkCommits(subject: Subject, raft: Raft): void {
    const life = `${subject.id}#${subject.life}`;
    const before = this.#commits.get(life) ?? toIndex(0);
    const now = raft.log.committed;
    assert(now >= before, 'a commit index never falls');
    if (now === before) return;
    this.#commits.set(life, now);
    for (let index = plus(before, 1); index <= now; index = plus(index, 1)) {
      const term = must(raft.log.term(index), 'what is committed is in the log');
      const known = this.#committed[index - 1];
      if (known !== undefined) {
        assert(known.term === term, `state machine safety: ${life} commits index ${index} of another term`);
        continue;
      }
      const holders = this.#subjects.filter(({ disk }) => disk.holds(index, term)).map(({ id }) => id);
      const isHeld = raft.configuration.reachedByQuorum((id) => (holders.includes(id) ? 1 : 0)) === 1;
      assert(isHeld, `durable on a quorum: index ${index} is on ${holders.join()}`);
      this.#committed.push({ term, inTerm: raft.term });
    }
  }
}
