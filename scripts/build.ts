/**
 * Build: makes dist/, a whole npm package of its own (`npm publish ./dist`).
 *
 * The checkout's package.json points its exports at src/*.ts, which Node runs as they are; that is what
 * `import … from 'ctlmesh'` means in cluster.config.ts, without a build. Node refuses to strip types under
 * node_modules, so what is published is compiled, and has a package.json of its own whose exports point at it.
 * (One package.json for both would need a custom condition on every command line of the checkout.)
 *
 *   dist/package.json README.md LICENSE cluster.js bin/   what a user meets
 *   dist/**.js .d.ts .js.map                              src, file by file, so that worker files keep their addresses
 *   dist/browser/client.js                                ./client in one file for browsers
 */
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build as bundle } from 'esbuild';
import { publint } from 'publint';
import { formatMessage } from 'publint/utils';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const dist = join(root, 'dist');

interface Manifest {
  readonly version: string;
  readonly exports: Readonly<Record<string, string>>;
  readonly [field: string]: unknown;
}

const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Manifest;

/** Fields of the checkout's package.json that the published one has too. */
const PUBLISHED = ['name', 'version', 'description', 'keywords', 'license', 'author', 'repository'] as const;
const PUBLISHED_LAST = ['type', 'engines', 'bin', 'dependencies', 'peerDependencies', 'optionalDependencies'] as const;

function compile(): void {
  const tsc = join(root, 'node_modules', '.bin', 'tsc');
  const done = spawnSync(tsc, ['--project', 'tsconfig.build.json'], { cwd: root, stdio: 'inherit' });
  if (done.status !== 0) throw new Error('tsc found errors (above)');
}

/** A worker's address is a string to tsc, so a `.ts` in one would only be missed at run time. */
function checkAddresses(): void {
  for (const file of globSync('**/*.js', { cwd: dist })) {
    const source = readFileSync(join(dist, file), 'utf8');
    const address = /new URL\(\s*(['"`])[^'"`]*\.ts\1/.exec(source);
    if (address !== null) throw new Error(`dist/${file} names a source file: ${address[0]}`);
  }
}

async function bundleForBrowsers(): Promise<void> {
  await bundle({
    absWorkingDir: root,
    entryPoints: ['src/client/browser.ts'],
    outfile: 'dist/browser/client.js',
    bundle: true,
    format: 'esm',
    // A node: import does not resolve on this platform, and fails the build.
    platform: 'browser',
    target: 'es2022',
    sourcemap: true,
    logLevel: 'warning',
  });
}

function publishedManifest(): Record<string, unknown> {
  const pick = (fields: readonly string[]): Record<string, unknown> =>
    Object.fromEntries(fields.filter((field) => field in manifest).map((field) => [field, manifest[field]]));
  // What does something by being imported: the threads' modules and the commands.
  const sideEffects = ['./**/*.thread.js', './cluster.js', './bin/kvctl.js'];
  return { ...pick(PUBLISHED), ...pick(PUBLISHED_LAST), exports: publishedExports(), sideEffects };
}

function publishedExports(): Record<string, unknown> {
  const entries = Object.entries(manifest.exports).map(([name, source]) => {
    if (!source.endsWith('.ts')) return [name, source];
    const compiled = source.replace(/^\.\/src\//, './').replace(/\.ts$/, '');
    const browser = name === './client' ? { browser: './browser/client.js' } : {};
    return [name, { types: `${compiled}.d.ts`, ...browser, default: `${compiled}.js` }];
  });
  return Object.fromEntries(entries) as Record<string, unknown>;
}

function copyTheRest(): void {
  for (const file of ['cluster.js', 'bin', 'LICENSE', 'README.md', 'CHANGELOG.md']) {
    if (existsSync(join(root, file))) cpSync(join(root, file), join(dist, file), { recursive: true });
  }
  writeFileSync(join(dist, 'package.json'), `${JSON.stringify(publishedManifest(), undefined, 2)}\n`);
}

async function lintPackage(): Promise<void> {
  const { messages, pkg } = await publint({ pkgDir: dist, strict: true });
  for (const message of messages) console.error(`publint: ${message.type}: ${formatMessage(message, pkg)}`);
  if (messages.length > 0) throw new Error('publint found faults in dist/package.json (above)');
}

rmSync(dist, { recursive: true, force: true });
mkdirSync(dist);
compile();
checkAddresses();
await bundleForBrowsers();
copyTheRest();
await lintPackage();
console.log(`built dist/: ctlmesh ${manifest.version}`);
