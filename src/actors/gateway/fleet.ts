/**
 * Fleet: what this node knows of the LDBs that it feeds, and what the cluster knows of all of them.
 *
 * A question (who is there; does a share of them show this revision?) is put to all nodes in *rounds*: each says, from
 * memory, how many it feeds, how many of them are behind, and who. Nothing is kept at the nodes that are asked, so nothing
 * is left behind there when a question ends. One round is under way at a time and carries all questions; while somebody
 * waits there is one after the other. An LDB reports now and then by itself; for a question it is asked to report as soon
 * as it shows the revision.
 *
 * What counts: LDBs that are connected, and those that left less than GONE_MS ago and are found nowhere else: those do
 * not show it. A node that does not answer is waited for as long as it may feed LDBs: until it has been away for GONE_MS.
 * Till then what it feeds is not known, and no share of it either. LDBs that a relay had no room to name do not show it.
 *
 * Bounds: questions; each its time. A round ends with its last answer, or after ROUND_MS.
 */
import { type ByteReader, ByteWriter } from '../../core/base/bytes.ts';
import { StoreError } from '../../core/base/errors.ts';
import {
  decodeFleetAnswer,
  decodeFleetAsk,
  decodeFleetPeers,
  decodeFleetRequest,
  encodeFleet,
  type FleetAnswer,
  type FleetAsk,
  type FleetRequest,
  type FleetView,
  type FleetVisibility,
  type LdbRow,
  SOUGHT_MAX,
} from '../../core/wire/fleet.ts';
import { answerFleet, GONE_MS } from '../fleet-table.ts';
import { TO_REPLICATION } from '../messages.ts';
import type { Bell } from '../runtime/bell.ts';
import type { RingWriter } from '../runtime/ring.ts';
import type { Connection } from './connection.ts';
import { FleetStreams } from './fleet-streams.ts';

export interface FleetWorld {
  readonly node: string;
  readonly outbox: RingWriter;
  readonly replication: Bell;
  readonly applied: () => number;
  readonly timeMs: () => number;
  readonly monotonicMs: () => number;
}

interface Question {
  readonly connection: Connection;
  readonly request: number;
  readonly asked: FleetRequest;
  readonly untilMs: number;
  /** The first round that was begun after it came. */
  readonly round: number;
  /** As of the last round. */
  seen: FleetVisibility | undefined;
}

interface Round {
  readonly id: number;
  readonly ask: FleetAsk;
  readonly untilMs: number;
  /** Peers that may feed LDBs and have not answered; undefined until replication has named them. */
  waits: Set<string> | undefined;
  /** Those that cannot be asked. */
  away: readonly string[];
  readonly answers: Map<string, FleetAnswer>;
}

const QUESTIONS_MAX = 256;
const ROUND_MS = 1_000;
/** A request that is past its deadline is answered by nobody: its own answer comes this much before. */
const TELL_MS = 50;
const MISSING_MAX = 20;

export class Fleet {
  readonly #world: FleetWorld;
  readonly streams: FleetStreams;
  #questions: Question[] = [];
  #round: Round | undefined;
  #nextRound: number;
  #sought: readonly string[] = [];

  constructor(world: FleetWorld & { readonly origin: number }) {
    this.#world = world;
    this.#nextRound = world.origin >>> 0;
    this.streams = new FleetStreams({ via: world.node, nowMs: world.monotonicMs });
  }

  get underWay(): number {
    return this.#questions.length;
  }

  // ── questions ─────────────────────────────────────────────────────────────────────────────────────────────

  /** Takes a client's question; throws the typed error of one that may not enter. */
  submit(connection: Connection, request: number, deadlineMs: number, body: Uint8Array): void {
    const asked = decodeFleetRequest(body);
    const limit = QUESTIONS_MAX;
    if (this.#questions.length >= limit) {
      throw new StoreError('OVERLOADED', `a node holds ${limit} questions about the fleet`, { data: { limit } });
    }
    const nowMs = this.#world.monotonicMs();
    const withinMs = asked.op === 'visible' ? asked.withinMs : ROUND_MS;
    const untilMs = Math.min(nowMs + withinMs, deadlineMs - TELL_MS);
    this.#questions.push({ connection, request, asked, untilMs, round: this.#nextRound, seen: undefined });
    connection.inFlight++;
    this.#beginRound();
  }

  /** A connection is gone: nobody waits for its answers. */
  closed(connection: Connection): void {
    this.#questions = this.#questions.filter((question) => question.connection !== connection);
  }

  /** Every few dozen milliseconds. */
  sweep(nowMs: number): void {
    const round = this.#round;
    if (round !== undefined && round.untilMs <= nowMs) this.#endRound(round);
    for (const question of this.#questions) {
      const isLate = question.untilMs <= nowMs;
      if (isLate && (question.seen !== undefined || this.#round === undefined)) this.#tooLate(question);
      // One that never saw a round end has at least its first one.
      else if (nowMs - question.untilMs > ROUND_MS) this.#tooLate(question);
    }
    this.#beginRound();
  }

  #beginRound(): void {
    if (this.#round !== undefined || this.#questions.length === 0) return;
    const revisions = new Set<number>();
    for (const { asked } of this.#questions) if (asked.op === 'visible') revisions.add(asked.revision);
    const isList = this.#questions.some(({ asked }) => asked.op === 'list');
    const ask: FleetAsk = { revisions: [...revisions], isList, sought: this.#sought };
    const id = this.#nextRound;
    this.#nextRound = (id + 1) >>> 0;
    const untilMs = this.#world.monotonicMs() + ROUND_MS;
    this.#round = { id, ask, untilMs, waits: undefined, away: [], answers: new Map() };
    const body = encodeFleet(ask);
    const frame = new ByteWriter(body.length + 8).u8(TO_REPLICATION.fleetAsk).u32(id).raw(body);
    // No room: the round ends by its time, and nobody was heard.
    this.#world.outbox.write(frame.view());
    this.#world.replication.ring();
    for (const revision of revisions) this.streams.ask(revision);
  }

  /** Replication's: whom it has asked, and who could not be: id u32 | JSON. */
  peers(reader: ByteReader): void {
    const round = this.#roundOf(reader.u32());
    if (round === undefined) return;
    const { asked, away } = decodeFleetPeers(reader.raw(reader.left));
    round.waits = new Set(asked);
    round.away = away.filter(({ awayMs }) => awayMs < GONE_MS).map(({ id }) => id);
    this.#endIfHeard(round);
  }

  /** A peer's answer: id u32 | from string | JSON. */
  answered(reader: ByteReader): void {
    const round = this.#roundOf(reader.u32());
    if (round === undefined) return;
    const from = reader.string();
    if (round.waits?.delete(from) !== true) return;
    round.answers.set(from, decodeFleetAnswer(reader.raw(reader.left)));
    this.#endIfHeard(round);
  }

  /** A peer asks: id u32 | from string | JSON. */
  asked(reader: ByteReader): void {
    const id = reader.u32();
    const from = reader.string();
    const ask = decodeFleetAsk(reader.raw(reader.left));
    for (const revision of ask.revisions) this.streams.ask(revision);
    const body = encodeFleet(answerFleet(this.streams.table, ask));
    const frame = new ByteWriter(body.length + 64).u8(TO_REPLICATION.fleetAnswer).u32(id).string(from).raw(body);
    // No room: it asks again.
    this.#world.outbox.write(frame.view());
    this.#world.replication.ring();
  }

  #roundOf(id: number): Round | undefined {
    return this.#round?.id === id ? this.#round : undefined;
  }

  #endIfHeard(round: Round): void {
    if (round.waits?.size === 0) this.#endRound(round);
  }

  #endRound(round: Round): void {
    this.#round = undefined;
    // Nobody could be asked.
    if (round.waits === undefined) return;
    const own = answerFleet(this.streams.table, round.ask);
    const answers = [own, ...round.answers.values()];
    const unheard = [...round.away, ...round.waits];
    const rows = distinct(answers);
    // Perhaps connected elsewhere by now: asked for with the next round.
    const doubtful = rows.length <= SOUGHT_MAX ? rows : rows.filter(({ state }) => state === 'gone');
    this.#sought = doubtful.slice(0, SOUGHT_MAX).map(({ id }) => id);
    for (const question of [...this.#questions]) {
      // It was not asked for in this one.
      if (((round.id - question.round) | 0) < 0) continue;
      const { asked } = question;
      if (asked.op === 'list') {
        this.#answer(question, this.#view(answers, rows, unheard));
        continue;
      }
      question.seen = visibilityOf(round.ask, asked.revision, { answers, rows, unheard });
      if (isEnough(question.seen, asked)) this.#answer(question, question.seen);
    }
  }

  #view(answers: readonly FleetAnswer[], rows: readonly LdbRow[], unheard: readonly string[]): FleetView {
    const connected = answers.reduce((sum, answer) => sum + answer.connected, 0);
    const named = rows.filter(({ state }) => state !== 'gone').length;
    const left = Math.max(0, connected - named);
    return { ldbs: rows, left, revision: this.#world.applied(), timeMs: this.#world.timeMs(), unheard };
  }

  #answer(question: Question, answer: FleetView | FleetVisibility): void {
    this.#settle(question);
    question.connection.ok(question.request, this.#world.applied(), encodeFleet(answer));
  }

  #tooLate(question: Question): void {
    this.#settle(question);
    const { connection, request, asked, seen } = question;
    if (asked.op === 'list') {
      connection.fail(request, new StoreError('UNAVAILABLE', 'the nodes were not asked who is there'));
      return;
    }
    const { revision } = asked;
    const shown = seen === undefined ? 'no node said who shows it' : describe(seen, asked.share);
    const message = `revision ${revision} is not visible where it was to be within ${asked.withinMs} ms: ${shown}`;
    const nothing = { replicas: 0, showing: 0, missing: [], unheard: [] };
    connection.fail(request, new StoreError('NOT_VISIBLE', message, { data: { revision, ...(seen ?? nothing) } }));
  }

  #settle(question: Question): void {
    this.#questions = this.#questions.filter((other) => other !== question);
    question.connection.inFlight--;
  }
}

/** Each LDB once: who is connected somewhere is not gone elsewhere, and of two streams of one process the later is true. */
function distinct(answers: readonly FleetAnswer[]): LdbRow[] {
  const here = new Map<string, number>();
  const ids = new Set<string>();
  for (const { rows, found } of answers) {
    for (const row of [...found, ...rows.filter(({ state }) => state !== 'gone')]) {
      const key = keyOf(row);
      here.set(key, Math.max(here.get(key) ?? 0, row.streamMs));
      ids.add(row.id);
    }
  }
  const gone = new Map<string, LdbRow>();
  const rows: LdbRow[] = [];
  for (const row of answers.flatMap((answer) => answer.rows)) {
    if (row.state !== 'gone') {
      if (here.get(keyOf(row)) === row.streamMs) rows.push(row);
    } else if (!ids.has(row.id) && (gone.get(row.id)?.streamMs ?? -1) < row.streamMs) gone.set(row.id, row);
  }
  return [...rows, ...gone.values()];
}

const keyOf = ({ id, instance }: Pick<LdbRow, 'id' | 'instance'>): string => `${id}\n${instance}`;

function visibilityOf(
  ask: FleetAsk,
  revision: number,
  heard: {
    readonly answers: readonly FleetAnswer[];
    readonly rows: readonly LdbRow[];
    readonly unheard: readonly string[];
  },
): FleetVisibility {
  const place = ask.revisions.indexOf(revision);
  let showing = 0;
  let unnamed = 0;
  for (const { connected, behind, rows } of heard.answers) {
    const named = rows.filter((row) => row.revision < revision);
    const missing = behind[place] ?? 0;
    unnamed += Math.max(0, missing - named.length);
    showing += connected - missing + named.filter(({ state }) => state === 'gone').length;
  }
  const missing = heard.rows.filter((row) => row.revision < revision);
  return {
    replicas: Math.max(0, showing) + unnamed + missing.length,
    showing: Math.max(0, showing),
    missing: missing.slice(0, MISSING_MAX).map(({ id, host, via, revision: at, state }) => ({
      ...{ id, host, via, revision: at, state },
    })),
    unheard: heard.unheard,
  };
}

function isEnough(
  { replicas, showing, unheard }: FleetVisibility,
  { share, replicasMin }: { readonly share: number; readonly replicasMin: number },
): boolean {
  // 7 of 100 are 0.07, though 0.07 * 100 is a little more than 7.
  return unheard.length === 0 && replicas >= replicasMin && showing >= share * replicas - 1e-6;
}

function describe({ replicas, showing, missing, unheard }: FleetVisibility, share: number): string {
  const who = missing.map(({ id }) => id).join(', ');
  const rest = replicas - showing > missing.length ? ', …' : '';
  const away = unheard.length === 0 ? '' : `; not heard: ${unheard.join(', ')}`;
  return `${showing} of ${replicas} show it, ${share * 100} % were asked for${who === '' ? '' : `; not ${who}${rest}`}${away}`;
}
