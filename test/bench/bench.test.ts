/**
 * The bench as a program: what it says of itself, and the shape of its JSON, which later scenarios keep.
 */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
import { runLoad } from '../../bench/support/load.ts';
import { figure, jsonRow, Report, targetLine } from '../../bench/support/report.ts';
import type { Row } from '../../bench/support/scenario.ts';

const run = promisify(execFile);
const ENTRY = join(import.meta.dirname, '../../bench/main.ts');
const SCENARIOS = ['quorum-put', 'lin-get', 'failover', 'embedded-put', 'get-sync', 'ldb-get', 'ldb-lag'];

async function bench(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  try {
    const { stdout, stderr } = await run(process.execPath, [ENTRY, ...args]);
    return { code: 0, out: stdout, err: stderr };
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
    return { code, out: stdout, err: stderr };
  }
}

const row: Row = {
  variant: 'put 100 B',
  system: 'ctlmesh',
  inFlight: 64,
  opsPerSecond: 41_234.56,
  p50Ms: 1.234_567_89,
  p99Ms: 3,
  p999Ms: Number.NaN,
  more: { fsyncsPerCommit: 0.02 },
};

describe('the command line', () => {
  test('list, and nothing at all, name every scenario', async () => {
    for (const args of [['list'], []]) {
      const { code, out } = await bench(...args);
      expect(code).toBe(0);
      for (const name of SCENARIOS) expect(out).toContain(`  ${name}`);
    }
  });

  test('an unknown scenario is one line on stderr, and stdout stays empty', async () => {
    const { code, out, err } = await bench('nope', '--json');
    expect({ code, out }).toEqual({ code: 1, out: '' });
    expect(err).toMatch(/^bench: there is no scenario 'nope'; there are quorum-put, .*\n$/);
  });

  test.each([
    ['--seconds <n>', '0'],
    ['--kills <n>', '1.5'],
  ])('a bad number is refused: %s %s', async (option, value) => {
    const { code, err } = await bench('get-sync', option.split(' ')[0] as string, value);
    expect(code).toBe(1);
    expect(err).toContain(`'${option}' argument '${value}' is invalid`);
  });
});

describe('the report', () => {
  const report = (format: 'json' | 'table' | 'markdown'): { out: string; err: string } => {
    const written = { out: '', err: '' };
    const to = (name: 'out' | 'err') => ({ write: (text: string) => (written[name] += text) });
    const one = new Report({ scenario: 'some', machine: 'a machine', format, out: to('out'), err: to('err') });
    one.progress('working');
    one.row(row);
    one.note('a note');
    one.target({ what: 'speed', unit: 'op/s', measured: 41_234.56, wanted: 40_000, is: 'at least' });
    one.end();
    return written;
  };

  test('a row in JSON has the fixed names first, then what the scenario adds', () => {
    const line = jsonRow({ scenario: 'some', machine: 'a machine' }, row);
    expect(Object.keys(JSON.parse(line) as object)).toEqual([
      'scenario',
      'variant',
      'system',
      'inFlight',
      'opsPerSecond',
      'p50Ms',
      'p99Ms',
      'p999Ms',
      'fsyncsPerCommit',
      'machine',
    ]);
    expect(JSON.parse(line)).toMatchObject({ opsPerSecond: 41_234.6, p50Ms: 1.234_568, p999Ms: null });
  });

  test('with --json stdout holds the rows and nothing else', () => {
    const { out, err } = report('json');
    expect(out).toBe(`${jsonRow({ scenario: 'some', machine: 'a machine' }, row)}\n`);
    expect(err).toContain('a note');
    expect(err).toContain('target some speed: reached');
  });

  test('a table and Markdown end with the targets', () => {
    expect(report('table').out).toMatch(
      /41 235[\s\S]*a note\ntarget some speed: reached: 41 235 of at least 40 000 op\/s\n$/,
    );
    expect(report('markdown').out).toContain('| ctlmesh | put 100 B | 64 | 41 235 | 1.23 ms | 3 ms | – |');
  });

  test('a target that was missed says so', () => {
    const target = { what: 'lag', unit: 'ms', measured: 12.345, wanted: 10, is: 'at most' } as const;
    expect(targetLine('some', target)).toBe('target some lag: not reached: 12.3 of at most 10 ms');
    expect([figure(1_234_567), figure(0.012_345)]).toEqual(['1 234 567', '0.0123']);
  });
});

describe('the load', () => {
  test('keeps so many under way, counts what ended inside the window, and failures apart', async () => {
    let underWay = 0;
    let most = 0;
    const result = await runLoad({
      inFlight: 8,
      warmupMs: 20,
      measureMs: 100,
      operation: async (n) => {
        most = Math.max(most, ++underWay);
        await new Promise((resolve) => setTimeout(resolve, 1));
        underWay--;
        if (n === 0) throw new Error('the first one');
      },
    });
    expect(most).toBe(8);
    expect(underWay).toBe(0);
    expect(result).toMatchObject({ failures: 1, firstFailure: 'the first one' });
    expect(result.operations).toBeGreaterThan(0);
    expect(result.opsPerSecond).toBeGreaterThan(0);
    expect(result.p50Ms).toBeGreaterThan(0.5);
  });
});
