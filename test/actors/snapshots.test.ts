/** A snapshot from a leader to a follower, with what may go wrong between them. */
import { beforeAll, describe, expect, test } from 'vitest';
import { must } from '../../src/core/base/assert.ts';
import { plus, toIndex, toTerm } from '../../src/core/base/position.ts';
import type { SnapshotMessage, SnapshotMeta } from '../../src/core/wire/snapshot.ts';
import type { ToFiles } from '../../src/actors/snapshot-files.ts';
import { crc32c } from '../../src/core/base/crc32c.ts';
import { ReplicationWorld } from './replication-world.ts';
import { putCommand } from './support.ts';
import type { MemoryDisk } from '../../src/engine/disk/memory-disk.ts';
import { finishInstall, isInstalling } from '../../src/engine/snapshot/install.ts';
import { NODE, treeRevision } from '../engine/snapshot/world.ts';
import { leaderDisk, SnapshotsWorld } from './snapshots-world.ts';

const OUTGOING = `${NODE}/snapshot`;
const INCOMING = `${NODE}/incoming`;
let disk: MemoryDisk;
beforeAll(async () => {
  disk = await leaderDisk();
});

/** It is there, and becomes the state of the next life. */
function expectInstalled(world: SnapshotsWorld): void {
  expect(world.installed).toBe(1);
  expect(isInstalling(world.disk, NODE)).toBe(true);
  const installed = finishInstall(world.disk, NODE, () => 1);
  expect(installed).toMatchObject({ index: world.index, indexTerm: 1, term: world.n3.raft.term });
  expect(treeRevision(world.disk)).toBe(world.index);
}

const isChunk = (message: SnapshotMessage): boolean => message.kind === 'snapshotChunk';

describe('a snapshot', () => {
  test('is taken, sent, installed, and gone when it is not needed any more', () => {
    const world = new SnapshotsWorld(disk);
    expect(world.n1.raft.logHolders?.stranded).toEqual(['n3']);
    expect(world.sender.hold).toBeUndefined();
    world.pass(100);
    expectInstalled(world);
    expect(world.sender.hold).toBe(world.index);
    expect(world.leaderDisk.list(OUTGOING).length).toBeGreaterThan(2);
    const chunks = world.sent('snapshotChunk');
    expect(chunks.length).toBe(world.sent('snapshotOffer')[0]?.meta.files.length);
    expect(world.receiver.isInstalling).toBe(true);
    // n3 is back, and has it.
    world.n1.ack('n3', world.index);
    world.pass(100);
    expect(world.sender.hold).toBeUndefined();
    expect(world.leaderDisk.list(OUTGOING)).toEqual([]);
    world.pass(10_000);
    expect(world.sent('snapshotChunk').length).toBe(chunks.length);
  });

  test('is not taken while the follower cannot be reached', () => {
    const world = new SnapshotsWorld(disk);
    world.n1.open.delete('n3');
    world.pass(2_000);
    expect(world.carried).toEqual([]);
    expect(world.sender.hold).toBeUndefined();
    world.n1.open.add('n3');
    world.pass(100);
    expectInstalled(world);
  });

  test('keeps the log behind it while it is taken and sent', () => {
    const world = new SnapshotsWorld(disk);
    world.onWay = () => undefined;
    world.sender.tick();
    expect(world.sender.hold).toBe(world.index);
    world.pass(1_000);
    expect(world.sender.hold).toBe(world.index);
  });
});

describe('what goes wrong on the way', () => {
  test('a damaged chunk is asked for again, once', () => {
    const world = new SnapshotsWorld(disk);
    let damaged = 0;
    world.onWay = ({ message }) => {
      if (message.kind !== 'snapshotChunk' || damaged > 0) return message;
      damaged++;
      const bytes = message.bytes.slice();
      bytes[3] = (bytes[3] ?? 0) ^ 0x10;
      return { ...message, bytes };
    };
    world.pass(100);
    expect(damaged).toBe(1);
    expect(world.sent('snapshotWant').filter(({ again }) => again).length).toBe(2);
    expectInstalled(world);
  });

  test('a file that is another one than was promised is sent again', () => {
    const world = new SnapshotsWorld(disk);
    let damaged = 0;
    // Both ends agree on the chunk; only the file's checksum tells.
    world.sender.tick();
    world.run(() => world.leaderDisk.exists(`${OUTGOING}/CURRENT`) && world.sent('snapshotOffer').length > 0);
    const [offer] = world.sent('snapshotOffer');
    const name = must(offer?.meta.files[0], 'a first file').name;
    world.leaderDisk.flipBit(`${OUTGOING}/${name}`, 0, 1);
    world.onWay = ({ message }) => {
      if (isChunk(message) && damaged++ === 0) world.leaderDisk.flipBit(`${OUTGOING}/${name}`, 0, 1);
      return message;
    };
    world.run();
    world.pass(100);
    expect(world.logged.some((line) => line.includes('snapshot.damaged'))).toBe(true);
    expectInstalled(world);
  });

  /** The line breaks behind the second chunk; the function mends it. */
  const breakLine = (world: SnapshotsWorld): (() => void) => {
    let chunks = 0;
    let isBroken = false;
    world.onWay = ({ message }) => {
      if (isChunk(message) && ++chunks === 3) isBroken = true;
      return isBroken ? undefined : message;
    };
    return () => {
      isBroken = false;
    };
  };

  test('messages that are lost for a while: it goes on from where it was', () => {
    const world = new SnapshotsWorld(disk);
    const mend = breakLine(world);
    world.pass(3_000);
    expect(world.installed).toBe(0);
    mend();
    const begun = world.sent('snapshotChunk').length;
    world.pass(1_500);
    expectInstalled(world);
    const files = world.sent('snapshotOffer')[0]?.meta.files.length ?? 0;
    expect(files).toBeGreaterThan(4);
    // One chunk for each of these files: two had come.
    expect(world.sent('snapshotChunk').length - begun).toBe(files - 2);
  });

  test('the follower starts again: whole files are not sent again, even after a power cut', () => {
    const world = new SnapshotsWorld(disk);
    const mend = breakLine(world);
    world.pass(500);
    world.restartReceiver();
    mend();
    const begun = world.sent('snapshotChunk').length;
    world.pass(5_000);
    expectInstalled(world);
    const { files } = must(world.sent('snapshotOffer')[0], 'it was offered').meta;
    expect(world.sent('snapshotChunk').length - begun).toBe(files.length - 2);
    expect(world.sent('snapshotWant').at(-1)?.offset).toBe(files.reduce((sum, { bytes }) => sum + bytes, 0));
  });

  test('what came in for a state that the node has by now is removed at its start', () => {
    const world = new SnapshotsWorld(disk);
    breakLine(world);
    world.pass(500);
    expect(world.disk.list(INCOMING).length).toBe(3);
    world.restartReceiver(world.index - 1);
    expect(world.disk.list(INCOMING).length).toBe(3);
    world.restartReceiver(world.index);
    expect(world.disk.list(INCOMING)).toEqual([]);
  });

  test('nobody hears from the follower: the transfer ends, and another one is begun later', () => {
    const world = new SnapshotsWorld(disk);
    world.onWay = () => undefined;
    world.pass(31_000);
    expect(world.sender.hold).toBeUndefined();
    expect(world.logged.some((line) => line.includes('snapshot.gave-up'))).toBe(true);
    world.onWay = ({ message }) => message;
    world.pass(3_000);
    expect(world.installed).toBe(0);
    world.pass(3_000);
    expectInstalled(world);
  });

  test('the follower’s disk is full: it says so, keeps nothing, and is offered it again later', () => {
    const world = new SnapshotsWorld(disk);
    world.disk.capacityBytes = 3_000;
    world.pass(1_000);
    expect(world.sent('snapshotRefused')).toMatchObject([{ isLater: true }]);
    expect(world.disk.list(INCOMING)).toEqual([]);
    expect(world.sender.hold).toBeUndefined();
    world.disk.capacityBytes = Number.POSITIVE_INFINITY;
    world.pass(6_000);
    expectInstalled(world);
  });

  test('the leader cannot read its own tables: it says so, and tries again later', () => {
    const world = new SnapshotsWorld(disk);
    world.leaderDisk.failNext({ op: 'read', code: 'EIO' });
    world.pass(1_000);
    expect(world.logged.some((line) => line.startsWith('error snapshot.lost'))).toBe(true);
    expect(world.sender.hold).toBeUndefined();
    world.pass(6_000);
    expectInstalled(world);
  });
});

describe('a snapshot is refused', () => {
  const offer = (world: SnapshotsWorld): Extract<SnapshotMessage, { kind: 'snapshotOffer' }> => {
    world.onWay = () => undefined;
    world.pass(100);
    const made = must(world.sent('snapshotOffer')[0], 'it was offered');
    world.onWay = ({ message }) => message;
    world.carried.length = 0;
    return made;
  };

  test('of an earlier term, and of somebody who does not lead', () => {
    const world = new SnapshotsWorld(disk);
    const { meta } = offer(world);
    world.receiver.offered('n2', meta);
    world.n3.follow('n1', plus(meta.term, 1));
    world.receiver.offered('n1', meta);
    world.run();
    expect(world.carried).toEqual([]);
    expect(world.disk.exists(INCOMING)).toBe(false);
  });

  test('that is older than what is committed here', () => {
    const world = new SnapshotsWorld(disk);
    const { meta } = offer(world);
    world.receiver.offered('n1', { ...meta, index: toIndex(0), indexTerm: toTerm(0) });
    expect(world.sent('snapshotRefused')).toMatchObject([{ isLater: false }]);
  });

  test('when its last entry is in the log: what follows it there may have been acknowledged', () => {
    const world = new SnapshotsWorld(disk);
    const { meta } = offer(world);
    const { n1, n3 } = world;
    const entries = Array.from({ length: meta.index + 3 }, (_, i) => ({
      ...{ index: toIndex(i + 1), term: toTerm(1), data: new Uint8Array(1) },
    }));
    const place = { prevIndex: toIndex(0), prevTerm: toTerm(0), commit: toIndex(0) };
    const append = { kind: 'append', from: 'n1', to: 'n3', term: n1.raft.term, ...place, entries } as const;
    world.receiver.offered('n1', meta);
    expect(world.sent('snapshotRefused')).toEqual([]);
    n3.receive('n1', { kind: 'raft', message: append });
    n3.settle();
    // It had begun; now nothing is left of it, and nothing is installed.
    world.pass(200);
    expect(world.installed).toBe(0);
    expect(world.disk.list(INCOMING)).toEqual([]);
    world.receiver.offered('n1', { ...meta, number: meta.number + 1 });
    expect(world.sent('snapshotRefused').length).toBeGreaterThan(0);
  });

  test('with files that are none of a tree', () => {
    const world = new SnapshotsWorld(disk);
    const { meta } = offer(world);
    world.receiver.offered('n1', { ...meta, files: [{ name: '../IDENTITY', bytes: 3, crc: 0 }] });
    world.run();
    expect(world.sent('snapshotRefused')).toMatchObject([{ isLater: true }]);
    expect(world.disk.list(NODE)).not.toContain('IDENTITY');
  });
});

describe('terms', () => {
  test('who leads no more sends nothing more, and keeps nothing', () => {
    const world = new SnapshotsWorld(disk);
    world.sender.tick();
    world.run(() => world.sent('snapshotChunk').length === 1);
    world.n1.follow('n2', plus(world.n1.raft.term, 1));
    world.pass(100);
    expect(world.sender.hold).toBeUndefined();
    expect(world.leaderDisk.list(OUTGOING)).toEqual([]);
    expect(world.installed).toBe(0);
    // The follower keeps what it has: the next leader may offer the same files.
    expect(world.disk.list(INCOMING)).toContain('SNAPSHOT');
  });

  test('the vote that was given while it came is kept', () => {
    const world = new SnapshotsWorld(disk);
    world.sender.tick();
    world.run(() => world.sent('snapshotChunk').length === 1);
    const { n3 } = world;
    const term = plus(n3.raft.term, 1);
    n3.raft.suspectLeader('n1');
    const { last, lastTerm } = world.n1.raft.log;
    n3.receive('n2', {
      kind: 'raft',
      message: { ...{ kind: 'vote', from: 'n2', to: 'n3', term }, lastIndex: last, lastTerm, isTransfer: false },
    });
    n3.settle();
    expect(n3.raft.hardState).toMatchObject({ term, vote: 'n2' });
    world.pass(1_000);
    expect(world.installed).toBe(1);
    expect(finishInstall(world.disk, NODE, () => 1)).toMatchObject({ term, vote: 'n2' });
  });

  test('a decision that does not get onto the disk in time ends the node', () => {
    const world = new SnapshotsWorld(disk);
    world.sender.tick();
    world.run(() => world.receiver.isInstalling);
    expect(world.receiver.isInstalling).toBe(true);
    world.n1.pass(29_000);
    world.receiver.tick();
    world.n1.pass(2_000);
    expect(() => world.receiver.tick()).toThrow(/could not be installed/);
  });
});

describe('once it is decided', () => {
  test('the node says nothing more, whatever it hears, and has itself started again', () => {
    const asked: ToFiles[] = [];
    const world = new ReplicationWorld({
      ...{ id: 'n3', nodes: ['n1', 'n2', 'n3'] },
      toFiles: (message) => asked.push(message),
    });
    world.follow('n1', 2);
    const meta: SnapshotMeta = {
      ...{ term: toTerm(2), number: 1, index: toIndex(50), indexTerm: toTerm(1) },
      files: [{ name: 'CURRENT', bytes: 4, crc: 0 }],
    };
    world.receive('n1', { kind: 'snapshotOffer', meta });
    const name = { term: meta.term, number: 1 };
    world.replication.filesSaid({ kind: 'position', ...name, offset: 0, again: true });
    const bytes = new Uint8Array(4);
    world.receive('n1', { kind: 'snapshotChunk', ...name, offset: 0, crc: crc32c(bytes), bytes });
    // An entry whose ack waits for the disk.
    const entries = [{ index: toIndex(1), term: toTerm(2), data: new Uint8Array(3) }];
    const place = { prevIndex: toIndex(0), prevTerm: toTerm(0), commit: toIndex(0) };
    const message = { kind: 'append', from: 'n1', to: 'n3', term: toTerm(2), ...place, entries } as const;
    world.receive('n1', { kind: 'raft', message });
    world.takeRecords();
    world.sent.length = 0;
    world.replication.filesSaid({ kind: 'whole', ...name });
    expect(asked.map(({ kind }) => kind)).toEqual(['receive', 'write', 'install']);
    expect(asked.at(-1)).toMatchObject({ promised: { term: 2, vote: '' } });
    expect(world.sent.map((sent) => sent.message)).toEqual([
      { kind: 'snapshotWant', ...name, offset: 4, again: false },
    ]);
    world.sent.length = 0;
    const vote = {
      kind: 'vote',
      from: 'n2',
      to: 'n3',
      term: toTerm(9),
      lastIndex: toIndex(90),
      lastTerm: toTerm(8),
    } as const;
    world.receive('n2', { kind: 'raft', message: { ...vote, isTransfer: true } });
    world.receive('n1', { kind: 'raft', message });
    world.sync();
    for (let i = 0; i < 100; i++) world.replication.tick();
    world.replication.peerLeft('n1');
    world.replication.connected('n1');
    world.propose(putCommand('k', bytes, { token: 1 }));
    expect(world.sent).toEqual([]);
    expect(world.takeRecords()).toEqual([]);
    expect(world.raft.hardState).toMatchObject({ term: 2, vote: '' });
    expect(world.shared.get('installs')).toBe(0);
    world.replication.filesSaid({ kind: 'installed' });
    expect(world.shared.get('installs')).toBe(1);
    expect(world.sent).toEqual([]);
  });
});
