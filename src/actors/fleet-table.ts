/**
 * FleetTable: the LDBs that somebody feeds, a node or a relay, and how far each said it is.
 *
 * An LDB is in it from the moment it says who it is until its stream ends; it is then *gone*, and stays for `goneMs`:
 * what follows it may have restarted or moved to another node, while the programs of its host go on reading it. So for
 * that long it counts among those that do not show a newer revision, unless it is found elsewhere; after that it is nobody's.
 *
 * Invariants:
 *  - an LDB that is connected here is not gone here;
 *  - what an LDB said it shows never goes back within a stream, whatever it says later.
 *
 * Bounds: streams have their own; GONE_MAX that are gone, the oldest are forgotten first; BELOW_ROWS_MAX of each relay.
 */
import { utf8 } from '../core/base/bytes.ts';
import { showFilter, type LedgerFilter } from '../core/model/ledger-filter.ts';
import {
  type FleetAnswer,
  type FleetAsk,
  type LdbIdentity,
  type LdbReport,
  type LdbRow,
  type LdbStream,
  SOUGHT_MAX,
} from '../core/wire/fleet.ts';

export interface FleetTableOptions {
  /** Who feeds them. */
  readonly via: string;
  readonly nowMs: () => number;
  readonly goneMs?: number;
}

/** So long an LDB that has left is waited for; also the time after which a follower leaves a node that brings nothing. */
export const GONE_MS = 30_000;
const GONE_MAX = 1_000;
const FILTER_TEXT_MAX = 200;
/** To name who is behind, and to find that some are elsewhere by now. */
const BEHIND_ROWS_MAX = 200;
/** An answer travels in half a ring of 1 MiB. */
const ROWS_BYTES_MAX = 256 * 1024;

interface Fed {
  readonly identity: LdbIdentity;
  readonly filter: string | null;
  readonly streamMs: number;
  revision: number;
  timeMs: number;
  isInSnapshot: boolean;
  heardMs: number;
  below: readonly LdbRow[];
  belowLeft: number;
  /** It was asked to say when it shows this one. */
  asked: number;
}

export class FleetTable {
  readonly #options: FleetTableOptions;
  readonly #goneMs: number;
  readonly #fed = new Map<number, Fed>();
  /** By id, the oldest first. */
  readonly #gone = new Map<string, Fed>();

  constructor(options: FleetTableOptions) {
    this.#options = options;
    this.#goneMs = options.goneMs ?? GONE_MS;
  }

  /** A stream begins. What it asks for says what came to the LDB, not what it shows: that it will report. */
  join(stream: number, { identity, streamMs }: LdbStream, filter: LedgerFilter | undefined): void {
    const shown = filter === undefined ? null : showFilter(filter);
    this.#gone.delete(identity.id);
    this.#fed.set(stream, {
      identity,
      filter: shown !== null && shown.length > FILTER_TEXT_MAX ? `${shown.slice(0, FILTER_TEXT_MAX)}…` : shown,
      streamMs,
      revision: 0,
      timeMs: 0,
      isInSnapshot: false,
      heardMs: this.#options.nowMs(),
      below: [],
      belowLeft: 0,
      asked: 0,
    });
  }

  report(stream: number, report: LdbReport): void {
    const fed = this.#fed.get(stream);
    if (fed === undefined) return;
    fed.revision = Math.max(fed.revision, report.revision);
    fed.timeMs = Math.max(fed.timeMs, report.timeMs);
    fed.isInSnapshot = report.isInSnapshot;
    fed.heardMs = this.#options.nowMs();
    fed.below = report.below ?? [];
    fed.belowLeft = report.belowLeft ?? 0;
  }

  leave(stream: number): void {
    const fed = this.#fed.get(stream);
    if (fed === undefined) return;
    this.#fed.delete(stream);
    const { id } = fed.identity;
    if ([...this.#fed.values()].some((other) => other.identity.id === id)) return;
    this.#gone.delete(id);
    this.#gone.set(id, { ...fed, heardMs: this.#options.nowMs(), below: [], belowLeft: 0 });
    const [oldest] = this.#gone.keys();
    if (this.#gone.size > GONE_MAX && oldest !== undefined) this.#gone.delete(oldest);
  }

  /** Streams that are to be asked for `revision`: they do not show it, and were not asked for it. */
  *unasked(revision: number): Generator<number> {
    for (const [stream, fed] of this.#fed) {
      const isBehind = fed.revision < revision || fed.below.some((row) => row.revision < revision) || fed.belowLeft > 0;
      if (isBehind && fed.asked < revision) yield stream;
    }
  }

  wasAsked(stream: number, revision: number): void {
    const fed = this.#fed.get(stream);
    if (fed !== undefined) fed.asked = Math.max(fed.asked, revision);
  }

  /** Every LDB once: connected, then those that are gone. */
  rows(): LdbRow[] {
    return [...this.connected(), ...this.#goneRows()];
  }

  /** Fed from here, and by relays below. */
  connected(): LdbRow[] {
    const newest = new Map<string, LdbRow>();
    for (const fed of this.#fed.values()) {
      for (const row of [this.#row(fed), ...fed.below]) {
        const key = `${row.id}\n${row.instance}`;
        const other = newest.get(key);
        if (other === undefined || other.streamMs < row.streamMs) newest.set(key, row);
      }
    }
    return [...newest.values()];
  }

  /** LDBs below relays that nobody named. */
  get left(): number {
    let left = 0;
    for (const { belowLeft } of this.#fed.values()) left += belowLeft;
    return left;
  }

  get isEmpty(): boolean {
    return this.#fed.size === 0 && this.#gone.size === 0;
  }

  #goneRows(): LdbRow[] {
    const sinceMs = this.#options.nowMs() - this.#goneMs;
    for (const [id, { heardMs }] of this.#gone) if (heardMs < sinceMs) this.#gone.delete(id);
    return [...this.#gone.values()].map((fed): LdbRow => ({ ...this.#row(fed), state: 'gone' }));
  }

  #row(fed: Fed): LdbRow {
    const { identity, filter, revision, timeMs, isInSnapshot, heardMs, streamMs } = fed;
    const state = isInSnapshot ? 'snapshot' : 'following';
    const silentMs = Math.max(0, Math.round(this.#options.nowMs() - heardMs));
    return { ...identity, via: this.#options.via, filter, revision, timeMs, state, silentMs, streamMs };
  }
}

/** What this table says to a question; a relay's rows that are gone count as gone here. */
export function answerFleet(table: FleetTable, ask: FleetAsk): FleetAnswer {
  const all = table.rows();
  const { left } = table;
  const connected = all.filter(({ state }) => state !== 'gone');
  const newest = Math.max(0, ...ask.revisions);
  const behind = all.filter((row) => row.revision < newest).toSorted((a, b) => a.revision - b.revision);
  const sought = new Set(ask.sought);
  return {
    connected: connected.length + left,
    behind: ask.revisions.map((revision) => left + behind.filter((row) => row.revision < revision).length),
    rows: clipped(ask.isList ? all : behind.slice(0, BEHIND_ROWS_MAX)),
    found: connected
      .filter(({ id }) => sought.has(id))
      .slice(0, SOUGHT_MAX)
      .map(({ id, instance, streamMs }) => ({ id, instance, streamMs })),
  };
}

/** As many as there is room for. */
function clipped(rows: readonly LdbRow[]): LdbRow[] {
  let bytes = 0;
  const fits = rows.findIndex((row) => {
    bytes += utf8(JSON.stringify(row)).length;
    return bytes > ROWS_BYTES_MAX;
  });
  return fits === -1 ? [...rows] : rows.slice(0, fits);
}
