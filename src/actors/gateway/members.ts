/**
 * Members: requests about who belongs to the cluster, from a client to replication and back. They are few, slow (a
 * change waits for two entries to be committed) and change nothing that the gateway has, so all it keeps is whom to
 * answer.
 *
 * A request is settled once: by replication's answer, or by its deadline. When the leader changes, the answer may have
 * been lost with it, or be on its way (a leader that is to leave hands over first): it has a moment more to come.
 *
 * Bounds: requests under way; each its deadline.
 */
import { type ByteReader, ByteWriter } from '../../core/base/bytes.ts';
import { StoreError } from '../../core/base/errors.ts';
import { errorOfResult } from '../../core/model/machine.ts';
import { decodeMemberRequest, encodeMemberRequest } from '../../core/wire/members.ts';
import { TO_REPLICATION } from '../messages.ts';
import type { Bell } from '../runtime/bell.ts';
import type { RingWriter } from '../runtime/ring.ts';
import type { Connection } from './connection.ts';

export interface MembersWorld {
  readonly outbox: RingWriter;
  readonly replication: Bell;
  readonly origin: number;
  readonly monotonicMs: () => number;
}

interface Pending {
  readonly connection: Connection;
  readonly request: number;
  /** It only looks: nothing is in doubt when no answer comes. */
  readonly isList: boolean;
  deadlineMs: number;
}

/** Operators ask these, one at a time; more is somebody's loop gone wild. */
const UNDER_WAY_MAX = 64;
/** How long an answer may take to come after the leader has changed. */
const AFTER_CHANGE_MS = 1_000;

export class Members {
  readonly #world: MembersWorld;
  readonly #pending = new Map<number, Pending>();
  /** Begins where no earlier boot did: what peers still say of that one's tokens is not about ours. */
  #nextToken: number;

  constructor(world: MembersWorld) {
    this.#world = world;
    this.#nextToken = world.origin >>> 0;
  }

  get underWay(): number {
    return this.#pending.size;
  }

  /** Takes a request; throws the typed error of one that may not enter. */
  submit(connection: Connection, request: number, deadlineMs: number, body: Uint8Array): void {
    const asked = decodeMemberRequest(body);
    const limit = UNDER_WAY_MAX;
    if (this.#pending.size >= limit) {
      throw new StoreError('OVERLOADED', `a node holds ${limit} requests about members`, { data: { limit } });
    }
    const token = this.#nextToken;
    this.#nextToken = (token + 1) >>> 0;
    // What was checked goes on, and nothing else that was sent.
    const json = encodeMemberRequest(asked);
    const frame = new ByteWriter(json.length + 8).u8(TO_REPLICATION.member).u32(token).raw(json);
    if (!this.#world.outbox.write(frame.view())) throw new StoreError('OVERLOADED', 'too much waits to be replicated');
    this.#pending.set(token, { connection, request, isList: asked.op === 'list', deadlineMs });
    connection.inFlight++;
    this.#world.replication.ring();
  }

  /** Replication's answer: token u32 | code u8 | JSON. */
  answered(reader: ByteReader): void {
    const pending = this.#settle(reader.u32());
    // Nobody waits any more: it was past its deadline.
    if (pending === undefined) return;
    const { connection, request } = pending;
    const code = errorOfResult(reader.u8());
    const json = reader.raw(reader.left);
    const said = JSON.parse(new TextDecoder().decode(json)) as { readonly index?: number; readonly message?: string };
    if (code === undefined) connection.ok(request, said.index ?? 0, json);
    else connection.fail(request, new StoreError(code, said.message ?? 'the members were not changed'));
  }

  /** Who leads has changed, or the way to it broke. */
  leaderChanged(): void {
    const untilMs = this.#world.monotonicMs() + AFTER_CHANGE_MS;
    for (const pending of this.#pending.values()) pending.deadlineMs = Math.min(pending.deadlineMs, untilMs);
  }

  /** Gives up what is past its deadline. */
  sweep(nowMs: number): void {
    for (const [token, { connection, request, isList, deadlineMs }] of this.#pending) {
      if (deadlineMs > nowMs) continue;
      this.#settle(token);
      connection.fail(
        request,
        isList
          ? new StoreError('UNAVAILABLE', 'no leader said who the members are')
          : new StoreError('OUTCOME_UNKNOWN', 'no leader said that the change of members is done; it may yet happen'),
      );
    }
  }

  /** Nobody is there to be answered; what was asked for goes on. */
  closed(connection: Connection): void {
    for (const [token, pending] of this.#pending) if (pending.connection === connection) this.#settle(token);
  }

  #settle(token: number): Pending | undefined {
    const pending = this.#pending.get(token);
    if (pending === undefined) return undefined;
    this.#pending.delete(token);
    pending.connection.inFlight--;
    return pending;
  }
}
