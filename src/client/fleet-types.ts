/**
 * The SDK's public types of the fleet: the local replicas (LDBs) that follow the cluster, and who shows what.
 */
import type { Revision } from '../core/base/position.ts';
import type { FleetView, FleetVisibility, LdbIdentity, LdbReport } from '../core/wire/fleet.ts';
import type { CallOptions, Visible } from './call-types.ts';

export type { Visible } from './call-types.ts';
export type { FleetView, FleetVisibility, LdbIdentity, LdbReport, LdbRow, LdbState } from '../core/wire/fleet.ts';

/**
 * The replicas of the cluster, whichever node or relay they follow. What counts: those that are connected, and those that
 * left less than 30 s ago and are found nowhere else. docs/fleet.md.
 */
export interface Fleet {
  /** UNAVAILABLE when the node that was asked cannot ask the others; nodes that do not answer are in `unheard`. */
  list(options?: CallOptions): Promise<FleetView>;
  /**
   * Resolves when so many replicas show everything up to `revision`; else NOT_VISIBLE, whose data is a `FleetVisibility`
   * with `revision`: who does not. May be asked again for the same revision.
   */
  visible(
    revision: Revision | number,
    wanted: Visible,
    options?: Pick<CallOptions, 'signal'>,
  ): Promise<FleetVisibility>;
}

/** An LDB that follows the ledger, for the node that feeds it. */
export interface LedgerReplica {
  readonly identity: LdbIdentity;
  /** The stream stands (again): reports go this way from now on. They are lost while it does not. */
  attached(send: (report: LdbReport) => void): void;
  /** Somebody waits: report as soon as this revision is visible. */
  asked(revision: number): void;
}
