/**
 * Facts: what each actor of a node says of itself when it is asked (`node.inspect()`): where it stands, for people who look into a
 * node. They cross threads as they are, so they are plain data; each module's `start` is held to its own (beginnings.ts).
 */
import type { Role } from '../core/raft/raft.ts';
import type { TreeFacts } from '../engine/lsm/tree/keeper-world.ts';

export interface CommitterFacts {
  /** The last LSN that was written. */
  readonly logged: number;
  /** The segment that is written, and where in it. */
  readonly segment: number;
  readonly offset: number;
  /** The oldest segment, and the first entry of the log. */
  readonly firstSegment: number;
  readonly firstIndex: number;
  /** Files of zeros that are ready to become segments. */
  readonly spares: number;
}

export interface SyncerFacts {
  /** The last LSN that is on disk. */
  readonly synced: number;
  readonly syncs: number;
}

export interface MemtableFacts {
  readonly applied: number;
  /** Of the active memtable. */
  readonly bytes: number;
  readonly generation: number;
  /** The oldest revision of the ledger, and of superseded values, that is kept. */
  readonly ledgerFrom: number;
  readonly historyFrom: number;
}

export interface CompactorFacts extends TreeFacts {
  /** Indexes of snapshots on their way out and in. */
  readonly snapshots: { readonly sends: number | undefined; readonly receives: number | undefined };
}

export interface ShipperFacts {
  readonly subscriptions: number;
  readonly windowBytes: number;
  readonly heldBytes: number;
}

export interface LogFacts {
  readonly first: number;
  /** All voters have the log up to here. */
  readonly matchedByAll: number;
  readonly truncatable: number;
  readonly flushed: number;
  readonly keptFrom: number;
  /** Who holds the log back, and by how many entries; only a leader knows. */
  readonly heldBy: unknown;
}

/** A snapshot that is sent to followers; how far each has it, in bytes. */
export interface SendFacts {
  readonly index: number;
  readonly bytes: number;
  readonly to: Readonly<Record<string, number>>;
}

export interface ReceiveFacts {
  readonly from: string;
  readonly index: number;
  readonly bytes: number;
  /** Bytes; undefined: it is not known yet where it goes on. */
  readonly received: number | undefined;
}

export interface TransferFacts {
  readonly sends: SendFacts | undefined;
  readonly receives: ReceiveFacts | undefined;
}

export interface ReplicationFacts {
  readonly role: Role;
  readonly term: number;
  readonly leader: string | undefined;
  /** Commands and reads that wait for a leader. */
  readonly held: number;
  readonly reads: number;
  /** Records that the wal-committer has not taken yet. */
  readonly recordBacklog: number;
  readonly log: LogFacts;
  readonly snapshots: TransferFacts | undefined;
}

/** By actor; those that do not answer are not there. */
export interface NodeFacts {
  readonly compactor: CompactorFacts;
  readonly memtable: MemtableFacts;
  readonly replication: ReplicationFacts;
  readonly shipper: ShipperFacts;
  readonly syncer: SyncerFacts;
  readonly 'wal-committer': CommitterFacts;
}
