/**
 * Torture as a command, for three kills: that it kills, that it judges what was seen, and that its history is one which
 * can be found wrong. The long run is `npm run torture -- --kills 1000 --pause`.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { judge, worst } from '../../scripts/torture/history-file.ts';
import { type HistoryEvent, parseHistory } from '../../src/testing/index.ts';
import { Run } from '../support/cluster-process.ts';

const KILLS = 3;
let dir: string | undefined;
let run: Run | undefined;
afterEach(async () => {
  // Not SIGKILL: it ends its nodes with itself.
  if (run?.isOver === false) await run.kill('SIGTERM');
  if (dir !== undefined) rmSync(dir, { recursive: true, force: true });
});

test('a few kills: the verdict is ok, the report says what happened, and the history can be found wrong', async () => {
  dir = mkdtempSync(join(tmpdir(), 'ctlmesh-torture-'));
  const [history, report] = [join(dir, 'history.jsonl'), join(dir, 'report.json')];
  const flags = ['--kills', String(KILLS), '--seed', '11', '--history', history, '--report', report];
  run = new Run(['scripts/torture.ts', ...flags]);
  const { code } = await run.ended;
  expect(code, run.output).toBe(0);
  expect(run.output).toContain('verdict: ok');

  const said = JSON.parse(readFileSync(report, 'utf8')) as Record<string, number | string>;
  expect(said).toMatchObject({ verdict: 'ok', seed: 11, nodes: 3, kills: KILLS });
  const events = readFileSync(history, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as HistoryEvent);
  const done = events.filter(({ type }) => type === 'ok');
  expect(new Set(done.map(({ f }) => f))).toEqual(new Set(['read', 'write', 'cas', 'append', 'txn']));
  expect(done.length).toBe(Number(said['acked']) + Number(said['reads']));

  // The same history with one read that saw what nobody wrote.
  const last = events.findLastIndex(({ type, f, key }) => type === 'ok' && f === 'read' && key !== undefined);
  const wrong = events.map((event, i) => (i === last ? { ...event, value: -1 } : event));
  expect(worst(await judge(parseHistory(wrong), () => {}))).toBe('violation');
}, 180_000);
