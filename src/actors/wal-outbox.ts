/**
 * WalOutbox: the core's persists on their way to the wal-committer, and which of them are synced.
 *
 * A persist becomes one or more records (a record fits in the ring with room to spare). The committer numbers
 * what it gets in order, so this side can count along: persist `seq` is synced once the LSN of its last record
 * is. The committer's own marks have LSNs too; it says how many it has written.
 *
 * Invariant: records are handed over in the order of their persists, also through the backlog.
 */
import { ByteWriter } from '../core/base/bytes.ts';
import type { Persist } from '../core/raft/types.ts';
import { encodePersist } from '../engine/wal/payload.ts';
import type { Bell } from './runtime/bell.ts';
import { drain, type RingWriter } from './runtime/ring.ts';
import type { Shared } from './shared.ts';

/** Entries in one WAL record. */
const RECORD_BYTES_MAX = 1024 * 1024;

export class WalOutbox {
  readonly #shared: Shared;
  readonly #committer: Bell;
  readonly #ring: RingWriter;
  readonly #encode = new ByteWriter(256 * 1024);
  /** LSN that the next record will get, the committer's marks left out. */
  #nextLsn: number;
  /** LSN of the last record of each persist not yet synced; counted as #nextLsn is. */
  #underWay: { seq: number; lsn: number }[] = [];
  #syncedSeq = 0;
  #isUnrung = false;
  /** Records that did not fit in the ring: bounded by what the core lets be uncommitted, unsynced or in flight. */
  #backlog: Uint8Array[] = [];

  constructor(shared: Shared, ring: RingWriter, lastLsn: number) {
    this.#shared = shared;
    this.#committer = shared.bell('wal-committer');
    this.#ring = ring;
    this.#nextLsn = lastLsn + 1;
  }

  /** The newest persist that is synced. */
  get syncedSeq(): number {
    return this.#syncedSeq;
  }

  /** Something that was handed over is not synced. */
  get waits(): boolean {
    return this.#underWay.length > 0;
  }

  get backlog(): number {
    return this.#backlog.length;
  }

  write(persist: Persist): void {
    let from = 0;
    do {
      let bytes = 0;
      let to = from;
      while (to < persist.entries.length && (to === from || bytes < RECORD_BYTES_MAX)) {
        bytes += persist.entries[to]?.data.length ?? 0;
        to++;
      }
      // The commit index is noted with the last part, when all it may name has been written.
      const isLast = to === persist.entries.length;
      const commit = isLast ? persist.hardState.commit : (0 as Persist['hardState']['commit']);
      this.#encode.reset();
      encodePersist(this.#encode, {
        seq: persist.seq,
        hardState: { ...persist.hardState, commit },
        revertFrom: from === 0 ? persist.revertFrom : undefined,
        entries: persist.entries.slice(from, to),
      });
      this.#writeRecord(this.#encode.view());
      if (this.#shared.stages.isArmed) this.#noteTraced(persist.entries.slice(from, to));
      from = to;
    } while (from < persist.entries.length);
    this.#underWay.push({ seq: persist.seq, lsn: this.#nextLsn - 1 });
    this.#isUnrung = true;
  }

  /**
   * Wakes the committer for what was written. After the followers' messages have left: waking a thread costs some
   * 30 µs, and their way to a synced disk is longer than ours.
   */
  ring(): void {
    if (!this.#isUnrung) return;
    this.#isUnrung = false;
    this.#committer.ring();
  }

  /** Looks how far the syncer is; true when a persist more is synced. */
  takeSyncs(): boolean {
    // In this order: a mark that is synced was counted before. One counted too early makes us wait, and no more.
    const synced = this.#shared.get('syncedLsn') - this.#shared.get('walMarks');
    let count = 0;
    for (const persist of this.#underWay) {
      if (persist.lsn > synced) break;
      this.#syncedSeq = persist.seq;
      count++;
    }
    if (count > 0) this.#underWay = this.#underWay.slice(count);
    return count > 0;
  }

  /** The ring may have room again. */
  sendBacklog(): void {
    if (this.#backlog.length === 0) return;
    this.#backlog = drain(this.#backlog, this.#ring);
    this.#isUnrung = true;
  }

  /** They are in the record that was handed over last. */
  #noteTraced(entries: Persist['entries']): void {
    for (const { data, index } of entries) this.#shared.stages.proposed(data, index, this.#nextLsn - 1);
  }

  #writeRecord(record: Uint8Array): void {
    this.#nextLsn++;
    if (this.#backlog.length > 0 || !this.#ring.write(record)) this.#backlog.push(record.slice());
  }
}
