/**
 * Runs operations on a store and tells what it answered, in the words of the model.
 */
import type { Disk } from '../../../src/core/base/env.ts';
import type {
  Batch,
  Engine,
  EngineOptions,
  TreeCursor,
  TreeEntry,
  TreeSnapshot,
} from '../../../src/engine/store/index.ts';
import { openEngine } from '../../../src/engine/store/index.ts';
import { Model, START_MS, told, toldValue, valueOf } from './model.ts';
import type { Bounds, Op, WriteOp } from './ops.ts';
import { bytes, checkLevels, show, turn } from './world.ts';

interface Running {
  readonly options: EngineOptions;
  readonly disk: Disk;
  readonly dir: string;
  engine: Engine;
  nowMs: number;
  timeMs: number;
  readonly snapshots: Map<number, TreeSnapshot>;
  readonly cursors: Map<number, { readonly cursor: TreeCursor; isEnded: boolean }>;
}

/** The history of `ops` under `options`; ends with all there is, again after a restart, and a look at the tables. */
export async function historyOf(
  disk: Disk,
  dir: string,
  options: EngineOptions,
  ops: readonly Op[],
): Promise<string[]> {
  const running: Running = {
    options,
    disk,
    dir,
    engine: undefined as unknown as Engine,
    nowMs: START_MS,
    timeMs: START_MS,
    snapshots: new Map(),
    cursors: new Map(),
  };
  running.engine = await open(running);
  const history: string[] = [];
  try {
    for (const op of [...ops, ...LAST_OPS]) history.push(await run(running, op));
  } finally {
    await running.engine.close();
  }
  checkLevels(disk, dir);
  return history;
}

/** The history that the model gives. */
export function modelHistory(ops: readonly Op[]): string[] {
  const model = new Model();
  return [...ops, ...LAST_OPS].map((op) => model.run(op));
}

const ALL: Op = { op: 'scan', bounds: { reverse: false }, limit: 10_000 };
const ALL_BACK: Op = { op: 'scan', bounds: { reverse: true }, limit: 10_000 };
const LAST_OPS: readonly Op[] = [ALL, ALL_BACK, { op: 'reopen' }, ALL, { op: 'compact' }, ALL, ALL_BACK];

const open = (running: Running): Promise<Engine> =>
  openEngine(running.dir, { ...running.options, disk: running.disk, nowMs: () => running.nowMs });

const toBounds = ({ from, to, reverse }: Bounds): { from?: Uint8Array; to?: Uint8Array; reverse: boolean } => ({
  ...(from === undefined ? {} : { from: bytes(from) }),
  ...(to === undefined ? {} : { to: bytes(to) }),
  reverse,
});

const toldEntry = ({ key, value, revision, expiryMs }: TreeEntry): string =>
  told(show(key), toldValue(value), revision, expiryMs);

function fill(batch: Batch, ops: readonly WriteOp[], timeMs: number): Batch {
  for (const op of ops) {
    if (op.op === 'del') batch.delete(bytes(op.key));
    else if (op.op === 'delRange') batch.deleteRange(bytes(op.from), op.to === undefined ? undefined : bytes(op.to));
    else batch.put(bytes(op.key), valueOf(op.value, op.bytes), op.ttl === undefined ? 0 : timeMs + op.ttl);
  }
  return batch;
}

function take(at: { readonly cursor: TreeCursor; isEnded: boolean }, limit: number): string {
  if (at.isEnded) return at.cursor.next() === undefined ? 'end' : 'an end is no end';
  const entries: string[] = [];
  while (entries.length < limit) {
    const entry = at.cursor.next();
    if (entry === undefined) {
      at.isEnded = true;
      entries.push('end');
      break;
    }
    entries.push(toldEntry(entry));
  }
  return entries.join(' ');
}

async function run(running: Running, op: Op): Promise<string> {
  const { engine, snapshots, cursors } = running;
  const snapshotOf = (slot: number | undefined): { snapshot?: TreeSnapshot } => {
    const snapshot = slot === undefined ? undefined : snapshots.get(slot);
    return snapshot === undefined ? {} : { snapshot };
  };
  switch (op.op) {
    case 'write': {
      const sync = op.sync;
      const writes = op.batches.map((ops) => engine.write(fill(engine.batch(), ops, running.timeMs), { sync }));
      return (await Promise.all(writes)).join(' ');
    }
    case 'clock':
      running.nowMs += op.ms;
      running.timeMs = engine.timeMs();
      return String(running.timeMs);
    case 'get': {
      const found = engine.entrySync(bytes(op.key), snapshotOf(op.snapshot));
      return found === undefined ? 'none' : toldEntry({ key: bytes(op.key), ...found });
    }
    case 'scan': {
      const cursor = engine.cursor({ ...toBounds(op.bounds), ...snapshotOf(op.snapshot) });
      const text = take({ cursor, isEnded: false }, op.limit);
      cursor.close();
      return text;
    }
    case 'snapshot': {
      if (snapshots.has(op.slot)) return 'taken';
      snapshots.set(op.slot, engine.snapshot());
      return String(snapshots.get(op.slot)?.revision);
    }
    case 'release':
      snapshots.get(op.slot)?.release();
      return String(snapshots.delete(op.slot));
    case 'cursor': {
      if (cursors.has(op.slot)) return 'taken';
      const cursor = engine.cursor({ ...toBounds(op.bounds), ...snapshotOf(op.snapshot) });
      cursors.set(op.slot, { cursor, isEnded: false });
      return String(cursor.revision);
    }
    case 'next': {
      const at = cursors.get(op.slot);
      return at === undefined ? 'none' : take(at, op.count);
    }
    case 'seek': {
      const at = cursors.get(op.slot);
      if (at === undefined) return 'none';
      at.cursor.seek(bytes(op.key));
      at.isEnded = false;
      return 'sought';
    }
    case 'closeCursor':
      cursors.get(op.slot)?.cursor.close();
      return String(cursors.delete(op.slot));
    default:
      await upkeep(running, op.op);
      return 'done';
  }
}

async function upkeep(running: Running, op: 'turn' | 'flush' | 'compact' | 'settle' | 'reopen'): Promise<void> {
  const { engine, snapshots, cursors } = running;
  if (op === 'turn') await turn();
  else if (op === 'flush') await engine.flush();
  else if (op === 'compact') await engine.compact();
  else if (op === 'settle') await engine.settled();
  else {
    for (const { cursor } of cursors.values()) cursor.close();
    for (const snapshot of snapshots.values()) snapshot.release();
    cursors.clear();
    snapshots.clear();
    await engine.close();
    running.nowMs = running.timeMs;
    running.engine = await open(running);
  }
}
