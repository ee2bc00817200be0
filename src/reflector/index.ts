/**
 * ctlmesh/reflector: keeps the local replica of a host up to date, from inside a program. `kvctl reflector` is the same
 * as a process of its own.
 *
 *   import { startReflector } from 'ctlmesh/reflector';
 *   const reflector = await startReflector({ endpoints: ['ws://10.0.0.1:7411'], dir: 'data/ldb' });
 *   await reflector.stop();
 *
 * Programs that only read it need `ctlmesh/ldb`; in this one, open it with `besideWriter: true`.
 *
 * @module
 */
export { type ErrorCode, isStoreError, StoreError } from '../core/base/errors.ts';
export type { Revision } from '../core/base/position.ts';
export type { LdbChanges } from '../actors/ldb-changes.ts';
export type { ChangesOptions } from './change-feed.ts';
export type { KeyField, LdbChange } from '../engine/ldb/changes.ts';
export type { FilterInput } from '../core/model/ledger-filter.ts';
export type { ReflectorNews, RunningReflector, StartReflectorOptions } from './options.ts';
export { startReflector } from './reflector.ts';
export type { ReflectorStatus } from './status.ts';
