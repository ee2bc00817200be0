/**
 * Crash states: every disk that a power cut may leave of a script, one by one.
 *
 * The script runs on a disk that records each change (`CrashRecorder`). Then, for each number of changes that came
 * before the cut, the unsynced ones are kept or not in every way that the model allows (`crashStates`):
 *  - a write is lost, kept, or torn at a sector's edge (its first part there and the rest not, or the reverse);
 *    `truncate` is lost or kept. Each on its own: a later write may be there without an earlier one;
 *  - changes of names are kept in their order, per directory: the first so many of them;
 *  - what was synced is there.
 * Where that gives more than `STATES_MAX` disks (many unsynced writes at once), all are lost, all are kept, and each alone is
 * lost, kept or torn.
 *
 * A state comes with what the engine had promised by then, as it was noted when the next change was made.
 */
import { crc32 } from 'node:zlib';
import { dirname } from 'node:path/posix';
import { must } from '../../src/core/base/assert.ts';
import { MemoryDisk, SECTOR_BYTES } from '../../src/engine/disk/memory-disk.ts';
import { type Change, WatchedDisk } from './engine-disk.ts';

export interface CrashState<Promised> {
  /** Changes made before the power went. */
  readonly changes: number;
  /** What was kept of those that were not synced. */
  readonly kept: string;
  readonly promised: Promised;
  readonly disk: MemoryDisk;
}

const STATES_MAX = 96;

export class CrashRecorder<Promised> {
  readonly disk: WatchedDisk;
  readonly changes: Change[] = [];
  /** What was promised when each change was made, and at the end. */
  readonly promised: Promised[] = [];
  readonly #promisedNow: () => Promised;

  constructor(promisedNow: () => Promised) {
    this.#promisedNow = promisedNow;
    this.disk = new WatchedDisk(new MemoryDisk(), (change) => {
      this.promised.push(promisedNow());
      this.changes.push(change.op === 'write' ? { ...change, bytes: change.bytes.slice() } : change);
    });
  }

  end(): void {
    this.promised.push(this.#promisedNow());
  }
}

/** A change of a file's bytes: a write or a truncate. */
type Effect =
  | { readonly op: 'write'; readonly at: number; readonly bytes: Uint8Array }
  | { readonly op: 'truncate'; readonly size: number };

interface File {
  durable: Uint8Array;
  unsynced: Effect[];
}

interface NameChange {
  readonly gone?: string;
  readonly come?: readonly [path: string, file: File];
}

/** How much of one effect is there. */
type Share = 'lost' | 'kept' | 'head' | 'tail';

class Disk {
  readonly dirs: string[] = [];
  readonly durableNames = new Map<string, File>();
  readonly unsyncedNames = new Map<string, NameChange[]>();
  readonly #live = new Map<string, File>();
  /** Under the names of files that were renamed: a handle keeps the name it was opened by. */
  readonly #before = new Map<string, File>();

  apply(change: Change): void {
    const { path } = change;
    switch (change.op) {
      case 'mkdir':
        this.dirs.push(path);
        break;
      case 'create':
        this.#name(path, { come: [path, { durable: new Uint8Array(0), unsynced: [] }] });
        break;
      case 'rename':
        this.#name(path, { gone: path, come: [change.to, this.#file(path)] });
        break;
      case 'link':
        this.#name(change.to, { come: [change.to, this.#file(path)] });
        break;
      case 'remove':
        this.#name(path, { gone: path });
        break;
      case 'write':
      case 'truncate':
        this.#file(path).unsynced.push(change);
        break;
      case 'fdatasync': {
        const file = this.#file(path);
        file.durable = contentOf(
          file,
          file.unsynced.map(() => 'kept'),
        );
        file.unsynced = [];
        break;
      }
      default:
        for (const { gone, come } of this.unsyncedNames.get(path) ?? []) rename(this.durableNames, gone, come);
        this.unsyncedNames.delete(path);
    }
  }

  #file(path: string): File {
    return must(this.#live.get(path) ?? this.#before.get(path), `the file ${path} is known`);
  }

  #name(path: string, change: NameChange): void {
    const dir = dirname(path);
    if (change.gone !== undefined) this.#before.set(change.gone, this.#file(change.gone));
    rename(this.#live, change.gone, change.come);
    const changes = this.unsyncedNames.get(dir) ?? [];
    changes.push(change);
    this.unsyncedNames.set(dir, changes);
  }
}

function rename(names: Map<string, File>, gone: string | undefined, come: NameChange['come']): void {
  if (gone !== undefined) names.delete(gone);
  if (come !== undefined) names.set(come[0], come[1]);
}

function contentOf(file: File, shares: readonly Share[]): Uint8Array {
  let content = file.durable;
  for (const [i, effect] of file.unsynced.entries()) {
    const share = must(shares[i], 'each effect has its share');
    if (share !== 'lost') content = changed(content, effect, share);
  }
  return content;
}

function changed(before: Uint8Array, effect: Effect, share: Share): Uint8Array {
  if (effect.op === 'truncate') {
    const after = new Uint8Array(effect.size);
    after.set(before.subarray(0, effect.size));
    return after;
  }
  const { at, bytes } = effect;
  const edge = edgeOf(effect);
  const from = share === 'tail' ? edge : 0;
  const to = share === 'head' ? edge : bytes.length;
  const after = new Uint8Array(Math.max(before.length, at + to));
  after.set(before);
  after.set(bytes.subarray(from, to), at + from);
  return after;
}

/** The sector's edge nearest to the middle of a write; 0: it is in one sector, which a disk writes whole or not. */
function edgeOf({ at, bytes }: { at: number; bytes: Uint8Array }): number {
  const edge = Math.round((at + bytes.length / 2) / SECTOR_BYTES) * SECTOR_BYTES - at;
  return edge > 0 && edge < bytes.length ? edge : 0;
}

function sharesOf(effect: Effect): readonly Share[] {
  if (effect.op === 'truncate' || edgeOf(effect) === 0) return ['kept', 'lost'];
  // Zeros ahead of the log: half of them there is no news.
  if (effect.bytes.length > 256 * 1024) return ['kept', 'lost', 'head'];
  return ['kept', 'lost', 'head', 'tail'];
}

/** All states of all cuts; those alike, with the same promises, come once. */
export function* crashStates<Promised>(recorder: CrashRecorder<Promised>): Generator<CrashState<Promised>> {
  const disk = new Disk();
  const seen = new Set<string>();
  for (let changes = 0; changes <= recorder.changes.length; changes++) {
    const promised = must(recorder.promised[changes], 'promises are noted at each change');
    for (const { names, label } of namesOf(disk)) {
      const files = [...new Set(names.values())];
      const effects = files.flatMap((file) => file.unsynced.map((effect) => sharesOf(effect)));
      for (const shares of combinations(effects)) {
        let at = 0;
        const contents = new Map<File, Uint8Array>();
        for (const file of files) {
          contents.set(file, contentOf(file, shares.slice(at, at + file.unsynced.length)));
          at += file.unsynced.length;
        }
        const id = `${JSON.stringify(promised)} ${idOf(names, contents)}`;
        if (seen.has(id)) continue;
        seen.add(id);
        const state = made(disk.dirs, names, contents);
        yield { changes, kept: `${label}; ${shares.join(' ')}`, promised, disk: state };
      }
    }
    const next = recorder.changes[changes];
    if (next !== undefined) disk.apply(next);
  }
}

/** Names after a cut: per directory, the first so many of its unsynced changes. */
function namesOf(disk: Disk): { names: Map<string, File>; label: string }[] {
  let all = [{ names: new Map(disk.durableNames), label: 'names' }];
  for (const [dir, changes] of disk.unsyncedNames) {
    all = all.flatMap(({ names, label }) =>
      Array.from({ length: changes.length + 1 }, (_, count) => {
        const kept = new Map(names);
        for (const { gone, come } of changes.slice(0, count)) rename(kept, gone, come);
        return { names: kept, label: `${label} ${dir} ${count}/${changes.length}` };
      }),
    );
  }
  return all;
}

function combinations(effects: readonly (readonly Share[])[]): Share[][] {
  const count = effects.reduce((product, shares) => product * shares.length, 1);
  if (count <= STATES_MAX) {
    return effects.reduce<Share[][]>(
      (all, shares) => all.flatMap((one) => shares.map((share) => [...one, share])),
      [[]],
    );
  }
  const allOf = (share: Share): Share[] => effects.map(() => share);
  const ones = effects.flatMap((shares, i) => [
    ...shares.map((share) => allOf('kept').with(i, share)),
    ...shares.map((share) => allOf('lost').with(i, share)),
  ]);
  return [allOf('kept'), allOf('lost'), ...ones];
}

function idOf(names: ReadonlyMap<string, File>, contents: ReadonlyMap<File, Uint8Array>): string {
  const ids = [...names].map(([path, file]) => {
    const content = contents.get(file) as Uint8Array;
    return `${path}:${content.length}:${crc32(content)}`;
  });
  return ids.sort().join(' ');
}

function made(dirs: readonly string[], names: ReadonlyMap<string, File>, contents: Map<File, Uint8Array>): MemoryDisk {
  const disk = new MemoryDisk();
  for (const dir of dirs) disk.mkdir(dir);
  for (const [path, file] of names) {
    const made = disk.open(path, 'create');
    made.write(contents.get(file) as Uint8Array, 0);
    made.fdatasync();
    made.close();
    disk.syncDir(dirname(path));
  }
  return disk;
}
