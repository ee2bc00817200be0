/**
 * actors: what the actors of each node do, its own and its application's: where each runs, what waits for it, how long a
 * message takes it. `--watch` draws it again and again.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { styleText } from 'node:util';
import type { Command } from 'commander';
import type { ActorRow, ActorsView, ActorState } from '../../client/types.ts';
import { isStoreError, StoreError } from '../../core/base/errors.ts';
import { decodeActorsView } from '../../core/wire/actors.ts';
import { type Terminal, wantsColour } from '../cluster/console.ts';
import { type Answered, askEach, type Unanswered, unreachable } from './ask-each.ts';
import type { Context, Run } from './context.ts';
import { parseDuration } from './duration.ts';

interface ActorsFlags {
  readonly node?: string;
  readonly url?: string;
  readonly watch?: boolean;
  readonly every: number;
  readonly kinds?: boolean;
}

type Answer = Answered<ActorsView> | Unanswered;

const EVERY_MS = 1_000;
/** To the corner, and nothing below it. */
const CLEAR = '\u001b[H\u001b[J';
const COLUMNS = 80;

export function registerActors(program: Command, run: Run): void {
  program
    .command('actors')
    .summary('what the actors of each node do')
    .description(
      `The node's own actors, then those of the application in its process: a tree, with
  waits     messages in the mailbox (frames in the rings of a node's own actor)
  full      how full the mailbox is, by whichever of its bounds is nearer
  handled   messages since the actor last started (turns, of a node's own actor)
  p99       99 in 100 took no longer, to a factor of two
Exit code 1 when no node answers, or none is called --node.`,
    )
    .option('--node <id>', 'only this node')
    .option('--url <url>', 'instead: the parts of the reflector whose --http this is, like http://127.0.0.1:7440')
    .option('--kinds', 'p99 of each kind of message, too')
    .option('--watch', 'draws it again and again; ends with Ctrl-C')
    .option('--every <duration>', 'how often --watch looks', parseDuration, EVERY_MS)
    .action((flags: ActorsFlags) => run((context) => actors(context, flags)));
}

async function actors(context: Context, flags: ActorsFlags): Promise<number> {
  const { signal, stdout } = context.deps;
  let code = 0;
  do {
    const answers = await look(context, flags);
    if (flags.watch === true && signal.aborted) break;
    code = answers.some((one) => one.ok) ? 0 : 1;
    if (context.json) await context.out.json({ nodes: answers.map(asJson) });
    else {
      const draws = flags.watch === true && stdout.isTTY === true;
      await context.out.bytes((draws ? CLEAR : '') + textOf(context, answers, flags));
      if (code === 1) context.note(silence(flags));
    }
    if (flags.watch !== true) break;
    await sleep(flags.every, undefined, { signal }).catch(() => {});
  } while (!signal.aborted);
  return code;
}

async function look(context: Context, { node, url }: ActorsFlags): Promise<Answer[]> {
  if (url !== undefined) return [await lookOverHttp(context, url)];
  const answers = await askEach(context, (client, call) => client.listActors(call));
  if (node === undefined) return answers;
  return answers.filter((one) => one.ok && one.value.node === node);
}

/** A reflector has no port for clients. */
async function lookOverHttp({ deps, deadlineMs }: Context, url: string): Promise<Answer> {
  const signal = AbortSignal.any([deps.signal, AbortSignal.timeout(deadlineMs)]);
  try {
    const response = await fetch(new URL('/debug/actors', url), { signal });
    if (!response.ok) throw new StoreError('UNAVAILABLE', `it answers ${response.status}`);
    return { endpoint: url, ok: true, value: decodeActorsView(new Uint8Array(await response.arrayBuffer())) };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return { endpoint: url, ok: false, code: isStoreError(error) ? error.code : 'UNAVAILABLE', reason };
  }
}

function silence({ node, url }: ActorsFlags): string {
  if (url !== undefined) return `kvctl: no reflector answers at ${url}; is it its --http?`;
  return node === undefined
    ? 'kvctl: no node answers; is the cluster up? see --endpoints'
    : `kvctl: no node that answers is called ${node}; see kvctl status`;
}

const asJson = (one: Answer): object =>
  one.ok ? { endpoint: one.endpoint, reachable: true, ...one.value } : unreachable(one);

function textOf(context: Context, answers: readonly Answer[], flags: ActorsFlags): string {
  const { stdout, env } = context.deps;
  const colour = wantsColour(stdout, env);
  const { columns: wide = 0 } = stdout as Terminal & { readonly columns?: number };
  // A terminal may not know how wide it is.
  const columns = wide > 0 ? wide : COLUMNS;
  const paint = (state: ActorState, text: string): string => {
    const wanted = COLOURS[state];
    return colour && wanted !== undefined ? styleText(wanted, text, { validateStream: false }) : text;
  };
  return answers
    .map((one) => {
      if (!one.ok) return `${one.endpoint}: unreachable (${one.code})\n`;
      return drawn(one.value, { columns, paint, withKinds: flags.kinds === true });
    })
    .join('\n');
}

const COLOURS: Partial<Record<ActorState, 'red' | 'yellow'>> = {
  stuck: 'red',
  'coming back': 'yellow',
  starting: 'yellow',
};

interface Drawing {
  readonly columns: number;
  readonly paint: (state: ActorState, text: string) => string;
  readonly withKinds: boolean;
}

const HEAD = ['thread', 'state', 'waits', 'full', 'handled', 'p99', 'restarts'];
const LEFT = new Set([0, 1]);
const GAP = 2;
const NAME_MIN = 12;

interface Line {
  readonly name: string;
  readonly cells: readonly string[];
  readonly state?: ActorState;
}

function drawn({ node, rows, leftOff, deadLetters }: ActorsView, { columns, paint, withKinds }: Drawing): string {
  const lines: Line[] = rows.flatMap((row) => [lineOf(row), ...(withKinds ? kindsOf(row) : [])]);
  const widths = HEAD.map((head, i) => Math.max(head.length, ...lines.map(({ cells }) => cells[i]?.length ?? 0)));
  const others = widths.reduce((sum, width) => sum + width + GAP, 0);
  const longest = Math.max(node.length, ...lines.map(({ name }) => name.length));
  const nameWidth = Math.max(NAME_MIN, Math.min(longest, columns - others));
  const draw = ({ name, cells, state }: Line): string => {
    const rest = widths.map((width, i) => {
      const cell = cells[i] ?? '';
      const padded = LEFT.has(i) ? cell.padEnd(width) : cell.padStart(width);
      return i === 1 && state !== undefined ? paint(state, padded) : padded;
    });
    return [cut(name, nameWidth).padEnd(nameWidth), ...rest].join(' '.repeat(GAP)).trimEnd();
  };
  const dead = Object.entries(deadLetters).filter(([, count]) => count > 0);
  return [
    draw({ name: node, cells: HEAD }),
    ...lines.map(draw),
    ...(leftOff > 0 ? [`${leftOff} more are not shown`] : []),
    ...(dead.length > 0 ? [`dead letters: ${dead.map(([reason, count]) => `${count} ${reason}`).join(', ')}`] : []),
    '',
  ].join('\n');
}

function lineOf(row: ActorRow): Line {
  const { part, path, name: what, thread, state, waits, fullness, handled, p99Ms, restarts, busyWith } = row;
  // The application's own begin where the slash is.
  const isTop = path.lastIndexOf('/') === 0 && part === 'application';
  const name = '  '.repeat(depthOf(row)) + (isTop ? path : path.slice(path.lastIndexOf('/') + 1));
  const shown = state === 'stuck' && busyWith !== undefined ? `stuck: ${busyWith.kind}` : state;
  const cells = [
    // A thread of its own is named for its actor.
    thread === path || (part === 'node' && thread === what) ? 'own' : thread,
    shown,
    showCount(waits),
    `${Math.ceil(fullness * 100)} %`,
    showCount(handled),
    p99Ms === null ? '-' : showTime(p99Ms),
    String(restarts),
  ];
  return { name, cells, state };
}

/** Of those shown: the node's own are all below one, who does nothing else. */
const depthOf = ({ path, part }: ActorRow): number => path.split('/').length - (part === 'node' ? 2 : 1);

function kindsOf(row: ActorRow): Line[] {
  const indent = '  '.repeat(depthOf(row) + 2);
  return row.kinds.map(({ kind, p99Ms }) => ({
    name: `${indent}${kind}`,
    cells: ['', '', '', '', '', showTime(p99Ms)],
  }));
}

const cut = (text: string, width: number): string => (text.length <= width ? text : `${text.slice(0, width - 1)}…`);

/** 999, 12.3 k, 4.57 M: three digits. */
export function showCount(count: number): string {
  if (count < 1_000) return String(count);
  const units = ['k', 'M', 'G', 'T'];
  let value = count;
  let unit = -1;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1_000;
    unit++;
  }
  return `${threeDigits(value)} ${units[unit]}`;
}

/** 1 µs, 2.05 ms, 1.05 s. */
export function showTime(ms: number): string {
  if (ms < 1) return `${threeDigits(ms * 1_000)} µs`;
  return ms < 1_000 ? `${threeDigits(ms)} ms` : `${threeDigits(ms / 1_000)} s`;
}

const threeDigits = (value: number): string => String(Number(value.toPrecision(3)));
