/**
 * A process that takes and gives back a directory's lock on command; lock.test.ts forks it.
 * Each message is answered by one message.
 */
import { spawn } from 'node:child_process';
import { unreachable } from '../../../src/core/base/assert.ts';
import { isStoreError } from '../../../src/core/base/errors.ts';
import { type DirLock, lockDir } from '../../../src/engine/disk/lock.ts';

export type Command = 'lock' | 'forget' | 'release' | 'spawn-child';
export interface Answer {
  readonly result: 'ready' | 'held' | 'refused' | 'done' | 'failed';
  readonly text: string;
}

const dir = process.argv[2] ?? '';
let lock: DirLock | undefined;

const run = async (command: Command): Promise<Answer> => {
  switch (command) {
    case 'lock':
      lock = await lockDir(dir);
      return { result: 'held', text: '' };
    case 'forget':
      lock = undefined;
      if (globalThis.gc === undefined) return { result: 'failed', text: 'run with --expose-gc' };
      for (let i = 0; i < 3; i++) {
        globalThis.gc();
        await new Promise(setImmediate);
      }
      return { result: 'done', text: '' };
    case 'release':
      await lock?.release();
      return { result: 'done', text: '' };
    case 'spawn-child': {
      // It outlives us, and would keep whatever it inherited.
      const child = spawn(process.execPath, ['-e', 'setTimeout(() => {}, 60_000)'], {
        detached: true,
        stdio: 'ignore',
      });
      return { result: 'done', text: String(child.pid) };
    }
    default:
      return unreachable(command);
  }
};

process.on('message', (command: Command) => {
  run(command).then(
    (answer) => process.send?.(answer),
    (error: unknown) =>
      process.send?.({
        result: isStoreError(error, 'DIR_LOCKED') ? 'refused' : 'failed',
        text: error instanceof Error ? error.message : String(error),
      }),
  );
});
process.send?.({ result: 'ready', text: '' } satisfies Answer);
