/**
 * Staging: what the log does for staged delivery: it keeps stages, and of staged keys what they were before they changed, so
 * that whoever has the state at a revision can also show the scope as it was at any mark (a revision that a ring is shown).
 *
 *   undo row = 0 | 1, revision u64, expiryMs f64, value        under `key` and the revision that changed it
 *
 * A key that changes gets one undo row for the newest mark, when it first changes behind it. Its value at a mark is then that of
 * its first undo row behind the mark, or, without one, what it is now. So the cost is bounded by keys times marks, not by
 * writes; and rows that stand for no mark any more are swept, a few with each entry.
 *
 * Replicas need nothing else: what one shows is a function of the cluster's state and its ring (engine/ldb/showing.ts).
 *
 * What is not held back: time. A key that expires is gone everywhere. And tables that are staged cannot be dropped or cleared.
 *
 * Bounds: what one command may keep of old values (it is written twice: as a row and in the ledger), and all of a stage's rows.
 * Past them puts are refused; deletes of the same size are, too. When everybody follows nothing is refused: what there is to
 * go back to is given up instead.
 */
import { assert, must } from '../../base/assert.ts';
import { ByteReader, ByteWriter, equalBytes, prefixEnd, utf8 } from '../../base/bytes.ts';
import { StoreError } from '../../base/errors.ts';
import { type LedgerFilter, Sieve, TableDirectory } from '../ledger-filter.ts';
import { TABLES_PREFIX } from './schema.ts';
import type { ControlState } from './state.ts';
import {
  isStageKey,
  isUndoKey,
  stageKey,
  STAGES_PREFIX,
  undoEnd,
  undoKey,
  undoOfKey,
  undoPrefix,
} from './stage-keys.ts';
import {
  checkScope,
  decodeStage,
  dropped,
  encodeStage,
  EVERYBODY,
  FOLLOWS,
  isDropped,
  marksOf,
  moved,
  overlaps,
  parseRings,
  parseStageName,
  type Stage,
  type StageMove,
  STAGES_MAX,
} from './stages.ts';
import { tooMany } from './catalog.ts';

/** Keys and old values that one command may keep. The memtable makes room for twice that (actors/memtable.ts). */
export const UNDO_BYTES_PER_COMMAND_MAX: number = 256 * 1024;
/** All undo rows of a stage. */
export const UNDO_BYTES_MAX: number = 64 * 1024 * 1024;
/** What a row costs beside key and value. */
const UNDO_OVERHEAD_BYTES = 64;

const PRIVATE_BYTE = 0x73;
const TABLES_MAX = 8192;

interface Live {
  readonly stage: Stage;
  /** The newest mark. */
  readonly newest: number;
  readonly marks: readonly number[];
  readonly sieve: Sieve;
  /** Of its undo rows. */
  bytes: number;
  /** When something of its scope last changed, or before its newest mark. */
  changed: number;
  /** Undo rows before and at this one were looked at since the marks changed; undefined: all of them. */
  sweptTo: Uint8Array | undefined;
}

export class Staging {
  readonly #state: ControlState;
  /** Read with the first stage. */
  #directory: TableDirectory | undefined;
  /** By name; dropped ones too, until their rows are swept. Undefined: not read yet. */
  #stages: Map<string, Live> | undefined;

  constructor(state: ControlState) {
    this.#state = state;
  }

  /** Nothing is staged. */
  get isEmpty(): boolean {
    return this.#live().size === 0;
  }

  /** Undo rows wait to be looked at. */
  get sweeps(): boolean {
    return Array.from(this.#live().values()).some(({ sweptTo }) => sweptTo !== undefined);
  }

  /**
   * May these keys change? Throws TABLE_FULL when a stage keeps too much already (`adds`: it is a put), TXN_TOO_LARGE when this
   * command would.
   */
  check(keys: Iterable<{ readonly key: Uint8Array; readonly adds: boolean }>): void {
    if (this.isEmpty) return;
    let bytes = 0;
    for (const { key, adds } of keys) {
      const live = this.#liveOf(key);
      if (live === undefined || this.#isKept(live, key)) continue;
      const { name } = live.stage;
      if (adds && live.bytes >= UNDO_BYTES_MAX && !isOpen(live.stage)) {
        const message = `stage ${name} holds back ${live.bytes} bytes: release it, or roll it back and drop it`;
        throw new StoreError('TABLE_FULL', message, { data: { stage: name, limit: UNDO_BYTES_MAX, size: live.bytes } });
      }
      bytes += key.length + (this.#state.newest(key)?.value.length ?? 0) + UNDO_OVERHEAD_BYTES;
    }
    if (bytes <= UNDO_BYTES_PER_COMMAND_MAX) return;
    const limit = UNDO_BYTES_PER_COMMAND_MAX;
    throw new StoreError('TXN_TOO_LARGE', `one change of staged data may replace ${limit} bytes; this one ${bytes}`, {
      data: { limit, size: bytes },
    });
  }

  /** Told before a command changes `key`: what it is now is kept, if a mark needs it. */
  before(key: Uint8Array, index: number): void {
    if (this.isEmpty) return;
    let live = this.#liveOf(key);
    if (live === undefined || this.#isKept(live, key)) return;
    if (live.bytes >= UNDO_BYTES_MAX && isOpen(live.stage)) live = this.#keep({ ...live.stage, good: index - 1 });
    const stored = this.#state.newest(key);
    const writer = new ByteWriter(32 + (stored?.value.length ?? 0)).u8(stored === undefined ? 0 : 1);
    if (stored !== undefined) writer.u64(stored.revision).f64(stored.expiryMs).raw(stored.value);
    const value = writer.take();
    this.#state.put(undoKey(live.stage.id, key, index), value);
    live.changed = index;
    this.#count(live, key.length + value.length + UNDO_OVERHEAD_BYTES);
  }

  /** A schema as it is written: its rows are known by its number. */
  learn(key: Uint8Array, value: Uint8Array): void {
    this.#directory?.learn(key, value);
  }

  create(name: string, scope: LedgerFilter, named: readonly string[], index: number): void {
    parseStageName(name);
    checkScope(scope);
    const names = parseRings(named);
    const known = this.#live();
    if (known.has(name))
      throw new StoreError('ALREADY_EXISTS', `Stage already exists: ${name}`, { data: { stage: name } });
    if (known.size >= STAGES_MAX) throw tooMany('stages', STAGES_MAX);
    for (const { stage } of known.values()) {
      if (!overlaps(stage.scope, scope)) continue;
      throw new StoreError('ALREADY_EXISTS', `stage ${stage.name} is of some of it`, { data: { stage: stage.name } });
    }
    // The first ring follows: somebody has to meet what is new. Where there is none, everybody waits for a release.
    const isFirst = (ring: string): boolean => ring === names[0] && ring !== EVERYBODY;
    const rings = names.map((ring) => ({ name: ring, shown: isFirst(ring) ? FOLLOWS : index }));
    this.#keep({ name, id: index, scope, rings, good: index, halted: undefined });
  }

  move(name: string, move: StageMove, ring: string, reason: string, index: number): void {
    const changed = this.#live().get(name)?.changed ?? 0;
    this.#keep(moved(this.#stage(name), { move, ring, reason }, { index, changed }));
  }

  /** Its hosts are shown the newest state, from this revision on. */
  drop(name: string): void {
    this.#keep(dropped(this.#stage(name)));
  }

  /** Throws DISABLED for a table of which hosts may have to be shown rows that are gone. */
  checkDrop({ family, table }: { readonly family: string; readonly table: string }): void {
    for (const { stage, sieve } of this.#live().values()) {
      if (!sieve.wants({ family, table })) continue;
      const message = `table ${family}.${table} is staged by ${stage.name}: drop the stage first, or delete its rows`;
      throw new StoreError('DISABLED', message, { data: { family, table, stage: stage.name } });
    }
  }

  /** Looks at `keysMax` undo rows, and deletes those that stand for no mark. Says how many it looked at. */
  sweep(keysMax: number): number {
    let left = keysMax;
    for (const live of this.#live().values()) {
      if (left <= 0) break;
      if (live.sweptTo !== undefined) left -= this.#sweepOne(live, left);
    }
    return keysMax - left;
  }

  #sweepOne(live: Live, keysMax: number): number {
    const prefix = undoPrefix(live.stage.id);
    const end = prefixEnd(prefix);
    assert(end !== undefined && live.sweptTo !== undefined, 'a stage that is swept has rows with an end');
    // The one that was looked at last comes again, if it is still there.
    const keys = this.#state.keys(live.sweptTo, end, keysMax);
    let last = live.sweptTo;
    let freed = 0;
    for (const key of keys) {
      if (equalBytes(key, last)) continue;
      if (!isNeeded(live.marks, last, key)) {
        freed += undoOfKey(key).key.length + (this.#state.get(key)?.length ?? 0) + UNDO_OVERHEAD_BYTES;
        this.#state.remove(key);
      }
      last = key;
    }
    live.sweptTo = keys.length < keysMax ? undefined : last;
    if (live.sweptTo === undefined && isDropped(live.stage)) {
      this.#state.remove(stageKey(live.stage.name));
      this.#state.removePrivate(privateKey(live.stage.name));
      this.#live().delete(live.stage.name);
    } else this.#count(live, -freed);
    return Math.max(1, keys.length);
  }

  #stage(name: string): Stage {
    const live = this.#live().get(parseStageName(name));
    if (live !== undefined && !isDropped(live.stage)) return live.stage;
    throw new StoreError('NOT_FOUND', `Stage not found: ${name}`, { data: { stage: name } });
  }

  #keep(stage: Stage): Live {
    this.#state.put(stageKey(stage.name), encodeStage(stage));
    const known = this.#live().get(stage.name);
    // Marks have come or gone: all rows are looked at anew.
    const { bytes = 0, changed = 0 } = known ?? {};
    const live = this.#liveFrom(stage, { bytes, changed, sweptTo: undoPrefix(stage.id) });
    this.#live().set(stage.name, live);
    this.#count(live, 0);
    return live;
  }

  #count(live: Live, bytes: number): void {
    live.bytes += bytes;
    const writer = new ByteWriter(32)
      .varint(live.bytes)
      .varint(live.changed)
      .u8(live.sweptTo === undefined ? 0 : 1);
    this.#state.putPrivate(privateKey(live.stage.name), writer.blob(live.sweptTo ?? new Uint8Array(0)).take());
  }

  /** Is what `key` was at the newest mark kept already? */
  #isKept({ stage: { id }, newest }: Live, key: Uint8Array): boolean {
    return this.#state.keys(undoKey(id, key, newest + 1), undoEnd(id, key), 1).length > 0;
  }

  #liveOf(key: Uint8Array): Live | undefined {
    if (isUndoKey(key) || isStageKey(key)) return undefined;
    for (const live of this.#live().values()) if (live.sieve.lets(key) === true) return live;
    return undefined;
  }

  /** Read when it is first asked for: a machine begins before its rows can be. */
  #live(): Map<string, Live> {
    if (this.#stages !== undefined) return this.#stages;
    this.#stages = new Map();
    for (const key of this.#keys(STAGES_PREFIX, STAGES_MAX + 1)) {
      const stage = decodeStage(key, must(this.#state.get(key), 'a key that is listed is there'));
      const reader = new ByteReader(must(this.#state.getPrivate(privateKey(stage.name)), 'every stage is counted'));
      const [bytes, changed] = [reader.varint(), reader.varint()];
      const sweptTo = reader.u8() === 0 ? undefined : reader.blob().slice();
      this.#stages.set(stage.name, this.#liveFrom(stage, { bytes, changed, sweptTo }));
    }
    return this.#stages;
  }

  #liveFrom(stage: Stage, counted: Pick<Live, 'bytes' | 'changed' | 'sweptTo'>): Live {
    if (this.#directory === undefined) {
      this.#directory = new TableDirectory();
      for (const key of this.#keys(TABLES_PREFIX, TABLES_MAX)) {
        this.#directory.learn(key, must(this.#state.get(key), 'a key that is listed is there'));
      }
    }
    const marks = marksOf(stage);
    return { ...counted, stage, marks, newest: Math.max(0, ...marks), sieve: new Sieve(stage.scope, this.#directory) };
  }

  #keys(prefix: Uint8Array, limit: number): readonly Uint8Array[] {
    return this.#state.keys(prefix, must(prefixEnd(prefix), 'prefixes of control data have an end'), limit);
  }
}

/** Everybody follows: nothing is held back from anyone. */
const isOpen = ({ rings }: Stage): boolean => rings.every(({ shown }) => shown === FOLLOWS);

/** Is there a mark from the row before (of the same key) up to this one? Only then it says what no other one says. */
function isNeeded(marks: readonly number[], before: Uint8Array, key: Uint8Array): boolean {
  const { revision } = undoOfKey(key);
  const isSame = before.length === key.length && equalBytes(before.subarray(0, -8), key.subarray(0, -8));
  const since = isSame ? undoOfKey(before).revision : 0;
  return marks.some((mark) => mark >= since && mark < revision);
}

const privateKey = (name: string): Uint8Array => new ByteWriter(64).u8(PRIVATE_BYTE).raw(utf8(name)).take();
