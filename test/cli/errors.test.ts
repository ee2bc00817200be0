import { expect, test } from 'vitest';
import { describe as describeError } from '../../src/cli/kvctl/errors.ts';
import { StoreError } from '../../src/core/base/errors.ts';

test('COMPACTED says which revision is the oldest, where the node told it', () => {
  const error = new StoreError('COMPACTED', 'revision 3 is no longer kept', { data: { oldestRevision: 90 } });
  expect(describeError(error)).toMatch(/COMPACTED; begin at revision 90, /);
  expect(describeError(new StoreError('COMPACTED', 'gone'))).toMatch(/COMPACTED; .*scan, then watch from now/);
});
