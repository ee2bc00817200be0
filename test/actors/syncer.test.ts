import { closeSync, readdirSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { Shared } from '../../src/actors/shared.ts';
import { url } from '../../src/actors/syncer.thread.ts';
import { segmentName } from '../../src/engine/wal/format.ts';
import { spawnActor, temporaryDir, until } from './support.ts';

async function startSyncer(lastLsn = 0) {
  const shared = new Shared();
  const dir = temporaryDir();
  const segment = (number: number): string => join(dir, segmentName(number));
  writeFileSync(segment(1), 'records');
  shared.set('walSegment', 1);
  shared.set('syncedLsn', lastLsn);
  shared.set('loggedLsn', lastLsn);
  const { thread } = spawnActor(shared, 'syncer', url, { shared: shared.buffer, lastLsn, dir });
  await thread.start();
  const log = (lsn: number): void => {
    shared.set('loggedLsn', lsn);
    shared.bell('syncer').ring();
  };
  return { shared, thread, segment, log };
}

/** Descriptors of this process, its threads' included, that are `path`. */
function fdsOf(path: string): number[] {
  return readdirSync('/proc/self/fd').flatMap((name) => {
    try {
      return readlinkSync(`/proc/self/fd/${name}`) === path ? [Number(name)] : [];
    } catch {
      return [];
    }
  });
}

test('what is logged is synced, replication is rung, and one sync covers all of it', async () => {
  const { shared, log } = await startSyncer(10);
  const rung = shared.bell('replication').read();
  log(15);
  await until('it is synced', () => shared.get('syncedLsn') === 15);
  expect(shared.get('syncs')).toBe(1);
  await until('replication is rung', () => shared.bell('replication').read() > rung);
  log(16);
  await until('the next is synced', () => shared.get('syncedLsn') === 16);
  expect(shared.get('syncs')).toBe(2);
});

test('another segment is synced from then on, and the last one let go of', async () => {
  const { shared, thread, segment, log } = await startSyncer();
  log(1);
  await until('the first is synced', () => shared.get('syncedLsn') === 1);
  expect(fdsOf(segment(1))).toHaveLength(1);
  writeFileSync(segment(2), 'more');
  shared.set('walSegment', 2);
  log(2);
  await until('the second is synced', () => shared.get('syncedLsn') === 2);
  expect([fdsOf(segment(1)).length, fdsOf(segment(2)).length]).toEqual([0, 1]);
  await thread.stop(3_000);
  expect(fdsOf(segment(2))).toEqual([]);
});

test('a sync that fails moves nothing, is told, ends the thread, and is not tried again', async () => {
  const { shared, thread, segment, log } = await startSyncer();
  log(3);
  await until('the first is synced', () => shared.get('syncedLsn') === 3);
  // The system knows this number no more.
  for (const fd of fdsOf(segment(1))) closeSync(fd);
  log(4);
  const reason = await thread.ended;
  expect(reason).toMatchObject({ code: 'DISK_FAILED', cause: expect.objectContaining({ code: 'EBADF' }) });
  expect([shared.get('syncedLsn'), shared.get('walFailed'), shared.get('syncs')]).toEqual([3, 1, 1]);
});

test('what was logged while it was told to stop is synced before it ends', async () => {
  const { shared, thread } = await startSyncer();
  shared.set('loggedLsn', 7);
  await thread.stop(3_000);
  expect(shared.get('syncedLsn')).toBe(7);
  expect(await thread.ended).toBeUndefined();
});
