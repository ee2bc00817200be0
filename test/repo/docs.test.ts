/**
 * The documents against the sources: every file, function, option and error they name is there. Sources move; a
 * document that names what is gone misleads.
 */
import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { NODE_FIELDS, RAFT_OPTIONS, TOP_KEYS, TUNING_OPTIONS } from '../../src/config/options.ts';
import { ERROR_CODE_LIST, ERROR_CODES } from '../../src/core/base/errors.ts';
import type { Control } from '../../src/client/control-types.ts';
import { executiveRoutes } from '../../src/net/executive/routes.ts';
import { root } from './repo.ts';

const documents = ['README.md', 'CHANGELOG.md', ...globSync('docs/**/*.md', { cwd: root })].sort();
const textOf = (path: string): string => readFileSync(join(root, path), 'utf8');
const source = globSync('src/**/*.ts', { cwd: root }).map(textOf).join('\n');

test.each(documents)('%s names only files that are there', (document) => {
  const text = textOf(document);
  const paths = Array.from(text.matchAll(/\b(?:src|test|demo|bench|examples)\/[\w./-]*\w\/?/g), ([path]) => path);
  expect(paths.filter((path) => !existsSync(join(root, path)))).toEqual([]);
});

test.each(documents)('%s links only to what is there', (document) => {
  const text = textOf(document);
  const links = Array.from(text.matchAll(/\]\(([^)#:]+)(?:#[^)]*)?\)/g), ([, link]) => link ?? '');
  expect(links.filter((link) => !existsSync(join(root, dirname(document), link)))).toEqual([]);
});

test.each(documents)('%s names only functions that are there', (document) => {
  const text = textOf(document);
  const names = Array.from(text.matchAll(/`(?:[A-Z]\w*\.)?#?(\w+)\(\)`/g), ([, name]) => name ?? '');
  expect(names.filter((name) => !new RegExp(`\\b${name}\\b`).test(source))).toEqual([]);
});

test('the README tells every option with its default', () => {
  const readme = textOf('README.md');
  const rows = new Map(
    Array.from(readme.matchAll(/^\| `([\w.]+)` +\| ([^|]*)\|/gm), ([, key = '', value = '']) => [key, value.trim()]),
  );
  const nested = ['nodes', 'raft'];
  const keys = [
    ...TOP_KEYS.filter((key) => !nested.includes(key)),
    ...Object.keys(NODE_FIELDS).map((field) => `nodes.ID.${field}`),
    ...RAFT_OPTIONS.map(({ name }) => `raft.${name}`),
  ];
  expect([...rows.keys()].sort()).toEqual(keys.sort());
  for (const { name, default: value } of TUNING_OPTIONS) expect(rows.get(name)).toMatch(new RegExp(`^${value}\\b`));
  for (const { name, default: value } of RAFT_OPTIONS) expect(rows.get(`raft.${name}`)).toBe(String(value));
});

test('http.md tells every route of the HTTP API, and no other', () => {
  const told = Array.from(textOf('docs/http.md').matchAll(/^\| `([A-Z]+ [^`]+)` \|/gm), ([, route]) => route);
  const routes = executiveRoutes({} as Control, () => true).map(({ method, path }) => `${method} ${path}`);
  expect(new Set(told)).toEqual(new Set(routes));
});

test('formats.md numbers the errors as the wire does', () => {
  const rows = Array.from(
    textOf('docs/formats.md').matchAll(/^\| (\d+) \| `(\w+)` \| ([\w-]+) \| (\d+) \|$/gm),
    ([, number, code, retry, http]) => ({ number: Number(number), code, retry, http: Number(http) }),
  );
  expect(rows).toEqual(ERROR_CODE_LIST.map((code, i) => ({ number: i + 1, code, ...ERROR_CODES[code] })));
});
