/**
 * START HERE: a node, from config to service and back.
 *
 *   config → lock and claim the data directory → actors (WAL recovered, state rebuilt) → gateway → doors
 *
 * and down in reverse. Each step says why it stands where it does. `docs/ARCHITECTURE.md` follows a put through
 * what is put together here.
 */
import { randomBytes } from 'node:crypto';
import { type Logger, pino } from 'pino';
import type { LogFunction } from './actors/runtime/thread.ts';
import { ROLES } from './actors/shared.ts';
import { listen } from './actors/runtime/bell.ts';
import { StoreClient } from './client/client.ts';
import { ClientEntry, LocalEntry, toBytes } from './client/entry.ts';
import type { Dial } from './client/transport.ts';
import type { Bytes, Client, Entry, NodeStatus } from './client/types.ts';
import type { ClusterConfig, ClusterConfigInput } from './config/index.ts';
import { foundingMembers, memberOf, parseConfig } from './config/index.ts';
import { KeyEncoder, prefixEnd } from './core/base/bytes.ts';
import { isStoreError, StoreError } from './core/base/errors.ts';
import { VERSION } from './core/base/version.ts';
import type { Member } from './core/raft/membership.ts';
import { nodeDisk } from './engine/disk/node-disk.ts';
import { refuseDiverged } from './engine/disk/diverged.ts';
import { claimDir } from './engine/disk/identity.ts';
import { type DirLock, lockDir } from './engine/disk/lock.ts';
import { finishInstall } from './engine/snapshot/install.ts';
import type { StateReader } from './engine/state/state-reader.ts';
import { ClientDoor } from './net/client-door.ts';
import { HttpDoor, type Readiness } from './net/http-door.ts';
import { createMetrics } from './net/metrics.ts';
import { assembleParts, type Parts } from './node/parts.ts';
import { readinessOf } from './node/readiness.ts';

export interface StartOptions {
  /** Where the node logs; default: pino on stdout at the config's level. */
  readonly logger?: Logger;
}

/** A node running in this process. The store's calls go through its own gateway, without a socket. */
export interface RunningNode extends Omit<Client, 'status' | 'state' | 'endpoint' | 'close'> {
  readonly id: string;
  status(): NodeStatus;
  /** What this node has now, read in this thread: no await, no message. */
  getSync(key: Bytes): Entry | undefined;
  /** A consistent range of what this node has now. */
  rangeSync(options?: { readonly prefix?: Bytes; readonly limit?: number }): Entry[];
  /** What each actor says of itself. */
  inspect(): Promise<Record<string, unknown>>;
  /** Stops in order; what was acknowledged stays. May be called twice. */
  stop(): Promise<void>;
  /** Resolves, with the reason, when the node had to stop by itself: a failed disk, a broken invariant. */
  readonly failed: Promise<Error>;
}

const SWEEP_EVERY_MS = 25;
/** This thread lets go of tables that were removed, also when nobody reads. */
const REFRESH_EVERY_MS = 1_000;
/**
 * Starts node `id` of `config`. Rejects with DIR_LOCKED, DIR_FOREIGN, DIVERGED, WAL_CORRUPT, CONFIG_INVALID, or the
 * system's error for an address that is taken; nothing is left running then.
 */
export async function startNode(
  config: ClusterConfig | ClusterConfigInput,
  id: string,
  options: StartOptions = {},
): Promise<RunningNode> {
  const resolved = parseConfig(config, { baseDir: process.cwd() });
  const own = resolved.nodes[id];
  if (own === undefined) {
    throw new StoreError(
      'CONFIG_INVALID',
      `the config has no node "${id}"; it has ${Object.keys(resolved.nodes).join(', ')}`,
    );
  }
  const logger = options.logger ?? pino({ level: resolved.logLevel, base: { node: id } });
  // The lock first: nothing may look at the directory, let alone write to it, while somebody else does.
  const lock = await lockDir(own.dataDir);
  try {
    const { dirId } = claimDir(own.dataDir, { cluster: resolved.cluster, node: id });
    refuseDiverged(nodeDisk, own.dataDir);
    install(own.dataDir, logger);
    return await Node.start(resolved, { id, dirId }, lock, logger);
  } catch (error) {
    await lock.release();
    throw error;
  }
}

/** Finishes what a node had decided before it stopped: to go on from a snapshot. */
function install(dataDir: string, logger: Logger): void {
  const installed = finishInstall(nodeDisk, dataDir, () => randomBytes(4).readUInt32LE(0));
  if (installed === undefined) return;
  const { index, term } = installed;
  logger.info({ index, term }, 'snapshot.installed');
}

/** The node's name, and the identity of its data directory. */
interface Own {
  readonly id: string;
  readonly dirId: string;
}

/** Longest wait of a stop for somebody else to lead. */
const HAND_OVER_MS = 500;

class Node implements RunningNode {
  readonly id: string;
  readonly #dirId: string;
  readonly #config: ClusterConfig;
  /** Everybody who ever was a member: what a leader's number means (actors/shared.ts). */
  #known: readonly Member[] = [];
  readonly #lock: DirLock;
  readonly #logger: Logger;
  readonly #startedMs = performance.now();
  #parts: Parts;
  /** The parts are gone, and others are not there yet. */
  #isBetween = false;
  /** A snapshot takes the place of the state. */
  #restarting: Promise<void> | undefined;
  readonly #keys = new KeyEncoder();
  readonly #client: StoreClient;
  #doors: { close(): Promise<void> }[] = [];
  #stopLoops: (() => Promise<void>) | undefined;
  #stopping: Promise<void> | undefined;
  /** Clients can connect. */
  #isOpen = false;
  #failure: Error | undefined;
  readonly failed: Promise<Error>;
  #tellFailed: (error: Error) => void = () => {};

  private constructor(config: ClusterConfig, { id, dirId }: Own, lock: DirLock, logger: Logger) {
    this.id = id;
    this.#dirId = dirId;
    this.#config = config;
    this.#lock = lock;
    this.#logger = logger;
    this.failed = new Promise((resolve) => {
      this.#tellFailed = resolve;
    });
    this.#parts = this.#assemble();
    this.#client = new StoreClient(['embedded:'], { pinned: true }, this.#dialGateway);
  }

  #assemble(): Parts {
    this.#known = foundingMembers(this.#config);
    return assembleParts({
      config: this.#config,
      id: this.id,
      dirId: this.#dirId,
      founders: this.#known,
      log: this.#log,
      leader: () => this.#leader(),
      status: () => this.status(),
      onMembers: (known) => {
        this.#known = known;
      },
      guard: (work) => this.#guard(work),
    });
  }

  readonly #log: LogFunction = (level, event, fields = {}) => this.#logger[level](fields, event);

  static async start(config: ClusterConfig, own: Own, lock: DirLock, logger: Logger): Promise<Node> {
    const node = new Node(config, own, lock, logger);
    try {
      await node.#start();
      return node;
    } catch (error) {
      await node.stop();
      throw error;
    }
  }

  async #start(): Promise<void> {
    const own = this.#config.nodes[this.id] as ClusterConfig['nodes'][string];
    const { plumbing, state, supervisor, gateway } = this.#parts;
    const { shared } = plumbing;
    // The operators' door opens first: a node that recovers for long can be asked why it is not ready.
    const metrics = createMetrics({
      shared,
      tree: plumbing.tree,
      gateway,
      version: VERSION,
      node: this.id,
      lagMs: () => this.status().lagMs,
    });
    this.#doors.push(
      await HttpDoor.open({
        url: own.http,
        metrics: async () => ({ contentType: metrics.contentType, body: await metrics.metrics() }),
        health: () => this.#health(),
        readiness: () => this.#readiness(),
      }),
    );
    void supervisor.failed.then((reason) => this.#fail(reason));
    await supervisor.start();
    const installs = shared.reader('installs');
    const loop = listen(shared.bell('gateway'), () => gateway.turn());
    loop.ended.catch((error: unknown) => this.#fail(error instanceof Error ? error : new Error(String(error))));
    const sweeper = setInterval(() => {
      this.#guard(() => gateway.sweep());
      if (installs() !== 0) this.#startAgain();
    }, SWEEP_EVERY_MS);
    const refresher = setInterval(() => this.#guard(() => state.tree.refresh()), REFRESH_EVERY_MS);
    this.#stopLoops = async () => {
      clearInterval(sweeper);
      clearInterval(refresher);
      await loop.stop().catch(() => {
        // Told already, as the node's failure.
      });
    };
    // Clients last: whoever connects can be answered.
    this.#doors.push(
      await ClientDoor.open({
        url: own.client,
        connectionsMax: this.#config.connectionsMax,
        originsAllowed: this.#config.originsAllowed,
        gateway,
        guard: (work) => this.#guard(work),
        log: this.#log,
      }),
    );
    await this.#client.ready(5_000);
    this.#isOpen = true;
    this.#logger.info({ client: own.client, peer: own.peer, http: own.http }, 'node.up');
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  async #stop(): Promise<void> {
    await this.#restarting;
    await this.#handOver();
    // Newest first: no client may wait on something that is already gone.
    await this.#client.close();
    await this.#takeDown();
    await this.#lock.release();
    this.#logger.info('node.stopped');
  }

  /** Who leads hands over while its clients still have it: they need not wait until it is missed. */
  async #handOver(): Promise<void> {
    if (this.status().role !== 'leader' || this.#known.length < 2) return;
    try {
      await this.#client.members.transferLeader(undefined, { deadlineMs: HAND_OVER_MS });
    } catch (error) {
      // Nobody is there to take over, or not in time: it stops all the same, and is missed.
      if (!isStoreError(error)) throw error;
      this.#logger.info({ code: error.code, message: error.message }, 'node.kept-the-lead');
    }
  }

  async #takeDown(): Promise<void> {
    const { state, supervisor, gateway } = this.#parts;
    gateway.close();
    for (const door of this.#doors.reverse()) await door.close();
    this.#doors = [];
    await this.#stopLoops?.();
    this.#stopLoops = undefined;
    state.close();
    await supervisor.stop();
  }

  /**
   * A snapshot is to take the place of this node's state: everything that has to do with the old one goes and is made
   * anew. The embedded client stays; it sends again what was under way, as after any lost connection.
   */
  #startAgain(): void {
    if (!this.#isOpen || this.#stopping !== undefined) return;
    this.#isOpen = false;
    this.#restarting = this.#restart()
      .catch((error: unknown) => this.#fail(error instanceof Error ? error : new Error(String(error))))
      .finally(() => {
        this.#restarting = undefined;
      });
  }

  async #restart(): Promise<void> {
    this.#isBetween = true;
    await this.#takeDown();
    const own = this.#config.nodes[this.id] as ClusterConfig['nodes'][string];
    install(own.dataDir, this.#logger);
    this.#parts = this.#assemble();
    this.#isBetween = false;
    await this.#start();
  }

  /** A broken invariant in a callback stops this node, and not the application around it. */
  #guard(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#fail(error instanceof Error ? error : new Error(String(error)));
    }
  }

  /** An actor ended that should not have: nothing unsynced was promised, so stopping loses nothing. */
  #fail(error: Error): void {
    if (this.#failure !== undefined || this.#stopping !== undefined) return;
    this.#failure = error;
    this.#logger.fatal({ err: error }, error.message);
    void this.#stopAfter(error);
  }

  async #stopAfter(error: Error): Promise<void> {
    try {
      await this.stop();
    } finally {
      this.#tellFailed(error);
    }
  }

  // ── the store's face ──

  get #reader(): StateReader {
    if (!this.#isBetween) return this.#parts.state;
    throw new StoreError('UNAVAILABLE', `${this.id} gets its state from a snapshot`);
  }

  getSync(key: Bytes): Entry | undefined {
    const bytes = (typeof key === 'string' ? this.#keys.encode(key) : undefined) ?? toBytes(key);
    const stored = this.#reader.get(bytes);
    return stored === undefined ? undefined : new LocalEntry(key, stored.value, stored.revision, stored.expiryMs);
  }

  rangeSync(options: { readonly prefix?: Bytes; readonly limit?: number } = {}): Entry[] {
    const from = toBytes(options.prefix ?? '');
    const cursor = this.#reader.scan({ from, to: prefixEnd(from), reverse: false });
    try {
      const entries: Entry[] = [];
      const limit = options.limit ?? Number.POSITIVE_INFINITY;
      while (entries.length < limit) {
        const entry = cursor.next();
        if (entry === undefined) break;
        entries.push(new ClientEntry(entry.key, entry.value, entry.revision, entry.expiryMs));
      }
      return entries;
    } finally {
      cursor.close();
    }
  }

  put: Client['put'] = (key, value, options) => this.#client.put(key, value, options);
  get: Client['get'] = (key, options) => this.#client.get(key, options);
  delete: Client['delete'] = (key, options) => this.#client.delete(key, options);
  range: Client['range'] = (options) => this.#client.range(options);
  txn: Client['txn'] = (build, options) => this.#client.txn(build, options);
  watch: Client['watch'] = (options) => this.#client.watch(options);
  ledger: Client['ledger'] = (options) => this.#client.ledger(options);
  lock: Client['lock'] = (name, options) => this.#client.lock(name, options);
  election: Client['election'] = (name) => this.#client.election(name);

  get members(): Client['members'] {
    return this.#client.members;
  }

  inspect(): Promise<Record<string, unknown>> {
    return this.#parts.supervisor.inspect();
  }

  status(): NodeStatus {
    const { shared } = this.#parts.plumbing;
    const leader = this.#leader();
    const timeMs = shared.get('timeMs');
    return {
      node: this.id,
      cluster: this.#config.cluster,
      role: ROLES[shared.get('role')] ?? 'follower',
      term: shared.get('term'),
      leader: leader.name === '' ? null : leader.name,
      leaderUrl: leader.url === '' ? null : leader.url,
      committed: shared.get('committed'),
      applied: shared.get('applied'),
      lastIndex: shared.get('lastIndex'),
      lagMs: timeMs === 0 ? null : Math.max(0, Date.now() - timeMs),
      keys: Math.max(0, shared.get('tableKeys') + shared.get('memtableKeys')),
      memtableBytes: shared.get('memtableBytes'),
      memtableBytesMax: this.#config.memtableBytes,
      tableBytes: shared.get('tableBytes'),
      flushed: shared.get('flushed'),
      version: VERSION,
      uptimeMs: Math.round(performance.now() - this.#startedMs),
    };
  }

  #leader(): { name: string; url: string } {
    const leader = this.#known[this.#parts.plumbing.shared.get('leader') - 1];
    return leader === undefined ? { name: '', url: '' } : { name: leader.id, url: leader.client };
  }

  #health(): Readiness {
    const actors = this.#parts.supervisor.actors.map(
      ({ name, isRunning }) => [name, isRunning ? 'running' : 'ended'] as const,
    );
    const isHealthy = this.#failure === undefined && actors.every(([, state]) => state === 'running');
    const wal = this.#parts.plumbing.shared.get('walFailed') === 0 ? 'ok' : 'a sync failed';
    return { ok: isHealthy && wal === 'ok', checks: { ...Object.fromEntries(actors), wal } };
  }

  #readiness(): Readiness {
    const own = this.#config.nodes[this.id] as ClusterConfig['nodes'][string];
    return readinessOf({
      isHealthy: this.#health().ok,
      status: this.status(),
      own: memberOf(this.id, own),
      isOpen: this.#isOpen,
      isStopping: this.#stopping !== undefined,
    });
  }

  /** The SDK's way into this node's own gateway: the same frames, no socket. */
  readonly #dialGateway: Dial = (_url, events) => {
    let isClosed = false;
    const close = (): void => {
      if (isClosed) return;
      isClosed = true;
      events.onClose('closed');
    };
    if (this.#isBetween) {
      queueMicrotask(() => events.onClose('the node starts again'));
      return { send: () => {}, bufferedBytes: 0, close: () => {} };
    }
    const { gateway } = this.#parts;
    const connection = gateway.open({
      send: (frame) => {
        if (!isClosed) events.onFrame(frame);
      },
      close,
      bufferedBytes: 0,
    });
    queueMicrotask(() => events.onOpen());
    return {
      send: (frame) => gateway.receive(connection, frame),
      bufferedBytes: 0,
      close: () => {
        gateway.closed(connection);
        close();
      },
    };
  };
}
