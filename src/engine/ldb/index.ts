/**
 * ctlmesh/ldb: the local replica, for the programs of a host that read it.
 */
export { type ErrorCode, isStoreError, StoreError } from '../../core/base/errors.ts';
export type { Revision } from '../../core/base/position.ts';
export type { LdbEntry } from './entry.ts';
export type { LdbPosition } from './format.ts';
export { type LdbGetOptions, type LdbRangeOptions, type LdbReader, type OpenLdbOptions, openLdb } from './reader.ts';
