/**
 * Presence: a life of a node as its peers meet it: from which directory it speaks, which life of that it is, whom it lets
 * in, and what it has seen of the others. All by production code, on this world's disk: a life begins when the directory is
 * opened (src/node/open-dir.ts) and counted (src/engine/disk/lives.ts), before anything is said.
 */
import { assert } from '../../src/core/base/assert.ts';
import type { Disk } from '../../src/core/base/env.ts';
import type { StoreError } from '../../src/core/base/errors.ts';
import type { Member } from '../../src/core/raft/membership.ts';
import type { Raft } from '../../src/core/raft/raft.ts';
import { type LifeSign, type LogEnd, Witness } from '../../src/core/raft/witness.ts';
import { COMMAND_LEVEL } from '../../src/core/model/command-levels.ts';
import { type Channel, MESH_VERSION, type MeshHello, type MeshMessage } from '../../src/core/wire/mesh.ts';
import { markDamaged } from '../../src/engine/disk/damaged.ts';
import { beginLife } from '../../src/engine/disk/lives.ts';
import { Admission } from '../../src/net/mesh/admission.ts';
import { endForgetful, meetLife } from '../../src/net/mesh/lives.ts';
import { type NodeDir, openDir } from '../../src/node/open-dir.ts';
import type { Chance } from './chance.ts';
import type { NodeWorld } from './node-world.ts';
import { CLUSTER, DATA_DIR, EPOCH_MS } from './options.ts';

export interface PresenceWorld {
  readonly name: string;
  readonly dir: NodeDir;
  /** Its config says `join`. */
  readonly joins: boolean;
  /** Everybody whom a config may name. */
  readonly members: readonly Member[];
  readonly chance: Chance;
}

export class Presence {
  readonly dirId: string;
  readonly boot: number;
  /** It waits, or waited, to be added. */
  readonly joins: boolean;
  readonly admission: Admission;
  readonly #world: PresenceWorld;
  readonly #witness: Witness;
  readonly #life: Omit<LifeSign, 'began'>;
  /** Where its log stood, before anything came from outside. */
  began: LogEnd | undefined;

  /** Throws what a start throws: damage, what was marked as such, a disk that fails. */
  constructor(world: PresenceWorld) {
    const { dir, name, joins, members, chance } = world;
    this.#world = world;
    const { dirId, isRepaired } = openDir(dir);
    this.boot = chance.below(2 ** 48) + 1;
    const { life, boots, seen } = beginLife(dir.disk, DATA_DIR, this.boot);
    this.dirId = dirId;
    this.joins = joins || isRepaired;
    this.#life = { dir: dirId, boot: this.boot, life, lineage: boots.slice(0, -1) };
    this.#witness = new Witness(seen);
    const lives = { disk: dir.disk, dataDir: DATA_DIR };
    this.admission = new Admission({
      cluster: CLUSTER,
      node: name,
      guests: this.joins ? members : [],
      meet: (peer, sign) => meetLife(this.#witness, lives, peer, sign),
    });
  }

  hello(to: string, channel: Channel): MeshHello {
    const { name } = this.#world;
    assert(this.began !== undefined, 'who introduces itself has recovered its log');
    const names = { version: MESH_VERSION, channel, cluster: CLUSTER, from: name, to, mesh: `${name}:1` };
    const { membersIndex } = this.admission;
    return { ...this.#life, ...names, began: this.began, membersIndex, commands: COMMAND_LEVEL };
  }

  heard(messages: readonly MeshMessage[], raft: Raft): void {
    for (const mesh of messages) if (mesh.kind === 'raft') this.#witness.heard(mesh.message, raft);
  }

  /** A peer has seen more of its directory than there is in it. */
  endForgetful(peer: string, reason: string): never {
    const { disk, nowMs } = this.#world.dir;
    return endForgetful({ disk, dataDir: DATA_DIR }, peer, reason, new Date(nowMs()));
  }

  /** As src/node.ts: the next start is to know it before anything is served. */
  noteDamage(damage: StoreError, isOfDisk: (error: Error) => boolean): void {
    const { disk, nowMs } = this.#world.dir;
    try {
      markDamaged(disk, DATA_DIR, damage, new Date(nowMs()));
    } catch (error) {
      // It is met again.
      if (!(error instanceof Error && isOfDisk(error))) throw error;
    }
  }
}

/** What production is given to open, or repair, the directory of `node`. */
export function dirOn(
  { name, dir }: { readonly name: string; readonly dir: string },
  disk: Disk,
  { chance, queue, trace }: Pick<NodeWorld, 'chance' | 'queue' | 'trace'>,
): NodeDir {
  return {
    disk,
    dataDir: DATA_DIR,
    cluster: CLUSTER,
    id: name,
    repair: 'peers',
    dirId: dir,
    nowMs: () => EPOCH_MS + queue.nowMs,
    uuid: () => `${name}-${chance.below(1e9)}`,
    salt: () => chance.below(2 ** 32),
    removeTree: (path) => removeTree(disk, path),
    log: (level, event, fields) =>
      trace.say(queue.nowMs, name, () => `${level} ${event} ${JSON.stringify(fields ?? {})}`),
  };
}

/** Removes a directory with all below it; its name may stay. */
function removeTree(disk: Disk, path: string): void {
  if (!disk.exists(path)) return;
  let names: readonly string[];
  try {
    names = disk.list(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOTDIR') throw error;
    disk.remove(path);
    return;
  }
  for (const name of names) removeTree(disk, `${path}/${name}`);
  disk.syncDir(path);
}
