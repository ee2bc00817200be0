/**
 * ctlmesh/ldb: the local replica, for the programs of a host that read it.
 */
export { type ErrorCode, isStoreError, StoreError } from '../../core/base/errors.ts';
export type { Revision } from '../../core/base/position.ts';
export {
  defineFamily,
  type KeyOf,
  type KeyPrefixOf,
  type RowOf,
  type Table,
} from '../../core/model/control/define.ts';
export type { Row } from '../../core/model/control/row.ts';
export type { Field, FieldType, TableSchema } from '../../core/model/control/schema.ts';
export type { GivenValue, Value } from '../../core/model/control/value.ts';
export type { LedgerFilter } from '../../core/model/ledger-filter.ts';
export { type FollowChangelogOptions, followChangelog } from './changelog-follower.ts';
export type { ChangesFilter, KeyField, LdbChange } from './changes.ts';
export type { LdbEntry } from './entry.ts';
export type { LdbPosition } from './format.ts';
export { stagedIn, type StagedView } from './staged-view.ts';
export { type LdbGetOptions, type LdbRangeOptions, type LdbReader, type OpenLdbOptions, openLdb } from './reader.ts';
