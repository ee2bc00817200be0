/**
 * Tidiness of src that no other tool looks after: headers, lengths, and words that must not be there.
 *
 * Comments are blanked before words are looked for, and so are plain strings where it is code that is looked for: a
 * sentence may speak of Date.now. (The scanner knows quotes, not regex literals; a quote in one ends at its line.)
 */
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { root } from './repo.ts';

const LINES_MAX = 450;

interface Source {
  readonly path: string;
  readonly text: string;
  /** The text with comments blanked. */
  readonly code: string;
  /** The text with comments and plain strings blanked. */
  readonly words: string;
}

const TOKENS = /\/\*[\s\S]*?\*\/|\/\/[^\n]*|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`/g;

const blank = (token: string): string => token.replace(/[^\n]/g, ' ');

const sources: Source[] = globSync('src/**/*.ts', { cwd: root })
  .sort()
  .map((path) => {
    const text = readFileSync(join(root, path), 'utf8');
    const code = text.replace(TOKENS, (token) => (token.startsWith('/') ? blank(token) : token));
    return { path, text, code, words: code.replace(TOKENS, (token) => (token.startsWith('`') ? token : blank(token))) };
  });

/** Places of a pattern, as `path:line: what`. */
function places(kind: 'text' | 'code' | 'words', pattern: RegExp, among: (path: string) => boolean): string[] {
  return sources
    .filter((source) => among(source.path))
    .flatMap((source) =>
      Array.from(source[kind].matchAll(pattern), (match) => {
        const line = source[kind].slice(0, match.index).split('\n').length;
        return `${source.path}:${line}: ${match[0]}`;
      }),
    );
}

const everywhere = (): boolean => true;
const inCore = (path: string): boolean => path.startsWith('src/core/');
const outsideCli = (path: string): boolean => !path.startsWith('src/cli/');

test('there is something to look at', () => {
  expect(sources.length).toBeGreaterThan(5);
});

test('every file opens with its reason', () => {
  expect(sources.filter((source) => !source.text.startsWith('/**')).map((source) => source.path)).toEqual([]);
});

test(`no file is longer than ${LINES_MAX} lines`, () => {
  const lengths = sources.map((source) => ({ path: source.path, lines: source.text.trimEnd().split('\n').length }));
  expect(lengths.filter(({ lines }) => lines > LINES_MAX)).toEqual([]);
});

test.each([
  ['no any: neither a cast', 'words', /\bas any\b/g, everywhere],
  ['no any: nor a type', 'words', /:\s*any\b/g, everywhere],
  ['no type error is silenced', 'text', /@ts-(ignore|nocheck)/g, everywhere],
  ['only the command line prints', 'words', /\bconsole\.log\b/g, outsideCli],
  ['nothing is left for later', 'text', /\b(TODO|FIXME)\b/g, everywhere],
  ['core imports nothing of Node', 'code', /['"]node:[^'"]*['"]/g, inCore],
  ['core has no clock', 'words', /\bDate\.now\b|\bnew Date\b|\bperformance\b/g, inCore],
  ['core has no dice', 'words', /\bMath\.random\b|\bcrypto\./g, inCore],
  ['core never waits', 'words', /\bawait\b|\b(setTimeout|setInterval|setImmediate|queueMicrotask)\b/g, inCore],
] as const)('%s', (_rule, kind, pattern, among) => {
  expect(places(kind, pattern, among)).toEqual([]);
});
