/** kvctl history check: verdicts, words and exit codes. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { kvctl } from './fixtures/fake-kvctl.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'ctlmesh-history-'));
});
afterEach(() => rmSync(dir, { recursive: true }));

function file(...events: readonly object[]): string {
  const path = join(dir, 'history.jsonl');
  writeFileSync(path, events.map((event) => `${JSON.stringify(event)}\n`).join(''));
  return path;
}

const write = (process: number, value: number): object[] => [
  { process, type: 'invoke', f: 'write', key: 'x', value },
  { process, type: 'ok', f: 'write', key: 'x', value },
];
const read = (process: number, value: number): object[] => [
  { process, type: 'invoke', f: 'read', key: 'x' },
  { process, type: 'ok', f: 'read', key: 'x', value },
];

test('a history that can be: exit 0', async () => {
  const path = file(...write(0, 1), ...read(1, 1));
  const done = await kvctl(['history', 'check', path]);
  expect(done).toMatchObject({ code: 0, err: '' });
  expect(done.out).toMatch(/^ok \(2 operations on 1 keys, \d+ ms\)\n$/);
  const { out } = await kvctl(['history', 'check', path, '--json']);
  expect(JSON.parse(out)).toMatchObject({ verdict: 'ok', checkedOps: 2, keys: 1, events: 4 });
});

test('one that cannot: exit 1, with the window', async () => {
  const path = file(...write(0, 1), ...write(0, 2), ...read(1, 1));
  const done = await kvctl(['history', 'check', path]);
  expect(done.code).toBe(1);
  expect(done.out).toContain('violation (3 operations');
  expect(done.out).toContain('process 1: read 1 (lines 5 to 6)');
  const { out } = await kvctl(['history', 'check', path, '--json']);
  expect(JSON.parse(out)).toMatchObject({
    verdict: 'violation',
    violation: { keys: ['"x"'], fromLine: 3, toLine: 6, operations: [{ fromLine: 3 }, { fromLine: 5 }] },
  });
});

test('a search that was given up: exit 1, unknown', async () => {
  const path = file(...write(0, 1), ...write(0, 2), ...write(0, 3), ...read(1, 3));
  const done = await kvctl(['history', 'check', path, '--configurations', '1']);
  expect(done).toMatchObject({ code: 1 });
  expect(done.out).toContain('unknown: the budget ended');
});

test('list-append: an anomaly by name, and as much as was promised', async () => {
  const txn = (process: number, ...value: readonly unknown[]): object[] => [
    { process, type: 'invoke', f: 'txn', value },
    { process, type: 'ok', f: 'txn', value },
  ];
  const path = file(...txn(0, ['append', 'x', 1]), ...txn(1, ['r', 'x', []]), ...txn(2, ['r', 'x', [1]]));
  const done = await kvctl(['history', 'check', path, '--model', 'list-append']);
  expect(done.code).toBe(1);
  expect(done.out).toContain('G-single-realtime: T1 must come before itself:');
  const weaker = ['--model', 'list-append', '--isolation', 'serializable', '--json'];
  const { code, out } = await kvctl(['history', 'check', path, ...weaker]);
  expect([code, JSON.parse(out)]).toMatchObject([0, { verdict: 'ok', checkedOps: 3, anomalies: [] }]);
});

test('what is no history: exit 2, with the line', async () => {
  const bad = await kvctl(['history', 'check', file({ process: 0, type: 'invoke', f: 'frob', key: 'x' })]);
  expect(bad).toMatchObject({ code: 2, out: '' });
  expect(bad.err).toContain('line 1 has an unknown f: "frob"');
  const missing = await kvctl(['history', 'check', join(dir, 'none')]);
  expect(missing).toMatchObject({ code: 2, out: '' });
  expect(missing.err).toContain('cannot read');
  const registers = await kvctl(['history', 'check', file(...write(0, 1)), '--model', 'list-append']);
  expect(registers).toMatchObject({ code: 2, out: '' });
  expect((await kvctl(['history', 'check', file(), '--model', 'queue'])).code).toBe(2);
});
