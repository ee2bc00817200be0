/**
 * ctlmesh/testing/ldb: local replicas for the unit tests of programs that read one.
 *
 * ```ts
 * import { TestLdb } from 'ctlmesh/testing/ldb';
 * const ldb = await TestLdb.create({ entries: { 'flags/new-ui': 'on' } });
 * ldb.reader.get('flags/new-ui')?.text();
 * await ldb.close();
 * ```
 *
 * Beside ctlmesh/testing and not in it: that one has no outside and runs anywhere; this one writes files with LMDB.
 */
export { isStoreError, StoreError } from '../core/base/errors.ts';
export { TestLdb, type TestLdbOptions, type TestTable, type TestUpdate } from './test-ldb.ts';
