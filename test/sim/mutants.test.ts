/**
 * Planted bugs: each still fits the code that it changes, and a few of them, each of another kind, are found out by the
 * simulator in processes of their own. `npm run mutants` hunts for all of them, which takes minutes.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { MUTANTS, type Mutant } from './mutants.ts';
import { sourcesOf } from './mutate.ts';

/** Found within a second or two, each by another check. */
const QUICK = [
  'no-no-op',
  'leader-counts-unsynced',
  'truncate-past-flushed',
  'apply-local-clock',
  'retry-applies-again',
  'ledger-skips-empty',
  'watch-resumes-late',
  'newest-table-ignored',
];
/** A noted seed may find its bug no more after a change to the code; one of these does. */
const WITHIN = 60;

async function hunt(args: readonly string[]): Promise<{ readonly code: number | null; readonly out: string }> {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'hunt.ts'), ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let out = '';
  child.stdout.on('data', (bytes: Buffer) => {
    out += bytes.toString();
  });
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, out };
}

describe('planted bugs', () => {
  it('there are more than twenty, each with a name of its own', () => {
    expect(MUTANTS.length).toBeGreaterThan(20);
    expect(new Set(MUTANTS.map(({ name }) => name)).size).toBe(MUTANTS.length);
  });

  it.each(MUTANTS)('$name fits the code that it changes', (mutant) => {
    for (const { file, replace } of mutant.edits) {
      const source = [...sourcesOf(mutant)].find(([href]) => href.endsWith(file));
      expect(source?.[1]).toContain(replace);
    }
  });

  it('one that fits no more is told, and so is one that fits twice', () => {
    const edit = { file: 'src/core/raft/log.ts', replace: '' };
    const mutant = (find: string): Mutant => ({ name: 'm', what: '', seed: 1, edits: [{ ...edit, find }] });
    expect(() => sourcesOf(mutant('no such line'))).toThrow('holds this 0 times');
    expect(() => sourcesOf(mutant('assert('))).toThrow(/holds this \d\d times/);
  });

  it('some are found out', { timeout: 300_000 }, async () => {
    const { code, out } = await hunt(['--only', QUICK.join(), '--within', String(WITHIN)]);
    expect(out).toContain(`all ${QUICK.length} were found`);
    expect(code).toBe(0);
  });

  it('what is no bug is not found', { timeout: 120_000 }, async () => {
    const { code, out } = await hunt(['--only', 'none', '--within', '1', '--steps', '1000']);
    expect(out).toContain('not found: none');
    expect(code).toBe(1);
  });
});
