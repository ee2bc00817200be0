/**
 * Reference: what the committed log means, worked out once, beside the cluster: the production model over a plain map,
 * with the whole past kept. Nodes, watches, replicas and answers are compared with it.
 */
import { assert, must } from '../../src/core/base/assert.ts';
import { ByteReader, equalBytes } from '../../src/core/base/bytes.ts';
import { type Index, type Revision, toIndex } from '../../src/core/base/position.ts';
import { decodeSchema, TABLES_PREFIX } from '../../src/core/model/control/schema.ts';
import { STAGES_PREFIX } from '../../src/core/model/control/stage-keys.ts';
import { decodeStage, isDropped, shownTo } from '../../src/core/model/control/stages.ts';
import { type Change, decodeRecords } from '../../src/core/model/ledger.ts';
import type { LedgerFilter } from '../../src/core/model/ledger-filter.ts';
import { Machine } from '../../src/core/model/machine.ts';
import { decodeMembership, isMembershipEntry, type Membership } from '../../src/core/raft/membership.ts';
import type { Store, StoredValue } from '../../src/core/model/store.ts';
import { checksum } from '../../src/engine/disk/checksum.ts';
import { checkMove } from './stage-law.ts';

/** Origin of every command as the reference sees it, so that it makes all answers. */
const ORIGIN = 1;
const ORIGIN_AT = 9;
const COMMANDS_OF_CLIENTS: ReadonlySet<number> = new Set([1, 2, 3, 4, 5, 6, 8]);

export interface Committed {
  readonly term: number;
  /** Not before this term it was known to be committed. */
  readonly inTerm: number;
  readonly data: Uint8Array;
  /** The ledger record that it makes. */
  readonly record: Uint8Array;
  readonly changes: readonly Change[];
  /** The answer to whoever asked; undefined for a no-op or the leader's clock. */
  readonly answer: { readonly code: number; readonly revision: number; readonly extra: Uint8Array } | undefined;
}

export interface Version {
  readonly revision: number;
  readonly value: Uint8Array | undefined;
  readonly expiryMs: number;
}

/** Stages as hosts go by them. */
export interface StageThen {
  readonly scope: LedgerFilter;
  /** The revision whose state a host in this ring is shown ('': in none); Infinity: the newest. */
  readonly shownTo: (ring: string) => number;
}

/** A key may be shown so; held: it is not shown as it is, and that is kept aside. */
export interface Shown {
  readonly version: Version;
  readonly isHeld: boolean;
}

const NEVER: Version = { revision: 0, value: undefined, expiryMs: 0 };

/** Text of a key, byte by byte: keys are compared as they are. */
export const textOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1');

const TABLES = textOf(TABLES_PREFIX);
const STAGES = textOf(STAGES_PREFIX);

class MapStore implements Store {
  readonly values = new Map<string, StoredValue>();

  put(key: Uint8Array, value: Uint8Array, revision: Revision, expiryMs: number): void {
    this.values.set(textOf(key), { value: value.slice(), revision, expiryMs });
  }

  remove(key: Uint8Array): void {
    this.values.delete(textOf(key));
  }

  expect(): void {}

  expected(): void {}

  keepForeign(): void {}

  keys(from: Uint8Array, to: Uint8Array, limit: number): Uint8Array[] {
    const [first, end] = [textOf(from), textOf(to)];
    const keys = [...this.values.keys()].filter((key) => key >= first && key < end).sort();
    return keys.slice(0, limit).map((key) => Buffer.from(key, 'latin1'));
  }

  readonly #private = new Map<string, Uint8Array>();

  newestPrivate(key: Uint8Array): Uint8Array | undefined {
    return this.#private.get(textOf(key));
  }

  putPrivate(key: Uint8Array, value: Uint8Array): void {
    this.#private.set(textOf(key), value.slice());
  }

  removePrivate(key: Uint8Array): void {
    this.#private.delete(textOf(key));
  }

  newest(key: Uint8Array): StoredValue | undefined {
    return this.values.get(textOf(key));
  }

  newestRevision(key: Uint8Array): Revision {
    return this.values.get(textOf(key))?.revision ?? toIndex(0);
  }
}

export class Reference {
  readonly #store = new MapStore();
  readonly #machine = new Machine(this.#store, ORIGIN);
  readonly #entries: Committed[] = [];
  readonly #history = new Map<string, Version[]>();
  /** "key=value" that was put: every write of the workload is unlike all others. */
  readonly #put = new Set<string>();

  readonly #stageKeys = new Set<string>();
  readonly #hashes: number[] = [];
  /** What tables were ever called, by number: none is used again. */
  readonly tableNames: Map<number, { readonly family: string; readonly table: string }> = new Map();

  /** Who belongs to the cluster: from the beginning, and from each entry on that says so. */
  readonly #members: { readonly index: number; readonly members: Membership }[];

  constructor(founders: Membership) {
    this.#members = [{ index: 0, members: founders }];
  }

  /** As of the newest committed entry. */
  get members(): Membership {
    return this.membersAt(this.last);
  }

  get newestMembers(): { readonly index: number; readonly members: Membership } {
    return must(this.#members.at(-1), 'somebody founded the cluster');
  }

  /** The entry by which this node became a member, when it was none before; 0: it always was. */
  memberSince(id: string): number {
    const isIn = ({ members: { members } }: { readonly members: Membership }): boolean =>
      members.some((member) => member.id === id);
    const without = this.#members.findLastIndex((said) => !isIn(said));
    return this.#members[without + 1]?.index ?? this.last;
  }

  membersAt(index: number): Membership {
    return must(
      this.#members.findLast((said) => said.index <= index),
      'somebody founded the cluster',
    ).members;
  }

  /** The newest committed index that is known. */
  get last(): number {
    return this.#entries.length;
  }

  get timeMs(): number {
    return this.#machine.timeMs;
  }

  /** The keys that are there now. */
  get state(): ReadonlyMap<string, StoredValue> {
    return this.#store.values;
  }

  at(index: number): Committed {
    return must(this.#entries[index - 1], `index ${index} is committed`);
  }

  has(index: number): boolean {
    return index >= 1 && index <= this.#entries.length;
  }

  /** The next committed entry. */
  append(term: number, inTerm: number, data: Uint8Array): void {
    const index: Index = toIndex(this.#entries.length + 1);
    const machine = this.#machine;
    const own = data.slice();
    if (own.length >= ORIGIN_AT + 8) {
      const view = new DataView(own.buffer);
      // Commands of clients; the rest is the leader's.
      if (COMMANDS_OF_CLIENTS.has(own[0] as number)) view.setBigUint64(ORIGIN_AT, BigInt(ORIGIN), true);
    }
    machine.apply(index, own);
    const record = machine.records.take();
    machine.records.reset();
    const results = machine.results.take();
    machine.results.reset();
    const changes = must(decodeRecords(record)[0], 'an entry makes a record').changes;
    this.#entries.push({ term, inTerm, data: data.slice(), record, changes, answer: answerOf(results) });
    this.#hashes.push(checksum(record, 0, record.length, this.#hashes.at(-1) ?? 0));
    for (const change of changes) this.#changed(index, change);
    if (isMembershipEntry(data)) this.#members.push({ index, members: decodeMembership(data) });
  }

  /** The value of `key` at `revision`. */
  valueAt(key: string, revision: number): Version {
    const versions = this.#history.get(key) ?? [];
    let low = 0;
    let high = versions.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((versions[middle] as Version).revision <= revision) low = middle + 1;
      else high = middle;
    }
    return versions[low - 1] ?? NEVER;
  }

  /**
   * The oldest revision in [from, to] at which `key` has this value, of this revision; undefined: it never had it then.
   */
  whenHad(key: string, revision: number, value: Uint8Array | undefined, from: number, to: number): number | undefined {
    const then = this.valueAt(key, from);
    if (isSame(then, revision, value)) return from;
    for (const version of this.#history.get(key) ?? []) {
      if (version.revision <= from || version.revision > to) continue;
      if (isSame(version, revision, value)) return version.revision;
    }
    return undefined;
  }

  /** The stages of `revision`, but for those that were dropped. */
  stagesAt(revision: number): readonly StageThen[] {
    const live: StageThen[] = [];
    for (const key of this.#stageKeys) {
      const { value } = this.valueAt(key, revision);
      if (value === undefined) continue;
      const stage = decodeStage(Buffer.from(key, 'latin1'), value);
      if (!isDropped(stage)) live.push({ scope: stage.scope, shownTo: (ring) => shownTo(stage, ring) });
    }
    return live;
  }

  /**
   * How a staged key may be shown at `revision` to who is shown the state of `mark`: as it was before the first command behind the
   * mark changed it. What expires is gone for all, and from outside a delete of what may expire is one or the other.
   */
  shownAt(key: string, mark: number, revision: number): readonly Shown[] {
    const versions = this.#history.get(key) ?? [];
    const shown: Shown[] = [];
    for (const [i, version] of versions.entries()) {
      if (version.revision <= mark) continue;
      if (version.revision > revision) break;
      const before = versions[i - 1] ?? NEVER;
      shown.push({ version: before, isHeld: true });
      if (before.expiryMs === 0) return shown;
      // It may have expired at this very revision, before the command.
      shown.push({ version: NEVER, isHeld: true });
      if (version.value !== undefined) return shown;
    }
    return [...shown, { version: this.valueAt(key, revision), isHeld: false }];
  }

  /** All keys that ever were. */
  get keys(): Iterable<string> {
    return this.#history.keys();
  }

  /** The hash of the ledger, up to `revision`. */
  hashAt(revision: number): number {
    return must(this.#hashes[revision - 1], `revision ${revision} is committed`);
  }

  /** Log time of `revision`. */
  timeAt(revision: number): number {
    const { record } = this.at(revision);
    return new DataView(record.buffer, record.byteOffset, record.byteLength).getFloat64(8, true);
  }

  /** How many keys there were at `revision`. */
  countAt(revision: number): number {
    let count = 0;
    for (const key of this.#history.keys()) if (this.valueAt(key, revision).value !== undefined) count++;
    return count;
  }

  #changed(revision: number, change: Change): void {
    const key = textOf(change.key);
    const value = change.kind === 'put' ? change.value.slice() : undefined;
    const isStage = key.startsWith(STAGES);
    if (isStage) {
      this.#stageKeys.add(key);
      checkMove(change.key, revision, this.#history.get(key)?.at(-1)?.value, value);
    }
    // What a stage is now it may have been before.
    if (value !== undefined && !isStage) {
      const put = `${key}=${textOf(value)}`;
      assert(!this.#put.has(put), `exactly once: ${put} is put again at ${revision}`);
      this.#put.add(put);
    }
    const versions = this.#history.get(key);
    const version = { revision, value, expiryMs: change.expiryMs };
    if (versions === undefined) this.#history.set(key, [version]);
    else versions.push(version);
    if (value === undefined || !key.startsWith(TABLES)) return;
    const { id, family, table } = decodeSchema(change.key, value);
    this.tableNames.set(id, { family, table });
  }
}

/** A read of an absent key tells no revision. */
function isSame(version: Version, revision: number, value: Uint8Array | undefined): boolean {
  if (value === undefined || version.value === undefined) return value === version.value;
  return version.revision === revision && equalBytes(version.value, value);
}

function answerOf(results: Uint8Array): Committed['answer'] {
  if (results.length === 0) return undefined;
  const reader = new ByteReader(results);
  reader.u32();
  return { code: reader.u8(), revision: reader.u64(), extra: reader.blob().slice() };
}
