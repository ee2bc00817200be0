/**
 * DirLock: one live process per data directory, and no cleaning after a `kill -9`.
 *
 * Only locks that the kernel drops with the process will do: a pid file alone is stale after a kill, and two
 * starts that both find it stale race for it. Node offers two such locks; each covers what the other leaves.
 *
 *   1. A listening socket named after the directory's device and inode: abstract on Linux, a named pipe on
 *      Windows. Bound or not is decided in one system call. But the name ends at the network namespace, so two
 *      containers on one volume do not see each other's.
 *   2. An SQLite write transaction that never ends, on the empty file LOCK: in effect a fcntl(2) lock, which
 *      Node has no call for. It belongs to the file, so it holds between containers, and is all we have on
 *      macOS. But POSIX drops it as soon as this process opens and closes LOCK in any other way, a copy of the
 *      whole directory for example: hence 1, and hence nothing here reads LOCK.
 *
 * BEGIN IMMEDIATE takes SQLite's RESERVED byte: the first to ask has it, and nobody waits or gives it back, so
 * among any number of racers exactly one wins. (BEGIN EXCLUSIVE would let two racers refuse each other.)
 *
 * LOCK.info says who holds it. It is for the message only and decides nothing.
 *
 * Limits: lock 2 is as good as the file system's locks, so on NFS without a lock service, or on one volume in
 * two virtual machines, both could start. Another user of the machine can bind the socket's name and so keep
 * the node from starting; never the reverse. On Node 22 node:sqlite prints an ExperimentalWarning; it
 * is loaded when a lock is taken, so that programs which take none print nothing.
 *
 * Taken on the main thread and given to no worker: a worker's end would close it while the process lives.
 */
import { readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { hostname } from 'node:os';
import { join, resolve } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import { StoreError } from '../../core/base/errors.ts';
import { nodeDisk } from './node-disk.ts';

export interface DirLock {
  /** The directory, as an absolute path. */
  readonly dir: string;
  /** Lets the next one in. May be called twice. */
  release(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Locks held by this process. Without it a lock whose owner forgot the object could be collected as garbage,
 * and SQLite would close the file: the lock would end with nobody having released it.
 */
const held = new Set<DirLock>();

const SQLITE_BUSY = 5;

/** Takes the directory (made if it is missing) or throws DIR_LOCKED, which names the holder if it is known. */
export async function lockDir(dir: string): Promise<DirLock> {
  const path = resolve(dir);
  nodeDisk.mkdir(path);
  const server = await listen(path);
  let database: DatabaseSync;
  try {
    database = await reserve(path);
  } catch (error) {
    await closeServer(server);
    throw error;
  }
  writeHolder(path);

  let released: Promise<void> | undefined;
  const release = (): Promise<void> => {
    released ??= (async () => {
      // First the word about us, while nobody else can have written theirs.
      rmSync(infoPath(path), { force: true });
      database.close();
      await closeServer(server);
      held.delete(lock);
    })();
    return released;
  };
  const lock: DirLock = { dir: path, release, [Symbol.asyncDispose]: release };
  held.add(lock);
  return lock;
}

// ---- Lock 1: the socket

function listen(dir: string): Promise<Server | undefined> {
  const name = socketName(dir);
  if (name === undefined) return Promise.resolve(undefined);
  return new Promise((taken, refused) => {
    const server = createServer((stranger) => stranger.destroy());
    server.once('error', (cause: NodeJS.ErrnoException) => {
      refused(cause.code === 'EADDRINUSE' ? lockedError(dir, cause) : failedError(dir, cause));
    });
    // exclusive: a worker of node:cluster would else share the primary's socket.
    server.listen({ path: name, exclusive: true }, () => {
      // Accepting may fail later (EMFILE). The name stays bound, and nobody has anything to say here.
      server.on('error', () => undefined);
      // A lock is no reason to stay alive.
      server.unref();
      taken(server);
    });
  });
}

function socketName(dir: string): string | undefined {
  // By inode, so that every path to the directory gives one name.
  const { dev, ino } = statSync(dir, { bigint: true });
  switch (process.platform) {
    case 'linux':
    case 'android':
      return `\0ctlmesh-${dev}-${ino}`;
    case 'win32':
      return `\\\\?\\pipe\\ctlmesh-${dev}-${ino}`;
    default:
      return undefined;
  }
}

function closeServer(server: Server | undefined): Promise<void> {
  if (server === undefined) return Promise.resolve();
  return new Promise((closed) => {
    server.close(() => closed());
  });
}

// ---- Lock 2: the file

async function reserve(dir: string): Promise<DatabaseSync> {
  let database: DatabaseSync | undefined;
  try {
    const sqlite = await import('node:sqlite');
    database = new sqlite.DatabaseSync(join(dir, 'LOCK'), { timeout: 0 });
    // The journal in memory, so that nothing is ever written and a kill leaves nothing to roll back.
    database.exec('PRAGMA journal_mode = MEMORY; BEGIN IMMEDIATE');
    return database;
  } catch (cause) {
    database?.close();
    throw isBusy(cause) ? lockedError(dir, cause) : failedError(dir, cause);
  }
}

function isBusy(error: unknown): boolean {
  return error instanceof Error && 'errcode' in error && Number(error.errcode) % 256 === SQLITE_BUSY;
}

// ---- The message

interface Holder {
  readonly pid: number;
  readonly host: string;
  readonly startedAt: string;
}

const infoPath = (dir: string): string => join(dir, 'LOCK.info');

function writeHolder(dir: string): void {
  const startedAt = new Date(Date.now() - Math.round(process.uptime() * 1000)).toISOString();
  const holder: Holder = { pid: process.pid, host: hostname(), startedAt };
  try {
    writeFileSync(infoPath(dir), `${JSON.stringify(holder)}\n`);
  } catch {
    // A full disk makes the message poorer, not the lock weaker.
  }
}

function lockedError(dir: string, cause: unknown): StoreError {
  const holder = readHolder(dir);
  const by = holder === undefined ? 'another process' : describe(holder);
  return new StoreError('DIR_LOCKED', `data directory ${dir} is in use by ${by}`, {
    cause,
    data: { dir, ...(holder && { pid: holder.pid, host: holder.host }) },
  });
}

function failedError(dir: string, cause: unknown): StoreError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new StoreError('DISK_FAILED', `data directory ${dir} cannot be locked: ${reason}`, { cause, data: { dir } });
}

function describe(holder: Holder): string {
  if (holder.host !== hostname()) return `process ${holder.pid} on host ${holder.host}, started ${holder.startedAt}`;
  if (holder.pid === process.pid) return `this process (${holder.pid})`;
  return `process ${holder.pid}, started ${holder.startedAt}`;
}

/** The holder if its word can be believed: it may be missing, half written, or a dead process's. */
function readHolder(dir: string): Holder | undefined {
  try {
    const { pid, host, startedAt } = JSON.parse(readFileSync(infoPath(dir), 'utf8')) as Partial<Holder>;
    if (!Number.isSafeInteger(pid) || typeof host !== 'string' || typeof startedAt !== 'string') return undefined;
    const holder: Holder = { pid: Number(pid), host, startedAt };
    return host === hostname() && !isAlive(holder.pid) ? undefined : holder;
  } catch {
    return undefined;
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // EPERM: it lives, and is another user's.
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
