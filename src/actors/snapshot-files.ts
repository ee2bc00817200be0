/**
 * SnapshotFiles: the disk side of snapshots, in the compactor's thread: it takes, reads, writes and checks what
 * replication sends and receives. Replication's own thread never waits for a disk: votes and heartbeats go on.
 *
 * One snapshot may be on its way out, and one on its way in. Long work (checksums of everything) is done in steps,
 * between which the thread's other work goes on.
 *
 * A failure here costs the transfer and no more: nothing counts until INSTALL is written, and if it is not known whether
 * it was, this throws, which ends the node.
 */
import type { Disk } from '../core/base/env.ts';
import { isStoreError } from '../core/base/errors.ts';
import type { Term } from '../core/base/position.ts';
import { CHUNK_BYTES_MAX, type SnapshotFile, type SnapshotMeta } from '../core/wire/snapshot.ts';
import { checksum } from '../engine/disk/checksum.ts';
import { emptyDir, INCOMING, OUTGOING } from '../engine/snapshot/directory.ts';
import { IncomingSnapshot, incomingMeta } from '../engine/snapshot/incoming.ts';
import { decideInstall, type Promised } from '../engine/snapshot/install.ts';
import { OutgoingSnapshot } from '../engine/snapshot/outgoing.ts';
import type { CompactorFacts } from './facts.ts';
import type { LogFunction } from './runtime/thread.ts';

/** From replication. */
export type ToFiles =
  | { readonly kind: 'take'; readonly number: number }
  | {
      readonly kind: 'read';
      readonly number: number;
      readonly to: string;
      readonly round: number;
      readonly offset: number;
    }
  | { readonly kind: 'drop' }
  | { readonly kind: 'receive'; readonly meta: SnapshotMeta }
  | {
      readonly kind: 'write';
      readonly term: Term;
      readonly number: number;
      readonly offset: number;
      readonly bytes: Uint8Array<ArrayBuffer>;
    }
  | { readonly kind: 'forget' }
  | { readonly kind: 'install'; readonly promised: Promised };

/** To replication. */
export type FromFiles =
  | { readonly kind: 'taken'; readonly number: number; readonly index: number; readonly files: readonly SnapshotFile[] }
  /** It could not be taken, or can be read no more. */
  | { readonly kind: 'lost'; readonly number: number; readonly message: string }
  | {
      readonly kind: 'bytes';
      readonly number: number;
      readonly to: string;
      readonly round: number;
      readonly offset: number;
      readonly crc: number;
      readonly bytes: Uint8Array<ArrayBuffer>;
    }
  /** Everything before `offset` is on the disk. `again`: what was handed over behind it is not, and will not be. */
  | {
      readonly kind: 'position';
      readonly term: Term;
      readonly number: number;
      readonly offset: number;
      readonly again: boolean;
    }
  | { readonly kind: 'whole'; readonly term: Term; readonly number: number }
  | { readonly kind: 'notReceived'; readonly term: Term; readonly number: number; readonly message: string }
  | { readonly kind: 'installed' }
  | { readonly kind: 'notInstalled'; readonly message: string };

export interface SnapshotFilesWorld {
  readonly disk: Disk;
  /** The node's directory. */
  readonly dir: string;
  /** Makes a checkpoint of the tree in a directory that is there and empty. */
  readonly checkpoint: (dir: string) => void;
  /** What is in tables at the start: an older state that came in is of no use. */
  readonly flushed: number;
  /** Runs `work` after what waits already. */
  readonly soon: (work: () => void) => void;
  readonly post: (message: FromFiles, transfer: readonly ArrayBuffer[]) => void;
  readonly log: LogFunction;
}

export class SnapshotFiles {
  readonly #world: SnapshotFilesWorld;
  #outgoing: { readonly number: number; readonly snapshot: OutgoingSnapshot } | undefined;
  #incoming: IncomingSnapshot | undefined;

  constructor(world: SnapshotFilesWorld) {
    this.#world = world;
    const { disk, dir, flushed } = world;
    if (disk.exists(`${dir}/${OUTGOING}`)) emptyDir(disk, `${dir}/${OUTGOING}`);
    // What came in before the start is gone on with, if it is still of use and offered again.
    if (!disk.exists(`${dir}/${INCOMING}`)) return;
    const meta = incomingMeta(disk, `${dir}/${INCOMING}`);
    if (meta === undefined || meta.index <= flushed) emptyDir(disk, `${dir}/${INCOMING}`);
  }

  receive(message: ToFiles): void {
    switch (message.kind) {
      case 'take':
        this.#take(message.number);
        break;
      case 'read':
        this.#read(message);
        break;
      case 'drop':
        this.#drop();
        break;
      case 'receive':
        this.#receive(message.meta);
        break;
      case 'write':
        this.#write(message);
        break;
      case 'forget':
        this.#forget();
        break;
      case 'install':
        this.#install(message.promised);
        break;
    }
  }

  close(): void {
    this.#incoming?.close();
    this.#incoming = undefined;
    this.#drop();
  }

  inspect(): CompactorFacts['snapshots'] {
    return { sends: this.#outgoing?.snapshot.index, receives: this.#incoming?.meta.index };
  }

  // ── out ───────────────────────────────────────────────────────────────────────────────────────────────────

  #take(number: number): void {
    this.#drop();
    const { disk, dir, checkpoint } = this.#world;
    this.#sending(number, () => {
      this.#outgoing = { number, snapshot: OutgoingSnapshot.make(disk, `${dir}/${OUTGOING}`, checkpoint) };
      this.#sum(number);
    });
  }

  #sum(number: number): void {
    const snapshot = this.#outgoing?.number === number ? this.#outgoing.snapshot : undefined;
    if (snapshot === undefined) return;
    const files = snapshot.step();
    if (files === undefined) this.#world.soon(() => this.#sending(number, () => this.#sum(number)));
    else this.#world.post({ kind: 'taken', number, index: snapshot.index, files }, []);
  }

  #read({ number, to, round, offset }: Extract<ToFiles, { kind: 'read' }>): void {
    const snapshot = this.#outgoing?.number === number ? this.#outgoing.snapshot : undefined;
    if (snapshot === undefined) return;
    this.#sending(number, () => {
      const bytes = snapshot.read(offset, CHUNK_BYTES_MAX);
      const crc = checksum(bytes, 0, bytes.length);
      this.#world.post({ kind: 'bytes', number, to, round, offset, crc, bytes }, [bytes.buffer]);
    });
  }

  #drop(): void {
    const { snapshot } = this.#outgoing ?? {};
    this.#outgoing = undefined;
    if (snapshot !== undefined) this.#tidy(() => snapshot.remove());
  }

  #sending(number: number, work: () => void): void {
    try {
      work();
    } catch (cause) {
      this.#drop();
      this.#world.post({ kind: 'lost', number, message: reasonOf(cause) }, []);
    }
  }

  // ── in ────────────────────────────────────────────────────────────────────────────────────────────────────

  #receive(meta: SnapshotMeta): void {
    this.#incoming?.close();
    this.#incoming = undefined;
    const { disk, dir } = this.#world;
    this.#receiving(meta, () => {
      this.#incoming = IncomingSnapshot.begin(disk, `${dir}/${INCOMING}`, meta);
      this.#look(this.#incoming);
    });
  }

  #look(incoming: IncomingSnapshot): void {
    if (this.#incoming !== incoming) return;
    if (incoming.look()) this.#tellPosition(incoming, true);
    else this.#world.soon(() => this.#receiving(incoming.meta, () => this.#look(incoming)));
  }

  #write({ term, number, offset, bytes }: Extract<ToFiles, { kind: 'write' }>): void {
    const incoming = this.#incoming;
    if (incoming?.meta.term !== term || incoming.meta.number !== number) return;
    // It was on its way when what is before it was found to be wrong.
    if (offset !== incoming.position) return;
    this.#receiving(incoming.meta, () => {
      const isRight = incoming.write(bytes);
      if (!isRight) this.#world.log('warn', 'snapshot.damaged', { offset: incoming.position });
      this.#tellPosition(incoming, !isRight);
    });
  }

  #tellPosition(incoming: IncomingSnapshot, again: boolean): void {
    const { term, number } = incoming.meta;
    if (incoming.isWhole) {
      incoming.check();
      this.#world.post({ kind: 'whole', term, number }, []);
    } else this.#world.post({ kind: 'position', term, number, offset: incoming.position, again }, []);
  }

  #forget(): void {
    const incoming = this.#incoming;
    this.#incoming = undefined;
    if (incoming !== undefined) this.#tidy(() => incoming.remove());
  }

  #receiving(meta: SnapshotMeta, work: () => void): void {
    try {
      work();
    } catch (cause) {
      // Also after a sync that failed: nothing of it is built on.
      this.#forget();
      this.#tidy(() => emptyDir(this.#world.disk, `${this.#world.dir}/${INCOMING}`));
      const { term, number } = meta;
      this.#world.post({ kind: 'notReceived', term, number, message: reasonOf(cause) }, []);
    }
  }

  #install(promised: Promised): void {
    const incoming = this.#incoming;
    const { disk, dir, post } = this.#world;
    if (incoming === undefined) return post({ kind: 'notInstalled', message: 'it is not there' }, []);
    try {
      decideInstall(disk, dir, incoming.meta, promised);
    } catch (cause) {
      if (!isStoreError(cause, 'STORE_FULL')) throw cause;
      this.#forget();
      return post({ kind: 'notInstalled', message: cause.message }, []);
    }
    this.#incoming?.close();
    this.#incoming = undefined;
    post({ kind: 'installed' }, []);
  }

  /** What cannot be removed is removed by the next try, or the next start. */
  #tidy(work: () => void): void {
    try {
      work();
    } catch (cause) {
      this.#world.log('warn', 'snapshot.not-removed', { message: reasonOf(cause) });
    }
  }
}

const reasonOf = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause));
