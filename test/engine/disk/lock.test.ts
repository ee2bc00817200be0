import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { isStoreError, type StoreError } from '../../../src/core/base/errors.ts';
import { type DirLock, lockDir } from '../../../src/engine/disk/lock.ts';
import type { Answer, Command } from './lock-contender.ts';

const PROGRAM = fileURLToPath(new URL('./lock-contender.ts', import.meta.url));
const NEW_NETWORK = ['unshare', '-rn'] as const;
const hasNamespaces = process.platform === 'linux' && spawnSync(NEW_NETWORK[0], ['-rn', 'true']).status === 0;

/** Another process, driven by messages; every step is waited for, so nothing here depends on time. */
class Contender {
  readonly process: ChildProcess;
  #next: Promise<Answer>;

  private constructor(child: ChildProcess) {
    this.process = child;
    this.#next = answerOf(child);
  }

  static async start(dir: string, wrapper: readonly string[] = []): Promise<Contender> {
    const line = [...wrapper, process.execPath, '--expose-gc', PROGRAM, dir];
    const child = spawn(line[0] as string, line.slice(1), { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    const contender = new Contender(child);
    contenders.push(contender);
    expect((await contender.#next).result).toBe('ready');
    return contender;
  }

  async ask(command: Command): Promise<Answer> {
    this.#next = answerOf(this.process);
    this.process.send(command);
    return this.#next;
  }

  async kill(): Promise<void> {
    if (this.process.exitCode !== null || this.process.signalCode !== null) return;
    const gone = once(this.process, 'exit');
    this.process.kill('SIGKILL');
    await gone;
  }
}

function answerOf(child: ChildProcess): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const died = (): void => reject(new Error('the contender died before it answered'));
    child.once('exit', died);
    child.once('message', (answer: Answer) => {
      child.off('exit', died);
      resolve(answer);
    });
  });
}

let base: string;
let dir: string;
let locks: DirLock[];
let contenders: Contender[];

beforeEach(() => {
  base = realpathSync(mkdtempSync(join(tmpdir(), 'ctlmesh-lock-')));
  dir = join(base, 'data');
  locks = [];
  contenders = [];
});
afterEach(async () => {
  await Promise.all(contenders.map((contender) => contender.kill()));
  await Promise.all(locks.map((lock) => lock.release()));
  rmSync(base, { recursive: true });
});

async function take(path: string): Promise<DirLock> {
  const lock = await lockDir(path);
  locks.push(lock);
  return lock;
}

async function refusal(path: string): Promise<StoreError> {
  const error: unknown = await take(path).then(
    () => expect.fail('the lock was given'),
    (reason: unknown) => reason,
  );
  if (!isStoreError(error)) throw error;
  expect(error.code).toBe('DIR_LOCKED');
  return error;
}

test('a free directory is given, and made if it is missing', async () => {
  const lock = await take(dir);
  expect(lock.dir).toBe(dir);
  expect(existsSync(dir)).toBe(true);
});

test('this process gets no second lock, by whatever path, until it releases the first', async () => {
  const lock = await take(dir);
  symlinkSync(dir, join(base, 'link'));
  expect((await refusal(dir)).message).toBe(`data directory ${dir} is in use by this process (${process.pid})`);
  await refusal(join(base, 'link'));
  await refusal(`${dir}/../data/`);
  await lock.release();
  await take(join(base, 'link'));
});

test('two calls at once in one process give one lock', async () => {
  const tries = await Promise.allSettled(Array.from({ length: 5 }, () => take(dir)));
  expect(tries.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
});

test('a release may be called twice, at once or later, and does not touch the next holder', async () => {
  const first = await take(dir);
  await Promise.all([first.release(), first.release()]);
  await take(dir);
  await first.release();
  await first[Symbol.asyncDispose]();
  await refusal(dir);
});

test('two directories are two locks', async () => {
  await take(dir);
  await take(join(base, 'other'));
});

test('another process is refused, told who holds it, and gets it after the release', async () => {
  const holder = await Contender.start(dir);
  expect(await holder.ask('lock')).toEqual({ result: 'held', text: '' });
  const error = await refusal(dir);
  expect(error.message).toContain(`data directory ${dir} is in use by process ${holder.process.pid}, started `);
  expect(error.data).toMatchObject({ dir, pid: holder.process.pid });
  expect(error.retry).toBe('later');

  expect((await holder.ask('release')).result).toBe('done');
  await take(dir);
  expect((await holder.ask('lock')).result).toBe('refused');
});

test('after SIGKILL of the holder the next start gets the lock at once, with nothing cleaned', async () => {
  const holder = await Contender.start(dir);
  expect((await holder.ask('lock')).result).toBe('held');
  await refusal(dir);
  await holder.kill();
  // What the dead one wrote is still there, and in nobody's way.
  expect(JSON.parse(readFileSync(join(dir, 'LOCK.info'), 'utf8'))).toMatchObject({ pid: holder.process.pid });
  await take(dir);
  expect(JSON.parse(readFileSync(join(dir, 'LOCK.info'), 'utf8'))).toMatchObject({ pid: process.pid });
});

test('a child of the killed holder does not keep the lock', async () => {
  const holder = await Contender.start(dir);
  expect((await holder.ask('lock')).result).toBe('held');
  const { text: grandchild } = await holder.ask('spawn-child');
  await holder.kill();
  try {
    process.kill(Number(grandchild), 0);
    await take(dir);
  } finally {
    process.kill(Number(grandchild), 'SIGKILL');
  }
});

// In its own network namespace, so that the file lock stands alone: it is the one that a collector could end.
test.runIf(hasNamespaces)('a lock that its owner forgot is held all the same', async () => {
  const holder = await Contender.start(dir, NEW_NETWORK);
  expect((await holder.ask('lock')).result).toBe('held');
  expect(await holder.ask('forget')).toEqual({ result: 'done', text: '' });
  await refusal(dir);
});

test('of 20 processes racing for one lock exactly one wins, again and again', { timeout: 60_000 }, async () => {
  let racers = await Promise.all(Array.from({ length: 20 }, () => Contender.start(dir)));
  for (let round = 0; round < 5; round++) {
    const answers = await Promise.all(racers.map((racer) => racer.ask('lock')));
    const winners = racers.filter((_, i) => answers[i]?.result === 'held');
    expect(winners, `round ${round}`).toHaveLength(1);
    expect(answers.filter(({ result }) => result === 'refused')).toHaveLength(racers.length - 1);
    await Promise.all(winners.map((winner) => winner.kill()));
    racers = racers.filter((racer) => !winners.includes(racer));
  }
});

test.runIf(hasNamespaces)(
  'a process in another network namespace, as in another container, is refused too',
  async () => {
    const holder = await Contender.start(dir, NEW_NETWORK);
    expect((await holder.ask('lock')).result).toBe('held');
    expect((await refusal(dir)).message).toContain(`process ${holder.process.pid}`);
    await holder.kill();
    await take(dir);
  },
);

test.runIf(hasNamespaces)(
  'of 12 processes in 12 network namespaces exactly one wins',
  { timeout: 60_000 },
  async () => {
    let racers = await Promise.all(Array.from({ length: 12 }, () => Contender.start(dir, NEW_NETWORK)));
    for (let round = 0; round < 5; round++) {
      const answers = await Promise.all(racers.map((racer) => racer.ask('lock')));
      const winners = racers.filter((_, i) => answers[i]?.result === 'held');
      expect(winners, `round ${round}: ${JSON.stringify(answers)}`).toHaveLength(1);
      expect(answers.filter(({ result }) => result === 'refused')).toHaveLength(racers.length - 1);
      await Promise.all(winners.map((winner) => winner.kill()));
      racers = racers.filter((racer) => !winners.includes(racer));
    }
  },
);

test.runIf(process.platform === 'linux')(
  'reading LOCK in the holder’s process does not let a neighbour in',
  async () => {
    await take(dir);
    // Closing it drops this process's POSIX locks on it; the socket still stands, for every path to the directory.
    readFileSync(join(dir, 'LOCK'));
    symlinkSync(dir, join(base, 'link'));
    const rival = await Contender.start(join(base, 'link'));
    expect((await rival.ask('lock')).result).toBe('refused');
  },
);

test('a word about the holder that is stale or broken is not repeated', async () => {
  await take(dir);
  const ofTheDead = JSON.stringify({ pid: 2 ** 30, host: hostname(), startedAt: 'then' });
  for (const word of ['{', 'null', '{"pid":"x"}', ofTheDead]) {
    writeFileSync(join(dir, 'LOCK.info'), word);
    expect((await refusal(dir)).message).toBe(`data directory ${dir} is in use by another process`);
  }
});

test('a directory that cannot hold a lock is DISK_FAILED, and the socket is let go', async () => {
  mkdirSync(join(dir, 'LOCK'), { recursive: true });
  await expect(lockDir(dir)).rejects.toMatchObject({ code: 'DISK_FAILED' });
  rmSync(join(dir, 'LOCK'), { recursive: true });
  await take(dir);
});

test('the directory of a holder is left without a trace but the empty LOCK', async () => {
  const lock = await take(dir);
  await lock.release();
  expect(readFileSync(join(dir, 'LOCK'))).toHaveLength(0);
  expect(existsSync(join(dir, 'LOCK.info'))).toBe(false);
});
