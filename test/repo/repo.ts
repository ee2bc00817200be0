/** Paths and processes for the tests of the repository itself. */
import { spawnSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root: string = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

export interface Outcome {
  readonly status: number | null;
  readonly signal: string | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string | undefined>>;
}

/** Runs a program to its end. */
export function outcome(command: string, args: readonly string[], options: RunOptions = {}): Outcome {
  const { cwd = root, env = {} } = options;
  return spawnSync(command, args, { cwd, env: { ...process.env, ...env }, encoding: 'utf8', timeout: 170_000 });
}

/** Runs a program that must succeed; gives what it printed. */
export function run(command: string, args: readonly string[], options: RunOptions = {}): string {
  const done = outcome(command, args, options);
  if (done.status !== 0) {
    const how = `${done.status ?? done.signal}`;
    throw new Error(`${command} ${args.join(' ')} ended with ${how}\n${done.stdout}\n${done.stderr}`);
  }
  return done.stdout;
}

/** The path of a tool that `npm ci` installed. */
export function tool(name: string): string {
  return join(root, 'node_modules', '.bin', name);
}
