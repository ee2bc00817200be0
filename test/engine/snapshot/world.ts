/**
 * Two trees of embedded stores: one is a leader's, which is sent, the other a node's, whose place it takes.
 */
import { must } from '../../../src/core/base/assert.ts';
import type { Disk } from '../../../src/core/base/env.ts';
import { toIndex, toTerm } from '../../../src/core/base/position.ts';
import type { SnapshotMeta } from '../../../src/core/wire/snapshot.ts';
import { MemoryDisk } from '../../../src/engine/disk/memory-disk.ts';
import { Manifest } from '../../../src/engine/lsm/manifest/manifest.ts';
import { OutgoingSnapshot } from '../../../src/engine/snapshot/outgoing.ts';
import { beginLog } from '../../../src/engine/wal/begin.ts';
import { recoverWal } from '../../../src/engine/wal/recovery.ts';
import { seeded } from '../../core/base/seeded.ts';
import { open, write } from '../tools/world.ts';

export const NODE = '/node';
export const INCOMING: string = `${NODE}/incoming`;
export const TREE: string = `${NODE}/tree`;
export const WAL: string = `${NODE}/wal`;
export const INDEX_TERM = 7;

/** What a leader sends, and the disk of a node (with an older state) that receives it. */
export interface World {
  readonly disk: MemoryDisk;
  readonly outgoing: OutgoingSnapshot;
  readonly meta: SnapshotMeta;
  /** The whole stream. */
  readonly bytes: Uint8Array;
  readonly oldRevision: number;
}

async function checkpoint(disk: MemoryDisk, dir: string, writes: number, seed: number): Promise<void> {
  const engine = await open(disk, `${dir}-store`);
  await write(engine, seeded(seed), writes);
  await engine.checkpoint(dir);
  await engine.close();
}

export function summed(outgoing: OutgoingSnapshot): SnapshotMeta['files'] {
  for (;;) {
    const files = outgoing.step();
    if (files !== undefined) return files;
  }
}

export async function makeWorld(): Promise<World> {
  const disk = new MemoryDisk();
  disk.mkdir(NODE);
  await checkpoint(disk, TREE, 40, 1);
  const oldRevision = must(treeRevision(disk), 'a checkpoint is a tree');
  const hardState = { term: toTerm(3), vote: 'n2', commit: toIndex(oldRevision) };
  beginLog(disk, WAL, { hardState, baseTerm: toTerm(2), salt: () => 5 });
  const leader = new MemoryDisk();
  leader.mkdir('/leader');
  await checkpoint(leader, '/leader/made', 400, 2);
  const outgoing = OutgoingSnapshot.make(leader, '/leader/snapshot', (dir) => {
    for (const name of leader.list('/leader/made')) leader.link(`/leader/made/${name}`, `${dir}/${name}`);
  });
  const files = summed(outgoing);
  const meta = { term: toTerm(9), number: 1, index: toIndex(outgoing.index), indexTerm: toTerm(INDEX_TERM), files };
  const total = files.reduce((sum, file) => sum + file.bytes, 0);
  const bytes = new Uint8Array(total);
  for (let at = 0; at < total; ) {
    const part = outgoing.read(at, 3_000);
    bytes.set(part, at);
    at += part.length;
  }
  return { disk, outgoing, meta, bytes, oldRevision };
}

export function treeRevision(disk: Disk, dir: string = TREE): number | undefined {
  return Manifest.recover(disk, dir, { readOnly: true })?.state.lastSequence;
}

export function logOf(
  disk: Disk,
): Pick<ReturnType<typeof recoverWal>, 'hardState' | 'firstIndex' | 'lastIndex' | 'baseTerm'> {
  const { hardState, firstIndex, lastIndex, baseTerm } = recoverWal(disk, WAL);
  return { hardState, firstIndex, lastIndex, baseTerm };
}

/** The bytes of `dir`'s file `name`. */
export function contentOf(disk: Disk, path: string): Uint8Array {
  const file = disk.open(path, 'read');
  try {
    const bytes = new Uint8Array(file.size());
    file.read(bytes, 0, bytes.length, 0);
    return bytes;
  } finally {
    file.close();
  }
}
