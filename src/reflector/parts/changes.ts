/**
 * ChangeTeller: the part that tells what changes: to loops in this process, and in a file.
 *
 * What a life did not tell is lost with it. So the next one begins with out of sync: a cache forgets, the file says so in its next
 * line, and nothing is stale for ever.
 */
import type { LdbChanges } from '../../actors/ldb-changes.ts';
import type { TableSchema } from '../../core/model/control/schema.ts';
import { nodeDisk } from '../../engine/disk/node-disk.ts';
import { openLdb } from '../../engine/ldb/reader.ts';
import type { ChangeFeed } from '../change-feed.ts';
import { ChangeNames } from '../change-names.ts';
import { Changelog } from '../changelog.ts';
import type { StartReflectorOptions } from '../options.ts';
import type { Part, PartLife } from './part.ts';

export interface ChangeTellerOptions {
  readonly dir: string;
  readonly changelog: StartReflectorOptions['changelog'];
  /** Whose loops outlive this part. */
  readonly feed: ChangeFeed;
  /** Where the replica is; 0: nobody has looked yet. */
  readonly revision: number;
  readonly onFailure: (error: Error) => void;
}

export class ChangeTeller implements Part {
  readonly #life: PartLife;
  readonly #feed: ChangeFeed;
  readonly #names: ChangeNames;
  readonly #changelog: Changelog | undefined;

  /** Throws the system's error when there can be no such file. */
  constructor(life: PartLife, { dir, changelog, feed, revision, onFailure }: ChangeTellerOptions) {
    this.#life = life;
    this.#feed = feed;
    this.#names = new ChangeNames(() => tablesIn(dir));
    this.#changelog = changelog && new Changelog({ ...changelog, disk: nodeDisk, onFailure });
    if (!life.isAgain) return;
    this.#changelog?.missed();
    feed.push([{ kind: 'out-of-sync', revision }]);
    if (revision > 0) this.begin(revision);
  }

  /** Everything behind this revision is to be told; undefined: there is no file, or it begins where the LDB is. */
  get after(): number | undefined {
    return this.#changelog?.after;
  }

  /** The LDB is at `revision`. */
  begin(revision: number): void {
    this.#life.guard(() => this.#changelog?.begin(revision));
  }

  take(changes: LdbChanges): void {
    this.#life.guard(() => {
      if (this.#changelog === undefined && this.#feed.isEmpty) return this.#names.forget();
      const named = this.#names.named(changes);
      this.#changelog?.append(named, changes.upTo);
      this.#feed.push(named);
    });
  }

  /** Makes durable how far the file is. */
  sync(): void {
    this.#life.guard(() => this.look());
  }

  look(): void {
    this.#changelog?.sync();
  }

  close(): void {
    this.#changelog?.close();
  }
}

function tablesIn(dir: string): readonly TableSchema[] {
  const ldb = openLdb(dir, { besideWriter: true });
  try {
    return ldb.tables();
  } finally {
    ldb.close();
  }
}
