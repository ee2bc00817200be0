/**
 * Anomalies, with the names of Adya's thesis (G0 to G2) and of Elle, and which promise each one breaks.
 */
import type { Operation } from '../history/types.ts';

export type Isolation = 'serializable' | 'session-serializable' | 'strict-serializable';

/** `-process`, `-realtime`: the cycle needs the order of one process, or of real time. */
type Cycle = 'G0' | 'G1c' | 'G-single' | 'G2';
export type AnomalyKind =
  | 'internal'
  | 'duplicate-elements'
  | 'incompatible-order'
  | 'garbage-read'
  | 'G1a'
  | 'G1b'
  | 'dirty-update'
  | 'lost-append'
  | Cycle
  | `${Cycle}-process`
  | `${Cycle}-realtime`;

export interface Anomaly {
  readonly kind: AnomalyKind;
  /** What happened, in words; T7 is the operation with index 7. */
  readonly text: string;
  readonly operations: readonly Operation[];
}

export function anomaly(kind: AnomalyKind, text: string, operations: readonly Operation[]): Anomaly {
  return { kind, text, operations: [...new Set(operations)] };
}
