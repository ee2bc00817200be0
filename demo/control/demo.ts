/**
 * ControlDemo: the steps, in order. Each prints what it found; a step that finds something wrong throws.
 */
import { rmSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import CliTable from 'cli-table3';
import { Processes } from '../processes.ts';
import { ms, percentile, type Screen, seconds, whole } from '../screen.ts';
import { Api } from './api.ts';
import { checkAbsent, compareTable, type Host, isFor, openHost, reached, sorted, timeReads, until } from './host.ts';
import { histogram } from './plot.ts';
import { keyOf, type Row, type Table, tables } from './source.ts';

const WRITER = { name: 'demo-loader', secret: 'not much of a secret' };
/** Replicas: one that feeds the others, one that follows it, and one that does so with a part of the data. */
const RELAY = 'host-a';
const HOSTS: readonly (readonly [name: string, family?: string])[] = [[RELAY], ['host-b'], ['host-c', 'clock']];
const BATCH_ROWS = 200;
const LONE_WRITES = 200;

export interface Facts {
  rows: number;
  rowsPerSecond: number;
  replicas: number;
  rowsComparedInReplicas: number;
  rowsComparedAtNodes: number;
  readMicros: number;
  commitP50Ms: number;
  commitP99Ms: number;
  lagP50Ms: number;
  lagP99Ms: number;
  refusals: number;
  seconds: number;
}

export class ControlDemo {
  readonly #dir: string;
  readonly #screen: Screen;
  readonly #startedMs = performance.now();
  readonly #hosts: Host[] = [];
  #processes: Processes | undefined;
  /** All that was measured; `--json` prints it. */
  readonly facts: Partial<Facts> = {};
  isStopping = false;

  constructor(dir: string, screen: Screen) {
    this.#dir = dir;
    this.#screen = screen;
  }

  async run(): Promise<void> {
    const screen = this.#screen;
    const source = tables();
    screen.title('ctlmesh demo: tables over HTTP, rows on every host');
    const processes = await Processes.create(this.#dir);
    this.#processes = processes;
    const api = await this.#start(processes);

    screen.title('Declare and load');
    await this.#declare(api, source);
    const revision = await this.#load(api, source);

    screen.title('The same rows everywhere');
    await this.#compareReplicas(source, revision);
    await this.#compareNodes(api, source, processes.https);

    screen.title('How fast, how fresh');
    this.#timeReads(source);
    await this.#measureLag(api);
    this.#report();

    screen.title('What must be refused');
    await this.#refuse(api);
    this.facts.seconds = Number(((performance.now() - this.#startedMs) / 1000).toFixed(1));
    screen.title(`All of it held (${this.facts.seconds} s).`);
  }

  async close({ keepFiles }: { readonly keepFiles: boolean }): Promise<void> {
    this.isStopping = true;
    for (const { ldb } of this.#hosts) ldb.close();
    await this.#processes?.stopAll();
    if (!keepFiles) rmSync(this.#dir, { recursive: true, force: true });
  }

  async #start(processes: Processes): Promise<Api> {
    const startedMs = performance.now();
    this.#screen.begin('starting three nodes, a relay and two replicas behind it');
    await Promise.all(processes.ids.map((id) => processes.startNode(id)));
    const api = new Api(processes.https, WRITER);
    // One node that is ready knows a leader; the writes that follow find it from any.
    await until('a node is ready', async () => (await api.ask('GET /readyz')).status === 200);
    for (const [name, family] of HOSTS) {
      const { relay } = processes;
      processes.startReflector(name, name === RELAY ? { family, listen: relay } : { family, from: relay });
      this.#hosts.push(await openHost(name, family, processes.ldbDirOf(name)));
    }
    const ports = processes.https.map((url) => new URL(url).port).join(', ');
    this.#screen.result(
      'three nodes, three replicas',
      seconds(performance.now() - startedMs),
      `HTTP at ports ${ports}; ${RELAY} is a relay, and feeds the others`,
    );
    return api;
  }

  // ── declare and load ──────────────────────────────────────────────────────────────────────────────────────

  async #declare(api: Api, source: readonly Table[]): Promise<void> {
    for (const family of new Set(source.map((table) => table.family))) await api.do(`POST /families/${family}`);
    await api.do(
      'POST /tables',
      source.map(({ family, name, fields, key }) => ({ family, name, fields, keyFields: key })),
    );
    await api.do(`POST /writers/${WRITER.name}`, WRITER.secret);
    const listed = source.map(({ family, name, key }) => `${family}.${name}(${key.join(', ')})`);
    this.#screen.result('families, tables, a writer', listed.join('  '));
  }

  /** Gives the last revision. */
  async #load(api: Api, source: readonly Table[]): Promise<number> {
    this.#screen.begin('loading rows');
    const startedMs = performance.now();
    let rows = 0;
    let cookie = '';
    let revision = 0;
    for (const batch of source.flatMap(batchesOf)) {
      const next = Buffer.from(`${batch.table.name} ${(rows += batch.rows.length)}`).toString('base64');
      const mutations = batch.rows.map((values) => ({ table: batch.table.name, values }));
      const body = { cookie: next, check_cookie: cookie, mutations };
      ({ revision } = await api.do(`POST /families/${batch.table.family}/mutations`, body));
      cookie = next;
      this.#screen.progress(whole(rows));
    }
    const tookMs = performance.now() - startedMs;
    const rowsPerSecond = Math.round((rows * 1000) / tookMs);
    Object.assign(this.facts, { rows, rowsPerSecond });
    this.#screen.result(
      'rows loaded',
      `${whole(rows)} in ${seconds(tookMs)} (${whole(rowsPerSecond)}/s)`,
      `batches of ${BATCH_ROWS}, one at a time, in turn at all nodes, with a cookie`,
    );
    return revision;
  }

  // ── compare ───────────────────────────────────────────────────────────────────────────────────────────────

  async #compareReplicas(source: readonly Table[], revision: number): Promise<void> {
    let wanted = 0;
    for (const host of this.#hosts) {
      this.#screen.begin(`reading ${host.name}`);
      await reached(host.ldb, revision);
      for (const table of source) {
        if (!isFor(host, table)) checkAbsent(host, table);
        else {
          compareTable(host, table);
          wanted += table.rows.length;
        }
      }
    }
    const compared = this.#hosts.reduce((sum, { rows }) => sum + rows, 0);
    Object.assign(this.facts, { replicas: this.#hosts.length, rowsComparedInReplicas: compared });
    const detail = this.#hosts.map(({ name, family }) => `${name}: ${family ?? 'everything'}`).join(', ');
    this.#screen.verdict('rows equal in the replicas', `${whole(compared)} of ${whole(wanted)}`, true, detail);
    const types = [...(this.#hosts[0]?.ldb.getRowsByKeyPrefix('mime', 'extensions', ['xml']) ?? [])];
    this.#screen.result(
      "rows with extension 'xml'",
      types.map((row) => String(row['type'])).join(', '),
      'by the first field of a key of two',
    );
  }

  async #compareNodes(api: Api, source: readonly Table[], urls: readonly string[]): Promise<void> {
    this.#screen.begin('reading the nodes');
    let compared = 0;
    for (const url of urls) {
      for (const { family, name, rows, key } of source) {
        const accept = { accept: 'application/x-ndjson' };
        const { status, body } = await api.at(url, `GET /rows/${family}/${name}`, undefined, accept);
        if (status !== 200) throw new Error(`${url} answers ${status} ${body}`);
        const lines = body
          .trimEnd()
          .split('\n')
          .map((line) => JSON.parse(line) as Row);
        const wanted = new Map(rows.map((row) => [keyOf(row, key).join('\0'), row]));
        for (const row of lines)
          if (isDeepStrictEqual(row, sorted(wanted.get(keyOf(row, key).join('\0')), row))) compared++;
      }
    }
    this.facts.rowsComparedAtNodes = compared;
    const wanted = urls.length * (this.facts.rows ?? 0);
    this.#screen.verdict(
      'rows equal at the nodes',
      `${whole(compared)} of ${whole(wanted)}`,
      compared === wanted,
      'streamed over HTTP',
    );
    if (compared !== wanted) throw new Error('a node has other rows');
  }

  // ── measure ───────────────────────────────────────────────────────────────────────────────────────────────

  #timeReads(source: readonly Table[]): void {
    // Twice each: the first of them warms up the code that all of them run.
    for (const host of [...this.#hosts, ...this.#hosts]) {
      this.#screen.begin(`timing reads of ${host.name}`);
      timeReads(host, source.find((table) => isFor(host, table)) as Table);
    }
    this.facts.readMicros = percentile(
      this.#hosts.map(({ readMicros }) => readMicros),
      0.5,
    );
  }

  /** Lone writes: how long until the answer, and from then until each replica shows the row. */
  async #measureLag(api: Api): Promise<void> {
    this.#screen.begin('writing alone');
    const commitsMs: number[] = [];
    for (let i = 0; i < LONE_WRITES; i++) {
      const values = { zone: 'Demo/Now', region: 'Demo', name: `sample ${i}` };
      const begunMs = performance.now();
      const { revision } = await api.do('POST /families/clock/mutations', { mutations: [{ table: 'zones', values }] });
      const ackedMs = performance.now();
      commitsMs.push(ackedMs - begunMs);
      await Promise.all(
        this.#hosts.map(async ({ name, ldb, lagsMs }) => {
          await reached(ldb, revision);
          lagsMs.push(performance.now() - ackedMs);
          const row = ldb.getRowByKey('clock', 'zones', ['Demo/Now']);
          if (row?.['name'] !== values.name)
            throw new Error(`${name} shows ${JSON.stringify(row)} at revision ${revision}`);
        }),
      );
      this.#screen.progress(`${i + 1} of ${LONE_WRITES}`);
    }
    const lagsMs = this.#hosts.flatMap((host) => host.lagsMs);
    const rounded = (values: readonly number[], p: number): number => Number(percentile(values, p).toFixed(2));
    Object.assign(this.facts, { commitP50Ms: rounded(commitsMs, 0.5), commitP99Ms: rounded(commitsMs, 0.99) });
    Object.assign(this.facts, { lagP50Ms: rounded(lagsMs, 0.5), lagP99Ms: rounded(lagsMs, 0.99) });
    this.#screen.result(
      'commit over HTTP, alone',
      `p50 ${ms(percentile(commitsMs, 0.5))}   p99 ${ms(percentile(commitsMs, 0.99))}`,
    );
    for (const line of histogram(commitsMs)) this.#screen.line(line);
    this.#screen.result(
      'then visible in a replica',
      `p50 ${ms(percentile(lagsMs, 0.5))}   p99 ${ms(percentile(lagsMs, 0.99))}`,
    );
    for (const line of histogram(lagsMs)) this.#screen.line(line);
  }

  #report(): void {
    const table = new CliTable({
      head: ['replica', 'from', 'of', 'rows', 'revision', 'lag p50', 'lag p99', 'a read'],
      colAligns: ['left', 'left', 'left', 'right', 'right', 'right', 'right', 'right'],
      style: { head: [], border: [], compact: true },
    });
    for (const { name, family, rows, ldb, lagsMs, readMicros } of this.#hosts) {
      const lags = [ms(percentile(lagsMs, 0.5)), ms(percentile(lagsMs, 0.99))];
      table.push([
        name,
        name === RELAY ? 'nodes' : RELAY,
        family ?? 'everything',
        whole(rows),
        whole(ldb.revision),
        ...lags,
        `${readMicros.toFixed(2)} µs`,
      ]);
    }
    for (const line of table.toString().split('\n')) this.#screen.line(`  ${line}`);
  }

  // ── refuse ────────────────────────────────────────────────────────────────────────────────────────────────

  async #refuse(api: Api): Promise<void> {
    const path = 'POST /families/clock/mutations';
    const zone = (values: object, more: object = {}): object => ({ mutations: [{ table: 'zones', values }], ...more });
    const good = { zone: 'Demo/Refused', region: 'Demo', name: 'x' };
    const cases: readonly (readonly [what: string, asked: Promise<{ readonly code: string }>, code: string])[] = [
      ['a wrong secret', api.ask(path, zone(good), { 'ctlmesh-secret': 'guessed' }), 'FORBIDDEN'],
      ['a stale cookie', api.ask(path, zone(good, { check_cookie: 'b2xk' })), 'COOKIE_CONFLICT'],
      ['a field that is missing', api.ask(path, zone({ zone: 'Demo/Refused' })), 'SCHEMA_MISMATCH'],
      ['a family that is there', api.ask('POST /families/mime'), 'ALREADY_EXISTS'],
      ['dropping a table', api.ask('DELETE /families/mime/tables/types'), 'DISABLED'],
    ];
    let refused = 0;
    for (const [what, asked, wanted] of cases) {
      const { code } = await asked;
      this.#screen.verdict(what, code === '' ? 'taken' : code, code === wanted);
      if (code === wanted) refused++;
    }
    this.facts.refusals = refused;
    const { status } = await api.ask('GET /row/clock/zones?key=Demo/Refused');
    if (refused !== cases.length || status !== 404) throw new Error('something was taken that must be refused');
  }
}

interface Batch {
  readonly table: Table;
  readonly rows: readonly Row[];
}

function batchesOf(table: Table): Batch[] {
  const batches: Batch[] = [];
  for (let at = 0; at < table.rows.length; at += BATCH_ROWS) {
    batches.push({ table, rows: table.rows.slice(at, at + BATCH_ROWS) });
  }
  return batches;
}
