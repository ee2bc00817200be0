/**
 * Asker: who waits for an ask: the actor whose handler asked, for which message, and who waits for that one in turn. When
 * such a line comes back to an actor that is still at the message in it, everybody in it waits for everybody: the last ask
 * is refused, where all others would have ended at their deadlines.
 *
 * Who asks is known without a word while a handler has not yet given its promise; after that only if the ask says so
 * (`from: ctx`): which actor goes on after an `await`, nobody can see for nothing.
 *
 * Bound: ASKERS_MAX in a line; of a longer one the beginning is forgotten.
 */
import { StoreError } from '../../../core/base/errors.ts';

/** One who waits. */
export interface Asker {
  readonly id: number;
  readonly path: string;
  /** Which of its messages it has in hand. */
  readonly turn: number;
  /** Who waits for it. */
  readonly earlier: Asker | undefined;
  /** How many wait, this one included. */
  readonly length: number;
}

const ASKERS_MAX = 32;

export function asker(who: Pick<Asker, 'id' | 'path' | 'turn'>, earlier: Asker | undefined): Asker {
  const { id, path, turn } = who;
  const kept = earlier === undefined || earlier.length >= ASKERS_MAX ? undefined : earlier;
  return { id, path, turn, earlier: kept, length: (kept?.length ?? 0) + 1 };
}

/** Whether actor `id` waits in this line, with the message that it has in hand. */
export function waitsIn(line: Asker | undefined, id: number, turn: number): boolean {
  for (let at = line; at !== undefined; at = at.earlier) if (at.id === id && at.turn === turn) return true;
  return false;
}

/** Names all that wait, from `path` on and back to it. */
export function askCycle(line: Asker, path: string): StoreError {
  const paths = [path];
  for (let at: Asker | undefined = line; at !== undefined; at = at.earlier) {
    paths.unshift(at.path);
    if (at.path === path) break;
  }
  return new StoreError('ASK_CYCLE', `they would wait for each other: ${paths.join(' → ')}`, { data: { paths } });
}

/** For another thread: one flat list. */
export function plainAskers(line: Asker): (number | string)[] {
  const plain: (number | string)[] = [];
  for (let at: Asker | undefined = line; at !== undefined; at = at.earlier) plain.push(at.id, at.path, at.turn);
  return plain;
}

export function askersFrom(plain: readonly (number | string)[]): Asker | undefined {
  let line: Asker | undefined;
  for (let at = plain.length - 3; at >= 0; at -= 3) {
    line = asker({ id: plain[at] as number, path: plain[at + 1] as string, turn: plain[at + 2] as number }, line);
  }
  return line;
}
