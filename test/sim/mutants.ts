/**
 * Mutants: planted bugs, each one a small change to a production file, made when the simulator loads it and nowhere else
 * (mutate.ts). Most are mistakes that implementations of Raft and of logs have made; each must be found out by the
 * simulator (`npm run mutants`). Production code has no switch for any of them.
 *
 * What is replaced must stand in its file exactly once: where the code changes, its mutant says so.
 */
import { LEDGER } from './mutants-ledger.ts';
import { LIVES, RARE_LIVES } from './mutants-lives.ts';
import { RARE_RELAYS, RELAYS } from './mutants-relays.ts';
import { RARE_STAGES, STAGED } from './mutants-stages.ts';
import { type Mutant, one } from './mutant.ts';
import type { Switches } from './options.ts';

export type { Mutant } from './mutant.ts';

/**
 * Want luck, or have not been hunted down to a seed since the code has changed: it may take hundreds of seeds to find them
 * again. They are left to the night.
 */
export const RARE: readonly string[] = [
  ...['read-without-round', 'persist-aba', 'install-forgets-vote', 'tombstones-too-early'],
  ...['read-before-no-op', 'read-joins-round', 'ldb-ignores-hash', 'compacted-goes-on'],
  ...RARE_LIVES,
  ...RARE_RELAYS,
  ...RARE_STAGES,
];

const RAFT = 'src/core/raft/raft.ts';
const LOG = 'src/core/raft/log.ts';
const ACCEPTOR = 'src/core/raft/acceptor.ts';
const LEADERSHIP = 'src/core/raft/leadership.ts';
const CONFIGURATION = 'src/core/raft/configuration.ts';
const PERSISTS = 'src/core/raft/persists.ts';
const MACHINE = 'src/core/model/machine.ts';
const SESSIONS = 'src/core/model/sessions.ts';

/** Who votes, and for whom. */
const ELECTIONS: readonly Mutant[] = [
  one(
    'vote-before-sync',
    5,
    'a vote leaves before it is on disk (the hard state is written after the answer)',
    RAFT,
    "this.#promises.push({ ...reply, kind: 'voteReply',",
    "this.#send.push({ ...reply, kind: 'voteReply',",
  ),
  one(
    'candidacy-before-sync',
    35,
    'a candidate asks for votes before its own vote and its log are on disk',
    RAFT,
    "this.#requestVotes('vote', this.term, this.#promises, isTransfer);",
    "this.#requestVotes('vote', this.term, this.#send, isTransfer);",
  ),
  one(
    'vote-twice',
    15,
    'who has voted in a term votes again in it',
    RAFT,
    'const mayVote = this.#vote === message.from ||',
    'const mayVote = this.#vote !== this.id ||',
  ),
  one(
    'vote-for-shorter-log',
    7,
    'a candidate whose log is shorter gets votes, if it ends in the same term',
    LOG,
    'return term > this.lastTerm || (term === this.lastTerm && index >= this.last);',
    'return term >= this.lastTerm;',
  ),
  one(
    'vote-for-any-log',
    6,
    'a candidate gets votes whatever its log holds',
    LOG,
    'return term > this.lastTerm || (term === this.lastTerm && index >= this.last);',
    'return index >= 0;',
  ),
  one(
    'quorum-off-by-one',
    1,
    'half of the voters, rounded down, is taken for a majority',
    CONFIGURATION,
    'return numbers[voters.length >>> 1] as number;',
    'return numbers[Math.max(0, (voters.length >>> 1) - 1)] as number;',
  ),
];

/** What is promised, and what is committed. */
const REPLICATION: readonly Mutant[] = [
  one(
    'ack-before-sync',
    6,
    'a follower acks entries before they are on its disk',
    RAFT,
    'const promise = (message: Message): void => void this.#promises.push(message);',
    'const promise = (message: Message): void => void this.#send.push(message);',
  ),
  one(
    'leader-counts-unsynced',
    1,
    'a leader counts itself for entries that are not on its disk',
    LEADERSHIP,
    'configuration.reachedByQuorum((peer) => (peer === id ? log.stable : (this.#progress.get(peer)?.match ?? 0))),',
    'configuration.reachedByQuorum((peer) => (peer === id ? log.last : (this.#progress.get(peer)?.match ?? 0))),',
  ),
  one(
    'count-old-terms',
    2,
    'entries of earlier terms are committed by counting (the paper, figure 8)',
    LEADERSHIP,
    'if (index > log.committed && log.term(index) === term) log.commitTo(index);',
    'if (index > log.committed) log.commitTo(index);',
  ),
  one(
    'no-no-op',
    1,
    'a leader begins its term without an entry of its own',
    RAFT,
    'this.log.append([{ index: plus(this.log.last, 1), term: this.term, data: new Uint8Array(0) }]);',
    '',
  ),
  one(
    'commit-beyond-match',
    1,
    'a heartbeat tells a follower of commits beyond what it is known to have',
    LEADERSHIP,
    "const commit = log.committed < progress.match ? log.committed : progress.match;\n      send({ kind: 'heartbeat'",
    "const commit = log.committed;\n      send({ kind: 'heartbeat'",
  ),
  one(
    'stale-append-truncates',
    1,
    'an append that holds nothing new reverts what came after it',
    ACCEPTOR,
    'const fresh = message.entries.findIndex((entry) => !log.matches(entry.index, entry.term));',
    'const fresh = message.entries.length - 1;',
  ),
  one(
    'no-log-matching',
    67,
    'a follower takes entries without looking at the one before them',
    ACCEPTOR,
    'if (!log.matches(message.prevIndex, message.prevTerm)) {',
    'if (message.prevIndex > log.last) {',
  ),
  one(
    'persist-aba',
    70,
    'a sync proves entries that were reverted meanwhile, when others have taken their places',
    PERSISTS,
    'for (const persist of this.#underWay) if (persist.lastIndex > last) persist.lastIndex = last;',
    '',
  ),
  one(
    'joint-new-majority-only',
    4,
    'while members change only the new majority counts',
    CONFIGURATION,
    'return outgoing.length === 0 ? by : Math.min(by, reachedByMajority(outgoing, reached));',
    'return by;',
  ),
];

/** What a read may see. */
const READS: readonly Mutant[] = [
  one(
    'read-before-no-op',
    13,
    'a new leader answers reads before an entry of its own term is committed',
    RAFT,
    'if (this.hasCommittedInTerm) this.#leadership.startReads();',
    'this.#leadership.startReads();',
  ),
  one(
    'read-without-round',
    257,
    'a leader answers reads without asking whether it still leads',
    LEADERSHIP,
    'else this.heartbeat();',
    'else this.reads.confirm(this.reads.openRound);',
  ),
  one(
    'read-joins-round',
    72,
    'a read joins a round that was asked before the read came',
    'src/actors/gateway/read-barrier.ts',
    'this.#next.push(waiter);',
    '(this.#round?.waiters ?? this.#next).push(waiter);',
  ),
  one(
    'read-before-applied',
    22,
    'a read is answered when its index is known, and not when it is applied here',
    'src/actors/gateway/read-barrier.ts',
    'this.#confirmed.filter((waiter) => waiter.needs <= applied);',
    'this.#confirmed.filter((waiter) => waiter.needs <= applied + 2);',
  ),
];

/** What entries mean. */
const MODEL: readonly Mutant[] = [
  one(
    'apply-local-clock',
    1,
    'an entry is applied with the time of the node that applies it',
    'src/actors/memtable.ts',
    'machine.apply(next.index, next.data);',
    `if (next.data.length > 20 && next.data[0] < 0x80) new DataView(next.data.buffer, next.data.byteOffset).setFloat64(1, this.#world.monotonicMs(), true);
      machine.apply(next.index, next.data);`,
  ),
  one(
    'expiry-counts-elections',
    4,
    "keys age by what two leaders' clocks differ in",
    MACHINE,
    'else this.#time.beginClock();',
    '',
  ),
  one(
    'retry-applies-again',
    1,
    'the answer of a write is not kept: a retry is applied twice',
    MACHINE,
    'session.keep(seq, result);',
    '',
  ),
  one(
    'sessions-not-flushed',
    1,
    'sessions are left out of what is flushed and of snapshots',
    SESSIONS,
    'writer.f64(this.#sweptMs).varint(this.#byId.size);\n    for (const [id, session] of this.#byId) {',
    'writer.f64(this.#sweptMs).varint(0);\n    for (const [id, session] of [] as [number, Session][]) {',
  ),
  one(
    'answers-not-flushed',
    2,
    'sessions are flushed without the answers that they keep',
    SESSIONS,
    'writer.varint(session.results.size);\n      for (const [seq, { code, revision, extra }] of session.results) {',
    'writer.varint(0);\n      for (const [seq, { code, revision, extra }] of [] as [number, StoredResult][]) {',
  ),
  one(
    'ledger-skips-empty',
    1,
    'a revision that changed nothing makes no ledger record',
    MACHINE,
    'this.records.u64(index).f64(this.timeMs);',
    'if (this.#changes.length === 0) return;\n    this.records.u64(index).f64(this.timeMs);',
  ),
  one(
    'hash-not-saved',
    4,
    'a restart begins with another state hash than the one that was saved',
    MACHINE,
    'this.#hash.restore(ledger, hasControl ? reader.u32() : 0);',
    'if (hasControl) reader.u32();',
  ),
  one(
    'membership-not-flushed',
    1,
    'who belongs to the cluster is left out of what is flushed and of snapshots',
    'src/engine/state/state-writer.ts',
    'this.tree.put(MEMBERS_KEY, entry, revision, 0);',
    '',
  ),
];

/** What disks hold, when they are put to the proof all the time. */
const DISKS: readonly Mutant[] = [
  one('skip-fsync', 2, 'the log is not synced', 'src/engine/wal/syncer.ts', 'this.#world.fdatasync();', ''),
  one(
    'sync-proves-later',
    10,
    'a sync counts for what was logged while it ran',
    'src/engine/wal/syncer.ts',
    'this.#synced = logged;\n    return logged;',
    'this.#synced = this.#world.logged();\n    return this.#synced;',
  ),
  one(
    'seal-without-sync',
    3,
    'a segment of the log is left without a sync',
    'src/engine/wal/committer.ts',
    'if (alone === undefined) file.fdatasync();\n    else alone(() => file.fdatasync());',
    '',
  ),
  one(
    'truncate-past-flushed',
    1,
    'the log loses entries whose effects are not in tables',
    'src/actors/log-truncation.ts',
    "toIndex(Math.min(unneeded, shared.get('flushed'), hold() ?? unneeded))",
    'toIndex(Math.min(unneeded, hold() ?? unneeded))',
  ),
  one(
    'manifest-not-synced',
    2,
    'a flush is told before its edit of the manifest is on disk',
    'src/engine/lsm/manifest/manifest.ts',
    'this.#sync(() => open.file.fdatasync());',
    '',
  ),
  one(
    'table-not-synced',
    2,
    'the manifest names a table that is not on disk',
    'src/engine/lsm/sstable/builder.ts',
    "this.#do('sync', () => this.#file.fdatasync());",
    '',
  ),
  one(
    'install-forgets-vote',
    94,
    'a snapshot is installed without what the node has promised',
    'src/engine/snapshot/install.ts',
    'hardState: { term, vote, commit }, baseTerm, salt',
    "hardState: { term: baseTerm, vote: '', commit }, baseTerm, salt",
  ),
  one(
    'tombstones-too-early',
    11,
    'a tombstone is dropped while an older value lies deeper',
    'src/engine/lsm/tree/retention.ts',
    ' || !this.#isDeepest(key, keyLength - 8);',
    ';',
  ),
  one(
    'newest-table-ignored',
    1,
    'a point read does not look into the newest table of level 0',
    'src/engine/lsm/tree/reader.ts',
    'for (const table of level0) {\n      // Newest first',
    'for (const table of level0.slice(1)) {\n      // Newest first',
  ),
  one(
    'memtable-freed-early',
    1,
    'readers go by a version that does not have a memtable that it counts as flushed',
    'src/engine/lsm/tree/reader.ts',
    'for (let g = this.#control.activeGeneration; g > version.flushedGeneration; g--) {\n      const list = this.#list(g);\n      const found = list.find(key, revision, hash);',
    'for (let g = this.#control.activeGeneration; g > version.flushedGeneration + 1; g--) {\n      const list = this.#list(g);\n      const found = list.find(key, revision, hash);',
  ),
];

/** What is damaged, or replaced: seldom where the power goes all the time. */
const DAMAGE: readonly Mutant[] = [
  one(
    'truncate-on-corruption',
    19,
    'a start cuts the log off where it is damaged, whatever lies behind',
    'src/engine/wal/read-log.ts',
    "if (!state.isSealed) throw damaged(path, offset, 'the segment ends before its closing mark');",
    'if (!state.isSealed) {\n          tail = { segment, salt, offset, provenTo, tornBytes: torn };\n          break;\n        }',
  ),
  one(
    'install-keeps-log',
    1,
    'a snapshot is installed and the old log stays',
    'src/engine/snapshot/install.ts',
    'beginLog(disk, `${dataDir}/wal`, { hardState: { term, vote, commit }, baseTerm, salt });',
    '',
  ),
];

export const MUTANTS: readonly Mutant[] = [
  ...ELECTIONS,
  ...REPLICATION,
  ...READS,
  ...MODEL,
  ...DAMAGE,
  ...DISKS.map((mutant): Mutant => ({ ...mutant, mix: 'crashes' })),
  ...LEDGER,
  ...LIVES.map((mutant): Mutant => ({ ...mutant, mix: 'amnesia' })),
  ...RELAYS.map((mutant): Mutant => ({ ...mutant, with: ['relays'] })),
  ...STAGED.map((mutant): Mutant => ({ with: ['stages'], ...mutant })),
];

/** The same for the bugs at the world's seams (options.ts). */
export const SWITCHES: Readonly<Record<keyof Switches, Pick<Mutant, 'seed' | 'mix'>>> = {
  walSyncDoesNothing: { seed: 1, mix: 'crashes' },
  syncedBeforeSync: { seed: 2, mix: 'crashes' },
  forgetVote: { seed: 11, mix: 'elections' },
  skipEntry: { seed: 2 },
  readsSkipBarrier: { seed: 2 },
};
