/**
 * followChangelog: the changelog of a replica (src/reflector/changelog.ts), read by any process of its host while the
 * reflector writes it: a loop over what changes, over rotations and restarts of both.
 *
 *   FILE.3   FILE.2   FILE.1   FILE          older lines … newest
 *      └── where it begins, to resume ──▶ … ──▶ here it waits for more
 *
 * A file is held open while it is read, so a rotation takes nothing away: it is read to its end under its new name, and the
 * one that came behind it is next. Lines that are told again (a reflector that was killed tells its last commit twice) come
 * once, but for those of the revision that was told last.
 *
 * What may be missing is never passed over in silence. `out-of-sync` is said, once, where
 *  - the loop is to go on from a revision of which the files know nothing any more,
 *  - it was so slow that files were dropped before it had read them,
 *  - what is in a file is no line.
 *
 * Bounds: one file held open, one chunk and one line in memory. It looks for more every `pollMs`; files are read as fast as the
 * loop takes what is in them.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { isStoreError } from '../../core/base/errors.ts';
import { fileIdOf, FollowedFile } from '../disk/followed-file.ts';
import { changeOfLine, type ChangesFilter, isWanted, type LdbChange } from './changes.ts';

export interface FollowChangelogOptions extends ChangesFilter {
  /** The newest revision whose changes are known. Default: from now on. */
  readonly after?: number;
  /** Ends the loop. */
  readonly signal?: AbortSignal;
  /** How often it looks for more when there was none; default 100. */
  readonly pollMs?: number;
}

const POLL_MS = 100;
/** Of what is read at once, and of a line: far above any, as a key has 1 KiB. */
const CHUNK_BYTES = 64 * 1024;
const LINE_END = 0x0a;
/** Files that are looked for behind FILE; a reflector keeps as many as it was told, three by default. */
const KEPT_MAX = 1_000;
/** Looks at names until two of them in a row are the same: between two a rotation was under way. */
const LOOKS_MAX = 100;

/**
 * Changes of the replica whose reflector writes `path` (`kvctl reflector --changelog`), in the order of their revisions, each
 * once its commit can be read. Waits while there is no such file. Ends with `signal`, or with the loop. Throws the system's
 * error when a file cannot be read.
 */
export async function* followChangelog(path: string, options: FollowChangelogOptions = {}): AsyncGenerator<LdbChange> {
  const { pollMs = POLL_MS, signal } = options;
  const follower = new Follower(path, options.after);
  try {
    while (signal?.aborted !== true) {
      const change = follower.next();
      if (change === undefined) await sleep(pollMs, undefined, { ...(signal && { signal }) }).catch(() => {});
      else if (isWanted(change, options)) yield change;
    }
  } finally {
    follower.close();
  }
}

class Follower {
  readonly #path: string;
  readonly #lines = new Lines();
  /** Everything up to here is known. */
  readonly #after: number;
  #beginsAt: 'oldest' | 'end';
  /** A line at or before `#after` was seen: nothing behind it is missing. */
  #isCovered: boolean;
  #last = 0;
  #isLost = false;

  constructor(path: string, after: number | undefined) {
    this.#path = path;
    this.#after = after ?? 0;
    this.#beginsAt = after === undefined ? 'end' : 'oldest';
    this.#isCovered = after === undefined;
  }

  /** Undefined: there is no more for now. */
  next(): LdbChange | undefined {
    if (!this.#lines.isOpen && !this.#begin()) return undefined;
    for (;;) {
      const line = this.#lines.next();
      if (line === undefined) {
        if (this.#move()) continue;
        return undefined;
      }
      const change = changeIn(line);
      if (change === undefined) this.#isLost = true;
      const told = change === undefined ? undefined : this.#told(change);
      if (told !== undefined) return told;
    }
  }

  close(): void {
    this.#lines.close();
  }

  #begin(): boolean {
    if (this.#beginsAt === 'oldest') return this.#lines.open(this.#name(this.#kept().length), 0);
    // In the middle of a rotation the newest one is called so.
    if (this.#lines.open(this.#path, 'end') || this.#lines.open(this.#name(1), 'end')) return true;
    // There is none: from now on is all of it.
    this.#beginsAt = 'oldest';
    return false;
  }

  /** Of the file that is so many behind the newest. */
  #name(place: number): string {
    return place === 0 ? this.#path : `${this.#path}.${place}`;
  }

  /** What is to be said of it; undefined: it is known. */
  #told(change: LdbChange): LdbChange | undefined {
    const { revision } = change;
    if (revision <= this.#after || revision < this.#last) {
      this.#isCovered ||= revision <= this.#after;
      return undefined;
    }
    const isMissing = this.#isLost || !this.#isCovered;
    this.#isLost = false;
    this.#isCovered = true;
    this.#last = revision;
    if (!isMissing || change.kind === 'out-of-sync') return change;
    // The line itself comes behind it.
    this.#lines.again();
    return { kind: 'out-of-sync', revision };
  }

  /** From a file that was read to its end to the one behind it; false: it is the newest. */
  #move(): boolean {
    const { id } = this.#lines;
    const newest = fileIdOf(this.#path);
    // Between two names of a rotation there is no FILE.
    if (newest === undefined || newest === id) return false;
    // It was renamed after its last line was written; some may have come since we read to its end.
    if (this.#lines.hasMore) return true;
    const kept = this.#kept();
    const at = kept.indexOf(id);
    // FILE.1 is the newest of those that are kept; behind it comes FILE.
    const next = at === -1 ? kept.length : at;
    // Another one has the name by now: names are looked at anew, next time.
    if (!this.#lines.open(this.#name(next), 0, next === 0 ? newest : kept[next - 1])) return false;
    if (at === -1) this.#isLost = true;
    return true;
  }

  /** FILE.1, FILE.2, …, by their ids. */
  #kept(): string[] {
    let before = '';
    for (let look = 0; ; look++) {
      const ids: string[] = [];
      for (let i = 1; i <= KEPT_MAX; i++) {
        const id = fileIdOf(`${this.#path}.${i}`);
        if (id === undefined) break;
        ids.push(id);
      }
      if (look > 0 && (ids.join() === before || look >= LOOKS_MAX)) return ids;
      before = ids.join();
    }
  }
}

function changeIn(line: string): LdbChange | undefined {
  try {
    return changeOfLine(line);
  } catch (error) {
    if (!isStoreError(error, 'PROTOCOL_ERROR')) throw error;
    return undefined;
  }
}

/** The whole lines of one file; what has no end yet is left for later. */
class Lines {
  #file: FollowedFile | undefined;
  /** Where the next line begins. */
  #at = 0;
  #lastAt = 0;
  /** What was read from there on. */
  #bytes: Buffer = Buffer.alloc(0);

  get isOpen(): boolean {
    return this.#file !== undefined;
  }

  get id(): string {
    return this.#file?.id ?? '';
  }

  /** More was written than what was read. */
  get hasMore(): boolean {
    return this.#file !== undefined && this.#file.size() > this.#at + this.#bytes.length;
  }

  /** False: there is no such file (yet, or any more), or it is another one than `id`; the one in hand is then kept. */
  open(path: string, at: 0 | 'end', id?: string): boolean {
    const file = FollowedFile.open(path);
    if (file === undefined) return false;
    if (id !== undefined && file.id !== id) {
      file.close();
      return false;
    }
    this.close();
    this.#file = file;
    this.#at = at === 0 ? 0 : file.size();
    this.#bytes = Buffer.alloc(0);
    // Its last line may be half there: it is none of those from now on.
    if (at === 'end' && !this.#isLineBegin()) this.#at = this.#endBefore(this.#at);
    return true;
  }

  /** Empty, which says no change, for what is too long to be a line; undefined: no more for now. */
  next(): string | undefined {
    const file = this.#file;
    if (file === undefined) return undefined;
    if (file.size() < this.#at) return this.#wasCut(file.size());
    let end = this.#bytes.indexOf(LINE_END);
    if (end === -1) {
      this.#fill(file);
      end = this.#bytes.indexOf(LINE_END);
    }
    if (end === -1) return this.#bytes.length === CHUNK_BYTES ? this.#skip() : undefined;
    const line = this.#bytes.toString('utf8', 0, end);
    this.#lastAt = this.#at;
    this.#at += end + 1;
    this.#bytes = this.#bytes.subarray(end + 1);
    return line;
  }

  /** The last line is to come once more. */
  again(): void {
    this.#at = this.#lastAt;
    this.#bytes = Buffer.alloc(0);
  }

  close(): void {
    this.#file?.close();
    this.#file = undefined;
  }

  #fill(file: FollowedFile): void {
    const chunk = Buffer.alloc(CHUNK_BYTES);
    // What was read and had no end may have been cut off, and written anew, since.
    this.#bytes = chunk.subarray(0, file.read(chunk, this.#at));
  }

  /** Whoever writes it was cut off by a crash, and tells again what was lost. */
  #wasCut(size: number): undefined {
    this.#at = this.#endBefore(size);
    this.#bytes = Buffer.alloc(0);
    return undefined;
  }

  #skip(): string {
    this.#at += CHUNK_BYTES;
    this.#bytes = Buffer.alloc(0);
    return '';
  }

  #isLineBegin(): boolean {
    return this.#at === 0 || this.#byteBefore(this.#at) === LINE_END;
  }

  #endBefore(from: number): number {
    let at = from;
    while (at > 0 && this.#byteBefore(at) !== LINE_END) at--;
    return at;
  }

  #byteBefore(at: number): number | undefined {
    const byte = Buffer.alloc(1);
    return this.#file?.read(byte, at - 1) === 1 ? byte[0] : undefined;
  }
}
