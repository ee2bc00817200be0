/**
 * Jobs: the work of flushing and compacting, as plain data that can go to another thread.
 *
 * A job names files by number and memtables by generation; it reads and writes files itself and answers with what it
 * added. It changes nothing that anybody sees: its tables are in no version until the keeper writes them into the
 * manifest, and a job that fails removes what it made.
 */
import type { Disk } from '../../../core/base/env.ts';
import { Skiplist } from '../skiplist.ts';
import { TableBuilder } from '../sstable/builder.ts';
import { TRAILER_BYTES, TYPE_TOMBSTONE } from '../sstable/keys.ts';
import { Table, type BlockCacheLike } from '../sstable/table.ts';
import { tableName } from '../manifest/file-names.ts';
import { must } from '../../../core/base/assert.ts';
import { StoreError } from '../../../core/base/errors.ts';
import { LevelCursor } from './level-cursor.ts';
import { MemtableCursor } from './memtable-cursor.ts';
import { type InternalCursor, MergeCursor } from './merge.ts';
import { BURY, DROP, Retention, type RetentionRules } from './retention.ts';
import { type Row, RowsCursor } from './rows-cursor.ts';
import { type TableRef, userKey } from './version.ts';
import { compareBytes } from '../../../core/base/bytes.ts';

export interface TableShape {
  readonly blockBytes: number;
  readonly restartInterval: number;
  readonly bloomBitsPerKey: number;
  readonly compression: 'snappy' | 'none';
  readonly tableBytes: number;
  readonly cutPrefixBytes: number;
}

export function shapeOf(options: TableShape): TableShape {
  const { blockBytes, restartInterval, bloomBitsPerKey, compression, tableBytes, cutPrefixBytes } = options;
  return { blockBytes, restartInterval, bloomBitsPerKey, compression, tableBytes, cutPrefixBytes };
}

/** What all jobs are told. */
export interface JobBase {
  readonly dir: string;
  readonly shape: TableShape;
  readonly rules: RetentionRules;
  /** File numbers that are the job's to use; with the last of them it goes on to the end. */
  readonly numbers: { readonly first: number; readonly count: number };
}

/** A frozen memtable becomes one table of level 0, and one for the keys that rise. */
export interface FlushJob extends JobBase {
  readonly kind: 'flush';
  readonly generation: number;
  readonly risingByte: number;
  /** Rows that go with it, in key order, written at `revision`. */
  readonly rows: readonly Row[];
  readonly revision: number;
}

export interface CompactionJob extends JobBase {
  readonly kind: 'compaction';
  readonly inputs: readonly { readonly level: number; readonly table: TableRef }[];
  readonly outputLevel: number;
  /** Key ranges of tables in deeper levels that may hold older versions: user keys, each level in order. */
  readonly deeper: readonly (readonly { readonly from: Uint8Array; readonly to: Uint8Array }[])[];
  readonly bytesPerSecond: number;
}

export type Job = FlushJob | CompactionJob;

export interface JobResult {
  readonly added: readonly TableRef[];
  readonly readBytes: number;
  readonly writtenBytes: number;
  readonly entriesIn: number;
  readonly entriesOut: number;
}

/** What a job works with. */
export interface JobWorld {
  readonly disk: Disk;
  /** Memtables: generation g is in arena g modulo their number. */
  readonly arenas: readonly SharedArrayBuffer[];
  /** Called every so often with the bytes written since: may wait, may throw CLOSED to end the job. */
  readonly pace: (bytes: number, bytesPerSecond: number) => void;
}

const PACE_EVERY_ENTRIES = 1024;
/** Blocks read by a job are read once. */
const NO_CACHE: BlockCacheLike = { get: () => undefined, put: () => {} };

export function runJob(world: JobWorld, job: Job): JobResult {
  return job.kind === 'flush' ? flush(world, job) : compact(world, job);
}

function flush(world: JobWorld, job: FlushJob): JobResult {
  const { arenas } = world;
  const arena = must(arenas[job.generation % arenas.length], 'a generation has an arena');
  const list = new Skiplist(arena);
  const source = new MergeCursor([new RowsCursor(job.rows, job.revision), new MemtableCursor(list)]);
  source.first();
  // One table, however large: its place in level 0 is its generation's. And as it is: it lives until the next merge of
  // level 0, which would only undo the compression.
  const shape: TableShape = { ...job.shape, tableBytes: Number.POSITIVE_INFINITY, compression: 'none' };
  const rising = { byte: job.risingByte, shape: { ...shape, compression: job.shape.compression } };
  const output = new Output(world, { ...job, shape }, rising);
  return output.run(source, new Retention(job.rules, () => false), { readBytes: list.usedBytes, bytesPerSecond: 0 });
}

function compact(world: JobWorld, job: CompactionJob): JobResult {
  const tables: Table[] = [];
  let readBytes = 0;
  const open = (ref: TableRef): Table => {
    const path = `${job.dir}/${tableName(ref.number)}`;
    const file = world.disk.open(path, 'read');
    const table = Table.open(file, { number: ref.number, fileBytes: ref.fileBytes, path }, NO_CACHE);
    tables.push(table);
    readBytes += ref.fileBytes;
    return table;
  };
  try {
    const output = new Output(world, job);
    const retention = new Retention(job.rules, deepestTest(job.deeper));
    const source = new MergeCursor(sourcesOf(job, open));
    source.first();
    const result = output.run(source, retention, { readBytes: 0, bytesPerSecond: job.bytesPerSecond });
    return { ...result, readBytes };
  } finally {
    for (const table of tables) table.close();
  }
}

/** One cursor per table of level 0, one per level below it. */
function sourcesOf(job: CompactionJob, open: (ref: TableRef) => Table): InternalCursor[] {
  const sources: InternalCursor[] = [];
  for (const { level, table } of job.inputs) {
    if (level === 0) sources.push(open(table).cursor({ fillCache: false }));
  }
  const levels = [...new Set(job.inputs.map((input) => input.level))]
    .filter((level) => level > 0)
    .sort((a, b) => a - b);
  for (const level of levels) {
    const refs = job.inputs.filter((input) => input.level === level).map((input) => input.table);
    refs.sort((a, b) => compareBytes(userKey(a.smallest), userKey(b.smallest)));
    // Opened one by one, as the cursor comes to them.
    sources.push(new LevelCursor(refs, (ref) => open(ref).cursor({ fillCache: false })));
  }
  return sources;
}

/** Asked with rising keys, so each level is walked once. */
function deepestTest(deeper: CompactionJob['deeper']): (key: Uint8Array, userLength: number) => boolean {
  const at = deeper.map(() => 0);
  return (key, userLength) => {
    const user = key.subarray(0, userLength);
    return deeper.every((ranges, level) => {
      while ((at[level] as number) < ranges.length) {
        const range = must(ranges[at[level] as number], 'inside');
        if (compareBytes(range.to, user) >= 0) return compareBytes(range.from, user) > 0;
        at[level] = (at[level] as number) + 1;
      }
      return true;
    });
  };
}

/** The tables that a job writes. */
class Output {
  readonly #world: JobWorld;
  readonly #job: JobBase;
  /** Keys of this first byte go into tables of their own, of this shape; 0: there are none. */
  readonly #rising: { readonly byte: number; readonly shape: TableShape };
  #isRising = false;
  readonly #added: TableRef[] = [];
  #used = 0;
  #builder: TableBuilder | undefined;
  #close: () => void = () => {};
  #writtenBytes = 0;
  #pacedBytes = 0;
  readonly #lastPrefix: Uint8Array;

  constructor(world: JobWorld, job: JobBase, rising = { byte: 0, shape: job.shape }) {
    this.#world = world;
    this.#job = job;
    this.#rising = rising;
    this.#lastPrefix = new Uint8Array(job.shape.cutPrefixBytes);
  }

  run(
    source: MergeCursor,
    retention: Retention,
    { readBytes, bytesPerSecond }: { readBytes: number; bytesPerSecond: number },
  ): JobResult {
    let entriesIn = 0;
    let entriesOut = 0;
    try {
      for (; source.valid; source.next()) {
        if (++entriesIn % PACE_EVERY_ENTRIES === 0) this.#pace(bytesPerSecond);
        const decision = retention.decide(source);
        // A key's versions stay in one table, so that tables of a level share no key.
        if (retention.isNewKey) this.#cut(source.key, source.keyLength);
        if (decision === DROP) continue;
        this.#write(source, decision === BURY);
        entriesOut++;
      }
      this.#finishTable();
      if (this.#added.length > 0) this.#world.disk.syncDir(this.#job.dir);
      return { added: this.#added, readBytes, writtenBytes: this.#writtenBytes, entriesIn, entriesOut };
    } catch (error) {
      this.#discard();
      throw error;
    }
  }

  #write(source: MergeCursor, bury: boolean): void {
    this.#builder ??= this.#beginTable();
    // The top once: each of these would look it up.
    const { top } = source;
    const { keyLength } = top;
    if (!bury) {
      this.#builder.addFrom(top.key, keyLength, top.block, top.valueStart, top.valueEnd);
      return;
    }
    const tombstone = top.key.slice(0, keyLength);
    tombstone[keyLength - 8] = TYPE_TOMBSTONE;
    this.#builder.addFrom(tombstone, keyLength, NO_VALUE, 0, 0);
  }

  #cut(key: Uint8Array, keyLength: number): void {
    const { tableBytes, cutPrefixBytes } = this.#job.shape;
    const isRising = this.#rising.byte !== 0 && keyLength > TRAILER_BYTES && key[0] === this.#rising.byte;
    if (isRising !== this.#isRising) {
      this.#isRising = isRising;
      this.#finishTable();
    }
    let isNewPrefix = false;
    for (let i = 0; i < cutPrefixBytes; i++) {
      const byte = i < keyLength - 8 ? (key[i] as number) : 0;
      if (this.#lastPrefix[i] === byte) continue;
      this.#lastPrefix[i] = byte;
      isNewPrefix = true;
    }
    if (this.#builder === undefined || this.#used >= this.#job.numbers.count) return;
    if (this.#builder.fileBytes >= tableBytes || (isNewPrefix && tableBytes !== Number.POSITIVE_INFINITY)) {
      this.#finishTable();
    }
  }

  #beginTable(): TableBuilder {
    const { dir, numbers } = this.#job;
    const shape = this.#isRising ? this.#rising.shape : this.#job.shape;
    const number = numbers.first + this.#used++;
    const file = this.#world.disk.open(`${dir}/${tableName(number)}`, 'create');
    this.#close = () => file.close();
    return new TableBuilder(file, shape);
  }

  #finishTable(): void {
    const builder = this.#builder;
    if (builder === undefined) return;
    const info = builder.finish();
    this.#builder = undefined;
    this.#close();
    this.#writtenBytes += info.fileBytes;
    this.#added.push({ ...info, number: this.#job.numbers.first + this.#used - 1 });
  }

  #pace(bytesPerSecond: number): void {
    const written = this.#writtenBytes + (this.#builder?.fileBytes ?? 0);
    this.#world.pace(written - this.#pacedBytes, bytesPerSecond);
    this.#pacedBytes = written;
  }

  /** What was made is in no version: it goes, and what cannot go now is removed at the next start. */
  #discard(): void {
    const { dir, numbers } = this.#job;
    this.#close();
    for (let i = 0; i < this.#used; i++) {
      const path = `${dir}/${tableName(numbers.first + i)}`;
      try {
        if (this.#world.disk.exists(path)) this.#world.disk.remove(path);
      } catch (cause) {
        // The failure that brought us here is the one to tell; the file is stale and known as such by its number.
        if (!(cause instanceof Error)) throw cause;
      }
    }
  }
}

const NO_VALUE = new Uint8Array(0);

/** The job was asked to end: its node stops. */
export const jobCancelled = (): StoreError => new StoreError('CLOSED', 'the store closes; the job ends without effect');
