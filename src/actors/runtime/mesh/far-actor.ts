/**
 * Far actor: one life of an actor on another node, as this one knows it. And how a ref travels: as a token that says which
 * node's it is, in which life of that node's actors, and what may be said to it.
 */
import { z } from 'zod';
import { StoreError } from '../../../core/base/errors.ts';
import type { Envelope } from '../core/envelope.ts';
import { type MailboxLimits, mailboxLimits, type Offered } from '../core/mailbox.ts';
import type { Protocol } from '../core/protocol.ts';
import type { KindTable, Table } from '../core/table.ts';
import type { Target } from '../core/target.ts';
import { parseReply } from '../core/trust.ts';
import type { DeathNotice, EndReason, StopOptions } from '../core/types.ts';
import type { To, ToActor } from './frames.ts';
import type { Peer } from './peer.ts';

const KINDS_MAX = 1_024;
const name = z.string().max(256);

export interface MeshToken {
  readonly node: string;
  /** Of the node's actors: another after each start. */
  readonly boot: string;
  readonly id: number;
  readonly path: string;
  readonly incarnation: number;
  readonly kinds: readonly Pick<KindTable, 'kind' | 'how' | 'refs'>[];
}

export const meshToken: z.ZodType<MeshToken> = z.strictObject({
  node: name,
  boot: name,
  id: z.int(),
  path: z.string().max(1024),
  incarnation: z.int(),
  kinds: z
    .array(z.strictObject({ kind: name, how: z.enum(['tell', 'ask', 'stream']), refs: z.array(name).max(255) }))
    .max(KINDS_MAX),
});

/** The kinds as the runtime uses them. Nothing is weighed: a message is measured in the form in which it leaves. */
function tableFrom(kinds: MeshToken['kinds']): Table {
  const byNumber = kinds.map(({ kind, how, refs }, number): KindTable => {
    return { kind, number, how, refs, fields: [], heavy: [], fixedBytes: 0 };
  });
  const byKind = Object.create(null) as Record<string, KindTable>;
  for (const entry of byNumber) byKind[entry.kind] = entry;
  return { byKind, byNumber };
}

export interface FarWorld {
  /** What it is said to speak, by the field that the ref came in. */
  readonly protocol: Protocol | undefined;
  /** The node's, as it is now. */
  readonly peer: () => Peer;
  /** Refs in a message as tokens. */
  readonly exportRefs: (table: Table, envelope: Envelope) => unknown;
  readonly nextId: () => number;
}

export class FarActor implements Target {
  readonly id: number;
  readonly path: string;
  readonly incarnation: number;
  readonly table: Table;
  readonly limits: MailboxLimits = mailboxLimits();
  readonly token: MeshToken;
  readonly #world: FarWorld;
  readonly #to: ToActor;

  constructor(token: MeshToken, world: FarWorld) {
    this.token = token;
    this.#world = world;
    this.id = world.nextId();
    this.path = `${token.node}:${token.path}`;
    this.incarnation = token.incarnation;
    this.table = tableFrom(token.kinds);
    this.#to = { boot: token.boot, id: token.id, path: token.path };
  }

  offer(envelope: Envelope, _mayWait: boolean): Offered {
    const { protocol } = this.#world;
    return sayOrTell(this.#world.peer(), envelope, {
      to: this.#to,
      path: this.path,
      message: () => this.#world.exportRefs(this.table, envelope),
      // Where nobody said what it speaks an answer is plain data, and no more is known of it.
      parse: (value) => (protocol === undefined ? value : parseReply(protocol, envelope.message.kind, value)),
    });
  }

  watch(listener: (notice: DeathNotice) => void): () => void {
    const { path, incarnation } = this;
    return this.#world.peer().watch(this.#to, (reason: EndReason) => listener({ path, incarnation, reason }));
  }

  /** As its own node does it. Peers trust each other: who has a ref may end its actor. */
  stop(options: StopOptions = {}): Promise<void> {
    return this.#world.peer().stop(this.#to, options);
  }

  kill(): void {
    this.#world.peer().kill(this.#to);
  }
}

export interface FarSaying {
  readonly to: To;
  readonly path: string;
  readonly message: () => unknown;
  readonly parse: (value: unknown) => unknown;
}

/**
 * Sends now or refuses. Whoever asks is told why with the error that fits; a tell is told no (and is a dead letter, by
 * whoever sent it).
 */
export function sayOrTell(peer: Peer, envelope: Envelope, { message, ...saying }: FarSaying): Offered {
  const { path } = saying;
  const { answer, admission, sink } = envelope.waiting;
  const isTell = answer === undefined && admission === undefined && sink === undefined;
  try {
    const said = peer.say(envelope, { ...saying, message: message() });
    if (said === 'sent') return 'taken';
    if (said !== 'away') return said;
    throw new StoreError('UNAVAILABLE', `${peer.id} is out of reach: ${path} was told nothing`, {
      data: { peer: peer.id },
    });
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
    if (isTell) return 'full';
    envelope.discard(error);
    // Settled: nobody waits for it any more.
    return 'taken';
  }
}
