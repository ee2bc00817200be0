/**
 * ClientFleet: the SDK's questions about the replicas that follow the cluster. They are asked of the node that the client
 * is connected to, which asks the others. A question only looks, so it goes again when its answer was lost; the time it
 * has is the call's, as it was when it was first asked.
 */
import { isStoreError, StoreError } from '../core/base/errors.ts';
import type { Revision } from '../core/base/position.ts';
import { decodeFleetView, decodeVisibility, encodeFleetRequest } from '../core/wire/fleet.ts';
import type { CallOptions, WriteResult } from './call-types.ts';
import type { Answered } from './calls.ts';
import type { Fleet, FleetView, FleetVisibility, Visible } from './fleet-types.ts';

export interface FleetWorld {
  readonly ask: (body: Uint8Array, options: CallOptions) => Promise<Answered>;
}

const WITHIN_MS = 1_000;
/** A node tells who does not show it when the time is up; so much longer it is listened for. */
const ANSWER_MS = 2_500;

export class ClientFleet implements Fleet {
  readonly #world: FleetWorld;

  constructor(world: FleetWorld) {
    this.#world = world;
  }

  async list(options: CallOptions = {}): Promise<FleetView> {
    const { extra } = await this.#world.ask(encodeFleetRequest({ op: 'list' }), options);
    return decodeFleetView(extra);
  }

  async visible(
    revision: Revision | number,
    wanted: Visible,
    { signal }: Pick<CallOptions, 'signal'> = {},
  ): Promise<FleetVisibility> {
    const { replicas: share, withinMs = WITHIN_MS, replicasMin = 0 } = wanted;
    checkWanted(wanted);
    const body = encodeFleetRequest({ op: 'visible', revision, share, replicasMin, withinMs });
    const deadlineMs = withinMs + ANSWER_MS;
    const { extra } = await this.#world.ask(body, signal === undefined ? { deadlineMs } : { deadlineMs, signal });
    return decodeVisibility(extra);
  }

  /** A write that was answered, once it is visible. Whatever goes wrong now: it is committed, and the error says so. */
  async afterWrite<R extends WriteResult>(result: R, wanted: Visible, signal: AbortSignal | undefined): Promise<R> {
    const { revision } = result;
    try {
      const visibility = await this.visible(revision, wanted, signal === undefined ? {} : { signal });
      return { ...result, visibility };
    } catch (cause) {
      if (!isStoreError(cause)) throw cause;
      const message = `the write is committed as revision ${revision}; ${cause.message}`;
      throw new StoreError('NOT_VISIBLE', message, { cause, data: { ...cause.data, revision } });
    }
  }
}

/** Before the write: what cannot be waited for is said while nothing is done. Throws BAD_REQUEST. */
export function checkWanted({ replicas, withinMs = WITHIN_MS, replicasMin = 0 }: Visible): void {
  if (!(replicas > 0 && replicas <= 1)) {
    throw new StoreError('BAD_REQUEST', `visible.replicas is a share above 0, at most 1 (got ${replicas})`);
  }
  if (!(withinMs >= 0 && withinMs <= 600_000)) {
    throw new StoreError('BAD_REQUEST', `visible.withinMs is 0 to 600000 (got ${withinMs})`);
  }
  if (!Number.isSafeInteger(replicasMin) || replicasMin < 0) {
    throw new StoreError('BAD_REQUEST', `visible.replicasMin is a number from 0 (got ${replicasMin})`);
  }
}
