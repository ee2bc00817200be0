/**
 * SnapshotIntake: takes the snapshots of a reflector's stream into its LDB, and goes on with one that broke off.
 *
 *   begin ─▶ rows*                    ─▶ end          the LDB is what came, in one transaction
 *   begin (goes on) ─▶ records* ─▶ rows* ─▶ end       what an earlier life has is made the newer state's, and the rest fetched
 *
 * Rows are gathered: a commit for each frame would be a sync for each 128 KiB. What is committed stays when the stream ends,
 * with a mark that says how far it is (engine/ldb/arriving.ts), and the next stream asks to go on from there. It is given up
 * when what comes does not follow it, told, and fetched from its first row.
 */
import { isStoreError, StoreError } from '../core/base/errors.ts';
import type { Revision } from '../core/base/position.ts';
import { isSameFilter, type LedgerFilter } from '../core/model/ledger-filter.ts';
import type { SnapshotMark } from '../engine/ldb/arriving.ts';
import type { LdbWriter, SnapshotRow } from '../engine/ldb/writer.ts';

/** As a stream begins one. */
export interface SnapshotBegin {
  readonly revision: Revision;
  readonly timeMs: number;
  /** How many rows it will have, about; undefined: nobody knows. */
  readonly about?: number;
  /** What it goes on with: rows of `revision` up to the key `after`. */
  readonly goesOn?: { readonly revision: Revision; readonly after: Uint8Array };
}

export type SnapshotEvent =
  /** `entries`: taken so far, by earlier streams too; `bytes`: of their keys and values. */
  | {
      readonly kind: 'snapshot';
      readonly state: 'begin' | 'end';
      readonly revision: Revision;
      readonly timeMs: number;
      readonly entries: number;
    }
  /** More of it is on disk, where no reader looks yet; `about`: how many there will be, as far as anybody knows. */
  | {
      readonly kind: 'arrived';
      readonly revision: Revision;
      readonly entries: number;
      readonly bytes: number;
      readonly about: number | undefined;
    }
  /** One that broke off is not gone on with. */
  | { readonly kind: 'given-up'; readonly revision: Revision; readonly entries: number; readonly reason: string };

interface IntakeOptions {
  readonly onEvent: (event: SnapshotEvent) => void;
  /** What is gathered for one commit; so much is fetched again after a kill, at most. */
  readonly gatherBytesMax: number;
}

interface UnderWay {
  readonly revision: Revision;
  readonly timeMs: number;
  readonly goesOn: boolean;
  readonly about: number | undefined;
  /** Of this stream. */
  came: number;
  /** With those of earlier streams. */
  entries: number;
}

export class SnapshotIntake {
  readonly #writer: LdbWriter;
  readonly #onEvent: (event: SnapshotEvent) => void;
  readonly #gatherBytesMax: number;
  #underWay: UnderWay | undefined;
  #rows: SnapshotRow[] = [];
  #records: Uint8Array[] = [];
  #bytes = 0;

  constructor(writer: LdbWriter, { onEvent, gatherBytesMax }: IntakeOptions) {
    this.#writer = writer;
    this.#gatherBytesMax = gatherBytesMax;
    this.#onEvent = onEvent;
  }

  get isUnderWay(): boolean {
    return this.#underWay !== undefined;
  }

  /** A stream begins, of this cluster and with this filter: what came before it is kept. False: what is here is of another. */
  async hello(cluster: string, filter: LedgerFilter | undefined): Promise<boolean> {
    if (this.#underWay !== undefined) await this.#commit();
    this.#underWay = undefined;
    await this.#writer.interruptSnapshot();
    const mark = this.#writer.interrupted;
    if (mark === undefined || (mark.cluster === cluster && isSameFilter(mark.filter, filter))) return true;
    await this.giveUp('the stream is of other data');
    return false;
  }

  /** Forgets what is here of one that broke off, if there is something. */
  async giveUp(reason: string): Promise<void> {
    const mark = this.#writer.interrupted;
    if (mark === undefined) return;
    await this.#writer.abandonSnapshot();
    this.#onEvent({ kind: 'given-up', revision: mark.revision, entries: mark.rows, reason });
  }

  async begin(begin: SnapshotBegin, { cluster, filter }: Pick<SnapshotMark, 'cluster' | 'filter'>): Promise<void> {
    const { revision, timeMs, about, goesOn } = begin;
    if (this.#underWay !== undefined) {
      // It can be gone on with no more, says who sends it.
      this.#underWay = undefined;
      this.#forget();
      await this.#writer.interruptSnapshot();
    }
    const entries = this.#writer.interrupted?.rows ?? 0;
    if (goesOn === undefined) {
      await this.giveUp(`the ledger does not reach back to it; it is taken anew at revision ${revision}`);
      await this.#writer.beginSnapshot({ cluster, revision, timeMs }, filter);
    } else await this.#goOn({ cluster, revision, timeMs }, { filter, from: goesOn });
    const isRest = goesOn !== undefined;
    this.#underWay = { revision, timeMs, about, goesOn: isRest, came: 0, entries: isRest ? entries : 0 };
    this.#tell('begin', this.#underWay);
  }

  async #goOn(...given: Parameters<LdbWriter['goOnSnapshot']>): Promise<void> {
    if (this.#writer.interrupted === undefined) throw unexpected('a snapshot that goes on with one that is not here');
    await this.#orGiveUp(this.#writer.goOnSnapshot(...given));
  }

  /** What does not follow what is here would not the next time. */
  async #orGiveUp<T>(work: Promise<T>): Promise<T> {
    try {
      return await work;
    } catch (error) {
      if (isStoreError(error, 'LDB_GAP')) await this.#giveUpUnderWay(error.message);
      throw error;
    }
  }

  async #giveUpUnderWay(reason: string): Promise<void> {
    this.#underWay = undefined;
    this.#forget();
    await this.#writer.interruptSnapshot();
    await this.giveUp(reason);
  }

  async rows(entries: readonly SnapshotRow[]): Promise<void> {
    const underWay = this.#required('snapshot-entries');
    if (this.#records.length > 0) await this.#commit();
    this.#rows.push(...entries);
    underWay.came += entries.length;
    underWay.entries += entries.length;
    await this.#gathered(entries.reduce((bytes, { key, value }) => bytes + key.length + value.length, 0));
  }

  /** For the rows that are there. */
  async records(bytes: Uint8Array): Promise<void> {
    const { goesOn, came } = this.#required('records');
    if (!goesOn || came > 0) throw unexpected('records inside a snapshot');
    this.#records.push(bytes);
    await this.#gathered(bytes.length);
  }

  /** It is whole: checks that, and has the readers see it. */
  async end({ revision, rows }: { readonly revision: Revision; readonly rows?: number | undefined }): Promise<void> {
    const underWay = this.#required('snapshot-end');
    if (underWay.revision !== revision) throw unexpected('snapshot-end of no snapshot that was begun');
    if (rows !== undefined && rows !== underWay.came) {
      // Of what is here nobody knows which rows are missing.
      const message = `${underWay.came} rows of a snapshot came, and ${rows} were sent`;
      await this.#giveUpUnderWay(message);
      throw new StoreError('LEDGER_DAMAGED', message, { data: { came: underWay.came, sent: rows } });
    }
    await this.#commit();
    await this.#orGiveUp(this.#writer.finishSnapshot());
    this.#underWay = undefined;
    this.#tell('end', underWay);
  }

  #required(kind: string): UnderWay {
    if (this.#underWay === undefined) throw unexpected(`${kind} outside a snapshot`);
    return this.#underWay;
  }

  async #gathered(bytes: number): Promise<void> {
    this.#bytes += bytes;
    if (this.#bytes >= this.#gatherBytesMax) await this.#commit();
  }

  async #commit(): Promise<void> {
    const [rows, records] = [this.#rows, this.#records];
    this.#forget();
    let mark: SnapshotMark | undefined;
    if (records.length > 0) mark = await this.#orGiveUp(this.#writer.rollSnapshot(records));
    if (rows.length > 0) mark = await this.#orGiveUp(this.#writer.addSnapshot(rows));
    if (mark === undefined) return;
    const { revision, rows: entries, bytes } = mark;
    this.#onEvent({ kind: 'arrived', revision, entries, bytes, about: this.#underWay?.about });
  }

  #forget(): void {
    [this.#rows, this.#records, this.#bytes] = [[], [], 0];
  }

  #tell(state: 'begin' | 'end', { revision, timeMs, entries }: UnderWay): void {
    this.#onEvent({ kind: 'snapshot', state, revision, timeMs, entries });
  }
}

const unexpected = (what: string): StoreError => new StoreError('PROTOCOL_ERROR', `the ledger stream brought ${what}`);
