/**
 * Many replicas in one process: in memory, each with a socket of its own and the reports of a real one; or real ones, each
 * with an LMDB file. They note when they show what.
 */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Client, connect } from '../../src/client/index.ts';
import { PLATFORM } from '../../src/client/timing.ts';
import { plus, type Revision, toIndex } from '../../src/core/base/position.ts';
import { lastRevisionIn } from '../../src/core/model/ledger.ts';
import { type RunningReflector, startReflector } from '../../src/reflector/index.ts';
import { LdbReports } from '../../src/reflector/reports.ts';
import { type Say, serve } from '../support/child.ts';

export type FleetTo =
  | {
      readonly kind: 'start';
      readonly endpoints: readonly string[];
      readonly count: number;
      readonly name: string;
      /** Real ones, in directories here. */
      readonly dir?: string;
    }
  /** So many stop reading, and stay connected. */
  | { readonly kind: 'stall'; readonly count: number }
  | { readonly kind: 'restart' }
  /** Tell when all that read show this revision. */
  | { readonly kind: 'show'; readonly revision: number; readonly deadlineMs: number }
  /** When did each show these? Forgets what it noted. */
  | { readonly kind: 'lags'; readonly writes: readonly (readonly [revision: number, resolvedNs: number])[] };

export type FleetFrom =
  | { readonly kind: 'started' }
  | { readonly kind: 'stalled' }
  | { readonly kind: 'restarted' }
  | { readonly kind: 'shown'; readonly isAll: boolean; readonly ns: number }
  /** How many lags of so many times `bucketMs`; the last bucket has all longer ones. */
  | { readonly kind: 'lags'; readonly bucketMs: number; readonly buckets: readonly number[] };

const BUCKET_MS = 0.25;
const BUCKETS = 20_000;
const LOOK_MS = 1;
const nowNs = (): number => Number(process.hrtime.bigint());

interface Replica {
  readonly revision: number;
  isStalled: boolean;
  /** Revision and time, in turn. */
  sights: number[];
  start(): Promise<void>;
  stop(): Promise<void>;
}

let replicas: Replica[] = [];

serve(async (message: FleetTo, say: Say<FleetFrom>) => {
  switch (message.kind) {
    case 'start': {
      const { endpoints, name, dir } = message;
      replicas = Array.from({ length: message.count }, (_, i) => {
        const endpoint = endpoints[i % endpoints.length] as string;
        const id = `${name}-${i}`;
        return dir === undefined ? new InMemory(endpoint, id) : new Real(endpoint, id, join(dir, id));
      });
      await Promise.all(replicas.map((replica) => replica.start()));
      return say({ kind: 'started' });
    }
    case 'stall':
      for (const replica of replicas.slice(0, message.count)) replica.isStalled = true;
      return say({ kind: 'stalled' });
    case 'restart':
      await Promise.all(replicas.map((replica) => replica.stop()));
      await Promise.all(replicas.map((replica) => replica.start()));
      return say({ kind: 'restarted' });
    case 'show': {
      const untilMs = performance.now() + message.deadlineMs;
      const isAll = (): boolean =>
        replicas.every(({ isStalled, revision }) => isStalled || revision >= message.revision);
      while (!isAll() && performance.now() < untilMs) await sleep(LOOK_MS);
      return say({ kind: 'shown', isAll: isAll(), ns: nowNs() });
    }
    case 'lags':
      return say({ kind: 'lags', bucketMs: BUCKET_MS, buckets: lagsOf(message.writes) });
  }
});

function lagsOf(writes: readonly (readonly [number, number])[]): number[] {
  const buckets = Array.from({ length: BUCKETS }, () => 0);
  const inOrder = writes.toSorted(([a], [b]) => a - b);
  for (const replica of replicas) {
    const { sights, isStalled } = replica;
    replica.sights = [];
    if (isStalled) continue;
    let at = 0;
    for (const [revision, resolvedNs] of inOrder) {
      while (at < sights.length && (sights[at] as number) < revision) at += 2;
      const seenNs = sights[at + 1] ?? Number.POSITIVE_INFINITY;
      const bucket = Math.min(BUCKETS - 1, Math.floor(Math.max(0, seenNs - resolvedNs) / 1e6 / BUCKET_MS));
      buckets[bucket] = (buckets[bucket] as number) + 1;
    }
  }
  return buckets;
}

/** Notes what came; what it does with it would be another host's work. */
class InMemory implements Replica {
  readonly #endpoint: string;
  readonly #id: string;
  #client: Client | undefined;
  #ended: Promise<void> | undefined;
  #at: Revision = toIndex(0);
  isStalled = false;
  sights: number[] = [];

  constructor(endpoint: string, id: string) {
    this.#endpoint = endpoint;
    this.#id = id;
  }

  get revision(): number {
    return this.#at;
  }

  async start(): Promise<void> {
    const client = await connect([this.#endpoint], { pinned: true, followLeader: false, connectDeadlineMs: 60_000 });
    this.#client = client;
    this.#ended = this.#follow(client);
  }

  async #follow(client: Client): Promise<void> {
    const identity = { id: this.#id, instance: '1', host: 'bench', labels: {}, pid: process.pid, version: '0' };
    const reports = new LdbReports(identity, PLATFORM);
    const from = { fromRevision: plus(this.#at, 1), cluster: '', replica: reports };
    try {
      for await (const frame of client.ledger(from)) {
        if (this.isStalled) await new Promise(() => {});
        if (frame.kind === 'hello') reports.note({ kind: 'following', revision: this.#at, timeMs: 0 });
        if (frame.kind === 'snapshot-end') this.#at = frame.revision;
        if (frame.kind !== 'records') continue;
        this.#at = toIndex(lastRevisionIn(frame.bytes));
        this.sights.push(this.#at, nowNs());
        reports.note({ kind: 'applied', revision: this.#at, records: 1, timeMs: 0 });
      }
    } catch {
      // Its client was closed.
    } finally {
      reports.close();
    }
  }

  async stop(): Promise<void> {
    await this.#client?.close();
    if (!this.isStalled) await this.#ended;
  }
}

class Real implements Replica {
  readonly #endpoint: string;
  readonly #id: string;
  readonly #dir: string;
  #reflector: RunningReflector | undefined;
  isStalled = false;
  sights: number[] = [];

  constructor(endpoint: string, id: string, dir: string) {
    this.#endpoint = endpoint;
    this.#id = id;
    this.#dir = dir;
  }

  get revision(): number {
    return this.#reflector?.status.revision ?? 0;
  }

  async start(): Promise<void> {
    this.#reflector = await startReflector({
      endpoints: [this.#endpoint],
      dir: this.#dir,
      id: this.#id,
      onEvent: (event) => {
        if (event.kind === 'applied') this.sights.push(event.revision, nowNs());
      },
    });
  }

  async stop(): Promise<void> {
    await this.#reflector?.stop();
  }
}
