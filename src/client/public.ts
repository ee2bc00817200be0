/**
 * What users of the SDK may have, on every platform.
 */
export { type ErrorCode, ERROR_CODES, isStoreError, type Retry, StoreError } from '../core/base/errors.ts';
export type { Revision } from '../core/base/position.ts';
export type { Election, Held, Leader, Leadership, Lock, LockOptions } from './locks-types.ts';
export type {
  Bytes,
  CallOptions,
  Client,
  ClientEvent,
  ClientState,
  ConnectOptions,
  DeleteResult,
  Entry,
  GetOptions,
  LedgerFrame,
  LedgerOptions,
  Member,
  MemberProgress,
  Members,
  MembersView,
  NodeStatus,
  PutOptions,
  RangeOptions,
  SlowWatch,
  SnapshotEntry,
  TxnBuilder,
  TxnCondition,
  TxnOpResult,
  TxnResult,
  WatchBookmark,
  WatchEvent,
  WatchItem,
  WatchOptions,
  WriteResult,
} from './types.ts';
