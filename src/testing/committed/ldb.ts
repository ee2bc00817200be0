/**
 * What a replica did and what its readers saw, against the committed log. The same promises, as a replica keeps them:
 *
 *   Ordered       its revision never goes back, in itself and in the eyes of one reader
 *   Unique        a record is applied once
 *   Reliable      and none is left out
 *   Atomic        a revision is there whole, or not at all
 *   Resumable     after a restart it is where it was, or later
 *   Bookmarkable  its rows are those of the revision that it names, and not of a later one
 */
import {
  type Breach,
  type Change,
  type CommittedLog,
  isSameChange,
  type ObservationResult,
  resultOf,
  showChange,
} from './log.ts';

export type LdbObservation =
  /** It was opened, and says that it holds this revision. */
  | { readonly kind: 'opened'; readonly revision: number }
  /** A record was applied; revisions without changes are records too. */
  | { readonly kind: 'applied'; readonly revision: number; readonly changes?: readonly Change[] }
  /** The whole state of a revision took the place of what was there. */
  | { readonly kind: 'snapshot'; readonly revision: number }
  /** A reader found this, while the replica said that it holds `revision`; undefined: not there. */
  | {
      readonly kind: 'read';
      readonly reader?: string;
      readonly revision: number;
      readonly key: string;
      readonly value: string | undefined;
    }
  /** All rows, at a revision. */
  | {
      readonly kind: 'state';
      readonly reader?: string;
      readonly revision: number;
      readonly rows: ReadonlyMap<string, string>;
    };

export function checkLdb(log: CommittedLog, observations: Iterable<LdbObservation>): ObservationResult {
  const replica = new Replica(log);
  let at = 0;
  for (const observation of observations) replica.observe(observation, at++);
  return resultOf(at, replica.breaches, 'nothing was observed');
}

class Replica {
  readonly breaches: Breach[] = [];
  readonly #log: CommittedLog;
  #position: number | undefined;
  readonly #readers = new Map<string, number>();

  constructor(log: CommittedLog) {
    this.#log = log;
  }

  observe(observation: LdbObservation, at: number): void {
    const { kind, revision } = observation;
    if (revision > this.#log.last) this.#breach('Faithful', at, `revision ${revision} is not committed`);
    switch (kind) {
      case 'opened':
        if (this.#position !== undefined && revision < this.#position) {
          this.#breach('Resumable', at, `opened at ${revision}; it had been at ${this.#position}`);
        }
        this.#position = revision;
        return;
      case 'applied':
        this.#applied(revision, observation.changes, at);
        return;
      case 'snapshot':
        if (this.#position !== undefined && revision < this.#position) {
          this.#breach('Ordered', at, `a snapshot of ${revision} took the place of ${this.#position}`);
        }
        this.#position = revision;
        return;
      case 'read':
        this.#readAt(observation.reader, revision, at);
        this.#row(revision, observation.key, observation.value, at);
        return;
      case 'state':
        this.#readAt(observation.reader, revision, at);
        this.#rows(revision, observation.rows, at);
        return;
    }
  }

  #applied(revision: number, changes: readonly Change[] | undefined, at: number): void {
    const position = this.#position;
    if (position !== undefined && revision <= position) {
      this.#breach('Unique', at, `revision ${revision} was applied at ${position}`);
      return;
    }
    const next = position === undefined ? undefined : this.#log.after(position);
    if (next !== undefined && revision > next.revision) {
      this.#breach('Reliable', at, `revision ${revision} was applied after ${position}; ${next.revision} was left out`);
    }
    this.#position = revision;
    if (changes === undefined) return;
    const committed = this.#log.after(revision - 1);
    const all = committed?.revision === revision ? committed.changes : [];
    const strange = changes.find((change) => !all.some((one) => isSameChange(one, change)));
    if (strange !== undefined) {
      this.#breach('Faithful', at, `revision ${revision} was applied with ${showChange(strange)}, which is not its`);
    } else if (changes.length !== all.length) {
      this.#breach('Atomic', at, `revision ${revision} was applied with ${changes.length} of ${all.length} changes`);
    } else if (!changes.every((change, i) => isSameChange(change, all[i] ?? change))) {
      this.#breach('Ordered', at, `the changes of revision ${revision} were applied in another order`);
    }
  }

  #readAt(reader = '', revision: number, at: number): void {
    const before = this.#readers.get(reader);
    if (before !== undefined && revision < before) {
      this.#breach('Ordered', at, `a reader saw revision ${revision} after ${before}`);
    }
    this.#readers.set(reader, revision);
  }

  #row(revision: number, key: string, value: string | undefined, at: number): void {
    if (this.#log.valueAt(key, revision) === value) return;
    const what = `at revision ${revision} ${key} was ${value ?? 'absent'}, not ${this.#log.valueAt(key, revision) ?? 'absent'}`;
    const ranges = [...this.#log.when(key, value)];
    if (ranges.some(({ to }) => to <= revision)) this.#breach('Reliable', at, `${what}: a change is missing`);
    else if (ranges.length > 0) this.#breach('Bookmarkable', at, `${what}: a row is ahead of the revision`);
    else this.#breach('Faithful', at, `${what}: nobody ever wrote that`);
  }

  #rows(revision: number, rows: ReadonlyMap<string, string>, at: number): void {
    const keys = new Set([...this.#log.keys(), ...rows.keys()]);
    const wrong = [...keys].filter((key) => this.#log.valueAt(key, revision) !== rows.get(key));
    const [first] = wrong;
    if (first === undefined) return;
    // Of which revision are these rows? Each wrong row says of which it can be; if all agree, the position is wrong.
    const other = this.#log.revisions.find(({ revision: one }) => isStateAt(this.#log, rows, keys, one))?.revision;
    const what =
      `the state at revision ${revision} has ${first} = ${rows.get(first) ?? 'nothing'}, ` +
      `not ${this.#log.valueAt(first, revision) ?? 'nothing'} (${wrong.length} rows are wrong)`;
    const isStrange = wrong.some((key) => this.#log.when(key, rows.get(key)).next().done === true);
    if (isStrange) this.#breach('Faithful', at, `${what}: nobody ever wrote that`);
    else if (other === undefined) this.#breach('Atomic', at, `${what}: it is of no one revision`);
    else if (other < revision) this.#breach('Reliable', at, `${what}: it is the state of revision ${other}`);
    else this.#breach('Bookmarkable', at, `${what}: it is the state of revision ${other}`);
  }

  #breach(guarantee: Breach['guarantee'], at: number, text: string): void {
    this.breaches.push({ guarantee, at, text });
  }
}

function isStateAt(
  log: CommittedLog,
  rows: ReadonlyMap<string, string>,
  keys: Iterable<string>,
  revision: number,
): boolean {
  for (const key of keys) if (log.valueAt(key, revision) !== rows.get(key)) return false;
  return true;
}
