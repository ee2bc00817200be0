/**
 * The parser of histories: text in pieces of any size, or events, to operations; and the judge of what is none.
 *
 * It is strict. A checker believes its input: an event that is taken for another, or left out, becomes a wrong verdict
 * about a store, so every doubt is an error (BAD_REQUEST) that names the line. What is not in the format (`index`,
 * `error`, …) is passed over.
 *
 * Invariants:
 *  - A process has at most one operation open.
 *  - A process whose operation ended with `info` never comes again.
 */
import { StoreError } from '../../core/base/errors.ts';
import { canonical, isList, type Json, show } from './json.ts';
import { completedParts, invokedParts } from './parts.ts';
import {
  EVENT_FUNCTIONS,
  EVENT_TYPES,
  type EventFunction,
  type EventType,
  type History,
  type HistoryEvent,
  type Moment,
  type Operation,
  type Part,
} from './types.ts';

export interface ParserOptions {
  /** More events than this are refused: a history lies in memory whole. Default 10 million. */
  readonly eventsMax?: number;
}

const EVENTS_MAX = 10_000_000;
const LINE_CHARACTERS_MAX = 16 * 1024 * 1024;

interface Open {
  readonly index: number;
  readonly f: EventFunction;
  readonly key: Json | undefined;
  readonly value: Json | undefined;
  readonly parts: readonly Part[];
  readonly call: Moment;
}

type Fields = Readonly<Record<string, Json | undefined>>;

export class HistoryParser {
  readonly #eventsMax: number;
  readonly #operations: (Operation | undefined)[] = [];
  readonly #open = new Map<number, Open>();
  readonly #retired = new Set<number>();
  #rest = '';
  #line = 0;
  #events = 0;
  #time: number | undefined;

  constructor(options: ParserOptions = {}) {
    this.#eventsMax = options.eventsMax ?? EVENTS_MAX;
  }

  get events(): number {
    return this.#events;
  }

  /** Takes a piece of text; it may end anywhere. */
  push(text: string): void {
    let from = 0;
    for (let to = text.indexOf('\n'); to >= 0; to = text.indexOf('\n', from)) {
      const line = this.#rest + text.slice(from, to);
      this.#rest = '';
      from = to + 1;
      this.#takeLine(line);
    }
    this.#rest += text.slice(from);
    if (this.#rest.length > LINE_CHARACTERS_MAX) {
      this.#line++;
      this.#refuse(`is longer than ${LINE_CHARACTERS_MAX} characters`);
    }
  }

  /** Takes one event. */
  event(event: HistoryEvent): void {
    this.#line++;
    this.#take(event as unknown as Fields);
  }

  /** The history; what is still open has no known outcome. */
  end(): History {
    if (this.#rest.trim() !== '') this.#takeLine(this.#rest);
    this.#rest = '';
    for (const [process, open] of this.#open) this.#close(process, open, 'unknown', undefined, open.parts);
    this.#open.clear();
    return { operations: this.#operations.filter((operation) => operation !== undefined), events: this.#events };
  }

  #takeLine(line: string): void {
    this.#line++;
    if (line.trim() === '') return;
    let value: unknown;
    try {
      value = JSON.parse(line);
    } catch (cause) {
      this.#refuse(`is no JSON: ${(cause as Error).message}`);
    }
    if (typeof value !== 'object' || value === null || Array.isArray(value)) this.#refuse('is no JSON object');
    this.#take(value as Fields);
  }

  #take(fields: Fields): void {
    if (this.#events >= this.#eventsMax) this.#refuse(`is one event too many: at most ${this.#eventsMax} are taken`);
    const process = this.#process(fields['process']);
    const type = this.#oneOf<EventType>('type', fields['type'], EVENT_TYPES);
    const f = this.#oneOf<EventFunction>('f', fields['f'], EVENT_FUNCTIONS);
    const moment: Moment = { at: this.#events, line: this.#line, time: this.#checkTime(fields['time']) };
    if (type === 'invoke') this.#invoke(process, f, fields, moment);
    else this.#complete({ process, type, f }, fields, moment);
    this.#events++;
  }

  #invoke(process: number, f: EventFunction, { key, value }: Fields, call: Moment): void {
    const open = this.#open.get(process);
    if (open !== undefined) {
      this.#refuse(`invokes while process ${process} has an operation open, of line ${open.call.line}`);
    }
    if (this.#retired.has(process)) {
      this.#refuse(`invokes with process ${process}, which ended with info: its operation may still be under way`);
    }
    const parts = this.#try(() => invokedParts(f, key, value));
    this.#open.set(process, { index: this.#operations.length, f, key, value, parts, call });
    this.#operations.push(undefined);
  }

  #complete(
    { process, type, f }: { process: number; type: Exclude<EventType, 'invoke'>; f: EventFunction },
    { key, value }: Fields,
    end: Moment,
  ): void {
    const open = this.#open.get(process);
    if (open === undefined) this.#refuse(`ends an operation of process ${process}, which has none open`);
    const began = `which began in line ${open.call.line}`;
    if (open.f !== f) this.#refuse(`ends a ${f} where process ${process} has a ${open.f} open, ${began}`);
    if (key !== undefined && open.key !== undefined && canonical(key) !== canonical(open.key)) {
      this.#refuse(`has key ${show(key)}; the operation, ${began}, has ${show(open.key)}`);
    }
    const parts = type === 'ok' ? this.#try(() => completedParts(open.f, open.parts, value)) : open.parts;
    this.#open.delete(process);
    if (type === 'info') this.#retired.add(process);
    this.#close(process, open, type === 'info' ? 'unknown' : type, type === 'info' ? undefined : end, parts);
  }

  #close(
    process: number,
    open: Open,
    outcome: Operation['outcome'],
    end: Moment | undefined,
    parts: readonly Part[],
  ): void {
    const { index, f, call } = open;
    this.#operations[index] = { index, process, f, parts, outcome, call, end };
  }

  #process(value: Json | undefined): number {
    if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) {
      this.#refuse(`has no process: it must be a whole number, 0 or more, and is ${shown(value)}`);
    }
    return value;
  }

  #oneOf<T extends string>(name: string, value: Json | undefined, allowed: readonly T[]): T {
    const found = allowed.find((one) => one === value);
    if (found === undefined) this.#refuse(`has an unknown ${name}: ${shown(value)} (known are ${allowed.join(', ')})`);
    return found;
  }

  #checkTime(time: Json | undefined): number | undefined {
    if (time === undefined || time === null) return undefined;
    if (typeof time !== 'number') this.#refuse(`has a time that is no number: ${shown(time)}`);
    if (this.#time !== undefined && time < this.#time) {
      this.#refuse(
        `goes back in time, from ${this.#time} to ${time}: events stand in the order in which they happened`,
      );
    }
    this.#time = time;
    return time;
  }

  #try<T>(make: () => T): T {
    try {
      return make();
    } catch (error) {
      if (error instanceof RangeError) this.#refuse(error.message);
      throw error;
    }
  }

  #refuse(what: string): never {
    throw new StoreError('BAD_REQUEST', `history: line ${this.#line} ${what}`, { data: { line: this.#line } });
  }
}

function shown(value: Json | undefined): string {
  if (value === undefined) return 'missing';
  return isList(value) || typeof value === 'object' ? show(value) : JSON.stringify(value);
}

/** A history from its text, or from events. */
export function parseHistory(input: string | Iterable<HistoryEvent>, options: ParserOptions = {}): History {
  const parser = new HistoryParser(options);
  if (typeof input === 'string') parser.push(input);
  else for (const event of input) parser.event(event);
  return parser.end();
}
