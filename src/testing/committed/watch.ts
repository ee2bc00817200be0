/**
 * What a watcher saw, against the committed log. The promises are etcd's six:
 *
 *   Ordered       events come in the order of the log
 *   Unique        and each once
 *   Reliable      none is left out between two that came
 *   Atomic        a revision comes whole
 *   Resumable     after a start at a revision comes all from there, and nothing older
 *   Bookmarkable  a progress mark at a revision means that everything up to it has come
 *
 * An event that is not there may only be late. So it is called missing where that is certain: at a progress mark, when
 * the watch is started again, and at the end; when it does come meanwhile, it is out of order.
 */
import {
  type Breach,
  type Change,
  type CommittedLog,
  firstAfter,
  isSameChange,
  type ObservationResult,
  resultOf,
  showChange,
} from './log.ts';

export type WatchObservation =
  /** A watch begins; without `from`, at whatever comes first. */
  | { readonly kind: 'start'; readonly from?: number }
  /** It goes on after a lost connection: it has what is before `from`, and what is not before may come again. */
  | { readonly kind: 'resume'; readonly from: number }
  /** `isLast`: said to be the last event of its revision. */
  | { readonly kind: 'event'; readonly revision: number; readonly change: Change; readonly isLast?: boolean }
  | { readonly kind: 'progress'; readonly revision: number }
  /** The watch ended because what it wanted is gone; `oldest` is what is still there. */
  | { readonly kind: 'compacted'; readonly oldest: number };

export interface WatchCheckOptions {
  /** What is watched: this key, or all that begin so; all keys by default. */
  readonly key?: string;
  readonly prefix?: string;
  /** At the end everything up to this revision must have come. */
  readonly upTo?: number;
}

interface Due {
  readonly revision: number;
  readonly change: Change;
  readonly isLast: boolean;
}

export function checkWatch(
  log: CommittedLog,
  observations: Iterable<WatchObservation>,
  options: WatchCheckOptions = {},
): ObservationResult {
  const watch = new Watch(log, options);
  let at = 0;
  for (const observation of observations) watch.observe(observation, at++);
  watch.end(at, options.upTo);
  return resultOf(watch.checked, watch.breaches, 'no event and no progress mark came');
}

class Watch {
  readonly breaches: Breach[] = [];
  checked = 0;
  readonly #log: CommittedLog;
  readonly #isWatched: (key: string) => boolean;
  /** All events of the log that are to come, in order. */
  readonly #due: Due[];
  /** Place of the event that should be next; undefined where a watch may begin anywhere. */
  #next: number | undefined;
  #from: number | undefined;
  /** Since the last start: places that came, and places that were passed over, with the promise that it breaks. */
  readonly #came = new Set<number>();
  readonly #passed = new Map<number, { readonly at: number; readonly guarantee: Breach['guarantee'] }>();
  #progress = Number.NEGATIVE_INFINITY;

  constructor(log: CommittedLog, { key, prefix = '' }: WatchCheckOptions) {
    this.#log = log;
    this.#isWatched = (name) => (key === undefined ? name.startsWith(prefix) : name === key);
    this.#due = log.revisions.flatMap(({ revision, changes }) => {
      const own = changes.filter((change) => this.#isWatched(change.key));
      return own.map((change, i) => ({ revision, change, isLast: i === own.length - 1 }));
    });
  }

  observe(observation: WatchObservation, at: number): void {
    switch (observation.kind) {
      case 'start':
        this.#reportPassed();
        this.#came.clear();
        this.#from = observation.from;
        this.#next = observation.from === undefined ? undefined : firstAfter(this.#due, observation.from - 1);
        this.#progress = Number.NEGATIVE_INFINITY;
        return;
      case 'resume':
        this.#resume(observation.from, at);
        return;
      case 'event':
        this.checked++;
        this.#event(observation, at);
        return;
      case 'progress':
        this.checked++;
        this.#mark(observation.revision, at);
        return;
      case 'compacted':
        this.#reportPassed();
        if (this.#from !== undefined && this.#came.size === 0 && this.#from >= observation.oldest) {
          this.#breach('Resumable', at, `refused from ${this.#from}, though ${observation.oldest} and later are there`);
        }
        this.#next = undefined;
        return;
    }
  }

  end(at: number, upTo: number | undefined): void {
    this.#reportPassed();
    if (upTo === undefined) return;
    const next = this.#next ?? this.#due.length;
    const missing = this.#due.slice(next).filter(({ revision }) => revision <= upTo);
    const [first] = missing;
    if (first === undefined) return;
    const isBegun = this.#due[next - 1]?.revision === first.revision && this.#came.has(next - 1);
    this.#breach(isBegun ? 'Atomic' : 'Reliable', at, `${missing.length} events never came, first ${tell(first)}`);
  }

  #resume(from: number, at: number): void {
    const begin = firstAfter(this.#due, from - 1);
    for (let place = this.#next ?? begin; place < begin; place++)
      this.#passed.set(place, { at, guarantee: 'Resumable' });
    for (const place of this.#passed.keys()) if (place >= begin) this.#passed.delete(place);
    this.#reportPassed();
    this.#came.clear();
    this.#from = from;
    this.#next = begin;
  }

  #event({ revision, change, isLast }: Extract<WatchObservation, { kind: 'event' }>, at: number): void {
    const place = this.#placeOf(revision, change);
    if (place === undefined) {
      const isElse = revision <= this.#log.last && !this.#isWatched(change.key);
      const why = isElse ? 'is not of what is watched' : 'was never committed so';
      this.#breach('Faithful', at, `${tell({ revision, change })} ${why}`);
      return;
    }
    const due = this.#due[place];
    const next = this.#next ?? firstAfter(this.#due, revision - 1);
    this.#next = Math.max(next, place + 1);
    if (place < next) {
      this.#lateOrTwice(place, revision, change, at);
    } else {
      const isFirst = this.#came.size === 0 && this.#from !== undefined;
      for (let i = next; i < place; i++) {
        const other = this.#due[i]?.revision;
        const isPart = other === revision || (other === this.#due[next - 1]?.revision && this.#came.has(next - 1));
        this.#passed.set(i, { at, guarantee: isPart ? 'Atomic' : isFirst ? 'Resumable' : 'Reliable' });
      }
    }
    this.#came.add(place);
    if (isLast !== undefined && due !== undefined && isLast !== due.isLast) {
      const what = isLast ? 'is called the last of its revision, and there is more' : 'is the last, and not called so';
      this.#breach('Atomic', at, `${tell({ revision, change })} ${what}`);
    }
  }

  /** An event that is before the one that should be next. */
  #lateOrTwice(place: number, revision: number, change: Change, at: number): void {
    const what = tell({ revision, change });
    if (this.#came.has(place)) this.#breach('Unique', at, `${what} came before`);
    else if (this.#from !== undefined && revision < this.#from) {
      this.#breach('Resumable', at, `${what} is older than ${this.#from}, where the watch began`);
    } else if (revision <= this.#progress) {
      this.#breach('Bookmarkable', at, `${what} came after the progress mark at ${this.#progress}`);
    } else {
      this.#breach('Ordered', at, `${what} came after later ones`);
    }
    this.#passed.delete(place);
  }

  #mark(revision: number, at: number): void {
    if (revision > this.#log.last) this.#breach('Bookmarkable', at, `progress at ${revision}, which is not committed`);
    if (revision < this.#progress) this.#breach('Bookmarkable', at, `progress at ${revision} after ${this.#progress}`);
    const upTo = firstAfter(this.#due, revision);
    for (let place = this.#next ?? upTo; place < upTo; place++)
      this.#passed.set(place, { at, guarantee: 'Bookmarkable' });
    for (const [place, { guarantee }] of this.#passed) {
      const due = this.#due[place];
      if (due === undefined || place >= upTo) continue;
      this.#passed.delete(place);
      const isSaid = guarantee === 'Bookmarkable' ? '' : ` (${guarantee}: it was passed over)`;
      this.#breach('Bookmarkable', at, `progress at ${revision}, and ${tell(due)} has not come${isSaid}`);
    }
    this.#next = Math.max(this.#next ?? 0, upTo);
    this.#progress = Math.max(this.#progress, revision);
  }

  #reportPassed(): void {
    for (const [place, { at, guarantee }] of this.#passed) {
      const due = this.#due[place];
      if (due !== undefined) this.#breach(guarantee, at, `${tell(due)} was passed over`);
    }
    this.#passed.clear();
  }

  /** Of several like changes in a revision, the first that has not come. */
  #placeOf(revision: number, change: Change): number | undefined {
    let found: number | undefined;
    for (let place = firstAfter(this.#due, revision - 1); this.#due[place]?.revision === revision; place++) {
      const due = this.#due[place];
      if (due === undefined || !isSameChange(due.change, change)) continue;
      if (!this.#came.has(place)) return place;
      found ??= place;
    }
    return found;
  }

  #breach(guarantee: Breach['guarantee'], at: number, text: string): void {
    this.breaches.push({ guarantee, at, text });
  }
}

function tell({ revision, change }: { readonly revision: number; readonly change: Change }): string {
  return `revision ${revision}: ${showChange(change)}`;
}
