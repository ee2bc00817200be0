/**
 * Storage: what a node's data lies on, over all its lives: the platter, the identity of the directory on it, and what
 * happens to both while nobody looks: a bit rots, the disk is lost and an empty one takes its place, or an older copy of
 * it comes back, which says that it is the same directory.
 */
import { isStoreError } from '../../src/core/base/errors.ts';
import { isDamage } from '../../src/engine/disk/damaged.ts';
import { type Keep, MemoryDisk } from '../../src/engine/disk/memory-disk.ts';
import type { Chance } from './chance.ts';
import { WAL_DIR } from './options.ts';
import { Rot } from './rot.ts';

export class Storage {
  readonly #name: string;
  readonly #chance: Chance;
  #platter: MemoryDisk;
  #rot: Rot;
  #dir: string;
  /** As the platter was at some moment, and whose it was. */
  #copy: { readonly platter: MemoryDisk; readonly dir: string } | undefined;
  /** A fault was armed: a life may end of it, this one or a later one. */
  #isFaulty = false;
  /** The node began with another directory than this one. */
  #isNew = false;
  /** The disk was put back as it had been. */
  #isOld = false;
  /** The node has found out that its files count for nothing. */
  #isDamaged = false;

  constructor(name: string, chance: Chance) {
    this.#name = name;
    this.#chance = chance;
    this.#dir = this.#newDir();
    this.#platter = this.#empty();
    this.#rot = new Rot(this.#platter, WAL_DIR, chance);
  }

  get platter(): MemoryDisk {
    return this.#platter;
  }

  /** Identity of the data directory. */
  get dir(): string {
    return this.#dir;
  }

  get isNew(): boolean {
    return this.#isNew;
  }

  get isOld(): boolean {
    return this.#isOld;
  }

  get isDamaged(): boolean {
    return this.#isDamaged;
  }

  /** What it promised is not known to it, or will not be. */
  get isLost(): boolean {
    return this.#isOld || this.#isDamaged || this.#rot.isForGood;
  }

  /** The old disk has, again, all that counts. */
  recovered(): void {
    this.#isOld = false;
  }

  /** A repair is done: the files are aside, and this directory is in their place. */
  becomes(dir: string): void {
    this.#dir = dir;
    this.#isNew = true;
    this.#isOld = false;
    this.#isDamaged = false;
    this.#rot = new Rot(this.#platter, WAL_DIR, this.#chance);
  }

  get rot(): Rot {
    return this.#rot;
  }

  /** The disk is lost: what comes in its place is empty, and another directory. */
  wipe(): void {
    this.#dir = this.#newDir();
    this.#use(this.#empty());
    this.#copy = undefined;
    this.#isNew = true;
    this.#isOld = false;
  }

  /** Keeps the disk as it is now. As of a power cut: whoever copies a disk that is written to gets no more. */
  copy(): void {
    const platter = this.#platter.clone();
    platter.crash({ keep: this.#chance.of<Keep>(['none', 'random']) });
    this.#copy = { platter, dir: this.#dir };
  }

  /** There is a copy, of the directory that it has. */
  get hasCopy(): boolean {
    return this.#copy?.dir === this.#dir;
  }

  /** The copy takes the disk's place. False: there is none. */
  restore(): boolean {
    if (this.#copy === undefined) return false;
    this.#use(this.#copy.platter.clone());
    this.#dir = this.#copy.dir;
    this.#isOld = true;
    return true;
  }

  /** The disk will fail one of the next syncs, or writes. */
  arm(op: 'fdatasync' | 'write' | 'syncDir', skip: number): void {
    this.#isFaulty = true;
    this.#platter.failNext({ op, code: 'EIO', skip });
  }

  /** It will not fail by what was armed. */
  disarm(): void {
    this.#platter.disarm();
  }

  /** Is this what a faulty disk makes of a node that is right? */
  explains(failure: Error): boolean {
    const isOfDisk = isStoreError(failure, 'DISK_FAILED') || isStoreError(failure, 'STORE_FULL') || isSystem(failure);
    if ((this.#isFaulty && isOfDisk) || (this.#isFull && isSystem(failure))) return true;
    // It has forgotten what others count on, and must not go on as if it had not; and so it is told by each later start.
    const hasForgotten = (this.#isNew || this.#isOld) && isStoreError(failure, 'DIR_ROLLED_BACK');
    const isRotten = this.#rot.explains(failure);
    if (hasForgotten || isRotten === 'for good') this.#isDamaged = true;
    return isRotten === 'mended' || (this.#isDamaged && isDamage(failure));
  }

  get #isFull(): boolean {
    return Number.isFinite(this.#platter.capacityBytes);
  }

  /** The same of something that nobody caught. */
  explainsUncaught(error: unknown): boolean {
    return this.#isFaulty && isSystem(error);
  }

  #newDir(): string {
    return `dir-${this.#name}-${this.#chance.below(1e9)}`;
  }

  #empty(): MemoryDisk {
    return new MemoryDisk({ random: this.#chance.random });
  }

  #use(platter: MemoryDisk): void {
    platter.capacityBytes = this.#platter.capacityBytes;
    this.#platter = platter;
    this.#isDamaged = false;
    this.#rot = new Rot(platter, WAL_DIR, this.#chance);
  }
}

function isSystem(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'EIO' || code === 'ENOSPC';
}
