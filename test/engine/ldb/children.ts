/**
 * Starts `child.ts` and listens to it line by line.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const CHILD = fileURLToPath(new URL('./child.ts', import.meta.url));

export interface Child {
  readonly process: ChildProcess;
  /** All lines so far. */
  readonly lines: string[];
  /** The next line that comes, or undefined at the end. */
  line(): Promise<string | undefined>;
  kill(): Promise<void>;
}

export function startChild(role: string, dir: string): Child {
  const child = spawn(process.execPath, ['--no-warnings', CHILD, role, dir], { stdio: ['ignore', 'pipe', 'inherit'] });
  const lines: string[] = [];
  const reader = createInterface({ input: child.stdout });
  const ended = once(reader, 'close');
  reader.on('line', (line) => lines.push(line));
  const exited = once(child, 'exit');
  return {
    process: child,
    lines,
    line: () => Promise.race([once(reader, 'line').then(([line]) => String(line)), ended.then(() => undefined)]),
    async kill() {
      child.kill('SIGKILL');
      await exited;
      await ended;
    },
  };
}
