/** A condition as a value is the condition that the builder has a method for. */
import { expect, test } from 'vitest';
import { Builder } from '../../src/client/txn.ts';
import type { TxnCondition } from '../../src/client/types.ts';
import { codeOf } from './fake-server.ts';

test.each<[TxnCondition, (t: Builder) => Builder]>([
  [{ kind: 'revision', key: 'k', revision: 7 }, (t) => t.ifRevision('k', 7)],
  [{ kind: 'exists', key: 'k' }, (t) => t.ifExists('k')],
  [{ kind: 'absent', key: 'k' }, (t) => t.ifAbsent('k')],
  [{ kind: 'value', key: 'k', value: 'v' }, (t) => t.ifValue('k', 'v')],
])('%o', (condition, method) => {
  expect(new Builder().if(condition).build()).toEqual(method(new Builder()).build());
});

test('anything else is refused, and so is a condition behind an operation', async () => {
  const refused = (build: () => unknown): Promise<unknown> => codeOf(Promise.resolve().then(build));
  expect(await refused(() => new Builder().if({ kind: 'older' } as unknown as TxnCondition))).toBe('BAD_REQUEST');
  expect(await refused(() => new Builder().if({ kind: 'revision', key: 'k', revision: -1 }))).toBe('BAD_REQUEST');
  expect(await refused(() => new Builder().put('k', 'v').if({ kind: 'exists', key: 'k' }))).toBe('BAD_REQUEST');
});
