/**
 * ledgerSource: the ledger of a cluster, as the reflector wants it, through the SDK.
 *
 * Each stream has a connection of its own; the reflector comes back for another when it ends. Any node will do, and the
 * leader has enough to do.
 */
import type { LedgerSource, ReflectorFrame } from '../actors/reflector.ts';
import type { LedgerReplica } from '../client/fleet-types.ts';
import type { Client, ClientEvent, ConnectOptions } from '../client/types.ts';
import type { LedgerFilter } from '../core/model/ledger-filter.ts';

export interface SourceOptions {
  readonly endpoints: readonly string[];
  readonly connect: (urls: readonly string[], options: ConnectOptions) => Promise<Client>;
  /** For a connection to stand. */
  readonly deadlineMs: number;
  readonly onConnection?: (event: ClientEvent) => void;
  /** Who reads, where the cluster wants to know. */
  readonly token?: string | undefined;
  /** What is wanted; undefined: all that may be had. */
  readonly filter?: LedgerFilter | undefined;
  /** Who follows; undefined: the cluster does not know of it. */
  readonly replica?: LedgerReplica | undefined;
}

export function ledgerSource(options: SourceOptions): LedgerSource {
  const { endpoints, connect, deadlineMs, onConnection, token, filter, replica } = options;
  return async function* (at): AsyncGenerator<ReflectorFrame> {
    const client = await connect(endpoints, {
      deadlineMs,
      connectDeadlineMs: deadlineMs,
      followLeader: false,
      ...(token === undefined ? {} : { token }),
      ...(at.signal === undefined ? {} : { signal: at.signal }),
      ...(onConnection === undefined ? {} : { onEvent: onConnection }),
    });
    try {
      yield* client.ledger({ ...at, token, filter, replica });
    } finally {
      await client.close().catch(() => {
        // It was going away in any case.
      });
    }
  };
}
