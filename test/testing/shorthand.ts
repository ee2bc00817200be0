/** Histories in one line an operation, for tests. */
import { type History, type HistoryEvent, type Json, parseHistory } from '../../src/testing/index.ts';

/** Process, begin, end, what; without an end its outcome is unknown. */
export type Line = readonly [process: number, from: number, to: number | undefined, what: string];

/** `w1`, `r1`, `r-` (nothing there), `c1>2`, `a1` (append), `l1,2` (read of a list); `y:w1` for another key than x. */
export function historyOf(lines: readonly Line[]): History {
  const events = lines.flatMap(([process, from, to, what]) => {
    const { f, key, asked, told } = meaning(what);
    const base = { process, f, key };
    const invoke: HistoryEvent = { ...base, type: 'invoke', value: asked };
    const end: HistoryEvent = { ...base, type: 'ok', value: told };
    return [{ at: from, event: invoke }, ...(to === undefined ? [] : [{ at: to, event: end }])];
  });
  return parseHistory(events.sort((x, y) => x.at - y.at).map(({ event }) => event));
}

function meaning(text: string): { f: HistoryEvent['f']; key: string; asked: Json; told: Json } {
  const [, key = 'x', kind = '', rest = ''] = /^(?:(\w+):)?([wrcal])(.*)$/.exec(text) ?? [];
  const list = rest
    .split(/[>,]/)
    .filter((one) => one !== '')
    .map(Number);
  const value = rest === '-' ? null : Number(rest);
  if (kind === 'r') return { f: 'read', key, asked: null, told: value };
  if (kind === 'l') return { f: 'read', key, asked: null, told: list };
  if (kind === 'c') return { f: 'cas', key, asked: list, told: list };
  return { f: kind === 'w' ? 'write' : 'append', key, asked: value, told: value };
}
