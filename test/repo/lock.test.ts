/**
 * What `npm ci` needs of this repository, checked where it is changed and not in the next newcomer's terminal.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { isSupported } from '../../bin/runtime.js';
import { outcome, root, run, tool } from './repo.ts';

test('the lockfile names every optional package, so that npm ci accepts it', () => {
  expect(outcome(process.execPath, ['scripts/complete-lock.ts', '--check'])).toMatchObject({ status: 0, stderr: '' });
});

test('the lockfile has the dependencies of package.json', () => {
  const read = (file: string) => JSON.parse(readFileSync(join(root, file), 'utf8'));
  const manifest = read('package.json');
  const locked = read('package-lock.json').packages[''];
  for (const field of ['name', 'version', 'engines', 'dependencies', 'devDependencies']) {
    expect(locked[field], field).toEqual(manifest[field]);
  }
});

test('the pinned Node runs our source', () => {
  expect(isSupported(run(tool('node'), ['--version']).trim())).toBe(true);
});
