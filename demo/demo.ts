/**
 * Demo: the steps, in order. Each prints what it found; a step that finds something wrong throws.
 */
import { createHash } from 'node:crypto';
import { rmSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import mimeDb from 'mime-db/db.json' with { type: 'json' };
import { type Client, connect, isStoreError } from 'ctlmesh/client';
import { type LdbReader, openLdb } from 'ctlmesh/ldb';
import { Journal, Load, type Row, type Verdict } from './journal.ts';
import { Processes } from './processes.ts';
import { ms, percentile, type Screen, seconds, whole } from './screen.ts';

const IMPORT_IN_FLIGHT = 256;
const LOAD_IN_FLIGHT = 64;
const LAG_SAMPLES = 200;
const LDB_GETS = 200_000;
const CALL_DEADLINE_MS = 10_000;
/** A write may have to wait for an election. */
const WAIT_MS_MAX = 15_000;
const BEFORE_KILL_MS = 2_000;
const AFTER_KILL_MS = 2_000;

/** All that was measured; `--json` prints it. */
export interface Summary {
  ok: boolean;
  rowsImported: number;
  importRowsPerSecond: number;
  ldbRowsEqual: number;
  ldbReadMicros: number;
  commitAloneP50Ms: number;
  commitAloneP99Ms: number;
  ldbLagP50Ms: number;
  ldbLagP99Ms: number;
  commitP50Ms: number;
  commitP99Ms: number;
  writesPerSecond: number;
  killed: string;
  newLeader: string;
  leaderlessMs: number;
  ldbReadsWhileLeaderless: number;
  catchUpMs: number;
  acknowledgedWrites: number;
  acknowledgedWritesLost: number;
  acknowledgedWritesTwice: number;
  acknowledgedWritesLostInLdb: number;
  failedWrites: number;
  nodesAgree: number;
  seconds: number;
}

export class Demo {
  readonly #dir: string;
  readonly #screen: Screen;
  readonly #journal = new Journal();
  readonly #startedMs = performance.now();
  #processes: Processes | undefined;
  #db: Client | undefined;
  #ldb: LdbReader | undefined;
  #facts: Partial<Summary> = {};
  summary: Summary | undefined;
  isStopping = false;

  constructor(dir: string, screen: Screen) {
    this.#dir = dir;
    this.#screen = screen;
  }

  async run(): Promise<void> {
    const screen = this.#screen;
    screen.title('ctlmesh demo: three nodes, a local replica, and a leader that is killed');
    const processes = await Processes.create(this.#dir);
    this.#processes = processes;
    const db = await this.#startCluster(processes);
    const ldb = await this.#startReplica(processes);

    screen.title('Import and read locally');
    const types = mimeTypes();
    await this.#import(db, types);
    await this.#compare(ldb, types);
    this.#timeReads(ldb, [...types.keys()]);

    screen.title('Write, alone and together');
    await this.#measureLag(db, ldb);
    await this.#killTheLeader(processes, db, ldb, [...types.keys()]);

    screen.title('Was anything lost?');
    await this.#verify(processes, db, ldb);
  }

  /** Ends every process; removes the files. */
  async close({ keepFiles }: { readonly keepFiles: boolean }): Promise<void> {
    this.isStopping = true;
    this.#ldb?.close();
    const stopped = this.#processes?.stopAll();
    await Promise.race([this.#db?.close().catch(() => {}), stopped]);
    await stopped;
    if (!keepFiles) rmSync(this.#dir, { recursive: true, force: true });
  }

  // ── start ─────────────────────────────────────────────────────────────────────────────────────────────────

  async #startCluster(processes: Processes): Promise<Client> {
    const startedMs = performance.now();
    this.#screen.begin('starting three nodes');
    await Promise.all(processes.ids.map((id) => processes.startNode(id)));
    const db = await connect(processes.urls, { deadlineMs: CALL_DEADLINE_MS, inFlightMax: IMPORT_IN_FLIGHT });
    this.#db = db;
    // A linearizable read is answered once somebody leads.
    await db.get('demo/started', { deadlineMs: WAIT_MS_MAX });
    const { leader } = await db.status();
    const ports = processes.urls.map((url) => new URL(url).port).join(', ');
    const tookMs = performance.now() - startedMs;
    this.#screen.result(
      'three nodes',
      `${leader} leads after ${seconds(tookMs)}`,
      `processes, clients at ports ${ports}`,
    );
    return db;
  }

  async #startReplica(processes: Processes): Promise<LdbReader> {
    this.#screen.begin('starting the local replica');
    processes.startFollower();
    const ldb = await until('the LDB is there', () => {
      try {
        return openLdb(processes.ldbDir);
      } catch (error) {
        if (isStoreError(error, 'LDB_MISSING')) return undefined;
        throw error;
      }
    });
    this.#ldb = ldb;
    this.#screen.result('local replica', 'follows the cluster', 'a process of its own: kvctl ldb follow');
    return ldb;
  }

  // ── import and read ───────────────────────────────────────────────────────────────────────────────────────

  async #import(db: Client, types: ReadonlyMap<string, string>): Promise<void> {
    this.#screen.begin('importing mime-db');
    const startedMs = performance.now();
    let done = 0;
    const rows = types.entries();
    const worker = async (): Promise<void> => {
      for (const [key, value] of rows) {
        await this.#journal.put(db, key, value, CALL_DEADLINE_MS);
        done++;
        this.#screen.progress(`${whole(done)} of ${whole(types.size)} rows`);
      }
    };
    await Promise.all(Array.from({ length: IMPORT_IN_FLIGHT }, worker));
    const tookMs = performance.now() - startedMs;
    this.#facts.rowsImported = types.size;
    this.#facts.importRowsPerSecond = Math.round((types.size * 1000) / tookMs);
    this.#screen.result(
      'rows imported',
      `${whole(types.size)} in ${seconds(tookMs)} (${whole(this.#facts.importRowsPerSecond)}/s)`,
      `mime-db, ${IMPORT_IN_FLIGHT} in flight, each on two disks of three`,
    );
  }

  async #compare(ldb: LdbReader, types: ReadonlyMap<string, string>): Promise<void> {
    this.#screen.begin('reading the LDB');
    await reached(ldb, this.#journal.newestRevision);
    let equal = 0;
    for (const row of ldb.range({ prefix: 'mime/' })) if (types.get(row.keyText()) === row.text()) equal++;
    this.#facts.ldbRowsEqual = equal;
    this.#screen.verdict('rows equal in the LDB', `${whole(equal)} of ${whole(types.size)}`, equal === types.size);
    if (equal !== types.size) throw new Error('the LDB is not what was imported');
  }

  #timeReads(ldb: LdbReader, keys: readonly string[]): void {
    this.#screen.begin('timing reads of the LDB');
    const read = (count: number): number => {
      const startedMs = performance.now();
      for (let i = 0; i < count; i++) {
        const entry = ldb.get(keys[i % keys.length] as string);
        if (entry === undefined) throw new Error('a row is gone from the LDB');
      }
      return ((performance.now() - startedMs) * 1000) / count;
    };
    read(LDB_GETS / 10);
    const micros = Number(read(LDB_GETS).toFixed(2));
    this.#facts.ldbReadMicros = micros;
    this.#screen.result('LDB read', `${micros} µs per get`, `mean of ${whole(LDB_GETS)}, no network, no await`);
  }

  // ── write ─────────────────────────────────────────────────────────────────────────────────────────────────

  /** Lone writes: how long until the answer, and from then until the other process has it in the LDB. */
  async #measureLag(db: Client, ldb: LdbReader): Promise<void> {
    this.#screen.begin('writing alone');
    const commits: number[] = [];
    const lags: number[] = [];
    for (let i = 0; i < LAG_SAMPLES; i++) {
      const value = JSON.stringify({ sample: i });
      commits.push(await this.#journal.put(db, `alone/${i}`, value, CALL_DEADLINE_MS));
      const ackedMs = performance.now();
      await reached(ldb, this.#journal.newestRevision);
      lags.push(performance.now() - ackedMs);
      this.#screen.progress(`${i + 1} of ${LAG_SAMPLES}`);
    }
    this.#note({ commitAloneP50Ms: percentile(commits, 0.5), commitAloneP99Ms: percentile(commits, 0.99) });
    this.#note({ ldbLagP50Ms: percentile(lags, 0.5), ldbLagP99Ms: percentile(lags, 0.99) });
    this.#screen.result('commit latency, alone', spread(commits), `${LAG_SAMPLES} writes, one at a time`);
    this.#screen.result('LDB lag', spread(lags), 'from the answer to the row in the other process');
  }

  async #killTheLeader(processes: Processes, db: Client, ldb: LdbReader, keys: readonly string[]): Promise<void> {
    const screen = this.#screen;
    screen.begin('writing without a pause');
    const load = new Load(db, this.#journal, { inFlight: LOAD_IN_FLIGHT, deadlineMs: CALL_DEADLINE_MS });
    const ldbReads: number[] = [];
    let at = 0;
    // A program that reads its local replica all the while.
    const reader = setInterval(() => {
      if (this.isStopping) return;
      if (ldb.get(keys[at++ % keys.length] as string) !== undefined) ldbReads.push(performance.now());
      screen.progress(`${whole(load.acks.length)} acknowledged`);
    }, 1);
    try {
      const startedMs = performance.now();
      load.start();
      await sleep(BEFORE_KILL_MS);
      const tookMs = load.acks.map((ack) => ack.tookMs);
      const perSecond = (load.acks.length * 1000) / (performance.now() - startedMs);
      this.#note({ commitP50Ms: percentile(tookMs, 0.5), commitP99Ms: percentile(tookMs, 0.99) });
      this.#facts.writesPerSecond = Math.round(perSecond);
      screen.result(`commit latency, ${LOAD_IN_FLIGHT} at once`, spread(tookMs), `${whole(perSecond)} writes/s`);

      const { leader } = await db.status();
      if (leader === null) throw new Error('nobody leads');
      screen.begin(`killing the leader ${leader}`);
      const killedMs = performance.now();
      await processes.kill(leader);
      await until('writes are acknowledged again', () => hasGoneOn(load, killedMs));
      const newLeader = await until('a leader is known', async () => (await db.status()).leader ?? undefined);
      const silence = load.longestSilence(killedMs);
      const reads = ldbReads.filter((atMs) => atMs > silence.fromMs && atMs < silence.toMs).length;
      this.#note({ leaderlessMs: silence.ms });
      Object.assign(this.#facts, { killed: leader, newLeader, ldbReadsWhileLeaderless: reads });
      screen.result(
        'leader killed (SIGKILL)',
        leader,
        `with ${LOAD_IN_FLIGHT} writes under way; ${newLeader} leads now`,
      );
      screen.result('time without a leader', ms(silence.ms), 'last answer before to first answer after');
      screen.result('LDB reads meanwhile', `${whole(reads)}, all answered`, 'at one a millisecond');

      screen.begin(`starting ${leader} again`);
      await sleep(AFTER_KILL_MS / 2);
      const restartedMs = performance.now();
      await processes.startNode(leader);
      await this.#caughtUp(processes, leader, db);
      this.#note({ catchUpMs: performance.now() - restartedMs });
      screen.result(
        `${leader} started again`,
        `caught up in ${seconds(performance.now() - restartedMs)}`,
        'start, log read, the missing part fetched, under load',
      );
      screen.begin('writing without a pause');
      await sleep(AFTER_KILL_MS / 2);
    } finally {
      clearInterval(reader);
      await load.stop();
    }
    this.#facts.failedWrites = load.failures.length;
    if (load.failures.length > 0) {
      const first = load.failures[0];
      const reason = first instanceof Error ? first.message : String(first);
      screen.verdict('writes not served', whole(load.failures.length), false, reason);
    }
  }

  /** Resolves when node `id` has applied what the cluster had committed when it was asked. */
  async #caughtUp(processes: Processes, id: string, db: Client): Promise<void> {
    const goal = (await db.status()).committed;
    const own = await pinnedTo(processes, id);
    try {
      await until(`${id} has caught up`, async () => {
        const { applied } = await own.status();
        this.#screen.progress(`${whole(applied)} of ${whole(goal)}`);
        return applied >= goal;
      });
    } finally {
      await own.close();
    }
  }

  // ── check ─────────────────────────────────────────────────────────────────────────────────────────────────

  async #verify(processes: Processes, db: Client, ldb: LdbReader): Promise<void> {
    const screen = this.#screen;
    const journal = this.#journal;
    screen.begin('reading everything back from the cluster');
    const cluster = await journal.check(db.range({ deadlineMs: WAIT_MS_MAX }));
    screen.begin('reading everything back from the LDB');
    await reached(ldb, journal.newestRevision);
    const local = await journal.check(ldb.range());
    screen.begin('comparing the nodes');
    const agree = await this.#nodesAgree(processes, ldb);

    screen.result('acknowledged writes', whole(journal.size), 'all of the above, each key written once');
    screen.verdict(
      'acknowledged writes lost',
      whole(cluster.lost),
      cluster.lost === 0,
      'read back from the cluster, linearizable',
    );
    screen.verdict(
      '… applied twice',
      whole(cluster.twice),
      cluster.twice === 0,
      'of another revision than was answered',
    );
    screen.verdict('… missing in the LDB', whole(local.lost), isClean(local), 'every row compared');
    screen.verdict(
      'nodes agree',
      `${agree} of ${processes.ids.length}`,
      agree === processes.ids.length,
      'keys, values and revisions; and the LDB with them',
    );

    const facts = this.#facts;
    const failed = facts.failedWrites ?? 0;
    const ok = isClean(cluster) && isClean(local) && agree === processes.ids.length && failed === 0;
    this.summary = {
      ok,
      ...(facts as Omit<Summary, 'ok'>),
      acknowledgedWrites: journal.size,
      acknowledgedWritesLost: cluster.lost,
      acknowledgedWritesTwice: cluster.twice,
      acknowledgedWritesLostInLdb: local.lost,
      nodesAgree: agree,
      seconds: Number(((performance.now() - this.#startedMs) / 1000).toFixed(1)),
    };
    screen.title(`${ok ? 'Nothing was lost' : 'NOT what was promised'} (${this.summary.seconds.toFixed(1)} s).`);
    if (!ok) throw new Error('something was lost, happened twice, or was not served');
  }

  /** How many nodes hold the same rows as the LDB: keys, values and revisions. */
  async #nodesAgree(processes: Processes, ldb: LdbReader): Promise<number> {
    const wanted = await digest(ldb.range());
    let count = 0;
    for (const id of processes.ids) {
      const own = await pinnedTo(processes, id);
      try {
        const atLeast = ldb.revision;
        const held = await digest(own.range({ consistency: 'local', atLeast, deadlineMs: WAIT_MS_MAX }));
        if (held === wanted) count++;
      } finally {
        await own.close();
      }
    }
    return count;
  }

  /** Notes measured times, to the hundredth of a millisecond. */
  #note(times: Partial<Summary>): void {
    for (const [name, value] of Object.entries(times)) {
      Object.assign(this.#facts, { [name]: Number(Number(value).toFixed(2)) });
    }
  }
}

/** Every type of mime-db: key → its record as JSON. */
function mimeTypes(): Map<string, string> {
  return new Map(Object.entries(mimeDb).map(([type, record]) => [`mime/${type}`, JSON.stringify(record)]));
}

/** A client that stays with node `id`, whoever leads. */
function pinnedTo(processes: Processes, id: string): Promise<Client> {
  return connect(processes.config.nodes[id]?.client ?? '', { pinned: true, deadlineMs: CALL_DEADLINE_MS });
}

/** Has a write that was begun after `fromMs` been acknowledged? */
function hasGoneOn(load: Load, fromMs: number): boolean {
  const ack = load.acks.at(-1);
  return ack !== undefined && ack.atMs - ack.tookMs > fromMs;
}

/** Waits until the LDB shows `revision`. It looks as often as the event loop goes round: no timer is in the figure. */
async function reached(ldb: LdbReader, revision: number): Promise<void> {
  const untilMs = performance.now() + WAIT_MS_MAX;
  for (;;) {
    ldb.refresh();
    if (ldb.revision >= revision) return;
    if (performance.now() > untilMs) throw new Error(`the LDB stands at ${ldb.revision}; ${revision} was waited for`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

async function until<T>(what: string, look: () => T | undefined | false | Promise<T | undefined | false>): Promise<T> {
  const untilMs = performance.now() + WAIT_MS_MAX;
  for (;;) {
    const seen = await look();
    if (seen !== undefined && seen !== false) return seen;
    if (performance.now() > untilMs) throw new Error(`waited ${WAIT_MS_MAX / 1000} s until ${what}`);
    await sleep(5);
  }
}

async function digest(rows: AsyncIterable<Row> | Iterable<Row>): Promise<string> {
  const hash = createHash('sha256');
  for await (const row of rows) hash.update(`${row.keyText()}\n${row.revision}\n${row.text()}\n`);
  return hash.digest('hex');
}

const isClean = (verdict: Verdict): boolean => verdict.lost === 0 && verdict.twice === 0 && verdict.unknown === 0;
const spread = (values: readonly number[]): string =>
  `p50 ${ms(percentile(values, 0.5))}   p99 ${ms(percentile(values, 0.99))}`;
