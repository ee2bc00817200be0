/**
 * A node in this process, asked over HTTP: for tests of the API from outside.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import type { ClusterConfigInput } from '../../src/config/index.ts';
import { startNode } from '../../src/node.ts';
import { freePorts } from './cluster-process.ts';
import { type Ask, asking, type Got, writerHeaders } from './http-client.ts';

export interface HttpNode {
  readonly url: string;
  /** Where the SDK connects. */
  readonly client: string;
  readonly ask: Ask;
  /** Lines of its log, of every level. */
  readonly logged: readonly string[];
  stop(): Promise<void>;
}

export async function startHttpNode(tuning: Partial<ClusterConfigInput> = {}): Promise<HttpNode> {
  const dataDir = mkdtempSync(join(tmpdir(), 'ctlmesh-http-'));
  const [client, peer, http] = await freePorts(3);
  const url = `http://127.0.0.1:${http}`;
  const addresses = { client: `ws://127.0.0.1:${client}`, peer: `ws://127.0.0.1:${peer}`, http: url };
  const logged: string[] = [];
  const logger = pino({ level: 'trace' }, { write: (line: string) => logged.push(line) });
  const node = await startNode({ cluster: 'test', ...tuning, nodes: { n1: { ...addresses, dataDir } } }, 'n1', {
    logger,
  });
  const stop = async (): Promise<void> => {
    await node.stop();
    rmSync(dataDir, { recursive: true, force: true });
  };
  return { url, client: addresses.client, ask: asking(url), logged, stop };
}

export type Outcome = readonly [status: number, code: string];

/** Status and code alone. */
export async function outcome(got: Promise<Got>): Promise<Outcome> {
  const { status, code } = await got;
  return [status, code];
}

export const OK: Outcome = [200, ''];
export const BAD: Outcome = [400, 'BAD_REQUEST'];

export const base64 = (text: string): string => Buffer.from(text).toString('base64');

export type NewTable = readonly [name: string, fields: readonly (readonly [name: string, type: string])[]];

/** What most tests do, by a writer of their own. */
export class HttpFixture {
  readonly #ask: Ask;
  readonly #headers: Readonly<Record<string, string>>;
  #families = 0;

  private constructor(ask: Ask, headers: Readonly<Record<string, string>>) {
    this.#ask = ask;
    this.#headers = headers;
  }

  static async create(ask: Ask, secret: string): Promise<HttpFixture> {
    await done(ask('POST /writers/loader', { body: secret }));
    return new HttpFixture(ask, writerHeaders({ writer: 'loader', secret }));
  }

  get headers(): Readonly<Record<string, string>> {
    return this.#headers;
  }

  /** A new family with these tables, each with the key `id`. */
  async family(...tables: readonly NewTable[]): Promise<string> {
    const name = `family${this.#families++}`;
    await done(this.#ask(`POST /families/${name}`));
    for (const [table, fields] of tables) {
      await done(this.#ask(`POST /families/${name}/tables/${table}`, { body: { fields, keyFields: ['id'] } }));
    }
    return name;
  }

  mutate(
    family: string,
    mutations: readonly object[],
    more: object = {},
    headers: Readonly<Record<string, string>> = this.#headers,
  ): Promise<Got> {
    return this.#ask(`POST /families/${family}/mutations`, { body: { mutations, ...more }, headers });
  }

  async rowsOf(family: string, table: string): Promise<unknown[]> {
    return (JSON.parse((await this.#ask(`GET /rows/${family}/${table}`)).body) as { rows: unknown[] }).rows;
  }
}

async function done(got: Promise<Got>): Promise<void> {
  const { status, body } = await got;
  if (status !== 200) throw new Error(`${status} ${body}`);
}
