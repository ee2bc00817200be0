/**
 * ctlmesh/testing: checkers for the histories of a store, ours or another: what clients saw, and whether it can be.
 *
 * ```ts
 * import { checkLinearizable, parseHistory } from 'ctlmesh/testing';
 * const result = checkLinearizable(parseHistory(readFileSync('history.jsonl', 'utf8')));
 * if (result.verdict !== 'ok') console.error(result.violation?.text ?? result.reason);
 * ```
 *
 * Pure: no clock, no file, no dependency. docs/testing.md is the manual.
 *
 * And `TestActors`: the actor runtime in virtual time, with the order of turns from a seed (docs/actors.md).
 */
export { HistoryParser, parseHistory, type ParserOptions } from './history/parser.ts';
export { HistoryRecorder, type Pending, type RecorderOptions } from './history/recorder.ts';
export type { Json } from './history/json.ts';
export type {
  EventFunction,
  EventType,
  History,
  HistoryEvent,
  Moment,
  Operation,
  Part,
} from './history/types.ts';
export {
  type CheckProgress,
  checkLinearizable,
  type LinearizabilityOptions,
  type LinearizabilityResult,
  type LinearizabilityViolation,
  linearizabilitySteps,
} from './linearizability/check.ts';
export { checkListAppend, type ListAppendOptions, type ListAppendResult } from './list-append/check.ts';
export type { Anomaly, AnomalyKind, Isolation } from './list-append/anomaly.ts';
export {
  type Breach,
  type Change,
  CommittedLog,
  type CommittedRevision,
  type Guarantee,
  type ObservationResult,
} from './committed/log.ts';
export { checkWatch, type WatchCheckOptions, type WatchObservation } from './committed/watch.ts';
export { checkLdb, type LdbObservation } from './committed/ldb.ts';
export { type LoggedLine, type Probe, TestActors, type TestActorsOptions } from './actors/test-actors.ts';
