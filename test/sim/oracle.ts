/**
 * Oracle: what must hold of the whole cluster at every step, seen from outside. A broken claim throws, and ends the run.
 *
 *  - election safety: a term has one leader, and one life of it;
 *  - votes and acks are kept over restarts: one vote per term whatever crashes between, a recovered log holds what was
 *    acked in its term, terms never fall;
 *  - what a leader commits is of its own term, and on the disks of a majority of each set of voters;
 *  - leader completeness: who leads has every entry that is known to be committed;
 *  - state machine safety: at an index all nodes, in all lives, apply the same entry, and it makes the same record;
 *  - watermarks stand as docs/ARCHITECTURE.md says, and none falls within a life;
 *  - each write happens once (reference.ts).
 */
import type { Raft } from '../../src/core/raft/raft.ts';
import { assert, InvariantViolation } from '../../src/core/base/assert.ts';
import { ByteReader, equalBytes } from '../../src/core/base/bytes.ts';
import { type Index, toIndex } from '../../src/core/base/position.ts';
import { encodeMembership, type Membership } from '../../src/core/raft/membership.ts';
import type { MeshMessage } from '../../src/core/wire/mesh.ts';
import { decodeRecords, RECORD_HEADER_BYTES } from '../../src/core/model/ledger.ts';
import type { Recovered } from '../../src/engine/wal/recovery.ts';
import type { Life } from './life.ts';
import { Reference } from './reference.ts';

/** What a node has said that binds all its later lives. */
interface Promised {
  term: number;
  /** By term: whom it voted for. */
  readonly votes: Map<number, string>;
  /** The newest index that it acked, and in which term. */
  acked: Acked;
}

interface Acked {
  readonly term: number;
  readonly index: number;
}

const NOTHING_ACKED: Acked = { term: 0, index: 0 };

/** An entry that says who the members are, in some log. */
interface Electorate {
  readonly index: Index;
  readonly members: Membership;
}

/** What is known of a life. */
interface Seen {
  readonly life: number;
  readonly node: Life;
  /** The next index it hands to its memtable · whose record its memtable makes. */
  handed: number;
  recorded: number;
  readonly marks: number[];
  /** Of the members that it went by when it was last looked at. */
  membersVersion: number;
  /** As it led when it was last looked at. */
  led?: { readonly term: number; readonly committed: Index; readonly members: Membership };
}

const RISING = [
  'loggedLsn',
  'syncedLsn',
  'term',
  'committed',
  'applied',
  'flushed',
  'walTruncateTo',
  'ledgerLast',
] as const;

export class Oracle {
  readonly reference: Reference;
  readonly #leaders = new Map<number, string>();
  readonly #promised = new Map<string, Promised>();
  /** The newest that a node acked, with whatever disk. */
  readonly #acks = new Map<string, Acked>();
  readonly #seen = new Map<string, Seen>();
  /** By what any log has said of members; the oldest go when a later entry is committed. */
  #electorates: Electorate[] = [];

  constructor(founders: Membership) {
    this.reference = new Reference(founders);
  }

  /** The newest index that any node knew to be committed; the reference has what was handed out. */
  committedMost = 0;

  get elections(): number {
    return this.#leaders.size;
  }

  /** Every set of members that is in force somewhere, or may come to be. */
  get electorates(): readonly Membership[] {
    const { index, members } = this.reference.newestMembers;
    this.#electorates = this.#electorates.filter((electorate) => electorate.index > index);
    return [members, ...this.#electorates.map((electorate) => electorate.members)];
  }

  // ── lives ─────────────────────────────────────────────────────────────────────────────────────────────────

  /** Its disk is another one, or an older one: it is not held to what it promised. What it acked, it acked. */
  forgot(name: string): void {
    this.#promised.delete(name);
  }

  recovered(name: string, recovered: Recovered): void {
    const promised = this.#promised.get(name);
    if (promised === undefined) return;
    const { term, commit } = recovered.hardState;
    assert(term >= promised.term, `${name} has promised in term ${promised.term} and begins in ${term}`);
    assert(commit <= recovered.lastIndex, 'what was committed is in the log');
    const { acked } = promised;
    if (acked.term === term) {
      assert(recovered.lastIndex >= acked.index, `${name} acked ${acked.index} and has ${recovered.lastIndex}`);
    }
  }

  began(name: string, life: number, node: Life): void {
    const flushed = node.shared.get('flushed');
    assert(flushed <= this.reference.last, `${name} has flushed ${flushed}, which is not committed`);
    const { configuration } = node.raft;
    // Behind what is flushed its log may know of later members, which need not be committed.
    if (configuration.index === 0 && flushed > 0) {
      const members = this.reference.membersAt(flushed);
      const isSame = equalBytes(encodeMembership(configuration.current), encodeMembership(members));
      assert(isSame, `${name} begins at ${flushed} with the members of then`);
    }
    this.#seen.set(name, {
      life,
      node,
      handed: flushed + 1,
      recorded: flushed + 1,
      marks: RISING.map(() => 0),
      membersVersion: -1,
    });
  }

  ended(name: string): void {
    this.#seen.delete(name);
  }

  // ── what passes by ────────────────────────────────────────────────────────────────────────────────────────

  sent(from: string, messages: readonly MeshMessage[]): void {
    for (const mesh of messages) {
      if (mesh.kind !== 'raft') continue;
      const { message } = mesh;
      if (message.kind === 'voteReply' && message.granted) this.#voted(from, message.to, message.term);
      else if (message.kind === 'vote') this.#voted(from, from, message.term);
      else if (message.kind === 'appendReply' && !message.rejected) {
        const promised = this.#promisesOf(from);
        if (message.term > promised.term) promised.term = message.term;
        promised.acked = later(promised.acked, message);
        this.#acks.set(from, later(this.#acks.get(from) ?? NOTHING_ACKED, message));
      }
    }
  }

  /** Committed entries are handed to a memtable. */
  committed(name: string, life: number, raft: Raft, frame: Uint8Array): void {
    const seen = this.#seen.get(name);
    // A life that is not whole yet hands out nothing.
    assert(seen?.life === life, 'entries are handed out by a life that runs');
    const reader = new ByteReader(frame);
    while (reader.left > 0) {
      const index = reader.u64();
      const data = reader.raw(reader.u32());
      assert(index === seen.handed, `${name} hands out ${index} where ${seen.handed} is next`);
      seen.handed++;
      const { reference } = this;
      if (index > reference.last) {
        assert(index === reference.last + 1, `index ${index} is committed before ${reference.last + 1}`);
        reference.append(raft.log.term(toIndex(index)) ?? 0, raft.term, data);
      } else {
        const known = reference.at(index);
        assert(equalBytes(known.data, data), `state machine safety: ${name} applies another entry at ${index}`);
      }
    }
  }

  /** Ledger records that a memtable has made. */
  ledger(name: string, life: number, frame: Uint8Array): void {
    const seen = this.#seen.get(name);
    if (seen?.life !== life) return;
    let at = 0;
    for (const record of decodeRecords(frame)) {
      const { revision } = record;
      assert(revision === seen.recorded, `${name} makes the record of ${revision} where ${seen.recorded} is next`);
      seen.recorded++;
      const known = this.reference.at(revision).record;
      const bytes = frame.subarray(at, at + known.length);
      assert(equalBytes(bytes, known), `${name} makes another record of ${revision} than the model does`);
      assert(bytes.length >= RECORD_HEADER_BYTES, 'a record has a header');
      at += known.length;
    }
  }

  /** Something has happened at a node. */
  look(name: string): void {
    const seen = this.#seen.get(name);
    if (seen === undefined) return;
    const { raft, shared } = seen.node;
    const { configuration } = raft;
    if (configuration.version !== seen.membersVersion) {
      seen.membersVersion = configuration.version;
      this.#electorates.push({ index: configuration.index, members: configuration.current });
    }
    if (raft.role === 'leader') {
      this.#leads(name, seen, raft);
      this.#commits(name, seen, raft);
    }
    this.#watermarks(name, seen, shared);
  }

  /** Dear: what the cores know of themselves. */
  lookInside(): void {
    for (const { node } of this.#seen.values()) node.raft.checkInvariants();
  }

  /** Somebody was told of `revision`. */
  told(revision: number): void {
    assert(revision <= this.reference.last, `revision ${revision} is told and not committed`);
  }

  #promisesOf(name: string): Promised {
    let promised = this.#promised.get(name);
    if (promised === undefined) {
      promised = { term: 0, votes: new Map(), acked: NOTHING_ACKED };
      this.#promised.set(name, promised);
    }
    return promised;
  }

  #voted(voter: string, candidate: string, term: number): void {
    const promised = this.#promisesOf(voter);
    if (term > promised.term) promised.term = term;
    const before = promised.votes.get(term);
    assert(
      before === undefined || before === candidate,
      `${voter} votes twice in term ${term}: ${before}, ${candidate}`,
    );
    promised.votes.set(term, candidate);
  }

  #leads(name: string, seen: Seen, raft: Raft): void {
    const id = `${name}#${seen.life}`;
    const leader = this.#leaders.get(raft.term);
    if (leader !== undefined) {
      assert(leader === id, `election safety: term ${raft.term} is led by ${leader} and by ${id}`);
      return;
    }
    this.#leaders.set(raft.term, id);
    assert(raft.log.lastTerm === raft.term, `${id} begins its term with an entry of its own`);
    const { reference } = this;
    for (let index = Math.max(1, raft.log.base); index <= reference.last; index++) {
      const { term, inTerm } = reference.at(index);
      // Committed by a leader of a later term, perhaps: an election that ends late need not know of it.
      if (inTerm >= raft.term) break;
      assert(raft.log.term(toIndex(index)) === term, `leader completeness: ${id} lacks ${index} of term ${term}`);
    }
  }

  /**
   * Counted by the members as of before: a leader goes over to the next ones only with, or behind, an entry that those
   * before it have a say in.
   */
  #commits(name: string, seen: Seen, raft: Raft): void {
    const { term, log, configuration } = raft;
    const { committed } = log;
    const { led } = seen;
    seen.led = { term, committed, members: configuration.current };
    if (led?.term !== term || committed === led.committed) return;
    assert(log.term(committed) === term, `${name} commits ${committed}, which is not of its term ${term}`);
    const has = (id: string): boolean => {
      if (id === name) return log.stable >= committed;
      const acked = this.#acks.get(id) ?? NOTHING_ACKED;
      // What it acked before it went on to a later term is not known any more.
      return acked.term > term || (acked.term === term && acked.index >= committed);
    };
    for (const voters of [led.members.voters, led.members.outgoing]) {
      const holders = voters.filter(has);
      const isEnough = voters.length === 0 || holders.length * 2 > voters.length;
      assert(isEnough, `${name} commits ${committed}, which of ${voters.join()} only ${holders.join()} have on disk`);
    }
  }

  #watermarks(name: string, seen: Seen, shared: Life['shared']): void {
    const get = (mark: Parameters<Life['shared']['get']>[0]): number => shared.get(mark);
    const applied = get('applied');
    const flushed = get('flushed');
    const stable = get('stable');
    const committed = get('committed');
    const last = get('lastIndex');
    if (committed > this.committedMost) this.committedMost = committed;
    const claim = (isTrue: boolean, what: string): void => {
      assert(isTrue, isTrue ? what : `${name}: ${what} (flushed ${flushed}, applied ${applied}, stable ${stable})`);
    };
    claim(get('syncedLsn') <= get('loggedLsn'), 'what is synced is logged');
    claim(flushed <= applied || applied === 0, 'what is flushed is applied');
    claim(stable <= last && committed <= last, 'watermarks are in the log');
    claim(applied <= Math.max(flushed, Math.min(committed, stable)), 'what is applied is committed and synced');
    claim(get('walTruncateTo') <= flushed, 'what leaves the log is in tables');
    claim(get('ledgerLast') <= applied, 'what is fed on is applied');
    for (let i = 0; i < RISING.length; i++) {
      const mark = RISING[i] as (typeof RISING)[number];
      const now = get(mark);
      const before = seen.marks[i] as number;
      if (now < before) throw new InvariantViolation(`${name}: ${mark} falls, from ${before} to ${now}`);
      seen.marks[i] = now;
    }
  }
}

const later = (before: Acked, { term, index }: Acked): Acked =>
  term > before.term || (term === before.term && index > before.index) ? { term, index } : before;
