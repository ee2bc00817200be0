/**
 * Cleanup: what was started ends, and what was made goes, however the run ends.
 *
 * The orderly way is `run()`, newest first. For the other ways (Ctrl-C, a bug, process.exit) each child and
 * directory is also known here by name, and the exit handler kills and removes what is left. Only a SIGKILL of
 * the harness escapes; our own children then notice that the channel has closed, etcd does not.
 */
import type { ChildProcess } from 'node:child_process';
import { rmSync } from 'node:fs';

type Step = () => Promise<void> | void;

const children = new Set<ChildProcess>();
const dirs = new Set<string>();

export class Cleanup {
  #steps: Step[] = [];

  defer(step: Step): void {
    this.#steps.push(step);
  }

  /** Newest first. A step that fails does not keep the others from running. */
  async run(): Promise<void> {
    const steps = this.#steps.reverse();
    this.#steps = [];
    for (const step of steps) {
      try {
        await step();
      } catch (error) {
        process.stderr.write(`bench: while cleaning up: ${String(error)}\n`);
      }
    }
  }

  /** Killed when the run ends, unless it has ended before. */
  child(child: ChildProcess): void {
    children.add(child);
    child.once('exit', () => children.delete(child));
    this.defer(() => stopChild(child, 'SIGTERM'));
  }

  dir(path: string): void {
    dirs.add(path);
    this.defer(() => removeDir(path));
  }
}

const STOP_MS = 5_000;

/** Asks, waits, kills; resolves when the process is gone. */
export async function stopChild(child: ChildProcess, ask: NodeJS.Signals | (() => void)): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
  if (typeof ask === 'function') ask();
  else child.kill(ask);
  await gone;
  clearTimeout(timer);
}

function removeDir(path: string): void {
  rmSync(path, { recursive: true, force: true, maxRetries: 3 });
  dirs.delete(path);
}

/** To be called once, before anything is started. */
export function cleanUpAtExit(): void {
  process.on('exit', () => {
    for (const child of children) child.kill('SIGKILL');
    for (const dir of dirs) removeDir(dir);
  });
  for (const [signal, number] of Object.entries({ SIGINT: 2, SIGTERM: 15, SIGHUP: 1 })) {
    process.on(signal, () => process.exit(128 + number));
  }
}
