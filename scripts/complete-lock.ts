/**
 * Completes package-lock.json with the optional packages that the registry at hand did not have.
 *
 *   npm install …; node scripts/complete-lock.ts            after every change of dependencies
 *   node scripts/complete-lock.ts --check                   says what is missing (test/repo runs this)
 *
 * Tools with native parts name one optional package per platform. A registry that mirrors some platforms only (as
 * ours does) answers 404 for the others; `npm install` then leaves them out of the lockfile, and `npm ci` refuses that
 * same lockfile as out of sync (npm/cli#9846). An entry with version, os and cpu is all that `npm ci` wants: on other
 * platforms it is skipped without a request, and on its own it is fetched by version from a registry that has it.
 * There is no integrity in it, because nobody here could download the file.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

interface Entry {
  readonly version?: string;
  readonly dev?: boolean;
  readonly optional?: boolean;
  readonly os?: readonly string[];
  readonly cpu?: readonly string[];
  readonly libc?: readonly string[];
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

interface Lock {
  packages: Record<string, Entry>;
}

const file = fileURLToPath(new URL('../package-lock.json', import.meta.url));

/** npm's words for platforms, as packages have them in their names. */
const OS = new Map(
  'aix android darwin freebsd linux netbsd openbsd openharmony sunos win32'.split(' ').map((name) => [name, name]),
);
const CPU = new Map(
  'arm arm64 ia32 loong64 mips64el ppc64 riscv64 s390x x64 wasm32'.split(' ').map((name) => [name, name]),
);
const LIBC = new Map([
  ['gnu', 'glibc'],
  ['musl', 'musl'],
]);

/** The entry that a dependency of the package at `from` leads to, looking upwards as Node does. */
function isLocked(lock: Lock, from: string, name: string): boolean {
  for (let at = from; ; at = at.slice(0, Math.max(0, at.lastIndexOf('node_modules') - 1))) {
    if (Object.hasOwn(lock.packages, at === '' ? `node_modules/${name}` : join(at, 'node_modules', name))) return true;
    if (at === '') return false;
  }
}

/** `['x64']` for `…/binding-linux-x64-musl`: the words of `known` that the name has. */
function wordsOf(name: string, known: ReadonlyMap<string, string>): string[] | undefined {
  const words = name.split(/[/-]/).flatMap((word) => known.get(word) ?? []);
  return words.length === 0 ? undefined : words;
}

function entryFor(name: string, range: string, parent: Entry): Entry {
  const [os, cpu, libc] = [wordsOf(name, OS), wordsOf(name, CPU), wordsOf(name, LIBC)];
  return {
    version: range.replace(/^[~^]/, ''),
    ...(cpu && { cpu }),
    ...(parent.dev === true && { dev: true }),
    ...(libc && os?.includes('linux') && { libc }),
    optional: true,
    ...(os && { os }),
  };
}

const lock = JSON.parse(readFileSync(file, 'utf8')) as Lock;
const missing: Record<string, Entry> = {};
for (const [path, entry] of Object.entries(lock.packages)) {
  for (const [name, range] of Object.entries(entry.optionalDependencies ?? {})) {
    if (!isLocked(lock, path, name)) missing[`node_modules/${name}`] = entryFor(name, range, entry);
  }
}

const count = Object.keys(missing).length;
if (process.argv.includes('--check')) {
  for (const [path, entry] of Object.entries(missing))
    console.error(`not in package-lock.json: ${path} ${entry.version}`);
  if (count > 0) console.error('`npm ci` would refuse this lockfile: run `node scripts/complete-lock.ts`');
  process.exitCode = count === 0 ? 0 : 1;
} else if (count > 0) {
  const packages = Object.entries({ ...lock.packages, ...missing });
  packages.sort(([a], [b]) => a.localeCompare(b, 'en'));
  lock.packages = Object.fromEntries(packages);
  writeFileSync(file, `${JSON.stringify(lock, undefined, 2)}\n`);
  console.log(`package-lock.json: ${count} optional packages of other platforms added`);
}
