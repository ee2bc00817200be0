/**
 * What a replica is, and what it is given by the run that it is part of.
 */
import type { FilterInput, LedgerFilter } from '../../src/core/model/ledger-filter.ts';
import type { Chance } from './chance.ts';
import type { Feeder } from './feeder.ts';
import type { LdbPlatter } from './ldb-platter.ts';
import type { SimNode } from './node.ts';
import type { EventQueue } from './queue.ts';
import type { Reference } from './reference.ts';
import type { Trace } from './trace.ts';

export interface ReplicaWorld {
  readonly queue: EventQueue;
  /** Its own: what replicas draw changes nothing for the others. */
  readonly chance: Chance;
  readonly trace: Trace;
  readonly reference: Reference;
  readonly nodes: readonly SimNode[];
  /** Replicas that feed others. */
  readonly relays: () => readonly Feeder[];
  /** Promises are to run before the next event. */
  readonly async: () => void;
  /**
   * The next event waits until this has settled: work of a real thread, which takes no virtual time. Resolves behind all that
   * was held before: else two replicas would go on in the order of their threads, and a seed would be two runs.
   */
  readonly hold: (work: Promise<unknown>) => Promise<unknown>;
  readonly fail: (error: Error) => void;
}

export interface ReplicaKind {
  readonly name: string;
  readonly platter: LdbPlatter;
  readonly token: string;
  /** What its token may have; undefined: everything. */
  readonly grant: LedgerFilter | undefined;
  /** What it may wish for; a life in so many wishes for another one, and has its LDB rebuilt. */
  readonly wishes: readonly (FilterInput | undefined)[];
  /** What a life may be in; '': in none. */
  readonly rings: readonly string[];
  /** It feeds others. */
  readonly isRelay: boolean;
}
