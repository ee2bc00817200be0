/**
 * Runs the tests on the other Node versions we support, each fetched from npm once into .cache/.
 *
 *   node scripts/test-nodes.ts [22 26 …] [-- arguments for vitest]
 *
 * Vitest runs its workers on the Node that it runs on itself, and tests start processes with `process.execPath`, so
 * naming the binary here is enough. It also comes first on the path, for tests that run a shell.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const separator = process.argv.indexOf('--');
const versions = process.argv.slice(2, separator === -1 ? undefined : separator);
const vitestArguments = separator === -1 ? [] : process.argv.slice(separator + 1);

/** The directory of a Node of this major version. */
function fetchNode(major: string): string {
  const home = join(root, '.cache', `node-${major}`);
  const bin = join(home, 'node_modules', 'node', 'bin');
  if (!existsSync(join(bin, 'node'))) {
    mkdirSync(home, { recursive: true });
    // npm asks before it runs a package's install script; this one fetches the binary.
    const manifest = { private: true, allowScripts: { node: true }, dependencies: { node: major } };
    writeFileSync(join(home, 'package.json'), JSON.stringify(manifest));
    const done = spawnSync('npm', ['install', '--no-audit', '--no-fund'], { cwd: home, stdio: 'inherit' });
    if (done.status !== 0 || !existsSync(join(bin, 'node'))) throw new Error(`npm could not fetch Node ${major}`);
  }
  return bin;
}

function testOn(major: string): boolean {
  const bin = fetchNode(major);
  const node = join(bin, 'node');
  const version = spawnSync(node, ['--version'], { encoding: 'utf8' }).stdout.trim();
  console.log(`\n== tests on Node ${version}`);
  const vitest = join(root, 'node_modules', 'vitest', 'vitest.mjs');
  const env = { ...process.env, PATH: `${bin}${delimiter}${process.env['PATH'] ?? ''}` };
  return spawnSync(node, [vitest, 'run', ...vitestArguments], { cwd: root, env, stdio: 'inherit' }).status === 0;
}

const failed = (versions.length > 0 ? versions : ['22', '26']).filter((major) => !testOn(major));
if (failed.length > 0) {
  console.error(`\ntests fail on Node ${failed.join(' and ')}`);
  process.exitCode = 1;
}
