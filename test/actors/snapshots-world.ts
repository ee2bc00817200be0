/**
 * A leader (n1) whose log begins behind what n3 has, and n3: both ends of a snapshot with everything between them the
 * test's: the mesh is a list, the disks are in memory, time stands until it is moved.
 */
import { expect } from 'vitest';
import { must } from '../../src/core/base/assert.ts';
import { toIndex, toTerm } from '../../src/core/base/position.ts';
import type { SnapshotMessage } from '../../src/core/wire/snapshot.ts';
import { type FromFiles, SnapshotFiles, type ToFiles } from '../../src/actors/snapshot-files.ts';
import { SnapshotReceiver } from '../../src/actors/snapshot-receiver.ts';
import { SnapshotSender } from '../../src/actors/snapshot-sender.ts';
import { MemoryDisk } from '../../src/engine/disk/memory-disk.ts';
import { seeded } from '../core/base/seeded.ts';
import { NODE, treeRevision } from '../engine/snapshot/world.ts';
import { BUSY, open, write } from '../engine/tools/world.ts';
import { ReplicationWorld } from './replication-world.ts';
import { putCommand } from './support.ts';

export interface Carried {
  readonly from: string;
  readonly to: string;
  readonly message: SnapshotMessage;
}

type Files = (message: ToFiles, transfer: readonly ArrayBuffer[]) => void;

/** The tree that the leader sends; made once, it is the same in every test. */
export async function leaderDisk(): Promise<MemoryDisk> {
  const disk = new MemoryDisk();
  disk.mkdir(NODE);
  // Many small tables.
  const engine = await open(disk, '/store', { ...BUSY, autoCompact: false });
  await write(engine, seeded(3), 300);
  await engine.checkpoint('/made');
  await engine.close();
  return disk;
}

export class SnapshotsWorld {
  readonly n1: ReplicationWorld = new ReplicationWorld({ nodes: ['n1', 'n2', 'n3'], clockEveryMs: 1_000_000 });
  readonly n3: ReplicationWorld = new ReplicationWorld({
    id: 'n3',
    nodes: ['n1', 'n2', 'n3'],
    clockEveryMs: 1_000_000,
  });
  readonly leaderDisk: MemoryDisk;
  readonly disk: MemoryDisk = new MemoryDisk();
  readonly sender: SnapshotSender;
  receiver: SnapshotReceiver;
  readonly index: number;
  /** What went over the mesh. */
  readonly carried: Carried[] = [];
  /** Sees each message on its way; undefined: it is lost. */
  onWay: (carried: Carried) => SnapshotMessage | undefined = ({ message }) => message;
  installed = 0;
  readonly logged: string[] = [];
  #work: (() => void)[] = [];
  readonly #leaderFiles: SnapshotFiles;
  #files: SnapshotFiles;
  /** Counts lives of n3: what was on its way to an earlier one is lost. */
  #life = 0;

  constructor(disk: MemoryDisk) {
    this.leaderDisk = disk.clone();
    this.disk.mkdir(NODE);
    this.index = must(treeRevision(disk, '/made'), 'the leader has a tree');
    const { n1, n3 } = this;
    n1.lead();
    for (let token = 1; n1.raft.log.last < this.index + 10; token++) {
      n1.propose(putCommand(`k${token}`, new Uint8Array(1), { token }));
    }
    n1.settle();
    n1.ack('n2');
    n1.settle();
    n1.takeApplied();
    n1.raft.log.compactTo(toIndex(this.index - 5));
    n1.shared.set('flushed', this.index);
    // n3 says that it has nothing.
    n1.receive('n3', {
      kind: 'raft',
      message: {
        ...{ kind: 'appendReply', from: 'n3', to: 'n1', term: n1.raft.term, rejected: true },
        ...{ index: toIndex(1), hintIndex: toIndex(0), hintTerm: toTerm(0) },
      },
    });
    n3.follow('n1', n1.raft.term);
    const log = (level: string, event: string, fields: Record<string, unknown> = {}): void => {
      this.logged.push(`${level} ${event} ${JSON.stringify(fields)}`);
    };
    const clock = { nowMs: () => n1.clock.wallMs, monotonicMs: () => n1.clock.upMs };
    this.#leaderFiles = new SnapshotFiles({
      ...{ disk: this.leaderDisk, dir: NODE, flushed: this.index, soon: (work) => this.#later(work), log },
      checkpoint: (dir) => {
        for (const name of this.leaderDisk.list('/made')) this.leaderDisk.link(`/made/${name}`, `${dir}/${name}`);
      },
      post: (message) => this.#later(() => this.sender.said(message)),
    });
    this.sender = new SnapshotSender({
      ...{ raft: n1.raft, clock, log, flushed: () => n1.shared.get('flushed') },
      post: (to, message) => this.#carry('n1', to, message),
      isOpen: (peer) => n1.open.has(peer),
      toFiles: (message) => this.#later(() => this.#leaderFiles.receive(message)),
    });
    [this.#files, this.receiver] = this.#newReceiver(0);
  }

  /** n3's process ends, without a word, and another begins on the same disk. */
  restartReceiver(flushed = 0): void {
    this.#life++;
    this.disk.crash({ keep: 'none' });
    [this.#files, this.receiver] = this.#newReceiver(flushed);
  }

  #newReceiver(flushed: number): [SnapshotFiles, SnapshotReceiver] {
    const life = this.#life;
    const { n1, n3 } = this;
    const log = (level: string, event: string, fields: Record<string, unknown> = {}): void => {
      this.logged.push(`${level} ${event} ${JSON.stringify(fields)}`);
    };
    const alive = (work: () => void): void => {
      this.#later(() => {
        if (life === this.#life) work();
      });
    };
    const files = new SnapshotFiles({
      ...{ disk: this.disk, dir: NODE, flushed, soon: alive, log },
      checkpoint: () => {
        throw new Error('n3 leads nobody');
      },
      post: (message: FromFiles) => alive(() => this.receiver.said(message)),
    });
    const toFiles: Files = (message, transfer) => {
      // As a port does it: what is handed over is gone here.
      const moved = structuredClone(message, { transfer: [...transfer] });
      alive(() => this.#files.receive(moved));
    };
    const receiver = new SnapshotReceiver({
      ...{ raft: n3.raft, log, toFiles },
      clock: { nowMs: () => n1.clock.wallMs, monotonicMs: () => n1.clock.upMs },
      post: (to, message) => this.#carry('n3', to, message),
      onInstalled: () => this.installed++,
    });
    return [files, receiver];
  }

  #later(work: () => void): void {
    this.#work.push(work);
  }

  #carry(from: string, to: string, sent: SnapshotMessage): void {
    const carried = { from, to, message: sent };
    this.carried.push(carried);
    const message = this.onWay(carried);
    if (message === undefined) return;
    this.#later(() => {
      if (message.kind === 'snapshotOffer') this.receiver.offered(from, message.meta);
      else if (message.kind === 'snapshotChunk') {
        // A batch is one Buffer, and its messages are views of it.
        const batch = Buffer.alloc(message.bytes.length + 20);
        batch.set(message.bytes, 9);
        this.receiver.chunk(from, { ...message, bytes: batch.subarray(9, 9 + message.bytes.length) });
        expect(Buffer.compare(batch.subarray(9, 9 + message.bytes.length), message.bytes)).toBe(0);
      } else if (message.kind === 'snapshotWant') this.sender.wanted(from, message);
      else this.sender.refused(from, message);
    });
  }

  /** Does what waits, until nothing does or `until` is so. */
  run(until: () => boolean = () => false): void {
    for (let work = this.#work.shift(); work !== undefined; work = this.#work.shift()) {
      work();
      if (until()) return;
    }
  }

  /** Time passes at both ends. */
  pass(ms: number): void {
    for (let left = ms; left > 0; left -= 100) {
      this.n1.pass(Math.min(100, left));
      this.sender.tick();
      this.receiver.tick();
      this.run();
    }
  }

  sent<K extends SnapshotMessage['kind']>(kind: K): Extract<SnapshotMessage, { kind: K }>[] {
    return this.carried
      .map(({ message }) => message)
      .filter((message): message is Extract<SnapshotMessage, { kind: K }> => message.kind === kind);
  }
}
