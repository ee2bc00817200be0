/**
 * A snapshot received and installed, with a crash after every change to the disk, each in several ways: the node is what
 * it was, or the snapshot, and goes on to be the snapshot from wherever it was stopped. No vote is ever forgotten.
 */
import { beforeAll, describe, expect, test } from 'vitest';
import type { Disk } from '../../../src/core/base/env.ts';
import { toTerm } from '../../../src/core/base/position.ts';
import type { Keep, MemoryDisk } from '../../../src/engine/disk/memory-disk.ts';
import { IncomingSnapshot } from '../../../src/engine/snapshot/incoming.ts';
import { decideInstall, finishInstall, isInstalling } from '../../../src/engine/snapshot/install.ts';
import { findDataDir } from '../../../src/engine/tools/data-dir.ts';
import { seeded } from '../../core/base/seeded.ts';
import { hookedDisk } from '../wal/hooked-disk.ts';
import { contentOf, INCOMING, INDEX_TERM, logOf, makeWorld, NODE, TREE, treeRevision, type World } from './world.ts';

const CHUNK = 1_500;
const PROMISED = { term: toTerm(9), vote: 'n3' };
const salt = (): number => 77;
let world: World;

beforeAll(async () => {
  world = await makeWorld();
});

/** Receives what is missing; returns where it went on. */
function receive(disk: Disk, { meta, bytes }: World): number {
  const incoming = IncomingSnapshot.begin(disk, INCOMING, meta);
  while (!incoming.look());
  const from = incoming.position;
  const ends: number[] = [];
  let end = 0;
  for (const file of meta.files) ends.push((end += file.bytes));
  while (!incoming.isWhole) {
    const fileEnd = ends.find((at) => at > incoming.position) ?? 0;
    const { position } = incoming;
    expect(incoming.write(bytes.subarray(position, Math.min(fileEnd, position + CHUNK)))).toBe(true);
  }
  incoming.check();
  incoming.close();
  return from;
}

function install(disk: Disk): void {
  decideInstall(disk, NODE, world.meta, PROMISED);
  finishInstall(disk, NODE, salt);
}

function expectOld(disk: Disk): void {
  expect(treeRevision(disk)).toBe(world.oldRevision);
  expect(logOf(disk)).toMatchObject({ hardState: { term: 3, vote: 'n2' }, lastIndex: world.oldRevision });
}

function expectNew(disk: Disk): void {
  const { index, files } = world.meta;
  expect(treeRevision(disk)).toBe(index);
  let at = 0;
  for (const { name, bytes } of files) {
    expect(contentOf(disk, `${TREE}/${name}`)).toEqual(world.bytes.subarray(at, at + bytes));
    at += bytes;
  }
  expect(disk.list(TREE)).toEqual(expect.arrayContaining(files.map(({ name }) => name)));
  expect(logOf(disk)).toEqual({
    hardState: { term: 9, vote: 'n3', commit: index },
    firstIndex: index + 1,
    lastIndex: index,
    baseTerm: INDEX_TERM,
  });
  expect(isInstalling(disk, NODE)).toBe(false);
}

/** What a power cut leaves at each change of `run`, in several ways. */
function* crashes(
  from: MemoryDisk,
  run: (disk: Disk) => void,
  ways: number,
): Generator<{ what: string; disk: MemoryDisk }> {
  const moments: { what: string; disk: MemoryDisk }[] = [];
  const live = from.clone();
  run(hookedDisk(live, (what) => moments.push({ what, disk: live.clone() })));
  for (const [number, { what, disk }] of moments.entries()) {
    for (let way = 0; way < ways; way++) {
      const keep: Keep = way === 0 ? 'none' : way === 1 ? 'all' : 'random';
      const crashed = disk.clone({ random: seeded(number * 31 + way) });
      crashed.crash({ keep });
      yield { what: `${number} ${what} ${keep} ${way}`, disk: crashed };
    }
  }
}

describe('a crash anywhere', () => {
  test('while it is received leaves the node as it was, and what is whole of it is not sent again', () => {
    const resumed: number[] = [];
    let count = 0;
    for (const { what, disk } of crashes(world.disk, (hooked) => receive(hooked, world), 4)) {
      count++;
      expect(finishInstall(disk, NODE, salt), what).toBeUndefined();
      expectOld(disk);
      resumed.push(receive(disk, world));
      install(disk);
      expectNew(disk);
    }
    expect(count).toBeGreaterThan(40);
    // At its end everything is there already.
    expect(resumed[0]).toBe(0);
    expect(resumed.at(-1)).toBe(world.bytes.length);
    expect(new Set(resumed).size).toBe(world.meta.files.length + 1);
  });

  test('while it is installed leaves the old state or the new one, also when the next start crashes as well', () => {
    const received = world.disk.clone();
    receive(received, world);
    let old = 0;
    let all = 0;
    for (const { what, disk } of crashes(received, install, 3)) {
      all++;
      if (!isInstalling(disk, NODE) && treeRevision(disk) === world.oldRevision) {
        old++;
        expectOld(disk);
        expect(receive(disk.clone(), world), what).toBe(world.bytes.length);
        continue;
      }
      // Of the second crash one way each: the first one's ways make enough of them.
      const redo = (hooked: Disk): unknown => finishInstall(hooked, NODE, salt);
      for (const again of what.endsWith('none 0') ? crashes(disk, redo, 1) : []) {
        finishInstall(again.disk, NODE, salt);
        expectNew(again.disk);
      }
      finishInstall(disk, NODE, salt);
      expectNew(disk);
      expect(finishInstall(disk, NODE, salt)).toBeUndefined();
    }
    expect(old).toBeGreaterThan(5);
    expect(all).toBeGreaterThan(old + 20);
  });
});

describe('what is not what was promised', () => {
  test('a file that is damaged on the way is asked for again, from its beginning', () => {
    const { meta, bytes } = world;
    const incoming = IncomingSnapshot.begin(world.disk.clone(), INCOMING, meta);
    const [first] = meta.files;
    const wrong = bytes.slice(0, first?.bytes);
    wrong[10] = (wrong[10] ?? 0) ^ 1;
    expect(incoming.write(wrong.subarray(0, 20))).toBe(true);
    expect(incoming.position).toBe(20);
    expect(incoming.write(wrong.subarray(20))).toBe(false);
    expect(incoming.position).toBe(0);
    expect(incoming.write(bytes.subarray(0, first?.bytes))).toBe(true);
    expect(incoming.position).toBe(first?.bytes);
  });

  test('a file that rotted between two processes is begun again', () => {
    const disk = world.disk.clone();
    receive(disk, world);
    const [, second] = world.meta.files;
    disk.flipBit(`${INCOMING}/${second?.name}`, 5, 3);
    expect(receive(disk, world)).toBe(world.meta.files[0]?.bytes);
    install(disk);
    expectNew(disk);
  });

  test('another snapshot begins anew, and nothing of the first is left', () => {
    const disk = world.disk.clone();
    receive(disk, world);
    const files = world.meta.files.map((file, i) => (i === 0 ? { ...file, crc: file.crc ^ 1 } : file));
    const other = IncomingSnapshot.begin(disk, INCOMING, { ...world.meta, files });
    expect(other.look()).toBe(true);
    expect(other.position).toBe(0);
    expect(disk.list(INCOMING)).toEqual(['SNAPSHOT']);
  });

  test('a snapshot whose tables hold another state than it says is not installed', () => {
    const disk = world.disk.clone();
    const meta = { ...world.meta, index: (world.meta.index + 1) as typeof world.meta.index };
    expect(() => receive(disk, { ...world, meta })).toThrow(/holds the state of/);
  });

  test.each(['../tree/CURRENT', 'a/b', 'IDENTITY', 'RESERVE', ''])('a file named %j is refused', (name) => {
    const meta = { ...world.meta, files: [{ name, bytes: 1, crc: 0 }] };
    expect(() => IncomingSnapshot.begin(world.disk.clone(), INCOMING, meta)).toThrow(/holds no file/);
  });

  test('bytes of two files in one chunk, and bytes behind the end, are refused', () => {
    const { meta, bytes } = world;
    const incoming = IncomingSnapshot.begin(world.disk.clone(), INCOMING, meta);
    expect(() => incoming.write(bytes.subarray(0, (meta.files[0]?.bytes ?? 0) + 1))).toThrow(/not of one file/);
    const disk = world.disk.clone();
    receive(disk, world);
    const whole = IncomingSnapshot.begin(disk, INCOMING, meta);
    while (!whole.look());
    expect(() => whole.write(bytes.subarray(0, 1))).toThrow(/not of one file/);
  });

  test('an INSTALL that is damaged, and an incoming file that went, are told and change nothing', () => {
    const disk = world.disk.clone();
    disk.open(`${NODE}/IDENTITY`, 'create').close();
    receive(disk, world);
    expect(findDataDir(disk, NODE).kind).toBe('node');
    decideInstall(disk, NODE, world.meta, PROMISED);
    const rotten = disk.clone();
    rotten.flipBit(`${NODE}/INSTALL`, 9, 0);
    expect(() => finishInstall(rotten, NODE, salt)).toThrow(/its checksum is wrong/);
    expect(treeRevision(rotten)).toBe(world.oldRevision);
    expect(() => findDataDir(disk, NODE)).toThrow(/start the node once/);
    expect(() => findDataDir(disk, TREE)).toThrow(/start the node once/);
    disk.remove(`${INCOMING}/CURRENT`);
    expect(() => finishInstall(disk, NODE, salt)).toThrow(/CURRENT is damaged: it is missing/);
    expect(treeRevision(disk)).toBe(world.oldRevision);
  });
});

describe('the hard state', () => {
  test('has no term below that of the last entry, and then no vote', () => {
    const disk = world.disk.clone();
    receive(disk, world);
    decideInstall(disk, NODE, world.meta, { term: toTerm(INDEX_TERM - 1), vote: 'n3' });
    expect(finishInstall(disk, NODE, salt)).toMatchObject({ term: INDEX_TERM, vote: '' });
    expect(logOf(disk).hardState).toMatchObject({ term: INDEX_TERM, vote: '' });
  });

  test('without room for INSTALL nothing is decided; a sync of its name that fails leaves it open', () => {
    const disk = world.disk.clone();
    receive(disk, world);
    disk.failNext({ op: 'write', code: 'ENOSPC', path: `${NODE}/INSTALL.tmp` });
    expect(() => decideInstall(disk, NODE, world.meta, PROMISED)).toThrow(/STORE_FULL|could not be written/);
    expect(isInstalling(disk, NODE)).toBe(false);
    disk.failNext({ op: 'syncDir', code: 'EIO', path: NODE });
    let code = '';
    try {
      decideInstall(disk, NODE, world.meta, PROMISED);
    } catch (error) {
      ({ code } = error as { code: string });
    }
    expect(code).toBe('DISK_FAILED');
  });
});
