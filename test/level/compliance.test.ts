/**
 * abstract-level's own suite, whole: on a memory disk, and on a real one with locks and threads.
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';

/** What the suite asserts for a database that supports what ours does; classic-level answers as many. */
const ASSERTIONS_MIN = 5000;
const LIMIT_MS = 150_000;

/** Each open syncs; where there is memory that looks like a disk, nobody waits for that. */
const TMPDIR = existsSync('/dev/shm') ? '/dev/shm' : tmpdir();

interface Tap {
  readonly status: number | null;
  readonly plan: number;
  readonly passed: number;
  /** The lines of what failed, each with what stands below it. */
  readonly failed: readonly string[];
  readonly errors: string;
}

function runSuite(kind: string): Promise<Tap> {
  const program = join(import.meta.dirname, 'fixtures', 'compliance.ts');
  const child = spawn(process.execPath, [program, kind], {
    env: { ...process.env, TMPDIR },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: LIMIT_MS,
  });
  let out = '';
  let errors = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text));
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (status) => resolve({ status, ...parse(out), errors }));
  });
}

function parse(tap: string): Pick<Tap, 'plan' | 'passed' | 'failed'> {
  return {
    plan: Number(/^1\.\.(\d+)$/m.exec(tap)?.[1] ?? -1),
    passed: tap.match(/^ok \d+/gm)?.length ?? 0,
    failed: Array.from(tap.matchAll(/^not ok [^\n]*(?:\n {2}[^\n]*)*/gm), ([text]) => text),
  };
}

test('what fails in TAP is seen', () => {
  expect(parse('ok 1 a\nnot ok 2 b\n  ---\n    at: x\n  ...\nok 3 c\n\n1..3\n')).toEqual({
    plan: 3,
    passed: 2,
    failed: ['not ok 2 b\n  ---\n    at: x\n  ...'],
  });
});

test.each(['memory', 'disk'])(
  'the suite passes, on %s',
  async (kind) => {
    const { status, plan, passed, failed, errors } = await runSuite(kind);
    expect(failed).toEqual([]);
    expect({ status, errors }).toEqual({ status: 0, errors: '' });
    // Whole: it announces its number at its end.
    expect(passed).toBe(plan);
    expect(passed).toBeGreaterThan(ASSERTIONS_MIN);
  },
  LIMIT_MS + 10_000,
);
