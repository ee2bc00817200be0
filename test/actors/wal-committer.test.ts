import { readdirSync } from 'node:fs';
import { expect, test } from 'vitest';
import { createRing, RingWriter } from '../../src/actors/runtime/ring.ts';
import { Shared } from '../../src/actors/shared.ts';
import { url } from '../../src/actors/wal-committer.thread.ts';
import { ByteWriter } from '../../src/core/base/bytes.ts';
import { toIndex, toTerm } from '../../src/core/base/position.ts';
import { nodeDisk } from '../../src/engine/disk/node-disk.ts';
import { encodePersist } from '../../src/engine/wal/payload.ts';
import { endOf, recoverWal } from '../../src/engine/wal/recovery.ts';
import { spawnActor, temporaryDir, until } from './support.ts';

/** The WAL record of one entry, as replication makes it. */
function record(index: number, bytes: number): Uint8Array {
  const writer = new ByteWriter(bytes + 64);
  encodePersist(writer, {
    seq: index,
    hardState: { term: toTerm(1), vote: 'n1', commit: toIndex(0) },
    revertFrom: undefined,
    entries: [{ index: toIndex(index), term: toTerm(1), data: new Uint8Array(bytes).fill(index) }],
  });
  return writer.take();
}

async function startCommitter(segmentBytes: number) {
  const shared = new Shared();
  const records = createRing(1024 * 1024);
  const dir = `${temporaryDir()}/wal`;
  nodeDisk.mkdir(dir);
  const end = endOf(recoverWal(nodeDisk, dir));
  const args = { shared: shared.buffer, records, places: createRing(16 * 1024), dir, segmentBytes, end };
  const { thread, lines } = spawnActor(shared, 'wal-committer', url, args);
  await thread.start();
  const ring = new RingWriter(records);
  let handed = 0;
  /** Hands one record over and waits until it is logged; then "syncs", as the syncer would. */
  const log = async (): Promise<void> => {
    handed++;
    expect(ring.write(record(handed, 3_000))).toBe(true);
    shared.bell('wal-committer').ring();
    await until(`record ${handed} is logged`, () => shared.get('loggedLsn') - shared.get('walMarks') >= handed);
    shared.set('syncedLsn', shared.get('loggedLsn'));
  };
  return { shared, thread, lines, dir, log, handed: () => handed };
}

test('the marks that close segments and the bases that begin them have LSNs, and are told before they are logged', async () => {
  const { shared, thread, dir, log } = await startCommitter(4_096);
  for (let i = 1; i <= 12; i++) {
    await log();
    // Whoever counts records and not these would take the newest record for synced one record too early.
    expect(shared.get('loggedLsn') - shared.get('walMarks')).toBe(i);
  }
  expect(shared.get('walMarks')).toBeGreaterThanOrEqual(9);
  await thread.stop(3_000);
  const recovered = recoverWal(nodeDisk, dir);
  expect(recovered.lastIndex).toBe(12);
  // Beside the marks between segments there is the one of the clean close.
  expect(recovered.lastLsn).toBe(12 + shared.get('walMarks') + 1);
});

test('a segment that is left while nothing is written tells its mark, so that the last record does not wait', async () => {
  const { shared, log } = await startCommitter(1_000);
  await log();
  await until('the segment is left', () => shared.get('walSegment') === 2);
  // Base, record, mark, base.
  await until('the mark is logged', () => shared.get('loggedLsn') === 4);
  expect(shared.get('walMarks')).toBe(3);
});

test('once a sync has failed nothing more is written: above all no mark that says all is well', async () => {
  const { shared, thread, dir, log } = await startCommitter(1024 * 1024);
  for (let i = 1; i <= 3; i++) await log();
  shared.set('walFailed', 1);
  await thread.stop(3_000);
  expect(readdirSync(dir)).toHaveLength(1);
  const recovered = recoverWal(nodeDisk, dir);
  // The base and three records; a mark would be a fifth.
  expect(recovered.lastLsn).toBe(4);
  expect(recovered.lastIndex).toBe(3);
});

test('what replication has let go of is removed, its files are used again, and where the log begins is told', async () => {
  const { shared, thread, dir, log, handed } = await startCommitter(8_000);
  const segments = (): string[] => readdirSync(dir).filter((name) => /^\d/.test(name));
  for (let i = 1; i <= 20; i++) await log();
  const before = segments().length;
  expect(before).toBeGreaterThan(4);
  shared.set('walTruncateTo', 15);
  shared.bell('wal-committer').ring();
  // Three records in each: the sixth begins behind the fifteenth.
  await until('all of them are gone', () => shared.get('walFirstIndex') === 16);
  const ready = async (): Promise<unknown> => ((await thread.inspect()) as { spares: number }).spares;
  while ((await ready()) !== 2);
  expect(segments()[0]).toBe(`00000${shared.get('walFirstSegment')}.wal`);
  for (let i = 1; i <= 20; i++) await log();
  expect(
    readdirSync(dir).filter((name) => name.startsWith('spare')),
    'they were used',
  ).toEqual([]);
  // What is synced to here and let go of may go with the next segment, without being told anew.
  shared.set('walTruncateTo', 40);
  await log();
  await thread.stop(3_000);
  const recovered = recoverWal(nodeDisk, dir);
  expect(recovered).toMatchObject({ lastIndex: handed(), firstIndex: shared.get('walFirstIndex') });
  expect(recovered.lastLsn).toBe(handed() + shared.get('walMarks') + 1);
});
