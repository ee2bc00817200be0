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
  /** Resolves with the exit code once it has ended by itself and all lines are here. */
  end(): Promise<number | null>;
}

export interface ChildOptions {
  /** No file of it may grow beyond this: a full disk, for one process. */
  readonly fileKibMax?: number;
  readonly stderr?: 'inherit' | 'ignore';
}

export function startChild(role: string, dir: string, { fileKibMax, stderr = 'inherit' }: ChildOptions = {}): Child {
  const limit = fileKibMax === undefined ? '' : `ulimit -f ${fileKibMax} && `;
  const args = ['-c', `${limit}exec "$@"`, 'sh', process.execPath, '--no-warnings', CHILD, role, dir];
  const child = spawn(limit === '' ? process.execPath : 'bash', limit === '' ? args.slice(4) : args, {
    stdio: ['ignore', 'pipe', stderr],
  });
  const lines: string[] = [];
  const reader = createInterface({ input: child.stdout });
  const ended = once(reader, 'close');
  reader.on('line', (line) => lines.push(line));
  const exited = once(child, 'exit');
  return {
    process: child,
    lines,
    line: () => Promise.race([once(reader, 'line').then(([line]) => String(line)), ended.then(() => undefined)]),
    async end() {
      const [code] = (await exited) as [number | null];
      await ended;
      return code;
    },
    async kill() {
      child.kill('SIGKILL');
      await exited;
      await ended;
    },
  };
}
