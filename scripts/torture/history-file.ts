/**
 * The history as a file: written while it happens, read again as anybody else would read it, and judged.
 *
 * It is written with its own buffer and one call per buffer, so that a run that ends badly loses little and one that
 * ends well nothing.
 */
import { closeSync, createReadStream, mkdirSync, openSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import {
  checkListAppend,
  type History,
  type HistoryEvent,
  HistoryParser,
  linearizabilitySteps,
} from '../../src/testing/index.ts';

const BUFFER_CHARACTERS = 64 * 1024;
const PROGRESS_EVERY_MS = 5_000;

export class HistoryFile {
  readonly path: string;
  readonly #fd: number;
  #lines: string[] = [];
  #length = 0;
  #isClosed = false;

  constructor(path: string) {
    this.path = path;
    mkdirSync(dirname(path), { recursive: true });
    this.#fd = openSync(path, 'w');
  }

  write(event: HistoryEvent): void {
    if (this.#isClosed) return;
    const line = JSON.stringify(event);
    this.#lines.push(line);
    this.#length += line.length + 1;
    if (this.#length >= BUFFER_CHARACTERS) this.#flush();
  }

  close(): void {
    if (this.#isClosed) return;
    this.#flush();
    this.#isClosed = true;
    closeSync(this.#fd);
  }

  #flush(): void {
    if (this.#lines.length > 0) writeSync(this.#fd, `${this.#lines.join('\n')}\n`);
    this.#lines = [];
    this.#length = 0;
  }
}

export interface Judgement {
  readonly verdict: 'ok' | 'violation' | 'unknown';
  /** Who says so, of what, and on a violation the smallest window. */
  readonly text: string;
}

export async function readHistory(path: string): Promise<History> {
  const parser = new HistoryParser();
  for await (const part of createReadStream(path, 'utf8')) parser.push(part as string);
  return parser.end();
}

const ANOMALIES_SHOWN_MAX = 3;
/** As `parts` have it: canonical JSON. */
const LIST_KEY = '"l/';

/** Both checkers; the worse verdict counts. */
export async function judge(history: History, progress: (text: string) => void): Promise<readonly Judgement[]> {
  return [await judgeLinearizable(history, progress), judgeLists(history)];
}

/** The lists once more, by another method: cycles of transactions, which says what kind of anomaly it is. */
function judgeLists({ operations, events }: History): Judgement {
  const onLists = operations.filter(({ parts }) => parts.every(({ key }) => key.startsWith(LIST_KEY)));
  const { verdict, checkedOps, keys, reason, anomalies } = checkListAppend({ operations: onLists, events });
  const subject = `${checkedOps} transactions on ${keys} lists`;
  if (verdict === 'ok') return { verdict, text: `${subject} are strictly serializable` };
  if (verdict === 'unknown') return { verdict, text: `${subject}: not decided: ${reason ?? ''}` };
  const shown = anomalies.slice(0, ANOMALIES_SHOWN_MAX).map(({ kind, text }) => `${kind}: ${text}`);
  return { verdict, text: `${subject} are NOT strictly serializable\n${shown.join('\n')}` };
}

/** The verdict of several. */
export function worst(judgements: readonly Judgement[]): Judgement['verdict'] {
  const has = (verdict: Judgement['verdict']): boolean => judgements.some((one) => one.verdict === verdict);
  return has('violation') ? 'violation' : has('unknown') ? 'unknown' : 'ok';
}

/** Registers, lists and transactions: is there an order of all of them that explains what was read? */
async function judgeLinearizable(history: History, progress: (text: string) => void): Promise<Judgement> {
  const steps = linearizabilitySteps(history);
  let toldMs = performance.now();
  for (;;) {
    const step = steps.next();
    if (step.done !== true) {
      if (performance.now() - toldMs < PROGRESS_EVERY_MS) continue;
      toldMs = performance.now();
      progress(`linearizability: ${step.value.done} of ${step.value.total} operations`);
      await turn();
      continue;
    }
    const { verdict, checkedOps, keys, reason, violation } = step.value;
    const subject = `${checkedOps} operations on ${keys} keys`;
    if (verdict === 'ok') return { verdict, text: `${subject} are linearizable` };
    if (verdict === 'unknown') return { verdict, text: `${subject}: not decided: ${reason ?? ''}` };
    return { verdict, text: `${subject} are NOT linearizable\n${violation?.text ?? ''}` };
  }
}
