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
  /** Of another node: the life of its actors that `id` is of; '': of this one. */
  readonly boot: string;
  readonly id: number;
  readonly path: string;
  /** Which of its messages it has in hand. */
  readonly turn: number;
  /** Who waits for it. */
  readonly earlier: Asker | undefined;
  /** How many wait, this one included. */
  readonly length: number;
}

export const ASKERS_MAX = 32;

export function asker(who: Pick<Asker, 'boot' | 'id' | 'path' | 'turn'>, earlier: Asker | undefined): Asker {
  const { boot, id, path, turn } = who;
  const kept = earlier === undefined || earlier.length >= ASKERS_MAX ? undefined : earlier;
  return { boot, id, path, turn, earlier: kept, length: (kept?.length ?? 0) + 1 };
}

/** Whether actor `id` of this node waits in this line, with the message that it has in hand. */
export function waitsIn(line: Asker | undefined, id: number, turn: number): boolean {
  for (let at = line; at !== undefined; at = at.earlier) {
    if (at.id === id && at.turn === turn && at.boot === '') return true;
  }
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
  for (let at: Asker | undefined = line; at !== undefined; at = at.earlier)
    plain.push(at.boot, at.id, at.path, at.turn);
  return plain;
}

export function askersFrom(plain: readonly (number | string)[]): Asker | undefined {
  let line: Asker | undefined;
  for (let at = plain.length - 4; at >= 0; at -= 4) {
    const [boot, id, path, turn] = plain.slice(at) as [string, number, string, number];
    line = asker({ boot, id, path, turn }, line);
  }
  return line;
}
