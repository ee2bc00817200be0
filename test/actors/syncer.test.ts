import { closeSync, fdatasyncSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { Shared } from '../../src/actors/shared.ts';
import { url } from '../../src/actors/syncer.thread.ts';
import { spawnActor, temporaryDir, until } from './support.ts';

async function startSyncer(lastLsn = 0) {
  const shared = new Shared();
  const fd = openSync(join(temporaryDir(), 'file'), 'w');
  let isOpen = true;
  const close = (): void => {
    if (isOpen) closeSync(fd);
    isOpen = false;
  };
  onTestFinished(close);
  shared.set('walFd', fd);
  shared.set('syncedLsn', lastLsn);
  shared.set('loggedLsn', lastLsn);
  const { thread } = spawnActor(shared, 'syncer', url, { shared: shared.buffer, lastLsn });
  await thread.start();
  const log = (lsn: number): void => {
    shared.set('loggedLsn', lsn);
    shared.bell('syncer').ring();
  };
  return { shared, thread, fd, close, log };
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

test('a sync that fails moves nothing, is told, ends the thread, and is not tried again', async () => {
  const { shared, thread, fd, close, log } = await startSyncer();
  log(3);
  await until('the first is synced', () => shared.get('syncedLsn') === 3);
  // The system knows this number no more.
  close();
  expect(() => fdatasyncSync(fd)).toThrow('EBADF');
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
