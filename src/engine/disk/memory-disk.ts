/**
 * MemoryDisk: a disk in memory that can lose, tear, refuse and lie on demand, from one seed.
 *
 * It keeps two states apart: what a reader sees now, and what would be there after a power cut.
 *
 *   name  --live-->  file A { bytes, size }              what open and read see
 *   name  --durable-> file A { history by sector }       what a crash goes back to
 *
 * A file's bytes and its name are durable separately: `fdatasync` makes bytes and size durable, `syncDir` the
 * names. A file that was synced but whose directory was not is gone after a crash.
 *
 * What a crash may leave (`keep: 'random'`), as a page cache over a drive behaves:
 *  - The unit is the sector of 512 bytes: whole or not at all, so a longer write tears between sectors.
 *  - Each sector goes back on its own to *some* state it had since its last sync: a newer write to it is never
 *    there without the older ones, while between sectors any order is possible.
 *  - The size goes back to some size it had, also to a sector's edge inside one growing write. Bytes beyond are
 *    lost; a kept size over lost bytes reads as zeros.
 *  - Each create, link, rename and remove is kept or lost on its own; a rename is one act, never half of one.
 * `keep: 'none'` is exactly what was synced; `keep: 'all'` is a crash of the process alone.
 *
 * A failed `fdatasync` is Linux's: the pages count as clean afterwards, so a second, successful sync does not
 * save their bytes ("fsyncgate"). Only writing them again does.
 *
 * Simpler than a real disk, on purpose: `mkdir` is durable at once (as NodeDisk's is); a file's rename between
 * directories is refused with EXDEV, since no file system says how its halves survive; a directory is renamed only
 * when the names in it are durable, and takes changes only once its own is (else EBUSY); space is counted by size,
 * holes too.
 *
 * Invariants:
 *  - The durable names, with the unsynced changes made to them in order, are the live names.
 *  - `usedBytes` is the sum of the sizes of files that have a name or an open handle.
 */
import { dirname, resolve } from 'node:path/posix';
import { assert, must } from '../../core/base/assert.ts';
import type { Disk, DiskFile, OpenMode, Random } from '../../core/base/env.ts';
import { type Choose, FileState } from './memory-file.ts';
import { type DiskOp, type Driver, MemoryDiskFile } from './memory-handle.ts';
import { byteOrder, systemError } from './system-error.ts';

export { SECTOR_BYTES } from './memory-file.ts';
export type { DiskOp } from './memory-handle.ts';

export interface Fault {
  readonly op: DiskOp;
  readonly code: 'EIO' | 'ENOSPC' | 'EACCES' | 'EMFILE' | 'EROFS';
  /** How many calls fail; 1 if not given. */
  readonly times?: number;
  /** How many calls go well first; 0 if not given. */
  readonly skip?: number;
  /** Only calls on this path. */
  readonly path?: string;
}

/** What outlives a power cut besides what was synced. */
export type Keep = 'none' | 'all' | 'random';

export interface MemoryDiskOptions {
  /** Decides what a crash keeps; needed by `crash({ keep: 'random' })` only. */
  readonly random?: Random;
  readonly capacityBytes?: number;
}

/** A change of names in one directory: these go, then this comes. Or a directory moves, with all below it. */
interface NameChange {
  readonly dir: string;
  readonly gone?: string;
  readonly come?: { readonly path: string; readonly file: FileState };
  readonly move?: { readonly from: string; readonly to: string };
}

interface ArmedFault {
  readonly fault: Fault;
  skip: number;
  times: number;
}

export class MemoryDisk implements Disk {
  /** When true, `fdatasync` returns without making anything durable, like a drive with a careless cache. */
  lieAboutSync: boolean = false;
  /** Writes that would grow files beyond this end short, then throw ENOSPC. */
  capacityBytes: number;

  readonly #random: Random | undefined;
  #dirs = new Set<string>(['/']);
  #names = new Map<string, FileState>();
  #durableNames = new Map<string, FileState>();
  /** In the order they were made. */
  #unsyncedNames: NameChange[] = [];
  #faults: ArmedFault[] = [];
  #usedBytes = 0;
  /** Counts crashes: a handle of an earlier life is stale. */
  #life = 0;

  constructor(options: MemoryDiskOptions = {}) {
    this.#random = options.random;
    this.capacityBytes = options.capacityBytes ?? Number.POSITIVE_INFINITY;
  }

  get usedBytes(): number {
    return this.#usedBytes;
  }

  // ---- Disk

  open(path: string, mode: OpenMode): DiskFile {
    const at = this.#enter('open', path);
    if (this.#dirs.has(at)) throw systemError('EISDIR', 'open', path, 'is a directory');
    let file = this.#names.get(at);
    if (mode === 'create') {
      if (file !== undefined) throw systemError('EEXIST', 'open', path, 'file already exists');
      this.#needParent(at, 'open', path);
      file = new FileState();
      this.#change({ dir: dirname(at), come: { path: at, file } });
    } else if (file === undefined) {
      this.#needParent(at, 'open', path);
      throw systemError('ENOENT', 'open', path, 'no such file');
    }
    file.handles++;
    return new MemoryDiskFile(this.#driver, file, path, mode !== 'read');
  }

  mkdir(path: string): void {
    const at = this.#enter('mkdir', path);
    for (let above = dirname(at); above !== '/'; above = dirname(above)) {
      if (this.#names.has(above)) throw systemError('ENOTDIR', 'mkdir', path, 'not a directory');
    }
    if (this.#names.has(at)) throw systemError('EEXIST', 'mkdir', path, 'a file has this name');
    for (let dir = at; dir !== '/'; dir = dirname(dir)) this.#dirs.add(dir);
  }

  list(path: string): string[] {
    const at = this.#enter('list', path);
    this.#needDir(at, 'scandir', path);
    const names: string[] = [];
    for (const child of [...this.#names.keys(), ...this.#dirs]) {
      if (child !== '/' && dirname(child) === at) names.push(child.slice(at === '/' ? 1 : at.length + 1));
    }
    return names.sort(byteOrder);
  }

  exists(path: string): boolean {
    const at = this.#enter('exists', path);
    return this.#names.has(at) || this.#dirs.has(at);
  }

  rename(from: string, to: string): void {
    const gone = this.#enter('rename', from);
    const at = resolve('/', to);
    const file = this.#names.get(gone);
    if (file === undefined && !this.#dirs.has(gone)) throw systemError('ENOENT', 'rename', from, 'no such file');
    this.#needParent(at, 'rename', to);
    if (dirname(gone) !== dirname(at)) throw systemError('EXDEV', 'rename', to, 'a rename stays in its directory');
    if (gone === at) return;
    if (file === undefined) {
      this.#renameDir(gone, at);
      return;
    }
    if (this.#dirs.has(at)) throw systemError('EISDIR', 'rename', to, 'is a directory');
    // POSIX: of two names of one file, neither goes.
    if (this.#names.get(at) === file) return;
    this.#change({ dir: dirname(at), gone, come: { path: at, file } });
  }

  link(from: string, to: string): void {
    const source = this.#enter('link', from);
    const at = resolve('/', to);
    const file = this.#names.get(source);
    if (this.#dirs.has(source)) throw systemError('EPERM', 'link', from, 'is a directory');
    if (file === undefined) throw systemError('ENOENT', 'link', from, 'no such file');
    this.#needParent(at, 'link', to);
    if (this.#names.has(at) || this.#dirs.has(at)) throw systemError('EEXIST', 'link', to, 'the name is taken');
    file.isLinked = true;
    this.#change({ dir: dirname(at), come: { path: at, file } });
  }

  remove(path: string): void {
    const gone = this.#enter('remove', path);
    if (this.#dirs.has(gone)) throw systemError('EISDIR', 'unlink', path, 'is a directory');
    if (!this.#names.has(gone)) throw systemError('ENOENT', 'unlink', path, 'no such file');
    this.#change({ dir: dirname(gone), gone });
  }

  syncDir(path: string): void {
    const dir = this.#enter('syncDir', path);
    this.#needDir(dir, 'fsync', path);
    for (const change of this.#unsyncedNames) {
      if (change.dir === dir) apply(change, this.#durableNames);
    }
    this.#unsyncedNames = this.#unsyncedNames.filter((change) => change.dir !== dir);
  }

  // ---- Faults

  /**
   * The power goes. Names and bytes fall back to what `keep` says, and every open handle becomes stale: its
   * calls throw EIO, its close is allowed. Armed faults, capacity and lie stay as they are.
   */
  crash(options: { readonly keep: Keep }): void {
    const { keep } = options;
    const choose = this.#chooser(keep);
    const names = new Map(this.#durableNames);
    const dirs = new Set(this.#dirs);
    for (const change of this.#unsyncedNames) {
      if (choose(2) === 0) apply(change, names);
      else if (change.move !== undefined) moveDirs(dirs, change.move.to, change.move.from);
    }
    this.#dirs = dirs;
    // A rename lost and a later one kept may leave one file under two names; they part here. Links do not.
    const taken = new Set<FileState>();
    this.#names = new Map();
    for (const [path, file] of names) {
      const survivor = taken.has(file) && !file.isLinked ? file.clone() : file;
      taken.add(file);
      this.#names.set(path, survivor);
    }
    for (const file of new Set(this.#names.values())) {
      file.crash(choose);
      file.handles = 0;
      file.names = 0;
    }
    for (const file of this.#names.values()) file.names++;
    this.#durableNames = new Map(this.#names);
    this.#unsyncedNames = [];
    this.#life++;
    this.#usedBytes = this.#countUsed();
  }

  /** Makes the next calls of `fault.op` throw `fault.code`, without effect. Several faults may be armed. */
  failNext(fault: Fault): void {
    const { times = 1, skip = 0 } = fault;
    assert(Number.isSafeInteger(times) && times >= 1, 'a fault fires at least once');
    assert(Number.isSafeInteger(skip) && skip >= 0, 'a fault skips no call or some');
    this.#faults.push({ fault, skip, times });
  }

  /** What was armed does not happen. */
  disarm(): void {
    this.#faults = [];
  }

  /** Rots one bit on the platter: readers see it now and after every crash, until the byte is written again. */
  flipBit(path: string, byteOffset: number, bit: number): void {
    assert(Number.isInteger(bit) && bit >= 0 && bit < 8, 'a byte has bits 0 to 7');
    must(this.#names.get(resolve('/', path)), `the file ${path} is there`).flipBit(byteOffset, 1 << bit);
  }

  /** This disk again, with all that is unsynced, without open handles and armed faults: to crash it in one more way. */
  clone(options: { readonly random?: Random } = {}): MemoryDisk {
    const random = options.random ?? this.#random;
    const copy = new MemoryDisk({ capacityBytes: this.capacityBytes, ...(random && { random }) });
    const copies = new Map<FileState, FileState>();
    const copyOf = (file: FileState): FileState => {
      const known = copies.get(file) ?? file.clone();
      copies.set(file, known);
      return known;
    };
    const copyNames = (names: ReadonlyMap<string, FileState>): Map<string, FileState> =>
      new Map([...names].map(([path, file]) => [path, copyOf(file)]));
    copy.lieAboutSync = this.lieAboutSync;
    copy.#dirs = new Set(this.#dirs);
    copy.#names = copyNames(this.#names);
    copy.#durableNames = copyNames(this.#durableNames);
    copy.#unsyncedNames = this.#unsyncedNames.map((change) =>
      change.come ? { ...change, come: { path: change.come.path, file: copyOf(change.come.file) } } : change,
    );
    for (const file of copies.values()) file.handles = 0;
    copy.#usedBytes = copy.#countUsed();
    return copy;
  }

  checkInvariants(): void {
    const names = new Map<FileState, number>();
    for (const [path, file] of this.#names) {
      assert(this.#dirs.has(dirname(path)), 'a file is in a directory');
      assert(!this.#dirs.has(path), 'a name is a file or a directory');
      assert(file.names === 1 || file.isLinked, 'a live file that was never linked has one name');
      names.set(file, (names.get(file) ?? 0) + 1);
      file.checkInvariants();
    }
    for (const [file, count] of names) assert(file.names === count, 'a file knows how many names it has');
    const replayed = new Map(this.#durableNames);
    for (const change of this.#unsyncedNames) apply(change, replayed);
    assert(replayed.size === this.#names.size, 'durable names and the unsynced changes give the live names');
    for (const [path, file] of replayed) assert(this.#names.get(path) === file, 'each name leads to its file');
    assert(this.#usedBytes >= this.#countUsed(), 'used bytes cover at least the named files');
  }

  // ---- Inside

  /** What an open file may ask of its disk. */
  get #driver(): Driver {
    const life = this.#life;
    return {
      enter: (op, path) => {
        if (life !== this.#life)
          throw systemError('EIO', op, path, 'stale handle: the disk crashed since it was opened');
        this.#enter(op, path);
      },
      isStale: () => life !== this.#life,
      isLying: () => this.lieAboutSync,
      roomBytes: () => this.capacityBytes - this.#usedBytes,
      use: (bytes) => {
        this.#usedBytes += bytes;
      },
    };
  }

  /** Start of every call: throws the fault armed for it, if one is due. */
  #enter(op: DiskOp, path: string): string {
    const at = resolve('/', path);
    for (const armed of this.#faults) {
      const { fault } = armed;
      if (fault.op !== op) continue;
      if (fault.path !== undefined && resolve('/', fault.path) !== at) continue;
      if (armed.skip > 0) {
        armed.skip--;
        continue;
      }
      armed.times--;
      if (armed.times === 0) this.#faults = this.#faults.filter((other) => other !== armed);
      throw systemError(fault.code, op, path, 'injected fault');
    }
    return at;
  }

  #change(change: NameChange): void {
    for (const { move } of this.#unsyncedNames) {
      if (move === undefined || !(isBelow(change.dir, move.to) || isBelow(change.dir, move.from))) continue;
      throw systemError('EBUSY', 'rename', change.dir, 'the name of this directory is not durable yet');
    }
    for (const path of [change.gone, change.come?.path]) {
      const before = path === undefined ? undefined : this.#names.get(path);
      if (before === undefined) continue;
      before.names--;
    }
    const replaced = change.come && this.#names.get(change.come.path);
    const removed = change.come || change.gone === undefined ? undefined : this.#names.get(change.gone);
    apply(change, this.#names);
    if (change.come) change.come.file.names++;
    this.#unsyncedNames.push(change);
    for (const file of [replaced, removed]) {
      if (file?.isUnreachable) this.#usedBytes -= file.size;
    }
  }

  #renameDir(from: string, to: string): void {
    if (this.#names.has(to)) throw systemError('ENOTDIR', 'rename', to, 'a file has this name');
    if (isBelow(to, from)) throw systemError('EINVAL', 'rename', to, 'a directory cannot go into itself');
    const isEmpty = ![...this.#names.keys(), ...this.#dirs].some((path) => dirname(path) === to);
    if (!isEmpty) throw systemError('ENOTEMPTY', 'rename', to, 'directory not empty');
    if (this.#unsyncedNames.some(({ dir }) => isBelow(dir, from) || isBelow(dir, to))) {
      throw systemError('EBUSY', 'rename', from, 'names in this directory are not durable yet');
    }
    this.#change({ dir: dirname(to), move: { from, to } });
    moveDirs(this.#dirs, from, to);
  }

  #needDir(at: string, call: string, path: string): void {
    if (this.#dirs.has(at)) return;
    if (this.#names.has(at)) throw systemError('ENOTDIR', call, path, 'not a directory');
    throw systemError('ENOENT', call, path, 'no such directory');
  }

  #needParent(at: string, call: string, path: string): void {
    this.#needDir(dirname(at), call, path);
  }

  #chooser(keep: Keep): Choose {
    // Choice 0 is always the newest state, the last choice the durable one.
    if (keep === 'all') return () => 0;
    if (keep === 'none') return (count) => count - 1;
    const random = must(this.#random, 'a random crash has a random source');
    return (count) => Math.floor(random() * count);
  }

  #countUsed(): number {
    let used = 0;
    for (const file of new Set(this.#names.values())) used += file.size;
    return used;
  }
}

function apply(change: NameChange, names: Map<string, FileState>): void {
  if (change.gone !== undefined) names.delete(change.gone);
  if (change.come !== undefined) names.set(change.come.path, change.come.file);
  if (change.move === undefined) return;
  const { from, to } = change.move;
  for (const [path, file] of [...names]) {
    if (!isBelow(path, from)) continue;
    names.delete(path);
    names.set(to + path.slice(from.length), file);
  }
}

function moveDirs(dirs: Set<string>, from: string, to: string): void {
  for (const dir of [...dirs]) {
    if (!isBelow(dir, from)) continue;
    dirs.delete(dir);
    dirs.add(to + dir.slice(from.length));
  }
}

/** The directory itself counts. */
function isBelow(path: string, dir: string): boolean {
  return path === dir || path.startsWith(`${dir}/`);
}
