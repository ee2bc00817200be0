/**
 * Heartbeat: a row that the leader writes every so often, for who measures the age of replicas by the rows in them, as
 * ctlstore's users do. Ours need none of it: the log's clock goes on about once a second while nobody writes.
 *
 *   family ctlmesh, table heartbeats      name string (key) | value integer     'heartbeat', wall clock in ms
 *
 * Family, table and writer are made when they are missing. The writer's secret is this node's, made up with each start:
 * whoever leads next gives it another one. One beat at a time; what does not succeed until the next one is due is left.
 */
import { randomBytes } from 'node:crypto';
import type { LogFunction } from '../actors/runtime/thread.ts';
import type { Control } from '../client/control-types.ts';
import { isStoreError } from '../core/base/errors.ts';

export interface HeartbeatWorld {
  /** 0: never. */
  readonly everyMs: number;
  readonly isLeader: () => boolean;
  readonly control: Pick<Control, 'createFamily' | 'createTable' | 'registerWriter' | 'rotateWriter' | 'mutate'>;
  readonly log: LogFunction;
}

const FAMILY = 'ctlmesh';
const TABLE = 'heartbeats';
const WRITER = 'ctlmesh-heartbeat';
const DEADLINE_MS_MIN = 1_000;

export class Heartbeat {
  readonly #world: HeartbeatWorld;
  readonly #secret = randomBytes(24).toString('hex');
  readonly #timer: NodeJS.Timeout | undefined;
  #underWay: Promise<void> | undefined;
  #hasFailed = false;

  constructor(world: HeartbeatWorld) {
    this.#world = world;
    if (world.everyMs > 0) this.#timer = setInterval(() => this.#look(), world.everyMs);
  }

  /** The beat that is under way is waited for. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#underWay;
  }

  #look(): void {
    if (this.#underWay !== undefined || !this.#world.isLeader()) return;
    this.#underWay = this.#beat().finally(() => {
      this.#underWay = undefined;
    });
  }

  async #beat(): Promise<void> {
    try {
      await this.#write().catch(async (error: unknown) => {
        // The first one of a cluster, or of this leader.
        if (!isStoreError(error, 'NOT_FOUND') && !isStoreError(error, 'FORBIDDEN')) throw error;
        await this.#prepare();
        await this.#write();
      });
      this.#hasFailed = false;
    } catch (error) {
      if (!isStoreError(error)) throw error;
      if (!this.#hasFailed) this.#world.log('warn', 'heartbeat.failed', { code: error.code, message: error.message });
      this.#hasFailed = true;
    }
  }

  async #write(): Promise<void> {
    const mutations = [{ table: TABLE, upsert: { name: 'heartbeat', value: Date.now() } }];
    await this.#world.control.mutate({ family: FAMILY, writer: WRITER, secret: this.#secret, mutations }, this.#call);
  }

  async #prepare(): Promise<void> {
    const { control } = this.#world;
    await unlessThere(control.createFamily(FAMILY, this.#call));
    const spec = { fields: { name: 'string', value: 'integer' }, key: ['name'] } as const;
    await unlessThere(control.createTable(FAMILY, TABLE, spec, this.#call));
    const isNew = await unlessThere(control.registerWriter(WRITER, this.#secret, this.#call));
    if (!isNew) await control.rotateWriter(WRITER, this.#secret, this.#call);
  }

  get #call(): { readonly deadlineMs: number } {
    return { deadlineMs: Math.max(DEADLINE_MS_MIN, this.#world.everyMs) };
  }
}

/** False: it was there. */
async function unlessThere(made: Promise<unknown>): Promise<boolean> {
  try {
    await made;
    return true;
  } catch (error) {
    if (isStoreError(error, 'ALREADY_EXISTS')) return false;
    throw error;
  }
}
