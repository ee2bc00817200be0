/**
 * Smoke: the README's first command, as a newcomer meets it. `npm start`, wait until a leader serves, Ctrl-C, exit 0.
 *
 *   node scripts/smoke-start.ts [directory of the checkout]
 *
 * Ctrl-C is sent as a terminal sends it: SIGINT to the whole process group (npm, its shell, the launcher and every
 * node), so each of them hears it at once, and the launcher twice, as npm passes it on as well.
 *
 * The start script says `exec node …` for the same reason: npm runs scripts in a shell, and a shell that waited would
 * die of the SIGINT itself (npm would end with 130), or keep one that was sent to npm alone from reaching the launcher.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

const START_MS_MAX = 60_000;
const STOP_MS_MAX = 30_000;
/** The line that `cluster.js` prints when the cluster answers. */
const SERVES = /\bready: .* leads\b/;

const directory = process.argv[2] ?? process.cwd();
const npm = spawn('npm', ['start'], { cwd: directory, detached: true, stdio: ['ignore', 'pipe', 'inherit'] });
const exited = once(npm, 'exit') as Promise<[code: number | null, signal: string | null]>;

/** Resolves at the line, prints every line on the way. */
function leaderServes(child: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    if (child.stdout === null) throw new TypeError('stdout is a pipe');
    const lines = createInterface({ input: child.stdout });
    lines.on('line', (line) => {
      console.log(`  ${line}`);
      if (SERVES.test(line)) resolve();
    });
    lines.on('close', () => reject(new Error('npm start ended before a leader served')));
  });
}

function within<T>(limitMs: number, what: string, work: Promise<T>): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error(`${what} took longer than ${limitMs} ms`)), limitMs);
  return Promise.race([work, promise]).finally(() => clearTimeout(timer));
}

/** Signals the whole group; false when no process of it is left. */
function signalGroup(signal: NodeJS.Signals | 0): boolean {
  if (npm.pid === undefined) return false;
  try {
    return process.kill(-npm.pid, signal);
  } catch {
    return false;
  }
}

try {
  const startedAt = performance.now();
  await within(START_MS_MAX, 'a leader', leaderServes(npm));
  console.log(`smoke: a leader serves after ${Math.round(performance.now() - startedAt)} ms; Ctrl-C`);
  signalGroup('SIGINT');
  const [code, signal] = await within(STOP_MS_MAX, 'a clean stop', exited);
  if (code !== 0) throw new Error(`npm start ended with ${code ?? signal} after Ctrl-C; wanted 0`);
  if (signalGroup(0)) throw new Error('processes are left behind after npm start has ended');
  console.log('smoke: stopped cleanly, exit 0');
} catch (error) {
  console.error(`smoke: ${(error as Error).message}`);
  signalGroup('SIGKILL');
  process.exitCode = 1;
}
