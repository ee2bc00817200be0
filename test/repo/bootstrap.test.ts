/**
 * The commands on any Node: cluster.js and bin/kvctl.js run where they can, start again on the pinned runtime where
 * they cannot, and say what is missing where there is none. Stops go through once, and ends come back as they were.
 *
 * The old Node is the machine's own (CI has v20 on its path). Each test lays out a small checkout with a stub for
 * src/cli/*.ts, so that what is tested is the bootstrap alone.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  accessSync,
  chmodSync,
  constants,
  cpSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, describe, expect, onTestFinished, test } from 'vitest';
import { isSupported } from '../../bin/runtime.js';
import { outcome, root } from './repo.ts';

const made: string[] = [];
afterEach(() => {
  for (const directory of made.splice(0)) rmSync(directory, { recursive: true });
});

/** Tells what it was given, then ends as its first argument says. */
const STUB = `
export async function main(argv: readonly string[]): Promise<void> {
  const [how, what] = argv.slice(2);
  console.log(JSON.stringify({ version: process.version, args: argv.slice(2) }));
  if (how === 'exit') process.exit(Number(what));
  if (how === 'die') process.kill(process.pid, what);
  if (how === 'throw') throw new Error(what);
  if (how !== 'wait') return;
  const heard: string[] = [];
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => void heard.push(signal));
  console.log('up');
  while (heard.length === 0) await new Promise((resolve) => setTimeout(resolve, 10));
  await new Promise((resolve) => setTimeout(resolve, 300));
  console.log('heard ' + heard.join(' '));
  process.exit(3);
}
`;

interface Layout {
  /** The node that node_modules has. */
  readonly pinned?: string;
  readonly published?: boolean;
}

/** A checkout (or a published package) with stubs for commands. */
function layOut({ pinned, published = false }: Layout): string {
  const home = mkdtempSync(join(tmpdir(), 'ctlmesh-bootstrap-'));
  made.push(home);
  for (const file of ['cluster.js', 'bin']) cpSync(join(root, file), join(home, file), { recursive: true });
  writeFileSync(join(home, 'package.json'), JSON.stringify({ name: 'ctlmesh', type: 'module' }));
  const commands = join(home, published ? 'cli' : 'src/cli');
  mkdirSync(commands, { recursive: true });
  const stub = published ? STUB.replace(/: (readonly string|Promise<void|string)[\]>[]*| as const/g, '') : STUB;
  for (const name of ['cluster', 'kvctl']) writeFileSync(join(commands, `${name}.${published ? 'js' : 'ts'}`), stub);
  if (pinned !== undefined) {
    mkdirSync(join(home, 'node_modules/node/bin'), { recursive: true });
    symlinkSync(pinned, join(home, 'node_modules/node/bin/node'));
  }
  return home;
}

/** A Node on this machine that is too old for us. */
function findOldNode(): string | undefined {
  const places = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/bin', '/usr/local/bin', '/opt/node/bin'];
  return places
    .filter((place) => place !== '' && !place.includes('node_modules'))
    .map((place) => join(place, 'node'))
    .find((file) => isExecutable(file) && !isSupported(outcome(file, ['--version']).stdout.trim()));
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Starts a command that waits for a signal, and gives it with its lines once it is up. */
async function startWaiting(
  command: string,
  args: readonly string[],
): Promise<{ child: ChildProcess; rest: Promise<string[]> }> {
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  onTestFinished(() => void child.kill('SIGKILL'));
  if (child.stdout === null) throw new TypeError('stdout is a pipe');
  const lines: string[] = [];
  const reader = createInterface({ input: child.stdout });
  const rest = once(reader, 'close').then(() => lines);
  await new Promise<void>((resolve) => {
    reader.on('line', (line) => {
      lines.push(line);
      if (line.trim() === 'up') resolve();
    });
  });
  return { child, rest };
}

const oldNode = findOldNode();
const told = (version: string, ...args: string[]): string => `${JSON.stringify({ version, args })}\n`;

test('the guard knows the versions that run our source', () => {
  for (const good of ['v22.18.0', 'v22.23.3', 'v24.12.0', 'v24.21.0', 'v26.0.0', 'v27.1.0']) {
    expect(isSupported(good), good).toBe(true);
  }
  for (const bad of ['v12.22.0', 'v20.20.2', 'v22.17.9', 'v23.11.0', 'v24.11.9', 'v25.9.0']) {
    expect(isSupported(bad), bad).toBe(false);
  }
});

describe('on a Node that can', () => {
  test.each(['cluster.js', 'bin/kvctl.js'])('%s runs the source of a checkout', (command) => {
    const done = outcome(process.execPath, [join(layOut({}), command), '--config', 'x.ts']);
    expect(done).toMatchObject({ status: 0, stdout: told(process.version, '--config', 'x.ts'), stderr: '' });
  });

  test.each(['cluster.js', 'bin/kvctl.js'])('%s runs the compiled file of a published package', (command) => {
    const done = outcome(process.execPath, [join(layOut({ published: true }), command), 'exit', '4']);
    expect(done).toMatchObject({ status: 4, stdout: told(process.version, 'exit', '4') });
  });

  test('kvctl runs through the link that npm makes', () => {
    const home = layOut({});
    symlinkSync(join(home, 'bin/kvctl.js'), join(home, 'kvctl'));
    chmodSync(join(home, 'bin/kvctl.js'), 0o755);
    const PATH = `${dirname(process.execPath)}${delimiter}${process.env['PATH'] ?? ''}`;
    expect(outcome(join(home, 'kvctl'), ['get', 'k'], { env: { PATH } }).stdout).toBe(
      told(process.version, 'get', 'k'),
    );
  });

  test('an error that a command lets out is shown, and is exit code 70', () => {
    const done = outcome(process.execPath, [join(layOut({}), 'cluster.js'), 'throw', 'a bug']);
    expect(done.status).toBe(70);
    expect(done.stderr).toContain('Error: a bug');
  });
});

describe.skipIf(oldNode === undefined)('on an old Node (skipped only where the machine has none)', () => {
  const old = oldNode ?? '';
  const pinned = process.execPath;

  test('without a pinned runtime: exit 78 and one line that says what to do', () => {
    const done = outcome(old, [join(layOut({}), 'cluster.js')]);
    expect(done).toMatchObject({ status: 78, stdout: '' });
    expect(done.stderr).toMatch(/^ctlmesh needs Node \^22\.18 .* and this is v\d.*npm ci.*\n$/);
  });

  test('with a pinned runtime that is too old as well: exit 78, not a loop', () => {
    const done = outcome(old, [join(layOut({ pinned: old }), 'cluster.js')]);
    expect(done.status).toBe(78);
    expect(done.stderr).toMatch(/^ctlmesh needs Node .*npm ci.*\n$/);
  });

  test('with a pinned runtime that does not start: exit 78', () => {
    const home = layOut({});
    mkdirSync(join(home, 'node_modules/node/bin'), { recursive: true });
    writeFileSync(join(home, 'node_modules/node/bin/node'), 'not a program');
    expect(outcome(old, [join(home, 'cluster.js')]).status).toBe(78);
  });

  test.each(['cluster.js', 'bin/kvctl.js'])('%s starts again on the pinned one, with the same arguments', (command) => {
    const done = outcome(old, [join(layOut({ pinned }), command), '--config', 'a b.ts']);
    expect(done).toMatchObject({ status: 0, stdout: told(process.version, '--config', 'a b.ts'), stderr: '' });
  });

  test('the exit code comes back', () => {
    expect(outcome(old, [join(layOut({ pinned }), 'cluster.js'), 'exit', '7']).status).toBe(7);
  });

  test.each(['SIGKILL', 'SIGTERM', 'SIGINT'])('a death by %s comes back as that', (signal) => {
    const done = outcome(old, [join(layOut({ pinned }), 'cluster.js'), 'die', signal]);
    expect(done).toMatchObject({ status: null, signal });
  });

  test.each(['SIGTERM', 'SIGINT', 'SIGHUP'] as const)('%s from a process is passed on, once', async (signal) => {
    // This process may be in a terminal; the command must not be, so its three streams are taken away from it.
    const { child, rest } = await startWaiting('sh', [
      '-c',
      `exec "$0" "$@" 2>/dev/null`,
      old,
      join(layOut({ pinned }), 'cluster.js'),
      'wait',
    ]);
    child.kill(signal);
    const [code] = (await once(child, 'exit')) as [number | null];
    expect((await rest).at(-1)).toBe(`heard ${signal}`);
    expect(code).toBe(3);
  });

  test.skipIf(!isExecutable('/usr/bin/script'))('Ctrl-C in a terminal is heard once (needs script(1))', async () => {
    // script(1) runs it in $SHELL. Without exec, dash stays in the foreground group, gets the SIGINT too and makes the
    // exit code 130 of whatever the command said.
    const command = `exec '${old}' '${join(layOut({ pinned }), 'cluster.js')}' wait`;
    const { child, rest } = await startWaiting('/usr/bin/script', [
      '--quiet',
      '--return',
      '--command',
      command,
      '/dev/null',
    ]);
    child.stdin?.write('\u0003');
    const [code] = (await once(child, 'exit')) as [number | null];
    // The terminal echoes ^C before it.
    expect((await rest).at(-1)?.trim()).toMatch(/^(\^C)?heard SIGINT$/);
    expect(code).toBe(3);
  });
});
